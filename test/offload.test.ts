/** Pages that lie in a file: the same bits, whatever is where, and nothing left behind. */
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy } from '../host/engine/engine.ts'
import { GtaError, OutOfMemoryError } from '../host/errors.ts'
import { type Conversation, load } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { golden } from './fixtures/goldens.ts'
import { Random } from './harness/debug-engine.ts'
import { feed, openEngine, strict } from './harness/engines.ts'

const directory = await mkdtemp(join(tmpdir(), 'gta-offload-'))
test.after(() => rm(directory, { recursive: true }))

const CONTEXT = 1024
const text = Array.from({ length: CONTEXT }, (_, i) => (i * 7919 + (i >> 3)) % 4000)

const options = { context: CONTEXT, conversations: 3, maxLogits: 8 }

/** An engine that keeps about `share` of its cache in memory. */
async function offloaded(share: number, more = {}): Promise<KvCache> {
  const { totalBytes } = await cacheOf(more)
  const offload = { bytes: Math.floor(totalBytes * share), directory }
  return openEngine(golden('stories'), { ...options, ...more, offload })
}

async function cacheOf(more: object) {
  const engine = await openEngine(golden('stories'), { ...options, ...more })
  const { use } = engine
  await engine.close()
  return use
}

/** Logits of a decode step behind `length` tokens. */
async function decode(engine: KvCache, conversation: number, length: number, token: number): Promise<Float32Array> {
  await engine.step([{ conversation, position: length, token, sampling: greedy }])
  return (await engine.logits(0)).slice()
}

for (const threads of [1, 2])
  test(`${threads} threads: prompts and tokens, three conversations in turn and together, as if all were in memory`, async () => {
    const plain = await openEngine(golden('stories'), { ...options, threads })
    const engine = await offloaded(0.5, { threads })
    const lengths = [700, 300, 130]
    for (const conversation of [0, 1, 2]) {
      const ids = text.slice(conversation, lengths[conversation])
      assert.equal(await feed(engine, ids, { conversation }), await feed(plain, ids, { conversation }))
    }
    for (let i = 0; i < 70; i++) {
      const rows = [0, 1, 2]
        .filter((conversation) => i % (conversation + 1) === 0)
        .map((conversation) => ({
          conversation,
          position: plain.lengthOf(conversation),
          token: text[i] as number,
          sampling: greedy,
        }))
      assert.equal(await engine.step(rows), await plain.step(rows))
      for (const k of rows.keys())
        assert.equal((await engine.logits(k)).slice(), (await plain.logits(k)).slice(), `step ${i}, row ${k}`)
    }
    const use = engine.offloadUse
    assert.ok(use && use.bytesWritten > 0 && use.bytesRead > use.bytesWritten, JSON.stringify(use))
    await Promise.all([plain.close(), engine.close()])
  })

test('rewinding into what lies in the file, forking it, and dropping some of it', async () => {
  const plain = await openEngine(golden('stories'), options)
  const engine = await offloaded(0.5)
  const found: Float32Array[][] = []
  for (const it of [plain, engine]) {
    const logits: Float32Array[] = []
    await feed(it, text.slice(0, 900))
    it.fork(0, 1)
    it.rewind(0, 100)
    logits.push(await decode(it, 0, 100, 9), await decode(it, 1, 900, 9))
    it.rewind(1, 70)
    logits.push(await decode(it, 1, 70, 11))
    await feed(it, text.slice(0, 800), { conversation: 2 })
    await it.drop(2, 1, 3)
    logits.push(await decode(it, 2, 800 - 192, 5))
    await it.drop(2, 2, 2)
    logits.push(await decode(it, 2, 801 - 320, 5))
    found.push(logits)
  }
  assert.equal(found[1], found[0])
  await Promise.all([plain.close(), engine.close()])
})

test('whatever conversations do, in any order', async () => {
  const random = new Random(5)
  const few = { conversations: 5, context: 512, pages: 24, maxRows: 64 }
  const plain = await openEngine(golden('stories'), { ...options, ...few })
  const engine = await offloaded(0.55, few)
  const both = [plain, engine]
  let forks = 0
  for (let i = 0; i < 150; i++) {
    const a = random.below(5)
    const b = random.below(5)
    const length = plain.lengthOf(a)
    const action = random.below(8)
    const shorter = random.below(3) ? (length * 7) >> 3 : 0
    if (action === 0) for (const it of both) it.rewind(a, shorter)
    else if (action === 1 && a !== b && length > 0) {
      forks++
      for (const it of both) {
        it.rewind(b, 0)
        it.fork(a, b)
      }
    } else if (action === 2 && length > 320) for (const it of both) await it.drop(a, 1, 2)
    else {
      // Twins that write to one page, and long prompts, in one step.
      const rows = [a, ...(a === b ? [] : [b])].flatMap((conversation, k) => {
        const from = plain.lengthOf(conversation)
        const count = Math.min(512 - from, k === 0 ? 1 + random.below(60) : 1)
        return Array.from({ length: count }, (_, n) => ({
          conversation,
          position: from + n,
          token: (i * 31 + n) % 4000,
          ...(n === count - 1 ? { sampling: greedy } : {}),
        }))
      })
      if (rows.length === 0) continue
      const outcomes = await Promise.all(both.map((it) => it.step(rows).catch((error) => error.code as string)))
      assert.equal(outcomes[1], outcomes[0], `action ${i}`)
      if (typeof outcomes[0] === 'string') for (const it of both) it.rewind(a, 0)
      else assert.equal((await engine.logits(0)).slice(), (await plain.logits(0)).slice(), `action ${i}`)
    }
    for (let c = 0; c < 5; c++) assert.is(engine.lengthOf(c), plain.lengthOf(c))
  }
  assert.ok(forks > 5)
  assert.ok((engine.offloadUse?.bytesRead ?? 0) > 1e6)
  await Promise.all([plain.close(), engine.close()])
})

