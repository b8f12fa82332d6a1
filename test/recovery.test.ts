/**
 * Engines that are lost: threads that end, traps in the middle of a step. With `recover` everybody goes on with the bits that
 * there would have been, but for those who cannot, who fail alone; without it all fails, typed, and is where it was.
 */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvCache } from '../host/cache/cache.ts'
import type { Recovery } from '../host/cache/recovery.ts'
import { type Engine, isLoss } from '../host/engine/engine.ts'
import { openReviving } from '../host/engine/reviving.ts'
import { type Conversation, GtaError, type LoadOptions, load, type Model } from '../host/index.ts'
import { platform } from '../host/platform/node.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { failure, randomTensors, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { openBare } from './harness/engines.ts'
import { Histories } from './harness/histories.ts'

/** Threads that run now. */
const threads = new Set<Worker>()
const { startThread } = platform
platform.startThread = (start) => {
  const thread = startThread({
    ...start,
    onExit: () => {
      threads.delete(thread as Worker)
      start.onExit()
    },
  })
  threads.add(thread as Worker)
  return thread
}
/** As when the system takes one: it ends without a word. */
const killThread = async () => ([...threads][0] as Worker).terminate()

/** Places behind the end of all memory: a step that uses them traps. */
function trap(engine: Engine): () => void {
  const { places, pageBytes } = engine.pages
  const before = places.slice()
  places.fill(Math.floor(0xf8000000 / pageBytes))
  return () => places.set(before)
}

/** Each step of an engine that computes the token for its first conversation traps from now on. */
function trapAt(engine: Engine, token: number): () => number {
  let count = 0
  const step = engine.step.bind(engine)
  engine.step = async (rows) => {
    if (!rows.some((row) => row.conversation === 0 && row.token === token)) return step(rows)
    count++
    const mend = trap(engine)
    return step(rows).finally(mend)
  }
  return () => count
}

const POISON = 77
const config = { ...readJson(golden('gta/config.json')), max_position_embeddings: 256 }
const gta = writeCheckpoint(config, randomTensors(config, 'F32', 7))
const options: LoadOptions = { threads: 2, context: 256, cacheMemory: 2 ** 21, recover: true }
const open = (more: LoadOptions = {}) => load(gta, { ...options, ...more })
/** Texts that begin alike, so that they share pages. */
const text = (which: number, length = 90) =>
  Array.from({ length }, (_, i) => (i < 70 ? (i * 5) % POISON : (i * (3 + which)) % POISON))

async function generate(conversation: Conversation, ids: number[], onToken?: (id: number) => void): Promise<number[]> {
  const stream = conversation.generate(ids, { maxTokens: 16, temperature: 0.8, seed: 5, stopAtEos: false, onToken })
  for await (const _ of stream);
  return (await stream.result).tokens
}

/** What three conversations say beside each other, and a fourth that is idle meanwhile, forked and goes on. */
async function talk(model: Model, onToken?: (count: number) => void): Promise<number[][]> {
  using idle = model.open()
  await generate(idle, text(9))
  using fork = idle.fork()
  let count = 0
  const told = onToken && (() => onToken(++count))
  const first = await Promise.all([0, 1, 2].map((which) => generate(model.open(), text(which), told)))
  return [...first, ...(await Promise.all([generate(idle, text(3)), generate(fork, text(4))]))]
}

/** Of a model at which nothing happens. */
async function logitsOf(ids: number[]): Promise<Float32Array> {
  await using model = await open()
  return await model.logits(ids)
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await failure(promise)
  assert.instance(error, GtaError)
  return (error as unknown as GtaError).code
}

test('threads that end, again and again: nobody notices', async () => {
  const undisturbed = await open()
  const expected = await talk(undisturbed)
  await undisturbed.close()
  const model = await open()
  let killed = 0
  const found = await talk(model, (count) => {
    if (count % 12 !== 7) return
    killed++
    killThread()
  })
  assert.equal(found, expected)
  assert.ok(killed >= 3, `${killed} threads ended`)
  await model.close()
  assert.is(threads.size, 0, 'all threads are gone')
})

test('a thread that ends while nothing is computed', async () => {
  const model = await open({ threads: 1 })
  using conversation = model.open()
  await generate(conversation, text(1))
  const alone = await open({ threads: 1 })
  using other = alone.open()
  await generate(other, text(1))
  const expected = await other.logits(text(2))
  await alone.close()
  await killThread()
  assert.equal(await conversation.logits(text(2)), expected)
  assert.is(threads.size, 1)
  await model.close()
})

test('a conversation at which the engine is lost twice fails alone, and is where it was', async () => {
  const undisturbed = await open()
  const expected = await Promise.all([1, 2].map((which) => generate(undisturbed.open(), text(which))))
  await undisturbed.close()

  const model = await open()
  const traps = trapAt(runtimeOf(model).engine, POISON)
  using bad = model.open()
  await bad.logits(text(0))
  const before = bad.tokens
  const said = Promise.all([1, 2].map((which) => generate(model.open(), text(which))))
  assert.is(await codeOf(bad.logits([3, 1, POISON, 4])), 'ENGINE_FAILED')
  assert.equal(await said, expected)
  assert.is(traps(), 2)
  assert.equal(bad.tokens, before)
  // It goes on with something else.
  const after = await bad.logits([3, 1])
  assert.is(after.length, model.spec.vocabSize)
  await model.close()
})

