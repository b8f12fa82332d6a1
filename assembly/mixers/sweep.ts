/**
 * The sweep of attention over the cache: o_j = Σ softmax(scale · q_j · key(t)) · value(t).
 *
 * Bit identity: the unit of the sweep is one page. Each page gives (max, sum, o) per map, and pages are combined in page
 * order, so neither the batch nor the number of ranks can change a bit.
 */
import { Layer, LayerKind, PAGE_TOKENS, PARTIAL_SUMS, Plan, WAVE } from '../abi'
import { arena, mine, queryAt, rowAt } from '../arena'
import { pageAt } from '../cache'
import { countHead, countScores, countValues, forgetHeads } from '../count'
import { softcap } from '../kernels/activation'
import { blend, clearPadding, divide } from '../kernels/elementwise'
import { exp1 } from '../kernels/exp'
import { quantizeQuery } from '../kernels/quantize'
import {
  exponentials,
  hideScores,
  hideWeights,
  prepareKeys_int8,
  scores_f32,
  scores_int8,
  values_f32,
  values_int8,
} from '../kernels/sweep'
import { buffersOf, kindOf, viewHead } from '../plan'
import {
  averageStride,
  headBytes,
  partialStride,
  queryDim,
  slotBytes,
  sweepQueryBytes,
  sweepQueryStride,
} from '../sizes'
import { barrier, isMine, next, ranks } from '../team'
import { addKeyBias, prepareKeyBias } from './key-bias'

/**
 * o_j = Σ softmax(scale · q_j · key(t)) · value(t) over the tokens that a row sees: its own and those before it, as far as a
 * window. For every map j. Many rows: each rank takes its own. Few rows, fewer than keep all ranks busy: the ranks share the
 * pages of each.
 */
export function sweep(plan: Plan, layer: Layer, count: u32): void {
  const kind = kindOf(plan, layer)
  const isShared = count % ranks() != 0 && count < 2 * ranks()
  for (let i: u32 = 0; i < count; i++)
    if (isShared && rowAt(i).position >= PAGE_TOKENS) sweepTogether(plan, layer, kind, i)
    else if (isMine(i)) sweepRow(plan, layer, kind, i)
}

function sweepRow(plan: Plan, layer: Layer, kind: LayerKind, i: u32): void {
  const a = arena()
  const averages = a.averages + i * buffersOf(plan).averages
  const partial = mine(a.partial)
  const last = rowAt(i).position / PAGE_TOKENS
  const hidden = hiddenBefore(kind, i)
  const start = hidden / PAGE_TOKENS
  prepareQueries(plan, layer, kind, i)
  for (let page = start; page <= last; page++) {
    const address = beginPage(plan, layer, i, page)
    const from: u32 = page == start ? hidden % PAGE_TOKENS : 0
    for (let j: u32 = 0; j < kind.maps; j++) {
      sweepPage(plan, layer, address, page, from, tokensIn(i, page), j, partial)
      combine(averages + j * averageStride(kind), kind.valueDim, j, partial, page == start)
    }
  }
  for (let j: u32 = 0; j < kind.maps; j++) finishAverage(plan, kind, averages, j)
}

/** Every rank takes pages, WAVE of them at a time; then each map is combined, in page order, by one rank. */
function sweepTogether(plan: Plan, layer: Layer, kind: LayerKind, i: u32): void {
  const a = arena()
  const averages = a.averages + i * buffersOf(plan).averages
  const stride = partialStride(kind)
  const pages = rowAt(i).position / PAGE_TOKENS + 1
  const hidden = hiddenBefore(kind, i)
  const start = hidden / PAGE_TOKENS
  prepareQueries(plan, layer, kind, i)
  for (let first = start; first < pages; first += WAVE) {
    const n = min<u32>(WAVE, pages - first)
    for (let p = next(); p < n; p = next()) {
      const address = beginPage(plan, layer, i, first + p)
      const from: u32 = first + p == start ? hidden % PAGE_TOKENS : 0
      for (let j: u32 = 0; j < kind.maps; j++)
        sweepPage(
          plan,
          layer,
          address,
          first + p,
          from,
          tokensIn(i, first + p),
          j,
          a.pagePartials + (p * kind.maps + j) * stride,
        )
    }
    barrier()
    for (let j: u32 = 0; j < kind.maps; j++) {
      if (!isMine(j)) continue
      const average = averages + j * averageStride(kind)
      for (let p: u32 = 0; p < n; p++)
        combine(average, kind.valueDim, j, a.pagePartials + (p * kind.maps + j) * stride, first + p == start)
      if (first + n == pages) finishAverage(plan, kind, averages, j)
    }
    barrier()
  }
}

/** Tokens of a page up to row i's own. */
function tokensIn(i: u32, page: u32): u32 {
  return min<u32>(PAGE_TOKENS, rowAt(i).position + 1 - page * PAGE_TOKENS)
}

/** Tokens before the window of row i. */
function hiddenBefore(kind: LayerKind, i: u32): u32 {
  const seen = rowAt(i).position + 1
  return kind.window && seen > kind.window ? seen - kind.window : 0
}

