/**
 * Prediction against measurement: a test of `gta bench`, its parts as the engine accounted for them, and what the analyzer
 * expected of this machine. Waiting at barriers is shared out among the parts on both sides.
 */
import { type OperationPart, operationParts } from '../../models/index.ts'
import { amount, duration } from './amounts.ts'
import type { Analysis } from './analyze.ts'
import { barPlot } from './plot.ts'
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

/** What was run: as in host/bench/workload.ts. */
export interface ExplainedTest {
  phase: 'pp' | 'tg'
  tokens: number
  depth: number
  conversations: number
  threads: number
}

/** Seconds of each part as the analyzer expects them. */
export function predictTest(analysis: Analysis, { phase, tokens, depth, conversations }: ExplainedTest) {
  const seconds = Object.fromEntries(operationParts.map((part) => [part, 0])) as Record<OperationPart, number>
  const add = (pass: PassResult, factor: number) => {
    for (const { part, seconds: one, count } of pass.operations) seconds[part] += factor * one * count
  }
  if (phase === 'tg') {
    // Linear in the position: the middle one stands for all.
    add(analysis.pass('decode', conversations, depth + (tokens - 1) / 2), tokens)
    return seconds
  }
  // A prompt behind others: all of it, without what was there before.
  add(analysis.pass('prefill', 1, depth + tokens), 1)
  if (depth > 0) {
    add(analysis.pass('prefill', 1, depth), -1)
    // Of the two output heads one is not there.
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

const titles: Record<OperationPart, string> = {
  linear: 'matrices',
  attention: 'attention sweep',
  valueDecoder: 'value decoder',
  rest: 'the rest',
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
    ...some.map((group) => row(titles[group.part], group.predicted, group.measured)),
    row('together', predicted, measured),
  ]
}

export function explanationChart(explanation: Explanation, width = 480): string {
  const { name, threads, groups, predicted, measured } = explanation
  const rows = groups
    .filter((group) => group.predicted > 0 || group.measured > 0)
    .map((group) => ({ name: titles[group.part], values: [group.predicted, group.measured] }))
  return barPlot({
    title: `${name}, ${threads} thread${threads === 1 ? '' : 's'}`,
    description: `Predicted ${duration(predicted)}, measured ${duration(measured)}, ${amount(measured / predicted, '', 3)}times as long`,
    series: ['predicted', 'measured'],
    rows: [...rows, { name: 'together', values: [predicted, measured] }],
    format: duration,
    width,
  })
}