test('a conversation whose past cannot be computed again is lost alone', async () => {
  const model = await open()
  using bad = model.open()
  using good = model.open()
  await bad.logits([...text(1), POISON, 4])
  await good.logits(text(2))
  const expected = await logitsOf([...text(2), 5, 6])
  trapAt(runtimeOf(model).engine, POISON)
  await killThread()
  assert.equal(await good.logits([5, 6]), expected)
  assert.match(
    String(await failure(bad.logits([5]))),
    /must be computed again since its engine was lost.*Begin another one/,
  )
  assert.match(String(await failure(bad.fork().logits([5]))), /must be computed again/)
  assert.is(await codeOf(bad.save(join(temporary(), 'lost.gta-session'))), 'ENGINE_FAILED')
  // Emptied it is a new one.
  bad.rewind(0)
  assert.equal(await bad.logits([...text(2), 5, 6]), expected)
  await model.close()
})

test('a conversation that has forgotten tokens is lost, and what began like it is not found any more', async () => {
  const model = await open()
  using forgetful = model.open({ contextPolicy: 'window' })
  await generate(forgetful, text(1, 250))
  assert.ok(forgetful.dropped > 0)
  const expected = await logitsOf(text(1, 200))
  await killThread()
  // Whoever comes first finds what there was before the loss is seen.
  await model.logits([1, 2, 3])
  assert.equal(await model.logits(text(1, 200)), expected)
  assert.match(String(await failure(forgetful.logits([5]))), /it has forgotten tokens/)
  await model.close()
})

test('what is known of conversations that are closed is not found any more', async () => {
  const model = await open()
  const expected = await model.logits(text(1, 200))
  await killThread()
  // Another one is computed first: the engine is not lost any more.
  await model.logits([1, 2, 3])
  assert.equal(await model.logits(text(1, 200)), expected)
  await model.close()
})

test('a session that was restored is computed again', async () => {
  const path = join(temporary(), 'one.gta-session')
  const model = await open()
  using conversation = model.open()
  await conversation.logits(text(1))
  await conversation.save(path)
  using restored = await model.restore(path)
  const expected = await logitsOf([...text(1), 7])
  await killThread()
  await killThread()
  assert.equal(await restored.logits([7]), expected)
  await model.close()
})

test('without recover all fails, typed, and is where it was', async () => {
  const model = await open({ recover: false })
  using conversation = model.open()
  await conversation.logits(text(1))
  const { tokens } = conversation
  const mend = trap(runtimeOf(model).engine)
  assert.is(await codeOf(conversation.logits([1, 2, 3])), 'ENGINE_FAILED')
  mend()
  assert.equal(conversation.tokens, tokens)
  assert.is(await codeOf(conversation.logits([1, 2, 3])), 'ENGINE_FAILED')
  await model.close()
  assert.is(threads.size, 0)
})

test('where no other engine can be opened, all fail with the reason', async () => {
  const folder = join(temporary(), 'model')
  cpSync(gta, folder, { recursive: true })
  for (const [other, message] of [
    [undefined, /NOT_FOUND/],
    [golden('gha'), /ENGINE_FAILED|BAD_TENSOR/],
  ] as const) {
    const model = await load(folder, options)
    const said = generate(model.open(), text(1))
    const more = generate(model.open(), text(2))
    await killThread()
    rmSync(folder, { recursive: true })
    if (other) cpSync(other, folder, { recursive: true })
    for (const one of [said, more]) assert.match(await codeOf(one), message)
    await model.close()
    assert.is(threads.size, 0)
    rmSync(folder, { recursive: true, force: true })
    cpSync(gta, folder, { recursive: true })
  }
})

test('refused: what cannot be computed again, and offload', async () => {
  for (const family of ['lfm2', 'gemma3_text'])
    assert.match(
      String(await failure(load(golden(`families/${family}`), { recover: true }))),
      /recover \(--recover\) must be absent for a model with layers that look back a window or keep a state/,
    )
  assert.match(String(await failure(open({ offload: 2 ** 20 }))), /offload \(--offload\) must be absent with recover/)
})

test('a random history with losses is one without', async () => {
  const bench = { context: 256, maxRows: 48, maxLogits: 4, conversations: 4, pages: 14 }
  const plain = new KvCache(await openBare(gta, bench))
  const engine = await openReviving(await openBare(gta, bench), () => openBare(gta, bench))
  const cache = new KvCache(engine)
  const both = new Histories([plain, cache], 3, { drops: false })
  const step = cache.step.bind(cache)
  let losses = 0
  cache.step = async (rows) => {
    const mend = both.below(4) === 0 ? trap(engine) : () => undefined
    try {
      return await step(rows).finally(mend)
    } catch (error) {
      if (!isLoss(error)) throw error
      losses++
      await (cache.recovery as Recovery).revive()
      return await step(rows)
    }
  }
  for (let i = 0; i < 70; i++) await both.act()
  await both.comparePages()
  assert.ok(losses > 5, `${losses} losses`)
  for (const one of both.caches) await one.close()
  assert.is(threads.size, 0)
})

test.run()
