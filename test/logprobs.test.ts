/** What a generation tells besides its text: log probabilities, those of the prompt, usage, events; and biases of tokens. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Generation, type GenerationEvent, type GtaError, load, type ScoredToken } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { Sequence } from '../host/runtime/sequence.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'

const PROMPT = 'Once upon a time there was a little'
/** More than a page of the cache. */
const LONG = 'The cat saw the dog. The dog saw the cat and ran. '.repeat(8)
const model = await load(golden('stories'), { batch: 7, maxLogits: 4 })
test.after(() => model.close())

async function drain(
  stream: AsyncGenerator<string, Generation> & { result: Promise<Generation> },
): Promise<Generation> {
  for await (const _ of stream);
  return await stream.result
}

/** Log probabilities in f64 from logits that somebody else computed. */
function logSoftmax(logits: Float32Array): Float64Array {
  const peak = Math.max(...logits)
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - peak), 0)
  return Float64Array.from(logits, (logit) => logit - peak - Math.log(sum))
}

function expectScore(found: ScoredToken | undefined, id: number, expected: Float64Array, count: number): void {
  assert.is(found?.id, id)
  assert.ok(Math.abs((found?.logprob as number) - (expected[id] as number)) < 1e-9, `${found?.logprob}`)
  assert.equal(found?.bytes, model.tokenizer?.bytesOf(id))
  const best = [...expected.entries()].sort(([a, x], [b, y]) => y - x || a - b).slice(0, count)
  assert.equal(
    found?.top.map(({ id }) => id),
    best.map(([id]) => id),
  )
  for (const [i, { logprob }] of (found?.top ?? []).entries())
    assert.ok(Math.abs(logprob - (best[i]?.[1] as number)) < 1e-9)
}

test('log probabilities are those of the logits as they are, whatever else chooses; asking changes nothing', async () => {
  const settings = { temperature: 1.5, seed: 5, maxTokens: 8, repeatPenalty: 1.3, presencePenalty: 1, speculate: 3 }
  const plain = await drain(model.generate(PROMPT, settings))
  for (const count of [0, 1, 5, 20]) {
    const found = await drain(model.generate(PROMPT, { ...settings, logprobs: count }))
    assert.equal([found.tokens, found.logitsHash], [plain.tokens, plain.logitsHash])
    assert.is(found.logprobs?.length, found.tokens.length)
    const ids = [...model.promptIds(PROMPT)]
    for (const [i, id] of found.tokens.entries()) {
      expectScore(found.logprobs?.[i], id, logSoftmax(await model.logits(ids)), count)
      ids.push(id)
    }
  }
  assert.is(plain.logprobs, undefined)
})

test('log probabilities of the prompt, computed whole although the cache has it', async () => {
  const ids = model.promptIds(LONG)
  await drain(model.generate(LONG, { maxTokens: 3, temperature: 0 }))
  const plain = await drain(model.generate(LONG, { maxTokens: 3, temperature: 0 }))
  assert.ok(plain.cachedTokens > 0)
  for (const maxTokens of [0, 3]) {
    const found = await drain(model.generate(LONG, { maxTokens, temperature: 0, promptLogprobs: 2 }))
    if (maxTokens > 0) assert.equal([found.tokens, found.logitsHash], [plain.tokens, plain.logitsHash])
    assert.is(found.cachedTokens, 0)
    assert.is(found.promptLogprobs?.length, ids.length)
    assert.is(found.promptLogprobs?.[0], undefined)
    for (let i = 1; i < ids.length; i += 17)
      expectScore(found.promptLogprobs?.[i], ids[i] as number, logSoftmax(await model.logits(ids.slice(0, i))), 2)
  }
})

test('tokens of half a character have bytes', async () => {
  const tokenizer = model.tokenizer
  const half = Array.from({ length: model.spec.vocabSize }, (_, id) => id).find(
    (id) => tokenizer?.bytesOf(id).length === 1 && (tokenizer.bytesOf(id)[0] as number) >= 0xc2,
  ) as number
  const { logprobs, text } = await drain(
    model.generate(PROMPT, { maxTokens: 1, logitBias: { [half]: 100 }, logprobs: 0, temperature: 0 }),
  )
  assert.equal(logprobs?.[0]?.bytes, tokenizer?.bytesOf(half))
  assert.is(text, '\ufffd')
  assert.ok((logprobs?.[0]?.logprob as number) < -1, 'the bias is no part of the probability')
})

test('a bias makes a token come, or never come; it is checked', async () => {
  const settings = { maxTokens: 12, temperature: 0 }
  const plain = await drain(model.generate(PROMPT, settings))
  const [first] = plain.tokens as [number]
  const without = await drain(model.generate(PROMPT, { ...settings, logitBias: { [first]: -100 } }))
  assert.not.ok(without.tokens.includes(first))
  const always = await drain(model.generate(PROMPT, { ...settings, logitBias: { 300: 100, 301: 0 } }))
  assert.equal(always.tokens, new Array(12).fill(300))
  assert.equal((await drain(model.generate(PROMPT, { ...settings, logitBias: {} }))).tokens, plain.tokens)
  for (const bad of [
    { x: 1 },
    { [model.spec.vocabSize]: 1 },
    { 1: 101 },
    { 1: Number.NaN },
    { 1: '1' },
    [1],
    5,
    null,
  ]) {
    const error = (await failure(drain(model.generate(PROMPT, { logitBias: bad as never })))) as GtaError
    assert.is(error.code, 'BAD_OPTION', JSON.stringify(bad))
    assert.match(error.message, 'logitBias (--logit-bias)')
  }
  for (const bad of [{ logprobs: 21 }, { logprobs: -1 }, { promptLogprobs: 0.5 }])
    assert.is(((await failure(drain(model.generate(PROMPT, bad)))) as GtaError).code, 'BAD_OPTION')
})

