/**
 * The command line of the scripts here and of `npm run identity`: `--help` prints what there is; what is wrong is one line
 * on stderr and exit code 2.
 */
import { type ParseArgsOptionDescriptor, parseArgs } from 'node:util'

export interface Flag extends ParseArgsOptionDescriptor {
  /** What stands for the value in help. */
  value?: string
  help: string
}

export interface Script<F extends Record<string, Flag>> {
  /** As somebody types it: 'npm run bench:load --'. */
  command: string
  /** What it does, in a sentence. */
  about: string
  flags?: F
  /** What the command line has besides flags, how much of it at least and at most. */
  operands?: { value: string; least: number; most: number }
}

const common = { help: { type: 'boolean', short: 'h', help: 'this text' } } as const satisfies Record<string, Flag>

/** Reads the command line, or prints the help, or what is wrong, and ends the process. */
export function readArguments<const F extends Record<string, Flag> = Record<never, Flag>>(
  script: Script<F>,
  args = process.argv.slice(2),
) {
  const { flags = {} as F, operands = { value: '', least: 0, most: 0 } } = script
  const parsed = parse(flags, args)
  if ((parsed.values as { help?: boolean }).help) {
    process.stdout.write(helpOf(script))
    process.exit(0)
  }
  const { length } = parsed.positionals
  if (length > operands.most) refuse(`there is an argument too many: "${parsed.positionals[operands.most]}"`)
  if (length < operands.least) refuse(`${operands.value} must be given, found ${length === 0 ? 'nothing' : length}`)
  return parsed
}

function parse<F extends Record<string, Flag>>(flags: F, args: string[]) {
  try {
    return parseArgs({ args, options: { ...flags, ...common }, allowPositionals: true })
  } catch (error) {
    // The first sentence says what; the others are about a dash that nobody meant.
    return refuse((error as Error).message.split('. ')[0] ?? '')
  }
}

/** One line, and exit code 2. */
export function refuse(message: string): never {
  process.stderr.write(`${message.split('\n')[0]}. See --help\n`)
  process.exit(2)
}

/** The number of a flag or an operand. */
export function wholeOf(name: string, text: string, least = 1, most = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isInteger(value) || value < least || value > most)
    refuse(
      `${name} must be a whole number ${most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`}, found "${text}"`,
    )
  return value
}

/** One of some words. */
export function choiceOf<T extends string>(name: string, text: string, choices: readonly T[]): T {
  return choices.find((choice) => choice === text) ?? refuse(`${name} must be ${listed(choices)}, found "${text}"`)
}

const listed = (words: readonly string[]) =>
  words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`

function helpOf<F extends Record<string, Flag>>({ command, about, flags, operands }: Script<F>): string {
  const rows = Object.entries<Flag>({ ...flags, ...common }).map(([name, flag]) => {
    const { short, value, help, default: fallback } = flag
    const isShown = typeof fallback === 'string' && fallback !== ''
    return [
      `  ${short ? `-${short},` : '   '} --${name}${value ? ` ${value}` : ''}`,
      isShown ? `${help} (default ${fallback})` : help,
    ] as const
  })
  const width = Math.max(...rows.map(([left]) => left.length)) + 2
  const usage = [command, operands?.value, flags && '[options]'].filter(Boolean).join(' ')
  return [`Usage: ${usage}`, about, '', ...rows.map(([left, right]) => left.padEnd(width) + right), ''].join('\n')
}
