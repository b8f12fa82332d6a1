/**
 * exp, sin and cos without tables and without the host, so that every platform gets the same bits.
 *
 * exp: Cephes expf (netlib.org/cephes, single/expf.c): x = n·ln 2 + r, a polynomial of degree 6 in r; relative error
 * 3e-7 or better. Its constants are read from memory: V8 on x64 rebuilds a v128.const inside the loop.
 * sin, cos: Cephes double/sin.c after reduction modulo π/2; f64, because an angle is position × frequency.
 */
import { HI, LN2_HI, LN2_LO, LO, LOG2E, MAGIC, ONE, P0, P1, P2, P3, P4, P5 } from './constants'

/** e^x of four numbers; x is clamped to ±87, NaN stays NaN. */
export function exp4(value: v128): v128 {
  const x = f32x4.pmin(f32x4.pmax(value, v128.load(LO)), v128.load(HI))
  return expOf(
    x,
    v128.load(LOG2E),
    v128.load(MAGIC),
    v128.load(LN2_HI),
    v128.load(LN2_LO),
    v128.load(P0),
    v128.load(P1),
    v128.load(P2),
    v128.load(P3),
    v128.load(P4),
    v128.load(P5),
    v128.load(ONE),
  )
}

/** e^x of four numbers that are clamped, from the constants; asc puts it into its two callers. */
function expOf(
  x: v128,
  log2e: v128,
  magic: v128,
  ln2Hi: v128,
  ln2Lo: v128,
  p0: v128,
  p1: v128,
  p2: v128,
  p3: v128,
  p4: v128,
  p5: v128,
  one: v128,
): v128 {
  // 1.5 · 2^23 leaves the nearest integer in the low bits: rounding and conversion in two cheap instructions.
  const rounded = f32x4.add(f32x4.mul(x, log2e), magic)
  const n = f32x4.sub(rounded, magic)
  const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, ln2Hi)), f32x4.mul(n, ln2Lo))
  let p = f32x4.add(f32x4.mul(p0, r), p1)
  p = f32x4.add(f32x4.mul(p, r), p2)
  p = f32x4.add(f32x4.mul(p, r), p3)
  p = f32x4.add(f32x4.mul(p, r), p4)
  p = f32x4.add(f32x4.mul(p, r), p5)
  const y = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(p, r), r), r), one)
  return f32x4.mul(y, i32x4.add(i32x4.shl(rounded, 23), one)) // `one` has the bits of exponent 127
}

/**
 * e^(x − peak) of `n` vectors at `x`, in place, none above the peak: the same bits as exp4. The constants are loaded once;
 * on arm64 they stay in registers. Returns the sum of the vectors, in their order.
 */
export function exponentials4(x: usize, n: u32, peak: f32): v128 {
  const shift = f32x4.splat(peak)
  const lo = v128.load(LO)
  const log2e = v128.load(LOG2E)
  const magic = v128.load(MAGIC)
  const ln2Hi = v128.load(LN2_HI)
  const ln2Lo = v128.load(LN2_LO)
  const p0 = v128.load(P0)
  const p1 = v128.load(P1)
  const p2 = v128.load(P2)
  const p3 = v128.load(P3)
  const p4 = v128.load(P4)
  const p5 = v128.load(P5)
  const one = v128.load(ONE)
  let sum = f32x4.splat(0)
  for (const end = x + (n << 4); x < end; x += 16) {
    const v = f32x4.pmax(f32x4.sub(v128.load(x), shift), lo)
    const e = expOf(v, log2e, magic, ln2Hi, ln2Lo, p0, p1, p2, p3, p4, p5, one)
    v128.store(x, e)
    sum = f32x4.add(sum, e)
  }
  return sum
}

/** e^x; the same bits as a lane of exp4. */
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0)
}

/** 1 / (1 + e^−x) of four numbers. */
export function sigmoid4(x: v128): v128 {
  const one = v128.load(ONE)
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(x))))
}

const TWO_OVER_PI: f64 = 0.63661977236758134308
const PI_2_HI: f64 = 1.57079632673412561417 // fdlibm: the first 33 bits of π/2
const PI_2_LO: f64 = 6.07710050650619224932e-11

/** Angle reduced to ±π/4, and the quadrant it was in. */
function reduced(angle: f64): f64 {
  const n = nearest(angle * TWO_OVER_PI)
  return angle - n * PI_2_HI - n * PI_2_LO
}
function quadrant(angle: f64): i64 {
  return (nearest(angle * TWO_OVER_PI) as i64) & 3
}

function sinReduced(r: f64): f64 {
  const z = r * r
  let p: f64 = 1.5896230157654656806e-10
  p = p * z - 2.50507477628578072866e-8
  p = p * z + 2.75573136213857245213e-6
  p = p * z - 1.98412698295895385996e-4
  p = p * z + 8.33333333332211858878e-3
  p = p * z - 1.66666666666666307295e-1
  return r + r * z * p
}

function cosReduced(r: f64): f64 {
  const z = r * r
  let p: f64 = -1.135853652138768173e-11
  p = p * z + 2.08757008419747316778e-9
  p = p * z - 2.75573141792967388112e-7
  p = p * z + 2.48015872888517045348e-5
  p = p * z - 1.38888888888730564116e-3
  p = p * z + 4.16666666666665929218e-2
  return 1 - 0.5 * z + z * z * p
}

export function sin1(angle: f64): f64 {
  const r = reduced(angle)
  const q = quadrant(angle)
  const value = q & 1 ? cosReduced(r) : sinReduced(r)
  return q & 2 ? -value : value
}

export function cos1(angle: f64): f64 {
  const r = reduced(angle)
  const q = quadrant(angle)
  const value = q & 1 ? sinReduced(r) : cosReduced(r)
  return ((q + 1) & 2) != 0 ? -value : value
}
