/** Command lines: node:util parseArgs, with ranges checked and every unknown flag refused. */
import { type ParseArgsOptionDescriptor, parseArgs } from 'node:util'
import {
  expectedOf,
  generateSettings,
  helpOf,
  isAllowed,
  type Setting,
  type SettingName,
  settings,
  type ValueOf,
} from '../settings.ts'
import { megabytes, parseSize, sizeForms } from '../sizes.ts'

/** Wrong usage: exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError'
}

export interface Option extends ParseArgsOptionDescriptor {
  /** What stands for the value in help. */
  value?: string
  /** The value may be left out: then it is an empty text. */
  isOptional?: boolean
  /** Several letters behind one dash, as llama.cpp has them: 'np' for -np. */
  alias?: string
  /** What its value is held to before the command runs; where it is not here, the command itself looks at it. */
  check?: Setting | undefined
  help: string
}
export type Options = Record<string, Option>

export interface Command {
  usage: string
  options: Options
  run(args: Arguments): Promise<void>
}

/** Flags of the table by the names that they have in the library. */
export function flagsOf(...names: SettingName[]): Options {
  return Object.fromEntries(
    names.map((name) => {
      const setting: Setting = settings[name]
      const { kind, short, alias, choices, value = choices?.join('|') } = setting
      const option: Option = {
        type: kind === 'boolean' ? 'boolean' : 'string',
        help: helpOf(setting),
        check: setting,
        ...(short === undefined ? {} : { short }),
        ...(alias === undefined ? {} : { alias }),
        ...(value === undefined ? {} : { value }),
        ...(kind === 'texts' || kind === 'biases' ? { multiple: true } : {}),
      }
      return [setting.flag as string, option]
    }),
  )
}

/** A flag of the table with other words: what it is for in this command. */
export function flagAs(name: SettingName, words: Partial<Option>): Options {
  const [[flag, option]] = Object.entries(flagsOf(name)) as [[string, Option]]
  return { [flag]: { ...option, ...words } }
}

export const common = flagsOf('json', 'help')

/** What commands that load a model have. */
export const modelOptions = flagsOf(
  'model',
  'type',
  'cache',
  'context',
  'cacheMemory',
  'memory',
  'offload',
  'offloadDirectory',
  'threads',
  'batchThreads',
  'gpu',
  'gpuForce',
  'recover',
  'verify',
)

export const promptOptions = flagsOf('prompt', 'file', 'tokens')

export const contextOptions = flagsOf('contextPolicy', 'keep')

/** How commands that write choose tokens, and when they end. */
export const generateNames = Object.keys(generateSettings) as (keyof typeof generateSettings)[]
export const generateOptions = flagsOf(...generateNames)

/** Parsed arguments with typed access; a bad value is a UsageError that names the flag. */
export class Arguments {
  readonly positionals: string[]
  private readonly parsed: Record<string, unknown>
  private readonly options: Options

  constructor(args: string[], options: Options) {
    this.options = options
    try {
      const parsed = parseArgs({
        args: joinNegatives(fillOptional(expandAliases(args, options), options)),
        options,
        allowPositionals: true,
        strict: true,
        tokens: true,
      })
      expectOnce(parsed.tokens, options)
      this.parsed = parsed.values
      this.positionals = parsed.positionals
      // Nobody is to wait for a model first, and hear of a wrong number then.
      for (const name of this.given()) if (options[name]?.check) this.read(options[name].check)
    } catch (error) {
      if (error instanceof UsageError) throw error
      throw new UsageError((error as Error).message.split('. ')[0]?.split('\n')[0] ?? '')
    }
  }

  /** Names of the flags that the command line has. */
  given(): string[] {
    return Object.keys(this.parsed)
  }

  flag(name: string): boolean {
    return this.parsed[name] === true
  }

  text(name: string): string | undefined {
    return this.parsed[name] as string | undefined
  }

  texts(name: string): string[] {
    return (this.parsed[name] as string[] | undefined) ?? []
  }

