/**
 * Attention, from normalised rows to what is added to the residual stream (models/attention.ts has the picture).
 *
 * Bit identity: the unit of the sweep is one page. Each page gives (max, sum, o) per map, and pages are combined in
 * page order, so neither the batch nor the number of ranks can change a bit.
 */
import {
  arena,
  averageStride,
  averagesStride,
  decodedStride,
  encodedStride,
  hiddenStride,
  mine,
  PARTIAL_SUMS,
  partialStride,
  plainStride,
  projectionStride,
  queryAt,
  queryDim,
  queryLatentStride,
  queryStride,
  queryWidth,
  rowWidth,
  sweepQueryBytes,
  sweepQueryStride,
  WAVE,
} from './arena'
import { headBytes, isSpread, PAGE_TOKENS, pageAt, slotBytes, writeRow } from './cache'
import { countHead, count as countUp, forgetHeads, IS_COUNTING, WEIGHTS } from './count'
import { sigmoidGate } from './kernels/activation'
import { addTo, blend, divide } from './kernels/elementwise'
import { exp1 } from './kernels/exp'
import { hadamard } from './kernels/hadamard'
import { linear, linearBlocks } from './kernels/matmul'
import { headNorm, rmsNorm } from './kernels/norm'
import { quantizeQuery } from './kernels/quantize'
import { rotate } from './kernels/rope'
import { exponentials, prepareKeys_int8, scores_f32, scores_int8, values_f32, values_int8 } from './kernels/sweep'
import { decoderMatrix, encoderMatrix, inMatrix, Layer, outMatrix, Plan, queryMatrix, vectorAt, viewHead } from './plan'
import { ATTENTION, enter, REST, VALUE_DECODER } from './profile'
import { rowAt } from './rows'
import { awaitLayer, leaveLayer } from './stream'
import { barrier, isMine, next, ranks } from './team'

/** Attention of layer `index` over `count` rows: arena.normed → y (rows of the hidden width), added to it if `adds`. */
export function attend(plan: Plan, layer: Layer, index: u32, count: u32, y: usize, adds: bool): void {
  const a = arena()
  const inBias = vectorAt(plan, layer.inBias)
  linear(inMatrix(layer), inBias, a.normed, hiddenStride(plan), count, a.projection, projectionStride(plan), false)
  if (plan.queryRank) raiseQueries(plan, layer, count)
  for (let i: u32 = 0; i < count; i++) if (isMine(i)) place(plan, layer, index, i)
  if (plan.encoderDim) encodeQueries(plan, layer, count)
  // All rows are in the cache before the first sweep: a row sees those before it in the same batch.
  barrier()
  enter(ATTENTION)
  awaitLayer(index)
  sweep(plan, index, count)
  barrier()
  leaveLayer(index)
  enter(VALUE_DECODER)
  if (plan.hasDecoder) decodeValues(plan, layer, count)
  if (plan.hasGate) gateOutput(plan, count)
  enter(REST)
  const outBias = vectorAt(plan, layer.outBias)
  linear(outMatrix(layer), outBias, a.decoded, decodedStride(plan), count, y, hiddenStride(plan), adds)
}

/** A low-rank query: norm of its low side, then up to all maps. */
function raiseQueries(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const weight = vectorAt(plan, layer.queryNorm)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    const latent = a.queryLatent + i * queryLatentStride(plan)
    memory.copy(latent, a.projection + i * projectionStride(plan), plan.queryRank << 2)
    // The padding too: a NaN of an earlier row would stay there.
    memory.fill(latent + (plan.queryRank << 2), 0, queryLatentStride(plan) - (plan.queryRank << 2))
    rmsNorm(latent, weight, plan.queryRank, plan.queryEps, latent)
    if (IS_COUNTING && i == 0) countUp(WEIGHTS, plan.queryRank << 2)
  }
  const bias = vectorAt(plan, layer.queryBias)
  linear(queryMatrix(layer), bias, a.queryLatent, queryLatentStride(plan), count, a.query, queryStride(plan), false)
}

