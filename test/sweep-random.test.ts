/**
 * The parts of the attention sweep over one page, in both debug builds, on pages that no model would write: any byte
 * from −128 to 127, rows whose scale is zero, and NaN behind the last token. The builds must agree to the last bit, and
 * with twins: integers exactly, exponentials and f32 sums within their rounding of f64.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { describe } from '../models/index.ts'
import { type DebugEngine, debugNames, openDebug, Random, Room } from './harness/debug-engine.ts'

const { fround } = Math
const PAGE = 64
const MOST_DIM = 130
/** Bytes of the scores of one query. */
const SCORES = 4 * PAGE

const shape = { num_attention_heads: 1, hidden_size: 16, vocab_size: 16, num_hidden_layers: 1, intermediate_size: 16 }
const model = describe({ architectures: ['LlamaForCausalLM'], ...shape })
const engines = debugNames.map((name) => openDebug(model, 'q8', {}, 2 ** 18, name))

const padded = (dim: number) => Math.ceil(dim / 4) * 4

/** One slot head of a page, apart from any memory. `at` is the number of a token and a dim. */
interface Head {
  dim: number
  isInt8: boolean
  bytes: Uint8Array
  scales: Float32Array
  at(token: number, dim: number): number
}

/** Scales of 64 tokens, then blocks of 4 tokens × 4 dims. Whatever lies behind the last token is NaN, or any byte. */
function int8Head(random: Random, dim: number, tokens: number): Head {
  const blocks = padded(dim) / 4
  const bytes = new Uint8Array(PAGE * (4 + padded(dim)))
  const kind = random.below(6)
  for (let i = PAGE * 4; i < bytes.length; i++)
    bytes[i] = kind === 0 ? 0x80 : kind === 1 ? random.pick([0x80, 0x7f]) : random.below(256)
  const scales = new Float32Array(bytes.buffer, 0, PAGE).fill(Number.NaN)
  for (let t = 0; t < tokens; t++) scales[t] = random.below(8) === 0 ? 0 : random.next() * 0.05
  const signed = new Int8Array(bytes.buffer, PAGE * 4)
  const at = (t: number, d: number) => signed[((t >> 2) * blocks + (d >> 2)) * 16 + (t & 3) * 4 + (d & 3)] as number
  return { dim, isInt8: true, bytes, scales, at }
}

function f32Head(random: Random, dim: number, tokens: number): Head {
  const floats = new Float32Array(PAGE * padded(dim)).fill(Number.NaN)
  // The padding of a row that was written is zero.
  floats.fill(0, 0, tokens * padded(dim))
  for (let t = 0; t < tokens; t++)
    for (let d = 0; d < dim; d++) floats[t * padded(dim) + d] = random.signed() * (random.below(30) === 0 ? 30 : 1)
  const at = (t: number, d: number) => floats[t * padded(dim) + d] as number
  return { dim, isInt8: false, bytes: new Uint8Array(floats.buffer), scales: new Float32Array(), at }
}

interface View {
  head: Head
  /** Of each query. */
  q: Float32Array[]
}

interface Page {
  /** That each query sees; the head has as many as the most. */
  tokens: number[]
  views: View[]
  value: Head
  valueDim: number
  scale: number
}

function page(seed: number, isInt8: boolean): Page {
  const random = new Random(seed)
  const most = 1 + random.below(PAGE)
  const queries = random.pick([1, 2, 3, 6])
  const tokens = Array.from({ length: queries }, (_, n) => (n === 0 ? most : 1 + random.below(most)))
  const make = isInt8 ? int8Head : f32Head
  const view = (): View => {
    const dim = 1 + random.below(MOST_DIM)
    const query = () => {
      const kind = random.below(10)
      return Float32Array.from({ length: dim }, () => (kind === 0 ? 0 : random.signed() * (kind === 1 ? 1e3 : 1)))
    }
    // A view may read the first part of a slot only. f32 heads: the rest of its last four dims meets zeros.
    const head = make(random, dim + random.pick([0, 0, 1, 7, 40]), most)
    return { head, q: Array.from({ length: queries }, query) }
  }
  const valueDim = 1 + random.below(MOST_DIM)
  return {
    tokens,
    views: random.below(2) ? [view(), view()] : [view()],
    value: make(random, valueDim + random.pick([0, 0, 3, 20]), most),
    valueDim,
    scale: fround(random.next()),
  }
}

/** What a part of the sweep leaves, in order. */
interface Trace {
  scores: Float32Array
  exponentials: Float32Array
  /** (maximum, sum) */
  state: Float32Array
  sums: Float32Array
}

