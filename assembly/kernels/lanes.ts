/**
 * The lanes of vectors: sums and maxima in one fixed order, and what the two builds have each in its own way.
 *
 * The relaxed build has relaxed_dot_i8x16_i7x16_add: one SDOT on ARM, one vpdpbusd on x64, 16 products an instruction. Its
 * second operand means the same everywhere in 0..127 only, so that is what stands there: weights (w + 64), and digits of
 * base 128. The strict build widens to i16 and uses dot_i16x8. Sums of integers are exact, so both give the same, in
 * whatever order they add, and so does every tile.
 */

export const IS_RELAXED: bool = ASC_FEATURE_RELAXED_SIMD

/** log2 of the bytes of one quantised activation: i8, or widened to i16 where products want it so. */
export const ACTIVATION_SHIFT: usize = IS_RELAXED ? 0 : 1

/** Vectors that a tile takes at once. */
export const TILE: u32 = IS_RELAXED ? 4 : 2

/** Two halves of four sums: digits of base 128, or pairs of neighbours. */
export function join(a: v128, b: v128): v128 {
  if (IS_RELAXED) return i32x4.add(i32x4.shl(a, 7), b)
  return i32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7))
}

/** Sum of the four lanes, pairwise. */
export function sumLanes(v: v128): f32 {
  const a = f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)
  return a + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
}

/** The same of integers. */
export function sumLanes_i32(v: v128): i32 {
  const a = i32x4.extract_lane(v, 0) + i32x4.extract_lane(v, 1)
  return a + (i32x4.extract_lane(v, 2) + i32x4.extract_lane(v, 3))
}

/** Largest of the four lanes; NaN if one is NaN. */
export function maxLanes(v: v128): f32 {
  const a = max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1))
  return max(a, max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)))
}
