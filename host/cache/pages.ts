/**
 * The pages of the KV cache: which conversation has which, in what order, and who else has them. A page here is a block of
 * PAGE_TOKENS tokens with all that layers keep of it; what layers with a window keep of it may be missing (windows.ts).
 *
 *     conversation   pages of its tokens, in order; the last one may be partial        ┐ each holds
 *     prefix         a full page whose tokens, and all before them, are known by text  ┘ its page
 *
 * A page is free when nobody holds it. A page that several hold is never written: whoever appends to it copies it first;
 * if a prefix alone holds it too and there is no page for a copy, the prefix is given up instead.
 *
 * The engine trusts the tables and the positions of its rows, so every row passes here first: a conversation grows by one
 * position at a time, and a row at an earlier position cuts off what lay behind it.
 */
import { PAGE_TOKENS } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { PagePool, type PoolMemory } from './pool.ts'
import { type Prefix, Prefixes } from './prefixes.ts'
import type { WindowMemory } from './window-pages.ts'
import { Windows } from './windows.ts'

/** What the pages are made of, and where an engine looks for those of a conversation. */
export interface PageMemory extends PoolMemory {
  /** u32 (conversations, tablePages) */
  tables: Uint32Array
  tablePages: number
  conversations: number
  /** Kinds of layers of which not every page has something; default: none. */
  windows?: readonly WindowMemory[]
}

/** What a conversation found in the cache. */
export interface Reuse {
  /** Tokens that need not be computed: whole pages. */
  reused: number
  /** Tokens at the beginning that the cached text most like it has too. */
  matched: number
}

interface Conversation {
  length: number
  /** Tokens that it had and the cache has no more. */
  dropped: number
  pages: number[]
  /** The prefixes that its full pages are. */
  chain: Prefix[]
  /** Do its tokens say what its pages were computed from? Not behind a drop, nor where they were read from a file. */
  isKnown: boolean
  /** Kept pages as they were computed, once they are turned. */
  originals: Original[]
  /** For each window, the first page of which it needs that. The originals' are needed as long as it is 0. */
  from: number[]
}

/** A page as it was computed, when `dropped` tokens had been dropped. */
export interface Original {
  page: number
  dropped: number
}

/** Write page `to` with page `from`, its keys rotated on by `delta` positions. */
export interface Turn {
  from: number
  to: number
  delta: number
}

/** A row as far as pages are concerned. */
interface Place {
  conversation: number
  position: number
}

export class PageCache {
  private readonly memory: PageMemory
  private readonly pool: PagePool
  private readonly prefixes: Prefixes
  private readonly windows: Windows
  private readonly conversations: Conversation[]

  constructor(memory: PageMemory) {
    this.memory = memory
    this.windows = new Windows(memory.windows ?? [])
    const release = (page: number) => {
      this.windows.release(page)
      memory.release?.(page)
    }
    this.pool = new PagePool({ ...memory, release })
    this.prefixes = new Prefixes(this.pool)
    this.conversations = Array.from({ length: memory.conversations }, () => this.emptyConversation())
  }

  /** Pages that could be had at once: free ones, and prefixes that nobody uses. */
  get available(): number {
    return this.pool.freeCount + this.prefixes.unused
  }

  /** Pages that conversations hold, each counted once. */
  get used(): number {
    return this.pool.size - this.available
  }

  /** The same of each window. */
  get windowsAvailable(): number[] {
    return this.windows.available
  }

  get windowsUsed(): number[] {
    return this.windows.used
  }

  lengthOf(conversation: number): number {
    return this.at(conversation).length
  }

  droppedOf(conversation: number): number {
    return this.at(conversation).dropped
  }

  /** The pages of a conversation, the last one perhaps partial. */
  pagesOf(conversation: number): readonly number[] {
    return this.at(conversation).pages
  }

  /** Tokens in the cache, from position 0. */
  tokensOf(conversation: number): Uint32Array {
    const { length, pages } = this.at(conversation)
    const tokens = new Uint32Array(length)
    for (const [i, page] of pages.entries())
      tokens.set(this.historyOf(page).subarray(0, length - i * PAGE_TOKENS), i * PAGE_TOKENS)
    return tokens
  }

