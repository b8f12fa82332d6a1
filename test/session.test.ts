/** A conversation that is saved and restored goes on as if it had never stopped: the same tokens, the same logits. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import disk from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { setImmediate as tick } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy } from '../host/engine/engine.ts'
import type { Build } from '../host/engine/wasm/builds.ts'
import {
  type Conversation,
  type ConversationOptions,
  defaultModel,
  type LoadOptions,
  load,
  type Model,
} from '../host/index.ts'
import { sequenceOf } from '../host/runtime/conversation.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { findSession, saveConversation } from '../host/sessions/conversation.ts'
import { failure, random, temporary } from './fixtures/checkpoints.ts'
import { golden, kinds } from './fixtures/goldens.ts'
import { goOnAlike, say, trace } from './fixtures/session-talks.ts'
import { feed, openEngine, relaxed, strict } from './harness/engines.ts'

const folder = temporary()
let files = 0
const newPath = () => join(folder, `talk-${files++}`)

const next = random(11)
const words = (length: number, vocabSize: number) => Array.from({ length }, () => Math.floor(next() * vocabSize))

/** Prompt and generated tokens: 1, 63, 64, 65 and 100 in the cache, the last token being on its way. */
const lengths = [
  [1, 1],
  [61, 3],
  [62, 3],
  [64, 2],
  [90, 11],
] as const

for (const kind of kinds)
  test(`${kind}: saved and restored elsewhere, at the ends of pages, with both caches`, async () => {
    // Many threads where two cores take turns are slow: one of each family is enough.
    const threads = ['gta', 'mla'].includes(kind) ? 4 : 1
    for (const [type, cache] of [
      ['q8', 'int8'],
      ['f32', 'f32'],
    ] as const) {
      const options = { type, cache, cacheMemory: 2 ** 23 }
      const [home, away] = await Promise.all([
        load(golden(kind), { ...options, threads: 1 }),
        load(golden(kind), { ...options, threads, batch: 7 }),
      ])
      for (const [prompt, n] of lengths) {
        const what = `${cache}, ${prompt} + ${n} tokens`
        const ids = words(prompt, home.spec.vocabSize)
        using straight = home.open()
        const expected = trace(await say(straight, n + 8, ids))
        using stopped = home.open()
        const first = await say(stopped, n, ids)
        const path = newPath()
        const saved = await stopped.save(path)
        assert.is(saved.tokens, prompt + n)
        assert.is(saved.bytes, statSync(path).size)
        using restored = await away.restore(path)
        using beside = await home.restore(path)
        for (const it of [stopped, restored, beside]) {
          const { tokens, logitsHash } = await say(it, 8)
          assert.equal({ tokens: [...first.tokens, ...tokens], logitsHash }, expected, what)
        }
        if (n === 3) await goOnAlike(restored, straight, what, words(3, home.spec.vocabSize))
      }
      await Promise.all([home.close(), away.close()])
    }
  })

const stories = defaultModel
const vocabSize = 4096
const ample = { context: 512, cacheMemory: 2 ** 25, threads: 1 }

/** Saves, restores into each model, and lets them and the conversation that was saved go on alike. */
async function checkRestored(it: Conversation, models: Model[], what: string, options: ConversationOptions = {}) {
  const path = newPath()
  await it.save(path)
  const restored = await Promise.all(models.map((model) => model.restore(path, options)))
  const prompt = words(20, vocabSize)
  // The saved one several times, as forks: each must find it as it was.
  for (const [i, other] of restored.entries()) {
    using fork = it.fork()
    await goOnAlike(other, fork, `${what}, model ${i}`, prompt)
    other.close()
  }
}

test('a full context: it can be saved, and both can go no further', async () => {
  await using model = await load(golden('gta'), { threads: 1, cacheMemory: 2 ** 22 })
  using it = model.open()
  const { finish } = await say(it, 1000, words(100, 300))
  assert.is(finish, 'context')
  const path = newPath()
  await it.save(path)
  using restored = await model.restore(path)
  assert.equal(restored.tokens, it.tokens)
  for (const full of [it, restored]) assert.is((await failure(say(full, 1))).code, 'CONTEXT_FULL')
  for (const full of [it, restored]) full.rewind(100)
  assert.equal(trace(await say(restored, 9)), trace(await say(it, 9)))
})

