/** Every kernel against a naive twin: integers exactly, floats against f64. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../assembly/abi.ts'
import { describe } from '../models/index.ts'
import { openDebug, Random, Room } from './harness/debug-engine.ts'
import { erf } from './reference/reference.ts'

const { fround } = Math
const MOST_COLS = 8192
const MOST_COUNT = 8

/** The engine's scratch is laid out for a model as wide as the widest product here. */
const tall = { num_attention_heads: 1, hidden_size: 16, vocab_size: 16, num_hidden_layers: 1 }
const model = describe({ architectures: ['LlamaForCausalLM'], ...tall, intermediate_size: MOST_COLS })
const engine = openDebug(model, 'q8', { maxRows: MOST_COUNT }, 2 ** 24)
const { exports } = engine

/** Products with integers in f64 are exact; this rounds to even, as the engine does. */
function nearest(x: number): number {
  const floor = Math.floor(x)
  const rest = x - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor
}

interface Matrix {
  rows: number
  cols: number
  /** What the engine holds, row by row. */
  values: number[][]
  /** q8 only. */
  scales?: Float32Array
  record: number
}

function f32Matrix(room: Room, random: Random, rows: number, cols: number): Matrix {
  const stride = Math.ceil(cols / 16) * 16
  const data = room.take(rows * stride * 4)
  const memory = engine.floats(data, rows * stride).fill(0)
  const values = Array.from({ length: rows }, (_, r) => {
    const row = Float32Array.from({ length: cols }, () => number(random))
    memory.set(row, r * stride)
    return [...row]
  })
  const record = room.take(24)
  engine.words(record, 6).set([1, rows, cols, stride * 4, data - engine.weightsAt, 0])
  return { rows, cols, values, record }
}

/** Weights −63..63; row 0 all zero, row 1 all at the edge, so that sums are as large as they get. */
function q8Matrix(room: Room, random: Random, rows: number, cols: number): Matrix {
  const stride = Math.ceil(cols / 64) * 64
  const data = room.take(rows * stride)
  const scalesAt = room.take(Math.ceil(rows / 16) * 64)
  // 64 is the zero of a weight; the padding of the activations is zero, so any byte would do there.
  const memory = engine.bytes(data, rows * stride).fill(127)
  const values = Array.from({ length: rows }, (_, r) => {
    const row = Array.from({ length: cols }, () => (r === 0 ? 0 : r === 1 ? 63 : random.below(127) - 63))
    memory.set(
      row.map((w) => w + 64),
      r * stride,
    )
    return row
  })
  const scales = engine.floats(scalesAt, Math.ceil(rows / 16) * 16).fill(0)
  for (let r = 0; r < rows; r++) scales[r] = r === 0 ? 0 : random.next() * 0.1
  const record = room.take(24)
  engine.words(record, 6).set([2, rows, cols, stride, data - engine.weightsAt, scalesAt - engine.weightsAt])
  return { rows, cols, values, scales, record }
}

/** Mostly of one size, now and then an outlier: what a trained model's activations look like. */
function number(random: Random): number {
  return random.signed() * (random.below(50) === 0 ? 100 : 1)
}

/** Vectors of `cols` numbers, the last of several all zero. */
function vectors(random: Random, cols: number, count: number): Float32Array[] {
  return Array.from({ length: count }, (_, i) =>
    Float32Array.from({ length: cols }, () => (count > 2 && i === count - 1 ? 0 : number(random))),
  )
}

/** Zero-padded to 16 numbers, as the engine's own rows are. */
function place(room: Room, rows: Float32Array[], cols: number): { at: number; stride: number } {
  const padded = Math.ceil(cols / 16) * 16
  const at = room.take(rows.length * padded * 4)
  const memory = engine.floats(at, rows.length * padded).fill(0)
  for (const [i, row] of rows.entries()) memory.set(row, i * padded)
  return { at, stride: padded * 4 }
}

function f32Product({ values, cols }: Matrix, x: Float32Array): { value: number; size: number }[] {
  return values.map((row) => {
    let value = 0
    let size = 0
    for (let c = 0; c < cols; c++) {
      const term = (row[c] as number) * (x[c] as number)
      value += term
      size += Math.abs(term)
    }
    return { value, size }
  })
}