/** What each query leaves. `isPaired`: int8 values meet two of them at a time, as far as they go. */
function sweep(engine: DebugEngine, page: Page, isPaired = true): Trace[] {
  const { exports } = engine
  const { tokens, views, value, valueDim } = page
  const most = Math.max(...tokens)
  const room = new Room(engine.end)
  const place = (bytes: Uint8Array) => {
    const at = room.take(bytes.length)
    engine.bytes(at, bytes.length).set(bytes)
    return at
  }
  const rubbish = (bytes: number) => place(new Uint8Array(bytes).fill(0xff))
  const scratch = rubbish(exports.pageScratchBytes(Math.max(value.dim, ...views.map(({ head }) => head.dim))))
  const scores = rubbish(SCORES * tokens.length)
  for (const [v, { head, q }] of views.entries())
    scoreAll(engine, page, v, place(head.bytes), rubbish(4096 * q.length), scores, scratch)
  const stride = Math.ceil(valueDim / 16) * 64 + 16
  const partials = rubbish(stride * tokens.length)
  const traces = tokens.map((seen, n): Trace => {
    const at = scores + n * SCORES
    const before = engine.floats(at, seen).slice()
    exports.weigh(seen, at, partials + n * stride)
    const exponentials = engine.floats(at, seen).slice()
    const state = engine.floats(partials + n * stride, 2).slice()
    return { scores: before, exponentials, state, sums: new Float32Array() }
  })
  const values = place(value.bytes)
  for (let n = 0; n < tokens.length; n++) {
    const [seen, next] = [tokens[n] as number, tokens[n + 1]]
    const [at, sums] = [scores + n * SCORES, partials + n * stride + 16]
    if (!value.isInt8) exports.valuesF32(values, value.dim, valueDim, seen, at, sums)
    else if (!isPaired || next === undefined) exports.values(values, value.dim, valueDim, seen, at, sums, scratch)
    else exports.valuePair(values, value.dim, valueDim, seen, next, at, sums, stride, scratch)
    if (value.isInt8 && isPaired && next !== undefined) n++
  }
  for (const [n, trace] of traces.entries()) trace.sums = engine.floats(partials + n * stride + 16, valueDim).slice()
  assert.ok(most <= PAGE)
  return traces
}

/** Scores of all queries against one view; `queries` is room for what they become. */
function scoreAll(
  engine: DebugEngine,
  { tokens, views, scale }: Page,
  v: number,
  at: number,
  queries: number,
  scores: number,
  scratch: number,
): void {
  const { exports } = engine
  const { head, q } = views[v] as View
  const most = Math.max(...tokens)
  const dim = (q[0] as Float32Array).length
  const [plain, scales] = [queries + 3072 * q.length, queries + 4000 * q.length]
  for (const [n, one] of q.entries()) {
    engine.floats(plain, padded(dim)).fill(0)
    engine.floats(plain, dim).set(one)
    if (head.isInt8) {
      const unit = exports.prepareQuery(plain, dim, queries + n * exports.queryBytes(dim))
      engine.floats(scales + 4 * n, 1)[0] = fround(unit * scale)
    } else exports.scoresF32(at, head.dim, dim, most, plain, scale, scores + n * SCORES, v)
  }
  if (head.isInt8) exports.scores(at, head.dim, dim, most, queries, q.length, scales, scores, v, scratch)
}

const peakOf = (list: ArrayLike<number>) => Array.from(list).reduce((most, value) => Math.max(most, Math.abs(value)), 0)

/** Ties to even. */
function nearest(x: number): number {
  const floor = Math.floor(x)
  const rest = x - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor
}

/** The engine's own scores: a query of ±8191, exact sums, one product per token and view. */
function int8Scores({ tokens, views, scale }: Page, n: number): number[] {
  const seen = tokens[n] as number
  const scores: number[] = Array(seen).fill(0)
  for (const [v, { head, q }] of views.entries()) {
    const one = q[n] as Float32Array
    const peak = peakOf(one)
    const factor = peak < 1e-34 ? 0 : fround(8191 / peak)
    const integers = Array.from(one, (value) => nearest(fround(value * factor)))
    const unit = fround(fround(peak / 8191) * scale)
    for (let t = 0; t < seen; t++) {
      const sum = integers.reduce((total, value, d) => total + value * head.at(t, d), 0)
      const value = fround(fround(sum) * fround(unit * (head.scales[t] as number)))
      scores[t] = v ? fround((scores[t] as number) + value) : value
    }
  }
  return scores
}

