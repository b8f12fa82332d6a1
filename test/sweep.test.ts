/**
 * Attention over several pages, random small shapes: against an f64 twin that decodes every value, materialises every
 * score, and attends afterwards.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ROW_WORDS, writeRow } from '../host/engine/wasm/rows.ts'
import {
  type AttentionSpec,
  type CacheType,
  describe,
  type ModelDescription,
  type PackedTensor,
  projectionWidths,
  slotOf,
  type View,
} from '../models/index.ts'
import { invFreq } from '../models/rope.ts'
import { type DebugEngine, openDebug, Random } from './debug-engine.ts'
import { attentionOf, ropeOf } from './goldens.ts'

const LENGTHS = [1, 3, 4, 63, 64, 65, 130]
const MOST = 130
/** The middle of three layers: neighbours in the cache must not be touched. */
const LAYER = 1

/** GTA: hidden = heads × head_dim = maps × value_dim × repeat. */
function gta(shape: { maps: number; keys: number; values: number; dim: number; value: number; heads: number }) {
  const { maps, keys, values, dim, value, heads } = shape
  return config({
    attention_kind: 'gta',
    hidden_size: heads * dim,
    num_attention_heads: heads,
    head_dim: dim,
    num_query_heads: maps,
    query_dim: dim,
    num_key_heads: keys,
    key_dim: dim,
    num_value_heads: values,
    value_dim: value,
  })
}

function gqa(shape: { heads: number; kv: number; dim: number; hidden: number; bias?: boolean }) {
  return config({
    architectures: ['LlamaForCausalLM'],
    hidden_size: shape.hidden,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kv,
    head_dim: shape.dim,
    attention_bias: shape.bias ?? false,
  })
}

function config(fields: object): ModelDescription {
  const common = { num_hidden_layers: 3, intermediate_size: 20, vocab_size: 37, rope_theta: 500 }
  return describe({ ...common, max_position_embeddings: 192, tie_word_embeddings: true, ...fields })
}

const shapes: Record<string, ModelDescription> = {
  'gta, one latent, head 6, value 10': gta({ maps: 2, keys: 1, values: 1, dim: 6, value: 10, heads: 10 }),
  'gta, two keys, two latents, head 6, value 5': gta({ maps: 4, keys: 2, values: 2, dim: 6, value: 5, heads: 10 }),
  'gta, four keys, one latent, value 7': gta({ maps: 4, keys: 4, values: 1, dim: 14, value: 7, heads: 4 }),
  'gta, one copy, value 18': gta({ maps: 3, keys: 1, values: 3, dim: 6, value: 18, heads: 9 }),
  'gta, one map, head 2': gta({ maps: 1, keys: 1, values: 1, dim: 2, value: 3, heads: 6 }),
  'gqa, head 6': gqa({ heads: 6, kv: 2, dim: 6, hidden: 34 }),
  'gqa with biases, head 10': gqa({ heads: 4, kv: 2, dim: 10, hidden: 30, bias: true }),
  'mqa, head 14': gqa({ heads: 5, kv: 1, dim: 14, hidden: 22 }),
  'mha, head 16': gqa({ heads: 3, kv: 3, dim: 16, hidden: 48 }),
}

interface Case {
  model: ModelDescription
  attention: AttentionSpec
  engine: DebugEngine
  /** Rows that enter the attention, normalised as far as it knows. */
  input: number[][]
}

function open(model: ModelDescription, cache: CacheType, seed: number): Case {
  const { spec } = model
  const engine = openDebug(model, 'f32', { context: 192, cache, maxRows: MOST })
  const random = new Random(seed)
  for (const tensor of engine.plan.tensors) fillTensor(engine, tensor, random)
  // The page table is not the identity, as after some use.
  engine.words(engine.exports.tables(), 3).set([2, 0, 1])
  // Somebody else's data everywhere: NaN as f32, −1 as int8, NaN as its scale.
  const at = engine.exports.cache() >>> 0
  engine.bytes(at, engine.end - at).fill(0xff)
  const input = Array.from({ length: MOST }, () =>
    Array.from({ length: spec.hiddenDim }, () => Math.fround(random.signed() * 1.5)),
  )
  return { model, attention: attentionOf(spec), engine, input }
}

function fillTensor(engine: DebugEngine, { content, offset }: PackedTensor, random: Random): void {
  const at = engine.weightsAt + offset
  if (content.is === 'vector') {
    const length = content.sources.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0)
    engine.floats(at, length).set(Float32Array.from({ length }, () => random.signed()))
  }
  if (content.is !== 'matrix') return
  const { rows, cols } = content
  const padded = Math.ceil(cols / 16) * 16
  for (let r = 0; r < rows; r++)
    engine
      .floats(at + r * padded * 4, cols)
      .set(Float32Array.from({ length: cols }, () => (random.signed() * 2.5) / Math.sqrt(cols)))
}

