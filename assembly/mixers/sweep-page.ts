/** A tile of queries meets one page: what it leaves of each, and how that is added to what earlier pages left. */
import { LayerKind, PAGE_TOKENS, PARTIAL_SUMS } from '../abi'
import { arena, mine, rowAt } from '../arena'
import { countHead, countScores, countValues, forgetHeads } from '../count'
import { softcap } from '../kernels/activation'
import { blend, clearPadding, divide } from '../kernels/elementwise'
import { exp1 } from '../kernels/exp'
import {
  exponentials,
  hideScores,
  hideWeights,
  prepareKeys_int8,
  prepareValues_int8,
  SCORES,
  scores_f32,
  scores_int8,
  valuePair_int8,
  values_f32,
  values_int8,
} from '../kernels/sweep'
import { buffersOf, viewHead } from '../plan'
import { RowTile } from '../row-tile'
import { averageStride, headBytes, partialStride, slotBytes, sweepQueryBytes } from '../sizes'
import { addKeyBias } from './key-bias'
import { queryScale, sweepQuery } from './sweep-queries'

/** Tokens of the tile's page up to its r-th row's own. */
export function tokensIn(tile: RowTile, r: u32): u32 {
  return min<u32>(PAGE_TOKENS, rowAt(tile.row(r)).position + 1 - tile.page * PAGE_TOKENS)
}

/** Tokens before the window of row i. */
export function hiddenBefore(kind: LayerKind, i: u32): u32 {
  const seen = rowAt(i).position + 1
  return kind.window && seen > kind.window ? seen - kind.window : 0
}

/** Tokens of the tile's page that lie before the window of its r-th row. */
function hiddenIn(tile: RowTile, r: u32): u32 {
  return tile.page == tile.start ? hiddenBefore(tile.kind, tile.row(r)) % PAGE_TOKENS : 0
}

/** Leaves what the tile's page is to query n at `partials` + n · partialStride, or, if that is 0, combines it at once. */
export function sweepPage(tile: RowTile, partials: usize): void {
  const kind = tile.kind
  countPage(tile)
  for (let j: u32 = 0; j < kind.maps; ) {
    const end = sameHead(kind, 2, j, kind.maps)
    scoreView(tile, 0, j, end)
    if (kind.key1Dim) scoreView(tile, 1, j, end)
    averageMaps(tile, j, end, partials)
    j = end
  }
}

/** What the rows ask for, each for itself. */
function countPage(tile: RowTile): void {
  if (ASC_NO_ASSERT) return
  const kind = tile.kind
  for (let r: u32 = 0; r < tile.rows; r++) {
    const tokens = tokensIn(tile, r) - hiddenIn(tile, r)
    forgetHeads()
    for (let j: u32 = 0; j < kind.maps; j++) {
      countHead(kind, kind.key0Slot, viewHead(kind, 0, j), tokens)
      if (kind.key1Dim) countHead(kind, kind.key1Slot, viewHead(kind, 1, j), tokens)
      countHead(kind, kind.valueSlot, viewHead(kind, 2, j), tokens)
      countScores(kind.key0Dim + kind.key1Dim, tokens)
      countValues(kind.valueDim, tokens)
    }
  }
}

/** The first map behind j, up to `end`, that reads another head through a view. */
function sameHead(kind: LayerKind, view: u32, j: u32, end: u32): u32 {
  const head = viewHead(kind, view, j)
  do j++
  while (j < end && viewHead(kind, view, j) == head)
  return j
}

/** Scores of the queries of maps `first` … `end` − 1 against a key view, those of the first query at the beginning of the scores. */
function scoreView(tile: RowTile, view: u32, first: u32, end: u32): void {
  const kind = tile.kind
  for (let j = first; j < end; ) {
    const next = sameHead(kind, view, j, end)
    const scores = mine(arena().scores) + (j - first) * tile.rows * SCORES
    scoreMaps(tile, view, j, (next - j) * tile.rows, scores)
    j = next
  }
}

function scoreMaps(tile: RowTile, view: u32, j: u32, queries: u32, scores: usize): void {
  const a = arena()
  const kind = tile.kind
  const slot = view ? kind.key1Slot : kind.key0Slot
  const dim = view ? kind.key1Dim : kind.key0Dim
  const headDim = slotDim(kind, slot)
  const key = slotHead(tile, slot, viewHead(kind, view, j))
  const scratch = mine(a.pageScratch)
  let q = sweepQuery(kind, view, j * tile.rows)
  let scale = queryScale(kind, view, j * tile.rows)
  if (a.isCacheInt8) {
    prepareKeys_int8(key, headDim, dim, tile.tokens, queries, view, scratch)
    scores_int8(key, headDim, dim, tile.tokens, q, queries, scale, scores, view, scratch)
    return
  }
  for (let n: u32 = 0; n < queries; n++) {
    scores_f32(key, headDim, dim, tile.tokens, q, load<f32>(scale), scores, view)
    q += sweepQueryBytes(dim)
    scale += 4
    scores += SCORES
  }
}

