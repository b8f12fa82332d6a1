/**
 * The options of gta.wasm as the build puts them into it: what of host/settings.ts the command has, in the form of
 * assembly/wasi/abi.ts. The command adds `--version`.
 */
import {
  FLAG_CHOICE,
  FLAG_NUMBER,
  FLAG_SWITCH,
  FLAG_TEXT,
  FLAG_WHOLE,
  Flag,
  FlagRange,
  Options,
  OptionTable,
} from '../../assembly/wasi/abi.ts'
import { defaultContext, expectedOf, helpOf, type Setting, settings } from '../settings.ts'

const kinds: Record<string, number> = {
  text: FLAG_TEXT,
  boolean: FLAG_SWITCH,
  choice: FLAG_CHOICE,
  whole: FLAG_WHOLE,
  number: FLAG_NUMBER,
}

/** Settings in the order of the record, with this command's own words. */
function commandSettings(): Setting[] {
  const known: Record<string, Setting> = {
    ...settings,
    model: { ...settings.model, help: 'a .gta file, in a directory that the engine was told to give' },
    version: { flag: 'version', kind: 'boolean', help: 'the version' },
  }
  return Object.keys(new Options()).map((name) => known[name] as Setting)
}

/** The bytes of the table, for a command of this version. */
export function optionTable(version: string): Uint8Array {
  const list = commandSettings()
  const sizes = [OptionTable, Flag, FlagRange].map((record) => Object.keys(new record()).length)
  const [head = 0, flag = 0, range = 0] = sizes
  const texts = new Texts(4 * (head + list.length * flag) + 8 * list.length * range)
  const words: number[] = [...texts.add(helpText(list)), ...texts.add(`${version}\n`)]
  const numbers: number[] = []
  for (const setting of list) {
    const { kind, short, min = 0, max = Number.MAX_SAFE_INTEGER, none = Number.NaN, choices = [] } = setting
    words.push(...texts.add(setting.flag as string), short?.charCodeAt(0) ?? 0, kinds[kind] as number)
    words.push(...texts.add(expectedOf(setting)), ...texts.add(choices.join('|')))
    // A model that allows less context has less.
    const fallback = setting === settings.context ? defaultContext(Number.POSITIVE_INFINITY) : setting.default
    numbers.push(min, max, none, typeof fallback === 'number' ? fallback : Number.NaN)
  }
  const [ints, floats] = [Uint32Array.from(words), Float64Array.from(numbers)]
  return Buffer.concat([new Uint8Array(ints.buffer), new Uint8Array(floats.buffer), ...texts.parts])
}

/** Texts one behind the other, and where each one lies. */
class Texts {
  readonly parts: Uint8Array[] = []
  private end: number

  constructor(begin: number) {
    this.end = begin
  }

  /** [offset, length] */
  add(text: string): [number, number] {
    const bytes = new TextEncoder().encode(text)
    this.parts.push(bytes)
    this.end += bytes.length
    return [this.end - bytes.length, bytes.length]
  }
}

function helpText(list: readonly Setting[]): string {
  const rows = list.map((setting) => {
    const { flag, short, choices, value = choices?.join('|') } = setting
    const left = `  ${(short ? `-${short},` : '').padEnd(3)} --${flag}${value ? ` ${value}` : ''}`
    return [left, helpOf(setting)] as const
  })
  const width = Math.max(...rows.map(([left]) => left.length)) + 2
  return [
    'gta.wasm: write on from a prompt, under an engine of WebAssembly with WASI',
    '',
    'Usage: gta.wasm MODEL.gta -p PROMPT [options]',
    '',
    ...rows.map(([left, right]) => left.padEnd(width) + right),
    '',
  ].join('\n')
}

/** assembly/wasi/option-table.ts with the table in it. */
export function optionTableSource(version: string): string {
  return `export function optionTable(): usize {\n  return memory.data<u8>([${[...optionTable(version)]}])\n}\n`
}
