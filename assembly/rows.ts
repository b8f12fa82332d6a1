/** A row of a step: one token of one conversation. The host writes rows, the engine reads them. */
import { arena } from './arena'

@unmanaged
export class Row {
  conversation: u32
  position: u32
  token: u32
  /** 1: compute logits and sample a next token. */
  wantsLogits: u32
  /** 0: the most likely token. */
  temperature: f32
  /** 0: all. */
  topK: u32
  topP: f32
  minP: f32
  /** Logits of tokens among the last `penaltyWindow` are divided (positive) or multiplied (negative) by it. */
  repeatPenalty: f32
  penaltyWindow: u32
  seedLow: u32
  seedHigh: u32
  /** Tokens that its conversation had and the cache has no more: `position` counts from the first one that it has. */
  dropped: u32
}

export const ROW_BYTES: usize = 52

export function rowAt(index: u32): Row {
  return changetype<Row>(arena().rows + index * ROW_BYTES)
}
