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
import { type ConversationPages, type Original, PageTable, type Place, pagesFor } from './page-table.ts'
import type { Prefix } from './prefixes.ts'

/** What a conversation found in the cache. */
export interface Reuse {
  /** Tokens that need not be computed: whole pages. */
  reused: number
  /** Tokens at the beginning that the cached text most like it has too. */
  matched: number
}

/** Write page `to` with page `from`, its keys rotated on by `delta` positions. */
export interface Turn {
  from: number
  to: number
  delta: number
}

export class PageCache extends PageTable {
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

  /** Makes the prefixes unknown that these pages are. */
  forgetPrefixes(pages: Iterable<number>): void {
    for (const page of pages) {
      const prefix = this.prefixes.of(page)
      if (prefix) this.prefixes.forget(prefix)
    }
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

  private dropOriginals(it: ConversationPages, from: number): void {
    for (const { page } of it.originals.splice(from)) {
      this.windows.dropKept(it, page)
      this.pool.drop(page)
    }
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

  private place(conversation: number, index: number, page: number): void {
    this.at(conversation).pages[index] = page
    this.memory.tables[conversation * this.memory.tablePages + index] = page
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