test('penalties end a loop: what was written often comes no more', async () => {
  const loop = { maxTokens: 40, temperature: 0, logitBias: { 300: 25 } }
  const plain = await drain(model.generate(PROMPT, loop))
  const count = ({ tokens }: Generation) => tokens.filter((id) => id === 300).length
  const once = await drain(model.generate(PROMPT, { ...loop, frequencyPenalty: 2 }))
  const guessed = await drain(model.generate(PROMPT, { ...loop, frequencyPenalty: 2, speculate: 8 }))
  assert.ok(count(once) < count(plain), `${count(once)} of ${count(plain)}`)
  assert.equal(guessed.tokens, once.tokens)
  // What the prompt says does not count.
  const ids = new Array(30).fill(300)
  const first = await drain(model.generate(ids, { maxTokens: 1, temperature: 0 }))
  const second = await drain(
    model.generate(ids, { maxTokens: 1, temperature: 0, frequencyPenalty: 2, presencePenalty: 2 }),
  )
  assert.equal(second.tokens, first.tokens)
})

test('what was generated counts as long as it is not forgotten', async () => {
  const feeds: (number | undefined)[] = []
  const small = await load(golden('stories'), { context: 256 })
  try {
    const { cache } = runtimeOf(small)
    const step = cache.step.bind(cache)
    cache.step = (rows) => {
      for (const row of rows) if (row.sampling) feeds.push(row.generatedFrom)
      return step(rows)
    }
    const prompt = Array.from({ length: 150 }, (_, i) => 300 + i)
    const options = { contextPolicy: 'window', keep: 64, maxTokens: 300, presencePenalty: 1, seed: 1 } as const
    await drain(small.generate(prompt, options))
    // Of the prompt; then where the text begins, and, page by page that is forgotten, before it; never in the kept page.
    assert.is(feeds[0], undefined)
    assert.equal([...new Set(feeds.slice(1))], [150, 86, 64])
  } finally {
    await small.close()
  }
})

test('events: the prompt, each token with its text, the end; the pieces are the texts', async () => {
  const settings = { maxTokens: 10, temperature: 0, logprobs: 1, stop: [' the'] }
  const pieces: string[] = []
  const stream = model.generate(LONG, settings)
  for await (const piece of stream) pieces.push(piece)
  const expected = await stream.result
  const events: GenerationEvent[] = []
  const other = model.generate(LONG, settings)
  for await (const event of other.events()) events.push(event)
  const prefill = events.filter((event) => event.type === 'prefill')
  const tokens = events.filter((event) => event.type === 'token')
  const ids = model.promptIds(LONG)
  assert.ok(prefill.length > 0)
  const { done, total, cached } = prefill.at(-1) as (typeof prefill)[number]
  assert.equal([done, total], [ids.length, ids.length])
  assert.ok(cached >= 64 && cached < ids.length, `${cached} lay in the cache`)
  assert.equal(
    tokens.map(({ id }) => id),
    expected.tokens,
  )
  assert.equal(tokens.map(({ text }) => text).join(''), expected.text)
  assert.equal(
    tokens.map(({ text }) => text).filter((text) => text !== ''),
    pieces,
  )
  assert.equal(
    tokens.map(({ logprob }) => logprob),
    expected.logprobs?.map(({ logprob }) => logprob),
  )
  const end = events.at(-1) as GenerationEvent & { type: 'end' }
  assert.is(end.type, 'end')
  assert.is(end.result, await other.result)
  const { usage } = end.result
  assert.equal(usage, { promptTokens: ids.length, cachedTokens: cached, completionTokens: expected.tokens.length })
})

test('who leaves while the prompt is read ends that, and the conversation is as it was', async () => {
  using conversation = model.open()
  const long = Array.from({ length: 100 }, (_, i) => i + 5)
  const events = conversation.generate(long, { maxTokens: 5 }).events()
  const { value } = await events.next()
  assert.is(value.type, 'prefill')
  await events.return?.()
  assert.equal(await events.next(), { done: true, value: undefined })
  assert.is(conversation.length, 0)
  assert.ok((value.done as number) < 100)
  await drain(conversation.generate(long, { maxTokens: 5 }))
  assert.is(conversation.tokens.length, 105)
})

test('an error comes out of the events, once', async () => {
  const controller = new AbortController()
  const events = model.generate(PROMPT, { signal: controller.signal }).events()
  const reason = new Error('enough')
  for (;;) {
    const { value } = await events.next()
    if (value.type !== 'token') continue
    controller.abort(reason)
    break
  }
  assert.is(await failure(events.next()), reason)
  assert.equal(await events.next(), { done: true, value: undefined })
})

test('scores are of this conversation, whoever shares its steps', async () => {
  const alone = await drain(model.generate(PROMPT, { maxTokens: 6, temperature: 0, logprobs: 3, promptLogprobs: 3 }))
  using sequence = new Sequence(runtimeOf(model), {})
  assert.is(sequence.length, 0)
  const others = [1, 2, 3].map((seed) =>
    drain(model.generate(`${seed} cats and ${seed} dogs`, { maxTokens: 20, seed, logprobs: 1 })),
  )
  const beside = await drain(model.generate(PROMPT, { maxTokens: 6, temperature: 0, logprobs: 3, promptLogprobs: 3 }))
  await Promise.all(others)
  assert.equal(beside.logprobs, alone.logprobs)
  assert.equal(beside.promptLogprobs, alone.promptLogprobs)
})

test.run()
