/** The trained GTA model: its f32 logits, prompt ids and greedy tokens are those of its float64 reference. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { load } from '../../host/index.ts'
import { runtimeOf } from '../../host/runtime/model.ts'
import { golden, readFloats, readJson, worst } from '../fixtures/goldens.ts'

const directory = golden('stories')
const reference = readJson(`${directory}/golden.json`)

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

test.run()
