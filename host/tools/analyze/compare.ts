/** Models side by side: sweeps over the context, and the points from which one is worth more than the other. */
import { MAX_MEMORY, SYSTEM_BYTES } from '../../engine/limits.ts'
import { tokensInWords } from './amounts.ts'
import { type Analysis, cacheBytesPerToken } from './analyze.ts'
import type { Stage } from './walk.ts'

/** Contexts that are looked at: as far as anybody's models go. */
const MOST_TOKENS = 2 ** 24

/** Powers of two, and the half between two of them, from … to. */
export function contextSteps(from: number, to: number): number[] {
  const steps: number[] = []
  for (let n = from; n <= to; n *= 2) {
    steps.push(n)
    if (n * 1.5 < to && Number.isInteger(n * 1.5)) steps.push(n * 1.5)
  }
  if (steps.at(-1) !== to) steps.push(to)
  return steps
}

/** How many times longer `slow` takes than `fast`. */
export function speedRatio(slow: Analysis, fast: Analysis, stage: Stage, batch: number, context: number): number {
  return slow.seconds(stage, batch, context) / fast.seconds(stage, batch, context)
}

/**
 * The shortest context from which `fast` is `factor` times faster, there and at all longer ones that are looked at, up to 16
 * million tokens: where a cache outgrows the chip the ratio may fall again. Undefined: none.
 */
export function breakEven(
  slow: Analysis,
  fast: Analysis,
  stage: Stage,
  batch: number,
  factor: number,
): number | undefined {
  const isWorth = (context: number) => speedRatio(slow, fast, stage, batch, context) >= factor
  const steps = contextSteps(1, MOST_TOKENS)
  const last = steps.findLastIndex((context) => !isWorth(context))
  if (last === steps.length - 1) return undefined
  let [low, high] = [steps[last] ?? 0, steps[last + 1] as number]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (isWorth(middle)) high = middle
    else low = middle
  }
  return high
}

/** Conversations of so many tokens that fit beside the weights in `bytes` of memory; 0: not even the weights do. */
export function conversationsIn(analysis: Analysis, bytes: number, context: number): number {
  const isEngine = analysis.formats.is === 'engine'
  const available = isEngine ? Math.min(bytes - SYSTEM_BYTES, MAX_MEMORY) : bytes
  const one = analysis.memory(analysis.pass('decode', 1, context))
  return Math.max(0, Math.floor((available - one.weights - one.activations) / one.cache))
}

export interface SpeedComparison {
  /** Indices of the analyses: the faster one, and the one that it is compared with. */
  fast: number
  slow: number
  batch: number
  /** Decode, by factor: the context from which it is so many times faster. */
  decode: { factor: number; context: number | undefined }[]
  /** The same for prompts. */
  prefill: { factor: number; context: number | undefined }[]
  /** Bytes of the cache per token: fast over slow. */
  cacheShare: number
}

const FACTORS = [1.1, 1.25, 1.5, 2, 3]

/** Each model against the first one. Which is faster is decided where contexts are long. */
export function compareAll(analyses: readonly Analysis[], batch: number): SpeedComparison[] {
  const [first, ...others] = analyses
  if (!first) return []
  return others.map((other, i) => {
    const isOtherFaster = speedRatio(first, other, 'decode', batch, 2 ** 20) >= 1
    const [fast, slow] = isOtherFaster ? [other, first] : [first, other]
    const points = (stage: Stage) =>
      FACTORS.map((factor) => ({ factor, context: breakEven(slow, fast, stage, batch, factor) }))
    return {
      fast: isOtherFaster ? i + 1 : 0,
      slow: isOtherFaster ? 0 : i + 1,
      batch,
      decode: points('decode'),
      prefill: points('prefill'),
      cacheShare: cacheBytesPerToken(fast) / cacheBytesPerToken(slow),
    }
  })
}

/** 'gta-1b decodes 1.5 × faster than gqa-1b from 30 k tokens on (batch 1)' and what is never reached. */
export function comparisonSentences(comparison: SpeedComparison, names: readonly string[]): string[] {
  const [fast, slow] = [names[comparison.fast], names[comparison.slow]]
  const conditions = `batch ${comparison.batch}`
  const list = (points: SpeedComparison['decode']) =>
    points
      .filter(({ context }) => context !== undefined)
      .map(({ factor, context }) =>
        context === 1 ? `${factor} × always` : `${factor} × from ${tokensInWords(context as number)} tokens on`,
      )
      .join(', ')
  const say = (verb: string, points: SpeedComparison['decode']) => {
    const reached = list(points)
    return reached === ''
      ? `${fast} ${verb} never as much as ${points[0]?.factor} × faster than ${slow} (${conditions})`
      : `${fast} ${verb} faster than ${slow}: ${reached} (${conditions})`
  }
  return [
    `${fast} keeps ${(100 * comparison.cacheShare).toFixed(1)} % of the cache bytes of ${slow}`,
    say('decodes', comparison.decode),
    say('reads prompts', comparison.prefill),
  ]
}
