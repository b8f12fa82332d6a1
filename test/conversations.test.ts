/**
 * Conversations through the public API: none can tell that there are others, where it was forked, what lay in the cache
 * before it, or that tokens were guessed. "The same" is always to the last bit: tokens, and the hash of the last logits.
 */
import { setImmediate as tick } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { greedy } from '../host/engine/engine.ts'
import {
  type Conversation,
  defaultModel,
  type ErrorCode,
  type GenerateOptions,
  type Generation,
  GtaError,
  type LoadOptions,
  load,
  type Model,
  OutOfMemoryError,
} from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { promptLookup } from '../host/runtime/sampler.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden, kinds } from './fixtures/goldens.ts'
import { feed, openEngine, strict } from './harness/engines.ts'

const MEGABYTE = 2 ** 20
const roomy: LoadOptions = { threads: 1, cacheMemory: 16 * MEGABYTE }
const stories = await load(defaultModel, { ...roomy, context: 256 })
const small = await load(golden('gta'), roomy)
test.after(async () => {
  await Promise.all([stories.close(), small.close()])
})

type Stream = AsyncGenerator<string, Generation>

async function finish(stream: Stream): Promise<Generation> {
  for (;;) {
    const { done, value } = await stream.next()
    if (done) return value
  }
}

const trace = ({ tokens, text, finish, logitsHash }: Generation) => ({ tokens, text, finish, logitsHash })
const fresh = async (model: Model, ids: number[], options: GenerateOptions) =>
  trace(await finish(model.generate(ids, options)))
const goOn = async (conversation: Conversation, ids: number[] | undefined, options: GenerateOptions) =>
  trace(await finish(conversation.generate(ids, options)))

/** Ids for all golden models; other salts have nothing in common. */
const ids = (length: number, salt = 0) => Array.from({ length }, (_, i) => (i * 37 + salt * 11 + 5) % 320)

const samplings: GenerateOptions[] = [
  { temperature: 0 },
  { temperature: 1, seed: 5 },
  { temperature: 0.7, seed: 2 ** 40 + 1, repeatPenalty: 1.3, repeatLastN: 20 },
  { temperature: 0, repeatPenalty: 1.2 },
  { temperature: 1.2, topK: 0, topP: 0.9, minP: 0, seed: 7 },
]
const samplingOf = (i: number) => samplings[i % samplings.length] as GenerateOptions

async function expectCode(promise: Promise<unknown>, code: ErrorCode, text: RegExp = /./): Promise<void> {
  const error = await failure(promise)
  assert.instance(error, GtaError, `${error.stack}`)
  assert.is(error.code, code)
  assert.match(error.message, text)
}

async function withModel<T>(path: string | URL, options: LoadOptions, use: (model: Model) => Promise<T>): Promise<T> {
  await using model = await load(path, options)
  return await use(model)
}

/** 32 prompts of different lengths with different settings, whatever the context. */
const crowd = Array.from({ length: 32 }, (_, i) => ({
  prompt: ids(1 + ((i * 29) % 90), i),
  options: { ...samplingOf(i), maxTokens: 3 + ((i * 7) % 22) },
}))

/** Half of them at once, the others while those are under way; some neighbours leave early. */
async function together(model: Model, streams: Stream[]): Promise<Generation[]> {
  const results = await Promise.all(
    streams.map(async (stream, i) => {
      for (let turn = 0; turn < (i % 2) * 5 * i; turn++) await tick()
      return finish(stream)
    }),
  )
  assert.is(runtimeOf(model).scheduler.active, 0)
  return results
}

