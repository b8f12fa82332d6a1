/**
 * The product at the bottom of the int8 sweep, of 16 keys or 16 dims of values with two queries at once. Both are the same sums: vectors of
 * int8 blocks, 4 × 4 numbers each, meet integers of 14 bits that stand in all four lanes.
 *
 *     a     four streams of blocks: groups of four keys, dims going on from block to block; or four dims of values, tokens going on
 *     b     the integers of two queries, 16 bytes a block:
 *
 *           relaxed   four streams: of each query, a digit of base 128 of four entries, high ones and low ones
 *
 *                     h0 h1 h2 h3 ┃ h0 h1 h2 h3 ┃ h0 h1 h2 h3 ┃ h0 h1 h2 h3
 *
 *           strict    the first of a query's two streams: four entries in i16, twice; a block of a is widened to 32 bytes, its lower
 *                     eight bytes first
 *
 * Contract: `bytes` of a stream of b, a multiple of 32; `aStride` and `bStride` bytes from stream to stream. Leaves i32[16] for each query at `sums`.
 */
import { IS_RELAXED, join } from './lanes'

/** log2 of what a block grows by where it is widened. */
export const WIDENED: usize = IS_RELAXED ? 0 : 1
/** Bytes of `sums`. */
export const TILE_SUMS: usize = 128

export function digitTile(a: usize, aStride: usize, b: usize, bStride: usize, bytes: usize, sums: usize): void {
  if (IS_RELAXED) {
    tileOfFour(a, aStride, b, bStride, bytes, sums)
  } else {
    tileOfTwo(a, aStride, b, bStride, bytes, sums)
    tileOfTwo(a + 2 * aStride, aStride, b, bStride, bytes, sums + 32)
  }
}

/** Four streams with four. The form of dot4x4_q8 (products-q8.ts), for the same reasons. */
function tileOfFour(a: usize, aStride: usize, b: usize, bStride: usize, bytes: usize, sums: usize): void {
  let a0 = i32x4.splat(0)
  let a1 = a0
  let a2 = a0
  let a3 = a0
  let b0 = a0
  let b1 = a0
  let b2 = a0
  let b3 = a0
  let c0 = a0
  let c1 = a0
  let c2 = a0
  let c3 = a0
  let d0 = a0
  let d1 = a0
  let d2 = a0
  let d3 = a0
  a += bytes
  b += bytes
  const aa = a + aStride
  const ab = aa + aStride
  const ac = ab + aStride
  const ba = b + bStride
  const bb = ba + bStride
  const bc = bb + bStride
  for (let k: usize = 0 - bytes; k != 0; k += 32) {
    let v1 = v128.load(a + k, 16)
    let v = v128.load(a + k)
    const p1 = v128.load(b + k, 16)
    const p = v128.load(b + k)
    a0 = dotTwice(v, p, v1, p1, a0)
    const q1 = v128.load(ba + k, 16)
    const q = v128.load(ba + k)
    a1 = dotTwice(v, q, v1, q1, a1)
    const r1 = v128.load(bb + k, 16)
    const r = v128.load(bb + k)
    a2 = dotTwice(v, r, v1, r1, a2)
    const s1 = v128.load(bc + k, 16)
    const s = v128.load(bc + k)
    a3 = dotTwice(v, s, v1, s1, a3)
    v1 = v128.load(aa + k, 16)
    v = v128.load(aa + k)
    b0 = dotTwice(v, p, v1, p1, b0)
    b1 = dotTwice(v, q, v1, q1, b1)
    b2 = dotTwice(v, r, v1, r1, b2)
    b3 = dotTwice(v, s, v1, s1, b3)
    v1 = v128.load(ab + k, 16)
    v = v128.load(ab + k)
    c0 = dotTwice(v, p, v1, p1, c0)
    c1 = dotTwice(v, q, v1, q1, c1)
    c2 = dotTwice(v, r, v1, r1, c2)
    c3 = dotTwice(v, s, v1, s1, c3)
    v1 = v128.load(ac + k, 16)
    v = v128.load(ac + k)
    d0 = dotTwice(v, p, v1, p1, d0)
    d1 = dotTwice(v, q, v1, q1, d1)
    d2 = dotTwice(v, r, v1, r1, d2)
    d3 = dotTwice(v, s, v1, s1, d3)
  }
  v128.store(sums, join(a0, a1), 0)
  v128.store(sums, join(b0, b1), 16)
  v128.store(sums, join(c0, c1), 32)
  v128.store(sums, join(d0, d1), 48)
  v128.store(sums, join(a2, a3), 64)
  v128.store(sums, join(b2, b3), 80)
  v128.store(sums, join(c2, c3), 96)
  v128.store(sums, join(d2, d3), 112)
}