  /** What the command line says of settings of the table, for the library; what it does not say is undefined. */
  values<N extends SettingName>(...names: N[]): { [name in N]: ValueOf<name> | undefined } {
    return Object.fromEntries(names.map((name) => [name, this.value(name)])) as never
  }

  value<N extends SettingName>(name: N): ValueOf<N> | undefined {
    return this.read(settings[name]) as ValueOf<N> | undefined
  }

  private read(setting: Setting): unknown {
    const { flag = '', kind, none, choices = [] } = setting
    if (kind === 'boolean') return this.flag(flag)
    if (kind === 'texts') {
      const texts = this.texts(flag)
      if (texts.includes('')) throw new UsageError(`--${flag} must be a text, found ""`)
      return texts
    }
    if (kind === 'biases') return this.biases(flag)
    if (kind === 'bytes') return this.bytes(flag, setting.min)
    if (kind === 'choice') return this.oneOf(flag, choices)
    if (kind === 'text') return this.text(flag)
    const value = this.number(flag)
    if (value === undefined || value === none) return undefined
    if (!isAllowed(setting, value))
      throw new UsageError(`--${flag} must be ${expectedOf(setting)}, found "${this.text(flag)}"`)
    return value
  }

  /** Numbers by token id: 5+1.5, 7-100. */
  private biases(name: string): Record<number, number> | undefined {
    const texts = this.texts(name)
    if (texts.length === 0) return undefined
    const found = texts.map((text) => {
      const [, id, value] = /^(\d+)([+-]\d+(?:\.\d+)?)$/.exec(text) ?? []
      if (id === undefined || Math.abs(Number(value)) > 100)
        throw new UsageError(`--${name} must be a token id with +X or -X behind it, X up to 100, found "${text}"`)
      return [Number(id), Number(value)] as const
    })
    return Object.fromEntries(found)
  }

  number(name: string): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const value = Number(text)
    if (text.trim() === '' || !Number.isFinite(value))
      throw new UsageError(`--${name} must be a number, found "${text}"`)
    return value
  }

  /** Bytes, see sizes.ts. */
  bytes(name: string, min = 0): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const value = parseSize(text)
    if (value === undefined || value < min)
      throw new UsageError(
        `--${name} must be a size ${min > 0 ? `of at least ${megabytes(min)}, ` : ''}${sizeForms}, found "${text}"`,
      )
    return value
  }

  /** A whole number that only this command knows. */
  whole(name: string, min: number, max = Number.MAX_SAFE_INTEGER): number | undefined {
    return this.read({ flag: name, kind: 'whole', min, max, help: '' }) as number | undefined
  }

  /** Whole numbers with commas between, from all times that the flag is given; each may come once. */
  list(name: string, min: number, max: number): number[] | undefined {
    const texts = this.texts(name)
    if (texts.length === 0) return undefined
    const found: number[] = []
    for (const part of texts.flatMap((text) => text.split(','))) {
      const value = /^\s*\d+\s*$/.test(part) ? Number(part) : Number.NaN
      if (!(value >= min && value <= max))
        throw new UsageError(
          `--${name} must be whole numbers from ${min} to ${max} with commas between, found "${texts.join(',')}"`,
        )
      if (found.includes(value)) throw new UsageError(`--${name} must name ${value} once, found "${texts.join(',')}"`)
      found.push(value)
    }
    return found
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const found = choices.find((choice) => choice === text)
    if (!found) throw new UsageError(`--${name} must be one of ${choices.join(', ')}, found "${text}"`)
    return found
  }

  /** Some of `choices` with commas between, in the order of the command line; each may come once. */
  someOf<T extends string>(name: string, choices: readonly T[]): T[] | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    return text.split(',').map((part, i, parts) => {
      const found = choices.find((choice) => choice === part.trim())
      if (!found)
        throw new UsageError(`--${name} must be some of ${choices.join(', ')} with commas between, found "${text}"`)
      if (parts.findIndex((other) => other.trim() === found) < i)
        throw new UsageError(`--${name} must name ${found} once, found "${text}"`)
      return found
    })
  }

  /** Comma-separated token ids; ranges are the model's business. */
  tokens(): number[] | undefined {
    const text = this.text('tokens')
    if (text === undefined) return undefined
    return text
      .split(',')
      .filter((part, _, all) => part.trim() !== '' || all.length > 1)
      .map((part) => {
        if (!/^\s*\d+\s*$/.test(part))
          throw new UsageError(`--tokens must be whole numbers with commas between, found "${part}"`)
        return Number(part)
      })
  }

  /** The model that the command line names, by position or by -m; undefined if none. */
  modelPath(): string | undefined {
    const [first] = this.positionals
    const flag = this.text('model')
    if (first !== undefined && flag !== undefined && first !== flag)
      throw new UsageError(`the model must be given once, found "${first}" and -m "${flag}"`)
    return flag ?? first
  }

  /** At most `count` positional arguments. */
  expectPositionals(count: number): void {
    const extra = this.positionals[count]
    if (extra !== undefined)
      throw new UsageError(
        `there is an argument too many: "${extra}"${count === 1 && this.options.prompt ? '. The first one is the model; a prompt is given with -p "…"' : ''}`,
      )
  }
}

