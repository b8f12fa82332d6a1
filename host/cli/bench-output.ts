/** What `gta bench` prints: a table for people and for issues, CSV, one JSON document, or one per line. */
import { basename, dirname } from 'node:path'
import { megabytes } from '../errors.ts'
import type { BenchEnvironment, BenchInfo, BenchReport, BenchResult } from '../tools/bench/report.ts'
import { csvLine, headLine, type Column as Layout, tableLine } from './table.ts'

interface Format {
  /** Before the first result. */
  begin(info: BenchInfo): string
  row(result: BenchResult, info: BenchInfo): string
  end(report: BenchReport): string
}

const none = () => ''
const json = (value: unknown) => `${JSON.stringify(value)}\n`

export const formats: Record<'md' | 'csv' | 'json' | 'jsonl' | 'html', Format> = {
  md: {
    begin: (info) => `${describe(info)}\n${headLine(columns)}`,
    row: (result, info) =>
      tableLine(
        columns,
        columns.map(({ value }) => value(result, info)),
      ),
    end: describeEnd,
  },
  csv: {
    begin: (info) => csvLine(Object.keys(record(undefined, info))),
    row: (result, info) => csvLine(Object.values(record(result, info))),
    end: none,
  },
  json: { begin: none, row: none, end: json },
  jsonl: { begin: none, row: (result, info) => json({ schema: 'gta-bench/1', ...info, ...result }), end: none },
  // The page is made when all is explained.
  html: { begin: none, row: none, end: none },
}

interface Column extends Layout {
  value(result: BenchResult, info: BenchInfo): string
}

export const percent = (share: number) => `${(100 * share).toFixed(0)} %`
/** Three digits, but no more than two behind the point. */
export const digits = (n: number) => n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)

function share({ parts }: BenchResult, part: keyof BenchResult['parts']): string {
  const total = Object.values(parts).reduce((sum, seconds) => sum + seconds, 0)
  return total > 0 ? percent(parts[part] / total) : '–'
}

const columns: readonly Column[] = [
  { name: 'model', width: 16, isText: true, value: (_, info) => modelName(info) },
  { name: 'type', width: 4, isText: true, value: (_, { weightType }) => weightType },
  { name: 'cache', width: 5, isText: true, value: (_, { cacheType }) => cacheType },
  { name: 'threads', width: 7, value: ({ threads }) => String(threads) },
  { name: 'test', width: 18, isText: true, value: ({ test }) => test },
  { name: 'tok/s', width: 7, value: ({ tokensPerSecond }) => digits(tokensPerSecond.median) },
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
  { name: 'note', width: 4, isText: true, value: ({ sensors }) => (sensors.throttled ?? []).join(', ') },
]

/** The name of the file, or of the folder of a config.json, which is called that everywhere. */
function modelName({ model }: BenchInfo): string {
  return (basename(model) === 'config.json' ? basename(dirname(model)) : basename(model)).replace(/\.(gta|json)$/, '')
}

function describeMachine(environment: BenchEnvironment): string {
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
export function beginTable(environment: BenchEnvironment): string {
  return `${describeMachine(environment)}\n${headLine(columns)}`
}

function describe(info: BenchInfo): string {
  const { environment, kind, weightType, weightBytes, isSynthetic, bandwidth, loadSeconds } = info
  const weights = `${isSynthetic ? 'synthetic ' : ''}${weightType} weights ${megabytes(weightBytes)}`
  const model = [info.model, kind, weights, `loaded in ${loadSeconds.toFixed(1)} s`]
  const read = bandwidth.map(
    ({ threads, bytesPerSecond, barrierSeconds }) =>
      `${(bytesPerSecond / 1e9).toFixed(1)} GB/s with ${plural(threads, 'thread')}${
        threads > 1 ? `, which meet in ${(barrierSeconds * 1e6).toFixed(2)} µs` : ''
      }`,
  )
  return `${describeMachine(environment)}- model: ${model.join(', ')}\n- memory reads at best ${read.join('; ')}\n`
}

function describeEnd({ results, sensorsAfter, sensorsBefore, peakRssBytes }: BenchReport): string {
  const heat = [sensorsBefore, sensorsAfter].map(({ temperature }) => temperature?.toFixed(0) ?? 'unknown')
  const reasons = new Set(results.flatMap(({ sensors }) => sensors.throttled ?? []))
  for (const reason of sensorsAfter.throttledSinceStart ?? []) reasons.add(`${reason} since the system's start`)
  const throttling = sensorsAfter.throttledSinceStart ? [...reasons].join(', ') || 'none' : 'unknown'
  const lines = [
    `- peak memory of the process ${megabytes(peakRssBytes)}`,
    `- temperature in °C before ${heat.join(', after ')}; throttling: ${throttling}`,
  ]
  return `\n${lines.join('\n')}\n`
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** One row of CSV: flat, with units in the names. Without a result its names are what counts. */
function record(result: BenchResult | undefined, info: BenchInfo): Record<string, unknown> {
  const { environment, bandwidth } = info
  const { tokensPerSecond, parts, sensors } = result ?? {}
  return {
    date: environment.date,
    version: environment.version,
    commit: environment.commit,
    build: environment.build,
    node: environment.node,
    board: environment.board,
    cpu: environment.cpu,
    cores: environment.cores,
    platform: environment.platform,
    page_size: environment.pageSize,
    governor: environment.governor,
    model: info.model,
    synthetic: info.isSynthetic,
    kind: info.kind,
    type: info.weightType,
    cache: info.cacheType,
    batch: info.batch,
    load_s: info.loadSeconds,
    test: result?.test,
    tokens: result?.tokens,
    depth: result?.depth,
    conversations: result?.conversations,
    threads: result?.threads,
    tok_s_median: tokensPerSecond?.median,
    tok_s_min: tokensPerSecond?.min,
    tok_s_max: tokensPerSecond?.max,
    bytes_s: result?.bytesPerSecond,
    bandwidth_bytes_s: bandwidth.find(({ threads }) => threads === result?.threads)?.bytesPerSecond,
    bandwidth_share: result?.bandwidthShare,
    ops_s: result?.operationsPerSecond,
    linear_s: parts?.linear,
    attention_s: parts?.attention,
    value_decoder_s: parts?.valueDecoder,
    rest_s: parts?.rest,
    barrier_s: parts?.barrier,
    barrier_share: result?.barrierShare,
    temperature_c: sensors?.temperature,
    throttled: sensors?.throttled?.join(' '),
    hash: result?.hash,
    problems: result?.problems.join(' '),
  }
}
