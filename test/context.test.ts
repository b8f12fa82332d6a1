/**
 * What a conversation does when its context is full. With one layer a key depends on its token alone, and a score on the
 * distance alone: so after any number of drops the logits must be those of a fresh conversation of the tokens that are
 * left. With more layers that is not so, old hidden states live on in what followed; the arithmetic is the same.
 */
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CachedPage, KvCache } from '../host/cache/cache.ts'
import { greedy, nameOf } from '../host/engine/engine.ts'
import { type Conversation, type Generation, load, type WeightType } from '../host/index.ts'
import type { ContextPolicy } from '../host/runtime/api.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { planDrop } from '../host/runtime/scheduler.ts'
import { describe, PAGE_TOKENS, ropeDim } from '../models/index.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { attentionOf, golden, kinds, readJson, worst } from './fixtures/goldens.ts'
import { feed, openEngine, strict } from './harness/engines.ts'

const CONTEXT = 384
const TOLERANCE = 1e-4

const token = (i: number) => (i * 37 + (i >> 5) * 11 + 5) % 320
const tokens = (from: number, count: number) => Array.from({ length: count }, (_, i) => token(from + i))

/** The first layer of a golden model, for texts as long as one likes. */
const configOf = (kind: string) => ({
  ...readJson(golden(`${kind}/config.json`)),
  num_hidden_layers: 1,
  max_position_embeddings: 8192,
})

const directories = new Map<string, string>()
function oneLayer(kind: string): string {
  const found = directories.get(kind)
  if (found) return found
  const directory = temporary()
  writeFileSync(join(directory, 'config.json'), JSON.stringify(configOf(kind)))
  symlinkSync(golden(`${kind}/model.safetensors`), join(directory, 'model.safetensors'))
  directories.set(kind, directory)
  return directory
}

const open = (kind: string, type: WeightType, options: object = {}) =>
  openEngine(oneLayer(kind), { type, context: CONTEXT, conversations: 3, pages: 40, ...options })

interface Policy {
  policy: ContextPolicy
  keep: number
}

/** Feeds a conversation on, token `from` of the text being the next, and forgets whenever it is full. */
async function flow(engine: KvCache, settings: Policy, from: number, count: number, conversation = 0) {
  let logits = new Float32Array()
  for (let end = from + count; from < end; ) {
    if (engine.lengthOf(conversation) === engine.facts.context) {
      const { keep, drop } = planDrop(settings, engine.facts.context)
      await engine.drop(conversation, keep, drop)
    }
    const length = engine.lengthOf(conversation)
    const slice = Math.min(end - from, engine.facts.context - length)
    logits = (await feed(engine, tokens(from, slice), { from: length, conversation })) as typeof logits
    from += slice
  }
  return logits
}

/** How far logits are from those of a fresh conversation with the tokens that are left. */
async function distance(engine: KvCache, logits: Float32Array, conversation = 0): Promise<number> {
  engine.rewind(2, 0)
  const expected = await feed(engine, [...engine.tokensOf(conversation)], { conversation: 2 })
  engine.rewind(2, 0)
  return worst(logits, expected)
}

async function expectFresh(engine: KvCache, logits: Float32Array, what: string, conversation = 0): Promise<void> {
  const found = await distance(engine, logits, conversation)
  assert.ok(found <= TOLERANCE, `${what}: logits differ by ${found}`)
}

