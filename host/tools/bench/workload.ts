/**
 * What a benchmark runs, and what that takes: multiply-adds and bytes, counted from the model. The names are those of
 * llama-bench: pp reads a prompt, tg generates text, pg does both.
 */
import { createHash } from 'node:crypto'
import {
  type CacheType,
  cost,
  headBytes,
  type LayerCost,
  type LayerSpec,
  type ModelDescription,
  type Plan,
  pairsSeen,
  rowBytes,
  weightBytesPerToken,
} from '../../../models/index.ts'

export interface Workload {
  phase: 'pp' | 'tg' | 'pg'
  /** Tokens of each conversation. */
  tokens: number
  /** Of pg: how many of them are the prompt; the others are generated. */
  prompt?: number
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
  /** That all tests of this model still take, roughly; absent: nobody can know. */
  secondsLeft?: number
}

/** pp128, pp512+tg64, tg64 x8 @ d1536 */
export function workloadName({ phase, tokens, prompt = 0, depth, conversations }: Workload): string {
  const name = phase === 'pg' ? `pp${prompt}+tg${tokens - prompt}` : `${phase}${tokens}`
  return `${name}${conversations > 1 ? ` x${conversations}` : ''}${depth > 0 ? ` @ d${depth}` : ''}`
}

/** What has it too has the same shape and weight type. */
export function hashPlan({ words }: Plan): string {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16)
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
  const { layers, headMacs } = cost(model)
  const sum = (each: (cost: LayerCost, layer: LayerSpec) => number) =>
    layers.reduce((total, layer, index) => total + layer.count * each(layer, spec.layers[index] as LayerSpec), 0)
  const linearMacs = sum(({ attentionLinearMacs, ffnMacs }) => attentionLinearMacs + ffnMacs)
  const weights = weightBytesPerToken(plan, spec)
  const head = headBytes(plan, spec)
  const attentionMacs = (depth: number, count: number) =>
    sum(({ attentionPairMacs }, layer) => attentionPairMacs * pairsSeen(layer, depth, count))
  /** Of the cache, by a step each. */
  const cacheReads = (depth: number, count: number) =>
    sum((_, layer) => rowBytes(layer, cache) * pairsSeen(layer, depth, count))
  /** Of the cache, by one step of `count` tokens up to `end`. */
  const cacheRead = (end: number, count: number) =>
    sum((_, layer) => rowBytes(layer, cache) * rowsOf(layer, end, count))
  /** A state stays where it is from one token of a step to the next. */
  const rowsOf = (layer: LayerSpec, end: number, count: number) =>
    layer.mixer.is === 'attention' ? Math.min(end, (layer.mixer.window ?? end) + count - 1) : 1
  return function workOf({ phase, tokens, prompt = 0, depth, conversations }: Workload): Work {
    if (phase === 'pg') {
      const read = workOf({ phase: 'pp', tokens: prompt, depth, conversations: 1 })
      const told = workOf({ phase: 'tg', tokens: tokens - prompt, depth: depth + prompt, conversations: 1 })
      return { macs: read.macs + told.macs, bytes: read.bytes + told.bytes }
    }
    const attention = attentionMacs(depth, tokens)
    if (phase === 'tg')
      return {
        macs: conversations * (tokens * (linearMacs + headMacs) + attention),
        bytes: tokens * weights + conversations * cacheReads(depth, tokens),
      }
    // Only the last token of a prompt needs logits.
    let bytes = head
    for (let done = 0; done < tokens; done += batch) {
      const count = Math.min(batch, tokens - done)
      bytes += weights - head + cacheRead(depth + done + count, count)
    }
    return { macs: tokens * linearMacs + attention + headMacs, bytes }
  }
}
