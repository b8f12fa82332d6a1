/**
 * What conversations need of layers with a window, one WindowPages for each kind of them. A conversation needs its pages from
 * `from` on: those that its next rows see, and a page more, so that it can go back a little. Going back further, it needs
 * earlier ones again, if they are still there.
 *
 * A layer that keeps a state instead of rows has a window of two tokens: a row goes on from the state in the page of the one
 * before it. Such a page holds the state behind its last token and no earlier one, so a conversation can go back to the end of
 * a page only. Of the pages that it left behind some stay: the nearest, and farther ones at distances that double, so that
 * it never has to go back much farther than it wants to.
 */
import { PAGE_TOKENS } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { type WindowMemory, WindowPages } from './window-pages.ts'

/** A conversation as far as windows are concerned. */
export interface Seen {
  length: number
  pages: number[]
  /** Kept pages as they were computed, once they are turned. */
  originals: { page: number }[]
  /** For each window, the first page of which it needs that. The originals' are needed as long as it is 0. */
  from: number[]
}

const pagesFor = (length: number) => Math.ceil(length / PAGE_TOKENS)

export class Windows {
  private readonly all: readonly WindowPages[]

  constructor(memory: readonly WindowMemory[]) {
    this.all = memory.map((window) => new WindowPages(window))
  }

  get count(): number {
    return this.all.length
  }

  /** Pages that could be had at once, of each window. */
  get available(): number[] {
    return this.all.map(({ available }) => available)
  }

  /** Pages that conversations need, each counted once. */
  get used(): number[] {
    return this.all.map(({ used }) => used)
  }

  /** Is there a window of which no page can be had? */
  get isFull(): boolean {
    return this.all.some(({ available }) => available === 0)
  }

  /** The first page that a row at `position` sees. */
  firstSeen(position: number): number[] {
    return this.all.map((window) => window.firstSeen(position))
  }

  /** Throws OutOfMemoryError unless there are so many pages of each window. */
  expect(needed: readonly number[]): void {
    for (const [k, { available, pageBytes }] of this.all.entries()) {
      const pages = needed[k] as number
      if (pages > available) throw errors.outOfMemory(pages * pageBytes, available * pageBytes)
    }
  }

  /** The same for what several conversations need. */
  expectAll(needs: readonly number[][]): void {
    this.expect(this.all.map((_, k) => needs.reduce((sum, each) => sum + (each[k] as number), 0)))
  }

  /** Throws unless `count` more positions have room, in as many steps as it takes: what is needed at their end. */
  checkRoom({ length, from }: Seen, count: number): void {
    if (count === 0) return
    const end = length + count
    this.expect(
      this.all.map((window, k) => {
        const first = from[k] as number
        const held = pagesFor(length) - first
        return Math.max(0, pagesFor(end) - Math.max(window.firstSeen(end - 1), first) - held)
      }),
    )
  }

  /** Pages that a step takes for `count` positions from `start` on: new ones, less those that are needed no more. */
  needs({ pages, from }: Seen, start: number, count: number, isShared: boolean): number[] {
    if (count === 0) return this.all.map(() => 0)
    const kept = pagesFor(start)
    const fresh = pagesFor(start + count) - kept + (isShared ? 1 : 0)
    return this.all.map((window, k) => {
      const first = from[k] as number
      let needed = fresh
      for (let i = Math.min(first, window.firstSeen(start)); i < pages.length; i++) {
        const needs = window.needsOf(pages[i] as number)
        if (i < first && i < kept && needs === 0) needed++
        if (i >= first && (i < window.firstKept(start) || i >= kept) && needs === 1) needed--
      }
      return needed
    })
  }

  /** Lets go what no row of a conversation will see, unless it goes back. */
  trim(it: Seen): void {
    for (const [k, window] of this.all.entries()) {
      const first = window.firstKept(it.length)
      if (first > (it.from[k] as number)) this.moveFrom(it, k, first)
    }
  }

  /** The longest length up to `length`, itself or whole pages, at which all that a next row sees is there. */
  wholeBelow(it: Seen, length: number): number {
    let whole = length
    while (whole > 0 && !this.isWhole(it, whole)) whole = PAGE_TOKENS * (pagesFor(whole) - 1)
    return whole
  }

  private isWhole(it: Seen, length: number): boolean {
    return this.all.every((window, k) => {
      if (window.isState && length !== it.length && length % PAGE_TOKENS !== 0) return false
      const first = window.firstSeen(length)
      if (first >= (it.from[k] as number)) return true
      const originals = first === 0 ? it.originals.slice(0, Math.floor(length / PAGE_TOKENS)) : []
      const pages = [...it.pages.slice(first, pagesFor(length)), ...originals.map(({ page }) => page)]
      return pages.every((page) => window.has(page))
    })
  }

