/**
 * The innermost loops of the int8 sweep: scores of 16 tokens, weighted sums of 16 dims. A cache block of 4 tokens × 4 dims
 * (cache.ts has the picture) meets integers of 14 bits: in the relaxed build two digits of base 128, else i16.
 *
 * Contract: rows behind the last token may hold anything. No alignment.
 */
import { BY_DIM } from './constants'
import { IS_RELAXED, join } from './lanes'

/**
 * Scores of 16 tokens, four groups `row` bytes apart, against one query: int8 blocks of 4 tokens × 4 dims meet four
 * entries of q. `used` is the bytes of a group that take part, 16 per 4 dims. A score is the sum without its offset
 * (queryOffset_int8), times the key's scale, times `factor`; the second key view adds to what the first one left.
 *
 *     q, relaxed   per 4 dims: four high digits of base 128, four low ones; of q + 8192
 *     q, strict    per 4 dims: four i16
 */
export function scoreTile_int8(
  group: usize,
  row: usize,
  used: usize,
  q: usize,
  offsets: usize,
  scales: usize,
  factor: v128,
  scores: usize,
  adds: bool,
): void {
  let a = i32x4.splat(0)
  let b = a
  let c = a
  let d = a
  let e = a
  let f = a
  let g = a
  let h = a
  const group1 = group + row
  const group2 = group1 + row
  const group3 = group2 + row
  for (let i: usize = 0; i < used; i += 16) {
    if (IS_RELAXED) {
      const high = v128.load32_splat(q)
      const low = v128.load32_splat(q, 4)
      let k = v128.load(group + i)
      a = i32x4.relaxed_dot_i8x16_i7x16_add_s(k, high, a)
      b = i32x4.relaxed_dot_i8x16_i7x16_add_s(k, low, b)
      k = v128.load(group1 + i)
      c = i32x4.relaxed_dot_i8x16_i7x16_add_s(k, high, c)
      d = i32x4.relaxed_dot_i8x16_i7x16_add_s(k, low, d)
      k = v128.load(group2 + i)
      e = i32x4.relaxed_dot_i8x16_i7x16_add_s(k, high, e)
      f = i32x4.relaxed_dot_i8x16_i7x16_add_s(k, low, f)
      k = v128.load(group3 + i)
      g = i32x4.relaxed_dot_i8x16_i7x16_add_s(k, high, g)
      h = i32x4.relaxed_dot_i8x16_i7x16_add_s(k, low, h)
    } else {
      const four = v128.load64_splat(q)
      a = i32x4.add(a, i32x4.dot_i16x8_s(v128.load_ext<i8>(group + i, 0), four)) // t0d01 t0d23 t1d01 t1d23
      b = i32x4.add(b, i32x4.dot_i16x8_s(v128.load_ext<i8>(group + i, 8), four)) // the same of t2, t3
      c = i32x4.add(c, i32x4.dot_i16x8_s(v128.load_ext<i8>(group1 + i, 0), four))
      d = i32x4.add(d, i32x4.dot_i16x8_s(v128.load_ext<i8>(group1 + i, 8), four))
      e = i32x4.add(e, i32x4.dot_i16x8_s(v128.load_ext<i8>(group2 + i, 0), four))
      f = i32x4.add(f, i32x4.dot_i16x8_s(v128.load_ext<i8>(group2 + i, 8), four))
      g = i32x4.add(g, i32x4.dot_i16x8_s(v128.load_ext<i8>(group3 + i, 0), four))
      h = i32x4.add(h, i32x4.dot_i16x8_s(v128.load_ext<i8>(group3 + i, 8), four))
    }
    q += 8
  }
  storeScores(join(a, b), offsets, scales, factor, scores, adds)
  storeScores(join(c, d), offsets + 16, scales + 16, factor, scores + 16, adds)
  storeScores(join(e, f), offsets + 32, scales + 32, factor, scores + 32, adds)
  storeScores(join(g, h), offsets + 48, scales + 48, factor, scores + 48, adds)
}

function storeScores(sum: v128, offsets: usize, scales: usize, factor: v128, scores: usize, adds: bool): void {
  if (IS_RELAXED) sum = i32x4.sub(sum, v128.load(offsets))
  const value = f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.mul(factor, v128.load(scales)))
  v128.store(scores, adds ? f32x4.add(v128.load(scores), value) : value)
}