test('stories: several pages, forks, rewinds, nothing pending, nothing but a pending token', async () => {
  const [home, away] = await Promise.all([load(stories, ample), load(stories, { ...ample, batch: 5, threads: 2 })])
  const text = words(200, vocabSize)
  using it = home.open()
  await say(it, 3, text)
  await checkRestored(it, [away, home], 'several pages')
  using fork = it.fork()
  await checkRestored(fork, [away, home], 'a fork')
  for (const length of [193, 192, 129, 65, 64, 63, 2, 1]) {
    fork.rewind(length)
    await checkRestored(fork, [away, home], `rewound to ${length}`)
  }
  // What was read and not generated from has its last token pending; here the host itself has none.
  using read = home.open()
  await sequenceOf(read).feed({ tokens: text.slice(0, 70), sampling: greedy })
  assert.equal(sequenceOf(read).pending, [])
  const path = newPath()
  await read.save(path)
  using restored = await away.restore(path)
  assert.is((await failure(say(restored, 1))).code, 'BAD_PROMPT', 'nothing to go on from')
  const options = { seed: 3 }
  assert.equal(trace(await say(restored, 7, [5, 6], options)), trace(await say(read, 7, [5, 6], options)))
  using single = home.open()
  const logits = await single.logits([9])
  assert.equal([single.length, sequenceOf(single).pending], [0, [9]])
  await single.save(path)
  using again = await away.restore(path)
  assert.equal(await again.logits([4]), await single.logits([4]))
  assert.is(logits.length, vocabSize)
  await Promise.all([home.close(), away.close()])
})

for (const [contextPolicy, keep, length] of [
  ['window', 64, 192],
  ['shift', 64, 320],
] as const)
  test(`${contextPolicy}, ${keep} tokens kept: restored between drops`, async () => {
    const options = { context: length, cacheMemory: 2 ** 24, threads: 1 }
    const [home, away] = await Promise.all([load(stories, options), load(stories, { ...options, batch: 9 })])
    const context = { contextPolicy, keep }
    const ids = words(length - 20, vocabSize)
    using straight = home.open(context)
    const whole = await say(straight, 270, ids)
    using it = home.open(context)
    const path = newPath()
    const tokens: number[] = []
    let current: Conversation = it
    // In turn in one model and the other; the last part without any stop.
    for (const [i, n] of [10, 30, 70, 70, 90].entries()) {
      const part = await say(current, n, i === 0 ? ids : undefined)
      tokens.push(...part.tokens)
      assert.equal(tokens, whole.tokens.slice(0, tokens.length), `part ${i}`)
      if (i === 4) assert.is(part.logitsHash, whole.logitsHash)
      await current.save(path)
      const restored = await (i % 2 ? home : away).restore(path, context)
      assert.equal(
        [restored.tokens, restored.dropped, restored.length],
        [current.tokens, current.dropped, current.length],
      )
      if (current !== it) current.close()
      current = restored
    }
    assert.ok(current.dropped >= 192 && current.dropped === straight.dropped)
    // Rewound into what was kept and turned.
    for (const length of [100, 64]) {
      current.rewind(length)
      straight.rewind(length)
      await current.save(path)
      using restored = await home.restore(path, context)
      using fork = straight.fork()
      assert.equal(
        trace(await say(restored, options.context)),
        trace(await say(fork, options.context)),
        `rewound to ${length}`,
      )
    }
    await Promise.all([home.close(), away.close()])
  })

