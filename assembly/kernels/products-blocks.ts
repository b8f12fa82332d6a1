/**
 * Products with weights in blocks of eight rows: q4, and those with a scale and a minimum (blocks.ts), of which
 *
 *     y = s_x · Σ_groups ( s · Σ q·x − m · Σx )
 *
 * Integers are exact, s and m are the products of their two factors in f32, and groups are added in their order, so an
 * element of y has the same bits on every path.
 *
 * Contract: `from` is a multiple of eight; the padding of the activations is zero. No alignment.
 */
import { SPAN_BYTES, TYPE_Q4, TYPE_Q4K, TYPE_Q4M, TYPE_Q8M } from '../abi'
import { fourOf, groupCols, integerBytes, spanBytes } from './blocks'
import { NIBBLES } from './constants'
import { IS_RELAXED, join, TILE } from './lanes'
import { blockOf, finish, Product, VECTOR_BLOCK, WEIGHT_BLOCK } from './product'
import { dot8x1_q4, dotTile_q4 } from './products-q4'
import { touch } from './touch'

/** Rows from … to of W times all vectors. */
export function product_blocks(p: Product, from: u32, to: u32): void {
  const type = p.matrix.type
  const data = p.weights
  const stride = p.stride
  const sums = p.tile
  const count = p.count
  const x = p.x
  const xStride = p.xStride
  const groups = p.offsets
  const groupStride = p.offsetStride
  const y = p.y
  const yStride = p.yStride
  const vectorBlock = blockOf(VECTOR_BLOCK, xStride, TILE, count)
  const rowBlock = blockOf(WEIGHT_BLOCK, stride >> 3, 8, to - from)
  for (; from < to; from += rowBlock) {
    const end = min<u32>(to, from + rowBlock)
    store<u32>(sums, touch(data + (from >> 3) * stride, ((end - from + 7) >> 3) * stride))
    for (let begin: u32 = 0; begin < count; begin += vectorBlock) {
      const stop = min<u32>(count, begin + vectorBlock)
      for (let r = from; r < end; r += 8) {
        const weights = data + (r >> 3) * stride
        let i = begin
        for (; i + TILE <= stop; i += TILE) {
          dotTile(type, weights, stride, x + i * xStride, xStride, groups + i * groupStride, groupStride, sums)
          for (let j: u32 = 0; j < TILE; j++) finish8(p, sums + (j << 5), i + j, r, y + (i + j) * yStride + (r << 2))
        }
        for (; i < stop; i++) {
          dot8x1(type, weights, stride, x + i * xStride, groups + i * groupStride, sums)
          finish8(p, sums, i, r, y + i * yStride + (r << 2))
        }
      }
    }
  }
}

/** Epilogue of up to eight rows from `r` on for vector i. */
function finish8(p: Product, sums: usize, i: u32, r: u32, target: usize): void {
  const scale = load<f32>(p.pairs + i * p.pairStride)
  const n = min<u32>(8, p.rows - r)
  const bias = p.bias
  const adds = p.adds != 0
  for (let k: u32 = 0; k < n; k++) {
    const rowBias: f32 = bias ? load<f32>(bias + ((r + k) << 2)) : 0
    finish(load<f32>(sums + (k << 2)) * scale, bias, rowBias, target + (k << 2), adds)
  }
}

/** Eight rows, one vector: f32[8] at `sums`. */
function dot8x1(type: u32, w: usize, stride: usize, x: usize, groups: usize, sums: usize): void {
  if (type == TYPE_Q4) dot8x1_q4(w, stride, x, groups, sums)
  else if (type == TYPE_Q4M) dot8x1_minima<u8, u16>(w, stride, x, groups, sums)
  else if (type == TYPE_Q4K) dot8x1_minima<u8, i8>(w, stride, x, groups, sums)
  else if (type == TYPE_Q8M) dot8x1_minima<u16, u16>(w, stride, x, groups, sums)
  else dot8x1_minima<u16, i8>(w, stride, x, groups, sums)
}

/** The same for TILE vectors, `xStride` and `groupStride` bytes apart: f32[8] for each at `sums`. */
function dotTile(
  type: u32,
  w: usize,
  stride: usize,
  x: usize,
  xStride: usize,
  groups: usize,
  groupStride: usize,
  sums: usize,
): void {
  if (type == TYPE_Q4) dotTile_q4(w, stride, x, xStride, groups, groupStride, sums)
  else if (type == TYPE_Q4M) dotTile_minima<u8, u16>(w, stride, x, xStride, groups, groupStride, sums)
  else if (type == TYPE_Q4K) dotTile_minima<u8, i8>(w, stride, x, xStride, groups, groupStride, sums)
  else if (type == TYPE_Q8M) dotTile_minima<u16, u16>(w, stride, x, xStride, groups, groupStride, sums)
  else dotTile_minima<u16, i8>(w, stride, x, xStride, groups, groupStride, sums)
}

/** Σx of one group as f32 in all lanes: `groups` has those of 16 columns, i16. */
function sumOf<P, S>(groups: usize): v128 {
  if (groupCols<P, S>() == 16) return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(v128.load16_splat(groups)))
  return f32x4.convert_i32x4_s(i32x4.extadd_pairwise_i16x8_s(v128.load32_splat(groups)))
}

/** Weights of rows 0..3 and of rows 4..7 for 4 columns. */
function lowOf<P>(at: usize, mask: v128): v128 {
  return sizeof<P>() == 1 ? v128.and(v128.load(at), mask) : v128.load(at)
}
function highOf<P>(at: usize, mask: v128): v128 {
  return sizeof<P>() == 1 ? v128.and(i16x8.shr_u(v128.load(at), 4), mask) : v128.load(at, 16)
}

