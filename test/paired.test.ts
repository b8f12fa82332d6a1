/**
 * An engine made of two, of which one reads prompts: whatever happens to conversations, the bits are those of one engine alone.
 * Both are WebAssembly here, so there is nothing to round.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type CachedPage, KvCache } from '../host/cache/cache.ts'
import { type Engine, greedy, type Row } from '../host/engine/engine.ts'
import { openPaired } from '../host/engine/paired.ts'
import { PAGE_TOKENS } from '../models/index.ts'
import { random, randomTensors, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { openBare, relaxed, strict } from './harness/engines.ts'

const CONTEXT = 256
const CONVERSATIONS = 4
const options = { context: CONTEXT, maxRows: 48, maxLogits: CONVERSATIONS, conversations: CONVERSATIONS, pages: 14 }
/** Rows beyond one for each conversation that count as a prompt here. */
const PROMPT_ROWS = 5

const family = (name: string, fields: object = {}) => {
  const config = { ...readJson(golden(`families/${name}/config.json`)), max_position_embeddings: CONTEXT, ...fields }
  return writeCheckpoint(config, randomTensors(config, 'F32', 7))
}

/** Counts steps of an engine. */
function counted(engine: Engine): { engine: Engine; steps: () => number } {
  let steps = 0
  const step = engine.step.bind(engine)
  engine.step = (rows) => {
    steps++
    return step(rows)
  }
  return { engine, steps: () => steps }
}

/** The same history for an engine alone and for a pair, at random. */
class Both {
  readonly caches: readonly KvCache[]
  readonly next: () => number
  private readonly vocabSize: number

  constructor(caches: readonly KvCache[], seed: number) {
    this.caches = caches
    this.next = random(seed)
    this.vocabSize = (caches[0] as KvCache).facts.vocabSize
  }

  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  /** What both answer, which must be the same. */
  async each<T>(work: (cache: KvCache) => Promise<T> | T): Promise<T> {
    const [alone, pair] = await Promise.all(
      this.caches.map(async (cache) => {
        try {
          return { value: await work(cache) }
        } catch (error) {
          return { error: String(error) }
        }
      }),
    )
    assert.equal(pair, alone)
    return (alone as { value: T }).value
  }

  get alone(): KvCache {
    return this.caches[0] as KvCache
  }

  /** Texts begin alike, so that prefixes are found. */
  token(position: number, conversation: number): number {
    return position < 100 ? (position * 7) % this.vocabSize : this.below(this.vocabSize) + 0 * conversation
  }

  async step(): Promise<void> {
    const rows: Row[] = []
    const isDecode = this.next() < 0.5
    for (let conversation = 0; conversation < CONVERSATIONS; conversation++) {
      if (this.next() < 0.3) continue
      const length = this.alone.lengthOf(conversation)
      const count = Math.min(isDecode ? 1 : 1 + this.below(12), CONTEXT - length, 12)
      for (let i = 0; i < count; i++) {
        const position = length + i
        const row = { conversation, position, token: this.token(position, conversation) }
        rows.push(i === count - 1 ? { ...row, sampling: greedy } : row)
      }
    }
    if (rows.length === 0) return
    await this.each(async (cache) => {
      const sampled = [...(await cache.step(rows))]
      const logits = await Promise.all(sampled.map(async (_, k) => (await cache.logits(k)).slice()))
      return { sampled, logits }
    })
  }

  /** A conversation as a session would bring it back: from its pages, one of them in two parts. */
  async adopt(from: number, to: number): Promise<void> {
    await this.each(async (cache) => {
      const source = cache.cached(from)
      const target = cache.adopt(
        to,
        source.length,
        source.dropped,
        source.originals.map(({ dropped }) => dropped),
        source.from,
      )
      for (const [list, origin] of [
        [target.pages, source.pages],
        [target.originals, source.originals],
      ] as const)
        for (const [i, { id, tokens }] of list.entries()) {
          const page = origin[i] as CachedPage
          tokens.set(page.tokens)
          for (const kind of cache.kinds.keys()) {
            if (list === target.pages ? i < (target.from[kind] as number) : target.from[kind] !== 0) continue
            const bytes = (await cache.fetchPage(page.id, kind)).slice()
            const half = bytes.length >> 1
            await cache.storePage(id, bytes.subarray(0, half), { kind })
            await cache.storePage(id, bytes.subarray(half), { kind, start: half })
          }
        }
    })
  }

