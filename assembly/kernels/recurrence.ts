/**
 * What takes a state one token on, over numbers that do not depend on each other, so that ranks can share them. Any n, no
 * padding, no alignment; `from` and `to` may be the same. Four at a time, then one by one with the same operations.
 */
import { exp1 } from './exp'
import { sumLanes } from './lanes'

/**
 * A causal convolution of each of n numbers: y = Σ w[i] · column i + w[taps − 1] · x (+ bias). Columns of earlier tokens, the
 * oldest first, lie `stride` bytes apart, as those of w do; the oldest is left out of `to`, and x is its last. taps ≥ 2.
 */
export function convolve(
  x: usize,
  from: usize,
  to: usize,
  w: usize,
  bias: usize,
  stride: usize,
  taps: u32,
  n: u32,
  y: usize,
): void {
  const last = (taps - 1) * stride
  const newest = to + last - stride
  const full = (n & ~3) << 2
  let i: usize = 0
  for (; i < full; i += 16) {
    const own = v128.load(x + i)
    let sum = f32x4.mul(own, v128.load(w + last + i))
    for (let k: usize = 0; k < last; k += stride) {
      const column = v128.load(from + k + i)
      sum = f32x4.add(sum, f32x4.mul(column, v128.load(w + k + i)))
      if (k) v128.store(to + k - stride + i, column)
    }
    v128.store(newest + i, own)
    v128.store(y + i, bias ? f32x4.add(sum, v128.load(bias + i)) : sum)
  }
  for (const end = (n as usize) << 2; i < end; i += 4) {
    const own = load<f32>(x + i)
    let sum = own * load<f32>(w + last + i)
    for (let k: usize = 0; k < last; k += stride) {
      const column = load<f32>(from + k + i)
      sum += column * load<f32>(w + k + i)
      if (k) store<f32>(to + k - stride + i, column)
    }
    store<f32>(newest + i, own)
    store<f32>(y + i, bias ? sum + load<f32>(bias + i) : sum)
  }
}

/** 1 / sqrt(Σ x² + eps) */
export function inverseLength(x: usize, n: u32, eps: f32): f32 {
  const full = (n & ~3) << 2
  let squares = f32x4.splat(0)
  let i: usize = 0
  for (; i < full; i += 16) squares = f32x4.add(squares, f32x4.mul(v128.load(x + i), v128.load(x + i)))
  let sum = sumLanes(squares)
  for (const end = (n as usize) << 2; i < end; i += 4) sum += load<f32>(x + i) * load<f32>(x + i)
  return (1 as f32) / sqrt<f32>(sum + eps)
}

/** ln(1 + e^x) in f64: ln(1 + t) = 2 artanh(t / (2 + t)) for t = e^−|x|, whose series ends at 3^−19. */
export function softplus(x: f32): f64 {
  const t = exp1(-abs<f32>(x)) as f64
  const z = t / (2 + t)
  let sum: f64 = 0
  for (let n: f64 = 17; n > 0; n -= 2) sum = sum * z * z + 1 / n
  return max<f64>(x as f64, 0) + 2 * z * sum
}

/**
 * The gated delta rule for one head, keys and query times their factors: S ← keep S + k ⊗ β (v − (keep S)ᵀ k), o = Sᵀ q. S is
 * f32 (keyDim, valueDim), row by row.
 */
@unmanaged
export class Delta {
  keyDim: u32
  valueDim: u32
  q: usize
  qFactor: f32
  k: usize
  kFactor: f32
  v: usize
  keep: f32
  beta: f32
  from: usize
  to: usize
  o: usize
}

export function deltaStep(d: Delta): void {
  const width = (d.valueDim as usize) << 2
  const full = width & ~63
  let c: usize = 0
  for (; c < full; c += 64) deltaColumns16(d, c)
  for (; c < width; c += 4) deltaColumn(d, c)
}

