/**
 * Hadamard rotation: spreads what is large in a few dimensions over all of them, so that one int8 scale serves them alike
 * (QuaRot, arXiv 2404.00456). It is orthogonal and its own inverse: keys and queries that are both rotated have the scores
 * that they had. A head whose width is no power of two is rotated in blocks that are, the largest first.
 */

/** Rotates n numbers in place. */
export function hadamard(x: usize, n: u32): void {
  while (n) {
    const block: u32 = 1 << (31 - clz(n))
    hadamardBlock(x, block)
    x += block << 2
    n -= block
  }
}

/** The butterflies of a power of two, then one multiplication, so that lengths stay. */
function hadamardBlock(x: usize, n: u32): void {
  const bytes: usize = n << 2
  if (n < 4) {
    if (n == 2) {
      const a = load<f32>(x)
      const b = load<f32>(x, 4)
      const factor: f32 = 0.70710678118654752
      store<f32>(x, (a + b) * factor)
      store<f32>(x, (a - b) * factor, 4)
    }
    return
  }
  // Distances 1 and 2 lie within a vector: each lane is itself, or less itself, and its partner.
  const signs1 = f32x4(1, -1, 1, -1)
  const signs2 = f32x4(1, 1, -1, -1)
  for (let i: usize = 0; i < bytes; i += 16) {
    let v = v128.load(x + i)
    v = f32x4.add(f32x4.mul(v, signs1), v128.shuffle<f32>(v, v, 1, 0, 3, 2))
    v = f32x4.add(f32x4.mul(v, signs2), v128.shuffle<f32>(v, v, 2, 3, 0, 1))
    v128.store(x + i, v)
  }
  for (let distance: usize = 16; distance < bytes; distance <<= 1)
    for (let start: usize = 0; start < bytes; start += distance << 1)
      for (let i = start; i < start + distance; i += 16) {
        const a = v128.load(x + i)
        const b = v128.load(x + i + distance)
        v128.store(x + i, f32x4.add(a, b))
        v128.store(x + i + distance, f32x4.sub(a, b))
      }
  const factor = f32x4.splat((1 as f32) / sqrt<f32>(n as f32))
  for (let i: usize = 0; i < bytes; i += 16) v128.store(x + i, f32x4.mul(v128.load(x + i), factor))
}
