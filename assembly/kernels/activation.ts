/**
 * What is applied number by number: activations of the feed-forward block, the sigmoid gate of the attention output, caps.
 * Any n, no padding; lane by lane the same operations as for the numbers that are left over.
 *
 * gelu: x · Φ(x), Φ from erfc by Abramowitz and Stegun 7.1.26 (error below 1.5e-7), in the form that loses nothing for
 * negative x. gelu-tanh: x/2 · (1 + tanh u) = x · σ(2u). tanh: near 0 the polynomial of Cephes (netlib.org/cephes,
 * single/tanhf.c), else 1 − 2 / (e^2x + 1). Polynomials and exp.ts alone, so every platform gets the same bits.
 */
import { exp4, sigmoid4 } from './exp'

/** y = gate · σ(gate) · up, n numbers. */
export function swiglu(gate: usize, up: usize, n: u32, y: usize): void {
  const full = (n & ~3) << 2
  let i: u32 = 0
  for (; i < full; i += 16) {
    const g = v128.load(gate + i)
    v128.store(y + i, f32x4.mul(f32x4.mul(g, sigmoid4(g)), v128.load(up + i)))
  }
  for (const end = n << 2; i < end; i += 4) {
    const g = load<f32>(gate + i)
    const s = f32x4.extract_lane(sigmoid4(f32x4.splat(g)), 0)
    store<f32>(y + i, g * s * load<f32>(up + i))
  }
}

/** y *= σ(gate), n numbers. */
export function sigmoidGate(gate: usize, n: u32, y: usize): void {
  const full = (n & ~3) << 2
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(y + i, f32x4.mul(v128.load(y + i), sigmoid4(v128.load(gate + i))))
  for (const end = n << 2; i < end; i += 4) {
    const s = f32x4.extract_lane(sigmoid4(f32x4.splat(load<f32>(gate + i))), 0)
    store<f32>(y + i, load<f32>(y + i) * s)
  }
}

function silu4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(x))
}

function gelu4(x: v128): v128 {
  const size = f32x4.abs(x)
  const t = f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), f32x4.mul(size, f32x4.splat(0.23164189))))
  let p = f32x4.add(f32x4.mul(f32x4.splat(1.061405429), t), f32x4.splat(-1.453152027))
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(1.421413741))
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(-0.284496736))
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(0.254829592))
  const square = f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5))
  // |x| · Φ(−|x|)
  const tail = f32x4.mul(f32x4.mul(size, f32x4.mul(f32x4.mul(p, t), f32x4.splat(0.5))), exp4(square))
  return f32x4.sub(f32x4.max(x, f32x4.splat(0)), tail)
}

function geluTanh4(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(f32x4.mul(x, x), x), f32x4.splat(0.044715))
  return f32x4.mul(x, sigmoid4(f32x4.mul(f32x4.add(x, cube), f32x4.splat(1.5957691))))
}

function relu24(x: v128): v128 {
  const positive = f32x4.max(x, f32x4.splat(0))
  return f32x4.mul(positive, positive)
}

function tanh4(x: v128): v128 {
  const square = f32x4.mul(x, x)
  let p = f32x4.add(f32x4.mul(f32x4.splat(-5.70498872745e-3), square), f32x4.splat(2.06390887954e-2))
  p = f32x4.add(f32x4.mul(p, square), f32x4.splat(-5.37397155531e-2))
  p = f32x4.add(f32x4.mul(p, square), f32x4.splat(1.33314422036e-1))
  p = f32x4.add(f32x4.mul(p, square), f32x4.splat(-3.33332819422e-1))
  const near = f32x4.add(f32x4.mul(f32x4.mul(p, square), x), x)
  const size = f32x4.abs(x)
  const grown = f32x4.add(exp4(f32x4.add(size, size)), f32x4.splat(1))
  const far = f32x4.sub(f32x4.splat(1), f32x4.div(f32x4.splat(2), grown))
  const signed = v128.or(far, v128.and(x, i32x4.splat(0x80000000)))
  return v128.bitselect(near, signed, f32x4.lt(size, f32x4.splat(0.625)))
}

/** y = silu(x), n numbers; and so on. x and y may be the same. */
export function silu(x: usize, n: u32, y: usize): void {
  const full = (n & ~3) << 2
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(y + i, silu4(v128.load(x + i)))
  for (const end = n << 2; i < end; i += 4) v128.store32_lane(y + i, silu4(v128.load32_splat(x + i)), 0)
}
export function gelu(x: usize, n: u32, y: usize): void {
  const full = (n & ~3) << 2
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(y + i, gelu4(v128.load(x + i)))
  for (const end = n << 2; i < end; i += 4) v128.store32_lane(y + i, gelu4(v128.load32_splat(x + i)), 0)
}
export function geluTanh(x: usize, n: u32, y: usize): void {
  const full = (n & ~3) << 2
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(y + i, geluTanh4(v128.load(x + i)))
  for (const end = n << 2; i < end; i += 4) v128.store32_lane(y + i, geluTanh4(v128.load32_splat(x + i)), 0)
}
export function relu2(x: usize, n: u32, y: usize): void {
  const full = (n & ~3) << 2
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(y + i, relu24(v128.load(x + i)))
  for (const end = n << 2; i < end; i += 4) v128.store32_lane(y + i, relu24(v128.load32_splat(x + i)), 0)
}

/** x = cap · tanh(x / cap), n numbers in place. */
export function softcap(x: usize, n: u32, cap: f32): void {
  const c = f32x4.splat(cap)
  const full = (n & ~3) << 2
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(x + i, f32x4.mul(tanh4(f32x4.div(v128.load(x + i), c)), c))
  for (const end = n << 2; i < end; i += 4)
    v128.store32_lane(x + i, f32x4.mul(tanh4(f32x4.div(v128.load32_splat(x + i), c)), c), 0)
}