test('a conversation that is closed while its pages are written out leaves each place to one page', async () => {
  const plain = await openEngine(golden('stories'), options)
  const engine = await offloaded(0.5)
  const found: Float32Array[][] = []
  for (const it of [plain, engine]) {
    const logits: Float32Array[] = []
    await feed(it, text.slice(0, 900), { conversation: 1 })
    await feed(it, text.slice(3, 400), { conversation: 2 })
    // Begun, it makes room; what was used for longest is conversation 2.
    const step = it.step([{ conversation: 0, position: 0, token: 5, sampling: greedy }])
    it.rewind(2, 0)
    await step
    logits.push((await it.logits(0)).slice(), await feed(it, text.slice(9, 700), { conversation: 2 }))
    for (const conversation of [0, 1, 2]) logits.push(await decode(it, conversation, it.lengthOf(conversation), 7))
    found.push(logits)
  }
  assert.equal(found[1], found[0])
  await Promise.all([plain.close(), engine.close()])
})

test('the strict build streams too', async () => {
  const plain = await openEngine(golden('stories'), { ...options, build: strict })
  const engine = await offloaded(0.5, { build: strict })
  for (const it of [plain, engine]) await feed(it, text.slice(0, 1000))
  assert.equal(await decode(engine, 0, 1000, 3), await decode(plain, 0, 1000, 3))
  await Promise.all([plain.close(), engine.close()])
})

test('memory is what was promised, and the file has no name', async () => {
  const { totalBytes } = await cacheOf({})
  const engine = await offloaded(0.5)
  await feed(engine, text.slice(0, 600))
  const use = engine.offloadUse
  assert.ok(use && use.memoryBytes <= totalBytes / 2, JSON.stringify(use))
  assert.ok(use && use.memoryBytes > 0.45 * totalBytes, JSON.stringify(use))
  assert.equal(readdirSync(directory), [])
  await engine.close()
  assert.equal(readdirSync(directory), [])
})

test('a budget that holds everything needs no file', async () => {
  const engine = await offloaded(1)
  assert.is(engine.offloadUse, undefined)
  await engine.close()
})

test('a budget that cannot hold two layers is refused with what is needed', async () => {
  const error = await offloaded(0.1).then(
    () => assert.unreachable(),
    (reason) => reason,
  )
  assert.instance(error, GtaError)
  assert.match(error.message, /--offload\) must be at least \d+ bytes for 3072 tokens/)
})

test('more rows than memory has pages for: OutOfMemoryError, and the engine goes on', async () => {
  const engine = await openEngine(golden('stories'), {
    ...options,
    conversations: 40,
    pages: 60,
    offload: { bytes: 0.45 * (await cacheOf({ pages: 60 })).totalBytes, directory },
  })
  const rows = Array.from({ length: 40 }, (_, conversation) => ({ conversation, position: 0, token: 1 }))
  const error = await engine.step(rows).then(
    () => assert.unreachable(),
    (reason) => reason,
  )
  assert.instance(error, OutOfMemoryError)
  await engine.step(rows.slice(0, 3))
  await engine.close()
})

test('more conversations than memory has pages for take turns', async () => {
  const each = { temperature: 0, maxTokens: 40 }
  const plain = await load(golden('stories'))
  const { pageBytes, totalBytes } = runtimeOf(plain).cache.use
  const model = await load(golden('stories'), {
    cacheMemory: 60 * pageBytes,
    offload: Math.ceil(0.48 * 60 * pageBytes),
    offloadDirectory: directory,
  })
  assert.ok(totalBytes > 0 && runtimeOf(model).cache.pagesWritable < 20, `${runtimeOf(model).cache.pagesWritable}`)
  const textOf = async (from: Pick<Conversation, 'generate'>, prompt: number[]) => {
    const stream = from.generate(prompt, each)
    for (;;) {
      const { done, value } = await stream.next()
      if (done) return value.logitsHash
    }
  }
  // Twins that share a partial page.
  const begun = model.open()
  await textOf(begun, [1, 2, 3])
  const forks = Array.from({ length: 12 }, () => begun.fork())
  begun.close()
  assert.is(new Set(await Promise.all(forks.map((fork) => textOf(fork, [4, 5, 6])))).size, 1)
  for (const fork of forks) fork.close()
  const prompts = Array.from({ length: 30 }, (_, i) => [i + 5, 17, 99, 250 + i])
  const together = await Promise.all(prompts.map((prompt) => textOf(model, prompt)))
  for (const [i, prompt] of prompts.entries())
    if (i % 5 === 0) assert.is(together[i], await textOf(plain, prompt), `prompt ${i}`)
  await Promise.all([plain.close(), model.close()])
})

test('a directory that cannot be written: OFFLOAD_FAILED with its name', async () => {
  const { totalBytes } = await cacheOf({})
  const error = await openEngine(golden('stories'), {
    ...options,
    offload: { bytes: totalBytes / 2, directory: '/proc/nowhere' },
  }).then(
    async (engine) => {
      await feed(engine, text.slice(0, 900))
      assert.unreachable()
    },
    (reason) => reason,
  )
  assert.is(error.code, 'OFFLOAD_FAILED')
  assert.match(error.message, '/proc/nowhere')
  assert.ok(existsSync(directory))
})

test.run()
