/** The two gates: SwiGLU of the feed-forward block, and the sigmoid gate of the attention output. Any n, no padding. */
import { sigmoid4 } from './exp'

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
