/** The angles of RoPE, in f64 as assembly/kernels/exp.ts and rope.ts compute them, bit for bit: no shader has f64. */

const TWO_OVER_PI = 0.6366197723675814
const PI_2_HI = 1.5707963267341256 // fdlibm: the first 33 bits of π/2
const PI_2_LO = 6.077100506506192e-11
/** 1.5 · 2^52: added to a smaller number and taken away again, it leaves the nearest integer, ties to even. */
const MAGIC = 6755399441055744

function sinReduced(r: number): number {
  const z = r * r
  let p = 1.5896230157654656e-10
  p = p * z - 2.5050747762857807e-8
  p = p * z + 2.7557313621385722e-6
  p = p * z - 0.0001984126982958954
  p = p * z + 0.008333333333322118
  p = p * z - 0.1666666666666663
  return r + r * z * p
}

function cosReduced(r: number): number {
  const z = r * r
  let p = -1.1358536521387682e-11
  p = p * z + 2.087570084197473e-9
  p = p * z - 2.755731417929674e-7
  p = p * z + 2.4801587288851704e-5
  p = p * z - 0.0013888888888873056
  p = p * z + 0.041666666666666595
  return 1 - 0.5 * z + z * z * p
}

/** cos of every pair from `target[at]` on, then sin of every pair, at one position, times `magnitude`: f32 (2, pairs). */
export function writeAngles(
  target: Float32Array,
  at: number,
  position: number,
  frequencies: Float64Array,
  magnitude: number,
): void {
  const pairs = frequencies.length
  for (const [i, frequency] of frequencies.entries()) {
    const angle = position * frequency
    const n = angle * TWO_OVER_PI + MAGIC - MAGIC
    const r = angle - n * PI_2_HI - n * PI_2_LO
    const quadrant = ((n % 4) + 4) % 4
    const [c, s] = [cosReduced(r), sinReduced(r)]
    const cos = quadrant & 1 ? s : c
    const sin = quadrant & 1 ? c : s
    target[at + i] = Math.fround(((quadrant + 1) & 2) !== 0 ? -cos : cos) * magnitude
    target[at + pairs + i] = Math.fround(quadrant & 2 ? -sin : sin) * magnitude
  }
}
