/** What `gta bench` prints: a table for people and for issues, CSV, SQL, one JSON document, or one per line. */
import { megabytes } from '../errors.ts'
import { version } from '../platform/version.ts'
import { isBusy } from '../runtime/measurements.ts'
import type { BenchInfo, BenchReport, BenchResult } from '../tools/bench/report.ts'
import { type Columns, describeMachine, parametersInWords, percent, rowOf } from './bench-table.ts'
import { csvLine, headLine } from './table.ts'

interface Format {
  /** Before the first result of the first model. */
  begin(info: BenchInfo, columns: Columns): string
  row(result: BenchResult, info: BenchInfo, columns: Columns): string
  end(reports: BenchReport[]): string
}

const none = () => ''
const json = (value: unknown) => `${JSON.stringify(value)}\n`

export const formats: Record<'md' | 'csv' | 'sql' | 'json' | 'jsonl' | 'html', Format> = {
  md: {
    begin: (info, columns) =>
      `${describeMachine(info.environment)}${describeModel(info)}${describeReads(info)}\n${headLine(columns)}`,
    row: (result, info, columns) => rowOf(columns, result, info),
    end: (reports) => `\n${[...reports.slice(1).map(describeModel), ...describeEnd(reports)].join('')}`,
  },
  csv: {
    begin: (info) => csvLine(Object.keys(record(undefined, info))),
    row: (result, info) => csvLine(Object.values(record(result, info))),
    end: none,
  },
  sql: {
    begin: (info) => createTable(Object.keys(record(undefined, info))),
    row: (result, info) => insertRow(record(result, info)),
    end: none,
  },
  json: { begin: none, row: none, end: (reports) => json(documentOf(reports)) },
  jsonl: {
    begin: none,
    row: (result, info) => json({ schema: 'gta-bench/1', version: version ?? null, ...info, ...result }),
    end: none,
  },
  // The page is made when all is explained.
  html: { begin: none, row: none, end: none },
}

/** Of one model its report, of several a list of them. */
export function documentOf(reports: BenchReport[]): object {
  const [report, ...others] = reports
  return report && others.length === 0 ? report : { schema: 'gta-benches/1', version: version ?? null, reports }
}

function describeModel(info: BenchInfo): string {
  const { kind, weightType, weightBytes, isSynthetic, parameters, loadSeconds } = info
  const weights = `${isSynthetic ? 'synthetic ' : ''}${weightType} weights ${megabytes(weightBytes)}`
  const loaded = `loaded in ${loadSeconds.toFixed(1)} s`
  return `- model: ${[info.model, kind, `${parametersInWords(parameters)} parameters`, weights, loaded].join(', ')}\n`
}

function describeReads({ bandwidth }: BenchInfo): string {
  const read = bandwidth.map(
    ({ threads, bytesPerSecond, barrierSeconds }) =>
      `${(bytesPerSecond / 1e9).toFixed(1)} GB/s with ${plural(threads, 'thread')}${
        threads > 1 ? `, which meet in ${(barrierSeconds * 1e6).toFixed(2)} µs` : ''
      }`,
  )
  return `- memory reads at best ${read.join('; ')}\n`
}

function describeEnd(reports: BenchReport[]): string[] {
  const [{ sensorsBefore }, { sensorsAfter }] = [reports[0], reports.at(-1)] as [BenchReport, BenchReport]
  const results = reports.flatMap((report) => report.results)
  const heat = [sensorsBefore, sensorsAfter].map(({ temperature }) => temperature?.toFixed(0) ?? 'unknown')
  const reasons = new Set(results.flatMap(({ sensors }) => sensors.throttled ?? []))
  for (const reason of sensorsAfter.throttledSinceStart ?? []) reasons.add(`${reason} since the system's start`)
  const throttling = sensorsAfter.throttledSinceStart ? [...reasons].join(', ') || 'none' : 'unknown'
  const stopped = reports.filter(({ isComplete }) => !isComplete)
  return [
    ...stopped.map(
      ({ results, tests }) => `- stopped: ${results.length} of ${plural(tests.length, 'test')} were run\n`,
    ),
    `- peak memory of the process ${megabytes(Math.max(...reports.map(({ peakRssBytes }) => peakRssBytes)))}\n`,
    `- temperature in °C before ${heat.join(', after ')}; throttling: ${throttling}\n`,
    `- ${describeLoad(reports)}\n`,
  ]
}

/** What else ran on the machine, and what that means. */
export function describeLoad(reports: Pick<BenchReport, 'load' | 'results'>[]): string {
  const load = reports[0]?.load
  const shares = reports.flatMap(({ results }) => results.flatMap(({ foreignShare = [] }) => foreignShare))
  const ends = [...new Set([Math.min(...shares), Math.max(...shares)].map(percent))].join(' to ')
  const words = [
    load === undefined ? 'load unknown' : `load ${load.toFixed(1)} when it began`,
    shares.length > 0 ? `other programs took ${ends} of the processors` : 'what other programs took is unknown',
  ].join(', ')
  const isSpoilt = shares.some((foreignShare) => isBusy({ foreignShare }))
  return isSpoilt ? `${words}: THE MACHINE WAS BUSY, it can do more than this` : words
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Names whose values are words; all others are numbers. */
const texts =
  /^(date|version|commit|build|node|board|cpu|platform|governor|model|kind|type|cache|test|throttled|hash|problems)$/

/** Names are quoted: "commit" is a word of the language. */
function createTable(names: string[]): string {
  const columns = names.map((name) => `  "${name}" ${texts.test(name) ? 'TEXT' : 'REAL'}`)
  return `CREATE TABLE IF NOT EXISTS gta_bench (\n${columns.join(',\n')}\n);\n`
}

function insertRow(values: Record<string, unknown>): string {
  const quoted = Object.entries(values).map(([name, value]) => {
    if (value === undefined) return 'NULL'
    return texts.test(name) ? `'${String(value).replaceAll("'", "''")}'` : String(Number(value))
  })
  return `INSERT INTO gta_bench (${Object.keys(values)
    .map((name) => `"${name}"`)
    .join(', ')}) VALUES (${quoted.join(', ')});\n`
}

/** One row of CSV or SQL: flat, with units in the names. Without a result its names are what counts. */
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
    parameters: info.parameters,
    weight_bytes: info.weightBytes,
    synthetic: info.isSynthetic,
    kind: info.kind,
    type: info.weightType,
    cache: info.cacheType,
    batch: info.batch,
    load_s: info.loadSeconds,
    load_average: info.load,
    test: result?.test,
    tokens: result?.tokens,
    prompt: result?.prompt,
    depth: result?.depth,
    conversations: result?.conversations,
    threads: result?.threads,
    tok_s_median: tokensPerSecond?.median,
    tok_s_min: tokensPerSecond?.min,
    tok_s_max: tokensPerSecond?.max,
    tok_s_stddev: tokensPerSecond?.deviation,
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
    foreign_share: result?.foreignShare,
    throttled: sensors?.throttled?.join(' '),
    hash: result?.hash,
    problems: result?.problems.join(' '),
  }
}
