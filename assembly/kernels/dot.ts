/**
 * Dot products, the innermost loops; the only file that knows the instruction set. The relaxed build has
 * relaxed_dot_i8x16_i7x16_add: one SDOT on ARM, one vpdpbusd on x64, 16 products an instruction. Its second operand
 * means the same everywhere in 0..127 only, so that is what stands there: weights (w + 64), and digits of base 128. The
 * strict build widens to i16 and uses dot_i16x8. Sums of integers are exact, so both give the same, in whatever order
 * they add, and so does every tile.
 *
 * f32 products add in one fixed order (four vectors of four lanes, then pairwise), whatever the tile.
 *
 * Contract: q8 lengths are multiples of 64, f32 lengths multiples of 16; padding is zero on the side of the weights
 * (f32) or of the activations (q8, q4). No alignment is needed.
 */

import { CONSTANTS } from '../addresses'

export const IS_RELAXED: bool = ASC_FEATURE_RELAXED_SIMD

// Vectors that V8 would rebuild inside a loop: on arm64 a shuffle's pattern is nine instructions, a splat one.
const BY_DIM: usize = CONSTANTS + 256
const NIBBLES: usize = CONSTANTS + 272

/** Writes the constants; once per memory. */
export function writePatterns(): void {
  v128.store(BY_DIM, i8x16(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15))
  v128.store(NIBBLES, i8x16.splat(15))
}

/** log2 of the bytes of one quantised activation: i8, or widened to i16 where products want it so. */
export const ACTIVATION_SHIFT: usize = IS_RELAXED ? 0 : 1

/** Vectors that a tile takes at once. */
export const TILE: u32 = IS_RELAXED ? 4 : 2

/** Σ w·x over `length` weights at `w`, as four partial sums: one row is one sequential stream. */
export function dotRow_q8(w: usize, x: usize, length: usize): v128 {
  let a = i32x4.splat(0)
  let b = a
  let c = a
  let d = a
  const end = w + length
  while (w < end) {
    if (IS_RELAXED) {
      a = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(x, 0), v128.load(w, 0), a)
      b = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(x, 16), v128.load(w, 16), b)
      c = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(x, 32), v128.load(w, 32), c)
      d = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(x, 48), v128.load(w, 48), d)
    } else {
      a = i32x4.add(a, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 0), v128.load(x, 0)))
      b = i32x4.add(b, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 8), v128.load(x, 16)))
      c = i32x4.add(c, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 16), v128.load(x, 32)))
      d = i32x4.add(d, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 24), v128.load(x, 48)))
      a = i32x4.add(a, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 32), v128.load(x, 64)))
      b = i32x4.add(b, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 40), v128.load(x, 80)))
      c = i32x4.add(c, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 48), v128.load(x, 96)))
      d = i32x4.add(d, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 56), v128.load(x, 112)))
    }
    w += 64
    x += 64 << ACTIVATION_SHIFT
  }
  return i32x4.add(i32x4.add(a, b), i32x4.add(c, d))
}

/** Lane sums of four vectors, as one vector. */
function sum4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 2, 6), v128.shuffle<i32>(a, b, 1, 5, 3, 7))
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 2, 6), v128.shuffle<i32>(c, d, 1, 5, 3, 7))
  return i32x4.add(v128.shuffle<i32>(ab, cd, 0, 1, 4, 5), v128.shuffle<i32>(ab, cd, 2, 3, 6, 7))
}

/** Four rows of weights, one vector of activations, rows read one after the other: a single sequential stream. */
export function dot4x1_q8(w: usize, stride: usize, x: usize): v128 {
  return sum4(
    dotRow_q8(w, x, stride),
    dotRow_q8(w + stride, x, stride),
    dotRow_q8(w + 2 * stride, x, stride),
    dotRow_q8(w + 3 * stride, x, stride),
  )
}

/** Four rows × TILE vectors, `xStride` bytes apart: leaves an i32x4 of the four rows for each vector at `sums`. */
export function dotTile_q8(w: usize, stride: usize, x: usize, xStride: usize, sums: usize): void {
  if (IS_RELAXED) dot4x4_q8(w, stride, x, xStride, sums)
  else dot4x2_q8(w, stride, x, xStride, sums)
}

/**
 * Sixteen accumulators and ten operands: fits the 29 of ARM's 32 registers that V8 uses. One index for all streams,
 * counted up to zero, makes the fewest instructions on arm64. Both steps of a product stand together and the farther one
 * is loaded first: the steps one after the other are the same sums, but V8 then keeps two vectors too many (bench/a76).
 */