  /** Before a conversation, without the originals that it loses, is cut off at `length`, where it is whole. */
  cut(it: Seen, length: number): void {
    const pages = pagesFor(length)
    for (const [k, window] of this.all.entries()) {
      const from = it.from[k] as number
      dropFrom(window, it.pages, Math.max(pages, from), it.pages.length)
      const first = Math.min(from, pages, window.firstSeen(length))
      for (const page of it.pages.slice(first, Math.min(from, pages))) window.hold(page)
      if (first === 0 && from > 0) for (const { page } of it.originals) window.hold(page)
      it.from[k] = first
    }
  }

  /** All that a conversation needs is needed once more. */
  hold(it: Seen): void {
    for (const [k, window] of this.all.entries()) for (const page of neededOf(it, k)) window.hold(page)
  }

  /** Takes all that a conversation of new pages needs. */
  take(it: Seen): void {
    for (const [k, window] of this.all.entries()) for (const page of neededOf(it, k)) window.take(page)
  }

  /** Takes what all windows have of a new page. */
  takePage(page: number): void {
    for (const window of this.all) window.take(page)
  }

  /** Copies a page for one that needs it to one that is its own. */
  copy(from: number, own: number): void {
    for (const window of this.all) {
      window.copy(from, own)
      window.drop(from)
    }
  }

  /** The page is free. */
  release(page: number): void {
    for (const window of this.all) window.release(page)
  }

  /** A page of a conversation becomes another one, which is alike. False if that has lost what is needed. */
  unite({ pages, from }: Seen, index: number, other: number): boolean {
    const needed = this.all.filter((_, k) => index >= (from[k] as number))
    if (!needed.every((window) => window.has(other))) return false
    for (const window of needed) {
      window.hold(other)
      window.drop(pages[index] as number)
    }
    return true
  }

  // Kept pages that are turned are needed where nothing was given back yet, else a window ends behind them.

  /** Throws unless a drop leaves all that windows see, and there is room for `fresh` pages that are turned. */
  checkDrop(it: Seen, keep: number, count: number, fresh: number): void {
    const forgotten = it.pages.slice(keep, keep + count)
    const needed = this.all.map((window, k) => {
      const from = it.from[k] as number
      if (from === 0) return fresh - forgotten.filter((page) => window.needsOf(page) === 1).length
      const first = window.firstSeen(it.length - count * PAGE_TOKENS)
      if (first < keep || first + count < from)
        throw new RangeError('a drop must leave what a window sees behind the kept pages')
      return 0
    })
    this.expect(needed)
  }

  /** Before a drop: forgotten pages are needed no more, nor kept ones that are out of sight. */
  forget(it: Seen, keep: number, count: number): void {
    for (const [k, window] of this.all.entries()) {
      const from = it.from[k] as number
      for (const page of it.pages.slice(from === 0 ? keep : from, keep + count)) window.drop(page)
      it.from[k] = from === 0 ? 0 : Math.max(keep, from - count)
    }
  }

  takeKept(it: Seen, page: number): void {
    for (const [k, window] of this.all.entries()) if (it.from[k] === 0) window.take(page)
  }

  dropKept(it: Seen, page: number): void {
    for (const [k, window] of this.all.entries()) if (it.from[k] === 0) window.drop(page)
  }

  /** What is there of a page that is written anew, but needed no more, may not be found again. */
  releaseKept(it: Seen, page: number): void {
    for (const [k, window] of this.all.entries()) if (it.from[k] !== 0) window.release(page)
  }

  /** From page `to` on it needs what window `k` sees: that of earlier pages no more. */
  private moveFrom(it: Seen, k: number, to: number): void {
    const window = this.all[k] as WindowPages
    const from = it.from[k] as number
    dropFrom(window, it.pages, from, to)
    if (from === 0) for (const { page } of it.originals) window.drop(page)
    it.from[k] = to
  }
}

/**
 * Lets go pages from … to. Of states one at an even place stands for two pages, at every fourth for four, and so on: it is worth as
 * many.
 */
function dropFrom(window: WindowPages, pages: readonly number[], from: number, to: number): void {
  for (let i = from; i < to; i++) window.drop(pages[i] as number, window.isState ? (i + 1) & -(i + 1) : 0)
}

/** Pages of which a conversation needs what window `k` sees. */
function neededOf({ pages, originals, from }: Seen, k: number): number[] {
  const first = from[k] as number
  return [...pages.slice(first), ...(first === 0 ? originals.map(({ page }) => page) : [])]
}
