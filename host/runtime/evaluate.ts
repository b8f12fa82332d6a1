/** Perplexity: how surprised the model is by a text. Differences between models: compare.ts. */
import { greedy } from '../engine/engine.ts'
import { checkCallback, checkList, checkNames, checkSignal, checkTokens, errors } from '../errors.ts'
import type { Evaluation, Predictions, PredictOptions } from './api.ts'
import { logSumExp } from './logprobs.ts'
import type { Runtime } from './runtime.ts'
import type { SampledLogits } from './scheduler.ts'
import { Sequence } from './sequence.ts'

/**
 * Consecutive windows: ids[o … o+W] predict ids[o+1 … o+W+1], positions restart at 0, o += W. The same protocol as the
 * reference's, so figures compare. All that evaluation asks of a conversation is here. Throws GtaError for fewer than two
 * tokens, ids that are not in the vocabulary, and options out of range.
 */
export async function* predict(
  runtime: Runtime,
  ids: number[],
  options: PredictOptions,
): AsyncGenerator<Predictions, void> {
  checkNames('predict()', options, ['window', 'batch', 'signal'])
  const { window = runtime.context, batch = largestBatch(runtime), signal } = options
  checkSignal(signal)
  const { vocabSize } = runtime.spec
  const isCount = (value: number, most: number) => Number.isInteger(value) && value >= 1 && value <= most
  if (!isCount(window, runtime.context))
    throw errors.badOption('window of predict()', `a whole number from 1 to the context of ${runtime.context}`, window)
  if (!isCount(batch, 4096)) throw errors.badOption('batch of predict()', 'a whole number from 1 to 4096', batch)
  const predicted = countPredicted(runtime, ids)
  const kept = new Float32Array(Math.min(batch, predicted) * vocabSize)
  using sequence = new Sequence(runtime, {})
  for (let start = 0; start < predicted; start += window) {
    const end = Math.min(predicted, start + window)
    sequence.cut(0)
    for (let from = start; from < end; from += batch) {
      const tokens = ids.slice(from, Math.min(from + batch, end))
      const top = new Uint32Array(tokens.length)
      let place = 0
      // Logits are copied: others may share the steps, and the engine's are gone with the next one.
      const onSampled = async (token: number, { values }: SampledLogits) => {
        kept.set(await values(), place * vocabSize)
        top[place++] = token
      }
      await sequence.feed({ tokens, sampling: greedy, isEvery: true, signal, onSampled })
      yield { from, count: tokens.length, top, logits: (i) => kept.subarray(i * vocabSize, (i + 1) * vocabSize) }
    }
  }
}

/** Places that one step of the model predicts at most. */
export function largestBatch({ cache }: Runtime): number {
  return Math.min(cache.facts.maxRows, cache.facts.maxLogits)
}

/** How many tokens of a text a model predicts: all but the first. Throws GtaError for a text that it cannot. */
export function countPredicted({ spec }: Pick<Runtime, 'spec'>, ids: number[]): number {
  checkList('token ids', 'a list of whole numbers', ids)
  if (ids.length < 2) throw errors.shortText(ids.length)
  checkTokens(ids, spec.vocabSize)
  return ids.length - 1
}

/** See Model.evaluate. */
export async function evaluate(
  runtime: Runtime,
  ids: number[],
  options: { signal?: AbortSignal; onProgress?: (done: number) => void },
): Promise<Evaluation> {
  checkNames('evaluate()', options, ['signal', 'onProgress'])
  checkCallback('onProgress', options.onProgress)
  const predicted = countPredicted(runtime, ids)
  const losses = new Float32Array(predicted)
  const top = new Uint32Array(predicted)
  for await (const places of predict(runtime, ids, { signal: options.signal })) {
    const { from, count } = places
    top.set(places.top, from)
    for (let i = 0; i < count; i++) {
      const logits = places.logits(i)
      losses[from + i] = logSumExp(logits) - (logits[ids[from + i + 1] as number] as number)
    }
    options.onProgress?.(from + count)
  }
  const nll = losses.reduce((sum, value) => sum + value, 0) / predicted
  const variance = losses.reduce((sum, value) => sum + (value - nll) ** 2, 0) / predicted
  const nllError = Math.sqrt(variance / predicted)
  return { tokens: ids.length, predicted, nll, nllError, perplexity: Math.exp(nll), losses, top }
}