function dot4x4_q8(w: usize, stride: usize, x: usize, xStride: usize, sums: usize): void {
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
  w += stride
  x += stride
  const w1 = w + stride
  const w2 = w1 + stride
  const w3 = w2 + stride
  const x1 = x + xStride
  const x2 = x1 + xStride
  const x3 = x2 + xStride
  for (let k: usize = 0 - stride; k != 0; k += 32) {
    let v1 = v128.load(w + k, 16)
    let v = v128.load(w + k)
    const p1 = v128.load(x + k, 16)
    const p = v128.load(x + k)
    a0 = dotTwice(p, v, p1, v1, a0)
    const q1 = v128.load(x1 + k, 16)
    const q = v128.load(x1 + k)
    a1 = dotTwice(q, v, q1, v1, a1)
    const r1 = v128.load(x2 + k, 16)
    const r = v128.load(x2 + k)
    a2 = dotTwice(r, v, r1, v1, a2)
    const s1 = v128.load(x3 + k, 16)
    const s = v128.load(x3 + k)
    a3 = dotTwice(s, v, s1, v1, a3)
    v1 = v128.load(w1 + k, 16)
    v = v128.load(w1 + k)
    b0 = dotTwice(p, v, p1, v1, b0)
    b1 = dotTwice(q, v, q1, v1, b1)
    b2 = dotTwice(r, v, r1, v1, b2)
    b3 = dotTwice(s, v, s1, v1, b3)
    v1 = v128.load(w2 + k, 16)
    v = v128.load(w2 + k)
    c0 = dotTwice(p, v, p1, v1, c0)
    c1 = dotTwice(q, v, q1, v1, c1)
    c2 = dotTwice(r, v, r1, v1, c2)
    c3 = dotTwice(s, v, s1, v1, c3)
    v1 = v128.load(w3 + k, 16)
    v = v128.load(w3 + k)
    d0 = dotTwice(p, v, p1, v1, d0)
    d1 = dotTwice(q, v, q1, v1, d1)
    d2 = dotTwice(r, v, r1, v1, d2)
    d3 = dotTwice(s, v, s1, v1, d3)
  }
  v128.store(sums, sum4(a0, b0, c0, d0), 0)
  v128.store(sums, sum4(a1, b1, c1, d1), 16)
  v128.store(sums, sum4(a2, b2, c2, d2), 32)
  v128.store(sums, sum4(a3, b3, c3, d3), 48)
}

/** Two steps of one product; asc puts it into the loop. */
function dotTwice(x: v128, w: v128, x1: v128, w1: v128, sum: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(x1, w1, i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w, sum))
}

/** The strict tile: weights are widened once for both vectors. */
function dot4x2_q8(w: usize, stride: usize, x: usize, xStride: usize, sums: usize): void {
  let a0 = i32x4.splat(0)
  let a1 = a0
  let b0 = a0
  let b1 = a0
  let c0 = a0
  let c1 = a0
  let d0 = a0
  let d1 = a0
  const w1 = w + stride
  const w2 = w1 + stride
  const w3 = w2 + stride
  const y = x + xStride
  for (let k: usize = 0; k < stride; k += 8) {
    const x8 = v128.load(x + 2 * k)
    const y8 = v128.load(y + 2 * k)
    const a = v128.load_ext<u8>(w + k)
    a0 = i32x4.add(a0, i32x4.dot_i16x8_s(a, x8))
    a1 = i32x4.add(a1, i32x4.dot_i16x8_s(a, y8))
    const b = v128.load_ext<u8>(w1 + k)
    b0 = i32x4.add(b0, i32x4.dot_i16x8_s(b, x8))
    b1 = i32x4.add(b1, i32x4.dot_i16x8_s(b, y8))
    const c = v128.load_ext<u8>(w2 + k)
    c0 = i32x4.add(c0, i32x4.dot_i16x8_s(c, x8))
    c1 = i32x4.add(c1, i32x4.dot_i16x8_s(c, y8))
    const d = v128.load_ext<u8>(w3 + k)
    d0 = i32x4.add(d0, i32x4.dot_i16x8_s(d, x8))
    d1 = i32x4.add(d1, i32x4.dot_i16x8_s(d, y8))
  }
  v128.store(sums, sum4(a0, b0, c0, d0), 0)
  v128.store(sums, sum4(a1, b1, c1, d1), 16)
}

