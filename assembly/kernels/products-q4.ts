/**
 * Products with int4 weights: y = s_x · Σ_groups s_g · (Σ w'·x − 8·Σx), w' = w + 8. Integers are exact, groups are added in
 * their order, so an element of y has the same bits on every path.
 *
 *     block      eight rows × 32 columns: 16 bytes per 4 columns, then eight bf16 scales         Q4_BYTES
 *     16 bytes   low nibbles: rows 0..3 × 4 columns, high nibbles: rows 4..7 × the same columns
 *
 * Contract: that of products-blocks.ts, which calls what is here.
 */
import { Q4_BYTES } from '../abi'
import { NIBBLES } from './constants'
import { IS_RELAXED, join, TILE } from './lanes'

const BLOCK_Q4: usize = Q4_BYTES

/**
 * Eight rows of int4 weights, one vector: Σ over groups of 32 columns of scale · (Σ w'·x − 8·Σx), w' = w + 8 in 0..15. A
 * lane is a row, so nothing is summed across lanes. `offsets` is −8·Σx of each group, i32, from which its sums start.
 * Leaves f32[8] at `sums`.
 *
 *     16 bytes   low nibbles: rows 0..3 × 4 columns, high nibbles: rows 4..7 × the same columns
 */
export function dot8x1_q4(w: usize, stride: usize, x: usize, offsets: usize, sums: usize): void {
  const mask = v128.load(NIBBLES)
  let first = f32x4.splat(0)
  let second = first
  for (const end = w + stride; w < end; w += BLOCK_Q4) {
    let low = v128.load32_splat(offsets)
    let high = low
    offsets += 4
    if (IS_RELAXED) {
      for (let k: usize = 0; k < 128; k += 64) {
        let v = v128.load(w + k, 0)
        let x4 = v128.load32_splat(x, 0)
        low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(v, mask), low)
        high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(i16x8.shr_u(v, 4), mask), high)
        v = v128.load(w + k, 16)
        x4 = v128.load32_splat(x, 4)
        low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(v, mask), low)
        high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(i16x8.shr_u(v, 4), mask), high)
        v = v128.load(w + k, 32)
        x4 = v128.load32_splat(x, 8)
        low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(v, mask), low)
        high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(i16x8.shr_u(v, 4), mask), high)
        v = v128.load(w + k, 48)
        x4 = v128.load32_splat(x, 12)
        low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(v, mask), low)
        high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, v128.and(i16x8.shr_u(v, 4), mask), high)
        x += 16
      }
    } else {
      let a = i32x4.splat(0) // r0c01 r0c23 r1c01 r1c23
      let b = a // rows 2, 3; then 4, 5 and 6, 7
      let c = a
      let d = a
      for (let k: usize = 0; k < 128; k += 16) {
        const v = v128.load(w + k)
        const x4 = v128.load64_splat(x)
        const l = v128.and(v, mask)
        const h = v128.and(i16x8.shr_u(v, 4), mask)
        a = i32x4.add(a, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(l), x4))
        b = i32x4.add(b, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(l), x4))
        c = i32x4.add(c, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(h), x4))
        d = i32x4.add(d, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(h), x4))
        x += 8
      }
      low = i32x4.add(low, join(a, b))
      high = i32x4.add(high, join(c, d))
    }
    const scales = v128.load(w, 128)
    first = f32x4.add(first, f32x4.mul(f32x4.convert_i32x4_s(low), lowScales(scales)))
    second = f32x4.add(second, f32x4.mul(f32x4.convert_i32x4_s(high), highScales(scales)))
  }
  v128.store(sums, first, 0)
  v128.store(sums, second, 16)
}

/** Four of eight bf16 numbers as f32: their bits are the upper half. */
function lowScales(scales: v128): v128 {
  return i32x4.shl(i32x4.extend_low_i16x8_u(scales), 16)
}
function highScales(scales: v128): v128 {
  return i32x4.shl(i32x4.extend_high_i16x8_u(scales), 16)
}

/**
 * The same for TILE vectors, `xStride` and `offsetStride` bytes apart: f32[8] for each at `sums`. Weights are unpacked
 * once for all.
 */
export function dotTile_q4(
  w: usize,
  stride: usize,
  x: usize,
  xStride: usize,
  offsets: usize,
  offsetStride: usize,
  sums: usize,
): void {
  if (!IS_RELAXED) {
    for (let i: u32 = 0; i < TILE; i++)
      dot8x1_q4(w, stride, x + i * xStride, offsets + i * offsetStride, sums + (i << 5))
    return
  }
  const x1 = x + xStride
  const x2 = x1 + xStride
  const x3 = x2 + xStride
  for (let i: usize = 0; i < 128; i += 16) v128.store(sums + i, f32x4.splat(0))
  const mask = v128.load(NIBBLES)
  let at: usize = 0
  for (const end = w + stride; w < end; w += BLOCK_Q4) {
    let a = v128.load32_splat(offsets)
    let b = a
    let c = v128.load32_splat(offsets + offsetStride)
    let d = c
    let e = v128.load32_splat(offsets + 2 * offsetStride)
    let f = e
    let g = v128.load32_splat(offsets + 3 * offsetStride)
    let h = g
    offsets += 4
    for (let k: usize = 0; k < 128; k += 16) {
      const v = v128.load(w + k)
      const low = v128.and(v, mask)
      const high = v128.and(i16x8.shr_u(v, 4), mask)
      let x4 = v128.load32_splat(x + at)
      a = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, low, a)
      b = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, high, b)
      x4 = v128.load32_splat(x1 + at)
      c = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, low, c)
      d = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, high, d)
      x4 = v128.load32_splat(x2 + at)
      e = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, low, e)
      f = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, high, f)
      x4 = v128.load32_splat(x3 + at)
      g = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, low, g)
      h = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, high, h)
      at += 4
    }
    const scales = v128.load(w, 128)
    addGroup(sums, a, b, scales)
    addGroup(sums + 32, c, d, scales)
    addGroup(sums + 64, e, f, scales)
    addGroup(sums + 96, g, h, scales)
  }
}

function addGroup(sums: usize, low: v128, high: v128, scales: v128): void {
  const first = f32x4.mul(f32x4.convert_i32x4_s(low), lowScales(scales))
  const second = f32x4.mul(f32x4.convert_i32x4_s(high), highScales(scales))
  v128.store(sums, f32x4.add(v128.load(sums, 0), first), 0)
  v128.store(sums, f32x4.add(v128.load(sums, 16), second), 16)
}