/** Sixteen columns of S: it is read twice, and what it keeps is written once. */
function deltaColumns16(d: Delta, c: usize): void {
  const width = (d.valueDim as usize) << 2
  const end = (d.keyDim as usize) << 2
  let a0 = f32x4.splat(0)
  let a1 = a0
  let a2 = a0
  let a3 = a0
  let s = d.from + c
  for (let i: usize = 0; i < end; i += 4) {
    const k = v128.load32_splat(d.k + i)
    a0 = f32x4.add(a0, f32x4.mul(v128.load(s), k))
    a1 = f32x4.add(a1, f32x4.mul(v128.load(s, 16), k))
    a2 = f32x4.add(a2, f32x4.mul(v128.load(s, 32), k))
    a3 = f32x4.add(a3, f32x4.mul(v128.load(s, 48), k))
    s += width
  }
  const known = f32x4.splat(d.keep * d.kFactor)
  const gain = f32x4.splat(d.beta * d.kFactor)
  const v = d.v + c
  const b0 = f32x4.mul(f32x4.sub(v128.load(v), f32x4.mul(a0, known)), gain)
  const b1 = f32x4.mul(f32x4.sub(v128.load(v, 16), f32x4.mul(a1, known)), gain)
  const b2 = f32x4.mul(f32x4.sub(v128.load(v, 32), f32x4.mul(a2, known)), gain)
  const b3 = f32x4.mul(f32x4.sub(v128.load(v, 48), f32x4.mul(a3, known)), gain)
  const keep = f32x4.splat(d.keep)
  a0 = f32x4.splat(0)
  a1 = a0
  a2 = a0
  a3 = a0
  s = d.from + c
  let t = d.to + c
  for (let i: usize = 0; i < end; i += 4) {
    const k = v128.load32_splat(d.k + i)
    const q = v128.load32_splat(d.q + i)
    const s0 = f32x4.add(f32x4.mul(v128.load(s), keep), f32x4.mul(b0, k))
    const s1 = f32x4.add(f32x4.mul(v128.load(s, 16), keep), f32x4.mul(b1, k))
    const s2 = f32x4.add(f32x4.mul(v128.load(s, 32), keep), f32x4.mul(b2, k))
    const s3 = f32x4.add(f32x4.mul(v128.load(s, 48), keep), f32x4.mul(b3, k))
    v128.store(t, s0)
    v128.store(t, s1, 16)
    v128.store(t, s2, 32)
    v128.store(t, s3, 48)
    a0 = f32x4.add(a0, f32x4.mul(s0, q))
    a1 = f32x4.add(a1, f32x4.mul(s1, q))
    a2 = f32x4.add(a2, f32x4.mul(s2, q))
    a3 = f32x4.add(a3, f32x4.mul(s3, q))
    s += width
    t += width
  }
  const factor = f32x4.splat(d.qFactor)
  const o = d.o + c
  v128.store(o, f32x4.mul(a0, factor))
  v128.store(o, f32x4.mul(a1, factor), 16)
  v128.store(o, f32x4.mul(a2, factor), 32)
  v128.store(o, f32x4.mul(a3, factor), 48)
}

function deltaColumn(d: Delta, c: usize): void {
  const width = (d.valueDim as usize) << 2
  const end = (d.keyDim as usize) << 2
  let known: f32 = 0
  let s = d.from + c
  for (let i: usize = 0; i < end; i += 4) {
    known += load<f32>(s) * load<f32>(d.k + i)
    s += width
  }
  const gain = (load<f32>(d.v + c) - known * (d.keep * d.kFactor)) * (d.beta * d.kFactor)
  let sum: f32 = 0
  s = d.from + c
  let t = d.to + c
  for (let i: usize = 0; i < end; i += 4) {
    const value = load<f32>(s) * d.keep + gain * load<f32>(d.k + i)
    store<f32>(t, value)
    sum += value * load<f32>(d.q + i)
    s += width
    t += width
  }
  store<f32>(d.o + c, sum * d.qFactor)
}
