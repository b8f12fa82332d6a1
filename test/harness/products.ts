/**
 * Random matrices of every type of weights, random vectors, and what their product is: integers and their epilogue to the
 * last bit, sums of f32 with how far rounding may lead. What tests of products share, whichever engine computes them.
 */
import type { Random } from './debug-engine.ts'

const { fround } = Math

type Kept = 'q4k' | 'q4m' | 'q8k' | 'q8m'
export type Type = 'f32' | 'q8' | 'q4' | Kept

/** A matrix apart from any memory: what it means, and the bytes that say so. */
export interface Matrix {
  type: Type
  rows: number
  cols: number
  stride: number
  bytes: Uint8Array
  /** q8: one per row. */
  scales: Float32Array
  /** Weight of a row and column, an integer but for f32. */
  weight(row: number, col: number): number
  /** In blocks: scale of a row's group of columns; with minima: those, and how many columns a group has. */
  groupScale(row: number, group: number): number
  minimum?: (row: number, group: number) => number
  groupCols?: number
}

/** Mostly of one size, now and then an outlier. */
const number = (random: Random) => random.signed() * (random.below(40) === 0 ? 300 : 1)

function f32Matrix(random: Random, rows: number, cols: number): Matrix {
  const padded = Math.ceil(cols / 16) * 16
  const floats = new Float32Array(rows * padded)
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) floats[r * padded + c] = number(random)
  const weight = (r: number, c: number) => floats[r * padded + c] as number
  const bytes = new Uint8Array(floats.buffer)
  return { type: 'f32', rows, cols, stride: padded * 4, bytes, scales: new Float32Array(), weight, groupScale: () => 1 }
}

/** A weight of a row: some rows are all at one edge, or all zero. */
function integer(random: Random, kind: number, low: number, high: number): number {
  if (kind === 0) return 0
  if (kind === 1) return low
  if (kind === 2) return high
  if (kind === 3) return random.below(2) ? low : high
  return low + random.below(high - low + 1)
}

function q8Matrix(random: Random, rows: number, cols: number): Matrix {
  const stride = Math.ceil(cols / 64) * 64
  // What lies behind a row meets activations of zero, so any weight may stand there.
  const bytes = new Uint8Array(rows * stride).fill(127)
  const scales = new Float32Array(Math.ceil(rows / 16) * 16)
  for (let r = 0; r < rows; r++) {
    const kind = random.below(12)
    for (let c = 0; c < cols; c++) bytes[r * stride + c] = 64 + integer(random, kind, -63, 63)
    scales[r] = random.pick([0, 1e-30, 1e-3, 1e-3, 1e-3, 1e-2, 1e20]) * random.next()
  }
  const weight = (r: number, c: number) => (bytes[r * stride + c] as number) - 64
  return { type: 'q8', rows, cols, stride, bytes, scales, weight, groupScale: () => 1 }
}

const bits = new Uint32Array(1)
const float = new Float32Array(bits.buffer)

/** Blocks of 8 rows × 32 columns: per 4 columns 16 bytes, rows 0..3 in low nibbles, 4..7 in high ones; 8 bf16 scales. */
function q4Matrix(random: Random, rows: number, cols: number): Matrix {
  const groups = Math.ceil(cols / 32)
  const stride = groups * 144
  // Rows and columns behind the last hold anything: all bits set is a weight of 7, and NaN as a scale.
  const bytes = new Uint8Array(Math.ceil(rows / 8) * stride).fill(0xff)
  const at = (r: number, g: number) => (r >> 3) * stride + g * 144
  const nibbleAt = (r: number, c: number) => at(r, c >> 5) + ((c & 31) >> 2) * 16 + (r & 3) * 4 + (c & 3)
  const isHigh = (r: number) => (r & 7) >= 4
  for (let r = 0; r < rows; r++)
    for (let g = 0; g < groups; g++) {
      const kind = random.below(12)
      for (let c = g * 32; c < Math.min(cols, g * 32 + 32); c++) {
        const w = integer(random, kind, -8, 7) + 8
        const old = bytes[nibbleAt(r, c)] as number
        bytes[nibbleAt(r, c)] = isHigh(r) ? (old & 15) | (w << 4) : (old & 0xf0) | w
      }
      // Either sign, and all sizes: −8 of a positive peak has a negative scale.
      float[0] = random.pick([0, 1e-39, 1e-30, 0.01, 0.01, 0.01, -0.01, 1e20]) * random.next()
      const scaleAt = at(r, g) + 128 + (r & 7) * 2
      bytes[scaleAt] = (bits[0] as number) >>> 16
      bytes[scaleAt + 1] = (bits[0] as number) >>> 24
    }
  const weight = (r: number, c: number) => (((bytes[nibbleAt(r, c)] as number) >> (isHigh(r) ? 4 : 0)) & 15) - 8
  const groupScale = (r: number, g: number) => {
    const scaleAt = at(r, g) + 128 + (r & 7) * 2
    bits[0] = (((bytes[scaleAt] as number) | ((bytes[scaleAt + 1] as number) << 8)) << 16) >>> 0
    return float[0] as number
  }
  return { type: 'q4', rows, cols, stride, bytes, scales: new Float32Array(), weight, groupScale }
}

