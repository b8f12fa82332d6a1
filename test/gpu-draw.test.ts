/** Tokens drawn on the host from logits that a GPU left are those that the WebAssembly engine draws from the same logits. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { greedy, NO_TOKEN, type Row, type Sampling } from '../host/engine/engine.ts'
import { drawFrom, exp1 } from '../host/engine/gpu/draw.ts'
import { chooseTokens, MOST_CANDIDATES, wantedOf } from '../host/engine/gpu/sample.ts'
import { type Draw, engineDraw, MASK_WORDS, VOCAB } from './fixtures/sampler-twin.ts'
import { Random } from './harness/debug-engine.ts'

const random = new Random(20261130)

/** What the device would give: all logits, or the best of them in no order. */
function deviceOf(logits: Float32Array, row: Row): ArrayBuffer[] {
  const wanted = wantedOf(row, logits.length)
  const order = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b)
  const best = Uint32Array.of(order[0] as number).buffer
  if (wanted.is === 'best') return [best]
  if (wanted.is === 'logits') return [best, logits.slice().buffer]
  const pairs = new Uint32Array(2 * wanted.count)
  const floats = new Float32Array(pairs.buffer)
  for (const [i, id] of order.slice(0, wanted.count).reverse().entries()) {
    floats[2 * i] = logits[id] as number
    pairs[2 * i + 1] = id
  }
  return [best, pairs.buffer]
}

/** What the host chooses, and how. */
function hostDraw({ logits, position = 0, history = [], ...draw }: Draw): { token: number; is: string } {
  const row: Row = { conversation: 1, token: 0, position, ...draw }
  const wanted = wantedOf(row, logits.length)
  const [token] = chooseTokens([row], [wanted], deviceOf(logits, row), (_, at) => history[at] as number)
  return { token: token as number, is: wanted.is }
}

const pick = <T>(values: readonly T[]): T => values[random.below(values.length)] as T

function someDraw(): Draw {
  const sampling: Sampling = {
    temperature: pick([0, 1e-31, 0.3, 1, 2.5]),
    topK: pick([0, 0, 1, 7, 40, 5000]),
    topP: pick([1, 1, 0.95, 0.5]),
    minP: pick([0, 0, 0.05, 0.3]),
    repeatPenalty: pick([1, 1, 1, 1.3]),
    repeatLastN: pick([0, 3, 64]),
    presencePenalty: pick([0, 0, 0, 0.6]),
    frequencyPenalty: pick([0, 0, 0, -0.4]),
    seed: Math.floor(2 ** 53 * random.next()),
  }
  const position = random.below(101)
  const draw: Draw = {
    // Coarse, so that some are equal; tied at the ends of top-k now and then.
    logits: Float32Array.from({ length: VOCAB }, () => Math.round(8 * (random.next() * 12 - 6)) / 8),
    ...{ sampling, position, history: Array.from({ length: position + 1 }, () => random.below(VOCAB)) },
    generatedFrom: random.below(position + 2),
  }
  if (pick([true, false, false]))
    draw.mask = Uint32Array.from({ length: MASK_WORDS }, () => pick([0, 0xffff_ffff, 2 ** 32 * random.next()]))
  if (pick([true, false, false]))
    draw.bias = { tokens: Uint32Array.of(3, 50, VOCAB - 1), values: Float32Array.of(2.5, -100, 0.1) }
  return draw
}

test('any settings draw the same token as the WebAssembly engine', () => {
  const ways = new Map<string, number>()
  const tokens = new Set<number>()
  for (let i = 0; i < 3000; i++) {
    const draw = someDraw()
    const { token, is } = hostDraw(draw)
    assert.is(token, engineDraw(draw), JSON.stringify({ ...draw, logits: undefined, history: undefined }))
    ways.set(is, (ways.get(is) ?? 0) + 1)
    tokens.add(token)
  }
  assert.ok(
    ['best', 'candidates', 'logits'].every((is) => (ways.get(is) ?? 0) > 100),
    JSON.stringify([...ways]),
  )
  assert.ok(tokens.size > 100)
})

test('a mask that allows nothing, and logits that are not finite, give no token', () => {
  const logits = new Float32Array(VOCAB)
  const sampling = { ...greedy, temperature: 1, topK: 2 }
  assert.is(hostDraw({ logits, sampling, mask: new Uint32Array(MASK_WORDS) }).token, NO_TOKEN)
  const row: Row = { conversation: 0, position: 0, token: 0, sampling }
  const read = [Uint32Array.of(NO_TOKEN).buffer, new ArrayBuffer(16)]
  assert.equal([...chooseTokens([row], [{ is: 'candidates', count: 2 }], read, () => 0)], [NO_TOKEN])
})

test('more candidates than the device looks for are taken from all logits', () => {
  const row = (topK: number): Row => ({
    conversation: 0,
    position: 0,
    token: 0,
    sampling: { ...greedy, temperature: 1, topK },
  })
  assert.equal(wantedOf(row(MOST_CANDIDATES), 50_000), { is: 'candidates', count: MOST_CANDIDATES })
  assert.equal(wantedOf(row(MOST_CANDIDATES + 1), 50_000), { is: 'logits' })
})

test('e^x has the ends and the middle of the other engine', () => {
  assert.is(exp1(0), 1)
  assert.ok(exp1(-1000) > 0 && exp1(-1000) < 1.3e-38)
  assert.ok(Math.abs(exp1(1) - Math.E) < 3e-7)
})

test('among equal logits the lower id is before the other', () => {
  const ids = Uint32Array.from({ length: 100 }, (_, i) => 99 - i)
  const drawn = { sampling: { ...greedy, temperature: 1, topK: 1 }, position: 3 }
  assert.is(drawFrom({ logits: new Float32Array(100).fill(3), ids }, false, drawn), 0)
})

test.run()