for (const kind of [...kinds, 'stories'])
  test(`${kind}: 32 conversations in parallel are what each is alone`, async () => {
    const path = kind === 'stories' ? defaultModel : golden(kind)
    await withModel(path, { ...roomy, context: 128, threads: kind === 'gta' ? 2 : 1 }, async (model) => {
      const alone: Generation[] = []
      // Two that differ in their settings only begin with the same pages.
      for (const { prompt, options } of crowd) alone.push(await finish(model.generate(prompt, options)))
      const generated = await together(
        model,
        crowd.map(({ prompt, options }) => model.generate(prompt, options)),
      )
      assert.equal(generated.map(trace), alone.map(trace))
      if (!['gta', 'mla', 'stories'].includes(kind)) return
      const opened = crowd.map(() => model.open())
      const streams = crowd.map(({ prompt, options }, i) => (opened[i] as Conversation).generate(prompt, options))
      assert.equal((await together(model, streams)).map(trace), alone.map(trace))
      for (const conversation of opened) conversation.close()
      assert.is(runtimeOf(model).cache.use.usedBytes, 0)
    })
  })

test('neighbours that leave early, are aborted or fail do not change what the others get, in a cold cache', async () => {
  const some = crowd.slice(0, 12)
  const alone = await Promise.all(some.map(({ prompt, options }) => fresh(small, prompt, options)))
  await withModel(golden('gta'), { ...roomy, batch: 16 }, async (model) => {
    const neighbour = async (i: number) => {
      for (let turn = 0; turn < 4 * i; turn++) await tick()
      const stop = new AbortController()
      const stream = model.generate(ids(70 + i, 40 + i), {
        signal: stop.signal,
        onToken: () => {
          if (i % 3 === 0) stop.abort()
          if (i % 3 === 1) throw new Error('own')
        },
      })
      const end = finish(stream).catch((error: Error) => error.name)
      if (i % 3 === 2) await stream.return(undefined as never)
      return end
    }
    const [found] = await Promise.all([
      Promise.all(some.map(async ({ prompt, options }) => fresh(model, prompt, options))),
      Promise.all(Array.from({ length: 18 }, (_, i) => neighbour(i))),
    ])
    assert.equal(found, alone)
    assert.is(runtimeOf(model).cache.use.usedBytes, 0)
  })
})

for (const kind of ['gta', 'gqa', 'mla', 'gla', 'tied'])
  test(`${kind}: a fork anywhere, and both sides go on as if alone`, async () => {
    await withModel(golden(kind), roomy, async (model) => {
      for (const length of [0, 1, 63, 64, 65, 90]) {
        const first = model.open()
        // The cache holds one less than there are tokens: the last one is still to be computed.
        if (length > 0) await finish(first.generate(ids(length), { ...samplingOf(length), maxTokens: 1 }))
        const past = first.tokens
        assert.is(first.length, length)
        const second = first.fork()
        const third = second.fork()
        const options = { ...greedy, temperature: 0.9, seed: length, maxTokens: 9 }
        const [a, b] = await Promise.all([goOn(first, ids(4, 1), options), goOn(second, ids(6, 2), options)])
        assert.equal(a, await fresh(model, [...past, ...ids(4, 1)], options), `${length}, the first`)
        assert.equal(b, await fresh(model, [...past, ...ids(6, 2)], options), `${length}, its fork`)
        assert.equal(third.tokens, past)
        first.close()
        assert.equal(await goOn(third, ids(2, 3), options), await fresh(model, [...past, ...ids(2, 3)], options))
        second.close()
        third.close()
      }
    })
  })

test('a rewind, then something else, equals a fresh run', async () => {
  const options = { temperature: 0.9, seed: 4, maxTokens: 12 }
  const conversation = small.open()
  await goOn(conversation, ids(80), { ...options, maxTokens: 20 })
  const all = conversation.tokens
  assert.is(all.length, 100)
  for (const length of [100, 99, 65, 64, 63, 30, 1, 0]) {
    const fork = conversation.fork()
    fork.rewind(length)
    assert.equal(fork.tokens, all.slice(0, length))
    assert.equal(
      await goOn(fork, ids(5, 9), options),
      await fresh(small, [...all.slice(0, length), ...ids(5, 9)], options),
    )
    fork.close()
    conversation.rewind(length)
  }
  for (const length of [1, -1, 0.5, Number.NaN]) assert.throws(() => conversation.rewind(length), /length.* 0 to 0/)
  conversation.close()
})

