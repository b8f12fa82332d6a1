/** The same history of conversations for a plain engine and for one that must not differ from it: whatever happens, the bits are the same. */
import * as assert from 'uvu/assert'
import type { CachedPage, KvCache } from '../../host/cache/cache.ts'
import { greedy, type Row } from '../../host/engine/engine.ts'
import { PAGE_TOKENS } from '../../models/index.ts'
import { random } from '../fixtures/checkpoints.ts'

/** Two caches of one model; `alone` is the plain one. */
export class Histories {
  readonly caches: readonly KvCache[]
  readonly next: () => number
  private readonly vocabSize: number
  private readonly conversations: number
  private readonly context: number
  /** Are tokens forgotten too? */
  private readonly drops: boolean

  constructor(caches: readonly KvCache[], seed: number, { drops = true } = {}) {
    this.caches = caches
    this.next = random(seed)
    this.drops = drops
    const { vocabSize, conversations, context } = this.alone.facts
    this.vocabSize = vocabSize
    this.conversations = conversations
    this.context = context
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
    this.compare(pair, alone)
    return (alone as { value: T }).value
  }

  /** Throws unless the second answered as the first, the plain one. */
  protected compare(found: unknown, expected: unknown): void {
    assert.equal(found, expected)
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
    for (let conversation = 0; conversation < this.conversations; conversation++) {
      if (this.next() < 0.3) continue
      const length = this.alone.lengthOf(conversation)
      const count = Math.min(isDecode ? 1 : 1 + this.below(12), this.context - length, 12)
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
    const [one, other] = [this.below(this.conversations), this.below(this.conversations)]
    const length = this.alone.lengthOf(one)
    const kind = this.next()
    if (kind < 0.6) return await this.step()
    if (kind < 0.7) await this.each((cache) => cache.rewind(one, Math.floor(length * 0.7)))
    else if (kind < 0.75) await this.each((cache) => cache.rewind(one, 0))
    else if (kind < 0.85) await this.each((cache) => cache.fork(one, other))
    else if (kind < 0.9) {
      const ids = Array.from({ length: 90 }, (_, i) => this.token(i, one))
      await this.each((cache) => cache.reuse(one, ids))
    } else if (kind < 0.95 && this.drops && length > 2 * PAGE_TOKENS && this.alone.keepsAll)
      await this.each((cache) => cache.drop(one, 1, 1))
    else if (length > 0 && this.alone.lengthOf(other) === 0) await this.adopt(one, other)
  }

  /** Every page of every conversation, byte for byte. */
  async comparePages(): Promise<void> {
    for (let conversation = 0; conversation < this.conversations; conversation++)
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
export async function say(both: Histories, conversation: number, count: number, slice = count): Promise<void> {
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
