/**
 * Layers with a window give pages back. Whatever happened before, a conversation goes on as one that computed the same tokens
 * where nothing is ever given back, bit for bit; and what is held is what the spec says. The models are small Gemma 3 ones:
 * three of four layers have a window.
 */
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { debugBuild } from '../host/engine/wasm/builds.ts'
import { type Conversation, convert, load, OutOfMemoryError } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import {
  type CacheType,
  cacheTypes,
  describe,
  layerPageBytes,
  PAGE_TOKENS,
  pageBytes,
  poolBytes,
} from '../models/index.ts'
import { failure, random, randomTensors, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { feed, logitsOf, type OpenOptions, openEngine, relaxed, strict } from './harness/engines.ts'
import { runOnNode } from './harness/wasi-engines.ts'

const CONTEXT = 512
const gemma = (window: number) => ({
  ...readJson(golden('families/gemma3_text/config.json')),
  ...{ max_position_embeddings: 2 * CONTEXT, sliding_window: window, initializer_range: 1 },
})
const folders = new Map<number, string>()
/** A checkpoint whose layers look back `window` tokens. */
function checkpoint(window: number): string {
  const found = folders.get(window)
  if (found !== undefined) return found
  const folder = writeCheckpoint(gemma(window), randomTensors(gemma(window), 'F32', window))
  folders.set(window, folder)
  return folder
}

const specOf = (window: number) => describe(gemma(window)).spec
const words = (length: number, seed: number) => {
  const next = random(seed)
  return Array.from({ length }, () => Math.floor(next() * 144))
}
const options = { context: CONTEXT, maxRows: 32, maxLogits: 32 }
/** As many rows as the context has: a window keeps all pages then. */
const roomy = (window: number, more: OpenOptions = {}) =>
  openEngine(checkpoint(window), { ...options, maxRows: CONTEXT, ...more })

for (const [window, slice, build, type, threads] of [
  [64, 32, relaxed, 'q8', 1],
  [65, 1, strict, 'q8', 1],
  [100, 7, relaxed, 'q8', 3],
  [130, 32, relaxed, 'f32', 1],
  [200, 29, debugBuild, 'q8', 2],
] as const)
  test(`a window of ${window}: ${type} logits are those of a cache that keeps all, ${slice} tokens a step`, async () => {
    const ids = words(CONTEXT, window)
    const all = await roomy(window, { type })
    const tight = await openEngine(checkpoint(window), { ...options, build, type, threads })
    try {
      assert.equal(
        all.kinds.map(({ pages }) => pages),
        [8, 8],
      )
      const most = Math.ceil((window + 32) / 64) + 2
      assert.equal(
        tight.kinds.map(({ pages }) => pages),
        [Math.min(8, most), 8],
      )
      const expected = await logitsOf(all, ids, 32)
      assert.equal(await logitsOf(tight, ids, slice), expected)
    } finally {
      await all.close()
      await tight.close()
    }
  })

/** What is promised from the spec alone. */
function counted(window: number, type: CacheType, length: number, rows: number) {
  const [windowed, whole] = specOf(window).layers
  const blocks = Math.ceil(length / PAGE_TOKENS)
  // The row that began the last step sees `window` tokens, and 64 more are kept.
  const first = Math.floor(Math.max(0, length - rows - window + 1 - 64) / PAGE_TOKENS)
  const bytes = { windowed: 3 * layerPageBytes(windowed as never, type), whole: layerPageBytes(whole as never, type) }
  return blocks * bytes.whole + (blocks - first) * bytes.windowed
}

test('what is held while a text grows, and what is laid out, is what the spec says', async () => {
  const window = 64
  for (const type of cacheTypes) {
    const cache = await openEngine(checkpoint(window), { ...options, type: type === 'f32' ? 'f32' : 'q8' })
    const spec = specOf(window)
    const sizes = { rows: 32, tableBlocks: 8, conversations: 1 }
    assert.is(cache.use.totalBytes, poolBytes(spec, type, 8, sizes))
    assert.is(
      cache.use.totalBytes,
      counted(window, type, CONTEXT, CONTEXT) - 4 * 3 * layerPageBytes(spec.layers[0] as never, type),
    )
    for (let length = 0; length < CONTEXT; length += 32) {
      await feed(cache, words(32, length), { from: length })
      assert.is(cache.use.usedBytes, counted(window, type, length + 32, 32), `${type}, ${length + 32} tokens`)
    }
    // Three of four layers keep 3 pages of 8.
    assert.is(cache.use.usedBytes, (8 * pageBytes(spec, type)) / 4 + (3 * 3 * pageBytes(spec, type)) / 4)
    cache.rewind(0, 0)
    assert.is(cache.use.usedBytes, 0)
    await cache.close()
  }
})

test('memory for so many bytes is used as far as it goes', async () => {
  const window = 64
  const spec = specOf(window)
  const sizes = { rows: 32, tableBlocks: 8, conversations: 32 }
  for (const blocks of [1, 3, 9, 20, 41]) {
    const cacheMemory = poolBytes(spec, 'int8', blocks, sizes)
    const model = await load(checkpoint(window), { threads: 1, context: CONTEXT, batch: 32, type: 'q8', cacheMemory })
    assert.equal([runtimeOf(model).cache.pagesTotal, runtimeOf(model).cache.use.totalBytes], [blocks, cacheMemory])
    await model.close()
  }
  const model = await load(checkpoint(window), { threads: 1, context: CONTEXT, batch: 32, type: 'q8' })
  assert.is(runtimeOf(model).cache.use.totalBytes, poolBytes(spec, 'int8', 9, sizes))
  assert.ok(runtimeOf(model).cache.use.totalBytes < 0.7 * 9 * pageBytes(spec, 'int8'))
  await model.close()
})

// Of 320 tokens, a window of 200 gives nothing back: what it sees of kept pages is turned too.
for (const window of [66, 200])
  test(`what a full conversation forgets is the same with a window of ${window}`, async () => {
    const common = { threads: 1, context: 320, type: 'q8' as const }
    const ids = words(40, 3)
    const made: number[][] = []
    // So many rows of a step keep all pages; so few do not.
    for (const batch of [320, 8])
      for (const contextPolicy of ['window', 'shift'] as const) {
        const model = await load(checkpoint(window), { ...common, batch })
        const it = model.open({ contextPolicy, keep: 60 })
        const tokens: number[] = []
        for await (const _ of it.generate(ids, { maxTokens: 500, temperature: 0, onToken: (id) => tokens.push(id) }));
        assert.ok(it.dropped >= 192)
        it.rewind(it.tokens.length - 20)
        const logits = await it.logits([5])
        tokens.push(logits.indexOf(Math.max(...logits)))
        const path = join(temporary(), 'talk')
        await it.save(path)
        // Back to what is kept: what was forgotten is not there to be computed again, but all else is.
        for (const length of [70, 30]) {
          const before = it.tokens
          it.rewind(length)
          assert.equal(it.tokens, before.slice(0, length))
          assert.ok((await it.logits([5])).every(Number.isFinite))
        }
        it.close()
        const again = await model.restore(path, { contextPolicy, keep: 60 })
        for await (const _ of again.generate([7], {
          maxTokens: 300,
          temperature: 0,
          onToken: (id) => tokens.push(id),
        }));
        made.push(tokens)
        await model.close()
      }
    assert.equal(made[2], made[0])
    assert.equal(made[3], made[1])
  })

test('a context in which kept pages would be seen again once they were given back is refused', async () => {
  const model = await load(checkpoint(200), { threads: 1, context: 384, type: 'q8', batch: 8 })
  const error = await failure((async () => model.open({ contextPolicy: 'shift', keep: 64 }))())
  assert.match(error.message, /at least 391 tokens.*some layers see all tokens/)
  model.open({ contextPolicy: 'window', keep: 64 }).close()
  await model.close()
})

test('a text that begins like an earlier one goes on from where all that a window sees is left', async () => {
  const window = 70
  const cache = await openEngine(checkpoint(window), { ...options, conversations: 3, pages: 17 })
  const fresh = await roomy(window)
  assert.equal(
    cache.kinds.map(({ pages }) => pages),
    [8, 17],
  )
  const ids = words(300, 4)
  await feed(cache, ids)
  cache.rewind(0, 0)
  const reused = (tokens: number[], conversation: number) => cache.reuse(conversation, tokens)
  // All 5 pages are still there.
  assert.equal(reused([...ids, 1], 1), { reused: 256, matched: 256 })
  const more = words(40, 5)
  assert.equal(
    await feed(cache, [...ids.slice(256), ...more], { from: 256, conversation: 1 }),
    await feed(fresh, [...ids, ...more]),
  )
  // Others want the first of them: what is behind is enough for the whole beginning, and for nothing shorter.
  await feed(cache, words(130, 6), { conversation: 2 })
  cache.rewind(1, 0)
  cache.rewind(2, 0)
  await feed(cache, words(320, 7), { conversation: 2 })
  const found = reused([...ids, ...more, 1], 1)
  const shorter = reused([...ids.slice(0, 129), 1], 0)
  assert.equal([found.matched, shorter.matched], [320, 129])
  assert.is(shorter.reused, 0)
  const rest = [...ids, ...more, 1].slice(found.reused)
  fresh.rewind(0, 0)
  assert.equal(
    await feed(cache, rest, { from: found.reused, conversation: 1 }),
    await feed(fresh, [...ids, ...more, 1]),
  )
  await cache.close()
  await fresh.close()
})

test('the stand-alone command writes pages that nobody sees any more anew', async () => {
  const folder = temporary()
  await convert(checkpoint(64), join(folder, 'model.gta'), { type: 'q8' })
  const model = await load(join(folder, 'model.gta'), { threads: 1, context: CONTEXT })
  const ids = words(200, 9)
  const tokens: number[] = []
  const onToken = (id: number) => tokens.push(id)
  for await (const _ of model.generate(ids, { maxTokens: 300, temperature: 0, onToken }));
  await model.close()
  const given = ['model.gta', '--tokens', ids.join(), '-n', '300', '--temp', '0', '-c', `${CONTEXT}`]
  const { status, stdout, stderr } = runOnNode(given, { '.': folder }, { build: 'strict' })
  assert.is(status, 0, stderr)
  assert.is(stdout, `${tokens.join(' ')} \n`)
})

test('any history of conversations gives what the tokens alone give', async () => {
  const window = 70
  const next = random(11)
  const below = (n: number) => Math.floor(next() * n)
  const fresh = await roomy(window)
  const expected = async (tokens: readonly number[]) => {
    fresh.rewind(0, 0)
    return feed(fresh, tokens)
  }
  const sizes = { rows: 16, tableBlocks: 8, conversations: 32 }
  const directory = temporary()
  const common = { threads: 1, context: CONTEXT, batch: 16, maxLogits: 16, type: 'q8' as const }
  const cacheMemory = poolBytes(specOf(window), 'int8', 24, sizes)
  const model = await load(checkpoint(window), { ...common, cacheMemory })
  assert.equal(
    runtimeOf(model).cache.kinds.map(({ pages }) => pages),
    [12, 24],
  )
  const open: { it: Conversation; tokens: number[] }[] = []
  const counts: Record<string, number> = {}
  const count = (name: string) => {
    counts[name] = (counts[name] ?? 0) + 1
  }
  const texts = [words(CONTEXT, 1), words(CONTEXT, 2)]
  const begin = async (it = model.open()) => {
    open.push({ it, tokens: it.tokens })
  }
  /** Tokens that follow: of the same text mostly, so that much is found again. */
  const more = (tokens: number[], n: number) => {
    const text = texts.find(([first]) => first === tokens[0]) ?? (texts[below(2)] as number[])
    return Array.from({ length: Math.max(0, n) }, (_, i) =>
      below(200) === 0 ? below(144) : (text[tokens.length + i] as number),
    )
  }
  const operations: Record<string, (one: (typeof open)[number]) => Promise<void>> = {
    async extend(one) {
      const ids = more(one.tokens, Math.min(CONTEXT - 12 - one.tokens.length, 1 + below(below(3) === 0 ? 200 : 30)))
      if (ids.length < 1) return
      if (below(2)) {
        const logits = await one.it.logits(ids)
        one.tokens.push(...ids)
        assert.equal(logits, await expected(one.tokens))
        return
      }
      const speculate = 4 * below(2)
      const heard: number[] = []
      const onToken = (id: number) => heard.push(id)
      try {
        for await (const _ of one.it.generate(ids, { maxTokens: 1 + below(8), temperature: 0, speculate, onToken }));
      } finally {
        if (heard.length > 0) one.tokens.push(...ids, ...heard)
      }
    },
    async rewind(one) {
      const length = below(3) === 0 ? below(one.tokens.length + 1) : Math.max(0, one.tokens.length - below(40))
      if (one.it.length > length) {
        one.it.rewind(length)
        if (length > 0 && one.it.length < length - 1) count('computed again')
      } else one.it.rewind(length)
      one.tokens.length = length
    },
    async fork(one) {
      if (open.length < 5) await begin(one.it.fork())
    },
    async close(one) {
      one.it.close()
      open.splice(open.indexOf(one), 1)
    },
    async session(one) {
      if (one.tokens.length === 0) return
      const path = join(directory, `${below(3)}`)
      await one.it.save(path)
      one.it.close()
      open.splice(open.indexOf(one), 1)
      await begin(await model.restore(path))
      assert.equal(open.at(-1)?.tokens, one.tokens)
    },
  }
  const names = ['extend', 'extend', 'extend', 'extend', 'rewind', 'fork', 'close', 'session']
  for (let i = 0; i < 300; i++) {
    if (open.length === 0 || (open.length < 3 && below(4) === 0)) await begin()
    const name = names[below(names.length)] as string
    const one = open[below(open.length)] as (typeof open)[number]
    try {
      await operations[name]?.(one)
      count(name)
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error
      count('out of memory')
    }
    for (const { it, tokens } of open) assert.equal(it.tokens, tokens, `${i} ${name}`)
    const other = open[below(open.length)]
    if (!other || other.tokens.length === 0) continue
    // The last token again: its logits come from all that the cache has.
    const last = other.tokens.at(-1) as number
    other.it.rewind(other.tokens.length - 1)
    other.tokens.pop()
    try {
      const logits = await other.it.logits([last])
      other.tokens.push(last)
      assert.equal(logits, await expected(other.tokens), `${i} ${name}`)
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error
      count('out of memory')
    }
  }
  for (const name of [...new Set(names), 'out of memory', 'computed again'])
    assert.ok((counts[name] ?? 0) > 2, JSON.stringify(counts))
  for (const { it } of open) it.close()
  assert.is(runtimeOf(model).cache.use.usedBytes, 0)
  await model.close()
  await fresh.close()
})

test.run()