test('a text behind a first token is a continuation, whether that token is computed or not', async () => {
  const conversation = stories.open()
  await conversation.logits([99])
  assert.is(conversation.length, 0)
  const { promptTokens } = await finish(conversation.generate(' and', { maxTokens: 1 }))
  assert.is(promptTokens, 1 + (stories.tokenizer?.encode(' and').length ?? 0))
  conversation.close()
})

test('going on without a prompt equals one long generation', async () => {
  for (const sampling of samplings) {
    // A window of the penalty that reaches back over every seam, and beyond the prompt's end.
    const options = { ...sampling, repeatLastN: 50, stopAtEos: false }
    const long = await fresh(small, ids(40), { ...options, maxTokens: 70 })
    for (const parts of [
      [1, 1, 68],
      [24, 25, 21],
      [69, 1],
    ]) {
      const conversation = small.open()
      const found: number[] = []
      let last: ReturnType<typeof trace> | undefined
      for (const [i, maxTokens] of parts.entries()) {
        const given = i === 0 ? options : { stopAtEos: false }
        last = await goOn(conversation, i === 0 ? ids(40) : undefined, { ...given, maxTokens })
        found.push(...last.tokens)
      }
      assert.equal(found, long.tokens, `${parts} ${JSON.stringify(sampling)}`)
      assert.is(last?.logitsHash, long.logitsHash)
      assert.equal(conversation.tokens, [...ids(40), ...found])
      conversation.close()
    }
  }
  const empty = small.open()
  await expectCode(goOn(empty, undefined, {}), 'BAD_PROMPT')
  empty.close()
})

test('turns of a conversation equal one prompt of all their tokens', async () => {
  const conversation = small.open()
  for (const turn of [0, 1, 2]) {
    const before = conversation.tokens
    const options = { ...samplingOf(turn), seed: turn, maxTokens: 15 }
    const found = await goOn(conversation, ids(10, turn), options)
    assert.equal(
      found,
      await fresh(small, [...before, ...ids(10, turn)], { ...samplings[0], ...options }),
      `turn ${turn}`,
    )
  }
  conversation.close()
})

test('logits() adds a prompt, and the next token follows it', async () => {
  const conversation = small.open()
  const options = { temperature: 0, maxTokens: 8 }
  await goOn(conversation, ids(60), options)
  const past = conversation.tokens
  const logits = await conversation.logits(ids(64, 2).slice(0, 20))
  assert.equal(logits, await small.logits([...past, ...ids(20, 2)]))
  assert.equal(conversation.tokens, [...past, ...ids(20, 2)])
  assert.equal(await goOn(conversation, undefined, options), await fresh(small, [...past, ...ids(20, 2)], options))
  conversation.close()
})

test('what the cache has of a prompt is not computed again, and where a prompt differs is told', async () => {
  const options = { temperature: 0, maxTokens: 6 }
  const text = ids(120)
  const changed = (at: number) => text.map((id, i) => (i === at ? (id + 1) % 320 : id))
  const prompts: [number[], number, number][] = [
    [text, 0, 0],
    [text, 64, 120],
    [text.slice(0, 64), 0, 64],
    [text.slice(0, 65), 64, 65],
    [changed(0), 0, 0],
    [changed(63), 0, 63],
    [changed(64), 64, 64],
    [changed(100), 64, 100],
    [ids(30, 3), 0, 0],
  ]
  await withModel(golden('gta'), roomy, async (model) => {
    // The tuning of threads, had there been one, would have left something.
    const keeper = model.open()
    for (const [i, [prompt, cached, matched]] of prompts.entries()) {
      const result =
        i === 0 ? await finish(keeper.generate(prompt, options)) : await finish(model.generate(prompt, options))
      assert.equal([result.cachedTokens, result.matchedTokens], [cached, matched], `prompt ${i}`)
      const cold = await withModel(golden('gta'), roomy, (other) => fresh(other, prompt, options))
      assert.equal(trace(result), cold)
    }
    // A conversation that has begun computes its own.
    const later = await finish(keeper.generate(text.slice(0, 1), options))
    assert.equal([later.promptTokens, later.cachedTokens, later.matchedTokens], [2, 0, 0])
    keeper.close()
  })
})