/** Runs rows from … to − 1 in one call and returns their outputs. */
function run({ model, engine, input }: Case, from: number, to: number): Float32Array[] {
  const { exports, words, floats } = engine
  const stride = exports.hiddenStrideBytes()
  const rows = words(exports.rows(), MOST * ROW_WORDS)
  for (let i = 0; i < to - from; i++) {
    const row = { conversation: 0, position: from + i, token: (from + i) % model.spec.vocabSize }
    writeRow(rows, floats(exports.rows(), MOST * ROW_WORDS), i, row)
    floats(exports.normed() + i * stride, stride / 4).fill(0)
    floats(exports.normed() + i * stride, model.spec.hiddenDim).set(input[from + i] as number[])
  }
  exports.attentionLayer(LAYER, to - from)
  return Array.from({ length: to - from }, (_, i) =>
    floats(exports.hidden() + i * stride, model.spec.hiddenDim).slice(),
  )
}

/** A packed tensor of the layer as rows of numbers, padding left out; none if it is absent. */
function tensorOf(engine: DebugEngine, part: string): number[][] {
  const tensor = engine.plan.tensors.find(({ name }) => name === `layers.${LAYER}.${part}`)
  if (!tensor) return []
  const at = engine.weightsAt + tensor.offset
  const { content } = tensor
  if (content.is !== 'matrix') return [[...engine.floats(at, tensor.bytes / 4)]]
  const stride = tensor.bytes / content.rows
  return Array.from({ length: content.rows }, (_, r) => [...engine.floats(at + r * stride, content.cols)])
}

const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * (b[i] as number), 0)
const peakOf = (list: number[]) => list.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
const sizes = (list: number[]) => list.map(Math.abs)

/** Half layout, SPEC §1: entries i and i + r/2 are a pair. */
function rotated(head: number[], position: number, freqs: Float64Array): number[] {
  const half = freqs.length
  const result = [...head]
  for (const [i, freq] of freqs.entries()) {
    const [cos, sin] = [Math.cos(position * freq), Math.sin(position * freq)]
    const [u, v] = [head[i] as number, head[i + half] as number]
    result[i] = u * cos - v * sin
    result[i + half] = v * cos + u * sin
  }
  return result
}

const headsOf = (row: number[], from: number, heads: number, dim: number) =>
  Array.from({ length: heads }, (_, h) => row.slice(from + h * dim, from + (h + 1) * dim))

interface Expected {
  output: number[]
  /** Most that an int8 cache may add to the error of each output. */
  bound: number[]
}

/**
 * The f64 twin: each token's value is decoded to what a head would see, [v, v, …] + P_j v, then attended.
 *
 * The bound of an int8 cache follows the quantisation steps. A key differs by half a step of its row (peak/127) in each
 * number, a query by half a step of its own (peak/8191), so a score differs by at most
 * δ = scale · Σ (|q| dk/2 + |k| dq/2 + dq dk/4), and a softmax weight by a factor within e^±2δ. A value differs by half
 * a step of its row. The weights of a page, times their rows' value scales, are rounded to 1/16383 of the page's
 * largest: half of that, times 127 at most, for each of its tokens. All of it is linear from there on.
 */
function expect({ model, attention, engine, input }: Case, length: number): Expected[] {
  const { maps, outDim, scale } = attention
  const key = slotOf(attention, attention.key[0] as View)
  const value = slotOf(attention, attention.value)
  const freqs = invFreq(ropeOf(model.spec))
  const widths = projectionWidths(attention)
  const projection = tensorOf(engine, 'in')
  const [inBias] = tensorOf(engine, 'in_bias')
  const decoder = tensorOf(engine, 'decoder')
  const out = tensorOf(engine, 'out')
  const [outBias] = tensorOf(engine, 'out_bias')

  const projected = input
    .slice(0, length)
    .map((x) => projection.map((weights, r) => dot(weights, x) + (inBias?.[r] ?? 0)))
  const queries = projected.map((row, t) => headsOf(row, 0, maps, key.dim).map((q) => rotated(q, t, freqs)))
  const keys = projected.map((row, t) => headsOf(row, widths.q, key.heads, key.dim).map((k) => rotated(k, t, freqs)))
  const values = projected.map((row) => headsOf(row, widths.q + key.heads * key.dim, value.heads, value.dim))
  const gates = projected.map((row) =>
    row.slice(widths.q + widths.row).map((gate) => (attention.gate ? 1 / (1 + Math.exp(-gate)) : 1)),
  )
  /** Value of one map: as it is, or decoded. */
  const decode = (j: number, v: number[]) =>
    attention.decoder
      ? Array.from({ length: outDim }, (_, d) => (v[d % v.length] as number) + dot(decoder[j * outDim + d] ?? [], v))
      : v
  /** What an error of the average can become behind the decoder. */
  const spread = (j: number, error: number[]) =>
    attention.decoder
      ? Array.from(
          { length: outDim },
          (_, d) => (error[d % error.length] as number) + dot(sizes(decoder[j * outDim + d] ?? []), error),
        )
      : error

  return queries.map((heads, t) => {
    const entering: number[] = []
    const errors: number[] = []
    for (const [j, q] of heads.entries()) {
      const k = keys.slice(0, t + 1).map((row) => row[Math.floor((j * key.heads) / maps)] as number[])
      const v = values.slice(0, t + 1).map((row) => row[Math.floor((j * value.heads) / maps)] as number[])
      const scores = k.map((one) => scale * dot(q, one))
      const peak = Math.max(...scores)
      const weights = scores.map((score) => Math.exp(score - peak))
      const total = weights.reduce((sum, weight) => sum + weight, 0)
      const decoded = v.map((one) => decode(j, one))
      for (let d = 0; d < outDim; d++)
        entering.push(decoded.reduce((sum, one, s) => sum + ((weights[s] as number) / total) * (one[d] as number), 0))

      const stepQ = peakOf(q) / 8191
      const shifts = k.map((one) => {
        const stepK = peakOf(one) / 127
        const each = q.map((qi, i) => (Math.abs(qi) * stepK + Math.abs(one[i] as number) * stepQ) / 2)
        return scale * each.reduce((sum, term) => sum + term + (stepQ * stepK) / 4, 0)
      })
      const factor = Math.exp(2 * Math.max(...shifts))
      const rounding = v.reduce((sum, _, s) => {
        const first = s - (s % 64)
        const page = v.slice(first, first + 64)
        const largest = Math.max(...page.map((one, i) => ((weights[first + i] as number) * peakOf(one)) / 127))
        return sum + (factor * ((largest / 16383) * 127)) / 2 / total
      }, 0)
      const error = Array.from({ length: value.dim }, (_, d) =>
        v.reduce((sum, one, s) => {
          const weight = (weights[s] as number) / total
          const moved = (factor - 1) * Math.abs(one[d] as number)
          return sum + weight * (moved + (factor * peakOf(one)) / 254)
        }, rounding),
      )
      errors.push(...spread(j, error))
    }
    const gated = entering.map((one, i) => one * (gates[t]?.[i] ?? 1))
    const gatedErrors = errors.map((one, i) => one * (gates[t]?.[i] ?? 1))
    return {
      output: out.map((weights, r) => dot(weights, gated) + (outBias?.[r] ?? 0)),
      bound: out.map((weights) => dot(sizes(weights), gatedErrors)),
    }
  })
}

