/**
 * How much everything takes, in bytes, from the plan alone; where it lies is in arena.ts. Rows of f32 are padded to 64
 * bytes, the padding stays zero. Layouts of the cache are drawn in cache.ts. From row to row of the buffers of a step there
 * are as many bytes as the plan says (Buffers in abi.ts), whatever a layer needs; plan-check.ts sees that it is enough.
 */
import {
  Buffers,
  Counts,
  Layer,
  LayerKind,
  MIXER_ATTENTION,
  MIXER_CONV,
  MOST_TILE_ROWS,
  PAGE_TOKENS,
  PARTIAL_SUMS,
  Plan,
  Recurrence,
  STREAM_ALIGNMENT,
  TILE_QUERIES,
  Times,
  TYPE_F32,
} from './abi'
import { Harmonic } from './kernels/harmonics'
import { pageScratch, queryStream, SCORES } from './kernels/sweep'
import { buffersOf, embedding, kindAt, kindOf, layerAt, pageKindAt, recurrenceOf, rotationAt } from './plan'

export function floatStride(n: u32): usize {
  return ((n + 15) & ~15) << 2
}

export function hiddenStride(plan: Plan): usize {
  return floatStride(plan.hiddenDim)
}
export function logitsStride(plan: Plan): usize {
  return floatStride(plan.vocabSize)
}

/** A bit for each token. */
export function maskStride(plan: Plan): usize {
  return ((plan.vocabSize + 31) >> 5) << 2
}

// Parts of a row of a step.

/** Width of one map's q as it is projected: its un-rotated part, and what meets the second key view. */
export function queryDim(kind: LayerKind): u32 {
  return (kind.encoderDim ? kind.encoderDim : kind.key0Dim) + kind.key1Dim
}
export function queryWidth(kind: LayerKind): u32 {
  return kind.queryRank ? kind.queryRank : kind.maps * queryDim(kind)
}
export function rowWidth(kind: LayerKind): u32 {
  return kind.slot0Heads * kind.slot0Dim + kind.slot1Heads * kind.slot1Dim
}
/** From one map's input of the encoder to the next. */
export function plainStride(kind: LayerKind): usize {
  return floatStride(kind.encoderDim)
}
/** From one map's average to the next: padded only where each is the input of a matrix of its own. */
export function averageStride(kind: LayerKind): usize {
  return kind.hasDecoder ? floatStride(kind.valueDim) : kind.valueDim << 2
}

// A state.

/** Width of what W_in makes. */
export function stateInWidth(kind: LayerKind): u32 {
  const r = recurrenceOf(kind)
  return kind.mixer == MIXER_CONV ? 3 * r.channels : r.channels + r.valueHeads * (r.valueDim + 2)
}
/** Width of what enters W_out. */
export function stateOutWidth(kind: LayerKind): u32 {
  const r = recurrenceOf(kind)
  return kind.mixer == MIXER_CONV ? r.channels : r.valueHeads * r.valueDim
}
/** Bytes of the columns of the convolution, padded: the matrices follow. */
export function columnBytes(r: Recurrence): usize {
  return floatStride((r.taps - 1) * r.channels)
}
function stateBytes(r: Recurrence): usize {
  return columnBytes(r) + floatStride(r.valueHeads * r.keyDim * r.valueDim)
}

// The sweep.

/** Rows of a rank that are swept together: their maps that share a head of values are TILE_QUERIES, about. host/tools/analyze/exact.ts knows it too. */
export function tileRows(kind: LayerKind): u32 {
  const heads = kind.valueSlot ? kind.slot1Heads : kind.slot0Heads
  return min(max(TILE_QUERIES / max(kind.maps / heads, 1), 1), MOST_TILE_ROWS)
}
/** Their queries. */
export function tileQueries(kind: LayerKind): u32 {
  return tileRows(kind) * kind.maps
}
/** Bytes of one query against a key view: two streams of digits, or f32 in their place. */
export function sweepQueryBytes(dim: u32): usize {
  return 2 * queryStream(dim)
}

/** What tiles have in a rank's scratch. */
export const TILE_STATE: u32 = 0 // f32 (queries, 2)
export const TILE_SCORES: u32 = 1 // f32 (queries, PAGE_TOKENS)
export const TILE_INPUT: u32 = 2 // queries of both key views
export const TILE_PAGE: u32 = 3 // scratch of a page: kernels/sweep.ts

