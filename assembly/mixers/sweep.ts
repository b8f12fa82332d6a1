/**
 * The sweep of attention over the cache: o_j = Σ softmax(scale · q_j · key(t)) · value(t).
 *
 * Bit identity: the unit of the sweep is one page. Each page gives (max, sum, o) per map, and pages are combined in page
 * order, so neither the batch nor the number of ranks can change a bit.
 */
import { PAGE_TOKENS, PARTIAL_SUMS, Plan, WAVE } from '../abi'
import { arena, mine, queryAt, rowAt } from '../arena'
import { pageAt } from '../cache'
import { countHead, countScores, countValues, forgetHeads } from '../count'
import { blend, divide } from '../kernels/elementwise'
import { exp1 } from '../kernels/exp'
import { quantizeQuery } from '../kernels/quantize'
import { exponentials, prepareKeys_int8, scores_f32, scores_int8, values_f32, values_int8 } from '../kernels/sweep'
import { viewHead } from '../plan'
import {
  averageStride,
  averagesStride,
  encodedStride,
  headBytes,
  partialStride,
  queryDim,
  slotBytes,
  sweepQueryBytes,
  sweepQueryStride,
} from '../sizes'
import { barrier, isMine, next, ranks } from '../team'

/**
 * o_j = Σ softmax(scale · q_j · key(t)) · value(t) over all tokens up to the row's own, for every map j. Many rows: each
 * rank takes its own. Few rows, fewer than keep all ranks busy: the ranks share the pages of each.
 */
export function sweep(plan: Plan, layer: u32, count: u32): void {
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
  forgetHeads()
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
  const slot = plan.valueSlot
  const head = viewHead(plan, 2, j)
  const value = slotHead(plan, page, slot, head)
  const dim = slotDim(plan, slot)
  const valueDim = plan.valueDim
  countHead(plan, slot, head, tokens)
  countValues(valueDim, tokens)
  if (a.isCacheInt8) values_int8(value, dim, valueDim, tokens, scores, partial + PARTIAL_SUMS)
  else values_f32(value, dim, valueDim, tokens, scores, partial + PARTIAL_SUMS)
}

function scoreView(plan: Plan, page: usize, view: u32, j: u32, tokens: u32, q: usize, scale: f32): void {
  const a = arena()
  const scores = mine(a.scores)
  const slot = view ? plan.key1Slot : plan.key0Slot
  const dim = view ? plan.key1Dim : plan.key0Dim
  const headDim = slotDim(plan, slot)
  const head = viewHead(plan, view, j)
  const key = slotHead(plan, page, slot, head)
  countHead(plan, slot, head, tokens)
  countScores(dim, tokens)
  if (!a.isCacheInt8) {
    scores_f32(key, headDim, dim, tokens, q, scale, scores, view)
    return
  }
  // Neighbouring maps share their keys.
  if (j == 0 || viewHead(plan, view, j - 1) != head) prepareKeys_int8(key, headDim, dim, tokens, scores, view)
  scores_int8(key, headDim, dim, tokens, q, scale, scores, view)
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