test('cacheMemory: what does not fit is refused with what it needs, the others go on, and there is room after a close', async () => {
  const { pageBytes } = runtimeOf(small).cache.use
  const options = { temperature: 0, stopAtEos: false }
  await withModel(golden('gta'), { threads: 1, cacheMemory: 3.5 * pageBytes }, async (model) => {
    assert.is(runtimeOf(model).cache.use.totalBytes, 3 * pageBytes)
    const first = model.open()
    const second = model.open()
    await goOn(first, ids(60, 1), { ...options, maxTokens: 1 })
    const going = goOn(first, undefined, { ...options, maxTokens: 60 })
    // Two pages are free, the first conversation will want one of them, the prompt wants both.
    await goOn(second, ids(60, 2), { ...options, maxTokens: 1 })
    const refused = await failure(goOn(model.open(), ids(70, 3), options))
    assert.instance(refused, OutOfMemoryError)
    const { needed, available, code } = refused as OutOfMemoryError
    assert.equal([needed, available, code], [2 * pageBytes, pageBytes, 'OUT_OF_MEMORY'])
    assert.match(refused.message, 'cacheMemory')
    assert.equal(
      await going,
      await fresh(small, [...ids(60, 1), ...first.tokens.slice(60, 61)], { ...options, maxTokens: 60 }),
    )
    // Its next page is not there any more: it says so, and can go on once there is room.
    const past = second.tokens
    assert.instance(await failure(goOn(second, ids(9), options)), OutOfMemoryError)
    assert.equal(second.tokens, past)
    first.close()
    const found = await goOn(second, ids(9), { ...options, maxTokens: 20 })
    assert.equal(found, await fresh(small, [...past, ...ids(9)], { ...options, maxTokens: 20 }))
  })
})

test('a conversation that fails or is aborted while it reads is as it was', async () => {
  const { pageBytes } = runtimeOf(small).cache.use
  const options = { temperature: 0.8, seed: 3, maxTokens: 8 }
  await withModel(golden('gta'), { threads: 1, batch: 8, cacheMemory: 4 * pageBytes }, async (model) => {
    const conversation = model.open()
    await goOn(conversation, ids(50), options)
    const past = conversation.tokens
    const length = conversation.length
    const expected = await fresh(small, [...past, ...ids(5, 1)], options)
    const abort = new AbortController()
    const own = new Error('own')
    const throwing = () => {
      throw own
    }
    const attempts: [() => Promise<unknown>, (error: Error) => boolean][] = [
      [
        () =>
          goOn(conversation, ids(60, 2), {
            signal: abort.signal,
            onPrefill: ({ done }) => {
              if (done === 24) abort.abort(own)
            },
          }),
        (error) => error === own,
      ],
      [() => goOn(conversation, ids(20, 2), { onPrefill: throwing }), (error) => error === own],
      [() => goOn(conversation, ids(72, 2), {}), ({ code }: Error & { code?: string }) => code === 'CONTEXT_FULL'],
      [() => goOn(conversation, [1, 320], {}), ({ code }: Error & { code?: string }) => code === 'BAD_PROMPT'],
      [() => conversation.logits(ids(72, 2)), ({ code }: Error & { code?: string }) => code === 'CONTEXT_FULL'],
      [() => goOn(conversation, [], {}), ({ code }: Error & { code?: string }) => code === 'BAD_PROMPT'],
      [() => goOn(conversation, [1], { topK: -1 }), ({ code }: Error & { code?: string }) => code === 'BAD_OPTION'],
    ]
    for (const [i, [attempt, isRight]] of attempts.entries()) {
      const error = await failure(attempt())
      assert.ok(isRight(error), `${i}: ${error}`)
      assert.equal([conversation.tokens, conversation.length], [past, length], `${i}`)
    }
    // logits() cannot be aborted; a step of it can fail.
    const { engine } = runtimeOf(model)
    const step = engine.step.bind(engine)
    let steps = 0
    engine.step = async (rows) => {
      if (++steps === 4) throw own
      return step(rows)
    }
    assert.is(await failure(conversation.logits(ids(60, 2))), own)
    assert.equal([conversation.tokens, conversation.length], [past, length])
    // Out of memory in the middle: both begin, both cannot end.
    const other = model.open()
    const outcomes = await Promise.allSettled([
      conversation.logits(ids(70, 2)),
      goOn(other, ids(128, 3), { ...options, maxTokens: 1 }),
      goOn(model.open(), ids(60, 4), { ...options, maxTokens: 1 }),
    ])
    const failed = outcomes.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]
    assert.ok(failed.length >= 1 && failed.length <= 2)
    for (const { reason } of failed) assert.instance(reason, OutOfMemoryError)
    if (outcomes[0]?.status === 'rejected') assert.equal([conversation.tokens, conversation.length], [past, length])
    else conversation.rewind(past.length)
    if (outcomes[1]?.status === 'rejected') assert.equal([other.tokens, other.length], [[], 0])
    other.close()
    assert.equal(await goOn(conversation, ids(5, 1), options), expected)
  })
})

