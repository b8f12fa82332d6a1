/** The query side of attention: from what a row is projected to, to queries and cache rows that can meet. */
import { Layer, Plan } from '../abi'
import { arena, queryAt, rowAt } from '../arena'
import { isSpread, writeRow } from '../cache'
import { countQueryNorm, countSlotNorm } from '../count'
import { hadamard } from '../kernels/hadamard'
import { headNorm, rmsNorm } from '../kernels/norm'
import { rotate } from '../kernels/rope'
import { linear, linearBlocks, productOf } from '../linear'
import { encoderMatrix, queryMatrix, vectorAt } from '../plan'
import {
  encodedStride,
  plainStride,
  projectionStride,
  queryDim,
  queryLatentStride,
  queryStride,
  queryWidth,
} from '../sizes'
import { barrier, isMine } from '../team'

/** A low-rank query: norm of its low side, then up to all maps. */
export function raiseQueries(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const weight = vectorAt(plan, layer.queryNorm)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    const latent = a.queryLatent + i * queryLatentStride(plan)
    memory.copy(latent, a.projection + i * projectionStride(plan), plan.queryRank << 2)
    // The padding too: a NaN of an earlier row would stay there.
    memory.fill(latent + (plan.queryRank << 2), 0, queryLatentStride(plan) - (plan.queryRank << 2))
    rmsNorm(latent, weight, plan.queryRank, plan.queryEps, latent)
    countQueryNorm(plan, i)
  }
  const p = productOf(queryMatrix(layer), count)
  p.bias = vectorAt(plan, layer.queryBias)
  p.from(a.queryLatent, queryLatentStride(plan))
  p.into(a.query, queryStride(plan))
  linear(p)
}

/** Rotates the queries of row i, norms and rotates its cache row, and writes it. What is rounded to int8 is spread first. */
export function place(plan: Plan, layer: Layer, index: u32, i: u32): void {
  const a = arena()
  const angles = a.angles + i * (plan.ropeDim << 2)
  // What an encoder takes is not rotated; else the first part is, where the slot that it meets is.
  const plain = plan.encoderDim ? plan.encoderDim : plan.key0Dim
  const rope0 = plan.encoderDim ? 0 : slotRope(plan, plan.key0Slot)
  const rope1 = plan.key1Dim ? slotRope(plan, plan.key1Slot) : 0
  const spread0 = isSpread(plan, plan.key0Slot)
  const spread1 = plan.key1Dim && isSpread(plan, plan.key1Slot)
  let q = queryAt(plan, i)
  for (let j: u32 = 0; j < plan.maps; j++) {
    if (rope0) rotate(q, angles, rope0 >> 1)
    if (rope1) rotate(q + (plain << 2), angles, rope1 >> 1)
    if (spread0) hadamard(q, plan.key0Dim)
    if (spread1) hadamard(q + (plain << 2), plan.key1Dim)
    q += queryDim(plan) << 2
  }

  const cacheRow = a.projection + i * projectionStride(plan) + (queryWidth(plan) << 2)
  let head = cacheRow
  let weight = vectorAt(plan, layer.slotNorm)
  for (let h: u32 = 0; h < plan.slot0Heads + plan.slot1Heads; h++) {
    const isFirst = h < plan.slot0Heads
    const dim = isFirst ? plan.slot0Dim : plan.slot1Dim
    if (isFirst ? plan.slot0HasNorm : plan.slot1HasNorm) {
      headNorm(head, weight, dim, plan.slotEps)
      countSlotNorm(dim, i)
      weight += dim << 2
    }
    const rope = isFirst ? plan.slot0Rope : plan.slot1Rope
    if (rope) rotate(head, angles, rope >> 1)
    if (isSpread(plan, isFirst ? 0 : 1)) hadamard(head, dim)
    head += dim << 2
  }
  const row = rowAt(i)
  writeRow(plan, index, row.conversation, row.position, cacheRow)
}

function slotRope(plan: Plan, slot: u32): u32 {
  return slot ? plan.slot1Rope : plan.slot0Rope
}

/** One matrix per map on the un-rotated part of its query. */
export function encodeQueries(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const stride = plainStride(plan)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    for (let j: u32 = 0; j < plan.maps; j++) {
      const source = queryAt(plan, i) + ((j * queryDim(plan)) << 2)
      memory.copy(a.plain + (i * plan.maps + j) * stride, source, plan.encoderDim << 2)
    }
  }
  barrier()
  const p = productOf(encoderMatrix(layer), count)
  p.from(a.plain, plan.maps * stride)
  p.into(a.encoded, encodedStride(plan))
  linearBlocks(p, plan.maps, stride)
}
