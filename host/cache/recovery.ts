/**
 * What becomes of conversations when their engine was lost and another one was opened: what its pages held is computed again
 * from the tokens that are known of each. Tables, lengths and who shares what stay as they are, so nobody above notices, and
 * meanwhile conversations may be forked, cut and closed.
 *
 * What cannot be computed again is lost: a conversation that has forgotten tokens went on from them. It fails when it is used
 * next, alone; so does one at which the engine stops again.
 */
import { PAGE_TOKENS } from '../../models/index.ts'
import { type Engine, isLoss, type Row } from '../engine/engine.ts'
import { errors } from '../errors.ts'
import type { PageCache } from './pages.ts'

/** Rows of a block that are done behind a step; all of them? */
interface Part {
  done: number
  isFull: boolean
}

export class Recovery {
  private readonly engine: Engine
  private readonly pages: PageCache
  /** Blocks that are to be computed again, and how many of their rows have been. */
  private readonly stale = new Map<number, number>()
  private readonly lost = new Map<number, Error>()
  /** Runs something while nothing else uses the engine. */
  private readonly alone: (work: () => Promise<void>) => Promise<void>

  constructor(engine: Engine, pages: PageCache, alone: (work: () => Promise<void>) => Promise<void>) {
    this.engine = engine
    this.pages = pages
    this.alone = alone
  }

  /** Why a conversation cannot go on; undefined: it can. */
  failureOf(conversation: number): Error | undefined {
    return this.lost.get(conversation)
  }

  /** Throws that. */
  check(conversation: number): void {
    const failure = this.lost.get(conversation)
    if (failure) throw failure
  }

  /** A block was taken: what it will hold is written later. */
  take(block: number): void {
    this.stale.delete(block)
  }

  fork(from: number, to: number): void {
    const failure = this.lost.get(from)
    if (failure) this.lost.set(to, failure)
  }

  empty(conversation: number): void {
    this.lost.delete(conversation)
  }

  /** Opens another engine and fills its pages. Throws what opening throws. */
  async revive(): Promise<void> {
    await this.alone(async () => {
      for (;;) {
        await this.engine.revive?.()
        const failed = await this.restore()
        if (!failed) return
        this.lost.set(failed.conversation, errors.conversationLost(failed.cause))
      }
    })
  }

  /** Resolves to the conversation at which the engine was lost once more. */
  private async restore(): Promise<{ conversation: number; cause: unknown } | undefined> {
    const { pages, stale } = this
    stale.clear()
    for (const block of pages.held) stale.set(block, 0)
    for (const conversation of pages.numbers)
      if (pages.droppedOf(conversation) > 0 && !this.lost.has(conversation))
        this.lost.set(conversation, errors.conversationLost('it has forgotten tokens'))
    for (let next = this.nextRows(); next; next = this.nextRows()) {
      const { conversation, rows, blocks } = next
      try {
        await this.engine.step(rows)
      } catch (cause) {
        if (isLoss(cause)) return { conversation, cause }
        throw cause
      }
      // Meanwhile a block may have been given back, and taken for something else.
      for (const [block, { done, isFull }] of blocks)
        if (isFull) stale.delete(block)
        else if (stale.has(block)) stale.set(block, done)
    }
    // What nobody has that could compute it.
    pages.forgetPrefixes(stale.keys())
    stale.clear()
    return undefined
  }

  /** The next rows to compute: of one conversation, as many as a step takes. */
  private nextRows(): { conversation: number; rows: Row[]; blocks: Map<number, Part> } | undefined {
    for (const conversation of this.pages.numbers) {
      if (this.lost.has(conversation)) continue
      const rows: Row[] = []
      const blocks = new Map<number, Part>()
      for (const [index, block] of this.pages.pagesOf(conversation).entries()) {
        const tokens = this.pages.historyOf(block)
        const filled = this.filledOf(block, index)
        for (let i = this.stale.get(block) ?? filled; i < filled && rows.length < this.engine.facts.maxRows; i++) {
          rows.push({ conversation, position: index * PAGE_TOKENS + i, token: tokens[i] as number })
          blocks.set(block, { done: i + 1, isFull: i + 1 === filled })
        }
      }
      if (rows.length > 0) return { conversation, rows, blocks }
    }
    return undefined
  }

  /** Rows of a block that one of its conversations has. They are the same for all, but some may have been cut. */
  private filledOf(block: number, index: number): number {
    const lengths = this.pages.numbers
      .filter((conversation) => this.pages.pagesOf(conversation)[index] === block)
      .map((conversation) => this.pages.lengthOf(conversation) - index * PAGE_TOKENS)
    return Math.min(PAGE_TOKENS, Math.max(0, ...lengths))
  }
}