/** A text that repeats itself, so that guesses come true. */
const repeated = (length: number, period: number) => Array.from({ length }, (_, i) => ids(period)[i % period] as number)

test('an abort while tokens come, or an end at any token, keeps what was said and not what was guessed', async () => {
  const options = { temperature: 0, stopAtEos: false, maxTokens: 60 }
  const prompt = repeated(40, 3)
  const long = await fresh(small, prompt, options)
  for (const speculate of [0, 8]) {
    for (let said = 1; said < 60; said += speculate ? 2 : 9) {
      const conversation = small.open()
      const stop = new AbortController()
      let count = 0
      const onToken = () => {
        if (++count === said) stop.abort()
      }
      const aborted = goOn(conversation, prompt, { ...options, speculate, onToken, signal: stop.signal })
      assert.is((await failure(aborted)).name, 'AbortError')
      assert.equal(conversation.tokens.slice(40), long.tokens.slice(0, said))
      const more = await goOn(conversation, undefined, { ...options, speculate, maxTokens: 60 - said })
      assert.equal([more.tokens, more.logitsHash], [long.tokens.slice(said), long.logitsHash])
      conversation.close()
    }
    const left = stories.open()
    let seen = 0
    for await (const _ of left.generate('Once upon a time', { ...options, speculate })) if (++seen === 10) break
    const past = left.tokens
    assert.equal(await goOn(left, undefined, options), await fresh(stories, past, options))
    left.close()
  }
})

test('guessed tokens change nothing but the number of steps', async () => {
  // Up to the end of the context.
  const prompt = repeated(60, 11)
  let accepted = 0
  let rejected = 0
  for (const sampling of [...samplings, { temperature: 0.3, seed: 1 }])
    for (const model of [small, stories]) {
      const options = { ...sampling, stopAtEos: false }
      const plain = await finish(model.generate(prompt, options))
      assert.is(plain.finish, 'context')
      for (const speculate of model === small ? [1, 8, 31] : [8]) {
        const found = await finish(model.generate(prompt, { ...options, speculate }))
        assert.equal(trace(found), trace(plain), `${speculate} ${JSON.stringify(sampling)}`)
        assert.not.ok(plain.speculation)
        const { steps, drafted, accepted: right } = found.speculation ?? { steps: 0, drafted: 0, accepted: 0 }
        assert.ok(right <= drafted && steps + right >= found.tokens.length - 1)
        if (sampling.temperature === 0 && model === small) assert.ok(steps <= found.tokens.length - 1)
        accepted += right
        rejected += drafted - right
      }
    }
  assert.ok(accepted > 100 && rejected > 100, `${accepted} guesses were right, ${rejected} wrong`)
})

