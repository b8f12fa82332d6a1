/** What may be sampled: masks, biases and the penalties for what was written, in the engine and through `generate()`. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { greedy, NO_TOKEN, type Sampling } from '../host/engine/engine.ts'
import { builds, singleBuilds } from '../host/engine/wasm/builds.ts'
import { type Generation, type GenerationStream, load } from '../host/index.ts'
import type { Constraint } from '../host/text/structured/constraint.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { CONTEXT, engineDraw, MASK_WORDS, open, seeds, someLogits, twinDraw, VOCAB } from './fixtures/sampler-twin.ts'
import { Random } from './harness/debug-engine.ts'
import { openEngine } from './harness/engines.ts'

/** A mask of these tokens, with rubbish behind the last token of the vocabulary. */
function maskOf(ids: Iterable<number>): Uint32Array {
  const mask = new Uint32Array(MASK_WORDS)
  for (const id of ids) (mask[id >> 5] as number) |= 1 << (id & 31)
  ;(mask[MASK_WORDS - 1] as number) |= -1 << (VOCAB & 31)
  return mask
}

const all = Array.from({ length: VOCAB }, (_, id) => id)

test('masks, biases and penalties alone and together: the id that the twin chooses, greedy and sampled', () => {
  const bias = (random: Random) => {
    const ids = all.filter(() => random.next() < 0.1)
    return { tokens: Uint32Array.from(ids), values: Float32Array.from(ids, () => random.signed() * 20) }
  }
  const mask = (random: Random) => {
    const share = random.pick([0, 0.02, 0.3, 0.9, 1])
    return maskOf([random.below(VOCAB), ...all.filter(() => random.next() < share)])
  }
  const penalties = (random: Random) => ({
    presencePenalty: random.signed() * 2,
    frequencyPenalty: random.signed() * 2,
  })
  const kinds: Record<string, (random: Random) => { sampling?: Partial<Sampling>; choice?: object }> = {
    'a mask': (random) => ({ choice: { mask: mask(random) } }),
    biases: (random) => ({ choice: { bias: bias(random) } }),
    presence: (random) => ({ sampling: { presencePenalty: random.signed() * 2 } }),
    frequency: (random) => ({ sampling: { frequencyPenalty: random.signed() * 2 } }),
    'all of them': (random) => ({
      sampling: { ...penalties(random), repeatPenalty: 0.5 + random.next(), repeatLastN: random.below(CONTEXT) },
      choice: { mask: mask(random), bias: bias(random) },
    }),
    'all of them, few candidates': (random) => ({
      sampling: { ...penalties(random), repeatPenalty: 1.2, topK: 5, topP: 0.9, minP: 0.01 },
      choice: { mask: mask(random), bias: bias(random) },
    }),
  }
  for (const [index, [name, settings]] of Object.entries(kinds).entries())
    for (const base of [greedy, open]) {
      const chosen = new Set<number>()
      for (let i = 0; i < 250; i++) {
        const random = new Random(index * 1000 + i)
        const logits = someLogits(random)
        const position = random.below(CONTEXT)
        const likely = [...logits.keys()].filter((id) => (logits[id] as number) > 2)
        const history = Array.from({ length: CONTEXT }, () => random.pick([...likely, random.below(VOCAB)]))
        const { sampling, choice } = settings(random)
        const generatedFrom = random.below(position + 2)
        const draw = { logits, position, history, generatedFrom, ...choice }
        const all = { ...draw, sampling: { ...base, ...sampling, seed: seeds(random) } }
        const found = engineDraw(all)
        assert.is(found, twinDraw(all), `${name} ${i}`)
        chosen.add(found)
      }
      assert.ok(chosen.size > 20, `${name} chose ${chosen.size} different ids`)
    }
})

test('only what was generated is counted, each time that it was', () => {
  const logits = new Float32Array(VOCAB).fill(-9)
  logits[4] = 3
  logits[5] = 2
  const choose = (history: number[], generatedFrom: number, sampling: Partial<Sampling>) =>
    engineDraw({
      logits,
      history,
      position: history.length - 1,
      generatedFrom,
      sampling: { ...greedy, ...sampling },
    })
  assert.is(choose([4, 4, 4], 0, { frequencyPenalty: 0.3 }), 4) // 3 − 0.9
  assert.is(choose([4, 4, 4, 4], 0, { frequencyPenalty: 0.3 }), 5) // 3 − 1.2
  assert.is(choose([4, 4, 4, 4], 1, { frequencyPenalty: 0.3 }), 4) // the first one is of the prompt
  assert.is(choose([4, 4, 4, 4], 4, { frequencyPenalty: 2 }), 4) // all are
  assert.is(choose([4, 4, 4, 4], 0, { presencePenalty: 0.9 }), 4) // once
  assert.is(choose([4, 1, 1, 1], 0, { presencePenalty: 1.1 }), 5)
  assert.is(choose([5, 5, 1, 1], 0, { frequencyPenalty: -1 }), 5) // 2 + 2
})

