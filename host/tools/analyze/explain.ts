/**
 * Prediction against measurement: a test of `gta bench`, its parts as the engine accounted for them, and what the analyzer
 * expected of this machine. Waiting at barriers is shared out among the parts on both sides.
 */
import type { ModelDescription } from '../../../models/index.ts'
import { type StepProfile, secondsOf, stepParts } from '../../engine/engine.ts'
import type { BenchReport } from '../bench/report.ts'
import { amount, duration } from './amounts.ts'
import { Analysis } from './analyze.ts'
import { partNames } from './charts.ts'
import type { Hardware, MeasuredRates } from './hardware.ts'
import { type OperationPart, operationParts } from './operation.ts'
import { barPlot } from './plot/bars.ts'
import type { PassResult } from './walk.ts'

export interface Explanation {
  /** Model and test: 'gta-1b q8 tg64 @ d2048'. */
  name: string
  threads: number
  /** Seconds of the whole test. */
  groups: { part: OperationPart; predicted: number; measured: number }[]
  predicted: number
  measured: number
}

/** What was run: as in host/tools/bench/workload.ts. */
interface ExplainedTest {
  phase: 'pp' | 'tg' | 'pg'
  tokens: number
  prompt?: number
  depth: number
  conversations: number
  threads: number
}

/** Mean of the threads; what they waited for each other is shared out among the parts. */
export function withoutBarriers(profiles: StepProfile[]): StepProfile {
  const mean = Object.fromEntries(
    stepParts.map((part) => [part, profiles.reduce((sum, profile) => sum + profile[part], 0) / profiles.length]),
  ) as StepProfile
  const total = secondsOf(mean)
  const factor = total > mean.barrier ? total / (total - mean.barrier) : 1
  return Object.fromEntries(
    stepParts.map((part) => [part, part === 'barrier' ? 0 : mean[part] * factor]),
  ) as StepProfile
}

/** Every test of a benchmark on this machine, which was measured, explained. */
export function explainBench(
  report: BenchReport,
  name: string,
  model: ModelDescription,
  hardware: Hardware,
): Explanation[] {
  const { weightType: type, cacheType: cache, batch: rowsPerStep } = report
  const during = asDuring(report, hardware)
  return report.results.map((result) => {
    const analysis = new Analysis(model, during, { type, cache, rowsPerStep, threads: result.threads })
    const parts = withoutBarriers([result.parts])
    const total = secondsOf(parts) || 1
    const shares = Object.fromEntries(operationParts.map((part) => [part, parts[part] / total])) as Record<
      OperationPart,
      number
    >
    const seconds = (result.tokens * result.conversations) / result.tokensPerSecond.median
    return explain(`${name} ${type} ${result.test}`, analysis, result, seconds, shares)
  })
}

/**
 * The machine as it was during the run, which measured how fast memory was read just before: a figure of another day, or of
 * a busy hour, explains nothing. What single rows read of the weights is bound by it and goes up and down with it.
 */
export function asDuring({ bandwidth: read }: Pick<BenchReport, 'bandwidth'>, hardware: Hardware): Hardware {
  const known = hardware.rates ?? []
  const rates = read.flatMap(({ threads, bytesPerSecond }) => {
    const closest = nearest(threads, known)
    return closest ? [scaled(closest, threads, bytesPerSecond)] : []
  })
  const most = read.reduce((best, one) => (one.bytesPerSecond > best.bytesPerSecond ? one : best))
  const value = {
    value: most.bytesPerSecond,
    source: `read with ${most.threads} thread${most.threads === 1 ? '' : 's'} in this run`,
  }
  const sorted = rates.toSorted((a, b) => a.threads - b.threads)
  return { ...hardware, bandwidth: { peak: value, sustained: value }, rates: sorted }
}

/** Rates of so many threads: arithmetic grows with their number, where that number itself was not measured. */
function scaled(rates: MeasuredRates, threads: number, bandwidth: number): MeasuredRates {
  const [faster, wider] = [threads / rates.threads, bandwidth / rates.bandwidth]
  const linear = Object.entries(rates.linear).map(([type, rate]) => [
    type,
    rate && { operations: rate.operations * faster, bytes: rate.bytes * wider },
  ])
  const sweep = { many: rates.sweep.many * faster, one: rates.sweep.one * faster }
  return { ...rates, threads, bandwidth, linear: Object.fromEntries(linear), sweep }
}