/** Bytes of a q4 block: eight rows × 32 columns, 16 bytes per 4 columns, then eight bf16 scales. */
const BLOCK_Q4: usize = 144

/**
 * Eight rows of int4 weights, one vector: Σ over groups of 32 columns of scale · (Σ w'·x − 8·Σx), w' = w + 8 in 0..15. A
 * lane is a row, so nothing is summed across lanes. `offsets` is −8·Σx of each group, i32, from which its sums start.
 * Leaves f32[8] at `sums`.
 *
 *     16 bytes   low nibbles: rows 0..3 × 4 columns, high nibbles: rows 4..7 × the same columns
 */
export function dot8x1_q4(w: usize, stride: usize, x: usize, offsets: usize, sums: usize): void {
  const mask = v128.load(NIBBLES)
  let first = f32x4.splat(0)
  let second = first
  for (const end = w + stride; w < end; w += BLOCK_Q4) {
    let low = v128.load32_splat(offsets)
    let high = low
    offsets += 4
    if (IS_RELAXED) {
      for (let k: usize = 0; k < 128; k += 64) {
        let v = v128.load(w + k, 0)
        let x4 = v128.load32_splat(x, 0)
        low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(v, mask), low)
        high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(i16x8.shr_u(v, 4), mask), high)
        v = v128.load(w + k, 16)
        x4 = v128.load32_splat(x, 4)
        low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(v, mask), low)
        high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(i16x8.shr_u(v, 4), mask), high)
        v = v128.load(w + k, 32)
        x4 = v128.load32_splat(x, 8)
        low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(v, mask), low)
        high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(i16x8.shr_u(v, 4), mask), high)
        v = v128.load(w + k, 48)
        x4 = v128.load32_splat(x, 12)
        low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(v, mask), low)
        high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(i16x8.shr_u(v, 4), mask), high)
        x += 16
      }
    } else {
      let a = i32x4.splat(0) // r0c01 r0c23 r1c01 r1c23
      let b = a // rows 2, 3; then 4, 5 and 6, 7
      let c = a
      let d = a
      for (let k: usize = 0; k < 128; k += 16) {
        const v = v128.load(w + k)
        const x4 = v128.load64_splat(x)
        const l = v128.and(v, mask)
        const h = v128.and(i16x8.shr_u(v, 4), mask)
        a = i32x4.add(a, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(l), x4))
        b = i32x4.add(b, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(l), x4))
        c = i32x4.add(c, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(h), x4))
        d = i32x4.add(d, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(h), x4))
        x += 8
      }
      low = i32x4.add(low, join(a, b))
      high = i32x4.add(high, join(c, d))
    }
    const scales = v128.load(w, 128)
    first = f32x4.add(first, f32x4.mul(f32x4.convert_i32x4_s(low), lowScales(scales)))
    second = f32x4.add(second, f32x4.mul(f32x4.convert_i32x4_s(high), highScales(scales)))
  }
  v128.store(sums, first, 0)
  v128.store(sums, second, 16)
}

/** Four of eight bf16 numbers as f32: their bits are the upper half. */
function lowScales(scales: v128): v128 {
  return i32x4.shl(i32x4.extend_low_i16x8_u(scales), 16)
}
function highScales(scales: v128): v128 {
  return i32x4.shl(i32x4.extend_high_i16x8_u(scales), 16)
}

/**
 * The same for TILE vectors, `xStride` and `offsetStride` bytes apart: f32[8] for each at `sums`. Weights are unpacked
 * once for all.
 */