/** The engine's own weighted sums: weights of 0..16383, exact sums. */
function int8Values({ value, valueDim }: Page, exponentials: Float32Array): number[] {
  const weights = Array.from(exponentials, (one, t) => fround(one * (value.scales[t] as number)))
  const peak = peakOf(weights)
  const factor = peak < 1e-34 ? 0 : fround(16383 / peak)
  const integers = weights.map((weight) => nearest(fround(weight * factor)))
  return Array.from({ length: valueDim }, (_, d) => {
    const sum = integers.reduce((total, weight, t) => total + weight * value.at(t, d), 0)
    return fround(fround(sum) * fround(peak / 16383))
  })
}

/** Exponentials of the scores, and the sums that follow, in f64. */
function checkExact({ value, valueDim }: Page, found: Trace, label: string): void {
  const tokens = found.scores.length
  const peak = Math.max(...found.scores)
  assert.is(found.state[0], peak, `${label}: maximum`)
  let total = 0
  for (const [t, score] of found.scores.entries()) {
    const exact = Math.exp(Math.max(score - peak, -87.33654))
    const error = Math.abs((found.exponentials[t] as number) - exact)
    // Rounding of the difference moves the exponent by half a unit of its last place.
    assert.ok(error <= exact * (2e-7 + Math.abs(score - peak) * 2 ** -24), `${label}: e^(${score} − ${peak})`)
    total += found.exponentials[t] as number
  }
  assert.ok(Math.abs((found.state[1] as number) - total) <= total * 20 * 2 ** -24, `${label}: sum`)
  const scaleOf = (t: number) => (value.isInt8 ? (value.scales[t] as number) : 1)
  const most = Math.max(...Array.from(found.exponentials, (e, t) => e * scaleOf(t)))
  for (let d = 0; d < valueDim; d++) {
    let exact = 0
    let size = 0
    for (const [t, e] of found.exponentials.entries()) {
      exact += e * scaleOf(t) * value.at(t, d)
      size += Math.abs(e * scaleOf(t) * value.at(t, d))
    }
    // Half a unit of each weight times the largest byte, or a rounding for each token.
    const bound = value.isInt8 ? ((most / 16383) * 128 * tokens) / 2 + size * 2 ** -20 : size * (tokens + 2) * 2 ** -24
    const error = Math.abs((found.sums[d] as number) - exact)
    // Weights below 1e-34 are too small to be quantised, and count as nothing.
    const nothing = value.isInt8 && most < 1e-34 ? size : 0
    assert.ok(error <= bound + nothing + 1e-44, `${label}, dim ${d}: ${found.sums[d]} for ${exact}`)
  }
}

test('int8: 400 random pages with one or several queries, both builds and both twins', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const one = page(seed, true)
    const [found, other] = engines.map((engine) => sweep(engine, one)) as [Trace[], Trace[]]
    assert.equal(other, found, `page ${seed}: the builds differ`)
    assert.equal(sweep(engines[seed % 2] as DebugEngine, one, false), found, `page ${seed}: one by one`)
    for (const [n, trace] of found.entries()) {
      const label = `page ${seed}, query ${n}, ${one.tokens[n]} tokens`
      assert.equal(Array.from(trace.scores, plus0), int8Scores(one, n).map(plus0), `${label}: scores`)
      assert.equal(Array.from(trace.sums, plus0), int8Values(one, trace.exponentials).map(plus0), `${label}: values`)
      checkExact(one, trace, label)
    }
  }
})

test('f32: 200 random pages with one or several queries, both builds and f64', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const one = page(seed, false)
    const [found, other] = engines.map((engine) => sweep(engine, one)) as [Trace[], Trace[]]
    assert.equal(other, found, `page ${seed}: the builds differ`)
    for (const [n, trace] of found.entries()) {
      const label = `page ${seed}, query ${n}, ${one.tokens[n]} tokens`
      for (const [t, score] of trace.scores.entries()) {
        let exact = 0
        let size = 0
        for (const { head, q } of one.views)
          for (const [d, value] of (q[n] as Float32Array).entries()) {
            exact += value * head.at(t, d) * one.scale
            size += Math.abs(value * head.at(t, d) * one.scale)
          }
        assert.ok(Math.abs(score - exact) <= size * 40 * 2 ** -24, `${label}: score ${score} for ${exact}`)
      }
      checkExact(one, trace, label)
    }
  }
})

const plus0 = (value: number) => value + 0

test.run()