  /**
   * Throws unless the rows, in their order, continue their conversations and there are pages for all of them. Changes
   * nothing. Returns how many new pages that takes at most, and which of the others are written.
   */
  check(rows: readonly Place[], context: number): { fresh: number; written: number[] } {
    const lengths = new Map<number, number>()
    const starts = new Map<number, number>()
    let needed = 0
    let returned = 0
    const written = new Set<number>()
    for (const { conversation, position } of rows) {
      const before = lengths.get(conversation)
      const length = before ?? this.lengthOf(conversation)
      if (!Number.isInteger(position) || position < 0 || position >= context)
        throw new RangeError(`a position must be below the context ${context}, found ${position}`)
      if (position > length)
        throw new RangeError(`position ${position} leaves a hole: conversation ${conversation} has ${length} positions`)
      if (before !== undefined && position < length)
        throw new RangeError(`position ${position} of conversation ${conversation} goes back within a step`)
      if (before === undefined) {
        starts.set(conversation, position)
        if (this.windows.wholeBelow(this.at(conversation), position) < position)
          throw new RangeError(`position ${position} of conversation ${conversation} has lost what it sees`)
        if (position < length) returned += this.returnedBy(conversation, position)
      }
      if (position % PAGE_TOKENS === 0 || (before === undefined && this.isSharedAt(conversation, position))) needed++
      lengths.set(conversation, position + 1)
      const page = this.at(conversation).pages[Math.floor(position / PAGE_TOKENS)]
      if (before === undefined && page !== undefined && position % PAGE_TOKENS > 0) written.add(page)
    }
    this.expect(needed, returned)
    if (this.windows.count > 0)
      this.windows.expectAll(
        [...starts].map(([id, start]) => this.windowNeeds(id, (lengths.get(id) as number) - start, start)),
      )
    // Those that only a prefix holds too: they are copied as long as there is a page for it.
    const copies = [...written].filter((page) => this.prefixes.has(page) && this.pool.holdersOf(page) === 2).length
    return { fresh: needed + copies, written: [...written] }
  }

  /** Throws OutOfMemoryError unless `count` more positions of a conversation have pages. Changes nothing. */
  checkRoom(conversation: number, count: number): void {
    this.expect(this.needOf(conversation, count))
    this.windows.checkRoom(this.at(conversation), count)
  }

  /** Pages that the next `count` positions of a conversation take. */
  needOf(conversation: number, count: number): number {
    const length = this.lengthOf(conversation)
    const shared = count > 0 && this.isSharedAt(conversation, length) ? 1 : 0
    return pagesFor(length + count) - pagesFor(length) + shared
  }

  /**
   * The same of each window, for `count` positions from `start` on that one step computes: new ones, less those that the
   * conversation needs no more.
   */
  windowNeeds(conversation: number, count: number, start = this.lengthOf(conversation)): number[] {
    const isShared = this.isSharedAt(conversation, start)
    return this.windows.needs(this.at(conversation), start, count, isShared)
  }

  /** Pages that must be in memory for the next `count` positions: new ones, the partial one, and a copy of it. */
  writtenBy(conversation: number, count: number): number {
    const { length, pages } = this.at(conversation)
    const partial = length % PAGE_TOKENS > 0 ? pages.at(-1) : undefined
    const own = partial === undefined ? 0 : this.pool.holdersOf(partial) > 1 ? 2 : 1
    return pagesFor(length + count) - pagesFor(length) + own
  }

  /** Makes room for rows that were checked, and notes their tokens: who asks during the step is to see them. */
  extend(rows: readonly (Place & { token: number })[]): void {
    // First what is cut off, because check() counts on those pages.
    for (const { conversation, position } of rows)
      if (position < this.lengthOf(conversation)) this.rewind(conversation, position)
    if (this.windows.count > 0) for (const { conversation } of rows) this.windows.trim(this.at(conversation))
    for (const { conversation, position, token } of rows) {
      const it = this.at(conversation)
      const index = Math.floor(position / PAGE_TOKENS)
      if (position % PAGE_TOKENS === 0) this.place(conversation, index, this.takeWhole())
      else this.pool.touch(this.makeOwn(conversation, index))
      this.historyOf(it.pages[index] as number)[position % PAGE_TOKENS] = token
      it.length = position + 1
    }
  }

