/** Every attention kind with q4 weights and the int8 cache: all builds compute the same, and it is the same model. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { debugBuild } from '../../host/engine/wasm/builds.ts'
import { golden, kinds, readGolden } from '../fixtures/goldens.ts'
import { feed, openEngine, relaxed, strict } from '../harness/engines.ts'

/** Share of the size of b that a differs by. */
function difference(a: ArrayLike<number>, b: readonly number[]): number {
  let squares = 0
  let total = 0
  for (const [i, value] of b.entries()) {
    squares += ((a[i] as number) - value) ** 2
    total += value ** 2
  }
  return Math.sqrt(squares / total)
}

for (const kind of kinds)
  test(`${kind}: relaxed, strict and debug build have the same logits, near those of f32`, async () => {
    const { cases } = readGolden(kind)
    const traces = []
    for (const build of [relaxed, strict, debugBuild]) {
      const engine = await openEngine(golden(kind), { type: 'q4', build })
      const trace = []
      for (const { prompt_ids: prompt, greedy_ids: tokens } of cases) {
        engine.rewind(0, 0)
        trace.push(await feed(engine, prompt))
        for (const [i, token] of tokens.entries()) trace.push(await feed(engine, [token], { from: prompt.length + i }))
      }
      await engine.close()
      traces.push(trace)
    }
    assert.equal(traces[1], traces[0], 'strict')
    assert.equal(traces[2], traces[0], 'debug')
    // Random weights have no redundancy: 0.14 to 0.28 were measured. A wrong scale or row would be 1 and more.
    const prefill = traces[0]?.[0] as Float32Array
    const lost = difference(prefill, cases[0]?.prefill_logits_last as number[])
    assert.ok(lost < 0.35, `${lost} of the logits' size`)
  })

test.run()
