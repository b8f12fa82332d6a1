/**
 * Pages of a kind with a window, of which there are fewer than blocks: a conversation needs those of its last blocks. What
 * nobody needs any more stays where it is until its place is wanted, the longest unneeded first, so that a conversation
 * can often go back to it, or another one begin like it. Some are worth more than others: what they are worth counts from what was
 * given up last (N. Young's GreedyDual), so that none stays for ever.
 */
import { NO_PAGE as ENGINE_NO_PAGE } from '../../assembly/abi.ts'
import { PAGE_TOKENS } from '../../models/index.ts'
import { errors } from '../errors.ts'

/** The place of a page that is not there. */
export const NO_PAGE: number = ENGINE_NO_PAGE

/** Tokens before the window that a conversation keeps: so far back it can always go. */
const SLACK = PAGE_TOKENS

/** What the pages of one kind are made of, in the engine's memory. */
export interface WindowMemory {
  /** Tokens that a token sees, itself among them. */
  window: number
  /** A page is a state: what was before its last token is not there any more. */
  isState?: boolean | undefined
  /** Places for pages, and bytes of each. */
  pages: number
  pageBytes: number
  /** u32 (blocks): where each block's page lies. */
  places: Uint32Array
  /** Makes the page at place `to` a copy of that at `from`. */
  copy(from: number, to: number): void
  /** Fills a place with zeros. */
  clear(place: number): void
}

export class WindowPages {
  readonly pageBytes: number
  readonly isState: boolean
  private readonly window: number
  private readonly memory: WindowMemory
  /** How many conversations need the page of each block. */
  private readonly needs: Uint32Array
  private readonly free: number[]
  /** Blocks whose pages are there and needed by nobody, the longest so first, and what they are worth to be kept. */
  private readonly unneeded = new Map<number, number>()
  /** What the last of them was worth that was given up. */
  private worthless = 0
  private readonly slack: number

  constructor(memory: WindowMemory) {
    this.memory = memory
    this.window = memory.window
    this.pageBytes = memory.pageBytes
    this.isState = memory.isState === true
    this.needs = new Uint32Array(memory.places.length)
    // Where there is a place for each block, nothing is saved by giving it back early. Else each state counts: they are large.
    this.slack = this.isState && memory.pages < memory.places.length ? 0 : SLACK
    this.free = Array.from({ length: memory.pages }, (_, place) => place).reverse()
    memory.places.fill(NO_PAGE)
  }

  /** Pages that could be had at once. */
  get available(): number {
    return this.free.length + this.unneeded.size
  }

  /** Pages that conversations need, each counted once. */
  get used(): number {
    return this.memory.pages - this.available
  }

  /** The first block that the row at `position` sees. */
  firstSeen(position: number): number {
    return Math.floor(Math.max(0, position - this.window + 1) / PAGE_TOKENS)
  }

  /** The first block that a conversation keeps while it goes on at `position`. */
  firstKept(position: number): number {
    return this.firstSeen(Math.max(0, position - this.slack))
  }

  has(block: number): boolean {
    return this.memory.places[block] !== NO_PAGE
  }

  needsOf(block: number): number {
    return this.needs[block] as number
  }

  /** A page for a block that has none, needed once. Throws OutOfMemoryError. */
  take(block: number): void {
    if (this.free.length === 0) this.evict()
    const place = this.free.pop()
    if (place === undefined) throw errors.outOfMemory(this.pageBytes, 0)
    this.memory.places[block] = place
    this.needs[block] = 1
    // A session that is saved must hold nothing of another conversation.
    this.memory.clear(place)
  }

  /** One more needs a page that is there. */
  hold(block: number): void {
    this.unneeded.delete(block)
    this.needs[block] = this.needsOf(block) + 1
  }

  /** One less needs it; `worth`: how much more it is worth to be kept than another. */
  drop(block: number, worth = 0): void {
    const left = this.needsOf(block) - 1
    this.needs[block] = left
    if (left === 0) this.unneeded.set(block, this.worthless + worth)
  }

  /** The block is free: what its page held is forgotten. */
  release(block: number): void {
    if (!this.has(block)) return
    this.unneeded.delete(block)
    this.needs[block] = 0
    this.free.push(this.placeOf(block))
    this.memory.places[block] = NO_PAGE
  }

  copy(from: number, to: number): void {
    this.memory.copy(this.placeOf(from), this.placeOf(to))
  }

  placeOf(block: number): number {
    return this.memory.places[block] as number
  }

  private evict(): void {
    let least: [block: number, worth: number] | undefined
    for (const one of this.unneeded) if (!least || one[1] < least[1]) least = one
    if (!least) return
    this.worthless = least[1]
    this.release(least[0])
  }
}