  /** Makes the full pages of a conversation known as prefixes, once they are computed. */
  publish(conversation: number): void {
    const it = this.at(conversation)
    if (!it.isKnown) return
    const full = Math.floor(it.length / PAGE_TOKENS)
    while (it.chain.length < full) it.chain.push(this.publishPage(conversation, it.chain.length))
  }

  /**
   * Gives an empty conversation the pages that hold the beginning of `ids`, but for the last one: it is to be computed, so
   * that there are logits. `matched` counts the tokens that are alike in the cached text most like it.
   */
  reuse(conversation: number, ids: ArrayLike<number>): Reuse {
    const it = this.at(conversation)
    if (it.length > 0) throw new RangeError(`conversation ${conversation} must be empty, it has ${it.length} positions`)
    // Behind a drop the same tokens have other positions.
    const reusable = it.isKnown ? Math.floor((ids.length - 1) / PAGE_TOKENS) : 0
    while (it.pages.length < reusable) {
      const from = it.pages.length * PAGE_TOKENS
      const found = this.prefixes.find(it.chain.at(-1), Array.prototype.slice.call(ids, from, from + PAGE_TOKENS))
      if (!found) break
      this.place(conversation, it.pages.length, this.pool.hold(found.page))
      it.chain.push(found)
    }
    this.prefixes.touch(it.chain)
    it.length = it.pages.length * PAGE_TOKENS
    const matched = Math.max(it.length, this.longestMatch(conversation, ids))
    // Nothing of a window is needed yet; then as much as is there to go on from.
    it.from = it.from.map(() => it.pages.length)
    return { reused: this.cut(conversation, this.windows.wholeBelow(it, it.length)), matched }
  }

  /** Makes an empty conversation share all pages of another one. */
  fork(from: number, to: number): void {
    const source = this.at(from)
    const target = this.at(to)
    if (target.length > 0) throw new RangeError(`conversation ${to} must be empty, it has ${target.length} positions`)
    for (const [i, page] of source.pages.entries()) this.place(to, i, this.pool.hold(page))
    target.chain = [...source.chain]
    target.isKnown = source.isKnown
    target.originals = source.originals.map(({ page, dropped }) => ({ page: this.pool.hold(page), dropped }))
    target.from = [...source.from]
    this.windows.hold(target)
    target.length = source.length
    target.dropped = source.dropped
  }

  /**
   * Forgets all positions from `length` on; at 0 it is a new conversation. Returns how many are left: less than `length`
   * where what a window sees there is gone, and those tokens are to be computed again.
   */
  rewind(conversation: number, length: number): number {
    const it = this.at(conversation)
    if (!Number.isInteger(length) || length < 0)
      throw new RangeError(`a length must be a whole number, found ${length}`)
    if (length === 0) {
      this.cut(conversation, 0)
      this.conversations[conversation] = this.emptyConversation()
      return 0
    }
    if (length >= it.length) return it.length
    return this.cut(conversation, this.windows.wholeBelow(it, length))
  }