test('saved by the build with relaxed SIMD, restored by the strict one, and the other way round', async () => {
  const open = (build: Build) => openEngine(golden('gta'), { build, conversations: 2, context: 128 })
  const engines = await Promise.all([open(relaxed), open(strict)])
  const ids = words(90, 300)
  const between = <T>(work: () => Promise<T>) => work()
  for (const [from, to] of [engines, engines.toReversed()] as [KvCache, KvCache][]) {
    from.rewind(0, 0)
    await feed(from, ids)
    const path = newPath()
    await saveConversation(from, 0, path, { next: 5, sampling: undefined }, undefined, between)
    const found = await findSession(to, path, 300 + 20, 128)
    to.rewind(1, 0)
    await found.restore(1, between)
    await found.close()
    const expected = await feed(from, [5, 6, 7], { from: 90 })
    assert.equal(await feed(to, [5, 6, 7], { from: 90, conversation: 1 }), expected)
  }
  for (const engine of engines) await engine.close()
})

test('restored while others generate, and saved while they do: nobody notices', async () => {
  await using model = await load(stories, ample)
  const prompts = [words(150, vocabSize), words(20, vocabSize), words(70, vocabSize)]
  const alone = []
  for (const prompt of prompts) {
    using it = model.open()
    alone.push(trace(await say(it, 60, prompt)))
  }
  using saved = model.open()
  await say(saved, 10, words(200, vocabSize))
  const path = newPath()
  const others = prompts.map(async (prompt) => {
    using it = model.open()
    return trace(await say(it, 60, prompt))
  })
  for (let i = 0; i < 5; i++) {
    await saved.save(path)
    using restored = await model.restore(path)
    using fork = saved.fork()
    assert.equal(trace(await say(restored, 4)), trace(await say(fork, 4)))
    await say(saved, 7)
    await tick()
  }
  assert.equal(await Promise.all(others), alone)
})

/** Options of an engine that has room for about half of its cache. */
async function withOffload(context: number, pages: number): Promise<LoadOptions> {
  await using model = await load(stories, { context: 64, threads: 1 })
  const { pageBytes } = runtimeOf(model).cache.use
  return {
    context,
    threads: 2,
    cacheMemory: pages * pageBytes,
    offload: Math.floor(0.6 * pages * pageBytes),
    offloadDirectory: temporary(),
  }
}

test('with offload and without, also where it is larger than memory', async () => {
  const offload = await withOffload(512, 26)
  const [home, tight] = await Promise.all([load(stories, ample), load(stories, offload)])
  assert.ok(runtimeOf(tight).cache.offloadUse)
  const residentPages = (runtimeOf(tight).cache.offloadUse?.memoryBytes ?? 0) / runtimeOf(tight).cache.use.pageBytes
  const text = words(440, vocabSize)
  const [it, other] = [home.open(), tight.open()]
  await say(it, 3, text)
  await say(other, 3, text)
  await checkRestored(it, [tight], 'without, with')
  await checkRestored(other, [home], 'with, without')
  await checkRestored(other, [tight], 'with, with')
  // Several of them: more than memory holds.
  const path = newPath()
  await it.save(path)
  const many = await Promise.all([0, 1].map(() => tight.restore(path)))
  assert.ok(many.length * 8 > residentPages - 4, `${residentPages} pages in memory`)
  const expected = trace(await say(it, 6))
  for (const restored of [...many, ...many]) {
    if (restored.length > it.length) continue
    const save = restored.save(newPath())
    await save
    using fork = restored.fork()
    assert.equal(trace(await say(fork, 6)), expected)
  }
  // Saved while somebody else needs the memory.
  const [one, two] = many as [Conversation, Conversation]
  const [found] = await Promise.all([say(one, 6), two.save(path)])
  assert.equal(trace(found), expected)
  using last = await home.restore(path)
  assert.equal(trace(await say(last, 6)), expected)
  await Promise.all([home.close(), tight.close()])
})

