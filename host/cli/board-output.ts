/** What `gta bench --show` makes of board reports: tables, CSV, JSON; and whether all computed the same. */
import { version } from '../platform/version.ts'
import { isBusy } from '../runtime/measurements.ts'
import type { BoardReport, BoardResult, BoardRun } from '../tools/bench/board/report.ts'
import { plural } from './bench-output.ts'
import { digits, percent } from './bench-table.ts'
import { csvLine, headLine, type Column as Layout, tableLine } from './table.ts'

export interface NamedReport {
  /** As people call it: the place in the list. */
  id: number
  file: string
  report: BoardReport
  /** What in it cannot be so. */
  problems: string[]
}

interface Column<T> extends Layout {
  value(item: T): string | undefined
}

const celsius = (value: number | undefined) => value?.toFixed(0) ?? '–'
const gigahertz = (hertz: number | undefined) => (hertz === undefined ? '–' : (hertz / 1e9).toFixed(2))

function throttling({ throttled, throttledSinceStart }: BoardReport['heat']): string {
  if (!throttledSinceStart) return 'unknown'
  const found = [...(throttled ?? []), ...throttledSinceStart.map((reason) => `${reason} since start`)]
  return found.length > 0 ? found.join(', ') : 'none'
}

const boards: Column<NamedReport>[] = [
  { name: '#', width: 2, value: ({ id }) => String(id) },
  { name: 'board', width: 28, isText: true, value: ({ report: { machine } }) => machine.board ?? machine.cpu },
  { name: 'cores', width: 5, value: ({ report: { machine } }) => String(machine.availableCores) },
  { name: 'GB', width: 4, value: ({ report: { machine } }) => (machine.memoryBytes / 1e9).toFixed(1) },
  { name: 'page', width: 5, value: ({ report: { machine } }) => String(machine.pageSize ?? '–') },
  { name: 'banks', width: 5, value: ({ report: { machine } }) => String(machine.numaNodes ?? '–') },
  { name: 'governor', width: 11, isText: true, value: ({ report: { machine } }) => machine.governor },
  { name: 'system', width: 10, isText: true, value: ({ report: { machine } }) => machine.system },
  { name: 'kernel', width: 20, isText: true, value: ({ report: { machine } }) => machine.kernel },
  { name: 'Node', width: 9, isText: true, value: ({ report: { software } }) => software.node },
  { name: 'gta-edge', width: 18, isText: true, value: ({ report }) => versionOf(report) },
  { name: 'engine', width: 12, isText: true, value: ({ report: { software } }) => software.build },
  { name: 'load', width: 4, value: ({ report: { machine } }) => machine.load.toFixed(1) },
  {
    name: '°C before/highest/after',
    width: 23,
    isText: true,
    value: ({ report: { heat } }) => [heat.before, heat.highest, heat.after].map(celsius).join('/'),
  },
  {
    name: 'GHz',
    width: 9,
    isText: true,
    value: ({ report: { heat } }) => [heat.lowestFrequency, heat.highestFrequency].map(gigahertz).join('…'),
  },
  { name: 'throttling', width: 10, isText: true, value: ({ report: { heat } }) => throttling(heat) },
]

interface Row extends NamedReport {
  run: BoardRun
  result: BoardResult
}

const readRate = ({ run, result }: Row) =>
  run.bandwidth.find(({ threads }) => threads === result.threads)?.bytesPerSecond ?? 0

const tests: Column<Row>[] = [
  { name: '#', width: 2, value: ({ id }) => String(id) },
  { name: 'model', width: 10, isText: true, value: ({ run }) => run.model },
  { name: 'type', width: 4, isText: true, value: ({ run }) => run.weightType },
  { name: 'cache', width: 5, isText: true, value: ({ run }) => run.cacheType },
  { name: 'test', width: 15, isText: true, value: ({ result }) => result.test },
  { name: 'threads', width: 7, value: ({ result }) => `${result.threads}${result.isTuned ? '*' : ' '}` },
  { name: 'tok/s', width: 6, value: ({ result }) => digits(result.tokensPerSecond.median) },
  {
    name: 'min … max',
    width: 13,
    value: ({ result: { tokensPerSecond } }) => `${digits(tokensPerSecond.min)} … ${digits(tokensPerSecond.max)}`,
  },
  { name: 'GB/s', width: 5, value: ({ result }) => digits(result.bytesPerSecond / 1e9) },
  { name: 'read at best', width: 12, value: (row) => digits(readRate(row) / 1e9) },
  { name: 'of read', width: 7, value: ({ result }) => percent(result.bandwidthShare) },
  { name: 'barrier', width: 7, value: ({ result }) => percent(result.barrierShare) },
  { name: '°C', width: 3, value: ({ result }) => celsius(result.temperature) },
  { name: 'hash', width: 16, isText: true, value: ({ result }) => (result.differs ? 'DIFFERS' : result.hash) },
]

/** For a terminal, which has no room for columns that are the same in every row. */
const narrow = ['#', 'model', 'type', 'test', 'threads', 'tok/s', 'GB/s', 'of read', 'hash'].map(
  (name) => tests.find((column) => column.name === name) as Column<Row>,
)

/** One report in a few lines of a terminal. */
function describeBoard(named: NamedReport): string {
  const [id, ...facts] = boards.map(({ name, value }) => `${name} ${value(named) ?? '–'}`)
  const lines: string[] = []
  for (const fact of facts) {
    const last = lines.at(-1)
    if (last === undefined || last.length + fact.length > 92) lines.push(`  ${fact}`)
    else lines[lines.length - 1] = `${last}, ${fact}`
  }
  return `${id}\n${lines.join('\n')}\n`
}