/** From scores to weighted sums of values, and on, for maps that read the same values: two queries at a time, as far as they go. */
function averageMaps(tile: RowTile, first: u32, end: u32, partials: usize): void {
  const a = arena()
  const kind = tile.kind
  const dim = slotDim(kind, kind.valueSlot)
  const value = slotHead(tile, kind.valueSlot, viewHead(kind, 2, first))
  const stride = partialStride(kind)
  const scratch = mine(a.pageScratch)
  const rows = tile.rows
  const isPaired =
    a.isCacheInt8 && prepareValues_int8(value, dim, kind.valueDim, tile.tokens, (end - first) * rows, scratch)
  let scores = mine(a.scores)
  let j = first
  let r: u32 = 0
  while (j < end) {
    const partial = partials ? partials + (j * rows + r) * stride : mine(a.partial)
    const sums = partial + PARTIAL_SUMS
    const tokens = weigh(tile, j, r, scores, partial)
    // The next query: of the same map, or of the next one.
    const isLast = r + 1 == rows
    const j1: u32 = isLast ? j + 1 : j
    const r1: u32 = isLast ? 0 : r + 1
    if (isPaired && j1 < end) {
      const tokens1 = weigh(tile, j1, r1, scores + SCORES, partial + stride)
      valuePair_int8(value, kind.valueDim, tokens, tokens1, scores, sums, stride, scratch)
      if (!partials) combine(tile, j, r, partial, tile.page == tile.start)
      if (!partials) combine(tile, j1, r1, partial + stride, tile.page == tile.start)
      scores += 2 * SCORES
      j = r1 + 1 == rows ? j1 + 1 : j1
      r = r1 + 1 == rows ? 0 : r1 + 1
      continue
    }
    if (a.isCacheInt8) values_int8(value, dim, kind.valueDim, tokens, scores, sums, scratch)
    else values_f32(value, dim, kind.valueDim, tokens, scores, sums)
    if (!partials) combine(tile, j, r, partial, tile.page == tile.start)
    scores += SCORES
    j = j1
    r = r1
  }
}

/** Scores of map j of the r-th row → exponentials; (max, sum) to `state`. Returns the tokens that the row sees, and those before its window. */
function weigh(tile: RowTile, j: u32, r: u32, scores: usize, state: usize): u32 {
  const kind = tile.kind
  const tokens = tokensIn(tile, r)
  const hidden = hiddenIn(tile, r)
  if (tile.layer.inBias) addKeyBias(tile.plan, tile.layer, tile.page, tokens, j * tile.rows + r, scores)
  if (kind.softcap) softcap(scores, tokens, kind.softcap)
  if (hidden) hideScores(hidden, scores)
  exponentials(tokens, scores, state)
  if (hidden) hideWeights(hidden, scores)
  return tokens
}

function slotDim(kind: LayerKind, slot: u32): u32 {
  return slot ? kind.slot1Dim : kind.slot0Dim
}

/** Address of one slot head within the tile's page. */
function slotHead(tile: RowTile, slot: u32, head: u32): usize {
  const kind = tile.kind
  const isInt8 = arena().isCacheInt8
  return tile.address + (slot ? slotBytes(kind, 0, isInt8) : 0) + head * headBytes(slotDim(kind, slot), isInt8)
}

/** Address of the average of map j of the r-th row. */
function averageAt(tile: RowTile, j: u32, r: u32): usize {
  return arena().averages + tile.row(r) * buffersOf(tile.plan).averages + j * averageStride(tile.kind)
}
/** Its (f32 maximum, f32 sum of exponentials) so far. */
function softmaxAt(tile: RowTile, j: u32, r: u32): usize {
  return mine(arena().softmax) + ((j * tile.rows + r) << 3)
}

/** Adds what a page left to what this rank has of map j of the r-th row. */
export function combine(tile: RowTile, j: u32, r: u32, partial: usize, isFirst: bool): void {
  const average = averageAt(tile, j, r)
  const dim = tile.kind.valueDim
  const state = softmaxAt(tile, j, r)
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

/** The average of map j of the r-th row: the sum of values over that of weights. */
export function finishAverage(tile: RowTile, j: u32, r: u32): void {
  const kind = tile.kind
  const average = averageAt(tile, j, r)
  divide(average, load<f32>(softmaxAt(tile, j, r), 4), kind.valueDim)
  if (kind.hasDecoder && tile.plan.nLayerKinds > 1) clearPadding(average, kind.valueDim)
}
