/**
 * Random products in both debug builds against twins that add in the engine's order: integers and their epilogue
 * to the last bit, f32 within its rounding of f64. Tails of every kind, edges of every number format, and scales,
 * activations and whole vectors that are zero, tiny or huge.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { describe } from '../models/index.ts'
import { type DebugEngine, debugNames, openDebug, Random, Room } from './harness/debug-engine.ts'
import { type Matrix, product, quantised, type Type, types, vector } from './harness/products.ts'

const { fround } = Math
const MOST_COLS = 400
const MOST_COUNT = 9

const shape = { num_attention_heads: 1, hidden_size: 16, vocab_size: 16, num_hidden_layers: 1 }
const model = describe({ architectures: ['LlamaForCausalLM'], ...shape, intermediate_size: MOST_COLS })
const engines = debugNames.map((name) => openDebug(model, 'q8', { maxRows: MOST_COUNT }, 2 ** 21, name))

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
  const type = { f32: 1, q8: 2, q4: 3, q4m: 4, q4k: 5, q8m: 6, q8k: 7 }[m.type]
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
  if (m.minimum) checkRows(engine, m, record)
  return xs.map((_, i) => {
    const behind = engine.words(y + i * yStride + rows * 4, yStride / 4 - rows)
    assert.ok(
      behind.every((word) => word === 0x7fc12345),
      'nothing is written behind the last row',
    )
    return engine.floats(y + i * yStride, rows).slice()
  })
}

/** Rows as they are gathered: s · q − m, rounded once, times a factor. */
function checkRows(engine: DebugEngine, m: Matrix, record: number): void {
  const { cols, groupCols = 32, minimum } = m
  const room = new Room(engine.end + 2 ** 20)
  const target = room.take((cols + 1) * 4)
  for (const [row, factor] of [
    [0, 1],
    [m.rows - 1, 12],
  ] as const) {
    engine.floats(target, cols + 1).fill(-7)
    engine.exports.rowOfBlocks(record, row, factor, target)
    const found = engine.floats(target, cols + 1)
    assert.is(found[cols], -7, 'nothing is written behind the row')
    for (let c = 0; c < cols; c++) {
      const g = Math.floor(c / groupCols)
      const value = fround(m.groupScale(row, g) * m.weight(row, c) - (minimum?.(row, g) ?? 0))
      assert.is((found[c] as number) + 0, fround(value * factor) + 0, `row ${row}, column ${c}`)
    }
  }
}

const CASES: Record<Type, number> = { f32: 200, q8: 300, q4: 500, q4k: 100, q4m: 100, q8k: 100, q8m: 100 }

for (const type of Object.keys(types) as Type[])
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
