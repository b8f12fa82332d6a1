/** The trained GTA model on a held-out text: f32 has the perplexity of the float64 reference; q8 and q4 with the int8 cache keep it. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel, load, type Model } from '../../host/index.ts'
import type { Evaluation } from '../../host/runtime/api.ts'
import { golden, readJson } from '../fixtures/goldens.ts'

const directory = golden('stories')
const reference = readJson(`${directory}/golden.json`)
/** The other cores are other test files'; what comes out does not depend on it. */
const threads = 1
const slice = readFileSync(`${directory}/valid_slice.txt`, 'utf8')

/** What a type costs on the held-out slice with the int8 cache, against f32 weights and cache. */
async function costOf(open: () => Promise<Model>): Promise<{ cost: number; agreement: number }> {
  const { ids, expected } = await exact()
  const model = await open()
  assert.is(model.cacheType, 'int8')
  const found = await model.evaluate(ids)
  await model.close()
  const agreeing = found.top.filter((token, i) => token === expected.top[i]).length
  return { cost: found.perplexity / expected.perplexity - 1, agreement: agreeing / found.predicted }
}

let reading: Promise<{ ids: number[]; expected: Evaluation }> | undefined
const exact = () => {
  reading ??= (async () => {
    const model = await load(directory, { type: 'f32', maxLogits: 64, threads })
    const ids = model.corpusIds(slice)
    assert.is(ids.length, reference.validation.tokens)
    const expected = await model.evaluate(ids)
    await model.close()
    assert.ok(Math.abs(expected.nll - reference.validation.mean_nll) < 1e-5, `f32 nll ${expected.nll}`)
    return { ids, expected }
  })()
  return reading
}

test('q8 with the int8 cache: perplexity within 0.3 %, 96 % of the most likely tokens', async () => {
  // The committed file, so that what is shipped is what is measured.
  const { cost, agreement } = await costOf(() => load(defaultModel, { maxLogits: 64, threads }))
  // Measured: 0.22 % and 96.2 %.
  assert.ok(Math.abs(cost) <= 0.003, `perplexity changes by ${(100 * cost).toFixed(3)} %`)
  assert.ok(agreement >= 0.96, `${(100 * agreement).toFixed(2)} % agree`)
})

test('q4 with the int8 cache: perplexity within 2 %, 90.5 % of the most likely tokens', async () => {
  const { cost, agreement } = await costOf(() => load(directory, { type: 'q4', maxLogits: 64, threads }))
  // Measured: 1.62 % and 91.4 %.
  assert.ok(Math.abs(cost) <= 0.02, `perplexity changes by ${(100 * cost).toFixed(3)} %`)
  assert.ok(agreement >= 0.905, `${(100 * agreement).toFixed(2)} % agree`)
})

test.run()