const keptFormats: Record<Kept, { bits: 4 | 7; isHalf: boolean; group: number }> = {
  q4k: { bits: 4, isHalf: false, group: 32 },
  q4m: { bits: 4, isHalf: true, group: 32 },
  q8k: { bits: 7, isHalf: false, group: 16 },
  q8m: { bits: 7, isHalf: true, group: 32 },
}

/** The number of an f16's bits, by arithmetic of its own. */
function half(word: number): number {
  const [exponent, fraction] = [(word >> 10) & 31, (word & 1023) / 1024]
  return (word & 0x8000 ? -1 : 1) * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14)
}

/**
 * Stripes of eight rows: for 256 columns 16 factors in f32, then groups: integers of 4 columns after 4 columns, eight scales,
 * eight minima.
 */
function keptMatrix(type: Kept, random: Random, rows: number, cols: number): Matrix {
  const { bits, isHalf, group } = keptFormats[type]
  const width = isHalf ? 2 : 1
  const integers = (bits === 4 ? 4 : 8) * group
  const groupBytes = integers + 16 * width
  const inSpan = 256 / group
  const blocks = Math.ceil(cols / 32)
  const groups = blocks * (32 / group)
  const stride = Math.ceil(blocks / 8) * 64 + groups * groupBytes
  // What lies behind the last row is anything but a byte of 128 where seven bits are.
  const bytes = new Uint8Array(Math.ceil(rows / 8) * stride).fill(0x7f)
  const view = new DataView(bytes.buffer)
  const spanAt = (r: number, g: number) => (r >> 3) * stride + Math.floor(g / inSpan) * (64 + inSpan * groupBytes)
  const groupAt = (r: number, g: number) => spanAt(r, g) + 64 + (g % inSpan) * groupBytes
  const placeOf = (r: number, c: number) => {
    const at = groupAt(r, Math.floor(c / group)) + ((c % group) >> 2) * (bits === 4 ? 16 : 32)
    return at + (bits === 7 ? (r & 4) * 4 : 0) + (r & 3) * 4 + (c & 3)
  }
  const subOf = (r: number, g: number, which: number) => {
    const at = groupAt(r, g) + integers + (8 * which + (r & 7)) * width
    return isHalf ? half(view.getUint16(at, true)) : view.getInt8(at)
  }
  for (let r = 0; r < rows; r++)
    for (let g = 0; g < groups; g++) {
      for (const which of [0, 1]) {
        const factor = random.pick([0, 1e-38, 1e-30, 1, 0.01, -0.01, 3, 1e18]) * random.next()
        if (g % inSpan === 0) view.setFloat32(spanAt(r, g) + 32 * which + 4 * (r & 7), factor, true)
        const at = groupAt(r, g) + integers + (8 * which + (r & 7)) * width
        // Of f16 all but infinities: zeros of both signs, denormal numbers, both ends.
        const word = random.pick([0, 0x8000, 1, 0x83ff, 0x7bff, 0xfbff, 0x3c00, random.below(0x7c00)])
        if (isHalf) view.setUint16(at, word, true)
        else view.setInt8(at, random.pick([0, -128, 127, 63, random.below(64), -random.below(128)]))
      }
      const kind = random.below(12)
      for (let c = g * group; c < Math.min(cols, (g + 1) * group); c++) {
        const w = integer(random, kind, 0, bits === 4 ? 15 : 127)
        const old = bytes[placeOf(r, c)] as number
        bytes[placeOf(r, c)] = bits === 7 ? w : r & 4 ? (old & 15) | (w << 4) : (old & 0xf0) | w
      }
    }
  const factorOf = (r: number, g: number, which: number) =>
    fround(view.getFloat32(spanAt(r, g) + 32 * which + 4 * (r & 7), true) * subOf(r, g, which))
  return {
    type,
    rows,
    cols,
    stride,
    bytes,
    scales: new Float32Array(),
    weight: (r, c) => {
      const byte = bytes[placeOf(r, c)] as number
      return bits === 7 ? byte : (byte >> (r & 4)) & 15
    },
    groupScale: (r, g) => factorOf(r, g, 0),
    minimum: (r, g) => factorOf(r, g, 1),
    groupCols: group,
  }
}