/** The engine's integers, and its epilogue in its order. */
function q8Product({ values, cols, scales }: Matrix, x: Float32Array): number[] {
  const peak = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const factor = peak === 0 ? 0 : fround(127 / peak)
  const integers = Array.from(x, (value) => nearest(fround(value * factor)))
  const scale = fround(peak / 127)
  return values.map((row, r) => {
    let sum = 0
    for (let c = 0; c < cols; c++) sum += (row[c] as number) * (integers[c] as number)
    return fround(fround(sum) * fround(scale * ((scales as Float32Array)[r] as number)))
  })
}

const yStride = (rows: number) => Math.ceil(rows / 16) * 64

function multiply(room: Room, matrix: Matrix, xs: Float32Array[]): Float32Array[] {
  const { rows, cols, record } = matrix
  const { at, stride } = place(room, xs, cols)
  const y = room.take(xs.length * yStride(rows))
  engine.bytes(y, xs.length * yStride(rows)).fill(0xff)
  exports.matmul(record, 0, at, stride, xs.length, y, yStride(rows), 0)
  return xs.map((_, i) => engine.floats(y + i * yStride(rows), rows).slice())
}

// After ruy's shapes: all small ones, the neighbours of powers of two, narrow and deep.
const small = Array.from({ length: 10 }, (_, i) => i + 1)
const near = [15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257]
const shapes: [number, number][] = [
  ...small.flatMap((rows) => small.map((cols): [number, number] => [rows, cols])),
  ...near.map((n): [number, number] => [n, n]),
  ...near.flatMap((n): [number, number][] => [
    [n, 3],
    [3, n],
    [5, n + 1],
  ]),
  [1, 2048],
  [2, 4096],
  [7, MOST_COLS - 1],
  [4, MOST_COLS],
  [9, MOST_COLS],
  [513, 1],
]
const counts = [1, 2, 3, 5, MOST_COUNT]

test('q8 products are exact, integers and epilogue, for every shape and number of vectors', () => {
  for (const [index, [rows, cols]] of shapes.entries()) {
    const random = new Random(index)
    const room = new Room(engine.end)
    const matrix = q8Matrix(room, random, rows, cols)
    const xs = vectors(random, cols, MOST_COUNT)
    const expected = xs.map((x) => q8Product(matrix, x))
    for (const count of counts) {
      const found = multiply(room, matrix, xs.slice(0, count))
      for (const [i, y] of found.entries())
        assert.equal([...y], expected[i], `${rows} × ${cols}, vector ${i} of ${count}`)
    }
    // The all-zero vector, on its own and therefore on the path of one vector.
    const [last] = multiply(room, matrix, xs.slice(-1))
    assert.equal([...(last as Float32Array)], Array(rows).fill(0))
  }
})

test('q8 sums stay exact at the largest weights and activations', () => {
  const room = new Room(engine.end)
  const matrix = q8Matrix(room, new Random(1), 5, MOST_COLS)
  const xs = [1, -1, 3].map((value) => new Float32Array(MOST_COLS).fill(value))
  const expected = xs.map((x) => q8Product(matrix, x))
  const scale = fround(fround(1 / 127) * (matrix.scales?.[1] as number))
  assert.is(expected[0]?.[1], fround(63 * 127 * MOST_COLS * scale))
  assert.equal(
    multiply(room, matrix, xs).map((y) => [...y]),
    expected,
  )
})

test('f32 products are within rounding of f64, and have the same bits in every batch', () => {
  for (const [index, [rows, cols]] of shapes.entries()) {
    const random = new Random(index + 1000)
    const room = new Room(engine.end)
    const matrix = f32Matrix(room, random, rows, cols)
    const xs = vectors(random, cols, MOST_COUNT)
    const single = xs.map((x) => multiply(room, matrix, [x])[0] as Float32Array)
    // Sixteen running sums: each is cols / 16 additions long, and five more join them.
    const bound = (cols / 16 + 6) * 2 ** -24
    for (const [i, x] of xs.entries())
      for (const [r, { value, size }] of f32Product(matrix, x).entries()) {
        const found = single[i]?.[r] as number
        assert.ok(Math.abs(found - value) <= bound * size, `${rows} × ${cols}: ${found} for ${value}`)
      }
    for (const count of counts) assert.equal(multiply(room, matrix, xs.slice(0, count)), single.slice(0, count))
  }
})

