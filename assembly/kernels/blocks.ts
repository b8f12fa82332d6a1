/**
 * Weights with a scale and a minimum: w = s · q − m, q unsigned, of four bits or of seven in a byte. They take over the blocks
 * of GGUF files as they are. Scales and minima are products, of a factor for up to 256 columns of a row and of a number for
 * 32 of them (q8k: 16), as in ggml's K types:
 *
 *     stripe      eight rows: span ┃ span ┃ …                                   `stride` bytes
 *     span        256 columns: f32[8] factors of s ┃ f32[8] factors of m ┃ up to eight blocks
 *     block q4m   128 bytes of q ┃ 8 scales, f16 ┃ 8 minima, f16                8 rows × 32 columns, 160 bytes
 *           q4k   128 bytes of q ┃ 8 scales, i8 ┃ 8 minima, i8                  144 bytes
 *           q8m   256 bytes of q ┃ 8 scales, f16 ┃ 8 minima, f16                288 bytes
 *           q8k   twice: 128 bytes of q of 16 columns ┃ 8 scales, i8 ┃ 8 minima, i8
 *     q           four bits: as in q4, see products-q4.ts
 *                 seven: 32 bytes per 4 columns, rows 0..3 × 4 columns, then rows 4..7
 *
 * Functions of one type take it as two: P is what a pair of weights lies in, u8 or u16, and S what a scale does, i8 or u16.
 */
import {
  Matrix,
  Q4_BYTES,
  Q4_COLS,
  Q4_ROWS,
  Q4K_BYTES,
  Q4M_BYTES,
  Q8K_BYTES,
  Q8M_BYTES,
  SPAN_BLOCKS,
  SPAN_BYTES,
  TYPE_Q4,
  TYPE_Q4K,
  TYPE_Q4M,
  TYPE_Q8K,
  TYPE_Q8M,
} from '../abi'
import { HALF_BITS, HALF_FACTOR } from './constants'

/** Do weights of this type lie in blocks of eight rows? */
export function isInBlocks(type: u32): bool {
  return type >= TYPE_Q4 && type <= TYPE_Q8K
}

/** Have blocks of this type minima? */
export function hasMinima(type: u32): bool {
  return type >= TYPE_Q4M && type <= TYPE_Q8K
}

function bytesOfBlock(type: u32): u32 {
  if (type == TYPE_Q4M) return Q4M_BYTES
  if (type == TYPE_Q4K) return Q4K_BYTES
  if (type == TYPE_Q8M) return Q8M_BYTES
  return type == TYPE_Q8K ? Q8K_BYTES : Q4_BYTES
}

/** Bytes of eight rows of `cols` numbers. */
export function stripeBytes(type: u32, cols: u64): u64 {
  const blocks = (cols + Q4_COLS - 1) / Q4_COLS
  const spans = hasMinima(type) ? (blocks + SPAN_BLOCKS - 1) / SPAN_BLOCKS : 0
  return spans * SPAN_BYTES + blocks * bytesOfBlock(type)
}

/** Columns that have one scale, and bytes of their part of a block: all of it, but for q8k. */
export function groupCols<P, S>(): usize {
  return sizeof<P>() == 2 && sizeof<S>() == 1 ? 16 : 32
}
export function integerBytes<P, S>(): usize {
  return groupCols<P, S>() * sizeof<P>() * 4
}
export function groupBytes<P, S>(): usize {
  return integerBytes<P, S>() + 16 * sizeof<S>()
}
/** Bytes of a whole span. */
export function spanBytes<P, S>(): usize {
  return SPAN_BYTES + (256 / groupCols<P, S>()) * groupBytes<P, S>()
}

/** Scales, or minima, of rows 0..3 at `at`, or of rows 4..7, as f32. */
export function fourOf<S>(at: usize, isHigh: bool): v128 {
  const eight = sizeof<S>() == 1 ? v128.load_ext<i8>(at) : v128.load(at)
  const four = isHigh ? i32x4.extend_high_i16x8_s(eight) : i32x4.extend_low_i16x8_s(eight)
  if (sizeof<S>() == 1) return f32x4.convert_i32x4_s(four)
  return f32x4.mul(v128.and(i32x4.shl(four, 13), v128.load(HALF_BITS)), v128.load(HALF_FACTOR))
}

/** One row of `m`, whose first byte is at `data`, as f32 times `factor`. */
export function decodeRow(m: Matrix, data: usize, row: u32, factor: f32, target: usize): void {
  const stripe = data + ((row / Q4_ROWS) as usize) * m.stride
  const type = m.type
  if (type == TYPE_Q4M) decode<u8, u16>(stripe, row % Q4_ROWS, m.cols, factor, target)
  else if (type == TYPE_Q4K) decode<u8, i8>(stripe, row % Q4_ROWS, m.cols, factor, target)
  else if (type == TYPE_Q8M) decode<u16, u16>(stripe, row % Q4_ROWS, m.cols, factor, target)
  else decode<u16, i8>(stripe, row % Q4_ROWS, m.cols, factor, target)
}

/** In f64, where both products and their difference are exact, so that a number is rounded once, as ggml's is. */
function decode<P, S>(stripe: usize, r: u32, cols: u32, factor: f32, target: usize): void {
  const group = groupCols<P, S>()
  for (let c: u32 = 0; c < cols; c++) {
    const span = stripe + ((c >> 8) as usize) * spanBytes<P, S>()
    const at = span + SPAN_BYTES + (((c & 255) as usize) / group) * groupBytes<P, S>()
    const scales = at + integerBytes<P, S>()
    const s = load<f32>(span + (r << 2)) * oneOf<S>(scales, r)
    const m = load<f32>(span + 32 + (r << 2)) * oneOf<S>(scales + 8 * sizeof<S>(), r)
    const value = (s as f64) * (integerOf<P>(at, r, (c as usize) % group) as f64) - (m as f64)
    store<f32>(target + (c << 2), (value as f32) * factor)
  }
}

function oneOf<S>(at: usize, r: u32): f32 {
  const four = fourOf<S>(at, r >= 4)
  const two = r & 2 ? v128.shuffle<i32>(four, four, 2, 3, 2, 3) : four
  return r & 1 ? f32x4.extract_lane(two, 1) : f32x4.extract_lane(two, 0)
}

function integerOf<P>(at: usize, r: u32, c: usize): u32 {
  const place = ((r & 3) << 2) + ((c & 3) as u32)
  if (sizeof<P>() == 1) return (load<u8>(at + ((c >> 2) << 4) + place) >> ((r & 4) as u8)) & 15
  return load<u8>(at + ((c >> 2) << 5) + ((r & 4) << 2) + place)
}

/** All bytes of seven bits in `stripes` stripes of a q8m or q8k matrix, or-ed together. */
export function bitsOfStripes(type: u32, from: usize, stripes: u32, stride: usize): v128 {
  let bits = i32x4.splat(0)
  const isM = type == TYPE_Q8M
  const whole = isM ? spanBytes<u16, u16>() : spanBytes<u16, i8>()
  const group = isM ? groupBytes<u16, u16>() : groupBytes<u16, i8>()
  const integers = isM ? integerBytes<u16, u16>() : integerBytes<u16, i8>()
  for (const last = from + (stripes as usize) * stride; from < last; from += stride)
    for (let span = from; span < from + stride; span += whole) {
      const end = min(span + whole, from + stride)
      for (let at = span + SPAN_BYTES; at < end; at += group)
        for (let i: usize = 0; i < integers; i += 16) bits = v128.or(bits, v128.load(at + i))
    }
  return bits
}
