/**
 * The attention sweep over one page for the queries that read the same head of it: scores, their exponentials, and the weighted
 * sums of values. A page is the unit of bit identity: its result depends on the page and the query alone; mixers/sweep.ts
 * combines pages in order.
 *
 * int8: keys and values are ±127 with a scale per row, q and the weights are 14 bit integers, so both sums are exact
 * integers, and queries go through them two at a time; a weight is e^(s − max) times the value row's scale. f32: plain sums in
 * one fixed order.
 *
 * Contract: `tokens` in 1..PAGE_TOKENS; rows behind them may hold anything, their weights are zero. Keys are read up to 16 bytes
 * behind their head. Leaves the weighted sum, not yet divided by the sum of exponentials, at `partial` (f32, dim padded to 16),
 * and (max, sum) at `state`.
 *
 * `scratch` of a page, from here to there:
 *
 *     OFFSETS    i32 (key view, PAGE_TOKENS)    what a score counts too much, whatever the query
 *     SUMS       i32 (2 queries, 16)            of one tile
 *     WEIGHTS    2 queries, two streams each    integers, 16 bytes per 4 tokens (digit-tile.ts); 8 bytes for a query alone
 *     PANEL      a head as the tile reads it    keys of the strict build: as in the cache, widened
 *                                               values: a stream per 4 dims, 16 bytes per 4 tokens, or 32
 */
import { PAGE_TOKENS } from '../abi'
import { clearDigits, digitTile, spreadDigits, storeDigits, TILE_SUMS, WIDENED } from './digit-tile'
import { exponentials4 } from './exp'
import { IS_RELAXED, maxLanes, sumLanes } from './lanes'
import { factorFor, nanIn, toIntegers } from './quantize'
import { scoreTile_f32, valueBlock_f32, valueTile_f32 } from './sweep-f32'
import {
  queryOffset_int8,
  scoreTile_int8,
  storeScores,
  turnBlocks,
  valueBlock_int8,
  valueTile_int8,
  widenBlocks,
} from './sweep-int8'

/** Bytes of the scores of one query. */
export const SCORES: usize = 256
const OFFSETS: usize = 0
const SUMS: usize = OFFSETS + 2 * 256
const WEIGHTS: usize = SUMS + TILE_SUMS
/** Bytes of a stream of weights, and of four dims of turned values. */
const STREAM: usize = 256
const PANEL: usize = WEIGHTS + 4 * STREAM

/** Bytes of `scratch` for heads of `dim` numbers. */
export function pageScratch(dim: u32): usize {
  return PANEL + (((((dim + 15) & ~15) as usize) * PAGE_TOKENS) << WIDENED)
}

/** Bytes of one of the two streams of a query's `dim` numbers: 16 for every four, an even number of times. */
export function queryStream(dim: u32): usize {
  return ((dim + 7) & ~7) << 2
}

/** Bytes of a group of four tokens, or of the part of it that `dim` entries take. */
function blockBytes(dim: u32): usize {
  return ((dim + 3) & ~3) << 2
}

/** Before the scores of `queries` queries against the same keys: `view` is 0, or 1 for the second key view. */
export function prepareKeys_int8(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  queries: u32,
  view: u32,
  scratch: usize,
): void {
  const row = blockBytes(headDim)
  const used = blockBytes(dim)
  const keys = head + (PAGE_TOKENS << 2)
  if (IS_RELAXED) {
    for (let t: u32 = 0; t < tokens; t += 32)
      queryOffset_int8(keys + (t >> 2) * row, row, used, scratch + OFFSETS + ((view * PAGE_TOKENS + t) << 2))
  } else if (queries > 1) {
    for (let g: u32 = 0; g < tokensInTiles(tokens) >> 2; g++)
      widenBlocks(keys + g * row, used, scratch + PANEL + 2 * g * used)
  }
}

function tokensInTiles(tokens: u32): u32 {
  return (tokens + 15) & ~15
}

/**
 * Scores of one page: the first `dim` entries of each key (`headDim` of them lie in the cache) against `queries` queries as
 * quantizeQuery leaves them, one behind the other at `q`; `scales` are theirs times that of the scores. The second key view adds to what the
 * first one left. Scores behind the last token, up to a multiple of 16, are rubbish.
 */