test('a save writes the new pages and nothing else; what changed is never taken for saved', async () => {
  await using model = await load(stories, ample)
  using it = model.open()
  const path = newPath()
  await say(it, 3, words(200, vocabSize))
  const { pageBytes } = runtimeOf(model).cache.use
  const page = pageBytes + 256
  const pagesOf = ({ bytesWritten }: { bytesWritten: number }) => Math.floor(bytesWritten / page)
  const check = async (pages: number, isIncremental: boolean, what: string) => {
    const saved = await it.save(path)
    assert.equal([pagesOf(saved), saved.isIncremental], [pages, isIncremental], what)
    assert.ok(saved.bytesWritten - pages * page < 2500, `${what}: ${saved.bytesWritten}`)
    assert.is(saved.bytes, statSync(path).size, what)
    using restored = await model.restore(path)
    using fork = it.fork()
    assert.equal(restored.tokens, fork.tokens, what)
    assert.equal(trace(await say(restored, 4)), trace(await say(fork, 4)), what)
  }
  await check(4, false, 'first')
  await check(0, true, 'again')
  await say(it, 3)
  await check(1, true, 'a longer last page')
  await say(it, 100)
  await check(2, true, 'the last page, and another one')
  it.rewind(130)
  await check(3, false, 'rewound, half of the file would be garbage')
  it.rewind(100)
  await check(0, true, 'rewound into a full page')
  await say(it, 1, [77, 78])
  await check(1, true, 'and written on')
  await say(it, 90, [1])
  await check(3, true, 'a full page, and what is behind it')
})

test('restored, the next save appends; two conversations and a fork share a path, the last one wins', async () => {
  await using model = await load(stories, ample)
  const path = newPath()
  using first = model.open()
  await say(first, 3, words(140, vocabSize))
  await first.save(path)
  using second = await model.restore(path)
  await say(second, 3)
  assert.is((await second.save(path)).isIncremental, true)
  await say(first, 70)
  const saved = await first.save(path)
  assert.is(saved.isIncremental, false, 'somebody else saved here')
  for (let i = 0; i < 4; i++) {
    const it = i % 2 ? first : second
    await say(it, 9)
    await it.save(path)
    using restored = await model.restore(path)
    using fork = it.fork()
    await goOnAlike(restored, fork, `turn ${i}`)
  }
  using fork = first.fork()
  const other = newPath()
  assert.is((await fork.save(other)).isIncremental, false)
  await say(fork, 2)
  assert.is((await fork.save(other)).isIncremental, true)
  assert.is((await first.save(other)).isIncremental, false)
  assert.is((await first.save(path)).isIncremental, false, 'it is bound to the path of its last save')
})

test('drops are saved: kept pages again, forgotten ones not', async () => {
  await using model = await load(stories, { context: 192, cacheMemory: 2 ** 24, threads: 1 })
  const context = { contextPolicy: 'window', keep: 64 } as const
  using it = model.open(context)
  const path = newPath()
  await say(it, 40, words(180, vocabSize))
  assert.is(it.dropped, 64)
  for (let i = 0; i < 3; i++) {
    await it.save(path)
    using restored = await model.restore(path, context)
    using fork = it.fork()
    assert.equal(trace(await say(restored, 90)), trace(await say(fork, 90)), `save ${i}`)
    await say(it, 50)
  }
})

test('one thing at a time: BUSY, and nothing is harmed', async () => {
  await using model = await load(stories, ample)
  using it = model.open()
  await say(it, 3, words(300, vocabSize))
  const path = newPath()
  const save = it.save(path)
  for (const work of [
    () => say(it, 1),
    () => it.save(path),
    () => it.logits([1]),
    async () => it.fork(),
    async () => it.rewind(1),
  ])
    assert.is((await failure(work())).code, 'BUSY')
  await save
  const pieces = it.generate(undefined, { maxTokens: 3 })
  await pieces.next()
  assert.is((await failure(it.save(path))).code, 'BUSY')
  await pieces.return(undefined as never)
  await it.save(path)
  const before = readFileSync(path)
  const error = await failure(it.save(path, { signal: AbortSignal.abort() }))
  assert.is(error.code, 'WRITE_FAILED')
  assert.equal(readFileSync(path), before)
  await failure(model.restore(path, { signal: AbortSignal.abort(new Error('enough')) })).then(({ message }) =>
    assert.is(message, 'enough'),
  )
  using restored = await model.restore(path)
  await goOnAlike(restored, it, 'afterwards')
  it.close()
  assert.is((await failure(it.save(path))).code, 'CLOSED')
})

