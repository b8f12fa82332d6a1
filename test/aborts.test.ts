/**
 * Requests that are given up at any moment, many at a time: they are out of the steps at once, their reason reaches who asked,
 * and nobody else's text changes by a bit. And a model that is closed while all of them are under way.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { defaultModel, type Generation, type GtaError, load } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { Random } from './harness/debug-engine.ts'

const options = { context: 128, cacheMemory: 40e6, batch: 32, maxLogits: 8 }

interface Request {
  prompt: number[]
  seed: number
  maxTokens: number
  /** Steps of the engine after which it is given up, if it is. */
  until: number | undefined
}

function someRequests(seed: number, count: number): Request[] {
  const random = new Random(seed)
  return Array.from({ length: count }, (_, i) => ({
    // Some are alike: they share pages.
    prompt: Array.from(
      { length: 1 + random.below(random.pick([8, 90])) },
      (_, k) => (i % 3 ? random.below(300) : k) + 5,
    ),
    seed: random.below(1000),
    maxTokens: 1 + random.below(20),
    until: random.next() < 0.5 ? random.below(60) : undefined,
  }))
}

const trace = ({ tokens, logitsHash, finish }: Generation) => ({ tokens, logitsHash, finish })

test('whoever gives up is out within two steps, and the others have the bits that they have alone', async () => {
  const model = await load(golden('gta'), options)
  const { cache, scheduler } = runtimeOf(model)
  const run = async ({ prompt, seed, maxTokens }: Request, signal?: AbortSignal) => {
    const stream = model.generate(prompt, { seed, maxTokens, temperature: 1, ...(signal ? { signal } : {}) })
    for await (const _ of stream);
    return await stream.result
  }
  try {
    let [given, finished] = [0, 0]
    for (const seed of [1, 2, 3]) {
      // More than there are numbers in the engine: some wait.
      const requests = someRequests(seed, 44)
      const alone: ReturnType<typeof trace>[] = []
      for (const request of requests) alone.push(trace(await run(request)))
      const controllers = requests.map(() => new AbortController())
      const reasons = requests.map((_, i) => new Error(`request ${i} has enough`))
      // By what a prompt begins with, who has which number in the engine is not known: rows are told apart by their tokens.
      let step = 0
      const rowsAt: number[] = []
      const original = cache.step
      cache.step = async (rows) => {
        rowsAt.push(new Set(rows.map(({ conversation }) => conversation)).size)
        const sampled = await original.call(cache, rows)
        step++
        for (const [i, { until }] of requests.entries()) if (until === step) controllers[i]?.abort(reasons[i])
        return sampled
      }
      for (const [i, { until }] of requests.entries()) if (until === 0) controllers[i]?.abort(reasons[i])
      const outcomes = await Promise.allSettled(requests.map((request, i) => run(request, controllers[i]?.signal)))
      cache.step = original
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') assert.equal(trace(outcome.value), alone[i], `seed ${seed}, request ${i}`)
        else assert.is(outcome.reason, reasons[i], `seed ${seed}, request ${i}`)
        if (outcome.status === 'fulfilled') finished++
        else given++
      }
      assert.is(scheduler.active, 0)
      assert.ok(Math.max(...rowsAt) > 4, 'they share steps')
      const held = Array.from({ length: 32 }, (_, id) => cache.lengthOf(id))
      assert.equal(held, new Array(32).fill(0), 'all conversations are given back')
    }
    assert.ok(given > 30 && finished > 60, `${given} gave up, ${finished} did not`)
  } finally {
    await model.close()
  }
})

test('no row of a conversation is in a step behind the one in which it was given up', async () => {
  const model = await load(golden('gta'), options)
  const { cache } = runtimeOf(model)
  try {
    for (const [prompt, at] of [
      [90, 2], // in the midst of the prompt: slices of some 16 beside the other
      [3, 6], // in the midst of the text
    ] as const) {
      const controller = new AbortController()
      const steps: number[][] = []
      const original = cache.step
      cache.step = async (rows) => {
        steps.push([...new Set(rows.map(({ conversation }) => conversation))])
        if (steps.length === at) controller.abort()
        return await original.call(cache, rows)
      }
      using other = model.open()
      using given = model.open()
      const ids = Array.from({ length: prompt }, (_, i) => 7 + i)
      const signal = controller.signal
      const story = other.generate([5, 6, 7], { maxTokens: 30, temperature: 0, stopAtEos: false })
      const drain = async () => {
        for await (const _ of story);
      }
      const [error] = await Promise.all([
        failure(
          (async () => {
            for await (const _ of given.generate(ids, { signal, maxTokens: 100, stopAtEos: false }));
          })(),
        ),
        drain(),
      ])
      cache.step = original
      assert.is(error, signal.reason)
      const last = steps.findLastIndex((step) => step.includes(given.id as number))
      // Aborted while step `at` ran: that one, counted from 1, is its last.
      assert.is(last + 1, at, `${steps.length} steps`)
      assert.ok(steps.length > at + 5)
    }
  } finally {
    await model.close()
  }
})

