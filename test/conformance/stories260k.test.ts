/**
 * stories260K, a real trained GQA model (karpathy/tinyllamas): the greedy text of 200 steps, 64 positions of logits, and
 * what q8 costs on text at 64 dims, where quantisation is hardest.
 */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { load } from '../../host/index.ts'
import { runtimeOf } from '../../host/runtime/model.ts'
import { golden, readFloats, readJson, worst } from '../fixtures/goldens.ts'
import { encode, pieces } from '../fixtures/tok512.ts'

const directory = golden('stories260K')

test('writes the known 200 steps', async () => {
  const model = await load(directory, { type: 'f32' })
  const generation = model.generate([1], { maxTokens: 200, temperature: 0, stopAtEos: false })
  let result = await generation.next()
  while (!result.done) result = await generation.next()
  const text = result.value.tokens.map((id) =>
    pieces[id]?.piece.replace(/^<0x(..)>$/, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
  )
  assert.is(result.value.tokens.length, 200)
  assert.is(text.join('').trim(), readFileSync(`${directory}/expected_200_tokens.txt`, 'utf8').trim())
  await model.close()
})

test('64 positions of logits within 1e-3', async () => {
  const { fed_ids, next_id } = readJson(`${directory}/golden_once_64.json`)
  const expected = readFloats(`${directory}/golden_once_64.f32`)
  const model = await load(directory, { type: 'f32', maxLogits: 64 })
  const { top } = await model.evaluate([...fed_ids, next_id])
  for (let i = 0; i < 64; i++) {
    const difference = worst(await runtimeOf(model).cache.logits(i), expected.subarray(i * 512, (i + 1) * 512))
    assert.ok(difference <= 1e-3, `position ${i} differs by ${difference}`)
  }
  assert.is(top[63], next_id)
  await model.close()
})

test('q8 with the int8 cache costs less than 1 % of perplexity', async () => {
  // Held-out stories of another tokenizer's slice: this model was trained on their like.
  const text = readFileSync(golden('stories/valid_slice.txt'), 'utf8').split('<|endoftext|>').slice(1, 7)
  const losses: Record<string, number> = {}
  for (const type of ['f32', 'q8'] as const) {
    const model = await load(directory, { type, maxLogits: 64 })
    let nll = 0
    let predicted = 0
    for (const story of text) {
      const result = await model.evaluate([1, ...encode(story)])
      nll += result.nll * result.predicted
      predicted += result.predicted
    }
    assert.ok(predicted > 1000, `${predicted} tokens say something`)
    losses[type] = nll / predicted
    await model.close()
  }
  const cost = Math.exp((losses.q8 as number) - (losses.f32 as number)) - 1
  assert.ok(Math.abs(cost) <= 0.01, `perplexity changes by ${(100 * cost).toFixed(2)} %`)
})

test.run()