for (const kind of kinds)
  test(`${kind}: after any number of drops the logits are those of the tokens that are left`, async () => {
    const engine = await open(kind, 'f32')
    for (const policy of ['window', 'shift'] as const)
      for (const keep of policy === 'window' ? [0, 1, 64, 128] : [0, 128]) {
        engine.rewind(0, 0)
        const settings = { policy, keep }
        let at = 0
        for (const [round, count] of [CONTEXT, 1, 64, 63, 650].entries()) {
          const logits = await flow(engine, settings, at, count)
          at += count
          const pages = Math.ceil(keep / PAGE_TOKENS) * PAGE_TOKENS
          const left = [...engine.tokensOf(0)]
          assert.equal(left.slice(0, pages), tokens(0, pages))
          assert.equal(left.slice(pages), tokens(at - left.length + pages, left.length - pages))
          assert.is(engine.droppedOf(0) + left.length, at)
          await expectFresh(engine, logits, `${policy}, keep ${keep}, round ${round}`)
        }
        assert.ok(engine.droppedOf(0) >= 768)
      }
    await engine.close()
  })

for (const kind of ['gta', 'gqa', 'mla', 'gla', 'tied'])
  test(`${kind} int8: no error grows with the number of drops`, async () => {
    const engine = await open(kind, 'f32', { cache: 'int8' })
    const settings = { policy: 'window', keep: 192 } as const
    const errors: number[] = []
    let at = CONTEXT
    let logits = await flow(engine, settings, 0, at)
    for (let drops = 0; drops < 50; drops++) {
      logits = await flow(engine, settings, at, 64)
      at += 64
      if (drops < 15 || drops >= 35) errors.push(await distance(engine, logits))
    }
    assert.is(engine.droppedOf(0), 50 * 64)
    // Single errors differ by their tokens, some tenfold.
    const median = (values: number[]) => values.toSorted((a, b) => a - b)[7] as number
    const [first, last] = [median(errors.slice(0, 15)), median(errors.slice(-15))]
    const size = Math.max(...logits.map(Math.abs))
    if (process.env.GTA_TEST_VERBOSE) console.log({ kind, first, last, size, most: Math.max(...errors) })
    assert.ok(first > 0 && Math.max(...errors) < 0.03 * size, `${Math.max(...errors)} of ${size}`)
    assert.ok(last < 1.6 * first, `${first} grew to ${last}`)
    await engine.close()
  })

/** Where each slot lies in a layer of a page, and how much of each head is rotated. */
function slotsOf(kind: string, isInt8: boolean) {
  let at = 0
  const attention = attentionOf(describe(configOf(kind)).spec)
  return Object.entries(attention.slots).map(([name, slot]) => {
    const { heads, dim } = slot
    const rope = ropeDim(attention, slot)
    const padded = (dim + 3) & ~3
    const bytes = heads * PAGE_TOKENS * (isInt8 ? 4 + padded : 4 * padded)
    at += bytes
    return { name, from: at - bytes, to: at, padded, rope }
  })
}

for (const kind of kinds)
  test(`${kind}: a turn changes what is rotated, and nothing else`, async () => {
    for (const type of ['f32', 'q8'] as const) {
      const engine = await open(kind, type)
      await flow(engine, { policy: 'window', keep: 64 }, 0, CONTEXT)
      const first = engine.cached(0).pages[0] as CachedPage
      const before = (await engine.fetchPage(first.id)).slice()
      await engine.drop(0, 1, 2)
      const { pages, originals, dropped } = engine.cached(0)
      const [page, original] = [pages[0] as CachedPage, originals[0] as CachedPage]
      const after = await engine.fetchPage(page.id)
      assert.not.equal(page.stamp, first.stamp)
      assert.is(dropped, 128)
      assert.equal((await engine.fetchPage(original.id)).slice(), before, 'the original stays')
      assert.equal([...page.tokens], tokens(0, 64))
      let turned = 0
      for (const { name, from, to, padded, rope } of slotsOf(kind, type === 'q8')) {
        turned += rope
        const changed = Array.from({ length: to - from }, (_, i) => i).filter(
          (i) => before[from + i] !== after[from + i],
        )
        assert.is(changed.length > 0, rope > 0, `${type}, slot ${name}`)
        // In f32 the rest of a head that is rotated in part does not change either.
        if (type === 'f32') for (const i of changed) assert.ok((i >> 2) % padded < rope, `slot ${name}, byte ${i}`)
      }
      assert.ok(turned > 0)
      await engine.close()
    }
  })