test('a deadline is a signal: its reason comes as it is, while waiting and in the text', async () => {
  const model = await load(golden('gta'), options)
  // Neither a deadline nor who waits holds the program.
  const hold = setInterval(() => undefined, 1000)
  try {
    const drain = async (conversation: { generate: typeof model.generate }, prompt: number[], signal: AbortSignal) => {
      for await (const _ of conversation.generate(prompt, {
        signal,
        stopAtEos: false,
        contextPolicy: 'window',
        keep: 0,
      }));
    }
    const reason = new DOMException('The operation was aborted due to timeout', 'TimeoutError')
    // It does not end by itself.
    const signal = AbortSignal.timeout(30)
    const error = await failure(drain(model, [5, 6], signal))
    assert.is(error, signal.reason)
    assert.is(error.name, reason.name)
    const all = Array.from({ length: 32 }, () => model.open())
    const waiting = AbortSignal.timeout(30)
    assert.is(await failure(drain(model, [5, 6], waiting)), waiting.reason)
    for (const conversation of all) conversation.close()
  } finally {
    clearInterval(hold)
    await model.close()
  }
})

test('close() in the midst of it all: every request ends with CLOSED', async () => {
  const model = await load(golden('gta'), options)
  const { cache } = runtimeOf(model)
  let steps = 0
  const original = cache.step
  let closing: Promise<void> | undefined
  cache.step = async (rows) => {
    if (++steps === 12) closing = model.close()
    return await original.call(cache, rows)
  }
  const outcomes = await Promise.allSettled(
    someRequests(9, 40).map(async ({ prompt, seed }) => {
      for await (const _ of model.generate(prompt, { seed, stopAtEos: false }));
    }),
  )
  await closing
  for (const outcome of outcomes)
    assert.is(
      outcome.status === 'rejected' && (outcome.reason as GtaError).code,
      'CLOSED',
      `${JSON.stringify(outcome)}`,
    )
  assert.ok(steps < 20)
})

/** Methods and properties that compute nothing: they say what is known, or end. */
const silent = ['constructor', 'close', 'engineName', 'id', 'length', 'dropped', 'notes', 'messages']

/** Names of a class' own members. */
const membersOf = (value: object) => Object.getOwnPropertyNames(Object.getPrototypeOf(value)).filter((name) => !silent.includes(name)) // biome-ignore format: one line

test('every method of a model that is closed, of its conversations and chats, says CLOSED, whatever it is given', async () => {
  const model = await load(defaultModel, { threads: 1 })
  const conversation = model.open()
  const chat = await model.chat({ template: 'chatml' })
  for await (const _ of conversation.generate('Once', { maxTokens: 2 }));
  const drain = async (pieces: AsyncIterable<unknown>) => {
    for await (const _ of pieces);
  }
  // biome-ignore lint/suspicious/noExplicitAny: wrong arguments are meant
  const wrong: any[] = [undefined, '', [], 'a', -1]
  // biome-ignore lint/suspicious/noExplicitAny: as above
  const calls: Record<string, Record<string, (given: any) => unknown>> = {
    model: {
      promptIds: (given) => model.promptIds(given),
      corpusIds: (given) => model.corpusIds(given),
      open: (given) => model.open(given),
      restore: (given) => model.restore(given),
      generate: (given) => drain(model.generate(given)),
      chat: (given) => model.chat(given),
      restoreChat: (given) => model.restoreChat(given),
      applyChatTemplate: (given) => model.applyChatTemplate(given),
      logits: (given) => model.logits(given),
      embed: (given) => model.embed(given),
      evaluate: (given) => model.evaluate(given),
      predict: (given) => drain(model.predict(given)),
    },
    conversation: {
      tokens: () => conversation.tokens,
      generate: (given) => drain(conversation.generate(given)),
      logits: (given) => conversation.logits(given),
      fork: () => conversation.fork(),
      rewind: (given) => conversation.rewind(given),
      save: (given) => conversation.save(given),
    },
    chat: {
      send: (given) => drain(chat.send(given)),
      reset: () => chat.reset(),
      save: (given) => chat.save(given),
    },
  }
  for (const [name, object] of Object.entries({ model, conversation, chat }))
    assert.equal(Object.keys(calls[name] as object).sort(), membersOf(object).sort(), name)
  const check = async (what: string) => {
    for (const [name, methods] of Object.entries(calls))
      for (const [method, call] of Object.entries(methods))
        for (const given of wrong) {
          const error = await failure((async () => await call(given))())
          assert.is(error.code, 'CLOSED', `${what}: ${name}.${method}(${JSON.stringify(given)}): ${error.message}`)
        }
  }
  await model.close()
  await check('model')
  await model.close()
  conversation.close()
  conversation.close()
  chat.close()
  await check('all')
})

test.run()
