/** From the runs of all engines to rows and a Markdown table. */
import type { Result } from './measure.ts'
import { countQuiet, type Run } from './processes.ts'

/** All runs of one engine on one model with one number of threads asked for. */
export interface Series {
  engine: string
  model: string
  weights: string
  runs: Run[]
  /** What this one is compared with: our series beside it. */
  ours?: Series
}

export interface Row {
  engine: string
  model: string
  weights: string
  threads: number
  test: string
  tokensPerSecond: { median: number; min: number; max: number }
  /** Ours by this one, medians; undefined for ours. */
  oursToPeer?: number
  peakRssBytes: number
  /** The worst run's. */
  foreignCpu?: number
  /** This engine or ours had to share the machine: the ratio says nothing. */
  isNoisy: boolean
}

export function rowsOf(series: Series): Row[] {
  const { engine, model, weights, runs, ours } = series
  const rssBytes = Math.max(...runs.map(({ report }) => report.peakRssBytes))
  const foreign = runs.flatMap(({ foreignCpu }) => foreignCpu ?? [])
  const isNoisy = [series, ...(ours ? [ours] : [])].some(({ runs }) => countQuiet(runs) < runs.length)
  return (runs[0]?.report.results ?? []).map((result) => {
    const tokensPerSecond = speedOf(series, result)
    return {
      engine,
      model,
      weights,
      threads: result.threads,
      test: result.test === 'pp' ? `prefill ${result.tokens}` : `decode @${result.depth}`,
      tokensPerSecond,
      oursToPeer: ours && speedOf(ours, result).median / tokensPerSecond.median,
      peakRssBytes: rssBytes,
      foreignCpu: foreign.length > 0 ? Math.max(...foreign) : undefined,
      isNoisy,
    }
  })
}

function speedOf({ runs }: Series, wanted: Result): Row['tokensPerSecond'] {
  const isWanted = ({ test, tokens, depth }: Result) =>
    test === wanted.test && tokens === wanted.tokens && depth === wanted.depth
  const speeds = runs
    .flatMap(({ report }) => report.results.filter(isWanted).map(({ tokensPerSecond }) => tokensPerSecond.median))
    .sort((a, b) => a - b)
  return { median: medianOf(speeds), min: speeds[0] ?? Number.NaN, max: speeds.at(-1) ?? Number.NaN }
}

/** Of sorted numbers. */
function medianOf(sorted: number[]): number {
  const half = sorted.length / 2
  const [low = Number.NaN, high = low] = sorted.slice(Math.ceil(half) - 1, Math.floor(half) + 1)
  return (low + high) / 2
}

export function markdown(rows: Row[]): string {
  const columns: Record<string, (row: Row) => string> = {
    engine: (row) => row.engine,
    model: (row) => row.model,
    weights: (row) => row.weights,
    threads: (row) => String(row.threads),
    test: (row) => row.test,
    'tok/s': ({ tokensPerSecond: { median, min, max } }) => `${speed(median)} [${speed(min)}–${speed(max)}]`,
    'ours / peer': (row) => `${row.oursToPeer?.toFixed(2) ?? ''}${row.oursToPeer && row.isNoisy ? ' ?' : ''}`,
    'peak RSS MB': (row) => (row.peakRssBytes / 1e6).toFixed(0),
    'foreign CPU': (row) => (row.foreignCpu === undefined ? '?' : `${(100 * row.foreignCpu).toFixed(0)} %`),
  }
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  return [
    line(Object.keys(columns)),
    line(Object.keys(columns).map(() => '---')),
    ...rows.map((row) => line(Object.values(columns).map((cell) => cell(row)))),
  ].join('\n')
}

export const speed = (tokensPerSecond: number) => tokensPerSecond.toFixed(tokensPerSecond < 100 ? 1 : 0)
