/**
 * The innermost loops of the int8 sweep: what a page is made into before many queries meet it (digit-tile.ts), and the same sums for
 * one query, straight from the cache. A cache block of 4 tokens × 4 dims (cache.ts has the picture) meets integers of 14 bits.
 *
 * Contract: rows behind the last token may hold anything. No alignment.
 */
import { BY_DIM } from './constants'
import { WIDENED } from './digit-tile'
import { IS_RELAXED, join } from './lanes'

/**
 * Scores of 16 tokens, four groups `row` bytes apart, against one query: int8 blocks of 4 tokens × 4 dims meet four
 * entries of q. `used` is the bytes of a group that take part, 16 per 4 dims: as many as of each of q's two streams, `stream`
 * bytes apart. What is left: storeScores().
 */
export function scoreTile_int8(
  group: usize,
  row: usize,
  used: usize,
  q: usize,
  stream: usize,
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
  const lows = q + stream
  for (let i: usize = 0; i < used; i += 16) {
    if (IS_RELAXED) {
      const high = v128.load(q + i)
      const low = v128.load(lows + i)
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
      const four = v128.load(q + i)
      a = i32x4.add(a, i32x4.dot_i16x8_s(v128.load_ext<i8>(group + i, 0), four)) // t0d01 t0d23 t1d01 t1d23
      b = i32x4.add(b, i32x4.dot_i16x8_s(v128.load_ext<i8>(group + i, 8), four)) // the same of t2, t3
      c = i32x4.add(c, i32x4.dot_i16x8_s(v128.load_ext<i8>(group1 + i, 0), four))
      d = i32x4.add(d, i32x4.dot_i16x8_s(v128.load_ext<i8>(group1 + i, 8), four))
      e = i32x4.add(e, i32x4.dot_i16x8_s(v128.load_ext<i8>(group2 + i, 0), four))
      f = i32x4.add(f, i32x4.dot_i16x8_s(v128.load_ext<i8>(group2 + i, 8), four))
      g = i32x4.add(g, i32x4.dot_i16x8_s(v128.load_ext<i8>(group3 + i, 0), four))
      h = i32x4.add(h, i32x4.dot_i16x8_s(v128.load_ext<i8>(group3 + i, 8), four))
    }
  }
  storeScores(join(a, b), offsets, scales, factor, scores, adds)
  storeScores(join(c, d), offsets + 16, scales + 16, factor, scores + 16, adds)
  storeScores(join(e, f), offsets + 32, scales + 32, factor, scores + 32, adds)
  storeScores(join(g, h), offsets + 48, scales + 48, factor, scores + 48, adds)
}

/**
 * Four scores: the sums without their offsets, times the keys' scales, times `factor`; the second key view adds to what the
 * first one left.
 */
export function storeScores(sum: v128, offsets: usize, scales: usize, factor: v128, scores: usize, adds: bool): void {
  if (IS_RELAXED) sum = i32x4.sub(sum, v128.load(offsets))
  const value = f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.mul(factor, v128.load(scales)))
  v128.store(scores, adds ? f32x4.add(v128.load(scores), value) : value)
}

/** What a score counts too much, for the same dims of 32 tokens, whatever the query: i32[32] at `sums`. */
export function queryOffset_int8(group: usize, row: usize, used: usize, sums: usize): void {
  const ones = i8x16.splat(1)
  const group1 = group + row
  const group2 = group1 + row
  const group3 = group2 + row
  const rows4 = 4 * row
  let a = i32x4.splat(0)
  let b = a
  let c = a
  let d = a
  let e = a
  let f = a
  let g = a
  let h = a
  for (let i: usize = 0; i < used; i += 16) {
    a = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group + i), ones, a)
    b = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group1 + i), ones, b)
    c = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group2 + i), ones, c)
    d = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group3 + i), ones, d)
    const j = i + rows4
    e = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group + j), ones, e)
    f = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group1 + j), ones, f)
    g = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group2 + j), ones, g)
    h = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(group3 + j), ones, h)
  }
  v128.store(sums, i32x4.shl(a, 13), 0)
  v128.store(sums, i32x4.shl(b, 13), 16)
  v128.store(sums, i32x4.shl(c, 13), 32)
  v128.store(sums, i32x4.shl(d, 13), 48)
  v128.store(sums, i32x4.shl(e, 13), 64)
  v128.store(sums, i32x4.shl(f, 13), 80)
  v128.store(sums, i32x4.shl(g, 13), 96)
  v128.store(sums, i32x4.shl(h, 13), 112)
}

/** Strict: `bytes` of blocks, widened one after the other. */
export function widenBlocks(blocks: usize, bytes: usize, target: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(target + 2 * i, v128.load_ext<i8>(blocks + i, 0), 0)
    v128.store(target + 2 * i, v128.load_ext<i8>(blocks + i, 8), 16)
  }
}

/**
 * The `used` bytes of a group of values, four tokens of a dim side by side: its i-th block becomes the one at `target` of the i-th
 * stream, `stream` bytes apart.
 */
export function turnBlocks(group: usize, used: usize, target: usize, stream: usize): void {
  const pattern = v128.load(BY_DIM)
  for (let i: usize = 0; i < used; i += 16) {
    const v = byDim(v128.load(group + i), pattern)
    if (WIDENED) {
      v128.store(target, i16x8.extend_low_i8x16_s(v), 0)
      v128.store(target, i16x8.extend_high_i8x16_s(v), 16)
    } else {
      v128.store(target, v)
    }
    target += stream
  }
}

/** Transposes a block, four tokens of a dim side by side, by the pattern at BY_DIM. */
function byDim(block: v128, pattern: v128): v128 {
  return i8x16.swizzle(block, pattern)
}

/**
 * Σ weight · value of 16 dims over `groups` groups of four tokens, `row` bytes apart, for one query: i32[16] at `sums`. Its weights
 * are as storeDigits() leaves them, 8 bytes a group.
 */
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