test('bias and what is already in y are added after the product, in this order', () => {
  for (const rows of [1, 4, 7, 18])
    for (const type of ['f32', 'q8']) {
      const random = new Random(rows)
      const room = new Room(engine.end)
      const cols = 70
      const matrix = (type === 'q8' ? q8Matrix : f32Matrix)(room, random, rows, cols)
      const xs = vectors(random, cols, 3)
      const product = multiply(room, matrix, xs)
      const bias = Float32Array.from({ length: rows }, () => random.signed())
      const before = Float32Array.from({ length: rows }, () => random.signed())
      const biasAt = room.take(yStride(rows))
      engine.floats(biasAt, rows).set(bias)
      const { at, stride } = place(room, xs, cols)
      const y = room.take(3 * yStride(rows))
      for (const adds of [0, 1]) {
        for (let i = 0; i < 3; i++) engine.floats(y + i * yStride(rows), rows).set(before)
        exports.matmul(matrix.record, biasAt, at, stride, 3, y, yStride(rows), adds)
        for (let i = 0; i < 3; i++) {
          const expected = (product[i] as Float32Array).map((value, r) => {
            const biased = fround(value + (bias[r] as number))
            return adds ? fround((before[r] as number) + biased) : biased
          })
          assert.equal(engine.floats(y + i * yStride(rows), rows).slice(), expected, `${type}, ${rows} rows`)
        }
      }
    }
})

test('blocks of a matrix each take a vector of their own', () => {
  for (const type of ['f32', 'q8'])
    for (const [blocks, rows, cols] of [
      [1, 5, 7],
      [3, 4, 16],
      [2, 6, 10],
      [4, 3, 33],
    ] as const) {
      const random = new Random(blocks)
      const room = new Room(engine.end)
      const matrix = (type === 'q8' ? q8Matrix : f32Matrix)(room, random, blocks * rows, cols)
      // Blocks × vectors must fit the scratch, which is laid out for MOST_COUNT.
      const count = 2
      const xs = vectors(random, cols, count * blocks)
      const { at, stride } = place(room, xs, cols)
      const step = yStride(blocks * rows)
      const y = room.take(count * step)
      exports.matmulBlocks(matrix.record, blocks, at, stride, blocks * stride, count, y, step)
      for (let i = 0; i < count; i++)
        for (let j = 0; j < blocks; j++) {
          const [whole] = multiply(room, matrix, [xs[i * blocks + j] as Float32Array])
          const found = engine.floats(y + i * step + j * rows * 4, rows).slice()
          assert.equal(found, whole?.slice(j * rows, (j + 1) * rows), `${type}, block ${j} of vector ${i}`)
        }
    }
})

test('a NaN among the activations shows in every product', () => {
  for (const type of ['f32', 'q8']) {
    const room = new Room(engine.end)
    const random = new Random(5)
    const matrix = (type === 'q8' ? q8Matrix : f32Matrix)(room, random, 6, 21)
    for (const at of [0, 7, 16, 20])
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const [x] = vectors(random, 21, 1) as [Float32Array]
        x[at] = value
        const [y] = multiply(room, matrix, [x]) as [Float32Array]
        // Row 0 of a q8 matrix has scale 0, and zero times NaN is NaN too.
        assert.ok(
          y.every((found) => !Number.isFinite(found)),
          `${type}: ${value} at ${at} gave ${y}`,
        )
      }
  }
})

test('exp: relative error well within 3e-7 over its range, clamped outside, NaN stays', () => {
  const LOWEST = -87.33654
  const HIGHEST = 88.02969
  const check = (x: number) => {
    const exact = Math.exp(x)
    // It is 8e-8, and a wrong digit in the last coefficients is less than 3e-7.
    assert.ok(Math.abs(exports.exp(x) - exact) <= 1e-7 * exact, `exp(${x}) = ${exports.exp(x)}`)
  }
  const random = new Random(3)
  for (let i = 0; i <= 20000; i++) check(fround(LOWEST + 0.00001 + (i / 20000) * (HIGHEST - LOWEST - 0.00002)))
  for (let i = 0; i < 20000; i++) check(fround(random.signed() * 10 ** (-8 * random.next())))
  // Where rounding to the next power of two changes sides.
  for (let n = -125; n <= 126; n++) for (const d of [-1e-6, 0, 1e-6]) check(fround((n + 0.5) * Math.LN2 + d))
  assert.is(exports.exp(0), 1)
  assert.is(exports.exp(-0), 1)
  for (const x of [-88, -1e3, -1e38, Number.NEGATIVE_INFINITY]) assert.is(exports.exp(x), exports.exp(LOWEST))
  for (const x of [88.1, 1e38, Number.POSITIVE_INFINITY]) assert.is(exports.exp(x), exports.exp(HIGHEST))
  assert.ok(Number.isNaN(exports.exp(Number.NaN)))
})

