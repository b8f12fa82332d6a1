/**
 * Who has which page: conversations, pages and prefixes as they stand, and whether there is room for what is to come.
 * Nothing here changes them; pages.ts does.
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

export interface ConversationPages {
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

/** A row as far as pages are concerned. */
export interface Place {
  conversation: number
  position: number
}

export class PageTable {
  protected readonly memory: PageMemory
  protected readonly pool: PagePool
  protected readonly prefixes: Prefixes
  protected readonly windows: Windows
  protected readonly conversations: ConversationPages[]

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

  /** All conversations. */
  get numbers(): number[] {
    return [...this.conversations.keys()]
  }

  /** Pages that are not free. */
  get held(): number[] {
    return Array.from({ length: this.pool.size }, (_, page) => page).filter((page) => this.pool.holdersOf(page) > 0)
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

  /** The kept pages as they were computed, if there was a drop. */
  originalsOf(conversation: number): readonly Original[] {
    return this.at(conversation).originals
  }

  /** For each window, the first page of which the conversation has that. */
  firstOf(conversation: number): readonly number[] {
    return this.at(conversation).from
  }

  stampOf(page: number): number {
    return this.pool.stampOf(page)
  }

  historyOf(page: number): Uint32Array {
    return this.pool.historyOf(page)
  }

  protected at(conversation: number): ConversationPages {
    const found = Number.isInteger(conversation) ? this.conversations[conversation] : undefined
    if (!found) throw new RangeError(`there is no conversation ${conversation}`)
    return found
  }

  protected expect(needed: number, returned = 0): void {
    // Most often there are; then nothing is counted.
    if (needed <= this.pool.freeCount) return
    const { pageBytes } = this.pool
    const available = this.available + returned
    if (needed > available) throw errors.outOfMemory(needed * pageBytes, available * pageBytes)
  }

  /** Pages that a rewind makes available. */
  protected returnedBy(conversation: number, length: number): number {
    return this.at(conversation)
      .pages.slice(pagesFor(length))
      .filter((page) => this.isReturned(page)).length
  }

  /** Would the page be available if a conversation let it go? */
  protected isReturned(page: number): boolean {
    const count = this.pool.holdersOf(page)
    return count === 1 || (count === 2 && this.prefixes.has(page))
  }

  /** Does `position` lie within a page of another conversation? One that only a prefix holds too costs no page. */
  protected isSharedAt(conversation: number, position: number): boolean {
    if (position % PAGE_TOKENS === 0) return false
    const page = this.at(conversation).pages[Math.floor(position / PAGE_TOKENS)]
    return page !== undefined && this.pool.holdersOf(page) > (this.prefixes.has(page) ? 2 : 1)
  }

  /** Tokens at the beginning of `ids` that a cached text has too, behind what the conversation has of it. */
  protected longestMatch(conversation: number, ids: ArrayLike<number>): number {
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

  protected emptyConversation(): ConversationPages {
    const from = this.windows.firstSeen(0)
    return { length: 0, dropped: 0, pages: [], chain: [], isKnown: true, originals: [], from }
  }
}

export const pagesFor = (length: number) => Math.ceil(length / PAGE_TOKENS)