export function scores_int8(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  q: usize,
  queries: u32,
  scales: usize,
  scores: usize,
  view: u32,
  scratch: usize,
): void {
  const offsets = scratch + OFFSETS + view * (PAGE_TOKENS << 2)
  const sums = scratch + SUMS
  const row = blockBytes(headDim)
  const used = blockBytes(dim)
  const stream = queryStream(dim)
  const keys = head + (PAGE_TOKENS << 2)
  const panel = IS_RELAXED ? keys : scratch + PANEL
  const group = IS_RELAXED ? row : 2 * used
  const bytes = IS_RELAXED ? stream : used
  const adds = view != 0
  for (; queries > 1; queries -= 2) {
    const factor0 = v128.load32_splat(scales)
    const factor1 = v128.load32_splat(scales, 4)
    for (let t: u32 = 0; t < tokens; t += 16) {
      digitTile(panel + (t >> 2) * group, group, q, stream, bytes, sums)
      const at = t << 2
      for (let i: usize = 0; i < 64; i += 16) {
        const to = scores + at + i
        storeScores(v128.load(sums + i), offsets + at + i, head + at + i, factor0, to, adds)
        storeScores(v128.load(sums + i, 64), offsets + at + i, head + at + i, factor1, to + SCORES, adds)
      }
    }
    q += 4 * stream
    scales += 8
    scores += 2 * SCORES
  }
  if (!queries) return
  const factor = v128.load32_splat(scales)
  for (let t: u32 = 0; t < tokens; t += 16) {
    const at = t << 2
    const group = keys + (t >> 2) * row
    scoreTile_int8(group, row, used, q, stream, offsets + at, head + at, factor, scores + at, adds)
  }
}

/** The same for one query and f32 keys; q padded with zeros to 4. */
export function scores_f32(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  q: usize,
  scale: f32,
  scores: usize,
  view: u32,
): void {
  const row = blockBytes(headDim)
  const used = blockBytes(dim)
  const factor = f32x4.splat(scale)
  for (let t: u32 = 0; t < tokens; t += 8)
    scoreTile_f32(head + t * row, row, used, q, factor, scores + (t << 2), view != 0)
}

/**
 * scores → e^(score − max), zeros up to a multiple of 4; (max, sum) to `state`. A NaN among the scores is not seen as a
 * maximum (f32x4.max, which would, is nine instructions on x64), but in the sum.
 */
export function exponentials(tokens: u32, scores: usize, state: usize): void {
  let best = v128.load32_splat(scores)
  const full = tokens & ~3
  for (let t: u32 = 0; t < full; t += 4) best = f32x4.pmax(best, v128.load(scores + (t << 2)))
  for (let t = full; t < tokens; t++) best = f32x4.pmax(best, v128.load32_splat(scores + (t << 2)))
  const peak = maxLanes(best)
  let sum = exponentials4(scores, full >> 2, peak)
  if (full < tokens) {
    const at = scores + (full << 2)
    exponentials4(at, 1, peak)
    for (let t = tokens; t < full + 4; t++) store<f32>(scores + (t << 2), 0)
    sum = f32x4.add(sum, v128.load(at))
  }
  store<f32>(state, peak)
  store<f32>(state + 4, sumLanes(sum))
}

/** Tokens before `from` are not seen: their scores are below all others, and behind exponentials() their weights zeros. */
export function hideScores(from: u32, scores: usize): void {
  for (let t: u32 = 0; t < from; t++) store<f32>(scores + (t << 2), -Infinity)
}
export function hideWeights(from: u32, scores: usize): void {
  memory.fill(scores, 0, from << 2)
}

/**
 * Queries from which on values are turned for them before they meet two at a time: each of them saves an eighth of its
 * products on x64, and a third on a Cortex-A76, where turning costs as much as those of one (bench/LOG.md). Widened values save half.
 */
const LEAST_TURNED: u32 = IS_RELAXED ? 8 : 2

/** Before the averages of `queries` queries over the same values. True: they are to go through them in pairs. */
export function prepareValues_int8(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  queries: u32,
  scratch: usize,
): bool {
  if (queries < LEAST_TURNED) return false
  const row = blockBytes(headDim)
  const used = blockBytes(dim)
  for (let g: u32 = 0; g < groupsOf(tokens); g++)
    turnBlocks(head + (PAGE_TOKENS << 2) + g * row, used, scratch + PANEL + ((g << 4) << WIDENED), STREAM << WIDENED)
  return true
}

function groupsOf(tokens: u32): u32 {
  return (tokens + 3) >> 2
}

/**
 * Σ weight · value over one page, the first `dim` entries of int8 values, for two queries that prepareValues_int8() was told of. Their
 * `scores`, SCORES bytes apart, hold exponentials, of as many tokens as each sees, and are overwritten; their sums lie `stride` bytes apart.
 */
