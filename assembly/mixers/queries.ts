/** The query side of attention: from what a row is projected to, to queries and cache rows that can meet. */
import { Layer, LayerKind, Plan, SPAN_HEAD, SPAN_TURNED } from '../abi'
import { arena, queryAt, rowAt } from '../arena'
import { isSpread, writeRow } from '../cache'
import { countHeadNorm } from '../count'
import { clearPadding } from '../kernels/elementwise'
import { hadamard } from '../kernels/hadamard'
import { headNorm, rmsNorm } from '../kernels/norm'
import { rotate } from '../kernels/rope'
import { linear, linearBlocks, productOf } from '../linear'
import { buffersOf, encoderMatrix, kindOf, queryMatrix, rotationAt, vectorAt } from '../plan'
import { plainStride, queryDim, queryWidth } from '../sizes'
import { barrier, isMine } from '../team'
import { keyBiasOf, removeBias } from './key-bias'

/** A low-rank query: norm of its low side, then up to all maps. */
export function raiseQueries(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const b = buffersOf(plan)
  const kind = kindOf(plan, layer)
  const weight = vectorAt(plan, layer.lowNorm)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    const low = a.low + i * b.low
    memory.copy(low, a.projection + i * b.projection, kind.queryRank << 2)
    // The padding too: a NaN of an earlier row would stay there.
    clearPadding(low, kind.queryRank)
    rmsNorm(low, weight, kind.queryRank, kind.lowEps, low)
    countHeadNorm(kind.queryRank, i)
  }
  const p = productOf(queryMatrix(layer), count)
  p.bias = vectorAt(plan, layer.queryBias)
  p.from(a.low, b.low)
  p.into(a.query, b.query)
  linear(p)
}

/**
 * Norms and rotates the queries of row i, norms and rotates its cache row, and writes it. What is rounded to int8 is spread
 * first.
 */
export function place(plan: Plan, layer: Layer, i: u32): void {
  const a = arena()
  const b = buffersOf(plan)
  const kind = kindOf(plan, layer)
  const angles = a.angles + i * b.angles + (kind.rotation ? rotationAt(plan, kind.rotation).angles : 0)
  placeQueries(plan, layer, kind, i, angles)
  const cacheRow = a.projection + i * b.projection + (queryWidth(kind) << 2)
  const second = cacheRow + ((kind.slot0Heads * kind.slot0Dim) << 2)
  let weight = vectorAt(plan, layer.slotNorm)
  placeSlot(plan, layer, kind, 0, cacheRow, weight, angles, i)
  if (kind.slot0Norm) weight += second - cacheRow
  placeSlot(plan, layer, kind, 1, second, weight, angles, i)
  const row = rowAt(i)
  writeRow(plan, layer, row.conversation, row.position, cacheRow)
}

function placeQueries(plan: Plan, layer: Layer, kind: LayerKind, i: u32, angles: usize): void {
  // What an encoder takes is not rotated; else the first part is, where the slot that it meets is.
  const plain = kind.encoderDim ? kind.encoderDim : kind.key0Dim
  const rope0 = kind.encoderDim ? 0 : slotRope(kind, kind.key0Slot)
  const rope1 = kind.key1Dim ? slotRope(kind, kind.key1Slot) : 0
  const spread0 = isSpread(kind, kind.key0Slot)
  const spread1 = kind.key1Dim && isSpread(kind, kind.key1Slot)
  const dim = queryDim(kind)
  let q = queryAt(plan, kind, i)
  const isTurned = kind.queryNorm == SPAN_TURNED
  let weight = vectorAt(plan, layer.queryNorm)
  if (kind.queryNorm && !isTurned) normHeads(q, weight, kind.maps, dim, kind.queryNorm, kind.queryEps, i)
  for (let j: u32 = 0; j < kind.maps; j++) {
    if (rope0) rotate(q, angles, rope0 >> 1)
    if (rope1) rotate(q + (plain << 2), angles, rope1 >> 1)
    if (isTurned) headNorm(q, weight, dim, kind.queryEps)
    if (spread0) hadamard(q, kind.key0Dim)
    if (spread1) hadamard(q + (plain << 2), kind.key1Dim)
    q += dim << 2
    weight += dim << 2
  }
  if (isTurned) countHeadNorm(kind.maps * dim, i)
}

/** The heads of a slot; `weight` is that of its norm. */
function placeSlot(
  plan: Plan,
  layer: Layer,
  kind: LayerKind,
  slot: u32,
  head: usize,
  weight: usize,
  angles: usize,
  i: u32,
): void {
  const heads = slot ? kind.slot1Heads : kind.slot0Heads
  const dim = slot ? kind.slot1Dim : kind.slot0Dim
  const span = slot ? kind.slot1Norm : kind.slot0Norm
  if (span) normHeads(head, weight, heads, dim, span, slot ? kind.slot1Eps : kind.slot0Eps, i)
  const rope = slotRope(kind, slot)
  const spread = isSpread(kind, slot)
  let bias = keyBiasOf(plan, layer, kind, slot, 0)
  for (let h: u32 = 0; h < heads; h++) {
    if (bias) {
      removeBias(head, bias, rope >> 1, dim)
      bias += dim << 2
    }
    if (rope) rotate(head, angles, rope >> 1)
    if (spread) hadamard(head, dim)
    head += dim << 2
  }
}

/** Each head by itself, or all of them at once; a head has weights of its own either way. */
function normHeads(x: usize, weight: usize, heads: u32, dim: u32, span: u32, eps: f32, i: u32): void {
  const bytes = dim << 2
  if (span == SPAN_HEAD) for (let h: u32 = 0; h < heads; h++) headNorm(x + h * bytes, weight + h * bytes, dim, eps)
  else headNorm(x, weight, heads * dim, eps)
  countHeadNorm(heads * dim, i)
}

function slotRope(kind: LayerKind, slot: u32): u32 {
  return slot ? kind.slot1Rope : kind.slot0Rope
}

/** One matrix per map on the un-rotated part of its query. */
export function encodeQueries(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const b = buffersOf(plan)
  const kind = kindOf(plan, layer)
  const stride = plainStride(kind)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    for (let j: u32 = 0; j < kind.maps; j++) {
      const source = queryAt(plan, kind, i) + ((j * queryDim(kind)) << 2)
      const target = a.plain + i * b.plain + j * stride
      memory.copy(target, source, kind.encoderDim << 2)
      if (plan.nLayerKinds > 1) clearPadding(target, kind.encoderDim)
    }
  }
  barrier()
  const p = productOf(encoderMatrix(layer), count)
  p.from(a.plain, b.plain)
  p.into(a.encoded, b.encoded)
  linearBlocks(p, kind.maps, stride)
}
