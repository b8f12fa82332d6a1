/** Norms. Vectors are padded with zeros to 16 numbers, but for heads; x and y may be the same. */
import { sumLanes } from './lanes'

/** y = w ⊙ x / sqrt(mean(x²) + eps) */
export function rmsNorm(x: usize, w: usize, n: u32, eps: f32, y: usize): void {
  const bytes = ((n + 15) & ~15) << 2
  let a = f32x4.splat(0)
  let b = a
  for (let i: u32 = 0; i < bytes; i += 32) {
    const u = v128.load(x + i)
    const v = v128.load(x + i, 16)
    a = f32x4.add(a, f32x4.mul(u, u))
    b = f32x4.add(b, f32x4.mul(v, v))
  }
  const factor = f32x4.splat(1 / sqrt<f32>(sumLanes(f32x4.add(a, b)) / (n as f32) + eps))
  for (let i: u32 = 0; i < bytes; i += 16)
    v128.store(y + i, f32x4.mul(f32x4.mul(v128.load(x + i), factor), v128.load(w + i)))
}

/** y = w ⊙ (x − μ) / sqrt(σ² + eps) + b, with mean μ and variance σ². */
export function layerNorm(x: usize, w: usize, b: usize, n: u32, eps: f32, y: usize): void {
  const full = (n & ~3) << 2
  const end = n << 2
  const padded = ((n + 15) & ~15) << 2
  let sums = f32x4.splat(0)
  // The padding is zeros.
  for (let i: u32 = 0; i < padded; i += 16) sums = f32x4.add(sums, v128.load(x + i))
  const mean = sumLanes(sums) / (n as f32)
  const m = f32x4.splat(mean)
  let squares = f32x4.splat(0)
  for (let i: u32 = 0; i < full; i += 16) {
    const u = f32x4.sub(v128.load(x + i), m)
    squares = f32x4.add(squares, f32x4.mul(u, u))
  }
  let sum = sumLanes(squares)
  for (let i = full; i < end; i += 4) sum += (load<f32>(x + i) - mean) * (load<f32>(x + i) - mean)
  const factor = f32x4.splat(1 / sqrt<f32>(sum / (n as f32) + eps))
  for (let i: u32 = 0; i < padded; i += 16) {
    const u = f32x4.mul(f32x4.sub(v128.load(x + i), m), factor)
    v128.store(y + i, f32x4.add(f32x4.mul(u, v128.load(w + i)), v128.load(b + i)))
  }
}

/** rmsNorm for a vector that lies among others: any n, no padding, in place. */
export function headNorm(x: usize, w: usize, n: u32, eps: f32): void {
  const full = (n & ~3) << 2
  const bytes = n << 2
  let squares = f32x4.splat(0)
  for (let i: u32 = 0; i < full; i += 16) {
    const u = v128.load(x + i)
    squares = f32x4.add(squares, f32x4.mul(u, u))
  }
  let sum = sumLanes(squares)
  for (let i = full; i < bytes; i += 4) sum += load<f32>(x + i) * load<f32>(x + i)
  const factor: f32 = (1 as f32) / sqrt<f32>(sum / (n as f32) + eps)
  for (let i: u32 = 0; i < bytes; i += 4) store<f32>(x + i, load<f32>(x + i) * factor * load<f32>(w + i))
}
