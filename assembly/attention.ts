/**
 * Attention, from normalised rows to what is added to the residual stream (models/attention.ts has the picture).
 *
 * Bit identity: the unit of the sweep is one page. Each page gives (max, sum, o) per map, and pages are combined in
 * page order, so neither the batch nor the number of threads can change a bit.
 */
import {
  arena,
  averageStride,
  averagesStride,
  decodedStride,
  encodedStride,
  hiddenStride,
  plainStride,
  projectionStride,
  queryAt,
  queryDim,
  queryStride,
  queryWidth,
  rankStride,
  rowWidth,
  sweepQueryBytes,
  sweepQueryStride,
} from './arena'
import { headBytes, PAGE_TOKENS, pageAt, slotBytes, writeRow } from './cache'
import { sigmoidGate } from './kernels/activation'
import { addTo, blend, divide } from './kernels/elementwise'
import { exp1 } from './kernels/exp'
import { linear, linearBlocks } from './kernels/matmul'
import { headNorm, rmsNorm } from './kernels/norm'
import { quantizeQuery } from './kernels/quantize'
import { rotate } from './kernels/rope'
import { exponentials, scores_f32, scores_int8, values_f32, values_int8 } from './kernels/sweep'
import { decoderMatrix, encoderMatrix, inMatrix, Layer, outMatrix, Plan, queryMatrix, vectorAt, viewHead } from './plan'
import { rowAt } from './rows'

/** Attention of layer `index` over `count` rows: arena.normed → y (rows of the hidden width), added to it if `adds`. */
export function attend(plan: Plan, layer: Layer, index: u32, count: u32, y: usize, adds: bool): void {
  const a = arena()
  const inBias = vectorAt(plan, layer.inBias)
  linear(inMatrix(layer), inBias, a.normed, hiddenStride(plan), count, a.projection, projectionStride(plan), false)
  if (plan.queryRank) raiseQueries(plan, layer, count)
  // All rows are in the cache before the first sweep: a row sees those before it in the same batch.
  for (let i: u32 = 0; i < count; i++) place(plan, layer, index, i)
  if (plan.encoderDim) encodeQueries(plan, layer, count)
  for (let i: u32 = 0; i < count; i++) sweepRow(plan, index, i)
  if (plan.hasDecoder) decodeValues(plan, layer, count)
  if (plan.hasGate) gateOutput(plan, count)
  const outBias = vectorAt(plan, layer.outBias)
  linear(outMatrix(layer), outBias, a.decoded, decodedStride(plan), count, y, hiddenStride(plan), adds)
}

/** A low-rank query: norm of its low side, then up to all maps. */
function raiseQueries(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const weight = vectorAt(plan, layer.queryNorm)
  for (let i: u32 = 0; i < count; i++) {
    const latent = a.queryLatent + i * rankStride(plan)
    memory.copy(latent, a.projection + i * projectionStride(plan), plan.queryRank << 2)
    // The padding too: a NaN of an earlier row would stay there.
    memory.fill(latent + (plan.queryRank << 2), 0, rankStride(plan) - (plan.queryRank << 2))
    rmsNorm(latent, weight, plan.queryRank, plan.queryEps, latent)
  }
  const bias = vectorAt(plan, layer.queryBias)
  linear(queryMatrix(layer), bias, a.queryLatent, rankStride(plan), count, a.query, queryStride(plan), false)
}

