/** The engine's thread: how host and worker talk. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { greedy, load } from '../host/index.ts'
import * as protocol from '../host/wasm/protocol.ts'
import { golden } from './goldens.ts'

test('a notification that comes late, or for nothing, does not end a step', async () => {
  const model = await load(golden('gta'), { type: 'q8', context: 128 })
  const { engine } = model
  const ids = Array.from({ length: 40 }, (_, i) => i)
  const expected = await model.logits(ids)
  const { words } = (engine as unknown as { team: { words: Int32Array } }).team
  const rows = ids.map((token, position) => ({ conversation: 0, position, token }))
  engine.rewind(0, 0)
  const before = Atomics.load(words, protocol.DONE)
  const step = engine.step(rows.map((row, i) => (i === 39 ? { ...row, sampling: greedy } : row)))
  // What the worker still does after a request that the host has seen to be done.
  Atomics.notify(words, protocol.DONE)
  await step
  assert.is(Atomics.load(words, protocol.DONE), before + 1, 'the step is done when its promise resolves')
  assert.equal(engine.logits(0).slice(), expected)
  await model.close()
})

test.run()
