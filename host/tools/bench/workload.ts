/**
 * What a benchmark runs, and what that takes: multiply-adds and bytes, counted from the model. The names are those of
 * llama-bench: pp reads a prompt, tg generates text.
 */
import {
  type CacheType,
  cacheBytes,
  cost,
  headBytes,
  type ModelDescription,
  type Plan,
  weightBytesPerToken,
} from '../../../models/index.ts'

export interface Workload {
  phase: 'pp' | 'tg'
  /** Tokens of each conversation. */
  tokens: number
  /** Positions that are in the cache before. */
  depth: number
  /** Conversations that get a token in each step of tg; 1 for pp. */
  conversations: number
}

/** A workload, and the threads that run all of its steps. */
export interface BenchTest extends Workload {
  threads: number
}

export interface BenchProgress {
  /** What is being done, for people. */
  label: string
  done: number
  total: number
}

/** pp128, tg64 x8 @ d1536 */
export function workloadName({ phase, tokens, depth, conversations }: Workload): string {
  return `${phase}${tokens}${conversations > 1 ? ` x${conversations}` : ''}${depth > 0 ? ` @ d${depth}` : ''}`
}

export interface Work {
  /** Multiply-adds, counted as in `cost()`. */
  macs: number
  /** The least that must be read: weights once per step, a conversation's cache once per step. */
  bytes: number
}

/** Counts a workload whose prompts are read in slices of `batch` tokens. */
export function workCounter(model: ModelDescription, plan: Plan, cache: CacheType, batch: number) {
  const { spec } = model
  const { attentionLinearMacs, ffnMacs, headMacs, attentionPairMacs } = cost(model)
  const linearMacs = spec.nLayers * (attentionLinearMacs + ffnMacs)
  const pairMacs = spec.nLayers * attentionPairMacs
  const weights = weightBytesPerToken(plan, spec)
  const head = headBytes(plan, spec)
  const kv = cacheBytes(spec, cache, 1)
  const rowBytes = kv.elements + kv.scales
  return ({ phase, tokens, depth, conversations }: Workload): Work => {
    const attention = pairMacs * pairs(depth, tokens)
    if (phase === 'tg')
      return {
        macs: conversations * (tokens * (linearMacs + headMacs) + attention),
        bytes: tokens * weights + conversations * rowBytes * pairs(depth, tokens),
      }
    // Only the last token of a prompt needs logits.
    let bytes = head
    for (let done = 0; done < tokens; done += batch)
      bytes += weights - head + rowBytes * (depth + Math.min(tokens, done + batch))
    return { macs: tokens * linearMacs + attention + headMacs, bytes }
  }
}

/** (query, key) pairs of `count` tokens behind `depth` others: a token looks at those before it and at itself. */
function pairs(depth: number, count: number): number {
  return count * depth + (count * (count + 1)) / 2
}