test('sin and cos: absolute error of 1e-10 at most up to an angle of 131072', () => {
  const random = new Random(4)
  const check = (angle: number) => {
    assert.ok(Math.abs(exports.sin(angle) - Math.sin(angle)) <= 1e-10, `sin(${angle}) = ${exports.sin(angle)}`)
    assert.ok(Math.abs(exports.cos(angle) - Math.cos(angle)) <= 1e-10, `cos(${angle}) = ${exports.cos(angle)}`)
  }
  for (let angle = 0; angle <= 131072; angle += 7) check(angle)
  for (let i = 0; i < 20000; i++) check(random.next() * 131072)
  for (let i = 0; i < 2000; i++) check(random.next() * 10 ** (-10 * random.next()))
  for (let n = 0; n < 80000; n += 37) for (const d of [-1e-9, 0, 1e-9]) check(Math.max(0, (n * Math.PI) / 4 + d))
  assert.is(exports.sin(0), 0)
  assert.is(exports.cos(0), 1)
})

test('RMSNorm, any width, in place too', () => {
  for (const n of [1, 2, 3, 15, 16, 17, 33, 64, 100, 576, 1000])
    for (const eps of [1e-5, 1e-6, 0.5])
      for (const size of [1, 1e-8, 1e4, 0]) {
        const random = new Random(n)
        const room = new Room(engine.end)
        const x = Float32Array.from({ length: n }, () => number(random) * size)
        const w = Float32Array.from({ length: n }, () => random.signed() * 2)
        const xAt = place(room, [x], n).at
        const wAt = place(room, [w], n).at
        const y = place(room, [x.map(() => 7)], n).at
        const factor = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / n + fround(eps))
        exports.norm(xAt, wAt, n, eps, y)
        const found = engine.floats(y, n).slice()
        for (const [i, value] of found.entries()) {
          const exact = (x[i] as number) * factor * (w[i] as number)
          assert.ok(Math.abs(value - exact) <= 2e-6 * Math.abs(exact) + 1e-44, `${n}, ${i}: ${value} for ${exact}`)
        }
        // The next matrix reads the padding: it must stay zero.
        const padded = Math.ceil(n / 16) * 16
        assert.ok(engine.floats(y, padded).every((value, i) => i < n || value === 0))
        exports.norm(xAt, wAt, n, eps, xAt)
        assert.equal(engine.floats(xAt, n).slice(), found)
      }
})

test('RoPE in half layout, any number of pairs, near and far positions', () => {
  for (const pairs of [1, 2, 3, 4, 5, 7, 8, 16, 33])
    for (const position of [0, 1, 63, 64, 4095, 131071]) {
      const random = new Random(pairs + position)
      const room = new Room(engine.end)
      const freqs = Float64Array.from({ length: pairs }, (_, i) => 10000 ** (-i / pairs))
      const freqsAt = room.take(pairs * 8)
      engine.doubles(freqsAt, pairs).set(freqs)
      const head = Float32Array.from({ length: 2 * pairs + 3 }, () => random.signed())
      const at = room.take(head.length * 4)
      engine.floats(at, head.length).set(head)
      exports.rope(at, position, freqsAt, pairs, room.take(pairs * 8))
      const found = engine.floats(at, head.length).slice()
      for (let i = 0; i < pairs; i++) {
        const angle = position * (freqs[i] as number)
        const [u, v] = [head[i] as number, head[i + pairs] as number]
        const first = u * Math.cos(angle) - v * Math.sin(angle)
        const second = v * Math.cos(angle) + u * Math.sin(angle)
        assert.ok(Math.abs((found[i] as number) - first) <= 3e-7, `pair ${i} of ${pairs} at ${position}`)
        assert.ok(Math.abs((found[i + pairs] as number) - second) <= 3e-7, `pair ${i} of ${pairs} at ${position}`)
      }
      assert.equal(found.slice(2 * pairs), head.slice(2 * pairs), 'what follows the rotated width stays')
    }
})

