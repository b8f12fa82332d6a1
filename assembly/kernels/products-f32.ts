/**
 * Products with f32 weights: y = Σ w·x. Sums add in one fixed order (four vectors of four lanes, then pairwise), whatever
 * the tile, so an element of y has the same bits on every path.
 *
 * Contract: rows are multiples of 64 bytes, the padding of the weights is zero. No alignment.
 */
import { sumLanes } from './lanes'
import { finish, Product } from './product'

/** Rows from … to of W times all vectors. */
export function product_f32(p: Product, from: u32, to: u32): void {
  const stride = p.stride
  const data = p.weights
  const second = p.tile
  const count = p.count
  const x = p.x
  const xStride = p.xStride
  const y = p.y
  const yStride = p.yStride
  const bias = p.bias
  const adds = p.adds != 0
  const twos = count & ~1
  for (let r = from; r < to; r++) {
    const weights = data + r * stride
    const rowBias: f32 = bias ? load<f32>(bias + (r << 2)) : 0
    let i: u32 = 0
    for (; i < twos; i += 2) {
      const inputs = x + i * xStride
      const target = y + i * yStride + (r << 2)
      finish(dot1x2_f32(weights, inputs, inputs + xStride, stride, second), bias, rowBias, target, adds)
      finish(load<f32>(second), bias, rowBias, target + yStride, adds)
    }
    for (; i < count; i++)
      finish(dot_f32(weights, x + i * xStride, stride), bias, rowBias, y + i * yStride + (r << 2), adds)
  }
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
