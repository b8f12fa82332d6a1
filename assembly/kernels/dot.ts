/**
 * Dot products, the innermost loops; the only file that knows the instruction set.
 *
 * q8 weights are unsigned bytes 1..127 (w + 64), activations are signed 8 bit values widened to i16 beforehand, so one
 * step is load8x8_u, load, dot_i16x8, add. Sums are exact: 131072 · 127 · 127 < 2^31. Every tile of the same product
 * therefore gives the same integers, in whatever order it adds.
 *
 * f32 products add in one fixed order (four vectors of four lanes, then pairwise), whatever the tile.
 *
 * Contract: q8 lengths are multiples of 64, f32 lengths multiples of 16; padding is zero on the side of the weights
 * (f32) or of the activations (q8). No alignment is needed.
 */

/** Σ over 64 weights at `w` and 64 activations at `x`, added to four accumulators: here as one vector of i32. */
export function dotRow_q8(w: usize, x: usize, length: usize): v128 {
  let a = i32x4.splat(0)
  let b = a
  let c = a
  let d = a
  const end = w + length
  while (w < end) {
    a = i32x4.add(a, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 0), v128.load(x, 0)))
    b = i32x4.add(b, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 8), v128.load(x, 16)))
    c = i32x4.add(c, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 16), v128.load(x, 32)))
    d = i32x4.add(d, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 24), v128.load(x, 48)))
    a = i32x4.add(a, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 32), v128.load(x, 64)))
    b = i32x4.add(b, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 40), v128.load(x, 80)))
    c = i32x4.add(c, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 48), v128.load(x, 96)))
    d = i32x4.add(d, i32x4.dot_i16x8_s(v128.load_ext<u8>(w, 56), v128.load(x, 112)))
    w += 64
    x += 128
  }
  return i32x4.add(i32x4.add(a, b), i32x4.add(c, d))
}

/** Lane sums of four vectors, as one vector. */
export function sum4(a: v128, b: v128, c: v128, d: v128): v128 {
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

/** Four rows × two vectors: weights are widened once for both. Leaves the second vector's sums at `second`. */
export function dot4x2_q8(w: usize, stride: usize, x: usize, y: usize, second: usize): v128 {
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
  v128.store(second, sum4(a1, b1, c1, d1))
  return sum4(a0, b0, c0, d0)
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
