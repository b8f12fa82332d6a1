/** The pages of the cache, without regard to what they hold: how many hold each, and which are free. */
import { PAGE_TOKENS } from '../../models/index.ts'
import { errors } from '../errors.ts'

/** What the pages are made of, in the engine's memory. */
export interface PoolMemory {
  /** Pages that there can be. */
  pages: number
  /** u32 (pages, PAGE_TOKENS): the token of each row. */
  history: Uint32Array
  /** Bytes of a page, as errors count them. */
  pageBytes: number
  /** Makes `to` a copy of `from`. */
  copy(from: number, to: number): void
  /** Prepares a page that was free: nobody may see what it held before. */
  clear(page: number): void
  /** The page is free again. */
  release?(page: number): void
}

export class PagePool {
  readonly pageBytes: number
  readonly size: number
  private readonly memory: PoolMemory
  private readonly holders: Uint32Array
  /** A number for what a page holds: another one whenever that changes. */
  private readonly stamps: Float64Array
  private readonly free: number[]
  private clock = 0

  constructor(memory: PoolMemory) {
    this.memory = memory
    this.pageBytes = memory.pageBytes
    this.size = memory.pages
    this.holders = new Uint32Array(memory.pages)
    this.stamps = new Float64Array(memory.pages)
    this.free = Array.from({ length: memory.pages }, (_, page) => page).reverse()
  }

  get freeCount(): number {
    return this.free.length
  }

  holdersOf(page: number): number {
    return this.holders[page] as number
  }

  stampOf(page: number): number {
    return this.stamps[page] as number
  }

  historyOf(page: number): Uint32Array {
    return this.memory.history.subarray(page * PAGE_TOKENS, (page + 1) * PAGE_TOKENS)
  }

  /** A free page, with one holder. Throws OutOfMemoryError. */
  take(): number {
    const page = this.free.pop()
    if (page === undefined) throw errors.outOfMemory(this.pageBytes, 0)
    this.holders[page] = 1
    this.touch(page)
    this.memory.clear(page)
    this.historyOf(page).fill(0)
    return page
  }

  hold(page: number): number {
    this.holders[page] = this.holdersOf(page) + 1
    return page
  }

  drop(page: number): void {
    const left = this.holdersOf(page) - 1
    this.holders[page] = left
    if (left > 0) return
    this.free.push(page)
    this.memory.release?.(page)
  }

  /** What the page holds is about to change. */
  touch(page: number): void {
    this.stamps[page] = ++this.clock
  }

  copy(from: number, to: number): void {
    this.memory.copy(from, to)
    this.historyOf(to).set(this.historyOf(from))
  }
}
