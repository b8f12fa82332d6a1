/**
 * y = y·a + x·b over n numbers, and its simpler kin: four at a time, then the rest one by one with the same operations.
 * Any n, no padding, no alignment.
 */

/** y = y · keep + x · gain */
export function blend(y: usize, keep: f32, x: usize, gain: f32, n: u32): void {
  const full = (n & ~3) << 2
  const k = f32x4.splat(keep)
  const g = f32x4.splat(gain)
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(y + i, f32x4.add(f32x4.mul(v128.load(y + i), k), f32x4.mul(v128.load(x + i), g)))
  for (const end = n << 2; i < end; i += 4) store<f32>(y + i, load<f32>(y + i) * keep + load<f32>(x + i) * gain)
}

/** y /= by */
export function divide(y: usize, by: f32, n: u32): void {
  const full = (n & ~3) << 2
  const d = f32x4.splat(by)
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(y + i, f32x4.div(v128.load(y + i), d))
  for (const end = n << 2; i < end; i += 4) store<f32>(y + i, load<f32>(y + i) / by)
}

/** y += x */
export function addTo(y: usize, x: usize, n: u32): void {
  const full = (n & ~3) << 2
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(y + i, f32x4.add(v128.load(y + i), v128.load(x + i)))
  for (const end = n << 2; i < end; i += 4) store<f32>(y + i, load<f32>(y + i) + load<f32>(x + i))
}

/** y *= x */
export function multiply(y: usize, x: usize, n: u32): void {
  const full = (n & ~3) << 2
  let i: u32 = 0
  for (; i < full; i += 16) v128.store(y + i, f32x4.mul(v128.load(y + i), v128.load(x + i)))
  for (const end = n << 2; i < end; i += 4) store<f32>(y + i, load<f32>(y + i) * load<f32>(x + i))
}

/** Zeros from n numbers at y on, up to a multiple of 16: what a wider layer left there must not enter a product. */
export function clearPadding(y: usize, n: u32): void {
  const used = (n as usize) << 2
  const rest = ((used + 63) & ~63) - used
  if (rest) memory.fill(y + used, 0, rest)
}