test('guesses and stop texts, and a conversation that goes on behind them', async () => {
  const prompt = 'Once upon a time there was a little girl. She was a little girl. She was a little'
  const options = { temperature: 0, maxTokens: 60 }
  const { text } = await finish(stories.generate(prompt, options))
  for (const stop of [text.slice(30, 34), text.slice(50, 58), text.slice(5, 6)]) {
    const plain = stories.open()
    const guessing = stories.open()
    for (const [given, more] of [
      [prompt, { stop: [stop] }],
      [' And then', {}],
      [undefined, { maxTokens: 20 }],
    ] as const) {
      const [a, b] = await Promise.all([
        finish(plain.generate(given, { ...options, ...more, stop: [...('stop' in more ? more.stop : [])] })),
        finish(
          guessing.generate(given, { ...options, ...more, stop: [...('stop' in more ? more.stop : [])], speculate: 8 }),
        ),
      ])
      assert.equal(trace(b), trace(a))
      assert.equal(guessing.tokens, plain.tokens)
    }
    plain.close()
    guessing.close()
  }
})

test('guesses fit in a step, whatever its size and however many share it', async () => {
  const prompt = repeated(60, 7)
  const options = { temperature: 0, maxTokens: 40, stopAtEos: false }
  const plain = await fresh(small, prompt, options)
  for (const load of [{ maxLogits: 1 }, { batch: 3 }, { maxLogits: 20 }])
    await withModel(golden('gta'), { ...roomy, ...load }, async (model) => {
      const { engine } = runtimeOf(model)
      const step = engine.step.bind(engine)
      let steps = 0
      engine.step = (rows) => {
        steps++
        return step(rows)
      }
      const count = async (conversations: number, speculate: number) => {
        steps = 0
        const all = Array.from({ length: conversations }, () => fresh(model, prompt, { ...options, speculate }))
        for (const one of await Promise.all(all)) assert.equal(one, plain)
        return steps
      }
      for (const conversations of [1, 6]) {
        await count(conversations, 0)
        const [without, guessing] = [await count(conversations, 0), await count(conversations, 8)]
        assert.ok(guessing <= without, `${JSON.stringify(load)}: ${guessing} steps, ${without} without guesses`)
      }
    })
})

test('a guess for which there is no memory is not missed', async () => {
  const prompt = repeated(50, 2)
  const options = { temperature: 0, stopAtEos: false, maxTokens: 15 }
  const { plain, pageBytes } = await withModel(golden('gqa'), roomy, async (model) => ({
    plain: await fresh(model, prompt, options),
    pageBytes: runtimeOf(model).cache.use.pageBytes,
  }))
  // Each needs one page; for both there is one more to guess into, and who comes second must do without.
  for (const pages of [2, 3])
    await withModel(golden('gqa'), { threads: 1, cacheMemory: pages * pageBytes }, async (model) => {
      const both = [0, 1].map(() => fresh(model, prompt, { ...options, speculate: 8 }))
      assert.equal(await Promise.all(both), [plain, plain])
    })
})

test('what is guessed: what followed when the last three, or two, tokens came before', () => {
  assert.equal(promptLookup([1, 2, 3, 4, 5, 1, 2, 3], 8), [4, 5, 1, 2, 3])
  assert.equal(promptLookup([1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], 2), [4, 9])
  assert.equal(promptLookup([7, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], 1), [5])
  assert.equal(promptLookup([1, 1, 1, 1], 3), [1])
  assert.equal(promptLookup([1, 2, 3, 4], 8), [])
  assert.equal(promptLookup([1, 2, 1, 2], 0), [])
})