/** Bytes of it, for the layer that needs most. */
export function tileBytes(plan: Plan, part: u32): u64 {
  let most: u64 = 0
  for (let index: u32 = 0; index < plan.nLayers; index++) {
    const kind = kindOf(plan, layerAt(plan, index))
    if (kind.mixer == MIXER_ATTENTION) most = max(most, tilePart(kind, part))
  }
  return most
}
function tilePart(kind: LayerKind, part: u32): u64 {
  if (part == TILE_PAGE) return pageScratch(max(kind.slot0Dim, kind.slot1Dim))
  const queries = tileQueries(kind) as u64
  if (part == TILE_STATE) return queries << 3
  if (part == TILE_SCORES) return queries * SCORES
  return queries * (sweepQueryBytes(kind.key0Dim) + sweepQueryBytes(kind.key1Dim))
}
/** What one page leaves for one map: (maximum, sum), padded, then the weighted sum of values. */
export function partialStride(kind: LayerKind): usize {
  return PARTIAL_SUMS + floatStride(kind.valueDim)
}

/** 16 bytes for every four numbers. */
function sweepFours(dim: u32): usize {
  return ((dim + 3) & ~3) << 2
}

// The buffers of a step: layerBuffers() of models/layer.ts has the same table.

/** Bytes that a layer needs of the field of Buffers at `field`; numbers of the quantised ones. */
export function bufferBytes(plan: Plan, k: LayerKind, field: usize): u64 {
  if (k.mixer != MIXER_ATTENTION) return stateBufferBytes(plan, k, field)
  const maps = k.maps as u64
  const queries = (maps * queryDim(k)) as u32
  const outWidth = k.maps * k.outDim
  if (field == offsetof<Buffers>('projection'))
    return floatStride(queryWidth(k) + rowWidth(k) + (k.hasGate ? outWidth : 0))
  if (field == offsetof<Buffers>('low')) return floatStride(k.queryRank)
  if (field == offsetof<Buffers>('query')) return k.queryRank ? floatStride(queries) : 0
  if (field == offsetof<Buffers>('plain')) return maps * plainStride(k)
  if (field == offsetof<Buffers>('encoded')) return k.encoderDim ? floatStride(k.maps * k.key0Dim) : 0
  if (field == offsetof<Buffers>('averages'))
    return k.hasDecoder ? maps * averageStride(k) : floatStride(k.maps * k.valueDim)
  if (field == offsetof<Buffers>('decoded')) return k.hasDecoder ? floatStride(outWidth) : 0
  if (field == offsetof<Buffers>('pagePartials')) return maps * partialStride(k)
  if (field == offsetof<Buffers>('sweepQueries')) return maps * (sweepFours(k.key0Dim) + sweepFours(k.key1Dim))
  if (field == offsetof<Buffers>('queryScales') || field == offsetof<Buffers>('softmax')) return maps << 3
  if (field == offsetof<Buffers>('partial')) return partialStride(k)
  if (field == offsetof<Buffers>('turned')) {
    const rotated = k.rotation ? rotationAt(plan, k.rotation).dim : 0
    return (rotated + max(k.slot0Dim, k.slot1Dim)) << 2
  }
  return commonBytes(plan, k, field, max(k.maps * k.outDim, k.queryRank))
}

/** The same where the mixer keeps a state. */
function stateBufferBytes(plan: Plan, k: LayerKind, field: usize): u64 {
  if (field == offsetof<Buffers>('projection')) return floatStride(stateInWidth(k))
  if (field == offsetof<Buffers>('query')) return k.mixer == MIXER_CONV ? 0 : floatStride(recurrenceOf(k).channels)
  if (field == offsetof<Buffers>('averages')) return floatStride(stateOutWidth(k))
  return commonBytes(plan, k, field, stateOutWidth(k))
}

/** Buffers around the mixer; `widest`: what its matrices take, but for the hidden width. 0 for those of attention alone. */
function commonBytes(plan: Plan, k: LayerKind, field: usize, widest: u32): u64 {
  if (field == offsetof<Buffers>('gateUp')) return floatStride(k.isGated ? 2 * k.ffnDim : k.ffnDim)
  if (field == offsetof<Buffers>('activation')) return floatStride(k.ffnDim)
  if (field == offsetof<Buffers>('branch')) return k.mixerOutKind | k.ffnOutKind ? hiddenStride(plan) : 0
  if (field == offsetof<Buffers>('ffnInput')) return k.isParallel ? hiddenStride(plan) : 0
  const isQuantised =
    field == offsetof<Buffers>('quantised') ||
    field == offsetof<Buffers>('quantPairs') ||
    field == offsetof<Buffers>('groupOffsets')
  if (!isQuantised || embedding(plan).type == TYPE_F32) return 0
  return quantisedBytes(plan, k, field, widest)
}

