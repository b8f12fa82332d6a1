/**
 * f32 → integers, round to nearest even, one scale per vector: activations to ±127 widened to i16, cache rows to ±127,
 * queries to ±8191 (14 bit, so that a build with 7 bit digits can compute the same integers from two of them).
 * An all-zero vector has scale 0 and zeros. A vector with NaN gets scale NaN, so that NaN stays visible.
 */
import { maxLanes, sumLanes_i32 } from './dot'

/** f32 → i32, saturating, NaN → 0: the scalar twin of the vector conversion (a plain cast traps). */
function toInt(x: f32): i32 {
  return i32x4.extract_lane(i32x4.trunc_sat_f32x4_s(f32x4.splat(x)), 0)
}

/** Largest |x| of n numbers; NaN if one is NaN. */
export function largest(x: usize, n: u32): f32 {
  let best = f32x4.splat(0)
  let at = x
  const end4 = x + ((n & ~3) << 2)
  for (; at < end4; at += 16) best = f32x4.max(best, f32x4.abs(v128.load(at)))
  let result = maxLanes(best)
  const end = x + (n << 2)
  for (; at < end; at += 4) result = max(result, abs(load<f32>(at)))
  return result
}

/**
 * Quantises a vector of n activations at `x` (padded with zeros to 16) to i16 at `target`, zero-padded to `padded`
 * numbers (a multiple of 64); writes its scale and the sum of its integers to `pair`.
 */
export function quantizeActivation(x: usize, n: u32, padded: u32, target: usize, pair: usize): void {
  const peak = largest(x, n)
  const factor = f32x4.splat(peak == 0 ? 0 : 127 / peak)
  let sum = i32x4.splat(0)
  const ones = i16x8.splat(1)
  const full = n & ~7
  for (let i: u32 = 0; i < full; i += 8) {
    const lo = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x + (i << 2)), factor)))
    const hi = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x + (i << 2), 16), factor)))
    const packed = i16x8.narrow_i32x4_s(lo, hi)
    sum = i32x4.add(sum, i32x4.dot_i16x8_s(packed, ones))
    v128.store(target + (i << 1), packed)
  }
  let total = sumLanes_i32(sum)
  const scalar = f32x4.extract_lane(factor, 0)
  for (let i = full; i < n; i++) {
    const q = toInt(nearest(load<f32>(x + (i << 2)) * scalar))
    total += q
    store<i16>(target + (i << 1), q as i16)
  }
  memory.fill(target + (n << 1), 0, (padded - n) << 1)
  store<f32>(pair, peak / 127)
  store<i32>(pair + 4, total)
}

/**
 * Quantises one head of a cache row to ±127: four dims at a time, 16 bytes apart, the last block padded with zeros
 * (layout: cache.ts). Returns the scale.
 */
export function quantizeHead(x: usize, dim: u32, target: usize): f32 {
  const peak = largest(x, dim)
  const factor: f32 = peak == 0 ? 0 : 127 / peak
  for (let i: u32 = 0; i < dim; i += 4) {
    let block: u32 = 0
    const n = min<u32>(4, dim - i)
    for (let j: u32 = 0; j < n; j++) {
      const q = toInt(nearest(load<f32>(x + ((i + j) << 2)) * factor))
      block |= ((q as u32) & 255) << (j << 3)
    }
    store<u32>(target + (i << 2), block)
  }
  return peak / 127
}

/** Quantises a query to ±8191 as i16, four dims then the same four again (16 bytes per block). Returns the scale. */
export function quantizeQuery(x: usize, dim: u32, target: usize): f32 {
  const peak = largest(x, dim)
  const factor: f32 = peak == 0 ? 0 : 8191 / peak
  for (let i: u32 = 0; i < dim; i += 4) {
    let block: u64 = 0
    const n = min<u32>(4, dim - i)
    for (let j: u32 = 0; j < n; j++) {
      const q = toInt(nearest(load<f32>(x + ((i + j) << 2)) * factor))
      block |= ((q as u64) & 65535) << ((j << 4) as u64)
    }
    store<u64>(target + (i << 2), block)
    store<u64>(target + (i << 2), block, 8)
  }
  return peak / 8191
}