/** Widths with and without a tail; values from ordinary to where exp is clamped. */
function gates(n: number, random: Random): Float32Array {
  const edges = [0, -0, 100, -100, 1e30, -1e30, 1e-30]
  return Float32Array.from({ length: n }, (_, i) => (i % 3 === 2 ? random.pick(edges) : random.signed() * 8))
}
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
const widths = [1, 2, 3, 4, 5, 7, 8, 11, 64, 101]

test('SwiGLU: silu(gate) · up, any width', () => {
  for (const n of widths) {
    const random = new Random(n)
    const room = new Room(engine.end)
    const g = gates(n, random)
    const up = Float32Array.from({ length: n }, () => random.signed() * 3)
    const [gateAt, upAt, y] = [room.take(n * 4), room.take(n * 4), room.take(n * 4 + 4)]
    engine.floats(gateAt, n).set(g)
    engine.floats(upAt, n).set(up)
    engine.floats(y, n + 1).fill(5)
    exports.gatedProduct(gateAt, upAt, n, y)
    const found = engine.floats(y, n + 1)
    for (let i = 0; i < n; i++) {
      const x = g[i] as number
      const exact = x * sigmoid(x) * (up[i] as number)
      // σ of a clamped exponent is 1e-38 and not 0: times 1e30 that is still nothing.
      assert.ok(Math.abs((found[i] as number) - exact) <= 1e-6 * Math.abs(exact) + 1e-7, `silu(${x}) at ${i} of ${n}`)
    }
    assert.is(found[n], 5, 'nothing is written behind the last number')
  }
})

test('activations: within 1e-6 of f64, everywhere, any width, in place too', () => {
  const exact: [string, number, (x: number) => number][] = [
    ['silu', abi.SILU, (x) => x * sigmoid(x)],
    ['gelu', abi.GELU, (x) => (x * (1 + erf(x / Math.SQRT2))) / 2],
    ['gelu-tanh', abi.GELU_TANH, (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))],
    ['relu2', abi.RELU2, (x) => Math.max(0, x) ** 2],
  ]
  for (const [name, code, f] of exact)
    for (const n of [1, 3, 4, 7, 2001]) {
      const room = new Room(engine.end)
      const x = Float32Array.from({ length: n }, (_, i) => (n < 10 ? i - 2.5 : (i - 1000) / 100))
      const [at, y] = [room.take(n * 4), room.take(n * 4 + 4)]
      engine.floats(at, n).set(x)
      engine.floats(y, n + 1).fill(5)
      exports.activate(code, at, n, y)
      const found = engine.floats(y, n + 1).slice()
      for (let i = 0; i < n; i++) {
        const expected = f(x[i] as number)
        const error = Math.abs((found[i] as number) - expected)
        assert.ok(error <= 1e-6 * Math.max(1, Math.abs(expected)), `${name}(${x[i]}): ${found[i]} for ${expected}`)
      }
      assert.is(found[n], 5, 'nothing is written behind the last number')
      exports.activate(code, at, n, at)
      assert.equal(engine.floats(at, n), found.subarray(0, n))
    }
  for (const [name, code] of exact) {
    const at = new Room(engine.end).take(64)
    for (const [x, expected] of [
      [Number.NaN, Number.NaN],
      [-1e4, 0],
      [1e4, code === abi.RELU2 ? 1e8 : 1e4],
    ] as const) {
      engine.floats(at, 1)[0] = x
      exports.activate(code, at, 1, at)
      const found = engine.floats(at, 1)[0] as number
      assert.ok(Object.is(found, expected) || Math.abs(found - expected) <= 1e-30, `${name}(${x}): ${found}`)
    }
  }
})

