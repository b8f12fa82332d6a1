/**
 * f32 → integers, round to nearest even, one scale per vector: activations and cache rows to ±127, queries to ±8191 (14
 * bit, so that two digits of base 128 are the same integers). An all-zero vector has scale 0 and zeros. A vector with
 * NaN gets scale NaN, so that NaN stays visible.
 */

import { clearDigits, QUERY_OFFSET, spreadDigits } from './digit-tile'
import { ACTIVATION_SHIFT, IS_RELAXED, maxLanes, sumLanes, sumLanes_i32 } from './lanes'

/**
 * 1.5 · 2^23: added to a number below 2^22, it leaves the nearest integer, ties to even, in the low bits. Two cheap
 * instructions where nearest and a saturating conversion are a dozen on x64.
 */
const MAGIC: f32 = 12582912

/** f32 → i32 of four numbers below 2^22 in size; NaN gives something. */
export function toIntegers(x: v128): v128 {
  const magic = f32x4.splat(MAGIC)
  return i32x4.sub(f32x4.add(x, magic), magic)
}

/** Up to four numbers, zeros behind the last. */
function loadUpTo4(x: usize, n: u32): v128 {
  if (n >= 4) return v128.load(x)
  let v = v128.load32_zero(x)
  if (n > 1) v = f32x4.replace_lane(v, 1, load<f32>(x, 4))
  if (n > 2) v = f32x4.replace_lane(v, 2, load<f32>(x, 8))
  return v
}

/** What makes `peak` the largest integer; 0 for a vector so small that the quotient would overflow. */
export function factorFor(peak: f32, most: f32): f32 {
  return peak < 1e-34 ? 0 : most / peak
}

/** Largest |x| of n numbers; NaN if one is NaN: pmax would pass over it, a sum does not (f32x4.max is slow on x64). */
export function largest(x: usize, n: u32): f32 {
  let best = f32x4.splat(0)
  let sum = best
  let at = x
  for (const end4 = x + ((n & ~3) << 2); at < end4; at += 16) {
    const size = f32x4.abs(v128.load(at))
    best = f32x4.pmax(best, size)
    sum = f32x4.add(sum, size)
  }
  const rest = f32x4.abs(n & 3 ? loadUpTo4(at, n & 3) : f32x4.splat(0))
  return maxLanes(f32x4.pmax(best, rest)) + nanIn(f32x4.add(sum, rest))
}

/** NaN if a lane is, else 0. Lanes of sums that cannot cancel. */
export function nanIn(sums: v128): f32 {
  return v128.any_true(f32x4.ne(sums, sums)) ? NaN : 0
}

/**
 * Quantises a vector of n activations at `x` (padded with zeros to 16) to ±127 at `target`, zero-padded to `padded`
 * numbers (a multiple of 32), each 1 << ACTIVATION_SHIFT bytes; writes its scale and the sum of its integers to `pair`.
 */
export function quantizeActivation(x: usize, n: u32, padded: u32, target: usize, pair: usize): void {
  const peak = largest(x, n)
  const factor = f32x4.splat(factorFor(peak, 127))
  const ones = i16x8.splat(1)
  let sum = i32x4.splat(0)
  const end = (n + 15) & ~15
  for (let i: u32 = 0; i < end; i += 16) {
    const source = x + (i << 2)
    const a = toIntegers(f32x4.mul(v128.load(source, 0), factor))
    const b = toIntegers(f32x4.mul(v128.load(source, 16), factor))
    const c = toIntegers(f32x4.mul(v128.load(source, 32), factor))
    const d = toIntegers(f32x4.mul(v128.load(source, 48), factor))
    const ab = i16x8.narrow_i32x4_s(a, b)
    const cd = i16x8.narrow_i32x4_s(c, d)
    sum = i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.add(ab, cd), ones))
    const at = target + (i << ACTIVATION_SHIFT)
    if (IS_RELAXED) {
      v128.store(at, i8x16.narrow_i16x8_s(ab, cd))
    } else {
      v128.store(at, ab, 0)
      v128.store(at, cd, 16)
    }
  }
  memory.fill(target + (end << ACTIVATION_SHIFT), 0, (padded - end) << ACTIVATION_SHIFT)
  store<f32>(pair, peak / 127)
  store<i32>(pair + 4, sumLanes_i32(sum))
}

/** −8 · Σx of every group of 32 quantised activations, i32: takes away what the offset of int4 weights adds. */
export function groupOffsets(quantised: usize, padded: u32, target: usize): void {
  const ones = i16x8.splat(1)
  const bytes: usize = 32 << ACTIVATION_SHIFT
  for (let i: u32 = 0; i < padded; i += 32) {
    let sum = i32x4.splat(0)
    for (let k: usize = 0; k < bytes; k += 16) {
      const v = v128.load(quantised + k)
      const pairs = IS_RELAXED ? i16x8.extadd_pairwise_i8x16_s(v) : v
      sum = i32x4.add(sum, i32x4.dot_i16x8_s(pairs, ones))
    }
    store<i32>(target, -(sumLanes_i32(sum) << 3))
    quantised += bytes
    target += 4
  }
}