/** What scoreTile_int8 counts too much, for the same 16 tokens and dims, whatever the query: i32[16] at `sums`. */
export function queryOffset_int8(group: usize, row: usize, used: usize, sums: usize): void {
  const ones = i8x16.splat(1)
  const group1 = group + row
  const group2 = group1 + row
  const group3 = group2 + row
  let a = i32x4.splat(0)
  let b = a
  let c = a
  let d = a
  for (let i: usize = 0; i < used; i += 16) {
    a = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group + i), ones, a)
    b = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group1 + i), ones, b)
    c = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group2 + i), ones, c)
    d = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group3 + i), ones, d)
  }
  v128.store(sums, i32x4.shl(a, 13), 0)
  v128.store(sums, i32x4.shl(b, 13), 16)
  v128.store(sums, i32x4.shl(c, 13), 32)
  v128.store(sums, i32x4.shl(d, 13), 48)
}

/** Four integers in 0..16383 or ±8191 as one side of the sums above and below, 8 bytes. */
export function storeDigits(target: usize, four: v128): void {
  if (IS_RELAXED) {
    const high = i32x4.shr_s(four, 7)
    const low = v128.and(four, i32x4.splat(127))
    const pairs = i16x8.narrow_i32x4_s(high, low)
    v128.store64_lane(target, i8x16.narrow_i16x8_s(pairs, pairs), 0)
  } else {
    v128.store64_lane(target, i16x8.narrow_i32x4_s(four, four), 0)
  }
}

/** What is added to a query before it is cut into digits, none of which may be negative. */
export const QUERY_OFFSET: i32 = IS_RELAXED ? 8192 : 0

/** Transposes a block, four tokens of a dim side by side, by the pattern at BY_DIM. */
function byDim(block: v128, pattern: v128): v128 {
  return i8x16.swizzle(block, pattern)
}

/** Σ weight · value of 16 dims over `groups` groups of four tokens, `row` bytes apart: i32[16] at `sums`. */
export function valueTile_int8(block: usize, row: usize, groups: u32, weights: usize, sums: usize): void {
  let a = i32x4.splat(0)
  let b = a
  let c = a
  let d = a
  let e = a
  let f = a
  let g = a
  let h = a
  const pattern = v128.load(BY_DIM)
  const end = weights + (groups << 3)
  while (weights < end) {
    if (IS_RELAXED) {
      const high = v128.load32_splat(weights)
      const low = v128.load32_splat(weights, 4)
      let v = byDim(v128.load(block, 0), pattern)
      a = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, high, a)
      b = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, low, b)
      v = byDim(v128.load(block, 16), pattern)
      c = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, high, c)
      d = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, low, d)
      v = byDim(v128.load(block, 32), pattern)
      e = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, high, e)
      f = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, low, f)
      v = byDim(v128.load(block, 48), pattern)
      g = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, high, g)
      h = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, low, h)
    } else {
      const four = v128.load64_splat(weights)
      let v = byDim(v128.load(block, 0), pattern)
      a = i32x4.add(a, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(v), four)) // d0t01 d0t23 d1t01 d1t23
      b = i32x4.add(b, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(v), four)) // the same of d2, d3
      v = byDim(v128.load(block, 16), pattern)
      c = i32x4.add(c, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(v), four))
      d = i32x4.add(d, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(v), four))
      v = byDim(v128.load(block, 32), pattern)
      e = i32x4.add(e, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(v), four))
      f = i32x4.add(f, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(v), four))
      v = byDim(v128.load(block, 48), pattern)
      g = i32x4.add(g, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(v), four))
      h = i32x4.add(h, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(v), four))
    }
    weights += 8
    block += row
  }
  v128.store(sums, join(a, b), 0)
  v128.store(sums, join(c, d), 16)
  v128.store(sums, join(e, f), 32)
  v128.store(sums, join(g, h), 48)
}

/** The same of four dims. */
export function valueBlock_int8(block: usize, row: usize, groups: u32, weights: usize): v128 {
  let a = i32x4.splat(0)
  let b = a
  const pattern = v128.load(BY_DIM)
  const end = weights + (groups << 3)
  while (weights < end) {
    const v = byDim(v128.load(block), pattern)
    if (IS_RELAXED) {
      a = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, v128.load32_splat(weights), a)
      b = i32x4.relaxed_dot_i8x16_i7x16_add_s(v, v128.load32_splat(weights, 4), b)
    } else {
      const four = v128.load64_splat(weights)
      a = i32x4.add(a, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(v), four))
      b = i32x4.add(b, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(v), four))
    }
    weights += 8
    block += row
  }
  return join(a, b)
}
