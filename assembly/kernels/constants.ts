/**
 * Vectors that V8 would rebuild inside a loop (on x64 any v128.const, on arm64 a shuffle's pattern in nine instructions and
 * a splat in one) lie in memory instead, at fixed addresses.
 */
import { CONSTANTS } from '../abi'

// exp.ts
export const LO: usize = CONSTANTS
export const HI: usize = CONSTANTS + 16
export const LOG2E: usize = CONSTANTS + 32
export const LN2_HI: usize = CONSTANTS + 48
export const LN2_LO: usize = CONSTANTS + 64
export const P0: usize = CONSTANTS + 80
export const P1: usize = CONSTANTS + 96
export const P2: usize = CONSTANTS + 112
export const P3: usize = CONSTANTS + 128
export const P4: usize = CONSTANTS + 144
export const P5: usize = CONSTANTS + 160
export const ONE: usize = CONSTANTS + 176
export const MAGIC: usize = CONSTANTS + 192
/** sweep-int8.ts: transposes a block, four tokens of a dim side by side. */
export const BY_DIM: usize = CONSTANTS + 256
/** products-q4.ts, products-blocks.ts */
export const NIBBLES: usize = CONSTANTS + 272
/** blocks.ts: bits of an f16 number that was shifted to where an f32 has them, and what its exponent lacks. */
export const HALF_BITS: usize = CONSTANTS + 288
export const HALF_FACTOR: usize = CONSTANTS + 304

/** Writes the vector constants; once per memory. */
export function writeConstants(): void {
  v128.store(LO, f32x4.splat(-87.33654))
  v128.store(HI, f32x4.splat(88.02969))
  v128.store(LOG2E, f32x4.splat(1.44269504))
  v128.store(LN2_HI, f32x4.splat(0.693359375))
  v128.store(LN2_LO, f32x4.splat(-2.1219444e-4))
  v128.store(P0, f32x4.splat(1.98756915e-4))
  v128.store(P1, f32x4.splat(1.3981999507e-3))
  v128.store(P2, f32x4.splat(8.3334519073e-3))
  v128.store(P3, f32x4.splat(4.1665795894e-2))
  v128.store(P4, f32x4.splat(1.6666665459e-1))
  v128.store(P5, f32x4.splat(5.0000001201e-1))
  v128.store(ONE, f32x4.splat(1))
  v128.store(MAGIC, f32x4.splat(12582912))
  v128.store(BY_DIM, i8x16(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15))
  v128.store(NIBBLES, i8x16.splat(15))
  v128.store(HALF_BITS, i32x4.splat(0x8fffe000))
  v128.store(HALF_FACTOR, i32x4.splat(0x77800000)) // 2^112
}