/** Two steps of one product; asc puts it into the loop. */
function dotTwice(a: v128, b: v128, a1: v128, b1: v128, sum: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(a1, b1, i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, sum))
}

/** Two streams of widened blocks with two queries. */
function tileOfTwo(a: usize, aStride: usize, b: usize, bStride: usize, bytes: usize, sums: usize): void {
  let a0 = i32x4.splat(0)
  let a1 = a0
  let b0 = a0
  let b1 = a0
  let c0 = a0
  let c1 = a0
  let d0 = a0
  let d1 = a0
  const aa = a + aStride
  const bb = b + 2 * bStride
  for (let k: usize = 0; k < bytes; k += 16) {
    const p = v128.load(b + k)
    const q = v128.load(bb + k)
    let v = v128.load(a + 2 * k)
    a0 = i32x4.add(a0, i32x4.dot_i16x8_s(v, p))
    a1 = i32x4.add(a1, i32x4.dot_i16x8_s(v, q))
    v = v128.load(a + 2 * k, 16)
    b0 = i32x4.add(b0, i32x4.dot_i16x8_s(v, p))
    b1 = i32x4.add(b1, i32x4.dot_i16x8_s(v, q))
    v = v128.load(aa + 2 * k)
    c0 = i32x4.add(c0, i32x4.dot_i16x8_s(v, p))
    c1 = i32x4.add(c1, i32x4.dot_i16x8_s(v, q))
    v = v128.load(aa + 2 * k, 16)
    d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v, p))
    d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v, q))
  }
  v128.store(sums, join(a0, b0), 0)
  v128.store(sums, join(c0, d0), 16)
  v128.store(sums, join(a1, b1), 64)
  v128.store(sums, join(c1, d1), 80)
}

/** Four integers in 0..16383 or ±8191, 8 bytes: relaxed the high digits, then the low ones; strict i16. */
export function storeDigits(target: usize, four: v128): void {
  v128.store64_lane(target, digitsOf(four), 0)
}

/** The same in the form of b; of the two streams of a query the second is `stream` bytes behind the first. */
export function spreadDigits(target: usize, stream: usize, four: v128): void {
  const digits = digitsOf(four)
  if (IS_RELAXED) {
    v128.store(target, v128.shuffle<i32>(digits, digits, 0, 0, 0, 0))
    v128.store(target + stream, v128.shuffle<i32>(digits, digits, 1, 1, 1, 1))
  } else {
    v128.store(target, digits)
  }
}

function digitsOf(four: v128): v128 {
  if (!IS_RELAXED) return i16x8.narrow_i32x4_s(four, four)
  const high = i32x4.shr_s(four, 7)
  const low = v128.and(four, i32x4.splat(127))
  const pairs = i16x8.narrow_i32x4_s(high, low)
  return i8x16.narrow_i16x8_s(pairs, pairs)
}

/** A block of nothing in the form of b. */
export function clearDigits(target: usize, stream: usize): void {
  v128.store(target, i32x4.splat(0))
  v128.store(target + stream, i32x4.splat(0))
}

/** What is added to a query before it is cut into digits, none of which may be negative. */
export const QUERY_OFFSET: i32 = IS_RELAXED ? 8192 : 0