  async act(): Promise<void> {
    const [one, other] = [this.below(CONVERSATIONS), this.below(CONVERSATIONS)]
    const length = this.alone.lengthOf(one)
    const kind = this.next()
    if (kind < 0.6) return await this.step()
    if (kind < 0.7) await this.each((cache) => cache.rewind(one, Math.floor(length * 0.7)))
    else if (kind < 0.75) await this.each((cache) => cache.rewind(one, 0))
    else if (kind < 0.85) await this.each((cache) => cache.fork(one, other))
    else if (kind < 0.9) {
      const ids = Array.from({ length: 90 }, (_, i) => this.token(i, one))
      await this.each((cache) => cache.reuse(one, ids))
    } else if (kind < 0.95 && length > 2 * PAGE_TOKENS && this.alone.keepsAll)
      await this.each((cache) => cache.drop(one, 1, 1))
    else if (length > 0 && this.alone.lengthOf(other) === 0) await this.adopt(one, other)
  }

  /** Every page of every conversation, byte for byte. */
  async comparePages(): Promise<void> {
    for (let conversation = 0; conversation < CONVERSATIONS; conversation++)
      await this.each(async (cache) => {
        const { pages, from, length } = cache.cached(conversation)
        const bytes: Uint8Array[] = []
        // Behind its last row a page holds what was there before a rewind.
        for (const [i, { id }] of pages.entries())
          for (const kind of cache.kinds.keys())
            if (i >= (from[kind] as number) && (i + 1) * PAGE_TOKENS <= length)
              bytes.push((await cache.fetchPage(id, kind)).slice())
        return bytes
      })
  }
}

/** Feeds a conversation as many tokens: a prompt for the first engine, single ones for the second. */
async function say(both: Both, conversation: number, count: number, slice = count): Promise<void> {
  for (let done = 0; done < count; done += slice) {
    const length = both.alone.lengthOf(conversation)
    const rows = Array.from({ length: Math.min(slice, count - done) }, (_, i) => {
      const row = { conversation, position: length + i, token: both.token(length + i, conversation) }
      return i === slice - 1 ? { ...row, sampling: greedy } : row
    })
    await both.each(async (cache) => {
      await cache.step(rows)
      return (await cache.logits(0)).slice()
    })
  }
}

/** What may come between a prompt, of the first engine, and what follows it. */
const between: [string, (both: Both) => Promise<unknown>, { tokens: number; in?: number }][] = [
  ['nothing', async () => undefined, { tokens: 1 }],
  ['pages are read', (both) => both.comparePages(), { tokens: 1 }],
  ['a fork, which copies the last page', (both) => both.each((cache) => cache.fork(0, 1)), { tokens: 1, in: 1 }],
  ['a drop, which turns pages', (both) => both.each((cache) => cache.drop(0, 1, 1)), { tokens: 1 }],
  ['a session, read by the first', (both) => both.adopt(0, 2), { tokens: 20, in: 2 }],
  ['a session, read by the second', (both) => both.adopt(0, 2), { tokens: 1, in: 2 }],
  ['a prefix that is found', (both) => both.each((cache) => cache.reuse(3, cache.tokensOf(0))), { tokens: 1, in: 3 }],
  ['tokens of the second, then a prompt', (both) => say(both, 0, 3, 1), { tokens: 20 }],
  [
    'a page that was given back and is taken again',
    async (both) => {
      await both.each((cache) => cache.rewind(0, 64))
      await say(both, 0, 70, 1)
    },
    { tokens: 20 },
  ],
]

for (const [name, act, follow] of between)
  test(`behind a prompt: ${name}`, async () => {
    const open = () => openBare(golden('gta'), options)
    const pair = await openPaired(await open(), await open(), PROMPT_ROWS)
    const both = new Both([new KvCache(await open()), new KvCache(pair)], 1)
    await say(both, 0, 180, 45)
    await act(both)
    await say(both, follow.in ?? 0, follow.tokens)
    await both.comparePages()
    for (const cache of both.caches) await cache.close()
  })

for (const [name, directory, more] of [
  ['gta', golden('gta'), {}],
  ['two threads and another build', golden('mla'), { threads: 2 }],
  ['windows', family('gemma3_text', { sliding_window: 70 }), {}],
  ['states', family('lfm2'), {}],
] as const)
  test(`a random history of conversations: ${name}`, async () => {
    const open = (build = relaxed) => openBare(directory, { ...options, ...more, build })
    const [first, second] = [counted(await open(strict)), counted(await open())]
    const pair = await openPaired(first.engine, second.engine, PROMPT_ROWS)
    const both = new Both([new KvCache(await open()), new KvCache(pair)], name.length)
    for (let i = 0; i < 100; i++) await both.act()
    await both.comparePages()
    // Both had something to do, or nothing was tested.
    assert.ok(first.steps() > 15 && second.steps() > 15, `${first.steps()} and ${second.steps()} steps`)
    for (const cache of both.caches) await cache.close()
  })

test.run()
