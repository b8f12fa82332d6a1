/** Perplexity: how surprised the model is by a text. */
import { greedy } from './engine.ts'
import { checkTokens, errors } from './errors.ts'
import type { Model } from './model.ts'

export interface Evaluation {
  /** Tokens of the text, and how many of them were predicted. */
  tokens: number
  predicted: number
  /** Mean loss in nats per predicted token, and e to it. */
  nll: number
  perplexity: number
  /** Loss of each predicted token: the second token of the text is the first. */
  losses: Float32Array
  /** The most likely token at each predicted place. */
  top: Uint32Array
}

/**
 * Consecutive windows of the context: ids[o … o+W] predict ids[o+1 … o+W+1], positions restart at 0, o += W. The same
 * protocol as the reference's, so figures compare.
 */
export async function evaluate(
  model: Model,
  ids: number[],
  options: { signal?: AbortSignal; onProgress?: (done: number) => void },
): Promise<Evaluation> {
  const { spec, context } = model
  if (ids.length < 2) throw errors.shortText(ids.length)
  checkTokens(ids, spec.vocabSize)
  const predicted = ids.length - 1
  const losses = new Float32Array(predicted)
  const top = new Uint32Array(predicted)
  using conversation = model.open()
  for (let window = 0; window < predicted; window += context) {
    let place = window
    conversation.cut(0)
    await conversation.feed({
      tokens: ids.slice(window, Math.min(predicted, window + context)),
      sampling: greedy,
      isEvery: true,
      signal: options.signal,
      onSampled: (token, logits) => {
        top[place] = token
        losses[place] = loss(logits, ids[place + 1] as number)
        place++
      },
      onProgress: (done) => options.onProgress?.(window + done),
    })
  }
  const nll = losses.reduce((sum, value) => sum + value, 0) / predicted
  return { tokens: ids.length, predicted, nll, perplexity: Math.exp(nll), losses, top }
}

/** −log softmax(logits)[target] */
function loss(logits: Float32Array, target: number): number {
  let peak = Number.NEGATIVE_INFINITY
  for (const value of logits) if (value > peak) peak = value
  let sum = 0
  for (const value of logits) sum += Math.exp(value - peak)
  return Math.log(sum) + peak - (logits[target] as number)
}