/** Rotates the queries of row i, norms and rotates its cache row, and writes it. */
function place(plan: Plan, layer: Layer, index: u32, i: u32): void {
  const a = arena()
  const angles = a.angles + i * (plan.ropeDim << 2)
  // What an encoder takes is not rotated; else the first part is, where the slot that it meets is.
  const plain = plan.encoderDim ? plan.encoderDim : plan.key0Dim
  const rope0 = plan.encoderDim ? 0 : slotRope(plan, plan.key0Slot)
  const rope1 = plan.key1Dim ? slotRope(plan, plan.key1Slot) : 0
  let q = queryAt(plan, i)
  for (let j: u32 = 0; j < plan.maps; j++) {
    if (rope0) rotate(q, angles, rope0 >> 1)
    if (rope1) rotate(q + (plain << 2), angles, rope1 >> 1)
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
      weight += dim << 2
    }
    const rope = isFirst ? plan.slot0Rope : plan.slot1Rope
    if (rope) rotate(head, angles, rope >> 1)
    head += dim << 2
  }
  const row = rowAt(i)
  writeRow(plan, index, row.conversation, row.position, cacheRow)
}

function slotRope(plan: Plan, slot: u32): u32 {
  return slot ? plan.slot1Rope : plan.slot0Rope
}

/** One matrix per map on the un-rotated part of its query. */
function encodeQueries(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const stride = plainStride(plan)
  for (let i: u32 = 0; i < count; i++)
    for (let j: u32 = 0; j < plan.maps; j++) {
      const source = queryAt(plan, i) + ((j * queryDim(plan)) << 2)
      memory.copy(a.plain + (i * plan.maps + j) * stride, source, plan.encoderDim << 2)
    }
  linearBlocks(
    encoderMatrix(layer),
    plan.maps,
    a.plain,
    stride,
    plan.maps * stride,
    count,
    a.encoded,
    encodedStride(plan),
  )
}

/** o_j = Σ softmax(scale · q_j · key(t)) · value(t) over all tokens up to the row's own, for every map j. */
function sweepRow(plan: Plan, layer: u32, i: u32): void {
  const a = arena()
  const row = rowAt(i)
  const averages = a.averages + i * averagesStride(plan)
  prepareQueries(plan, i)
  for (let first: u32 = 0; first <= row.position; first += PAGE_TOKENS) {
    const page = pageAt(plan, layer, row.conversation, first)
    const tokens = min<u32>(PAGE_TOKENS, row.position + 1 - first)
    for (let j: u32 = 0; j < plan.maps; j++) {
      sweepPage(plan, page, tokens, j)
      combine(averages + j * averageStride(plan), plan.valueDim, a.softmax + (j << 3), first == 0)
    }
  }
  for (let j: u32 = 0; j < plan.maps; j++) {
    const sum = load<f32>(a.softmax + (j << 3), 4)
    divide(averages + j * averageStride(plan), sum, plan.valueDim)
  }
}

/** Queries of row i as the sweep reads them, a part for each key view. */
function prepareQueries(plan: Plan, i: u32): void {
  const a = arena()
  const plain = plan.encoderDim ? plan.encoderDim : plan.key0Dim
  for (let j: u32 = 0; j < plan.maps; j++) {
    const q = queryAt(plan, i) + ((j * queryDim(plan)) << 2)
    const first = plan.encoderDim ? a.encoded + i * encodedStride(plan) + ((j * plan.key0Dim) << 2) : q
    const target = a.sweepQueries + j * sweepQueryStride(plan)
    const scales = a.queryScales + (j << 3)
    prepareQuery(plan, first, plan.key0Dim, target, scales)
    if (plan.key1Dim)
      prepareQuery(plan, q + (plain << 2), plan.key1Dim, target + sweepQueryBytes(plan.key0Dim), scales + 4)
  }
}

/** Integers for an int8 cache, else f32 padded with zeros to 4. */
function prepareQuery(plan: Plan, source: usize, dim: u32, target: usize, scale: usize): void {
  if (arena().isCacheInt8) {
    store<f32>(scale, quantizeQuery(source, dim, target) * plan.scale)
  } else {
    memory.copy(target, source, dim << 2)
    store<f32>(scale, plan.scale)
  }
}

