/**
 * RoPE in half layout (SPEC §1): entries i and i + r/2 of the rotated width r are a pair. Angles are position ×
 * frequency in f64, so that long contexts lose nothing; the rotation is f32.
 */
import { cos1, sin1 } from './exp'

/** cos of every pair, then sin of every pair, at one position, times `magnitude`: f32 (2, pairs). */
export function writeAngles(target: usize, position: u32, invFreq: usize, pairs: u32, magnitude: f32): void {
  for (let i: u32 = 0; i < pairs; i++) {
    const angle = (position as f64) * load<f64>(invFreq + (i << 3))
    store<f32>(target + (i << 2), (cos1(angle) as f32) * magnitude)
    store<f32>(target + ((pairs + i) << 2), (sin1(angle) as f32) * magnitude)
  }
}

/** Rotates one head in place. */
export function rotate(head: usize, angles: usize, pairs: u32): void {
  const half = pairs << 2
  let i: u32 = 0
  for (const full = (pairs & ~3) << 2; i < full; i += 16) {
    const c = v128.load(angles + i)
    const s = v128.load(angles + half + i)
    const u = v128.load(head + i)
    const v = v128.load(head + half + i)
    v128.store(head + i, f32x4.sub(f32x4.mul(u, c), f32x4.mul(v, s)))
    v128.store(head + half + i, f32x4.add(f32x4.mul(v, c), f32x4.mul(u, s)))
  }
  for (; i < half; i += 4) {
    const c = load<f32>(angles + i)
    const s = load<f32>(angles + half + i)
    const u = load<f32>(head + i)
    const v = load<f32>(head + half + i)
    store<f32>(head + i, u * c - v * s)
    store<f32>(head + half + i, v * c + u * s)
  }
}
