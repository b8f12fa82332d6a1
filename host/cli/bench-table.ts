/** The table of `gta bench`: wide for files and issues, at most 100 columns on a terminal. */
import { basename, dirname, resolve } from 'node:path'
import { megabytes } from '../errors.ts'
import { isBusy } from '../runtime/measurements.ts'
import type { BenchEnvironment, BenchInfo, BenchResult } from '../tools/bench/report.ts'
import { headLine, type Column as Layout, tableLine } from './table.ts'

interface Column extends Layout {
  value(result: BenchResult, info: BenchInfo): string
}
export type Columns = readonly Column[]

/** Columns of a terminal that nobody has to make wider. */
const TERMINAL = 100

export const percent = (share: number) => `${(100 * share).toFixed(0)} %`
/** Three digits, but no more than two behind the point. */
export const digits = (n: number) => n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)
/** 44.6 M, 1.13 B: as people call sizes of models. */
export const parametersInWords = (n: number) => (n < 1e9 ? `${digits(n / 1e6)} M` : `${(n / 1e9).toFixed(2)} B`)

function share({ parts }: BenchResult, part: keyof BenchResult['parts']): string {
  const total = Object.values(parts).reduce((sum, seconds) => sum + seconds, 0)
  return total > 0 ? percent(parts[part] / total) : '–'
}

/** As llama-bench writes it, of the median. */
const speed = ({ tokensPerSecond: { median, deviation } }: BenchResult) => `${digits(median)} ± ${digits(deviation)}`

const wide: Columns = [
  { name: 'model', width: 16, isText: true, value: (_, info) => benchName(info.model) },
  { name: 'params', width: 7, value: (_, info) => parametersInWords(info.parameters) },
  { name: 'size', width: 8, value: (_, info) => megabytes(info.weightBytes) },
  { name: 'type', width: 4, isText: true, value: (_, { weightType }) => weightType },
  { name: 'cache', width: 5, isText: true, value: (_, { cacheType }) => cacheType },
  { name: 'threads', width: 7, value: ({ threads }) => String(threads) },
  { name: 'test', width: 18, isText: true, value: ({ test }) => test },
  { name: 'tok/s', width: 13, value: speed },
  {
    name: 'min … max',
    width: 15,
    value: ({ tokensPerSecond: { min, max } }) => `${digits(min)} … ${digits(max)}`,
  },
  { name: 'GB/s', width: 5, value: ({ bytesPerSecond }) => digits(bytesPerSecond / 1e9) },
  { name: 'of read', width: 7, value: ({ bandwidthShare }) => percent(bandwidthShare) },
  { name: 'GOP/s', width: 5, value: ({ operationsPerSecond }) => digits(operationsPerSecond / 1e9) },
  { name: 'linear', width: 6, value: (result) => share(result, 'linear') },
  { name: 'attention', width: 9, value: (result) => share(result, 'attention') },
  { name: 'decoder', width: 7, value: (result) => share(result, 'valueDecoder') },
  { name: 'rest', width: 5, value: (result) => share(result, 'rest') },
  { name: 'barrier', width: 7, value: (result) => share(result, 'barrier') },
  { name: 'hash', width: 16, isText: true, value: ({ hash, problems }) => (problems.length > 0 ? 'DIFFERS' : hash) },
  { name: 'note', width: 10, isText: true, value: noteOf },
]

/** What spoils a figure. */
export function noteOf({ sensors, foreignShare }: Pick<BenchResult, 'sensors' | 'foreignShare'>): string {
  const busy = isBusy({ foreignShare }) ? [`busy ${percent(foreignShare ?? 0)}`] : []
  return [...(sensors.throttled ?? []), ...busy].join(', ')
}

const narrow: Columns = [
  { name: 'params', width: 6, value: (_, info) => parametersInWords(info.parameters) },
  { name: 'type', width: 4, isText: true, value: (_, { weightType }) => weightType },
  { name: 'thr', width: 3, value: ({ threads }) => String(threads) },
  { name: 'test', width: 10, isText: true, value: ({ test }) => test },
  { name: 'tok/s', width: 11, value: speed },
  { name: 'GB/s', width: 5, value: ({ bytesPerSecond }) => digits(bytesPerSecond / 1e9) },
  { name: 'read', width: 5, value: ({ bandwidthShare }) => percent(bandwidthShare) },
  {
    name: 'note',
    width: 9,
    isText: true,
    value: (result) => (result.problems.length > 0 ? 'DIFFERS' : noteOf(result)),
  },
]

/** For tests of such names: what fits the terminal, or everything where nobody looks at a screen. */
export function columnsFor(tests: string[], isTerminal = process.stdout.isTTY === true): Columns {
  if (!isTerminal) return wide
  const fitting = narrow.map((column) =>
    column.name === 'test' ? { ...column, width: Math.max(4, ...tests.map((name) => name.length)) } : column,
  )
  // Signs around a cell, and the first column's.
  const taken = fitting.reduce((sum, { width }) => sum + width + 3, 4)
  const width = Math.min(24, Math.max(6, TERMINAL - taken))
  const fit = (name: string) => (name.length > width ? `${name.slice(0, width - 1)}…` : name)
  return [{ name: 'model', width, isText: true, value: (_, info) => fit(benchName(info.model)) }, ...fitting]
}

export function rowOf(columns: Columns, result: BenchResult, info: BenchInfo): string {
  return tableLine(
    columns,
    columns.map(({ value }) => value(result, info)),
  )
}

/** The name of the file, or of the folder of a config.json, which is called that everywhere. */
export function benchName(model: string): string {
  const path = resolve(model)
  return (basename(path) === 'config.json' ? basename(dirname(path)) : basename(path)).replace(/\.(gta|json)$/, '')
}

export function describeMachine(environment: BenchEnvironment): string {
  const { board, cpu, cores, platform, pageSize, governor, node, version, commit, build, date } = environment
  const unknown = (what: string, value: unknown) => `${what} ${value ?? 'unknown'}`
  const machine = [
    board,
    cpu,
    `${cores} cores`,
    platform,
    unknown('page size', pageSize),
    unknown('governor', governor),
  ]
  const software = [`gta-edge ${version ?? 'from source'}${commit ? ` (${commit})` : ''}`, build, `Node ${node}`, date]
  return `- machine: ${machine.filter(Boolean).join(', ')}\n- software: ${software.join(', ')}\n`
}

/** What stands before the tests of several models. */
export function beginTable(environment: BenchEnvironment, columns: Columns): string {
  return `${describeMachine(environment)}\n${headLine(columns)}`
}