test('forks before and behind drops, and rewinds into the kept part, go on as what they have', async () => {
  for (const kind of ['gta', 'mla'])
    for (const keep of [64, 128]) {
      const engine = await open(kind, 'f32')
      const settings = { policy: 'window', keep } as const
      await flow(engine, settings, 0, CONTEXT)
      // The fork keeps what the first one forgets.
      engine.fork(0, 1)
      await expectFresh(engine, await flow(engine, settings, 1000, 150), 'the first')
      assert.equal([engine.lengthOf(1), engine.droppedOf(1)], [CONTEXT, 0])
      assert.equal([...engine.tokensOf(1)], tokens(0, CONTEXT))
      await expectFresh(engine, await flow(engine, settings, 2000, 70, 1), 'its fork', 1)
      // Behind a drop: turned pages are shared too, until one of the two drops again.
      engine.rewind(1, 0)
      engine.fork(0, 1)
      await expectFresh(engine, await flow(engine, settings, 3000, 200, 1), 'a fork behind drops', 1)
      await expectFresh(engine, await flow(engine, settings, 4000, 5), 'the first again')
      await expectFresh(engine, await flow(engine, settings, 4100, 300), 'and again')
      // Into the kept part, to a page's end, to the middle of one.
      for (const length of [keep + 30, keep, keep - 1, 10]) {
        engine.rewind(0, Math.min(length, engine.lengthOf(0)))
        assert.ok(engine.droppedOf(0) > 0)
        await expectFresh(engine, await flow(engine, settings, 5000 + length, 3), `${keep}, rewound to ${length}`)
        await expectFresh(engine, await flow(engine, settings, 6000, 450), `${keep}, rewound to ${length}, and drops`)
      }
      await expectFresh(engine, await flow(engine, settings, 7000, 100, 1), 'the fork was left alone', 1)
      engine.rewind(0, 0)
      assert.is(engine.droppedOf(0), 0)
      engine.rewind(1, 0)
      assert.is(engine.use.usedBytes, 0)
      await engine.close()
    }
})

test('drops on 1 to 4 threads and in both builds give the same bits', async () => {
  for (const [kind, type] of [
    ['gta', 'q8'],
    ['gqa', 'q4'],
    ['gla', 'q8'],
    ['mla', 'f32'],
  ] as const) {
    let expected: Float32Array[] | undefined
    for (const { counts, ...options } of [
      { threads: 4, counts: [1, 2, 4] },
      { threads: 3, build: strict, counts: [3] },
    ]) {
      // Two layers, so that ranks share the turning of a page.
      const engine = await openEngine(golden(kind), { type, pages: 8, ...options })
      for (const threads of counts) {
        engine.threads = { decode: threads, prefill: threads }
        engine.rewind(0, 0)
        const found: Float32Array[] = []
        const settings = { policy: 'window', keep: 64 } as const
        for (let at = 0; at < 420; at += 30) found.push(await flow(engine, settings, at, 30))
        for (let at = 420; at < 460; at++) found.push(await flow(engine, settings, at, 1))
        assert.is(engine.droppedOf(0), 320)
        expected ??= found
        assert.equal(found, expected, `${kind} ${type}, ${nameOf(engine)}`)
      }
      await engine.close()
    }
  }
})

async function finish(stream: AsyncGenerator<string, Generation>): Promise<Generation> {
  for (;;) {
    const { done, value } = await stream.next()
    if (done) return value
  }
}