/** Not every count of threads was measured. */
function nearest(wanted: number, measured: readonly MeasuredRates[]): MeasuredRates | undefined {
  return measured.toSorted((a, b) => Math.abs(a.threads - wanted) - Math.abs(b.threads - wanted))[0]
}

/** A table for each test, for people. */
export function explanationText(explanations: readonly Explanation[]): string {
  const names = ['part', 'predicted', 'measured', 'ratio']
  return explanations
    .map((one) => {
      const rows = [names, ...explanationRows(one)]
      const widths = names.map((_, i) => Math.max(...rows.map((row) => (row[i] as string).length)))
      const line = (row: string[]) =>
        `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join(' | ')} |\n`
      const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
      const [head, ...body] = rows as [string[], ...string[][]]
      const title = `${one.name}, ${one.threads} thread${one.threads === 1 ? '' : 's'}, predicted and measured:`
      return `\n${title}\n\n${line(head)}${line(rule)}${body.map(line).join('')}`
    })
    .join('')
}

/** Seconds of each part as the analyzer expects them. */
export function predictTest(
  analysis: Analysis,
  { phase, tokens, prompt = 0, depth, conversations, threads }: ExplainedTest,
): Record<OperationPart, number> {
  if (phase === 'pg') {
    const common = { conversations, threads }
    const read = predictTest(analysis, { ...common, phase: 'pp', tokens: prompt, depth })
    const told = predictTest(analysis, { ...common, phase: 'tg', tokens: tokens - prompt, depth: depth + prompt })
    return Object.fromEntries(operationParts.map((part) => [part, read[part] + told[part]])) as typeof read
  }
  const seconds = Object.fromEntries(operationParts.map((part) => [part, 0])) as Record<OperationPart, number>
  const add = (pass: PassResult, factor: number) => {
    for (const { part, seconds: one, count } of pass.operations) seconds[part] += factor * one * count
  }
  if (phase === 'tg') {
    // Time is linear in the position, so the token in the middle stands for all.
    add(analysis.pass('decode', conversations, depth + (tokens - 1) / 2), tokens)
    return seconds
  }
  // A prompt behind `depth` tokens: the whole context, less the tokens before the prompt.
  add(analysis.pass('prefill', 1, depth + tokens), 1)
  if (depth > 0) {
    add(analysis.pass('prefill', 1, depth), -1)
    // Both passes count the output head, so the difference has lost it: it is added once.
    const head = analysis
      .pass('prefill', 1, 1)
      .operations.filter(({ name }) => name === 'lm_head' || name === 'final_norm')
    for (const { part, seconds: one } of head) seconds[part] += one
  }
  return seconds
}

/** `shares`: of each part in the measured time. */
export function explain(
  name: string,
  analysis: Analysis,
  test: ExplainedTest,
  measured: number,
  shares: Record<OperationPart, number>,
): Explanation {
  const predicted = predictTest(analysis, test)
  return {
    name,
    threads: test.threads,
    groups: operationParts.map((part) => ({ part, predicted: predicted[part], measured: measured * shares[part] })),
    predicted: operationParts.reduce((sum, part) => sum + predicted[part], 0),
    measured,
  }
}

/** A row for each part, and for the whole; the ratio is measured over predicted. */
export function explanationRows({ groups, predicted, measured }: Explanation): string[][] {
  const row = (what: string, expected: number, found: number) => [
    what,
    duration(expected),
    duration(found),
    expected > 0 ? `${(found / expected).toFixed(2)}` : '–',
  ]
  const some = groups.filter((group) => group.predicted > 0 || group.measured > 0)
  return [
    ...some.map((group) => row(partNames[group.part], group.predicted, group.measured)),
    row('together', predicted, measured),
  ]
}

export function explanationChart(explanation: Explanation, width = 480): string {
  const { name, threads, groups, predicted, measured } = explanation
  const rows = groups
    .filter((group) => group.predicted > 0 || group.measured > 0)
    .map((group) => ({ name: partNames[group.part], values: [group.predicted, group.measured] }))
  return barPlot({
    title: `${name}, ${threads} thread${threads === 1 ? '' : 's'}`,
    description: `Predicted ${duration(predicted)}, measured ${duration(measured)}, ${amount(measured / predicted, '', 3)}times as long`,
    series: ['predicted', 'measured'],
    rows: [...rows, { name: 'together', values: [predicted, measured] }],
    format: duration,
    width,
  })
}