/** Σx of every 16 of them, i16: what minima are multiplied with. */
export function groupSums(quantised: usize, padded: u32, target: usize): void {
  const ones = i16x8.splat(1)
  for (let i: u32 = 0; i < padded; i += 16) {
    const v = v128.load(quantised)
    const pairs = IS_RELAXED ? i16x8.extadd_pairwise_i8x16_s(v) : i16x8.add(v, v128.load(quantised, 16))
    store<i16>(target, sumLanes_i32(i32x4.dot_i16x8_s(pairs, ones)) as i16)
    quantised += 16 << ACTIVATION_SHIFT
    target += 2
  }
}

/**
 * Largest integers that a cache row is tried with, from 127 down; a multiple of 4. More of them, or steps of a half, find
 * next to nothing more (bench/LOG.md).
 */
const CANDIDATES: f32 = 16

/** Σ (nearest(y) − y)², y = x · factor, in four parts. */
function addSquares(sum: v128, x: v128, factor: v128, magic: v128): v128 {
  const y = f32x4.mul(x, factor)
  const error = f32x4.sub(f32x4.sub(f32x4.add(y, magic), magic), y)
  return f32x4.add(sum, f32x4.mul(error, error))
}

/**
 * The largest integer, 127 or a little less, that leaves a head the least squared error. It is whole, so that the peak
 * itself stays exact; the others round anew with each, and in a head of 8 numbers one of 16 is half as wrong as the first.
 * 127 for heads that become zeros, which have no error then, and for those with NaN, where no comparison is true.
 */
function bestLargest(x: usize, dim: u32, peak: f32): f32 {
  const magic = f32x4.splat(MAGIC)
  let least: f32 = Infinity
  let best: f32 = 127
  for (let most: f32 = 127; most > 127 - CANDIDATES; most -= 4) {
    const factor0 = f32x4.splat(factorFor(peak, most))
    const factor1 = f32x4.splat(factorFor(peak, most - 1))
    const factor2 = f32x4.splat(factorFor(peak, most - 2))
    const factor3 = f32x4.splat(factorFor(peak, most - 3))
    let a = f32x4.splat(0)
    let b = a
    let c = a
    let d = a
    for (let i: u32 = 0; i < dim; i += 4) {
      const four = loadUpTo4(x + (i << 2), dim - i)
      a = addSquares(a, four, factor0, magic)
      b = addSquares(b, four, factor1, magic)
      c = addSquares(c, four, factor2, magic)
      d = addSquares(d, four, factor3, magic)
    }
    for (let i = 0; i < 4; i++) {
      const tried = most - (i as f32)
      // Errors are in steps of peak / tried: no square of a small or a large peak leaves the range of f32.
      const error = sumLanes(i == 0 ? a : i == 1 ? b : i == 2 ? c : d) / (tried * tried)
      if (error < least) {
        least = error
        best = tried
      }
    }
  }
  return best
}

/**
 * Quantises one head of a cache row to ±127: four dims at a time, 16 bytes apart, the last block padded with zeros
 * (layout: cache.ts). Returns the scale, of the largest integer with the least squared error.
 */
export function quantizeHead(x: usize, dim: u32, target: usize): f32 {
  const peak = largest(x, dim)
  const most = bestLargest(x, dim, peak)
  const factor = f32x4.splat(factorFor(peak, most))
  for (let i: u32 = 0; i < dim; i += 4) {
    const four = toIntegers(f32x4.mul(loadUpTo4(x + (i << 2), dim - i), factor))
    const pairs = i16x8.narrow_i32x4_s(four, four)
    v128.store32_lane(target + (i << 2), i8x16.narrow_i16x8_s(pairs, pairs), 0)
  }
  return peak / most
}

/**
 * Quantises a query to ±8191, as two streams of digits (digit-tile.ts), the second `stream` bytes behind the first: a block per 4 dims, and
 * one of nothing if they are odd. Returns the scale.
 */
export function quantizeQuery(x: usize, dim: u32, target: usize, stream: usize): f32 {
  const peak = largest(x, dim)
  const factor = f32x4.splat(factorFor(peak, 8191))
  const offset = i32x4.splat(QUERY_OFFSET)
  for (let i: u32 = 0; i < dim; i += 4) {
    const four = toIntegers(f32x4.mul(loadUpTo4(x + (i << 2), dim - i), factor))
    spreadDigits(target + (i << 2), stream, i32x4.add(four, offset))
  }
  if (((dim + 3) >> 2) & 1) clearDigits(target + stream - 16, stream)
  return peak / 8191
}