test('a thousand tokens in a context of 192, where it may forget; else it ends', async () => {
  await using model = await load(oneLayer('gta'), { context: 192, threads: 1, cacheMemory: 2 ** 22 })
  const options = { temperature: 0.8, seed: 3, stopAtEos: false, repeatPenalty: 1.1, maxTokens: 1100 }
  const prompt = tokens(0, 100)
  const ended = await finish(model.generate(prompt, options))
  assert.equal([ended.finish, ended.tokens.length], ['context', 93])
  for (const [contextPolicy, keep, dropped] of [
    ['window', 0, 1024],
    ['window', 64, 1024],
    ['shift', 1, 1024],
  ] as const) {
    const run = async (more: object, ...others: Promise<unknown>[]) => {
      const conversation = model.open({ contextPolicy, keep })
      const [result] = await Promise.all([finish(conversation.generate(prompt, { ...options, ...more })), ...others])
      return { conversation, result }
    }
    const { conversation, result } = await run({})
    assert.equal([result.finish, result.tokens.length], ['length', 1100])
    assert.equal(result.tokens.slice(0, 93), ended.tokens)
    assert.is(conversation.dropped, dropped)
    assert.equal(conversation.tokens.slice(-100), result.tokens.slice(-100))
    if (keep > 0) assert.equal(conversation.tokens.slice(0, 64), prompt.slice(0, 64))
    // Neither guessing nor other conversations change a token.
    const guessed = await run(
      { speculate: 8 },
      run({ seed: 4, maxTokens: 300 }),
      finish(model.generate(tokens(50, 150), options)),
    )
    assert.equal([guessed.result.tokens, guessed.result.logitsHash], [result.tokens, result.logitsHash])
    assert.equal(guessed.conversation.tokens, conversation.tokens)
    if (keep !== 64) continue
    // In pieces, as at once.
    const pieces = model.open({ contextPolicy, keep })
    const found: number[] = []
    for (const [i, maxTokens] of [92, 1, 64, 1, 942].entries())
      found.push(...(await finish(pieces.generate(i ? undefined : prompt, { ...options, maxTokens }))).tokens)
    assert.equal(found, result.tokens)
    pieces.close()
    // Left by its reader, also where the token ahead of it had to forget a page: that token is taken back.
    for (const said of [91, 92, 93, 94, 157, 158]) {
      using left = model.open({ contextPolicy, keep })
      let seen = 0
      for await (const event of left.generate(prompt, options).events())
        if (event.type === 'token' && ++seen === said) break
      assert.is(left.tokens.length + left.dropped, prompt.length + said)
      const more = await finish(left.generate(undefined, { ...options, maxTokens: 5 }))
      assert.equal(more.tokens, result.tokens.slice(said, said + 5), `left behind ${said}`)
    }
  }
})

test('a prompt longer than the context is read where it may forget, in slices of any size', async () => {
  const results: Generation[] = []
  for (const batch of [64, 7, 192]) {
    await using model = await load(oneLayer('gqa'), { context: 192, threads: 1, batch, cacheMemory: 2 ** 22 })
    const conversation: Conversation = model.open({ contextPolicy: 'shift', keep: 10 })
    results.push(await finish(conversation.generate(tokens(0, 700), { temperature: 0, maxTokens: 30 })))
    assert.ok(conversation.dropped >= 512)
    // Aborted behind a drop: what it has is what it had read, in order.
    const stop = new AbortController()
    const before = conversation.tokens.length + conversation.dropped
    const aborted = finish(
      conversation.generate(tokens(900, 400), {
        ...greedy,
        signal: stop.signal,
        onPrefill: ({ done }) => {
          if (done > 200) stop.abort()
        },
      }),
    )
    await aborted.then(
      () => assert.unreachable('it was aborted'),
      (error) => assert.is(error.name, 'AbortError'),
    )
    const read = conversation.tokens.length + conversation.dropped - before
    assert.ok(read > 199 && read < 400)
    assert.equal(conversation.tokens.slice(-60), tokens(900 + read - 60, 60))
    conversation.close()
    assert.is(runtimeOf(model).cache.use.usedBytes, 0)
  }
  for (const result of results)
    assert.equal([result.tokens, result.logitsHash], [results[0]?.tokens, results[0]?.logitsHash])
})

test.run()
