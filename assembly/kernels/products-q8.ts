/**
 * Products with int8 weights: y = (s_w · s_x) · (Σ w'·x − 64·Σx), w' = w + 64 as stored. Integers are exact, and there is
 * one epilogue, so an element of y has the same bits on every path.
 *
 * A block of rows that fits the cache is brought there at once, then read as one sequential stream for one vector, or tile
 * by tile while blocks of many vectors pass.
 *
 * Contract: rows of W are multiples of 64 bytes, all below 128; the padding of the activations is zero. No alignment.
 */
import { ACTIVATION_SHIFT, IS_RELAXED, sumLanes_i32, TILE } from './lanes'
import { blockOf, finish, Product, VECTOR_BLOCK, WEIGHT_BLOCK } from './product'
import { touch } from './touch'

/** Rows from … to of W times all vectors. */
export function product_q8(p: Product, from: u32, to: u32): void {
  const stride = p.stride
  const count = p.count
  const rowBlock = blockOf(WEIGHT_BLOCK, stride, 4, to - from)
  const vectorBlock = blockOf(VECTOR_BLOCK, stride << ACTIVATION_SHIFT, TILE, count)
  for (; from < to; from += rowBlock) {
    const end = min<u32>(to, from + rowBlock)
    store<u32>(p.tile, touch(p.weights + from * stride, (end - from) * stride))
    for (let i: u32 = 0; i < count; i += vectorBlock) block_q8(p, from, end, i, min<u32>(count, i + vectorBlock))
  }
}

/** The same of what fits the cache: vectors begin … end. */
function block_q8(p: Product, from: u32, to: u32, begin: u32, end: u32): void {
  const stride = p.stride
  const data = p.weights
  const scales = p.scales
  const xStride = p.xStride
  const x = p.x + begin * xStride
  const pairStride = p.pairStride
  const pairs = p.pairs + begin * pairStride
  const yStride = p.yStride
  const y = p.y + begin * yStride
  const bias = p.bias
  const adds = p.adds != 0
  const sums = p.tile
  const count = end - begin
  const quads = from + ((to - from) & ~3)
  const tiled = count - (count % TILE)
  for (let r = from; r < quads; r += 4) {
    const weights = data + r * stride
    const rowScales = v128.load(scales + (r << 2))
    const rowBias = bias ? v128.load(bias + (r << 2)) : f32x4.splat(0)
    let pair = pairs
    let target = y + (r << 2)
    let i: u32 = 0
    for (; i < tiled; i += TILE) {
      dotTile_q8(weights, stride, x + i * xStride, xStride, sums)
      for (let j: u32 = 0; j < TILE; j++) {
        finish4(v128.load(sums + (j << 4)), pair, rowScales, bias, rowBias, target, adds)
        pair += pairStride
        target += yStride
      }
    }
    for (; i < count; i++) {
      finish4(dot4x1_q8(weights, stride, x + i * xStride), pair, rowScales, bias, rowBias, target, adds)
      pair += pairStride
      target += yStride
    }
  }
  for (let r = quads; r < to; r++) {
    for (let i: u32 = 0; i < count; i++) {
      const acc = sumLanes_i32(dotRow_q8(data + r * stride, x + i * xStride, stride))
      const pair = pairs + i * pairStride
      const value = ((acc - (load<i32>(pair + 4) << 6)) as f32) * (load<f32>(pair) * load<f32>(scales + (r << 2)))
      finish(value, bias, bias ? load<f32>(bias + (r << 2)) : 0, y + i * yStride + (r << 2), adds)
    }
  }
}

/** Epilogue of four rows; lane by lane the same operations as the single row above. */
function finish4(
  sums: v128,
  pair: usize,
  rowScales: v128,
  bias: usize,
  rowBias: v128,
  target: usize,
  adds: bool,
): void {
  const offset = i32x4.splat(load<i32>(pair + 4) << 6)
  const scale = f32x4.mul(f32x4.splat(load<f32>(pair)), rowScales)
  let value = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(sums, offset)), scale)
  if (bias) value = f32x4.add(value, rowBias)
  v128.store(target, adds ? f32x4.add(v128.load(target), value) : value)
}

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