test('a mask of nothing has no token, bits behind the vocabulary are none', () => {
  for (const base of [greedy, open, { ...greedy, repeatPenalty: 2 }])
    assert.is(engineDraw({ logits: new Float32Array(VOCAB), sampling: base, mask: maskOf([]) }), NO_TOKEN)
})

async function drain(stream: GenerationStream): Promise<Generation> {
  for await (const _ of stream);
  return await stream.result
}

/** May write these tokens, one after the other, each one of a list; then nothing. */
function listed(lists: number[][], vocabSize: number): Constraint & { pushed: number[] } {
  const pushed: number[] = []
  const allowed = () => {
    const mask = new Uint32Array(Math.ceil(vocabSize / 32))
    for (const id of lists[pushed.length] ?? []) (mask[id >> 5] as number) |= 1 << (id & 31)
    return mask
  }
  return {
    pushed,
    allowed,
    push: (token) => pushed.push(token),
    get isComplete() {
      return pushed.length === lists.length
    },
  }
}

test('a masked row has the same token in every build and beside others', async () => {
  const mask = new Uint32Array(16)
  for (const id of [7, 31, 32, 300, 511]) (mask[id >> 5] as number) |= 1 << (id & 31)
  const found = new Set<string>()
  for (const build of [...builds, ...singleBuilds]) {
    const engine = await openEngine(golden('gta'), { type: 'q8', conversations: 3, build })
    try {
      const tokens: number[] = []
      for (let position = 0; position < 12; position++) {
        const sampling = position % 2 ? greedy : { ...open, seed: position }
        const rows = [0, 1, 2].map((conversation) => ({ conversation, position, token: 5 + position, sampling }))
        // Another one has another mask in the same step, the third has none.
        const masked = rows.map((row, i) =>
          i === 2 ? row : { ...row, mask: i === 0 ? mask : mask.map((word) => ~word) },
        )
        const sampled = await engine.step(masked)
        assert.ok([7, 31, 32, 300, 511].includes(sampled[0] as number), `${sampled[0]}`)
        assert.not.ok([7, 31, 32, 300, 511].includes(sampled[1] as number), `${sampled[1]}`)
        tokens.push(...sampled)
      }
      found.add(String(tokens))
    } finally {
      await engine.close()
    }
  }
  assert.is(found.size, 1)
})

test('a constraint: what is written is what it allows, it ends the text, and nothing is guessed', async () => {
  const model = await load(golden('stories'))
  try {
    const { vocabSize } = model.spec
    const lists = [[300, 301], [17], [5, 6, 7], [400], [9, 10]]
    for (const options of [{ temperature: 0 }, { temperature: 2, seed: 4 }, { temperature: 0, speculate: 4 }]) {
      const one = listed(lists, vocabSize)
      let ends: ReadonlySet<number> = new Set()
      const constraint = (parts: { ends: ReadonlySet<number> }) => {
        ends = parts.ends
        return one
      }
      const { tokens, finish, speculation } = await drain(
        model.generate('Once', { ...options, constraint, stopTokens: [3] }),
      )
      assert.is(finish, 'stop', `${tokens}`)
      assert.is(tokens.length, 5)
      for (const [i, token] of tokens.entries()) assert.ok(lists[i]?.includes(token), `${token} at ${i}`)
      assert.equal(one.pushed, tokens)
      assert.ok(ends.has(3) && ends.has(model.spec.eos[0] as number))
      if (speculation) assert.is(speculation.drafted, 0)
    }
    // An end token ends it, and is nothing for the constraint.
    const [eos] = model.spec.eos as [number]
    const ended = listed([[300], [eos], [17]], vocabSize)
    const { tokens, finish } = await drain(model.generate([5, 6], { temperature: 0, constraint: async () => ended }))
    assert.equal([tokens, finish, ended.pushed], [[300, eos], 'eos', [300]])
  } finally {
    await model.close()
  }
})

test('a constraint that allows nothing is an error, and the conversation can go on', async () => {
  const model = await load(golden('stories'))
  try {
    using conversation = model.open()
    const bits = (word: number) => new Uint32Array(Math.ceil(model.spec.vocabSize / 32) + 2).fill(word, -2)
    for (const mask of [bits(0), bits(~0), new Uint32Array()]) {
      const constraint = () => ({ allowed: () => mask, push: () => undefined, isComplete: false })
      const error = await failure(drain(conversation.generate('Once', { constraint })))
      assert.is(error.code, 'NOTHING_ALLOWED')
    }
    const broken = () => ({
      allowed: () => undefined,
      push: () => {
        throw new RangeError('of its own')
      },
      isComplete: false,
    })
    const error = await failure(drain(conversation.generate('Once', { constraint: broken })))
    assert.is(error.message, 'of its own')
    await drain(conversation.generate('Once', { maxTokens: 3 }))
    assert.ok(conversation.length > 3)
  } finally {
    await model.close()
  }
})

test.run()