/** Queries of row i as the sweep reads them, a part for each key view. */
function prepareQueries(plan: Plan, layer: Layer, kind: LayerKind, i: u32): void {
  const a = arena()
  const plain = kind.encoderDim ? kind.encoderDim : kind.key0Dim
  const queries = queryAt(plan, kind, i)
  const encoded = a.encoded + i * buffersOf(plan).encoded
  for (let j: u32 = 0; j < kind.maps; j++) {
    const q = queries + ((j * queryDim(kind)) << 2)
    const first = kind.encoderDim ? encoded + ((j * kind.key0Dim) << 2) : q
    const target = mine(a.sweepQueries) + j * sweepQueryStride(kind)
    const scales = mine(a.queryScales) + (j << 3)
    prepareQuery(kind, first, kind.key0Dim, target, scales)
    if (kind.key1Dim)
      prepareQuery(kind, q + (plain << 2), kind.key1Dim, target + sweepQueryBytes(kind.key0Dim), scales + 4)
    if (!layer.inBias) continue
    prepareKeyBias(plan, layer, 0, i, j, q)
    if (kind.key1Dim) prepareKeyBias(plan, layer, 1, i, j, q + (plain << 2))
  }
}

/** Integers for an int8 cache, else f32 padded with zeros to 4. */
function prepareQuery(kind: LayerKind, source: usize, dim: u32, target: usize, scale: usize): void {
  if (arena().isCacheInt8) {
    store<f32>(scale, quantizeQuery(source, dim, target) * kind.scale)
  } else {
    memory.copy(target, source, dim << 2)
    store<f32>(scale, kind.scale)
  }
}

/** Address of a page's part for this layer. */
function beginPage(plan: Plan, layer: Layer, i: u32, page: u32): usize {
  const row = rowAt(i)
  forgetHeads()
  return pageAt(plan, layer, row.conversation, page * PAGE_TOKENS)
}

/** Tokens `from` … of page `index` at `page`, one map: leaves (max, sum of exponentials) and the weighted sum at `partial`. */
function sweepPage(
  plan: Plan,
  layer: Layer,
  page: usize,
  index: u32,
  from: u32,
  tokens: u32,
  j: u32,
  partial: usize,
): void {
  const a = arena()
  const kind = kindOf(plan, layer)
  const q = mine(a.sweepQueries) + j * sweepQueryStride(kind)
  const scales = mine(a.queryScales) + (j << 3)
  const scores = mine(a.scores)
  scoreView(kind, page, 0, j, from, tokens, q, load<f32>(scales))
  if (kind.key1Dim) scoreView(kind, page, 1, j, from, tokens, q + sweepQueryBytes(kind.key0Dim), load<f32>(scales, 4))
  if (layer.inBias) addKeyBias(plan, layer, index, tokens, j, scores)
  if (kind.softcap) softcap(scores, tokens, kind.softcap)
  if (from) hideScores(from, scores)
  exponentials(tokens, scores, partial)
  if (from) hideWeights(from, scores)
  const slot = kind.valueSlot
  const head = viewHead(kind, 2, j)
  const value = slotHead(kind, page, slot, head)
  const dim = slotDim(kind, slot)
  const valueDim = kind.valueDim
  countHead(kind, slot, head, tokens - from)
  countValues(valueDim, tokens - from)
  if (a.isCacheInt8) values_int8(value, dim, valueDim, tokens, scores, partial + PARTIAL_SUMS)
  else values_f32(value, dim, valueDim, tokens, scores, partial + PARTIAL_SUMS)
}

function scoreView(
  kind: LayerKind,
  page: usize,
  view: u32,
  j: u32,
  from: u32,
  tokens: u32,
  q: usize,
  scale: f32,
): void {
  const a = arena()
  const scores = mine(a.scores)
  const slot = view ? kind.key1Slot : kind.key0Slot
  const dim = view ? kind.key1Dim : kind.key0Dim
  const headDim = slotDim(kind, slot)
  const head = viewHead(kind, view, j)
  const key = slotHead(kind, page, slot, head)
  countHead(kind, slot, head, tokens - from)
  countScores(dim, tokens - from)
  if (!a.isCacheInt8) {
    scores_f32(key, headDim, dim, tokens, q, scale, scores, view)
    return
  }
  // Neighbouring maps share their keys.
  if (j == 0 || viewHead(kind, view, j - 1) != head) prepareKeys_int8(key, headDim, dim, tokens, scores, view)
  scores_int8(key, headDim, dim, tokens, q, scale, scores, view)
}

function slotDim(kind: LayerKind, slot: u32): u32 {
  return slot ? kind.slot1Dim : kind.slot0Dim
}

/** Address of one slot head within a page. */
function slotHead(kind: LayerKind, page: usize, slot: u32, head: u32): usize {
  const isInt8 = arena().isCacheInt8
  return page + (slot ? slotBytes(kind, 0, isInt8) : 0) + head * headBytes(slotDim(kind, slot), isInt8)
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

/** The average of map j: the sum of values over that of weights. */
function finishAverage(plan: Plan, kind: LayerKind, averages: usize, j: u32): void {
  const average = averages + j * averageStride(kind)
  divide(average, load<f32>(mine(arena().softmax) + (j << 3), 4), kind.valueDim)
  if (kind.hasDecoder && plan.nLayerKinds > 1) clearPadding(average, kind.valueDim)
}
