/**
 * The pages of the KV cache: which conversation has which, in what order, and who else has them.
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

/** What the pages are made of, and where an engine looks for those of a conversation. */
export interface PageMemory extends PoolMemory {
  /** u32 (conversations, tablePages) */
  tables: Uint32Array
  tablePages: number
  conversations: number
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
  private readonly conversations: Conversation[]

  constructor(memory: PageMemory) {
    this.memory = memory
    this.pool = new PagePool(memory)
    this.prefixes = new Prefixes(this.pool)
    this.conversations = Array.from({ length: memory.conversations }, emptyConversation)
  }

  /** Pages that could be had at once: free ones, and prefixes that nobody uses. */
  get available(): number {
    return this.pool.freeCount + this.prefixes.unused
  }

  /** Pages that conversations hold, each counted once. */
  get used(): number {
    return this.pool.size - this.available
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
      if (before === undefined && position < length) returned += this.returnedBy(conversation, position)
      if (position % PAGE_TOKENS === 0 || (before === undefined && this.isSharedAt(conversation, position))) needed++
      lengths.set(conversation, position + 1)
      const page = this.at(conversation).pages[Math.floor(position / PAGE_TOKENS)]
      if (before === undefined && page !== undefined && position % PAGE_TOKENS > 0) written.add(page)
    }
    this.expect(needed, returned)
    // Those that only a prefix holds too: they are copied as long as there is a page for it.
    const copies = [...written].filter((page) => this.prefixes.has(page) && this.pool.holdersOf(page) === 2).length
    return { fresh: needed + copies, written: [...written] }
  }

  /** Throws OutOfMemoryError unless `count` more positions of a conversation have pages. Changes nothing. */
  checkRoom(conversation: number, count: number): void {
    this.expect(this.needOf(conversation, count))
  }

  /** Pages that the next `count` positions of a conversation take. */
  needOf(conversation: number, count: number): number {
    const length = this.lengthOf(conversation)
    const shared = count > 0 && this.isSharedAt(conversation, length) ? 1 : 0
    return pagesFor(length + count) - pagesFor(length) + shared
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
    for (const { conversation, position, token } of rows) {
      const it = this.at(conversation)
      const index = Math.floor(position / PAGE_TOKENS)
      if (position % PAGE_TOKENS === 0) this.place(conversation, index, this.take())
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
    const reusable = Math.floor((ids.length - 1) / PAGE_TOKENS)
    while (it.pages.length < reusable) {
      const from = it.pages.length * PAGE_TOKENS
      const found = this.prefixes.find(it.chain.at(-1), Array.prototype.slice.call(ids, from, from + PAGE_TOKENS))
      if (!found) break
      this.place(conversation, it.pages.length, this.pool.hold(found.page))
      it.chain.push(found)
    }
    this.prefixes.touch(it.chain)
    it.length = it.pages.length * PAGE_TOKENS
    return { reused: it.length, matched: Math.max(it.length, this.longestMatch(conversation, ids)) }
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
    target.length = source.length
    target.dropped = source.dropped
  }

  /** Forgets all positions from `length` on; at 0 it is a new conversation. */
  rewind(conversation: number, length: number): void {
    const it = this.at(conversation)
    if (!Number.isInteger(length) || length < 0)
      throw new RangeError(`a length must be a whole number, found ${length}`)
    if (length === 0) {
      this.prefixes.touch(it.chain)
      for (const page of [...it.pages, ...it.originals.map((original) => original.page)]) this.pool.drop(page)
      this.conversations[conversation] = emptyConversation()
      return
    }
    if (length >= it.length) return
    for (const page of it.pages.splice(pagesFor(length))) this.pool.drop(page)
    const full = Math.floor(length / PAGE_TOKENS)
    this.prefixes.touch(it.chain.splice(full))
    // A kept page that is written again, turned as it is, is an original of its own.
    for (const { page } of it.originals.splice(full)) this.pool.drop(page)
    it.length = length
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
    this.expect(isOwn.filter((own) => !own).length, returned)

    this.prefixes.touch(it.chain)
    it.pages = [...kept, ...it.pages.slice(keep + count)]
    for (const page of forgotten) this.pool.drop(page)
    // Fewer pages may be kept than the last time, where a session is read with other settings.
    for (const { page } of it.originals.splice(keep)) this.pool.drop(page)
    for (const [i, page] of kept.entries()) {
      if (isOwn[i]) continue
      if (it.originals[i]) this.pool.drop(page)
      else it.originals[i] = { page, dropped: it.dropped }
      it.pages[i] = this.take()
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

  /**
   * Gives an empty conversation new pages for what is to be read into them: as many as `length` tokens take, and an
   * original for each of `originals`. Throws OutOfMemoryError, and changes nothing then.
   */
  adopt(conversation: number, length: number, dropped: number, originals: readonly number[]): void {
    const it = this.at(conversation)
    if (it.length > 0) throw new RangeError(`conversation ${conversation} must be empty, it has ${it.length} positions`)
    this.expect(pagesFor(length) + originals.length)
    for (let i = 0; i < pagesFor(length); i++) this.place(conversation, i, this.take())
    it.originals = originals.map((before) => ({ page: this.take(), dropped: before }))
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
    if (prefix && this.pool.holdersOf(shared) === 2 && this.available === 0) {
      this.prefixes.forget(prefix)
      return shared
    }
    const own = this.take()
    this.pool.copy(shared, own)
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
    if (found.page !== page) {
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

  /** A page with one holder: a free one, or that of a prefix that nobody uses. */
  private take(): number {
    if (this.pool.freeCount === 0) this.prefixes.evict()
    return this.pool.take()
  }
}

function emptyConversation(): Conversation {
  return { length: 0, dropped: 0, pages: [], chain: [], isKnown: true, originals: [] }
}

export const pagesFor = (length: number) => Math.ceil(length / PAGE_TOKENS)