/** Rotates the queries of row i, norms and rotates its cache row, and writes it. What is rounded to int8 is spread first. */
function place(plan: Plan, layer: Layer, index: u32, i: u32): void {
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
      if (IS_COUNTING && i == 0) countUp(WEIGHTS, dim << 2)
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
function encodeQueries(plan: Plan, layer: Layer, count: u32): void {
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

/**
 * o_j = Σ softmax(scale · q_j · key(t)) · value(t) over all tokens up to the row's own, for every map j. Many rows: each
 * rank takes its own. Few rows, fewer than keep all ranks busy: the ranks share the pages of each.
 */
function sweep(plan: Plan, layer: u32, count: u32): void {
  const isShared = count % ranks() != 0 && count < 2 * ranks()
  for (let i: u32 = 0; i < count; i++)
    if (isShared && rowAt(i).position >= PAGE_TOKENS) sweepTogether(plan, layer, i)
    else if (isMine(i)) sweepRow(plan, layer, i)
}

function sweepRow(plan: Plan, layer: u32, i: u32): void {
  const a = arena()
  const averages = a.averages + i * averagesStride(plan)
  const partial = mine(a.partial)
  const last = rowAt(i).position / PAGE_TOKENS
  prepareQueries(plan, i)
  for (let page: u32 = 0; page <= last; page++) {
    const address = beginPage(plan, layer, i, page)
    for (let j: u32 = 0; j < plan.maps; j++) {
      sweepPage(plan, address, tokensIn(i, page), j, partial)
      combine(averages + j * averageStride(plan), plan.valueDim, j, partial, page == 0)
    }
  }
  for (let j: u32 = 0; j < plan.maps; j++) divideBySum(averages + j * averageStride(plan), plan.valueDim, j)
}

/** Every rank takes pages, WAVE of them at a time; then each map is combined, in page order, by one rank. */
function sweepTogether(plan: Plan, layer: u32, i: u32): void {
  const a = arena()
  const averages = a.averages + i * averagesStride(plan)
  const stride = partialStride(plan)
  const pages = rowAt(i).position / PAGE_TOKENS + 1
  prepareQueries(plan, i)
  for (let first: u32 = 0; first < pages; first += WAVE) {
    const n = min<u32>(WAVE, pages - first)
    for (let p = next(); p < n; p = next()) {
      const address = beginPage(plan, layer, i, first + p)
      for (let j: u32 = 0; j < plan.maps; j++)
        sweepPage(plan, address, tokensIn(i, first + p), j, a.pagePartials + (p * plan.maps + j) * stride)
    }
    barrier()
    for (let j: u32 = 0; j < plan.maps; j++) {
      if (!isMine(j)) continue
      const average = averages + j * averageStride(plan)
      for (let p: u32 = 0; p < n; p++)
        combine(average, plan.valueDim, j, a.pagePartials + (p * plan.maps + j) * stride, first + p == 0)
      if (first + n == pages) divideBySum(average, plan.valueDim, j)
    }
    barrier()
  }
}

/** Tokens of a page that row i sees. */
function tokensIn(i: u32, page: u32): u32 {
  return min<u32>(PAGE_TOKENS, rowAt(i).position + 1 - page * PAGE_TOKENS)
}

/** Queries of row i as the sweep reads them, a part for each key view. */
function prepareQueries(plan: Plan, i: u32): void {
  const a = arena()
  const plain = plan.encoderDim ? plan.encoderDim : plan.key0Dim
  for (let j: u32 = 0; j < plan.maps; j++) {
    const q = queryAt(plan, i) + ((j * queryDim(plan)) << 2)
    const first = plan.encoderDim ? a.encoded + i * encodedStride(plan) + ((j * plan.key0Dim) << 2) : q
    const target = mine(a.sweepQueries) + j * sweepQueryStride(plan)
    const scales = mine(a.queryScales) + (j << 3)
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

/** Address of a page's part for this layer. */
function beginPage(plan: Plan, layer: u32, i: u32, page: u32): usize {
  const row = rowAt(i)
  if (IS_COUNTING) forgetHeads()
  return pageAt(plan, layer, row.conversation, page * PAGE_TOKENS)
}

/** One page, one map: leaves (max, sum of exponentials) and the weighted sum at `partial`. */
function sweepPage(plan: Plan, page: usize, tokens: u32, j: u32, partial: usize): void {
  const a = arena()
  const q = mine(a.sweepQueries) + j * sweepQueryStride(plan)
  const scales = mine(a.queryScales) + (j << 3)
  const scores = mine(a.scores)
  scoreView(plan, page, 0, j, tokens, q, load<f32>(scales))
  if (plan.key1Dim) scoreView(plan, page, 1, j, tokens, q + sweepQueryBytes(plan.key0Dim), load<f32>(scales, 4))
  exponentials(tokens, scores, partial)
  const value = slotHead(plan, page, plan.valueSlot, viewHead(plan, 2, j))
  if (IS_COUNTING) countRead(plan, plan.valueSlot, viewHead(plan, 2, j), tokens)
  const dim = slotDim(plan, plan.valueSlot)
  if (a.isCacheInt8) values_int8(value, dim, plan.valueDim, tokens, scores, partial + PARTIAL_SUMS)
  else values_f32(value, dim, plan.valueDim, tokens, scores, partial + PARTIAL_SUMS)
}

function scoreView(plan: Plan, page: usize, view: u32, j: u32, tokens: u32, q: usize, scale: f32): void {
  const a = arena()
  const scores = mine(a.scores)
  const slot = view ? plan.key1Slot : plan.key0Slot
  const dim = view ? plan.key1Dim : plan.key0Dim
  const headDim = slotDim(plan, slot)
  const head = viewHead(plan, view, j)
  const key = slotHead(plan, page, slot, head)
  if (IS_COUNTING) countRead(plan, slot, head, tokens)
  if (!a.isCacheInt8) {
    scores_f32(key, headDim, dim, tokens, q, scale, scores, view)
    return
  }
  // Neighbouring maps share their keys.
  if (j == 0 || viewHead(plan, view, j - 1) != head) prepareKeys_int8(key, headDim, dim, tokens, scores, view)
  scores_int8(key, headDim, dim, tokens, q, scale, scores, view)
}

/** For tests: the rows of `tokens` tokens in a slot head, with their scales. A key that is also a value is read whole. */
function countRead(plan: Plan, slot: u32, head: u32, tokens: u32): void {
  const dim = slotDim(plan, slot) as u64
  countHead(slot, head, tokens * (arena().isCacheInt8 ? dim + 4 : dim << 2))
}

function slotDim(plan: Plan, slot: u32): u32 {
  return slot ? plan.slot1Dim : plan.slot0Dim
}

/** Address of one slot head within a page. */
function slotHead(plan: Plan, page: usize, slot: u32, head: u32): usize {
  const isInt8 = arena().isCacheInt8
  return page + (slot ? slotBytes(plan, 0, isInt8) : 0) + head * headBytes(slotDim(plan, slot), isInt8)
}

/** Adds what a page left to what this rank has of map j. */
function combine(average: usize, dim: u32, j: u32, partial: usize, isFirst: bool): void {
  const state = mine(arena().softmax) + (j << 3)
  const pagePeak = load<f32>(partial)
  const pageSum = load<f32>(partial, 4)
  if (isFirst) {
    memory.copy(average, partial + PARTIAL_SUMS, dim << 2)
    store<f32>(state, pagePeak)
    store<f32>(state, pageSum, 4)
    return
  }
  // e^0 is 1: of the two factors only one is ever computed. A NaN comes through either way.
  const peak = load<f32>(state)
  const isHigher = pagePeak > peak
  const factor = exp1(isHigher ? peak - pagePeak : pagePeak - peak)
  const keep: f32 = isHigher ? factor : 1
  const gain: f32 = isHigher ? 1 : factor
  if (isHigher) store<f32>(state, pagePeak)
  store<f32>(state, load<f32>(state, 4) * keep + pageSum * gain, 4)
  blend(average, keep, partial + PARTIAL_SUMS, gain, dim)
}

function divideBySum(average: usize, dim: u32, j: u32): void {
  divide(average, load<f32>(mine(arena().softmax) + (j << 3), 4), dim)
}

/** u_j = [o_j, o_j, …] + P_j · o_j + b_j. Folded into P, the copies would cost int8 its precision: they stay apart. */
function decodeValues(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const from = averagesStride(plan)
  const to = decodedStride(plan)
  linearBlocks(decoderMatrix(layer), plan.maps, a.averages, averageStride(plan), from, count, a.decoded, to)
  const bias = vectorAt(plan, layer.decoderBias)
  if (IS_COUNTING && bias && isMine(0)) countUp(WEIGHTS, (plan.maps * plan.outDim) << 2)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
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
    if (isMine(i))
      sigmoidGate(a.projection + i * projectionStride(plan) + (before << 2), width, a.decoded + i * decodedStride(plan))
}