/** What spoils a report, in words. */
function remarks({ id, report, problems }: NamedReport): string[] {
  const shares = report.runs.flatMap(({ results }) => results.flatMap(({ foreignShare = [] }) => foreignShare))
  const most = Math.max(0, ...shares)
  return [
    ...(report.isUnfinished ? [`- ${id}: it was stopped before all tests were run`] : []),
    ...(isBusy({ foreignShare: most })
      ? [`- ${id}: other programs took up to ${percent(most)} of the processors: this board can do more`]
      : []),
    ...(problems.length > 0 ? [`- ${id}: ITS FIGURES DO NOT FIT TOGETHER in ${plural(problems.length, 'place')}`] : []),
  ]
}

const versionOf = ({ software: { version, commit } }: BoardReport) =>
  [version ?? 'from source', commit && `(${commit})`].filter(Boolean).join(' ')

function rowsOf(named: NamedReport): Row[] {
  return named.report.runs.flatMap((run) => run.results.map((result) => ({ ...named, run, result })))
}

function table<T>(columns: readonly Column<T>[], items: T[]): string {
  const cells = items.map((item) => columns.map(({ value }) => value(item) ?? '–'))
  const fitting = columns.map((column, i) => ({
    ...column,
    width: Math.max(2, column.name.length, ...cells.map((row) => (row[i] as string).length)),
  }))
  return headLine(fitting) + cells.map((row) => tableLine(fitting, row)).join('')
}

/**
 * Tests that were run twice and more with weights that everybody has, and those of them that did not compute the same. Of
 * another commit, other bits are no fault.
 */
export function compareHashes(reports: NamedReport[]): { compared: number; problems: string[] } {
  const groups = new Map<string, Row[]>()
  for (const row of reports.flatMap(rowsOf)) {
    const { report, run, result } = row
    if (run.weights === 'own') continue
    const key = [versionOf(report), run.weights, run.plan, run.cacheType, result.test].join(' ')
    groups.set(key, [...(groups.get(key) ?? []), row])
  }
  const compared = [...groups.values()].filter((rows) => rows.length > 1)
  const problems = compared
    .filter(
      (rows) => rows.some(({ result }) => result.differs) || new Set(rows.map(({ result }) => result.hash)).size > 1,
    )
    .map((rows) => {
      const [{ run, result }] = rows as [Row]
      const found = rows.map(
        ({ id, result }) => `${result.hash} in report ${id} with ${plural(result.threads, 'thread')}`,
      )
      return `${run.model ?? 'a model'} ${run.weightType} ${result.test}: ${found.join(', ')}`
    })
  return { compared: compared.length, problems }
}

export const boardFormats: Record<'md' | 'csv' | 'json', (reports: NamedReport[]) => string> = {
  md: (reports) => {
    const { compared, problems } = compareHashes(reports)
    const hashes =
      compared === 0
        ? '- nothing was compared: no test was run with different threads or in several reports'
        : `- ${compared} tests were run with different threads or in several reports; the hashes of ${problems.length === 0 ? 'all are the same' : `${problems.length} DIFFER`}`
    const skipped = reports.flatMap(({ id, report }) =>
      report.skipped.map(
        ({ model, weightType }) => `- ${id}: ${model} ${weightType} was left out, its memory was not free`,
      ),
    )
    const files = reports.map(({ id, file, report }) => `- ${id}: ${file}, of ${report.date}, ${report.set}`)
    const isTerminal = process.stdout.isTTY === true
    return [
      isTerminal ? reports.map(describeBoard).join('') : table(boards, reports),
      table(isTerminal ? narrow : tests, reports.flatMap(rowsOf)),
      `${[...files, ...skipped, ...reports.flatMap(remarks), '- * behind a number of threads: the engine chose it', hashes].join('\n')}\n`,
    ].join('\n')
  },
  csv: (reports) =>
    csvLine([...boards.map(({ name }) => name), ...csvFields.map(([name]) => name)]) +
    reports
      .flatMap(rowsOf)
      .map((row) => csvLine([...boards.map(({ value }) => value(row)), ...csvFields.map(([, value]) => value(row))]))
      .join(''),
  json: (reports) => {
    const head = { schema: 'gta-boards/1', version: version ?? null }
    return `${JSON.stringify({ ...head, ...compareHashes(reports), reports })}\n`
  },
}

const csvFields: [string, (row: Row) => unknown][] = [
  ['date', ({ report }) => report.date],
  ['model', ({ run }) => run.model],
  ['weights', ({ run }) => run.weights],
  ['plan', ({ run }) => run.plan],
  ['type', ({ run }) => run.weightType],
  ['cache', ({ run }) => run.cacheType],
  ['test', ({ result }) => result.test],
  ['threads', ({ result }) => result.threads],
  ['tuned', ({ result }) => result.isTuned],
  ['tok_s_median', ({ result }) => result.tokensPerSecond.median],
  ['tok_s_min', ({ result }) => result.tokensPerSecond.min],
  ['tok_s_max', ({ result }) => result.tokensPerSecond.max],
  ['bytes_s', ({ result }) => result.bytesPerSecond],
  ['bandwidth_bytes_s', readRate],
  ['bandwidth_share', ({ result }) => result.bandwidthShare],
  ['ops_s', ({ result }) => result.operationsPerSecond],
  ['barrier_share', ({ result }) => result.barrierShare],
  ['foreign_share', ({ result }) => result.foreignShare],
  ['temperature_c', ({ result }) => result.temperature],
  ['hash', ({ result }) => result.hash],
  ['differs', ({ result }) => result.differs],
]
