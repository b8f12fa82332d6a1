/**
 * The attention sweep over one page for one map: scores, their exponentials, and the weighted sum of values. A page is
 * the unit of bit identity: its result depends on the page and the query alone; attention.ts combines pages in order.
 *
 * int8: keys and values are ±127 with a scale per row, q and the weights are 14 bit integers, so both sums are exact
 * integers; a weight is e^(s − max) times the value row's scale. f32: plain sums in one fixed order.
 *
 * Contract: `tokens` in 1..PAGE_TOKENS; rows behind them may hold anything, their weights are zero. Leaves the weighted
 * sum, not yet divided by the sum of exponentials, at `partial` (f32, dim padded to 4), and (max, sum) at `state`.
 */
import { PAGE_TOKENS } from '../cache'
import { maxLanes, sumLanes } from './dot'
import { exp4 } from './exp'

/** Bytes of the scores; the integer weights follow them. */
const SCORES: usize = 256

/**
 * Scores of one page: the first `dim` entries of each key (`headDim` of them lie in the cache) against q as quantizeQuery
 * leaves it; `qScale` is its scale times that of the scores. `adds` to what a first key view left.
 */
export function scores_int8(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  q: usize,
  qScale: f32,
  scores: usize,
  adds: bool,
): void {
  const row = ((headDim + 3) & ~3) << 2
  const used = ((dim + 3) & ~3) << 2
  const data = head + (PAGE_TOKENS << 2)
  const factor = f32x4.splat(qScale)
  for (let t: u32 = 0; t < tokens; t += 4) {
    const group = data + (t >> 2) * row
    let a = i32x4.splat(0) // t0d01 t0d23 t1d01 t1d23
    let b = a // the same of t2, t3
    for (let i: usize = 0; i < used; i += 16) {
      const four = v128.load(q + i)
      a = i32x4.add(a, i32x4.dot_i16x8_s(v128.load_ext<i8>(group + i, 0), four))
      b = i32x4.add(b, i32x4.dot_i16x8_s(v128.load_ext<i8>(group + i, 8), four))
    }
    const sums = i32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7))
    const value = f32x4.mul(f32x4.convert_i32x4_s(sums), f32x4.mul(factor, v128.load(head + (t << 2))))
    const at = scores + (t << 2)
    v128.store(at, adds ? f32x4.add(v128.load(at), value) : value)
  }
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
  adds: bool,
): void {
  const row = ((headDim + 3) & ~3) << 2
  const used = ((dim + 3) & ~3) << 2
  for (let t: u32 = 0; t < tokens; t++) {
    const key = head + t * row
    let sum = f32x4.splat(0)
    for (let i: usize = 0; i < used; i += 16) sum = f32x4.add(sum, f32x4.mul(v128.load(key + i), v128.load(q + i)))
    const value = sumLanes(sum) * scale
    const at = scores + (t << 2)
    store<f32>(at, adds ? load<f32>(at) + value : value)
  }
}

/** scores → e^(score − max), zeros up to a multiple of 4; (max, sum) to `state`. */
export function exponentials(tokens: u32, scores: usize, state: usize): void {
  let peak = load<f32>(scores)
  for (let t: u32 = 1; t < tokens; t++) peak = max(peak, load<f32>(scores + (t << 2)))
  const shift = f32x4.splat(peak)
  let sum = f32x4.splat(0)
  for (let t: u32 = 0; t < tokens; t += 4) {
    const at = scores + (t << 2)
    v128.store(at, exp4(f32x4.sub(v128.load(at), shift)))
    for (let i = tokens; i < t + 4; i++) store<f32>(scores + (i << 2), 0)
    sum = f32x4.add(sum, v128.load(at))
  }
  store<f32>(state, peak)
  store<f32>(state + 4, sumLanes(sum))
}

/**
 * Σ weight · value over one page, the first `dim` entries of int8 values. `scores` holds exponentials and is overwritten.
 */
export function values_int8(head: usize, headDim: u32, dim: u32, tokens: u32, scores: usize, partial: usize): void {
  const weights = scores + SCORES
  const unit = integerWeights(head, tokens, scores, weights)
  const scale = f32x4.splat(unit)
  const row = ((headDim + 3) & ~3) << 2
  const used = ((dim + 3) & ~3) << 2
  const data = head + (PAGE_TOKENS << 2)
  const groups = (tokens + 3) >> 2
  for (let i: usize = 0; i < used; i += 16) {
    let a = i32x4.splat(0) // d0t01 d0t23 d1t01 d1t23
    let b = a // the same of d2, d3
    let block = data + i
    for (let g: u32 = 0; g < groups; g++) {
      const v = v128.load(block)
      const byDim = v128.shuffle<i8>(v, v, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
      const w = v128.load(weights + (g << 4))
      a = i32x4.add(a, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(byDim), w))
      b = i32x4.add(b, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(byDim), w))
      block += row
    }
    const sums = i32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7))
    v128.store(partial + i, f32x4.mul(f32x4.convert_i32x4_s(sums), scale))
  }
}

/**
 * Exponentials times value scales as integers 0..16383, four and the same four again per 16 bytes; returns the value
 * of one unit.
 */
function integerWeights(head: usize, tokens: u32, scores: usize, weights: usize): f32 {
  let best = f32x4.splat(0)
  for (let t: u32 = 0; t < tokens; t += 4) {
    const at = scores + (t << 2)
    v128.store(at, f32x4.mul(v128.load(at), v128.load(head + (t << 2))))
    // Rows behind the last token are somebody's old data: their scales must not leak in, not even as NaN.
    for (let i = tokens; i < t + 4; i++) store<f32>(scores + (i << 2), 0)
    best = f32x4.max(best, v128.load(at))
  }
  const peak = maxLanes(best)
  const factor = f32x4.splat(peak == 0 ? 0 : 16383 / peak)
  for (let t: u32 = 0; t < tokens; t += 4) {
    const q = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(scores + (t << 2)), factor)))
    v128.store(weights + (t << 2), i16x8.narrow_i32x4_s(q, q))
  }
  return peak / 16383
}

/** The same for f32 values. */
export function values_f32(head: usize, headDim: u32, dim: u32, tokens: u32, scores: usize, partial: usize): void {
  const row = ((headDim + 3) & ~3) << 2
  const used = ((dim + 3) & ~3) << 2
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
