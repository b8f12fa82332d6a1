/** The part of a report that says what was measured: `gta bench -o html` shows it before what was predicted. */
import { stepParts } from '../../engine/engine.ts'
import { isBusy } from '../../runtime/measurements.ts'
import type { BenchReport, BenchResult } from '../bench/report.ts'
import { amount, exactly, percent } from './amounts.ts'
import { escapeHtml } from './plot/svg.ts'
import { table } from './report.ts'

export interface NamedBench {
  name: string
  report: BenchReport
}

/** HTML: the machine, every test with its spread and hash, and where its time went. */
export function benchSection(benches: readonly NamedBench[]): string {
  const rows = benches.flatMap(({ name, report }) => report.results.map((result) => ({ name, report, result })))
  const [first] = benches
  if (!first) return ''
  const isOne = benches.length === 1
  const nameOf = ({ name, result }: (typeof rows)[number]) => (isOne ? result.test : `${name} ${result.test}`)
  const speeds = rows.map((row) => [nameOf(row), ...speedCells(row.result)])
  const parts = rows.map((row) => [nameOf(row), String(row.result.threads), ...partCells(row.result)])
  const partNames = ['matrices', 'attention sweep', 'value decoder', 'the rest', 'waiting', 'reading from disk']
  return [
    '<section><h2>Measured</h2>',
    list(describe(benches)),
    table(
      'Speed: median, standard deviation and range of the repetitions',
      ['test', 'threads', 'tok/s', '±', 'range', 'bytes', 'of read', 'operations', 'others took', 'hash'],
      speeds,
    ),
    table('Where the time of a thread went, on average over the repetitions', ['test', 'threads', ...partNames], parts),
    '</section>',
  ].join('\n')
}

const list = (lines: string[]) => `<ul>${lines.map((line) => `<li>${escapeHtml(line)}</li>`).join('')}</ul>`

function describe(benches: readonly NamedBench[]): string[] {
  const [{ report }] = benches as [NamedBench]
  const { board, cpu, cores, platform, governor, node, version, commit, build, date } = report.environment
  const machine = [board, cpu, `${cores} cores`, platform, `governor ${governor ?? 'unknown'}`]
  const software = [`gta-edge ${version ?? 'from source'}${commit ? ` (${commit})` : ''}`, build, `Node ${node}`, date]
  const read = report.bandwidth.map(
    ({ threads, bytesPerSecond }) =>
      `${amount(bytesPerSecond, 'B/s', 3)} with ${threads} thread${threads === 1 ? '' : 's'}`,
  )
  const models = benches.map(({ name, report: one }) => {
    const { kind, weightType, cacheType, weightBytes, parameters, isSynthetic, repetitions } = one
    const weights = `${isSynthetic ? 'synthetic ' : ''}${weightType} weights of ${amount(weightBytes, 'B', 3)}`
    return `${name}: ${kind}, ${amount(parameters, '', 3)} parameters, ${weights}, ${cacheType} cache, ${repetitions} repetitions`
  })
  const busy = Math.max(0, ...benches.flatMap((one) => one.report.results.map(({ foreignShare = 0 }) => foreignShare)))
  const unfinished = benches.every((one) => one.report.isComplete) ? [] : ['stopped before all tests were run']
  return [
    `machine: ${machine.filter(Boolean).join(', ')}`,
    `software: ${software.join(', ')}`,
    ...models,
    `memory reads at best ${read.join(', ')}; load ${report.load?.toFixed(1) ?? 'unknown'} when it began`,
    ...unfinished,
    ...(isBusy({ foreignShare: busy })
      ? [`other programs took up to ${percent(busy)} of the processors: the machine was busy, it can do more than this`]
      : []),
  ]
}

function speedCells(result: BenchResult): string[] {
  const { threads, tokensPerSecond, bytesPerSecond, bandwidthShare, operationsPerSecond, foreignShare } = result
  const { median, deviation, min, max } = tokensPerSecond
  const speed = (n: number) => (n < 1000 ? String(Number(n.toPrecision(3))) : exactly(Math.round(n)))
  return [
    String(threads),
    speed(median),
    speed(deviation),
    `${speed(min)} … ${speed(max)}`,
    amount(bytesPerSecond, 'B/s', 3),
    percent(bandwidthShare),
    amount(operationsPerSecond, 'OP/s', 3),
    foreignShare === undefined ? '–' : percent(foreignShare),
    result.problems.length > 0 ? 'DIFFERS' : result.hash,
  ]
}

function partCells({ parts }: BenchResult): string[] {
  const total = stepParts.reduce((sum, part) => sum + parts[part], 0) || 1
  const order = ['linear', 'attention', 'valueDecoder', 'rest', 'barrier', 'stream'] as const
  return order.map((part) => percent(parts[part] / total))
}