export function dotTile_q4(
  w: usize,
  stride: usize,
  x: usize,
  xStride: usize,
  offsets: usize,
  offsetStride: usize,
  sums: usize,
): void {
  if (!IS_RELAXED) {
    for (let i: u32 = 0; i < TILE; i++)
      dot8x1_q4(w, stride, x + i * xStride, offsets + i * offsetStride, sums + (i << 5))
    return
  }
  const x1 = x + xStride
  const x2 = x1 + xStride
  const x3 = x2 + xStride
  for (let i: usize = 0; i < 128; i += 16) v128.store(sums + i, f32x4.splat(0))
  const mask = v128.load(NIBBLES)
  let at: usize = 0
  for (const end = w + stride; w < end; w += BLOCK_Q4) {
    let a = v128.load32_splat(offsets)
    let b = a
    let c = v128.load32_splat(offsets + offsetStride)
    let d = c
    let e = v128.load32_splat(offsets + 2 * offsetStride)
    let f = e
    let g = v128.load32_splat(offsets + 3 * offsetStride)
    let h = g
    offsets += 4
    for (let k: usize = 0; k < 128; k += 16) {
      const v = v128.load(w + k)
      const low = v128.and(v, mask)
      const high = v128.and(i16x8.shr_u(v, 4), mask)
      let x4 = v128.load32_splat(x + at)
      a = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, low, a)
      b = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, high, b)
      x4 = v128.load32_splat(x1 + at)
      c = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, low, c)
      d = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, high, d)
      x4 = v128.load32_splat(x2 + at)
      e = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, low, e)
      f = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, high, f)
      x4 = v128.load32_splat(x3 + at)
      g = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, low, g)
      h = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, high, h)
      at += 4
    }
    const scales = v128.load(w, 128)
    addGroup(sums, a, b, scales)
    addGroup(sums + 32, c, d, scales)
    addGroup(sums + 64, e, f, scales)
    addGroup(sums + 96, g, h, scales)
  }
}

function addGroup(sums: usize, low: v128, high: v128, scales: v128): void {
  const first = f32x4.mul(f32x4.convert_i32x4_s(low), lowScales(scales))
  const second = f32x4.mul(f32x4.convert_i32x4_s(high), highScales(scales))
  v128.store(sums, f32x4.add(v128.load(sums, 0), first), 0)
  v128.store(sums, f32x4.add(v128.load(sums, 16), second), 16)
}

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

/** Two halves of four sums: digits of base 128, or pairs of neighbours. */
function join(a: v128, b: v128): v128 {
  if (IS_RELAXED) return i32x4.add(i32x4.shl(a, 7), b)
  return i32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7))
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
/** Sum of the four lanes, pairwise. */
export function sumLanes(v: v128): f32 {
  const a = f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)
  return a + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
}

/** The same of integers. */
export function sumLanes_i32(v: v128): i32 {
  const a = i32x4.extract_lane(v, 0) + i32x4.extract_lane(v, 1)
  return a + (i32x4.extract_lane(v, 2) + i32x4.extract_lane(v, 3))
}

/** Largest of the four lanes; NaN if one is NaN. */
export function maxLanes(v: v128): f32 {
  const a = max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1))
  return max(a, max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)))
}

/** f32 dot product of `bytes` / 4 numbers. */
export function dot_f32(w: usize, x: usize, bytes: usize): f32 {
  let a = f32x4.splat(0)
  let b = a
  let c = a
  let d = a
  const end = w + bytes
  while (w < end) {
    a = f32x4.add(a, f32x4.mul(v128.load(w, 0), v128.load(x, 0)))
    b = f32x4.add(b, f32x4.mul(v128.load(w, 16), v128.load(x, 16)))
    c = f32x4.add(c, f32x4.mul(v128.load(w, 32), v128.load(x, 32)))
    d = f32x4.add(d, f32x4.mul(v128.load(w, 48), v128.load(x, 48)))
    w += 64
    x += 64
  }
  return sumLanes(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)))
}

/** One row × two vectors, each in the order of dot_f32. Leaves the second product at `second`. */
export function dot1x2_f32(w: usize, x: usize, y: usize, bytes: usize, second: usize): f32 {
  let a = f32x4.splat(0)
  let b = a
  let c = a
  let d = a
  let e = a
  let f = a
  let g = a
  let h = a
  const end = w + bytes
  while (w < end) {
    const w0 = v128.load(w, 0)
    const w1 = v128.load(w, 16)
    const w2 = v128.load(w, 32)
    const w3 = v128.load(w, 48)
    a = f32x4.add(a, f32x4.mul(w0, v128.load(x, 0)))
    b = f32x4.add(b, f32x4.mul(w1, v128.load(x, 16)))
    c = f32x4.add(c, f32x4.mul(w2, v128.load(x, 32)))
    d = f32x4.add(d, f32x4.mul(w3, v128.load(x, 48)))
    e = f32x4.add(e, f32x4.mul(w0, v128.load(y, 0)))
    f = f32x4.add(f, f32x4.mul(w1, v128.load(y, 16)))
    g = f32x4.add(g, f32x4.mul(w2, v128.load(y, 32)))
    h = f32x4.add(h, f32x4.mul(w3, v128.load(y, 48)))
    w += 64
    x += 64
    y += 64
  }
  store<f32>(second, sumLanes(f32x4.add(f32x4.add(e, f), f32x4.add(g, h))))
  return sumLanes(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)))
}