/** Does a command line ask for JSON? One that is wrong may do so too: its error is to be JSON. */
export function asksForJson(args: string[], options: Options): boolean {
  const end = args.includes('--') ? args.indexOf('--') : args.length
  return options.json !== undefined && args.slice(0, end).includes('--json')
}

/** One rule for all options: what is given twice is an error unless both count. The last one alone would win in silence. */
function expectOnce(tokens: readonly Token[], options: Options): void {
  const first = new Map<string, string | undefined>()
  for (const { kind, name, value } of tokens) {
    if (kind !== 'option' || name === undefined || options[name]?.multiple) continue
    if (first.has(name)) {
      const found = value === undefined ? 'it twice' : `"${first.get(name)}" and "${value}"`
      throw new UsageError(`--${name} must be given once, found ${found}`)
    }
    first.set(name, value)
  }
}

/** What parseArgs tells of an argument. */
interface Token {
  kind: string
  name?: string
  value?: string | undefined
}

/** `-np 8` and `-np=8` become `--parallel 8` and `--parallel=8`: parseArgs would read `-n p`. */
function expandAliases(args: string[], options: Options): string[] {
  const names = new Map(Object.entries(options).map(([name, { alias }]) => [`-${alias}`, `--${name}`]))
  const end = args.includes('--') ? args.indexOf('--') : args.length
  return args.map((arg, i) => {
    const [flag = '', ...rest] = arg.split('=')
    const name = i < end ? names.get(flag) : undefined
    return name === undefined ? arg : [name, ...rest].join('=')
  })
}

/** `--report` with nothing behind it but another flag becomes `--report=`: parseArgs wants a value. */
function fillOptional(args: string[], options: Options): string[] {
  const isEnd = (arg: string | undefined) => arg === undefined || arg.startsWith('-')
  return args.map((arg, i) => (options[arg.slice(2)]?.isOptional && isEnd(args[i + 1]) ? `${arg}=` : arg))
}

/** `-n -1` is a number, not a flag: parseArgs wants `-n=-1` said as one word. */
function joinNegatives(args: string[]): string[] {
  const joined: string[] = []
  for (const arg of args) {
    const last = joined.at(-1)
    if (/^-\d+(\.\d+)?$/.test(arg) && last && /^--?[a-z][a-z-]*$/.test(last))
      joined[joined.length - 1] = last.startsWith('--') ? `${last}=${arg}` : `${last}${arg}`
    else joined.push(arg)
  }
  return joined
}

/** How a command is used, and its flags. */
export function help(command: Command): string {
  const rows = Object.entries(command.options).map(([name, option]) => {
    const letters = option.alias ?? option.short
    const short = letters === undefined ? '' : `-${letters},`
    return [`  ${short.padEnd(3)} --${name}${option.value ? ` ${option.value}` : ''}`, option.help] as const
  })
  const width = Math.max(...rows.map(([left]) => left.length)) + 2
  return [`Usage: gta ${command.usage}`, '', ...rows.map(([left, right]) => left.padEnd(width) + right), ''].join('\n')
}
