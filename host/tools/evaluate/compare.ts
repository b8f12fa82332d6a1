/**
 * What a cheaper way to run a model costs: several models read the same text in lock step, and each is compared with the
 * first at every place, by all of its logits. Nothing is stored but sums, so a text may be as long as you like; the
 * models lie in memory together.
 *
 * KL(reference ‖ other) = Σ p · (log p − log q) tells more than perplexity does: it sees every change of the
 * distribution, and it does not average out.
 */
import { checkCallback, checkList, checkNames, checkSignal, errors } from '../../errors.ts'
import type { Predictions } from '../../runtime/api.ts'
import { countPredicted, largestBatch } from '../../runtime/evaluate.ts'
import { logSumExp } from '../../runtime/logprobs.ts'
import { type Model, runtimeOf } from '../../runtime/model.ts'

export interface LabelledModel {
  /** What it is called in the result. */
  label: string
  model: Model
}

/** A model on the text, and how it differs from the reference; the reference's own differences are zeros. */
export interface Difference {
  label: string
  /** Mean loss in nats per predicted token, its standard error, and e to it. */
  nll: number
  nllError: number
  perplexity: number
  /** perplexity / that of the reference − 1, and its standard error for a text of this length. */
  perplexityChange: number
  perplexityError: number
  /** KL(reference ‖ this) in nats: mean over the predicted tokens, and the largest. */
  meanKl: number
  maxKl: number
  /** Share of places at which both hold the same token most likely. */
  topAgreement: number
  /** Time that the model took for the text. */
  seconds: number
}

export interface Comparison {
  /** Tokens of the text, and how many of them were predicted. */
  tokens: number
  predicted: number
  /** Tokens that were read before the positions restarted at 0: the smallest context of the models. */
  window: number
  /** The reference first, then the others in their order. */
  results: Difference[]
}

/**
 * Compares models of one vocabulary with a reference on a text; more `maxLogits` make it faster. Throws GtaError for other
 * vocabularies, labels that are not different, and ids that are not in the vocabulary.
 */
export async function compare(
  reference: LabelledModel,
  others: readonly LabelledModel[],
  ids: number[],
  options: { signal?: AbortSignal; onProgress?: (done: number) => void } = {},
): Promise<Comparison> {
  checkNames('compare()', options, ['signal', 'onProgress'])
  checkSignal(options.signal)
  checkCallback('onProgress', options.onProgress)
  checkList('the other models of compare()', 'a list', others)
  const all = [reference, ...others]
  checkModels(all)
  const predicted = countPredicted(reference.model, ids)
  const models = all.map(({ model }) => model)
  const window = Math.min(...models.map(({ context }) => context))
  const batch = Math.min(...models.map((model) => largestBatch(runtimeOf(model))))
  const sums = all.map(() => ({
    seconds: 0,
    loss: 0,
    lossSquares: 0,
    rise: 0,
    riseSquares: 0,
    kl: 0,
    maxKl: 0,
    agreeing: 0,
  }))
  const texts = models.map((model) => model.predict(ids, { window, batch, signal: options.signal }))
  try {
    for (let done = 0; done < predicted; ) {
      // One model after the other: together they would only take the cores from each other.
      const slices: Predictions[] = []
      for (const [k, text] of texts.entries()) {
        const started = performance.now()
        slices.push((await text.next()).value as Predictions)
        ;(sums[k] as Sums).seconds += (performance.now() - started) / 1000
      }
      const expected = slices[0] as Predictions
      for (let i = 0; i < expected.count; i++) addPlace(sums, slices, i, ids[expected.from + i + 1] as number)
      done += expected.count
      options.onProgress?.(done)
    }
  } finally {
    for (const text of texts) await text.return(undefined)
  }
  const results = all.map(({ label }, i) => ({ label, ...difference(sums[i] as Sums, predicted) }))
  return { tokens: ids.length, predicted, window, results }
}

/** Sums over the predicted tokens. */
interface Sums {
  seconds: number
  loss: number
  lossSquares: number
  /** Loss less that of the reference, and its square. */
  rise: number
  riseSquares: number
  kl: number
  maxKl: number
  agreeing: number
}

function difference(sums: Sums, predicted: number): Omit<Difference, 'label'> {
  const nll = sums.loss / predicted
  const rise = sums.rise / predicted
  const perplexityChange = Math.expm1(rise)
  const errorOf = (squares: number, mean: number) =>
    Math.sqrt(Math.max(0, squares / predicted - mean * mean) / predicted)
  return {
    nll,
    nllError: errorOf(sums.lossSquares, nll),
    perplexity: Math.exp(nll),
    perplexityChange,
    perplexityError: (1 + perplexityChange) * errorOf(sums.riseSquares, rise),
    meanKl: sums.kl / predicted,
    maxKl: sums.maxKl,
    topAgreement: sums.agreeing / predicted,
    seconds: sums.seconds,
  }
}

/** Adds what the models expect at place i of their slices, where `target` follows. */
function addPlace(sums: Sums[], slices: Predictions[], i: number, target: number): void {
  const [expected] = slices as [Predictions]
  const p = expected.logits(i)
  const pNorm = logSumExp(p)
  const loss = pNorm - (p[target] as number)
  sums.forEach((sum, k) => {
    const slice = slices[k] as Predictions
    const q = slice.logits(i)
    const qNorm = k === 0 ? pNorm : logSumExp(q)
    const kl = k === 0 ? 0 : klDivergence(p, q, pNorm, qNorm)
    const rise = qNorm - (q[target] as number) - loss
    sum.loss += loss + rise
    sum.lossSquares += (loss + rise) ** 2
    sum.rise += rise
    sum.riseSquares += rise * rise
    sum.kl += kl
    sum.maxKl = Math.max(sum.maxKl, kl)
    if (slice.top[i] === expected.top[i]) sum.agreeing++
  })
}

/**
 * KL(softmax(p) ‖ softmax(q)) of logits, in nats; `pNorm` and `qNorm` are their logSumExp.
 *
 * With d = log p − log q it is Σ p·d, whose terms have both signs and cancel: of a divergence of 1e-8, half the digits
 * would be lost. As Σ (q − p) is zero, Σ p·d + q − p is the same sum, and none of its terms p·(d + e^−d − 1) is negative.
 */
export function klDivergence(
  p: ArrayLike<number>,
  q: ArrayLike<number>,
  pNorm = logSumExp(p),
  qNorm = logSumExp(q),
): number {
  let sum = 0
  for (let i = 0; i < p.length; i++) {
    const logP = (p[i] as number) - pNorm
    const logQ = (q[i] as number) - qNorm
    const d = logP - logQ
    const share = Math.exp(logP)
    // Near zero expm1 keeps the digits; far from it, it could be infinity times a share of zero.
    sum += Math.abs(d) < 1 ? share * (d + Math.expm1(-d)) : share * d + (Math.exp(logQ) - share)
  }
  return sum
}

function checkModels(all: readonly LabelledModel[]): void {
  const [reference] = all as [LabelledModel]
  for (const one of all) runtimeOf(one?.model)
  const { vocabSize } = reference.model.spec
  for (const { label, model } of all) {
    if (all.filter((other) => other.label === label).length > 1)
      throw errors.badOption('the labels of compare()', 'different, so that the results can be told apart', label)
    if (model.spec.vocabSize !== vocabSize)
      throw errors.badOption(
        `the vocabulary of "${label}"`,
        `that of "${reference.label}", ${vocabSize} tokens, so that their logits are about the same tokens`,
        model.spec.vocabSize,
      )
  }
}
