/** Models side by side on one text: the divergence itself, and what compare() makes of it. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type GtaError, load } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { compare, type Difference, klDivergence } from '../host/tools/evaluate/compare.ts'
import { golden } from './goldens.ts'
import { encodeStories } from './tok512.ts'

const IDS = Array.from({ length: 90 }, (_, i) => (37 * i + 11 * (i % 7)) % 320)

const close = (found: number, expected: number, relative = 1e-9) =>
  assert.ok(Math.abs(found - expected) <= relative * Math.abs(expected), `${found} instead of ${expected}`)

async function rejects(promise: Promise<unknown>, code: string, ...words: string[]): Promise<void> {
  const error = await promise.then(
    () => assert.unreachable('it succeeded'),
    (reason: GtaError) => reason,
  )
  assert.is(error?.code, code, String(error))
  for (const word of words) assert.ok(error?.message.includes(word), `"${word}" is not in: ${error?.message}`)
}

test('divergences worked out by hand', () => {
  // (1/4, 3/4) against (1/2, 1/2), and back.
  close(klDivergence([0, Math.log(3)], [5, 5]), 0.25 * Math.log(0.5) + 0.75 * Math.log(1.5))
  close(klDivergence([5, 5], [0, Math.log(3)]), 0.5 * Math.log(2) + 0.5 * Math.log(2 / 3))
  // (1/2, 1/3, 1/6) against (1/6, 1/3, 1/2): 1/2 · ln 3 − 1/6 · ln 3.
  const logs = [3, 2, 1].map(Math.log)
  close(klDivergence(logs, logs.toReversed()), Math.log(3) / 3)
})

test('a divergence depends on differences of logits only, and of a thing with itself is nothing', () => {
  const p = Float32Array.of(3, -1.5, 0.25, 80, 79)
  assert.is(klDivergence(p, p), 0)
  // What is left is that log(1 + e) is rounded behind 10,000.
  assert.ok(Math.abs(klDivergence([1e4, 1e4 + 1], [-3, -2])) < 1e-20)
})

test('tiny and huge divergences keep their digits', () => {
  // Two tokens, one moved by d: d² / 8 to first order. The terms p · log(p / q) are as large as d.
  for (const d of [1e-3, 1e-5, 1e-7]) close(klDivergence([0, 0], [0, d]), d ** 2 / 8, 1e-6)
  close(klDivergence([0, -2000], [-2000, 0]), 2000)
  // e^−2000 is zero in float64, and 0 · ∞ must not come of it.
  close(klDivergence([0, 0], [0, -2000]), 1000 - Math.log(2))
  assert.ok(klDivergence([0, -1e30], [0, -2e30]) >= 0)
})

test('a model against itself differs in nothing, and is evaluated as evaluate() does', async () => {
  const [a, b] = [await load(golden('gta'), { maxLogits: 16 }), await load(golden('gta'), { maxLogits: 7 })]
  const progress: number[] = []
  const { tokens, predicted, window, results } = await compare(
    { label: 'a', model: a },
    [{ label: 'b', model: b }],
    IDS,
    {
      onProgress: (done) => progress.push(done),
    },
  )
  assert.equal([tokens, predicted, window], [90, 89, a.context])
  const alone = await a.evaluate(IDS)
  for (const [i, { label, nll, nllError, perplexity, seconds, ...differences }] of results.entries()) {
    assert.is(label, ['a', 'b'][i])
    close(nll, alone.nll, 1e-6)
    close(nllError, alone.nllError, 1e-6)
    assert.ok(seconds > 0)
    close(perplexity, Math.exp(nll))
    const nothing = { perplexityChange: 0, perplexityError: 0, meanKl: 0, maxKl: 0, topAgreement: 1 }
    assert.equal(differences, nothing)
  }
  // Slices of what the smaller engine gives, the last one shorter.
  assert.equal(progress, [...Array.from({ length: 12 }, (_, i) => 7 * (i + 1)), 89])
  await a.close()
  await b.close()
})

test('sums over all places, in windows of the smallest context', async () => {
  const reference = await load(golden('gta'), { type: 'f32', maxLogits: 64 })
  const other = await load(golden('gta'), { type: 'q4', maxLogits: 5, context: 32 })
  const { window, results } = await compare({ label: 'f32', model: reference }, [{ label: 'q4', model: other }], IDS)
  assert.is(window, 32)
  // The same from logits of each model alone, softmax by softmax.
  const logits: Float32Array[][] = []
  for (const model of [reference, other]) {
    const rows: Float32Array[] = []
    for await (const { count, logits } of model.predict(IDS, { window: 32 }))
      for (let i = 0; i < count; i++) rows.push(logits(i).slice())
    assert.is(rows.length, 89)
    logits.push(rows)
  }
  const softmax = (row: Float32Array) => {
    const total = row.reduce((sum, value) => sum + Math.exp(value), 0)
    return Array.from(row, (value) => Math.exp(value) / total)
  }
  const [p, q] = logits.map((rows) => rows.map(softmax)) as [number[][], number[][]]
  const mean = (numbers: number[]) => numbers.reduce((sum, n) => sum + n, 0) / numbers.length
  const divergences = p.map((row, i) =>
    row.reduce((sum, share, k) => sum + share * Math.log(share / (q[i]?.[k] as number)), 0),
  )
  const lossOf = (rows: number[][], i: number) => -Math.log(rows[i]?.[IDS[i + 1] as number] as number)
  const rises = p.map((_, i) => lossOf(q, i) - lossOf(p, i))
  const top = (row: number[]) => row.indexOf(Math.max(...row))
  const found = results[1] as Difference
  close(found.meanKl, mean(divergences), 1e-6)
  close(found.maxKl, Math.max(...divergences), 1e-6)
  assert.ok(found.meanKl > 1e-4, 'q4 differs')
  close(found.perplexityChange, Math.expm1(mean(rises)), 1e-6)
  const errorOf = (values: number[]) => Math.sqrt(mean(values.map((value) => (value - mean(values)) ** 2)) / 89)
  close(found.perplexityError, Math.exp(mean(rises)) * errorOf(rises), 1e-6)
  close(found.nllError, errorOf(q.map((_, i) => lossOf(q, i))), 1e-6)
  close(found.topAgreement, mean(p.map((row, i) => Number(top(row) === top(q[i] as number[])))))
  close(found.perplexity, Math.exp(mean(q.map((_, i) => lossOf(q, i)))), 1e-6)
  await reference.close()
  await other.close()
})

test('what cannot be compared is refused, and leaves the models free', async () => {
  const [a, b] = [await load(golden('gta')), await load(golden('gta'))]
  const stories = await load(golden('stories'))
  const named = (label: string, model = a) => ({ label, model })
  await rejects(compare(named('a'), [named('a', b)], IDS), 'BAD_OPTION', 'labels', '"a"')
  await rejects(compare(named('a'), [named('s', stories)], IDS), 'BAD_OPTION', '"s"', '320 tokens', '4096')
  await rejects(compare(named('a'), [named('b', b)], [1]), 'BAD_PROMPT', 'at least 2')
  await rejects(compare(named('a'), [named('b', b)], [1, 320]), 'BAD_PROMPT', '320')
  for (const options of [{ window: 0 }, { window: a.context + 1 }, { batch: 0 }, { batch: 1.5 }])
    await rejects(a.predict(IDS, options).next(), 'BAD_OPTION', Object.keys(options)[0] as string)
  const controller = new AbortController()
  const onProgress = () => controller.abort(Object.assign(new Error('enough'), { code: 'ENOUGH' }))
  await rejects(compare(named('a'), [named('b', b)], IDS, { signal: controller.signal, onProgress }), 'ENOUGH')
  for (const model of [a, b]) {
    // As many as there can be: none was left open.
    const conversations = Array.from({ length: runtimeOf(model).cache.facts.conversations }, () => model.open())
    for (const conversation of conversations) conversation.close()
    assert.is((await model.evaluate(IDS)).predicted, 89)
  }
  for (const model of [a, b, stories]) await model.close()
})

test('the int8 cache of the stories model changes little: the gate, on a short text', async () => {
  // f32 weights: with q8 ones, any change of a bit is rounded anew in every activation, and that would be measured.
  const open = (cache: 'f32' | 'int8') => load(golden('stories'), { type: 'f32', cache, maxLogits: 64 })
  const [f32, int8] = [await open('f32'), await open('int8')]
  const ids = f32.corpusIds(readFileSync(golden('stories/valid_slice.txt'), 'utf8')).slice(0, 1500)
  const { results } = await compare({ label: 'f32', model: f32 }, [{ label: 'int8', model: int8 }], ids)
  const { perplexityChange, meanKl, topAgreement } = results[1] as Difference
  assert.ok(Math.abs(perplexityChange) <= 0.001, `perplexity changes by ${100 * perplexityChange} %`)
  assert.ok(meanKl > 0 && meanKl <= 0.0005, `mean KL ${meanKl}`)
  assert.ok(topAgreement > 0.985, `${topAgreement} agree`)
  await f32.close()
  await int8.close()
})

test('the int8 cache of heads of 8 numbers keeps to the mean KL of the gate', async () => {
  const open = (cache: 'f32' | 'int8') => load(golden('stories260K'), { type: 'f32', cache, maxLogits: 64 })
  const [f32, int8] = [await open('f32'), await open('int8')]
  const ids = encodeStories(readFileSync(golden('stories/valid_slice.txt'), 'utf8')).flat()
  const { predicted, results } = await compare({ label: 'f32', model: f32 }, [{ label: 'int8', model: int8 }], ids)
  const { meanKl } = results[1] as Difference
  assert.ok(predicted >= 8000, `${predicted} tokens`)
  // 0.0013; with a scale of peak / 127 for every head it is 0.0026.
  assert.ok(meanKl > 0 && meanKl <= 0.002, `mean KL ${meanKl}`)
  await f32.close()
  await int8.close()
})

test.run()
