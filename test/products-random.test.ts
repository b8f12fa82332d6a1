/**
 * 1,000 random products in both debug builds against twins that add in the engine's order: integers and their epilogue
 * to the last bit, f32 within its rounding of f64. Tails of every kind, edges of every number format, and scales,
 * activations and whole vectors that are zero, tiny or huge.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { describe } from '../models/index.ts'
import { type DebugEngine, debugNames, openDebug, Random, Room } from './harness/debug-engine.ts'

const { fround } = Math
const MOST_COLS = 400
const MOST_COUNT = 9

const shape = { num_attention_heads: 1, hidden_size: 16, vocab_size: 16, num_hidden_layers: 1 }
const model = describe({ architectures: ['LlamaForCausalLM'], ...shape, intermediate_size: MOST_COLS })
const engines = debugNames.map((name) => openDebug(model, 'q8', { maxRows: MOST_COUNT }, 2 ** 21, name))

type Type = 'f32' | 'q8' | 'q4'

/** A matrix apart from any memory: what it means, and the bytes that say so. */
interface Matrix {
  type: Type
  rows: number
  cols: number
  stride: number
  bytes: Uint8Array
  /** q8: one per row. */
  scales: Float32Array
  /** Weight of a row and column, an integer but for f32. */
  weight(row: number, col: number): number
  /** q4: scale of a row's group of 32 columns. */
  groupScale(row: number, group: number): number
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

/** Ties to even. */
function nearest(x: number): number {
  const floor = Math.floor(x)
  const rest = x - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor
}

/** What the engine makes of activations: integers of ±127 and their scale. */
function quantised(x: Float32Array): { integers: number[]; scale: number } {
  const peak = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const factor = peak < 1e-34 ? 0 : fround(127 / peak)
  return { integers: Array.from(x, (value) => nearest(fround(value * factor))), scale: fround(peak / 127) }
}

/** One product: the engine's own result, or the exact one and how far rounding may lead away from it. */
interface Expected {
  same?: number
  exact: number
  bound: number
}

function product(m: Matrix, r: number, x: Float32Array, q: ReturnType<typeof quantised>): Expected {
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
  const groups = Math.ceil(cols / 32)
  for (let g = 0; g < groups; g++) {
    let sum = 0
    for (let c = g * 32; c < Math.min(cols, g * 32 + 32); c++) sum += m.weight(r, c) * (q.integers[c] as number)
    const term = sum * m.groupScale(r, g)
    same = fround(same + fround(term))
    exact += term
    size += Math.abs(term)
  }
  // Denormal results are rounded to multiples of 2^−149.
  const bound = (groups + 2) * (unit * size * q.scale + 2e-45 * (1 + q.scale))
  return { same: fround(same * q.scale), exact: exact * q.scale, bound }
}

/** Vectors of every size; some are all zero, one has a single number, one is too small to quantise. */
function vector(random: Random, cols: number): Float32Array {
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

/** y of all vectors, row by row, as one engine computes them; the room between and behind the rows must stay as it is. */
function multiply(
  engine: DebugEngine,
  m: Matrix,
  xs: Float32Array[],
  bias: Float32Array | undefined,
  before: Float32Array | undefined,
): Float32Array[] {
  const room = new Room(engine.end)
  const { rows, cols, stride } = m
  const data = room.take(m.bytes.length)
  engine.bytes(data, m.bytes.length).set(m.bytes)
  const scales = room.take(m.scales.byteLength)
  engine.floats(scales, m.scales.length).set(m.scales)
  const record = room.take(24)
  const type = { f32: 1, q8: 2, q4: 3 }[m.type]
  engine.words(record, 6).set([type, rows, cols, stride, data - engine.weightsAt, scales - engine.weightsAt])
  const padded = Math.ceil(cols / 16) * 16
  const x = room.take(xs.length * padded * 4)
  engine.floats(x, xs.length * padded).fill(0)
  for (const [i, one] of xs.entries()) engine.floats(x + i * padded * 4, cols).set(one)
  const biasAt = bias ? room.take(rows * 4) : 0
  if (bias) engine.floats(biasAt, rows).set(bias)
  const yStride = Math.ceil((rows + 1) / 16) * 64
  const y = room.take(xs.length * yStride)
  engine.words(y, (xs.length * yStride) / 4).fill(0x7fc12345)
  for (const i of xs.keys()) if (before) engine.floats(y + i * yStride, rows).set(before)
  engine.exports.matmul(record, biasAt, x, padded * 4, xs.length, y, yStride, before ? 1 : 0)
  return xs.map((_, i) => {
    const behind = engine.words(y + i * yStride + rows * 4, yStride / 4 - rows)
    assert.ok(
      behind.every((word) => word === 0x7fc12345),
      'nothing is written behind the last row',
    )
    return engine.floats(y + i * yStride, rows).slice()
  })
}

const types = { f32: f32Matrix, q8: q8Matrix, q4: q4Matrix }
const CASES: Record<Type, number> = { f32: 200, q8: 300, q4: 500 }

for (const type of ['f32', 'q8', 'q4'] as const)
  test(`${type}: ${CASES[type]} random products in both builds`, () => {
    for (let seed = 0; seed < CASES[type]; seed++) {
      const random = new Random(seed + 1)
      const rows = 1 + random.below(70)
      const cols = 1 + random.below(random.below(3) ? 100 : MOST_COLS)
      const count = 1 + random.below(MOST_COUNT)
      const m = types[type](random, rows, cols)
      const xs = Array.from({ length: count }, () => vector(random, cols))
      const some = () => Float32Array.from({ length: rows }, () => random.signed())
      const bias = random.below(3) === 0 ? some() : undefined
      const before = random.below(3) === 0 ? some() : undefined
      const finish = (value: number, r: number) => {
        const biased = bias ? fround(value + (bias[r] as number)) : value
        return before ? fround((before[r] as number) + biased) : biased
      }
      const label = `case ${seed}: ${rows} × ${cols}, ${count} vectors`
      const [first, second] = engines.map((engine) => multiply(engine, m, xs, bias, before))
      assert.equal(second, first, `${label}: the builds differ`)
      const plain = bias || before ? multiply(engines[0] as DebugEngine, m, xs, undefined, undefined) : first
      for (const [i, x] of xs.entries()) {
        const q = quantised(x)
        for (let r = 0; r < rows; r++) {
          const { same, exact, bound } = product(m, r, x, q)
          const value = plain?.[i]?.[r] as number
          assert.ok(
            Math.abs(value - exact) <= bound,
            `${label}, vector ${i}, row ${r}: ${value} for ${exact} ± ${bound}`,
          )
          if (same !== undefined) assert.is(value + 0, same + 0, `${label}, vector ${i}, row ${r}`)
          assert.is(first?.[i]?.[r], finish(value, r), `${label}, vector ${i}, row ${r}: bias and sum`)
        }
      }
      if (count > 1 && seed % 5 === 0)
        for (const [i, x] of xs.entries())
          for (const [b, engine] of engines.entries())
            assert.equal(multiply(engine, m, [x], bias, before)[0], first?.[i], `${label}, ${debugNames[b]}: alone`)
    }
  })

test.run()
