/**
 * Bit identity: how rows are grouped into steps must not change a bit of what they compute. Prompts longer than a page
 * (64 tokens), so that the combination of pages is part of it.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { greedy } from '../host/engine/engine.ts'
import { load } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { golden, kinds } from './fixtures/goldens.ts'

const ids = Array.from({ length: 150 }, (_, i) => (i * 37 + 11) % 320)

async function logitsInSlices(kind: string, batch: number, options: object): Promise<Float32Array> {
  const model = await load(golden(kind), { batch, context: 128, ...options })
  try {
    return await model.logits(ids.slice(0, 120))
  } finally {
    await model.close()
  }
}

for (const kind of kinds)
  for (const type of ['q8', 'f32'] as const)
    test(`${kind} ${type}: prefill at once = token by token = in threes`, async () => {
      const [atOnce, single, threes] = await Promise.all(
        [120, 1, 3].map((batch) => logitsInSlices(kind, batch, { type })),
      )
      assert.equal(single, atOnce)
      assert.equal(threes, atOnce)
    })

test('rewind, then go on, equals a fresh run', async () => {
  const model = await load(golden('gta'), { type: 'q8', context: 128, maxLogits: 1 })
  const { cache } = runtimeOf(model)
  const feed = async (tokens: number[], from: number) => {
    for (const [i, token] of tokens.entries())
      await cache.step([{ conversation: 0, position: from + i, token, sampling: greedy }])
    return (await cache.logits(0)).slice()
  }
  const fresh = await feed(ids.slice(0, 100), 0)
  // A detour over other tokens and a second page, back to the middle of the first, and the same way again.
  cache.rewind(0, 30)
  await feed(ids.slice(50, 120), 30)
  cache.rewind(0, 30)
  assert.equal(await feed(ids.slice(30, 100), 30), fresh)
  await model.close()
})

test('what an earlier prompt left in the cache does not matter', async () => {
  const alone = await load(golden('gta'), { type: 'q8', context: 128 })
  const expected = await alone.logits(ids.slice(0, 70))
  // The same model after other work: what earlier prompts left in the cache must not matter.
  await alone.logits(ids.slice(20, 120))
  assert.equal(await alone.logits(ids.slice(0, 70)), expected)
  await alone.close()
})

test.run()