for (const [name, model] of Object.entries(shapes)) {
  const seed = name.length
  const expected = expect(open(model, 'f32', seed), MOST)

  test(`${name}: f32 cache within 2e-5 for every length`, () => {
    for (const length of LENGTHS) {
      const found = run(open(model, 'f32', seed), 0, length)
      for (const [t, row] of found.entries())
        for (const [r, value] of row.entries()) {
          const error = Math.abs(value - (expected[t]?.output[r] as number))
          assert.ok(error <= 2e-5, `row ${t} of ${length}: ${error}`)
        }
    }
  })

  test(`${name}: int8 cache within its quantisation steps`, () => {
    let squares = 0
    let total = 0
    let product = 0
    for (const length of LENGTHS)
      for (const [t, row] of run(open(model, 'int8', seed), 0, length).entries())
        for (const [r, value] of row.entries()) {
          const { output, bound } = expected[t] as Expected
          const error = Math.abs(value - (output[r] as number))
          assert.ok(error <= (bound[r] as number) + 2e-5, `row ${t} of ${length}: ${error}, not ${bound[r]}`)
          squares += error ** 2
          total += (output[r] as number) ** 2
          product += value * (output[r] as number)
        }
    // The bound is for the worst case. Rounding errors are as often up as down: about 1/127/√12 of a peak each.
    const relative = Math.sqrt(squares / total)
    assert.ok(relative < 0.01, `${relative} of the outputs' size`)
    // For the same reason nothing is larger or smaller on the whole, as a wrong scale would make it.
    const gain = product / total
    assert.ok(Math.abs(gain - 1) < 0.001, `a gain of ${gain}`)
  })

  test(`${name}: batches, and whatever lay in the cache, do not change a bit`, () => {
    for (const cache of ['f32', 'int8'] as const) {
      const poisoned = open(model, cache, seed)
      const found = run(poisoned, 0, MOST)
      for (const cut of [1, 61, 64, 65, 127]) {
        const other = open(model, cache, seed)
        assert.equal([...run(other, 0, cut), ...run(other, cut, MOST)], found, `${cache}, cut at ${cut}`)
      }
      const clean = open(model, cache, seed)
      const at = clean.engine.exports.cache() >>> 0
      clean.engine.bytes(at, clean.engine.end - at).fill(0)
      assert.equal(run(clean, 0, MOST), found, `${cache}, clean memory`)
      // Again over its own traces: rows of the first run lie behind the last token of every page.
      assert.equal(run(clean, 0, MOST), found, `${cache}, second run`)
    }
  })
}

test('rows of zeros give zeros: no scale of a quantised row is divided by', () => {
  const model = gqa({ heads: 2, kv: 1, dim: 6, hidden: 12 })
  for (const cache of ['f32', 'int8'] as const) {
    const one = open(model, cache, 1)
    const input = one.input[0] as number[]
    const zeros = one.input.map(() => input.map(() => 0))
    for (const row of run({ ...one, input: zeros }, 0, 70)) assert.equal([...row], Array(12).fill(0))
  }
})

test.run()