test('while tokens come, the conversation has those before them, each once', async () => {
  const conversation = small.open()
  await goOn(conversation, ids(20, 4), { temperature: 0, maxTokens: 3 })
  const past = conversation.tokens
  let during: number[] = []
  const onToken = () => {
    during = conversation.tokens
  }
  await goOn(conversation, ids(30), { temperature: 0, maxTokens: 1, speculate: 8, onToken })
  assert.equal(during, [...past, ...ids(30)])
  conversation.close()
})

test('CLOSED, BUSY and BAD_OPTION of conversations', async () => {
  const conversation = small.open()
  const stream = conversation.generate(ids(3), { maxTokens: 3 })
  const first = stream.next()
  await expectCode(goOn(conversation, ids(3), {}), 'BUSY')
  await expectCode(conversation.logits(ids(3)), 'BUSY')
  for (const call of [() => conversation.fork(), () => conversation.rewind(0)])
    assert.throws(call, (error: unknown) => error instanceof GtaError && error.code === 'BUSY')
  await first
  await finish(stream)
  const fork = conversation.fork()
  conversation.close()
  conversation.close()
  await expectCode(goOn(conversation, ids(3), {}), 'CLOSED', /conversation/)
  await expectCode(conversation.logits(ids(3)), 'CLOSED')
  for (const call of [() => conversation.fork(), () => conversation.rewind(0), () => conversation.tokens])
    assert.throws(call, (error: unknown) => error instanceof GtaError && error.code === 'CLOSED')
  await goOn(fork, [1], { maxTokens: 1 })
  fork.close()
  for (const options of [
    { keep: -1 },
    { keep: 0.5 },
    { contextPolicy: 'forget' },
    { contextPolicy: 'window', keep: 65 },
    { kep: 1 },
  ])
    assert.throws(
      () => small.open(options as never),
      (error: unknown) => error instanceof GtaError && error.code === 'BAD_OPTION',
    )
  await expectCode(finish(small.generate(ids(3), { speculate: 32 })), 'BAD_OPTION', /speculate/)
  // Nothing that was refused has taken a place.
  const all = Array.from({ length: 32 }, () => small.open())
  assert.throws(
    () => small.open({ busy: 'throw' }),
    (error: unknown) =>
      error instanceof GtaError && error.code === 'TOO_MANY' && /32 conversations/.test(error.message),
  )
  await expectCode(finish(small.generate(ids(3), { busy: 'throw' })), 'TOO_MANY')
  all.pop()?.close()
  await finish(small.generate(ids(3), { maxTokens: 1 }))
  for (const one of all) one.close()
})

test('a conversation waits until one is closed, in the order in which they came, or until it is aborted or closed', async () => {
  const all = Array.from({ length: 32 }, () => small.open())
  const ended: string[] = []
  const controller = new AbortController()
  const opened = small.open()
  assert.is(opened.id, undefined)
  assert.is(opened.length, 0)
  const tell = async (name: string, stream: Stream) => {
    await finish(stream)
    ended.push(name)
  }
  const waiting = [
    tell('opened', opened.generate(ids(3), { maxTokens: 1 })),
    tell('one', small.generate(ids(3), { maxTokens: 1 })),
    failure(finish(small.generate(ids(3), { maxTokens: 1, signal: controller.signal }))),
    tell('two', small.generate(ids(3), { maxTokens: 1 })),
  ]
  const closed = small.open()
  const left = failure(finish(closed.generate(ids(3))))
  await tick()
  assert.equal(ended, [])
  controller.abort(new Error('enough'))
  assert.is(((await waiting[2]) as Error).message, 'enough')
  closed.close()
  assert.is((await left).code, 'CLOSED')
  // One place is enough for all of them, but for the one that keeps it.
  all.pop()?.close()
  await waiting[0]
  assert.equal(ended, ['opened'])
  opened.close()
  await Promise.all(waiting)
  assert.equal(ended, ['opened', 'one', 'two'])
  const last = small.open({ busy: 'throw' })
  for (const one of [...all, last]) one.close()
})

