/**
 * Full pages whose tokens, and all before them, are known by text. They make a chain: a page's key is its 64 tokens and the
 * key of the page before it, so a text that begins like an earlier one finds its pages again. Each holds its page; those
 * that nobody else holds are given up, the longest unused first, when a page is wanted and none is free.
 */
import type { PagePool } from './pool.ts'

export interface Prefix {
  key: string
  id: number
  page: number
  /** When it was last of use, in events. */
  used: number
}

export class Prefixes {
  private readonly pool: PagePool
  private readonly known = new Map<string, Prefix>()
  /** The same by their pages. */
  private readonly byPage = new Map<number, Prefix>()
  private clock = 0
  private ids = 0

  constructor(pool: PagePool) {
    this.pool = pool
  }

  /** Pages that nobody but a prefix holds. */
  get unused(): number {
    let unused = 0
    for (const page of this.byPage.keys()) if (this.pool.holdersOf(page) === 1) unused++
    return unused
  }

  has(page: number): boolean {
    return this.byPage.has(page)
  }

  of(page: number): Prefix | undefined {
    return this.byPage.get(page)
  }

  find(before: Prefix | undefined, tokens: ArrayLike<number>): Prefix | undefined {
    return this.known.get(keyOf(before, tokens))
  }

  /** Makes a page known that is not. */
  add(before: Prefix | undefined, page: number): Prefix {
    const key = keyOf(before, this.pool.historyOf(page))
    const prefix = { key, id: ++this.ids, page: this.pool.hold(page), used: ++this.clock }
    this.known.set(key, prefix)
    this.byPage.set(page, prefix)
    return prefix
  }

  forget({ key, page }: Prefix): void {
    this.known.delete(key)
    this.byPage.delete(page)
    this.pool.drop(page)
  }

  /** Gives up the one that nobody else holds and that was of no use for longest. */
  evict(): void {
    let oldest: Prefix | undefined
    for (const prefix of this.known.values())
      if (this.pool.holdersOf(prefix.page) === 1 && (!oldest || prefix.used < oldest.used)) oldest = prefix
    if (oldest) this.forget(oldest)
  }

  /** The first of a chain is needed by all that follow, so it is the last to be given up. */
  touch(chain: readonly Prefix[]): void {
    for (const prefix of chain.toReversed()) prefix.used = ++this.clock
  }

  /** The pages that are known to follow. */
  *after(before: Prefix | undefined): Generator<number> {
    const start = keyOf(before, [])
    for (const { key, page } of this.known.values()) if (key.startsWith(start)) yield page
  }
}

/** The chain so far and the tokens of one more page. */
function keyOf(before: Prefix | undefined, tokens: ArrayLike<number>): string {
  return `${before?.id ?? 0}:${Array.prototype.join.call(tokens)}`
}
