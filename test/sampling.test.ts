/** The engine's sampler against a twin in TypeScript, id by id; and the settings of the host. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { finite, greedy, NO_TOKEN, type Weights } from '../host/engine/engine.ts'
import { checkSampling, defaultSampling, recommendedSampling } from '../host/engine/sampling.ts'
import { openWasmEngine } from '../host/engine/wasm/engine.ts'
import { GtaError } from '../host/errors.ts'
import type { Sampling } from '../host/index.ts'
import { derivedBytes, planModel } from '../models/index.ts'
import { CONTEXT, engineDraw, model, open, seeds, someLogits, twinDraw, VOCAB } from './fixtures/sampler-twin.ts'
import { Random } from './harness/debug-engine.ts'

test('greedy takes the most likely token, the lowest id among equals', () => {
  for (let i = 0; i < 300; i++) {
    const random = new Random(i)
    const logits = someLogits(random)
    const peak = Math.max(...logits)
    assert.is(engineDraw({ logits, sampling: greedy }), logits.indexOf(peak))
    const [a, b, c] = [random.below(VOCAB), random.below(VOCAB), random.below(VOCAB)]
    for (const id of [a, b, c]) logits[id] = 9
    assert.is(engineDraw({ logits, sampling: greedy }), Math.min(a, b, c))
  }
  assert.is(engineDraw({ logits: new Float32Array(VOCAB).fill(-3), sampling: greedy }), 0)
})

test('every setting alone and all together: the id that the twin chooses', () => {
  const kinds: Record<string, (random: Random) => Partial<Sampling>> = {
    'temperature alone': (random) => ({ temperature: random.pick([0.1, 0.8, 1, 3, 100]) }),
    'top-k': (random) => ({ topK: random.pick([1, 2, 3, 10, VOCAB - 1, VOCAB, VOCAB + 1, 2 ** 31]) }),
    'top-p': (random) => ({ topP: random.pick([0, 0.01, 0.3, 0.9, 0.999, 1]) }),
    'min-p': (random) => ({ minP: random.pick([0, 0.001, 0.05, 0.5, 1]) }),
    'top-k, then top-p of what it leaves': (random) => ({ topK: 2 + random.below(8), topP: random.next() }),
    'repeat penalty': (random) => ({ repeatPenalty: random.pick([0.5, 1.1, 1.5, 10]), repeatLastN: random.below(9) }),
    'all together': (random) => ({
      temperature: 0.2 + random.next() * 2,
      topK: random.below(60),
      topP: random.next(),
      minP: random.next() * 0.1,
      repeatPenalty: 1 + random.next() * 0.3,
      repeatLastN: random.below(2 * CONTEXT),
    }),
  }
  for (const [index, [name, settings]] of Object.entries(kinds).entries()) {
    const chosen = new Set<number>()
    for (let i = 0; i < 400; i++) {
      const random = new Random(index * 1000 + i)
      const logits = someLogits(random)
      const position = random.below(CONTEXT)
      const likely = [...logits.keys()].filter((id) => (logits[id] as number) > 2)
      const history = Array.from({ length: CONTEXT }, () => random.pick([...likely, random.below(VOCAB)]))
      const sampling = { ...open, ...settings(random), seed: seeds(random) }
      const draw = { logits, sampling, position, history }
      const found = engineDraw(draw)
      assert.is(found, twinDraw(draw), `${name}: ${JSON.stringify(sampling)} at ${position}`)
      chosen.add(found)
    }
    assert.ok(chosen.size > 20, `${name} chose ${chosen.size} different ids`)
  }
})

test('frequencies are those of the probabilities', () => {
  const logits = new Float32Array(VOCAB).fill(-80)
  const likely = [3, 50, 51, 120, 202]
  const probabilities = [0.4, 0.3, 0.15, 0.1, 0.05]
  for (const [i, id] of likely.entries()) logits[id] = Math.log(probabilities[i] as number) + 2
  const draws = 20000
  const count = (sampling: Sampling, positions: (i: number) => number) => {
    const found = new Map<number, number>()
    for (let i = 0; i < draws; i++) {
      const id = engineDraw({ logits, sampling: { ...sampling, seed: sampling.seed + i }, position: positions(i) })
      found.set(id, (found.get(id) ?? 0) + 1)
    }
    return found
  }
  // Seeds that follow each other, at one position; and neighbouring positions of neighbouring seeds.
  for (const positions of [() => 5, (i: number) => i % CONTEXT]) {
    const found = count({ ...open, seed: 1000 }, positions)
    const square = likely.reduce((sum, id, i) => {
      const expected = draws * (probabilities[i] as number)
      return sum + ((found.get(id) ?? 0) - expected) ** 2 / expected
    }, 0)
    // χ² of 4 degrees of freedom is above 18.5 once in a thousand.
    assert.ok(square < 18.5, `χ² = ${square}`)
  }
  // At temperature 0.5 the probabilities are squared.
  const cold = count({ ...open, temperature: 0.5 }, () => 0)
  const share = 0.4 ** 2 / probabilities.reduce((sum, p) => sum + p * p, 0)
  assert.ok(Math.abs((cold.get(3) ?? 0) / draws - share) < 0.015)
})

test('top-k 1, top-p 0 and min-p 1 keep exactly one', () => {
  for (let i = 0; i < 200; i++) {
    const random = new Random(i)
    // No two equal: min-p 1 keeps all that are as likely as the most likely one.
    const logits = Float32Array.from({ length: VOCAB }, () => random.signed() * 5)
    const expected = engineDraw({ logits, sampling: greedy })
    for (const one of [{ topK: 1 }, { topP: 0 }, { minP: 1 }])
      assert.is(engineDraw({ logits, sampling: { ...open, temperature: 50, ...one, seed: i } }), expected)
  }
})

test('top-p keeps the fewest that hold its share, of all or of what top-k left', () => {
  const draws = (logits: Float32Array, settings: Partial<Sampling>) => {
    const found = new Set<number>()
    for (let seed = 0; seed < 3000; seed++) found.add(engineDraw({ logits, sampling: { ...open, ...settings, seed } }))
    return [...found].sort((a, b) => a - b)
  }
  const even = new Float32Array(VOCAB)
  const first = (count: number) => Array.from({ length: count }, (_, id) => id)
  assert.equal(draws(even, { topP: 0.5 }), first(102)) // of 203
  assert.equal(draws(even, { topP: 0.5, topK: 8 }), first(4))
  assert.equal(draws(even, { topP: 0.51, topK: 8 }), first(5))
  assert.equal(draws(even, { topK: 8 }), first(8))
})

test('min-p looks at the ratio to the most likely, before temperature', () => {
  const logits = new Float32Array(VOCAB).fill(-50)
  logits[7] = 3
  logits[9] = 3 + Math.log(0.11)
  logits[11] = 3 + Math.log(0.09)
  const found = new Set<number>()
  for (let seed = 0; seed < 500; seed++)
    found.add(engineDraw({ logits, sampling: { ...open, temperature: 100, minP: 0.1, seed } }))
  assert.equal([...found].sort(), [7, 9])
})

test('the repeat penalty counts each token once, in its window, the sign of a logit respected', () => {
  const logits = new Float32Array(VOCAB).fill(-9)
  logits[4] = 6
  logits[5] = 3.5
  logits[6] = -1
  const choose = (history: number[], repeatPenalty: number, repeatLastN: number) =>
    engineDraw({ logits, position: history.length - 1, history, sampling: { ...greedy, repeatPenalty, repeatLastN } })
  assert.is(choose([4, 4, 4], 1.5, 64), 4) // 6 / 1.5 = 4, once
  assert.is(choose([4, 4, 4], 2, 64), 5) // 3 < 3.5
  assert.is(choose([4, 1, 1], 2, 2), 4) // out of the window
  assert.is(choose([4, 1, 1], 2, 3), 5)
  assert.is(choose([4, 5], 100, 64), 4) // 0.06 and 0.035
  assert.is(choose([4], 2, 0), 4) // no window
  assert.is(choose([4], 1, 64), 4) // off
  assert.is(choose([4], 2, 2 ** 31), 5) // longer than the text
  const negative = new Float32Array(VOCAB).fill(-9)
  negative[6] = -1
  negative[8] = -1.5
  const sampling = { ...greedy, repeatPenalty: 2 }
  assert.is(engineDraw({ logits: negative, position: 0, history: [6], sampling }), 8) // −2 < −1.5
})

test('extreme settings choose a possible token', () => {
  const extremes: Partial<Sampling>[] = [
    { temperature: 1e-3 },
    { temperature: 100 },
    { topK: VOCAB + 1 },
    { topK: 2 ** 31 },
    { topP: 1e-30 },
    { topP: 1 - 1e-9 },
    { minP: 1e-30 },
    { repeatPenalty: 100 },
    { repeatPenalty: 0.01 },
    { seed: Number.MAX_SAFE_INTEGER },
    { temperature: 100, topK: 2 ** 31, topP: 0.999999, minP: 1e-30, repeatPenalty: 0.01, repeatLastN: 2 ** 31 },
  ]
  const history = Array.from({ length: CONTEXT }, (_, i) => i)
  for (const size of [1e-30, 1, 50, 1e30, 1e38])
    for (const settings of extremes)
      for (let seed = 0; seed < 20; seed++) {
        const random = new Random(seed)
        const logits = Float32Array.from({ length: VOCAB }, () => random.signed() * size)
        const sampling = { ...open, seed, ...settings }
        const id = engineDraw({ logits, position: CONTEXT - 1, history, sampling })
        assert.ok(id < VOCAB, `${id} with ${JSON.stringify(settings)} and logits of ${size}`)
      }
})

test('a temperature too small to divide by is greedy, as its limit is', () => {
  for (const temperature of [1e-6, 1e-30, 1e-38, 1e-39, 1e-44, 1e-60])
    for (let seed = 0; seed < 20; seed++) {
      const random = new Random(seed)
      const logits = Float32Array.from({ length: VOCAB }, () => random.signed() * 5)
      const expected = engineDraw({ logits, sampling: greedy })
      assert.is(engineDraw({ logits, sampling: { ...open, temperature, seed } }), expected, `${temperature}`)
    }
})

test('a logit that is not finite is seen wherever it is', () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
    for (const at of [0, 1, 2, 3, 100, VOCAB - 4, VOCAB - 3, VOCAB - 2, VOCAB - 1])
      for (const sampling of [greedy, open]) {
        const logits = new Float32Array(VOCAB)
        logits[at] = value
        assert.is(engineDraw({ logits, sampling }), NO_TOKEN, `${value} at ${at}`)
      }
})

test('a row without finite logits has no token, and the engine can go on', async () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 3e38]) {
    const plan = planModel(model, 'f32')
    const load = async (weights: Weights) => {
      const target = new Uint8Array(plan.bytes)
      for (const tensor of plan.tensors) {
        target.set(derivedBytes(plan, tensor) ?? [], tensor.offset)
        const floats = new Float32Array(target.buffer, target.byteOffset + tensor.offset, tensor.bytes / 4)
        if (tensor.name === 'norm') floats.fill(1, 0, model.spec.hiddenDim)
        // Token 1 alone is all ones, so the last row of the head can make a bad logit from it, and from no other.
        if (tensor.name === 'embed') floats.fill(1, 16, 16 + model.spec.hiddenDim)
        if (tensor.name === 'head') floats.fill(value, 16 * (VOCAB - 1), 16 * (VOCAB - 1) + model.spec.hiddenDim)
      }
      await weights.write(0, target)
    }
    const options = { context: 16, cache: 'f32' as const, maxRows: 4, maxLogits: 1, conversations: 1 }
    const host = await openWasmEngine({ spec: model.spec, plan, options, load })
    try {
      const row = { conversation: 0, position: 0, token: 1 }
      await host.step([row]) // No logits, no error.
      const sampled = await host.step([{ ...row, sampling: greedy }])
      assert.equal([...sampled], [NO_TOKEN], `${value}`)
      assert.throws(
        () => finite(sampled),
        (error: unknown) => error instanceof GtaError && error.code === 'NOT_FINITE',
      )
      // 0 · 3e38 is a logit again.
      if (value === 3e38) assert.equal([...(await host.step([{ ...row, token: 0, sampling: greedy }]))], [0])
    } finally {
      await host.close()
    }
  }
})

test('settings are checked, and the error names the setting and its range', () => {
  const good: Sampling = { ...defaultSampling, seed: 1 }
  const bad: Record<string, unknown[]> = {
    temperature: [-0.1, 100.5, Number.NaN, Number.POSITIVE_INFINITY, '1', null],
    topK: [-1, 1.5, 2 ** 31 + 1, Number.NaN, '40'],
    topP: [-0.01, 1.01, Number.NaN],
    minP: [-0.01, 1.01, Number.NaN],
    repeatPenalty: [0, -1, 101, Number.NaN],
    repeatLastN: [-1, 0.5, Number.NaN],
    presencePenalty: [-2.1, 2.1, Number.NaN],
    frequencyPenalty: [-2.1, 2.1, Number.NaN, '0'],
    seed: [-1, 0.5, 2 ** 53, Number.NaN, 1n],
  }
  assert.equal(checkSampling(good), good)
  assert.equal(Object.keys(bad).sort(), Object.keys(good).sort())
  for (const [name, values] of Object.entries(bad))
    for (const value of values)
      assert.throws(
        () => checkSampling({ ...good, [name]: value } as Sampling),
        (error: GtaError) => error.code === 'BAD_OPTION' && error.message.startsWith(`${name} (-`),
        `${name} ${value}`,
      )
  const ends: Partial<Sampling>[] = [
    { temperature: 0 },
    { temperature: 100 },
    { topK: 0 },
    { topK: 2 ** 31 },
    { topP: 0 },
    { topP: 1 },
    { seed: 0 },
    { seed: Number.MAX_SAFE_INTEGER },
  ]
  for (const end of ends) checkSampling({ ...good, ...end })
})

test('a generation_config.json is advice: good fields are taken, bad ones ignored', () => {
  const full = { temperature: 0.6, top_k: 20, top_p: 0.9, min_p: 0.1, repetition_penalty: 1.2, do_sample: true }
  const expected = { temperature: 0.6, topK: 20, topP: 0.9, minP: 0.1, repeatPenalty: 1.2 }
  assert.equal(recommendedSampling(full), expected)
  for (const [field, name] of [
    ['temperature', 'temperature'],
    ['top_k', 'topK'],
    ['top_p', 'topP'],
    ['min_p', 'minP'],
    ['repetition_penalty', 'repeatPenalty'],
  ] as const)
    for (const value of ['1', null, undefined, -1, 1e12, [], {}, true, ...(field === 'top_k' ? [2.5] : [])]) {
      const { [name]: _, ...rest } = expected
      assert.equal(recommendedSampling({ ...full, [field]: value }), rest, `${field} ${value}`)
    }
  for (const nothing of [undefined, null, 5, 'text', [], {}]) assert.equal(recommendedSampling(nothing), {})
})

test.run()