test('closing a conversation ends what it generates with CLOSED, and gives its place back', async () => {
  for (const steps of [0, 1, 3]) {
    const before = Array.from({ length: 31 }, () => small.open())
    const conversation = small.open()
    const stream = conversation.generate(ids(50), { maxTokens: 60, stopAtEos: false })
    const first = stream.next()
    for (let i = 0; i < steps; i++) await tick()
    conversation.close()
    const error = await failure(first.then(() => finish(stream)))
    assert.is(error.code, 'CLOSED')
    assert.match(error.message, /conversation/)
    small.open({ busy: 'throw' }).close()
    for (const one of before) one.close()
  }
  // Between two pieces.
  const idle = stories.open()
  const stream = idle.generate('A fox', { maxTokens: 60 })
  await stream.next()
  idle.close()
  assert.is((await failure(finish(stream))).code, 'CLOSED')
})

test('the result of a stream is there behind for await; nobody has to look at it', async () => {
  const stream = small.generate(ids(3), { maxTokens: 3, temperature: 0 })
  for await (const _ of stream);
  assert.equal((await stream.result).tokens.length, 3)
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  const failed = small.generate([])
  assert.is((await failure(finish(failed))).code, 'BAD_PROMPT')
  assert.is((await failure(failed.result)).code, 'BAD_PROMPT')
  const conversation = stories.open()
  const left = conversation.generate('A fox', { maxTokens: 99 })
  await left.next()
  await left.return(undefined as never)
  await tick()
  process.off('unhandledRejection', note)
  assert.equal(unhandled, [])
  assert.is((await failure(left.result)).code, 'CLOSED')
  conversation.close()
})

test('closing the model ends conversations with CLOSED', async () => {
  const model = await load(golden('gta'), roomy)
  const opened = [model.open(), model.open(), model.open()]
  const running = opened.map((one) => failure(goOn(one, ids(50), { maxTokens: 70, stopAtEos: false })))
  await tick()
  await model.close()
  for (const error of await Promise.all(running)) assert.is(error.code, 'CLOSED')
  for (const one of opened) one.close()
  await expectCode(finish(model.generate(ids(3))), 'CLOSED')
})

test('steps that mix prompt slices and decoding: threads 1 to 4 and both builds, to the last bit', async () => {
  for (const kind of ['gta', 'gqa', 'mla']) {
    let expected: Float32Array[] | undefined
    for (const { counts, ...options } of [
      { threads: 4, counts: [1, 2, 4] },
      { threads: 3, build: strict, counts: [3] },
    ]) {
      const engine = await openEngine(golden(kind), { ...options, conversations: 4, maxRows: 40, maxLogits: 4 })
      for (const threads of counts) {
        engine.threads = { decode: threads, prefill: threads }
        for (let c = 0; c < 4; c++) engine.rewind(c, 0)
        const found: Float32Array[] = []
        // Conversations 0 and 1 decode behind 100 and 20 tokens; 2 and 3 read prompts in slices of 13 and 7 beside them.
        await feed(engine, ids(100))
        await feed(engine, ids(20, 1), { conversation: 1 })
        for (let step = 0; step < 10; step++) {
          const slice = (conversation: number, length: number) =>
            ids(length * 10, conversation)
              .slice(step * length, (step + 1) * length)
              .map((token, i) => ({ conversation, position: step * length + i, token }))
          const decoding = [0, 1].map((conversation) => ({
            conversation,
            position: [100, 20][conversation] as number,
            token: (step * 5 + conversation) % 320,
            sampling: greedy,
          }))
          for (const row of decoding) row.position += step
          await engine.step([decoding[0] as never, ...slice(2, 13), decoding[1] as never, ...slice(3, 7)])
          found.push((await engine.logits(0)).slice(), (await engine.logits(1)).slice())
        }
        for (const conversation of [2, 3])
          found.push(await feed(engine, [9], { from: engine.lengthOf(conversation), conversation }))
        expected ??= found
        assert.equal(found, expected, `${kind}, ${threads} threads`)
      }
      await engine.close()
    }
  }
})

test.run()