  /**
   * Forgets `count` pages behind the first `keep`, and returns what is to be done to the kept ones before the conversation
   * goes on: the distance between them and what follows is as if the forgotten ones had never been. They are turned from
   * what was computed, not from what was turned before, so nothing is rounded twice. Throws OutOfMemoryError, and changes
   * nothing then.
   */
  dropPages(conversation: number, keep: number, count: number): Turn[] {
    const it = this.at(conversation)
    if (count < 1 || keep + count >= it.pages.length) throw new RangeError('a drop must leave the last page')
    const forgotten = it.pages.slice(keep, keep + count)
    const kept = it.pages.slice(0, keep)
    // A page that is still as it was computed, or that a fork has too, stays: the turned one is another.
    const isOwn = kept.map((page, i) => it.originals[i] !== undefined && this.pool.holdersOf(page) === 1)
    const returned = forgotten.filter((page) => this.isReturned(page)).length
    const fresh = isOwn.filter((own) => !own).length
    this.expect(fresh, returned)
    this.windows.checkDrop(it, keep, count, fresh)

    this.prefixes.touch(it.chain)
    this.windows.forget(it, keep, count)
    it.pages = [...kept, ...it.pages.slice(keep + count)]
    for (const page of forgotten) this.pool.drop(page)
    // Fewer pages may be kept than the last time, where a session is read with other settings.
    this.dropOriginals(it, keep)
    for (const [i, page] of kept.entries()) {
      if (isOwn[i]) {
        this.windows.releaseKept(it, page)
        continue
      }
      if (it.originals[i]) {
        this.windows.dropKept(it, page)
        this.pool.drop(page)
      } else it.originals[i] = { page, dropped: it.dropped }
      it.pages[i] = this.take()
      this.windows.takeKept(it, it.pages[i] as number)
    }
    for (const [i, page] of it.pages.entries()) this.place(conversation, i, page)
    it.chain = []
    it.isKnown = false
    it.length -= count * PAGE_TOKENS
    it.dropped += count * PAGE_TOKENS
    return kept.map((_, i) => {
      const { page, dropped } = it.originals[i] as Original
      this.pool.touch(it.pages[i] as number)
      return { from: page, to: it.pages[i] as number, delta: it.dropped - dropped }
    })
  }

  /** The kept pages as they were computed, if there was a drop. */
  originalsOf(conversation: number): readonly Original[] {
    return this.at(conversation).originals
  }

  /** For each window, the first page of which the conversation has that. */
  firstOf(conversation: number): readonly number[] {
    return this.at(conversation).from
  }

  /**
   * Gives an empty conversation new pages for what is to be read into them: as many as `length` tokens take, and an
   * original for each of `originals`; of each window from page `from` on. Throws OutOfMemoryError, and changes nothing then.
   */
  adopt(
    conversation: number,
    length: number,
    dropped: number,
    originals: readonly number[],
    from: readonly number[] = this.windows.firstSeen(length),
  ): void {
    const it = this.at(conversation)
    if (it.length > 0) throw new RangeError(`conversation ${conversation} must be empty, it has ${it.length} positions`)
    const pages = pagesFor(length)
    this.expect(pages + originals.length)
    this.windows.expect(from.map((first) => pages - first + (first === 0 ? originals.length : 0)))
    for (let i = 0; i < pagesFor(length); i++) this.place(conversation, i, this.take())
    it.originals = originals.map((before) => ({ page: this.take(), dropped: before }))
    it.from = [...from]
    this.windows.take(it)
    it.length = length
    it.dropped = dropped
    it.isKnown = false
  }

  stampOf(page: number): number {
    return this.pool.stampOf(page)
  }

  historyOf(page: number): Uint32Array {
    return this.pool.historyOf(page)
  }

  private at(conversation: number): Conversation {
    const found = Number.isInteger(conversation) ? this.conversations[conversation] : undefined
    if (!found) throw new RangeError(`there is no conversation ${conversation}`)
    return found
  }

  private expect(needed: number, returned = 0): void {
    // Most often there are; then nothing is counted.
    if (needed <= this.pool.freeCount) return
    const { pageBytes } = this.pool
    const available = this.available + returned
    if (needed > available) throw errors.outOfMemory(needed * pageBytes, available * pageBytes)
  }

  /** Forgets all positions from `length` on, at which the conversation is whole. */
  private cut(conversation: number, length: number): number {
    const it = this.at(conversation)
    const pages = pagesFor(length)
    const full = Math.floor(length / PAGE_TOKENS)
    // A kept page that is written again, turned as it is, is an original of its own.
    this.dropOriginals(it, full)
    this.windows.cut(it, length)
    const forgotten = it.pages.splice(pages)
    this.prefixes.touch(it.chain.splice(full))
    for (const page of forgotten) this.pool.drop(page)
    it.length = length
    return length
  }

