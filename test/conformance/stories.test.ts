/** The trained GTA model: f32 equals its float64 reference, and q8 with the int8 cache keeps its quality. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel, load, type Model } from '../../host/index.ts'
import type { Evaluation } from '../../host/runtime/api.ts'
import { runtimeOf } from '../../host/runtime/model.ts'
import { golden, readFloats, readJson, worst } from '../goldens.ts'

const directory = golden('stories')
const reference = readJson(`${directory}/golden.json`)
const slice = readFileSync(`${directory}/valid_slice.txt`, 'utf8')

test('f32 logits within 1e-3, the same prompt ids and greedy tokens', async () => {
  const model = await load(directory, { type: 'f32' })
  for (const [i, one] of reference.cases.entries()) {
    // The prompts begin with a written-out begin token, which stands for its id.
    const ids = runtimeOf(model).promptIds(one.prompt.replace('<|endoftext|>', ''))
    assert.equal(ids, one.prompt_ids)
    const prefill = worst(await model.logits(ids), readFloats(`${directory}/golden-case${i}-prefill.f32`))
    assert.ok(prefill <= 1e-3, `prefill differs by ${prefill}`)
    const fed = [...ids, ...one.greedy_ids.slice(0, 8)]
    const after = worst(await model.logits(fed), readFloats(`${directory}/golden-case${i}-after8.f32`))
    assert.ok(after <= 1e-3, `after 8 tokens differs by ${after}`)

    const generation = model.generate(ids, { temperature: 0, repeatPenalty: 1, maxTokens: one.greedy_ids.length })
    let result = await generation.next()
    while (!result.done) result = await generation.next()
    assert.equal(result.value.tokens, one.greedy_ids)
  }
  await model.close()
})

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
    const model = await load(directory, { type: 'f32', maxLogits: 64 })
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
  const { cost, agreement } = await costOf(() => load(defaultModel, { maxLogits: 64 }))
  // Measured: 0.22 % and 96.2 %.
  assert.ok(Math.abs(cost) <= 0.003, `perplexity changes by ${(100 * cost).toFixed(3)} %`)
  assert.ok(agreement >= 0.96, `${(100 * agreement).toFixed(2)} % agree`)
})

test('q4 with the int8 cache: perplexity within 2 %, 90.5 % of the most likely tokens', async () => {
  const { cost, agreement } = await costOf(() => load(directory, { type: 'q4', maxLogits: 64 }))
  // Measured: 1.62 % and 91.4 %.
  assert.ok(Math.abs(cost) <= 0.02, `perplexity changes by ${(100 * cost).toFixed(3)} %`)
  assert.ok(agreement >= 0.905, `${(100 * agreement).toFixed(2)} % agree`)
})

test.run()
