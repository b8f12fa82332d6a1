/**
 * How likely tokens were: log probabilities of the model's own distribution, as its logits say, before masks, biases,
 * penalties and temperature. As OpenAI has them.
 */
import type { ScoredToken } from './api.ts'

/** What a token is in bytes. */
type Bytes = (id: number) => Uint8Array

/** A token by its logits (vocabSize), and the `count` most likely ones in their place, best first, the lower id first among equals. */
export function scoreToken(logits: Float32Array, token: number, count: number, bytesOf: Bytes): ScoredToken {
  const total = logSumExp(logits)
  const score = (id: number) => ({ id, bytes: bytesOf(id), logprob: (logits[id] as number) - total })
  return { ...score(token), top: largest(logits, count).map(score) }
}

/** Indices of the `count` largest numbers. */
function largest(values: Float32Array, count: number): number[] {
  const found: number[] = []
  if (count === 0) return found
  let least = Number.NEGATIVE_INFINITY
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number
    if (found.length === count && value <= least) continue
    let at = found.length
    while (at > 0 && (values[found[at - 1] as number] as number) < value) at--
    found.splice(at, 0, i)
    if (found.length > count) found.pop()
    least = values[found.at(-1) as number] as number
  }
  return found
}

/** log Σ e^logit in float64: what a logit is diminished by to be a log probability. */
export function logSumExp(logits: ArrayLike<number>): number {
  let peak = Number.NEGATIVE_INFINITY
  for (let i = 0; i < logits.length; i++) peak = Math.max(peak, logits[i] as number)
  let sum = 0
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] as number) - peak)
  return Math.log(sum) + peak
}
