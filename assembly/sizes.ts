/**
 * How much everything takes, in bytes, from the plan alone; where it lies is in arena.ts. Rows of f32 are padded to 64
 * bytes, the padding stays zero. Layouts of the cache are drawn in cache.ts.
 */
import { Counts, PAGE_TOKENS, PARTIAL_SUMS, Plan, STREAM_ALIGNMENT, Times } from './abi'
import { ACTIVATION_SHIFT } from './kernels/lanes'

function floatStride(n: u32): usize {
  return ((n + 15) & ~15) << 2
}

// From row to row of the buffers of a step; arena.ts lists them.

export function hiddenStride(plan: Plan): usize {
  return floatStride(plan.hiddenDim)
}
/** Width of one map's q as it is projected: its un-rotated part, and what meets the second key view. */
export function queryDim(plan: Plan): u32 {
  return (plan.encoderDim ? plan.encoderDim : plan.key0Dim) + plan.key1Dim
}
export function queryWidth(plan: Plan): u32 {
  return plan.queryRank ? plan.queryRank : plan.maps * queryDim(plan)
}
export function rowWidth(plan: Plan): u32 {
  return plan.slot0Heads * plan.slot0Dim + plan.slot1Heads * plan.slot1Dim
}
export function projectionStride(plan: Plan): usize {
  return floatStride(queryWidth(plan) + rowWidth(plan) + (plan.hasGate ? plan.maps * plan.outDim : 0))
}
export function queryLatentStride(plan: Plan): usize {
  return floatStride(plan.queryRank)
}
export function queryStride(plan: Plan): usize {
  return plan.queryRank ? floatStride(plan.maps * queryDim(plan)) : projectionStride(plan)
}
export function plainStride(plan: Plan): usize {
  return floatStride(plan.encoderDim)
}
export function encodedStride(plan: Plan): usize {
  return floatStride(plan.maps * plan.key0Dim)
}
/** From one map's average to the next: padded only where each is the input of a matrix of its own. */
export function averageStride(plan: Plan): usize {
  return plan.hasDecoder ? floatStride(plan.valueDim) : plan.valueDim << 2
}
export function averagesStride(plan: Plan): usize {
  return floatStride(((plan.maps * averageStride(plan)) as u32) >> 2)
}
export function decodedStride(plan: Plan): usize {
  return floatStride(plan.maps * plan.outDim)
}
export function gateUpStride(plan: Plan): usize {
  return floatStride(2 * plan.ffnDim)
}
export function ffnStride(plan: Plan): usize {
  return floatStride(plan.ffnDim)
}
export function logitsStride(plan: Plan): usize {
  return floatStride(plan.vocabSize)
}

// Inputs of products with quantised weights.

/** Bytes of a quantised vector of n numbers, padded as the rows of q8 weights are. */
export function quantisedStride(n: u32): u64 {
  return ((n + 63) & ~63) << (ACTIVATION_SHIFT as u32)
}
/** Numbers of the widest vector that enters a product. */
export function widestInput(plan: Plan): u32 {
  return max(max(plan.hiddenDim, plan.ffnDim), max(plan.maps * plan.outDim, plan.queryRank))
}
/** Bytes of all quantised vectors: as many as rows, or, where each map has a matrix of its own, as rows times maps. */
export function quantisedBytes(plan: Plan, rows: u64): u64 {
  const perMap = max(plan.hasDecoder ? quantisedStride(plan.valueDim) : 0, quantisedStride(plan.encoderDim))
  return max(rows * quantisedStride(widestInput(plan)), rows * plan.maps * perMap)
}

// The sweep.

/** Bytes of one query in `sweepQueries`: 4 dims take 16 bytes in either cache type, the second view follows the first. */
export function sweepQueryStride(plan: Plan): usize {
  return sweepQueryBytes(plan.key0Dim) + sweepQueryBytes(plan.key1Dim)
}
export function sweepQueryBytes(dim: u32): usize {
  return ((dim + 3) & ~3) << 2
}
/** What one page leaves for one map: (maximum, sum), padded, then the weighted sum of values. */
export function partialStride(plan: Plan): usize {
  return PARTIAL_SUMS + floatStride(plan.valueDim)
}

// The cache.

export function headBytes(dim: u32, isInt8: u32): usize {
  const padded = (dim + 3) & ~3
  return isInt8 ? PAGE_TOKENS * (4 + padded) : PAGE_TOKENS * padded * 4
}
/** Bytes of a whole slot: 0 or 1. */
export function slotBytes(plan: Plan, slot: u32, isInt8: u32): usize {
  return slot ? plan.slot1Heads * headBytes(plan.slot1Dim, isInt8) : plan.slot0Heads * headBytes(plan.slot0Dim, isInt8)
}
export function layerStride(plan: Plan, isInt8: u32): usize {
  return (slotBytes(plan, 0, isInt8) + slotBytes(plan, 1, isInt8) + 63) & ~63
}
export function pageStride(plan: Plan, isInt8: u32): usize {
  return plan.nLayers * layerStride(plan, isInt8)
}
/** Bytes from one streamed page to the next: one layer. */
export function streamStride(plan: Plan, isInt8: u32): usize {
  const last: u64 = STREAM_ALIGNMENT - 1
  return (((layerStride(plan, isInt8) as u64) + last) & ~last) as usize
}

// A rank's account (profile.ts), behind which a debug build counts (count.ts).

/** The part that runs, and since when: 16 bytes. */
export const ACCOUNT_TIMES: usize = 16
export const ACCOUNT_COUNTS: usize = ACCOUNT_TIMES + offsetof<Times>()
/** With the counters, two sets of slot heads. */
export const ACCOUNT_BYTES: usize = ASC_NO_ASSERT ? ACCOUNT_COUNTS : ACCOUNT_COUNTS + offsetof<Counts>() + 16