  private dropOriginals(it: Conversation, from: number): void {
    for (const { page } of it.originals.splice(from)) {
      this.windows.dropKept(it, page)
      this.pool.drop(page)
    }
  }

  /** Pages that a rewind makes available. */
  private returnedBy(conversation: number, length: number): number {
    return this.at(conversation)
      .pages.slice(pagesFor(length))
      .filter((page) => this.isReturned(page)).length
  }

  /** Would the page be available if a conversation let it go? */
  private isReturned(page: number): boolean {
    const count = this.pool.holdersOf(page)
    return count === 1 || (count === 2 && this.prefixes.has(page))
  }

  /** Does `position` lie within a page of another conversation? One that only a prefix holds too costs no page. */
  private isSharedAt(conversation: number, position: number): boolean {
    if (position % PAGE_TOKENS === 0) return false
    const page = this.at(conversation).pages[Math.floor(position / PAGE_TOKENS)]
    return page !== undefined && this.pool.holdersOf(page) > (this.prefixes.has(page) ? 2 : 1)
  }

  /** Sees to it that nobody else holds a page of a conversation, which may thereby be another one. */
  private makeOwn(conversation: number, index: number): number {
    const shared = this.at(conversation).pages[index] as number
    if (this.pool.holdersOf(shared) === 1) return shared
    const prefix = this.prefixes.of(shared)
    const isFull = this.available === 0 || this.windows.isFull
    if (prefix && this.pool.holdersOf(shared) === 2 && isFull) {
      this.prefixes.forget(prefix)
      return shared
    }
    const own = this.takeWhole()
    this.pool.copy(shared, own)
    this.windows.copy(shared, own)
    this.place(conversation, index, own)
    this.pool.drop(shared)
    return own
  }

  private publishPage(conversation: number, index: number): Prefix {
    const it = this.at(conversation)
    const page = it.pages[index] as number
    const before = it.chain[index - 1]
    const found = this.prefixes.find(before, this.historyOf(page))
    if (!found) return this.prefixes.add(before, page)
    // Somebody computed the same at the same time: one of the two is enough, they do not differ in a bit.
    if (found.page !== page && this.windows.unite(it, index, found.page)) {
      this.place(conversation, index, this.pool.hold(found.page))
      this.pool.drop(page)
    }
    return found
  }

  /** Tokens at the beginning of `ids` that a cached text has too, behind what the conversation has of it. */
  private longestMatch(conversation: number, ids: ArrayLike<number>): number {
    const { chain, length } = this.at(conversation)
    const last = chain.at(-1)
    let longest = 0
    const compare = (tokens: Uint32Array) => {
      let n = 0
      while (n < tokens.length && length + n < ids.length && tokens[n] === ids[length + n]) n++
      longest = Math.max(longest, n)
    }
    for (const page of this.prefixes.after(last)) compare(this.historyOf(page))
    for (const [i, other] of this.conversations.entries())
      if (i !== conversation && other.isKnown && other.chain[chain.length - 1] === last) {
        const page = other.pages[chain.length]
        if (page !== undefined) compare(this.historyOf(page).subarray(0, other.length - length))
      }
    return length + longest
  }

  private place(conversation: number, index: number, page: number): void {
    this.at(conversation).pages[index] = page
    this.memory.tables[conversation * this.memory.tablePages + index] = page
  }

  private emptyConversation(): Conversation {
    const from = this.windows.firstSeen(0)
    return { length: 0, dropped: 0, pages: [], chain: [], isKnown: true, originals: [], from }
  }

  /** A page with all that windows see of it. */
  private takeWhole(): number {
    const page = this.take()
    this.windows.takePage(page)
    return page
  }

  /** A page with one holder: a free one, or that of a prefix that nobody uses. */
  private take(): number {
    if (this.pool.freeCount === 0) this.prefixes.evict()
    return this.pool.take()
  }
}

export const pagesFor = (length: number) => Math.ceil(length / PAGE_TOKENS)