/** A lane is a row, so nothing is summed across lanes. */
function dot8x1_minima<P, S>(w: usize, stride: usize, x: usize, groups: usize, sums: usize): void {
  const mask = v128.load(NIBBLES)
  let first = f32x4.splat(0)
  let second = first
  const step = sizeof<P>() << 4
  for (const end = w + stride; w < end; ) {
    const factors = w
    const stop = min(end, w + spanBytes<P, S>())
    w += SPAN_BYTES
    while (w < stop) {
      const scales = w + integerBytes<P, S>()
      let low = i32x4.splat(0)
      let high = low
      if (IS_RELAXED) {
        for (; w < scales; w += step << 2) {
          let x4 = v128.load32_splat(x, 0)
          low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, lowOf<P>(w, mask), low)
          high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, highOf<P>(w, mask), high)
          x4 = v128.load32_splat(x, 4)
          low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, lowOf<P>(w + step, mask), low)
          high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, highOf<P>(w + step, mask), high)
          x4 = v128.load32_splat(x, 8)
          low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, lowOf<P>(w + 2 * step, mask), low)
          high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, highOf<P>(w + 2 * step, mask), high)
          x4 = v128.load32_splat(x, 12)
          low = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, lowOf<P>(w + 3 * step, mask), low)
          high = i32x4.relaxed_dot_i8x16_i7x16_add_s(x4, highOf<P>(w + 3 * step, mask), high)
          x += 16
        }
      } else {
        let a = low // r0c01 r0c23 r1c01 r1c23
        let b = low // rows 2, 3; then 4, 5 and 6, 7
        let c = low
        let d = low
        for (; w < scales; w += step) {
          const x4 = v128.load64_splat(x)
          const l = lowOf<P>(w, mask)
          const h = highOf<P>(w, mask)
          a = i32x4.add(a, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(l), x4))
          b = i32x4.add(b, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(l), x4))
          c = i32x4.add(c, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(h), x4))
          d = i32x4.add(d, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_u(h), x4))
          x += 8
        }
        low = join(a, b)
        high = join(c, d)
      }
      const minima = scales + 8 * sizeof<S>()
      const sum = sumOf<P, S>(groups)
      let s = f32x4.mul(v128.load(factors, 0), fourOf<S>(scales, false))
      let m = f32x4.mul(v128.load(factors, 32), fourOf<S>(minima, false))
      first = addGroup(first, low, s, sum, m)
      s = f32x4.mul(v128.load(factors, 16), fourOf<S>(scales, true))
      m = f32x4.mul(v128.load(factors, 48), fourOf<S>(minima, true))
      second = addGroup(second, high, s, sum, m)
      w = minima + 8 * sizeof<S>()
      groups += groupCols<P, S>() >> 3
    }
  }
  v128.store(sums, first, 0)
  v128.store(sums, second, 16)
}

/** total + (s · integers − m · sum) */
function addGroup(total: v128, integers: v128, s: v128, sum: v128, m: v128): v128 {
  return f32x4.add(total, f32x4.sub(f32x4.mul(f32x4.convert_i32x4_s(integers), s), f32x4.mul(sum, m)))
}

/** Weights are unpacked once for all vectors; the strict build has no tile of its own. */
function dotTile_minima<P, S>(
  w: usize,
  stride: usize,
  x: usize,
  xStride: usize,
  groups: usize,
  groupStride: usize,
  sums: usize,
): void {
  if (!IS_RELAXED) {
    for (let i: u32 = 0; i < TILE; i++)
      dot8x1_minima<P, S>(w, stride, x + i * xStride, groups + i * groupStride, sums + (i << 5))
    return
  }
  const x1 = x + xStride
  const x2 = x1 + xStride
  const x3 = x2 + xStride
  for (let i: usize = 0; i < 128; i += 16) v128.store(sums + i, f32x4.splat(0))
  const mask = v128.load(NIBBLES)
  const step = sizeof<P>() << 4
  let at: usize = 0
  for (const end = w + stride; w < end; ) {
    const factors = w
    const stop = min(end, w + spanBytes<P, S>())
    w += SPAN_BYTES
    while (w < stop) {
      const scales = w + integerBytes<P, S>()
      let a = i32x4.splat(0)
      let b = a
      let c = a
      let d = a
      let e = a
      let f = a
      let g = a
      let h = a
      for (; w < scales; w += step) {
        const low = lowOf<P>(w, mask)
        const high = highOf<P>(w, mask)
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
      const minima = scales + 8 * sizeof<S>()
      const s = f32x4.mul(v128.load(factors, 0), fourOf<S>(scales, false))
      const t = f32x4.mul(v128.load(factors, 16), fourOf<S>(scales, true))
      const m = f32x4.mul(v128.load(factors, 32), fourOf<S>(minima, false))
      const n = f32x4.mul(v128.load(factors, 48), fourOf<S>(minima, true))
      addGroups(sums, a, b, s, t, sumOf<P, S>(groups), m, n)
      addGroups(sums + 32, c, d, s, t, sumOf<P, S>(groups + groupStride), m, n)
      addGroups(sums + 64, e, f, s, t, sumOf<P, S>(groups + 2 * groupStride), m, n)
      addGroups(sums + 96, g, h, s, t, sumOf<P, S>(groups + 3 * groupStride), m, n)
      w = minima + 8 * sizeof<S>()
      groups += groupCols<P, S>() >> 3
    }
  }
}

/** The same of rows 0..3 and of rows 4..7, in memory. */
function addGroups(sums: usize, low: v128, high: v128, s: v128, t: v128, sum: v128, m: v128, n: v128): void {
  v128.store(sums, addGroup(v128.load(sums, 0), low, s, sum, m), 0)
  v128.store(sums, addGroup(v128.load(sums, 16), high, t, sum, n), 16)
}
