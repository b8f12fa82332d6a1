/** Tokens drawn on the host from logits that a GPU left are those that the WebAssembly engine draws from the same logits. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { greedy, type Row, type Sampling } from '../host/engine/engine.ts'
import { candidatesOf, drawFrom, exp1 } from '../host/engine/gpu/draw.ts'
import { chooseTokens, MOST_CANDIDATES, wantedOf } from '../host/engine/gpu/sample.ts'
import { golden, readGolden } from './fixtures/goldens.ts'
import { openEngine } from './harness/engines.ts'

const settings: Partial<Sampling>[] = [
  {},
  { temperature: 1 },
  { temperature: 0.7, topK: 1 },
  { temperature: 0.7, topK: 40, topP: 0.9 },
  { temperature: 1.3, topK: 40, topP: 0.5, minP: 0.05 },
  { temperature: 0.9, topP: 0.95 },
  { temperature: 0.9, minP: 0.2 },
  { temperature: 2, topK: 5000, topP: 0.99 },
  { temperature: 0, repeatPenalty: 1.8, repeatLastN: 4 },
  { temperature: 1, topK: 20, repeatPenalty: 1.2, repeatLastN: 64 },
  { temperature: 1e-31, topK: 3 },
]

/** What the device would give: all logits, or the best of them in no order. */
function deviceOf(logits: Float32Array, row: Row): ArrayBuffer[] {
  const wanted = wantedOf(row, logits.length)
  const order = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b)
  const best = Uint32Array.of(order[0] as number).buffer
  if (wanted.is === 'best') return [best]
  if (wanted.is === 'logits') return [best, logits.slice().buffer]
  const pairs = new Uint32Array(2 * wanted.count)
  for (const [i, id] of order.slice(0, wanted.count).reverse().entries()) {
    new Float32Array(pairs.buffer)[2 * i] = logits[id] as number
    pairs[2 * i + 1] = id
  }
  return [best, pairs.buffer]
}

test('every setting draws the same token as the WebAssembly engine', async () => {
  const engine = await openEngine(golden('gta'), { type: 'f32' })
  try {
    const prompt = readGolden('gta').cases[0]?.prompt_ids as number[]
    const kinds = new Set<string>()
    const drawn = new Set<number>()
    for (const setting of settings)
      for (let seed = 0; seed < 12; seed++) {
        engine.rewind(0, 0)
        const sampling = { ...greedy, ...setting, seed: seed * 7_777_777_777_777 }
        const rows = prompt.map((token, position) => ({ conversation: 0, position, token }))
        const row: Row = { ...(rows.at(-1) as Row), sampling }
        const [expected] = await engine.step([...rows.slice(0, -1), row])
        const logits = await engine.logits(0)
        const wanted = wantedOf(row, logits.length)
        const latest = prompt.slice(-Math.min(prompt.length, sampling.repeatLastN))
        const [token] = chooseTokens([row], [wanted], deviceOf(logits, row), () => latest)
        assert.is(token, expected, `${JSON.stringify(setting)}, seed ${seed}`)
        kinds.add(wanted.is)
        drawn.add(expected as number)
      }
    assert.equal([...kinds].sort(), ['best', 'candidates', 'logits'])
    assert.ok(drawn.size > 20, `found ${drawn.size} different tokens only`)
  } finally {
    await engine.close()
  }
})

test('a token that the device could not pick is not drawn either', () => {
  const row: Row = { conversation: 0, position: 0, token: 0, sampling: { ...greedy, temperature: 1, topK: 2 } }
  const picked = Uint32Array.of(0xffff_ffff).buffer
  assert.equal(
    [...chooseTokens([row], [{ is: 'candidates', count: 2 }], [picked, new ArrayBuffer(16)], () => [])],
    [0xffff_ffff],
  )
  assert.ok(MOST_CANDIDATES >= 1024)
})

test('e^x has the ends and the middle of the other engine', () => {
  assert.is(exp1(0), 1)
  assert.ok(exp1(-1000) > 0 && exp1(-1000) < 1.3e-38)
  assert.ok(Math.abs(exp1(1) - Math.E) < 3e-7)
})

test('among equal logits the lower id is before the other', () => {
  const sampling = { ...greedy, temperature: 1, topK: 1 }
  const logits = new Float32Array(100).fill(3)
  for (let seed = 0; seed < 5; seed++)
    assert.is(drawFrom(candidatesOf(logits, [], 1), true, { sampling: { ...sampling, seed }, position: seed }), 0)
})

test.run()