/** Ties to even. */
function nearest(x: number): number {
  const floor = Math.floor(x)
  const rest = x - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor
}

/** What the engine makes of activations: integers of ±127 and their scale. */
export function quantised(x: Float32Array): { integers: number[]; scale: number } {
  const peak = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const factor = peak < 1e-34 ? 0 : fround(127 / peak)
  return { integers: Array.from(x, (value) => nearest(fround(value * factor))), scale: fround(peak / 127) }
}

/** One product: the engine's own result, or the exact one and how far rounding may lead away from it. */
export interface Expected {
  same?: number
  exact: number
  bound: number
}

export function product(m: Matrix, r: number, x: Float32Array, q: ReturnType<typeof quantised>): Expected {
  const { cols } = m
  const unit = 2 ** -24
  if (m.type === 'f32') {
    let exact = 0
    let size = 0
    for (let c = 0; c < cols; c++) {
      const term = m.weight(r, c) * (x[c] as number)
      exact += term
      size += Math.abs(term)
    }
    return { exact, bound: (cols / 16 + 6) * unit * size }
  }
  if (m.type === 'q8') {
    let sum = 0
    for (let c = 0; c < cols; c++) sum += m.weight(r, c) * (q.integers[c] as number)
    const scale = m.scales[r] as number
    const exact = sum * q.scale * scale
    return {
      same: fround(fround(sum) * fround(q.scale * scale)),
      exact,
      bound: 4 * unit * Math.abs(exact) + Math.abs(sum) * 2e-45,
    }
  }
  let same = 0
  let exact = 0
  let size = 0
  const { groupCols = 32, minimum } = m
  const groups = Math.ceil(cols / groupCols)
  for (let g = 0; g < groups; g++) {
    let [sum, plain] = [0, 0]
    for (let c = g * groupCols; c < Math.min(cols, (g + 1) * groupCols); c++) {
      sum += m.weight(r, c) * (q.integers[c] as number)
      plain += q.integers[c] as number
    }
    const term = sum * m.groupScale(r, g)
    const offset = minimum ? plain * minimum(r, g) : 0
    same = fround(same + (minimum ? fround(fround(term) - fround(offset)) : fround(term)))
    exact += term - offset
    size += Math.abs(term) + Math.abs(offset)
  }
  // Denormal results are rounded to multiples of 2^−149.
  const bound = (groups + (minimum ? 5 : 2)) * (unit * size * q.scale + 2e-45 * (1 + q.scale))
  return { same: fround(same * q.scale), exact: exact * q.scale, bound }
}

/** Vectors of every size; some are all zero, one has a single number, one is too small to quantise. */
export function vector(random: Random, cols: number): Float32Array {
  const kind = random.below(14)
  const size = random.pick([1, 1, 1, 1e-20, 1e10])
  return Float32Array.from({ length: cols }, (_, c) => {
    if (kind === 0) return 0
    if (kind === 1) return c === cols >> 1 ? -5 : 0
    if (kind === 2) return random.signed() * 1e-36
    if (kind === 3) return c & 1 ? 2.5 : -2.5
    return number(random) * size
  })
}

type Make = (random: Random, rows: number, cols: number) => Matrix
const kept =
  (type: Kept): Make =>
  (...args) =>
    keptMatrix(type, ...args)
export const types: Record<Type, Make> = {
  f32: f32Matrix,
  q8: q8Matrix,
  q4: q4Matrix,
  q4k: kept('q4k'),
  q4m: kept('q4m'),
  q8k: kept('q8k'),
  q8m: kept('q8m'),
}
