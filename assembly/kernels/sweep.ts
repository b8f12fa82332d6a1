/**
 * The attention sweep over one page for one map: scores, their exponentials, and the weighted sum of values. A page is
 * the unit of bit identity: its result depends on the page and the query alone; mixers/sweep.ts combines pages in order.
 *
 * int8: keys and values are ±127 with a scale per row, q and the weights are 14 bit integers, so both sums are exact
 * integers; a weight is e^(s − max) times the value row's scale. f32: plain sums in one fixed order.
 *
 * Contract: `tokens` in 1..PAGE_TOKENS; rows behind them may hold anything, their weights are zero. Leaves the weighted
 * sum, not yet divided by the sum of exponentials, at `partial` (f32, dim padded to 4), and (max, sum) at `state`.
 */
import { PAGE_TOKENS } from '../abi'
import { exponentials4 } from './exp'
import { IS_RELAXED, maxLanes, sumLanes } from './lanes'
import { factorFor, nanIn, toIntegers } from './quantize'
import { queryOffset_int8, scoreTile_int8, storeDigits, valueBlock_int8, valueTile_int8 } from './sweep-int8'

/** Bytes of the scores; what follows them in the scratch of a page (arena.ts). */
const SCORES: usize = 256
/** Integer weights, 8 bytes per 4 tokens. */
const WEIGHTS: usize = SCORES
/** Sums of one tile. */
const SUMS: usize = WEIGHTS + 128
/** What a query offset counts too much: i32 (key view, PAGE_TOKENS). */
const OFFSETS: usize = SUMS + 64
export const PAGE_SCRATCH: usize = OFFSETS + 2 * 256

/**
 * Before the scores of any number of queries against the same keys: `view` is 0, or 1 for the second key view.
 */
export function prepareKeys_int8(head: usize, headDim: u32, dim: u32, tokens: u32, scores: usize, view: u32): void {
  if (!IS_RELAXED) return
  const row = blockBytes(headDim)
  for (let t: u32 = 0; t < tokens; t += 16) {
    const group = head + (PAGE_TOKENS << 2) + (t >> 2) * row
    queryOffset_int8(group, row, blockBytes(dim), scores + OFFSETS + ((view * PAGE_TOKENS + t) << 2))
  }
}

/** Bytes of a group of four tokens, or of the part of it that `dim` entries take. */
function blockBytes(dim: u32): usize {
  return ((dim + 3) & ~3) << 2
}

/**
 * Scores of one page: the first `dim` entries of each key (`headDim` of them lie in the cache) against q as quantizeQuery
 * leaves it; `qScale` is its scale times that of the scores. The second key view adds to what the first one left. Scores
 * behind the last token, up to a multiple of 16, are rubbish.
 */
export function scores_int8(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  q: usize,
  qScale: f32,
  scores: usize,
  view: u32,
): void {
  const offsets = scores + OFFSETS + view * (PAGE_TOKENS << 2)
  const row = blockBytes(headDim)
  const used = blockBytes(dim)
  const factor = f32x4.splat(qScale)
  for (let t: u32 = 0; t < tokens; t += 16)
    scoreTile_int8(
      head + (PAGE_TOKENS << 2) + (t >> 2) * row,
      row,
      used,
      q,
      offsets + (t << 2),
      head + (t << 2),
      factor,
      scores + (t << 2),
      view != 0,
    )
}

/** The same for f32 keys; q padded with zeros to 4. */
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
  for (let t: u32 = 0; t < tokens; t++) {
    const key = head + t * row
    let sum = f32x4.splat(0)
    for (let i: usize = 0; i < used; i += 16) sum = f32x4.add(sum, f32x4.mul(v128.load(key + i), v128.load(q + i)))
    const value = sumLanes(sum) * scale
    const at = scores + (t << 2)
    store<f32>(at, view ? load<f32>(at) + value : value)
  }
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
 * Σ weight · value over one page, the first `dim` entries of int8 values. `scores` holds exponentials and is overwritten.
 */
export function values_int8(head: usize, headDim: u32, dim: u32, tokens: u32, scores: usize, partial: usize): void {
  const weights = scores + WEIGHTS
  const sums = scores + SUMS
  const scale = f32x4.splat(integerWeights(head, tokens, scores, weights))
  const row = blockBytes(headDim)
  const used = blockBytes(dim)
  const data = head + (PAGE_TOKENS << 2)
  const groups = (tokens + 3) >> 2
  let i: usize = 0
  for (const full = used & ~63; i < full; i += 64) {
    valueTile_int8(data + i, row, groups, weights, sums)
    for (let j: usize = 0; j < 64; j += 16)
      v128.store(partial + i + j, f32x4.mul(f32x4.convert_i32x4_s(v128.load(sums + j)), scale))
  }
  for (; i < used; i += 16) {
    const sum = valueBlock_int8(data + i, row, groups, weights)
    v128.store(partial + i, f32x4.mul(f32x4.convert_i32x4_s(sum), scale))
  }
}

/** Exponentials times value scales as integers 0..16383 (sweep-int8.ts: storeDigits); returns the value of one unit, or NaN. */
function integerWeights(head: usize, tokens: u32, scores: usize, weights: usize): f32 {
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
  const peak = maxLanes(best) + nanIn(sum)
  const factor = f32x4.splat(factorFor(peak, 16383))
  for (let t: u32 = 0; t < tokens; t += 4)
    storeDigits(weights + (t << 1), toIntegers(f32x4.mul(v128.load(scores + (t << 2)), factor)))
  return peak / 16383
}

/** The same for f32 values. */
export function values_f32(head: usize, headDim: u32, dim: u32, tokens: u32, scores: usize, partial: usize): void {
  const row = blockBytes(headDim)
  const used = blockBytes(dim)
  for (let i: usize = 0; i < used; i += 16) {
    let sum = f32x4.splat(0)
    let value = head + i
    for (let t: u32 = 0; t < tokens; t++) {
      sum = f32x4.add(sum, f32x4.mul(v128.load32_splat(scores + (t << 2)), v128.load(value)))
      value += row
    }
    v128.store(partial + i, sum)
  }
}