test('a cap: cap · tanh(x / cap) within 1e-6 of the cap, and of small numbers, any width', () => {
  for (const cap of [0.5, 30, 50])
    for (const n of [1, 3, 4, 7, 2001]) {
      const at = new Room(engine.end).take(n * 4 + 4)
      const x = Float32Array.from({ length: n }, (_, i) => (n < 10 ? (i - 2.5) / 10 : ((i - 1000) / 250) * cap))
      engine
        .floats(at, n + 1)
        .fill(5)
        .set(x)
      exports.cap(at, n, cap)
      const found = engine.floats(at, n + 1)
      for (let i = 0; i < n; i++) {
        const expected = cap * Math.tanh((x[i] as number) / cap)
        const error = Math.abs((found[i] as number) - expected)
        assert.ok(error <= 4e-7 * Math.abs(expected), `${x[i]} capped at ${cap}: ${found[i]} for ${expected}`)
      }
      assert.is(found[n], 5, 'nothing is written behind the last number')
    }
})

test('layer norm, any width, in place too', () => {
  for (const n of [1, 2, 3, 15, 16, 17, 33, 64, 100, 1000])
    for (const offset of [0, 3, -100]) {
      const random = new Random(n + offset)
      const room = new Room(engine.end)
      const x = Float32Array.from({ length: n }, () => number(random) + offset)
      const [w, b] = [1, 2].map(() => Float32Array.from({ length: n }, () => random.signed() * 2)) as [
        Float32Array,
        Float32Array,
      ]
      const [xAt, wAt, bAt] = [x, w, b].map((list) => place(room, [list], n).at) as [number, number, number]
      const y = place(room, [x.map(() => 7)], n).at
      const mean = x.reduce((sum, value) => sum + value, 0) / n
      const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n
      const eps = fround(1e-3)
      exports.normLayer(xAt, wAt, bAt, n, eps, y)
      const found = engine.floats(y, n).slice()
      for (const [i, value] of found.entries()) {
        const expected = (((x[i] as number) - mean) / Math.sqrt(variance + eps)) * (w[i] as number) + (b[i] as number)
        assert.ok(Math.abs(value - expected) <= 2e-5 * (1 + Math.abs(offset)), `${n}, ${i}: ${value} for ${expected}`)
      }
      const padded = Math.ceil(n / 16) * 16
      assert.ok(engine.floats(y, padded).every((value, i) => i < n || value === 0))
      exports.normLayer(xAt, wAt, bAt, n, eps, xAt)
      assert.equal(engine.floats(xAt, n).slice(), found)
    }
})

test('the sigmoid gate multiplies in place, any width', () => {
  for (const n of widths) {
    const random = new Random(n)
    const room = new Room(engine.end)
    const g = gates(n, random)
    const before = Float32Array.from({ length: n }, () => random.signed() * 3)
    const [gateAt, y] = [room.take(n * 4), room.take(n * 4 + 4)]
    engine.floats(gateAt, n).set(g)
    engine.floats(y, n + 1).set([...before, 5])
    exports.gate(gateAt, n, y)
    const found = engine.floats(y, n + 1)
    for (let i = 0; i < n; i++) {
      const exact = (before[i] as number) * sigmoid(g[i] as number)
      assert.ok(Math.abs((found[i] as number) - exact) <= 1e-6 * Math.abs(exact) + 1e-30, `σ(${g[i]}) at ${i} of ${n}`)
    }
    assert.is(found[n], 5, 'nothing is written behind the last number')
  }
})

/** What a head of a cache row stands for, and the squared error with any scale, both in f64. */
function quantizeRow(x: Float32Array): { scale: number; integers: number[]; error: number } {
  const room = new Room(engine.end)
  const blocks = Math.ceil(x.length / 4)
  const [at, target] = [room.take(x.length * 4 + 16), room.take(blocks * 16)]
  // What lies behind the head must not count.
  engine
    .floats(at, x.length + 4)
    .fill(1e9)
    .set(x)
  const bytes = engine.bytes(target, blocks * 16).fill(5)
  const scale = exports.quantizeRow(at, x.length, target)
  const integers = Array.from(
    { length: blocks * 4 },
    (_, i) => ((bytes[(i >> 2) * 16 + (i & 3)] as number) << 24) >> 24,
  )
  bytes.forEach((byte, i) => {
    if (i % 16 > 3) assert.is(byte, 5, 'other tokens of the block stay')
  })
  return { scale, integers, error: squaredError(x, integers, scale) }
}
const squaredError = (x: Float32Array, integers: number[], scale: number) =>
  integers.reduce((sum, q, i) => sum + (q * scale - (x[i] ?? 0)) ** 2, 0)