/** Node's own calls, one of which fails while `work` runs: `nth` counts those of its kind. */
async function whileFailing(
  name: 'write' | 'sync' | 'rename' | 'open',
  code: string,
  nth: number,
  work: () => Promise<void>,
) {
  const { open } = disk
  const original = disk[name as 'open'] as unknown as (...args: unknown[]) => Promise<unknown>
  let count = 0
  const fail = () => ++count === nth && Promise.reject(Object.assign(new Error(`${code}: injected`), { code }))
  if (name === 'open' || name === 'rename')
    Object.assign(disk, { [name]: (...args: unknown[]) => fail() || original(...args) })
  else
    Object.assign(disk, {
      open: async (...args: Parameters<typeof open>) => {
        const file = await open(...args)
        const call = (file[name] as (...args: unknown[]) => Promise<unknown>).bind(file)
        return Object.assign(file, { [name]: (...args: unknown[]) => fail() || call(...args) })
      },
    })
  syncBuiltinESMExports()
  try {
    await work()
    assert.ok(count >= nth, `${name} is called`)
  } finally {
    Object.assign(disk, { open, [name]: name === 'open' ? open : original })
    syncBuiltinESMExports()
  }
}

test('a disk that fails: WRITE_FAILED, the old file, and the conversation goes on', async () => {
  await using model = await load(golden('gta'), { threads: 1, cacheMemory: 2 ** 21 })
  using it = model.open()
  using twin = model.open()
  const prompt = words(30, 300)
  for (const both of [it, twin]) await say(both, 3, prompt)
  const directory = temporary()
  const path = join(directory, 'talk')
  await it.save(path)
  const other = join(directory, 'other')
  for (const [name, code, nth] of [
    ['write', 'ENOSPC', 1],
    ['write', 'EIO', 2],
    ['sync', 'EIO', 1],
    ['open', 'EROFS', 1],
    ['write', 'EDQUOT', 3],
  ] as const) {
    const before = readFileSync(path)
    await say(it, 2)
    await say(twin, 2)
    await whileFailing(name, code, nth, async () => {
      const error = await failure(it.save(path))
      assert.is(error.code, 'WRITE_FAILED', error.message)
      assert.match(error.message, code)
    })
    assert.equal(readFileSync(path), before, `${name} ${code}`)
    await whileFailing('rename', code, 1, async () => assert.is((await failure(it.save(other))).code, 'WRITE_FAILED'))
    assert.equal(readdirSync(directory), ['talk'])
    using restored = await model.restore(path)
    assert.is(restored.tokens.length, it.tokens.length - 2)
    assert.equal(trace(await say(it, 3)), trace(await say(twin, 3)), `${name} ${code}`)
    await it.save(path)
    using again = await model.restore(path)
    using fork = it.fork()
    assert.equal(trace(await say(again, 2)), trace(await say(fork, 2)))
  }
  assert.is((await failure(it.save('/proc/version/talk'))).code, 'WRITE_FAILED')
  assert.is((await failure(it.save(directory))).code, 'WRITE_FAILED')
})

test('a model that is closed meanwhile: CLOSED, no file, and no wait without end', async () => {
  for (const options of [ample, await withOffload(512, 26)]) {
    const model = await load(stories, options)
    const it = model.open()
    await say(it, 3, words(400, vocabSize))
    const path = newPath()
    await it.save(path)
    const directory = temporary()
    const results = [it.save(join(directory, 'talk')), model.restore(path), say(model.open(), 50, [1])].map((promise) =>
      failure(promise),
    )
    await tick()
    await model.close()
    for (const { code } of await Promise.all(results)) assert.is(code, 'CLOSED')
    assert.equal(readdirSync(directory), [])
  }
})

test('an empty conversation and an empty path are refused', async () => {
  await using model = await load(golden('gta'), { threads: 1 })
  using it = model.open()
  assert.is((await failure(it.save(newPath()))).code, 'BAD_OPTION')
  await say(it, 1, [1])
  for (const path of ['', undefined, 7]) assert.is((await failure(it.save(path as string))).code, 'BAD_OPTION')
  assert.is((await failure(model.restore(newPath()))).code, 'NOT_FOUND')
})

test.run()