export function valuePair_int8(
  head: usize,
  dim: u32,
  tokens0: u32,
  tokens1: u32,
  scores: usize,
  partial: usize,
  stride: usize,
  scratch: usize,
): void {
  const weights = scratch + WEIGHTS
  const sums = scratch + SUMS
  // Whole steps of the tile: two groups.
  const groups = (groupsOf(max(tokens0, tokens1)) + 1) & ~1
  const scale0 = f32x4.splat(spreadWeights(head, tokens0, groups, scores, weights))
  const scale1 = f32x4.splat(spreadWeights(head, tokens1, groups, scores + SCORES, weights + 2 * STREAM))
  const panel = scratch + PANEL
  for (let d: u32 = 0; d < dim; d += 16) {
    digitTile(panel + d * ((STREAM >> 2) << WIDENED), STREAM << WIDENED, weights, STREAM, groups << 4, sums)
    storeSums(sums, scale0, partial + (d << 2))
    storeSums(sums + 64, scale1, partial + stride + (d << 2))
  }
}

function storeSums(sums: usize, scale: v128, partial: usize): void {
  for (let i: usize = 0; i < 64; i += 16)
    v128.store(partial + i, f32x4.mul(f32x4.convert_i32x4_s(v128.load(sums + i)), scale))
}

/** The same for one query, straight from the cache. */
export function values_int8(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  scores: usize,
  partial: usize,
  scratch: usize,
): void {
  const weights = scratch + WEIGHTS
  const sums = scratch + SUMS
  const groups = groupsOf(tokens)
  const peak = scaleWeights(head, tokens, scores)
  const factor = f32x4.splat(factorFor(peak, 16383))
  for (let t: u32 = 0; t < tokens; t += 4)
    storeDigits(weights + (t << 1), toIntegers(f32x4.mul(v128.load(scores + (t << 2)), factor)))
  const scale = f32x4.splat(peak / 16383)
  const row = blockBytes(headDim)
  const used = blockBytes(dim)
  const data = head + (PAGE_TOKENS << 2)
  let i: usize = 0
  for (const full = used & ~63; i < full; i += 64) {
    valueTile_int8(data + i, row, groups, weights, sums)
    storeSums(sums, scale, partial + i)
  }
  for (; i < used; i += 16) {
    const sum = valueBlock_int8(data + i, row, groups, weights)
    v128.store(partial + i, f32x4.mul(f32x4.convert_i32x4_s(sum), scale))
  }
}

/**
 * Exponentials times value scales as integers 0..16383 in the form that pairs of queries have, zeros up to `groups` of four; returns the
 * value of one unit, or NaN.
 */
function spreadWeights(head: usize, tokens: u32, groups: u32, scores: usize, weights: usize): f32 {
  const peak = scaleWeights(head, tokens, scores)
  const factor = f32x4.splat(factorFor(peak, 16383))
  let t: u32 = 0
  for (; t < tokens; t += 4)
    spreadDigits(weights + (t << 2), STREAM, toIntegers(f32x4.mul(v128.load(scores + (t << 2)), factor)))
  for (; t < groups << 2; t += 4) clearDigits(weights + (t << 2), STREAM)
  return peak / 16383
}

/** Exponentials times value scales; returns the largest, or NaN. */
function scaleWeights(head: usize, tokens: u32, scores: usize): f32 {
  let best = f32x4.splat(0)
  let sum = best // NaN if a weight is
  const full = tokens & ~3
  for (let t: u32 = 0; t < full; t += 4) {
    const w = f32x4.mul(v128.load(scores + (t << 2)), v128.load(head + (t << 2)))
    v128.store(scores + (t << 2), w)
    best = f32x4.pmax(best, w)
    sum = f32x4.add(sum, w)
  }
  // Rows behind the last token are somebody's old data: their scales must not leak in, not even as NaN.
  for (let t = full; t < tokens; t++) {
    const at = scores + (t << 2)
    store<f32>(at, load<f32>(at) * load<f32>(head + (t << 2)))
    best = f32x4.pmax(best, v128.load32_splat(at))
    sum = f32x4.add(sum, v128.load32_splat(at))
  }
  return maxLanes(best) + nanIn(sum)
}

/** The same for f32 values. */
export function values_f32(head: usize, headDim: u32, dim: u32, tokens: u32, scores: usize, partial: usize): void {
  const row = blockBytes(headDim)
  const used = blockBytes(dim)
  let i: usize = 0
  for (const full = used & ~127; i < full; i += 128) valueTile_f32(head + i, row, tokens, scores, partial + i)
  for (; i < used; i += 16) v128.store(partial + i, valueBlock_f32(head + i, row, tokens, scores))
}