test('a head of a cache row has the least error of sixteen scales, that of peak / 127 among them', () => {
  for (const dim of [1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 64, 67, 128, 512]) {
    let [found, plain] = [0, 0]
    const random = new Random(dim)
    for (let round = 0; round < 200; round++) {
      const size = random.pick([1e-30, 1e-6, 1, 1, 1, 1e6, 1e36])
      const x = Float32Array.from({ length: dim }, () => number(random) * size)
      const peak = Math.max(...x.map(Math.abs))
      const errors = Array.from({ length: 16 }, (_, k) => {
        const integers = Array.from(x, (value) => nearest(fround(value * fround((127 - k) / peak))))
        return squaredError(x, integers, fround(peak / (127 - k)))
      })
      const { integers, scale, error } = quantizeRow(x)
      assert.ok(integers.every((q, i) => Math.abs(q) <= 127 && (i < dim || q === 0)))
      assert.ok(
        integers.some((q) => Math.abs(q) === Math.round(peak / scale)),
        'the peak is the largest integer',
      )
      // Products are rounded to f32 before their distance to an integer is known.
      const slack = Math.sqrt(dim) * peak * 2 ** -22
      const least = Math.sqrt(Math.min(...errors))
      assert.ok(Math.sqrt(error) <= least + slack, `${Math.sqrt(error)} of ${dim}, not ${least}`)
      found += error / peak ** 2
      plain += (errors[0] as number) / peak ** 2
    }
    if (dim === 8) assert.ok(found / plain < 0.65, `${found / plain} of the error of 8 numbers`)
  }
})

test('heads of zeros, of tiny numbers and with NaN keep their scales', () => {
  for (const dim of [1, 3, 8, 64]) {
    const zeros = { scale: 0, integers: Array(Math.ceil(dim / 4) * 4).fill(0), error: 0 }
    assert.equal(quantizeRow(new Float32Array(dim)), zeros)
    const tiny = quantizeRow(new Float32Array(dim).fill(5e-35))
    assert.equal([tiny.scale, tiny.integers], [fround(fround(5e-35) / 127), zeros.integers])
    for (const at of [0, dim - 1])
      assert.ok(
        Number.isNaN(quantizeRow(Float32Array.from({ length: dim }, (_, i) => (i === at ? Number.NaN : i))).scale),
      )
    const whole = Float32Array.from({ length: dim }, (_, i) => (i % 2 ? -3 : 127 - i))
    assert.is(quantizeRow(whole).scale, 1, 'whole numbers stay what they are')
    assert.is(quantizeRow(whole).error, 0)
  }
})

/** By the definition: entry (i, j) of the matrix of n is (−1)^(common bits of i and j) / √n, in blocks of powers of two. */
function spreadTwin(x: Float32Array): number[] {
  const out: number[] = []
  while (out.length < x.length) {
    const from = out.length
    const n = 2 ** Math.floor(Math.log2(x.length - from))
    for (let i = 0; i < n; i++) {
      let sum = 0
      for (let j = 0; j < n; j++) {
        let bits = 0
        for (let common = i & j; common; common &= common - 1) bits++
        sum += (x[from + j] as number) * (bits % 2 ? -1 : 1)
      }
      out.push(sum / Math.sqrt(n))
    }
  }
  return out
}

test('spreading a head: the Hadamard matrix of every width, and back again', () => {
  const random = new Random(11)
  const at = new Room(engine.end).take(4 * 200)
  for (const n of [1, 2, 3, 4, 6, 8, 16, 24, 31, 64, 80, 96, 128, 192]) {
    const x = Float32Array.from({ length: n }, () => random.signed())
    const cells = engine.floats(at, n + 4)
    cells.fill(7)
    cells.set(x)
    exports.spread(at, n)
    for (const [i, value] of spreadTwin(x).entries())
      assert.ok(Math.abs(value - (cells[i] as number)) < 1e-6 * Math.sqrt(n), `${i} of ${n}`)
    exports.spread(at, n)
    for (const [i, value] of x.entries()) assert.ok(Math.abs(value - (cells[i] as number)) < 1e-6, `${i} of ${n}, back`)
    assert.equal([...cells.slice(n)], [7, 7, 7, 7], 'and nothing behind it')
  }
})

test.run()