/** One page, one map: leaves the sum at arena.partial, (max, sum of exponentials) at arena.pageState. */
function sweepPage(plan: Plan, page: usize, tokens: u32, j: u32): void {
  const a = arena()
  const q = a.sweepQueries + j * sweepQueryStride(plan)
  const scales = a.queryScales + (j << 3)
  scoreView(plan, page, plan.key0Slot, viewHead(plan, 0, j), plan.key0Dim, tokens, q, load<f32>(scales), false)
  if (plan.key1Dim) {
    const q1 = q + sweepQueryBytes(plan.key0Dim)
    scoreView(plan, page, plan.key1Slot, viewHead(plan, 1, j), plan.key1Dim, tokens, q1, load<f32>(scales, 4), true)
  }
  exponentials(tokens, a.scores, a.pageState)
  const value = slotHead(plan, page, plan.valueSlot, viewHead(plan, 2, j))
  const dim = slotDim(plan, plan.valueSlot)
  if (a.isCacheInt8) values_int8(value, dim, plan.valueDim, tokens, a.scores, a.partial)
  else values_f32(value, dim, plan.valueDim, tokens, a.scores, a.partial)
}

function scoreView(
  plan: Plan,
  page: usize,
  slot: u32,
  head: u32,
  dim: u32,
  tokens: u32,
  q: usize,
  scale: f32,
  adds: bool,
): void {
  const a = arena()
  const key = slotHead(plan, page, slot, head)
  if (a.isCacheInt8) scores_int8(key, slotDim(plan, slot), dim, tokens, q, scale, a.scores, adds)
  else scores_f32(key, slotDim(plan, slot), dim, tokens, q, scale, a.scores, adds)
}

function slotDim(plan: Plan, slot: u32): u32 {
  return slot ? plan.slot1Dim : plan.slot0Dim
}

/** Address of one slot head within a page. */
function slotHead(plan: Plan, page: usize, slot: u32, head: u32): usize {
  const isInt8 = arena().isCacheInt8
  return page + (slot ? slotBytes(plan, 0, isInt8) : 0) + head * headBytes(slotDim(plan, slot), isInt8)
}

/** Adds a page's (max, sum, o) to the running one of a map. */
function combine(average: usize, dim: u32, state: usize, isFirst: bool): void {
  const a = arena()
  const pagePeak = load<f32>(a.pageState)
  const pageSum = load<f32>(a.pageState, 4)
  if (isFirst) {
    memory.copy(average, a.partial, dim << 2)
    store<f32>(state, pagePeak)
    store<f32>(state, pageSum, 4)
    return
  }
  const peak = max(load<f32>(state), pagePeak)
  const keep = exp1(load<f32>(state) - peak)
  const gain = exp1(pagePeak - peak)
  store<f32>(state, peak)
  store<f32>(state, load<f32>(state, 4) * keep + pageSum * gain, 4)
  blend(average, keep, a.partial, gain, dim)
}

/** u_j = [o_j, o_j, …] + P_j · o_j + b_j. Folded into P, the copies would cost int8 its precision: they stay apart. */
function decodeValues(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const from = averagesStride(plan)
  const to = decodedStride(plan)
  linearBlocks(decoderMatrix(layer), plan.maps, a.averages, averageStride(plan), from, count, a.decoded, to)
  const bias = vectorAt(plan, layer.decoderBias)
  for (let i: u32 = 0; i < count; i++) {
    let u = a.decoded + i * to
    if (bias) addTo(u, bias, plan.maps * plan.outDim)
    for (let j: u32 = 0; j < plan.maps; j++)
      for (let copy: u32 = 0; copy < plan.repeat; copy++) {
        addTo(u, a.averages + i * from + j * averageStride(plan), plan.valueDim)
        u += plan.valueDim << 2
      }
  }
}

function gateOutput(plan: Plan, count: u32): void {
  const a = arena()
  const width = plan.maps * plan.outDim
  const before = queryWidth(plan) + rowWidth(plan)
  for (let i: u32 = 0; i < count; i++)
    sigmoidGate(a.projection + i * projectionStride(plan) + (before << 2), width, a.decoded + i * decodedStride(plan))
}
