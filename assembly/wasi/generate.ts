/**
 * Generation, as host/runtime/generate.ts does it for a conversation of its own: the prompt, then one token after the other. The
 * pages of the cache are all in memory and one behind the other, in a ring where there is a window: the tables are counted
 * up once.
 */
import { LAYOUT_REQUEST, LayoutRequest, PAGE_TOKENS, Plan } from '../abi'
import { rowAt } from '../arena'
import { check, layout, places, sampled, step, tables } from '../index'
import { kindAt, pageKindAt } from '../plan'
import { growTo, reserve, top } from './memory'
import { fail } from './output'

export const FINISH_LENGTH: u32 = 1
export const FINISH_EOS: u32 = 2
export const FINISH_CONTEXT: u32 = 3

/** Rows of a step at most: the bits do not depend on it, the memory does. */
const MAX_ROWS: u32 = 64

/** Settings of sampling, as a Row has them. */
@unmanaged
export class Sampling {
  temperature: f32
  topK: u32
  topP: f32
  minP: f32
  repeatPenalty: f32
  repeatLastN: u32
  presencePenalty: f32
  frequencyPenalty: f32
  /** Tokens of the prompt. */
  generatedFrom: u32
  seedLow: u32
  seedHigh: u32
}

/** Lays the engine out behind what is reserved, for one conversation of `context` tokens. */
export function openEngine(plan: Plan, weightBytes: u64, context: u32, isCacheInt8: bool): void {
  const blocks = (context + PAGE_TOKENS - 1) / PAGE_TOKENS
  const maxRows = min(MAX_ROWS, context)
  const request = changetype<LayoutRequest>(LAYOUT_REQUEST)
  request.plan = changetype<usize>(plan)
  request.weights = weightBytes as u32
  request.start = top()
  request.maxRows = maxRows
  request.maxLogits = 1
  request.blocks = blocks
  request.streamPages = 0
  request.conversations = 1
  request.tableBlocks = blocks
  request.isCacheInt8 = isCacheInt8 ? 1 : 0
  request.maxRanks = 1
  for (let kind: u32 = 0; kind < plan.nPageKinds; kind++)
    store<u32>(LAYOUT_REQUEST + offsetof<LayoutRequest>() + (kind << 2), pagesOf(plan, kind, blocks))
  const end = layout(LAYOUT_REQUEST)
  growTo(end as u64)
  reserve((end as u64) - top())
  for (let i: u32 = 0; i < blocks; i++) {
    store<u32>(tables() + (i << 2), i)
    for (let kind: u32 = 0; kind < plan.nPageKinds; kind++)
      store<u32>(places() + ((kind * blocks + i) << 2), i % pagesOf(plan, kind, blocks))
  }
}

/** Pages of a kind. Nothing is ever computed again here, so those that no row sees any more are written anew. */
function pagesOf(plan: Plan, pageKind: u32, blocks: u32): u32 {
  const window = kindAt(plan, pageKindAt(plan, pageKind).kind).window as u64
  const seen = (window + MAX_ROWS + PAGE_TOKENS - 1) / PAGE_TOKENS + 1
  return window && seen < blocks ? (seen as u32) : blocks
}

export function checkWeights(): void {
  if (!check())
    fail(
      'q8 weights must be bytes below 128, found others: the file was not written by "gta convert" or is damaged, convert the model again',
    )
}

/** Computes `count` tokens from `position` on, and returns the one that is sampled behind the last of them. */
export function feed(tokens: usize, count: u32, position: u32, sampling: Sampling): u32 {
  for (let from: u32 = 0; from < count; from += MAX_ROWS) {
    const length = min(MAX_ROWS, count - from)
    for (let i: u32 = 0; i < length; i++) {
      const isLast = from + i + 1 == count
      writeRow(i, position + from + i, load<u32>(tokens + ((from + i) << 2)), isLast, sampling)
    }
    if (step(length)) fail('logits must be finite, found NaN or infinity: the weights are broken, get the model again')
  }
  return load<u32>(sampled())
}

function writeRow(index: u32, position: u32, token: u32, isLast: bool, sampling: Sampling): void {
  const row = rowAt(index)
  row.conversation = 0
  row.position = position
  row.token = token
  row.wantsLogits = isLast ? 1 : 0
  row.temperature = sampling.temperature
  row.topK = sampling.topK
  row.topP = sampling.topP
  row.minP = sampling.minP
  row.repeatPenalty = sampling.repeatPenalty
  row.penaltyWindow = sampling.repeatLastN
  row.presencePenalty = sampling.presencePenalty
  row.frequencyPenalty = sampling.frequencyPenalty
  row.generatedFrom = sampling.generatedFrom
  row.isMasked = 0
  row.biases = 0
  row.seedLow = sampling.seedLow
  row.seedHigh = sampling.seedHigh
  row.dropped = 0
}