/** Inputs of products, where weights are not f32: as many vectors as there are matrices one below the other. */
function quantisedBytes(plan: Plan, k: LayerKind, field: usize, mixerWidth: u32): u64 {
  const perMap = max(k.hasDecoder ? k.valueDim : 0, k.encoderDim)
  const widest = max(max(plan.hiddenDim, k.ffnDim), mixerWidth)
  if (field == offsetof<Buffers>('quantised'))
    return max(((widest + 63) & ~63) as u64, (k.maps as u64) * ((perMap + 63) & ~63))
  if (field == offsetof<Buffers>('quantPairs')) return (perMap ? (k.maps as u64) : 1) << 3
  return ((widest + 31) >> 5) << 2
}

// The cache.

export function headBytes(dim: u32, isInt8: u32): usize {
  const padded = (dim + 3) & ~3
  return isInt8 ? PAGE_TOKENS * (4 + padded) : PAGE_TOKENS * padded * 4
}
/** Bytes of a whole slot: 0 or 1. */
export function slotBytes(kind: LayerKind, slot: u32, isInt8: u32): usize {
  return slot ? kind.slot1Heads * headBytes(kind.slot1Dim, isInt8) : kind.slot0Heads * headBytes(kind.slot0Dim, isInt8)
}
/** Bytes of one layer of a page. */
export function layerStride(kind: LayerKind, isInt8: u32): usize {
  if (kind.mixer != MIXER_ATTENTION) return stateBytes(recurrenceOf(kind))
  return (slotBytes(kind, 0, isInt8) + slotBytes(kind, 1, isInt8) + 63) & ~63
}
/** Bytes of a page: the layers of its kind. */
export function pageStride(plan: Plan, pageKind: u32, isInt8: u32): usize {
  const kind = pageKindAt(plan, pageKind)
  return kind.layers * layerStride(kindAt(plan, kind.kind), isInt8)
}
/** Bytes from one streamed page to the next: one layer. Only models of one page kind are streamed. */
export function streamStride(plan: Plan, isInt8: u32): usize {
  const last: u64 = STREAM_ALIGNMENT - 1
  const layer = layerStride(kindAt(plan, pageKindAt(plan, 0).kind), isInt8)
  return (((layer as u64) + last) & ~last) as usize
}

// Biases of keys that an int8 cache keeps apart from them: mixers/key-bias.ts.

/** Is a slot nothing but key, and each view of it as wide as it is? What an encoder made for a view is no such thing. */
export function isKeyOnly(kind: LayerKind, slot: u32): bool {
  if (slot == kind.valueSlot) return false
  const dim = slot ? kind.slot1Dim : kind.slot0Dim
  if (kind.key0Slot == slot && (kind.encoderDim || kind.key0Dim != dim)) return false
  return !kind.key1Dim || kind.key1Slot != slot || kind.key1Dim == dim
}
/** Is the bias of a slot's keys kept apart? Not if it goes through a norm, nor where scores are capped: that is not linear. */
export function isBiasApart(layer: Layer, kind: LayerKind, slot: u32): bool {
  if (kind.mixer != MIXER_ATTENTION || !layer.inBias) return false
  return !kind.softcap && !(slot ? kind.slot1Norm : kind.slot0Norm) && isKeyOnly(kind, slot)
}
/** Bytes of what one view of one query has: a count, then a harmonic of each rotated pair at most. */
export function harmonicBytes(plan: Plan, kind: LayerKind): usize {
  const pairs: usize = kind.rotation ? rotationAt(plan, kind.rotation).dim >> 1 : 0
  return 4 + pairs * offsetof<Harmonic>()
}
/** Bytes of a rank's scratch for them; 0 if no layer needs it. Its parts are in mixers/key-bias.ts. */
export function keyBiasBytes(plan: Plan): u64 {
  let most: u64 = 0
  for (let index: u32 = 0; index < plan.nLayers; index++) {
    const layer = layerAt(plan, index)
    const kind = kindOf(plan, layer)
    if (!isBiasApart(layer, kind, 0) && !isBiasApart(layer, kind, 1)) continue
    const harmonics = ((tileQueries(kind) as u64) * 2 + 1) * harmonicBytes(plan, kind)
    most = max(most, buffersOf(plan).angles + (max(kind.slot0Dim, kind.slot1Dim) << 2) + harmonics)
  }
  return most
}

// A rank's account (profile.ts), behind which a debug build counts (count.ts).

/** The part that runs, and since when: 16 bytes. */
export const ACCOUNT_TIMES: usize = 16
export const ACCOUNT_COUNTS: usize = ACCOUNT_TIMES + offsetof<Times>()
/** With the counters, two sets of slot heads. */
export const ACCOUNT_BYTES: usize = ASC_NO_ASSERT ? ACCOUNT_COUNTS : ACCOUNT_COUNTS + offsetof<Counts>() + 16
