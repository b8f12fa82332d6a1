/**
 * The pages of the cache, alone: over plain arrays, with a random history against a model that copies everything. What
 * stands in a page is one number per row, the name of whoever wrote it there and of all that came before.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { pagesFor } from '../host/cache/page-table.ts'
import { PageCache } from '../host/cache/pages.ts'
import { OutOfMemoryError } from '../host/index.ts'
import { PAGE_TOKENS } from '../models/index.ts'
import { random } from './fixtures/checkpoints.ts'

const PAGE_BYTES = 1000
const LONG = 100 * PAGE_TOKENS

interface Options {
  pages: number
  conversations?: number
}

/**
 * A cache whose rows are numbers: `write` is what the engine does in a step, `read` what a later one sees. Content that
 * nobody wrote is NaN.
 */
class Bench {
  readonly cache: PageCache
  readonly pages: number
  readonly conversations: number
  readonly rows: Float64Array
  private readonly tables: Uint32Array
  private readonly history: Uint32Array
  /** Pages that may not be written, and why: those of others. */
  private written = 0

  constructor({ pages, conversations = 4 }: Options) {
    this.pages = pages
    this.conversations = conversations
    this.rows = new Float64Array(pages * PAGE_TOKENS)
    this.tables = new Uint32Array(conversations * (LONG / PAGE_TOKENS))
    this.history = new Uint32Array(pages * PAGE_TOKENS)
    this.cache = new PageCache({
      tables: this.tables,
      tablePages: LONG / PAGE_TOKENS,
      conversations,
      pages,
      history: this.history,
      pageBytes: PAGE_BYTES,
      copy: (from, to) => this.pageAt(to).set(this.pageAt(from)),
      clear: (page) => this.pageAt(page).fill(Number.NaN),
    })
  }

  pageAt(page: number): Float64Array {
    return this.rows.subarray(page * PAGE_TOKENS, (page + 1) * PAGE_TOKENS)
  }

  /** Index of a row, found as the engine finds it: through the table. */
  private at(conversation: number, position: number): number {
    const page = this.tables[conversation * (LONG / PAGE_TOKENS) + Math.floor(position / PAGE_TOKENS)] as number
    return page * PAGE_TOKENS + (position % PAGE_TOKENS)
  }

  /** One step: tokens of several conversations, behind what they have, or from an earlier position on. */
  step(feeds: { conversation: number; tokens: readonly number[]; from?: number }[]): void {
    const rows = feeds.flatMap(({ conversation, tokens, from = this.cache.lengthOf(conversation) }) =>
      tokens.map((token, i) => ({ conversation, position: from + i, token })),
    )
    this.cache.check(rows, LONG)
    this.cache.extend(rows)
    for (const { conversation, position } of rows) this.rows[this.at(conversation, position)] = ++this.written
    for (const { conversation } of feeds) this.cache.publish(conversation)
  }

  feed(conversation: number, tokens: readonly number[], from?: number): void {
    this.step([{ conversation, tokens, ...(from === undefined ? {} : { from }) }])
  }

  read(conversation: number): number[] {
    return Array.from(
      { length: this.cache.lengthOf(conversation) },
      (_, i) => this.rows[this.at(conversation, i)] as number,
    )
  }

  tokens(conversation: number): number[] {
    return [...this.cache.tokensOf(conversation)]
  }

  /** Everything that a conversation or a caller could notice. */
  state() {
    const each = Array.from({ length: this.conversations }, (_, c) => ({
      tokens: this.tokens(c),
      rows: this.read(c),
      pages: [...this.cache.pagesOf(c)],
      originals: [...this.cache.originalsOf(c)],
      dropped: this.cache.droppedOf(c),
    }))
    return { each, available: this.cache.available, tables: [...this.tables] }
  }

  /** Runs what must fail for want of memory, and sees to it that nothing changed. */
  starves(work: () => void): OutOfMemoryError {
    const before = this.state()
    let error: unknown
    try {
      work()
    } catch (caught) {
      error = caught
    }
    assert.instance(error, OutOfMemoryError, `${error}`)
    assert.equal(this.state(), before)
    const { needed, available } = error as OutOfMemoryError
    assert.ok(needed > available && needed % PAGE_BYTES === 0 && available % PAGE_BYTES === 0)
    return error as OutOfMemoryError
  }

  /** All conversations let go: every page is to be had again. */
  end(): void {
    for (let c = 0; c < this.conversations; c++) this.cache.rewind(c, 0)
    assert.is(this.cache.available, this.pages)
    assert.is(this.cache.used, 0)
  }
}

const text = (length: number, salt = 0) => Array.from({ length }, (_, i) => (i * 7 + salt * 1000 + 1) % 50000)

test('a fork shares pages until one of the two writes', () => {
  for (const length of [1, 63, 64, 65, 128, 150]) {
    const bench = new Bench({ pages: 20 })
    const { cache } = bench
    bench.feed(0, text(length))
    const rows = bench.read(0)
    cache.fork(0, 1)
    assert.is(cache.used, pagesFor(length), 'shared')
    assert.equal(bench.read(1), rows)
    bench.feed(1, [7, 8, 9])
    bench.feed(0, [4, 5])
    assert.equal(bench.read(0).slice(0, length), rows, `${length}`)
    assert.equal(bench.read(1).slice(0, length), rows, `${length}`)
    assert.equal(bench.tokens(0).slice(length), [4, 5])
    assert.equal(bench.tokens(1).slice(length), [7, 8, 9])
    assert.not.equal(bench.read(0).slice(length, length + 2), bench.read(1).slice(length, length + 2))
    bench.end()
  }
})

test('a page that is copied for one conversation is the other’s own again', () => {
  const bench = new Bench({ pages: 2 })
  bench.feed(0, text(10))
  bench.cache.fork(0, 1)
  bench.feed(1, [1])
  assert.is(bench.cache.available, 0)
  bench.feed(0, [2])
  assert.equal([bench.tokens(0).at(-1), bench.tokens(1).at(-1)], [2, 1])
  bench.end()
})

test('a rewind gives whole pages back, and what is written again is not seen by a fork', () => {
  const bench = new Bench({ pages: 10 })
  const { cache } = bench
  bench.feed(0, text(300))
  cache.fork(0, 1)
  const rows = bench.read(0)
  cache.rewind(0, 70)
  assert.equal(bench.read(0), rows.slice(0, 70))
  // A row at an earlier position is a rewind too.
  bench.feed(0, text(30, 2), 66)
  assert.is(cache.lengthOf(0), 96)
  assert.equal(bench.read(0).slice(0, 66), rows.slice(0, 66))
  assert.equal(bench.read(1), rows)
  cache.rewind(1, 500)
  assert.equal(bench.read(1), rows, 'nothing lies behind the end')
  bench.end()
})

test('the beginning of an earlier text is found again, in whole pages, but for the last token', () => {
  const bench = new Bench({ pages: 20 })
  const { cache } = bench
  const ids = text(200)
  bench.feed(0, ids)
  const rows = bench.read(0)
  for (const [length, reused] of [
    [64, 0],
    [65, 64],
    [128, 64],
    [129, 128],
    [200, 192],
  ] as const) {
    assert.equal(cache.reuse(1, ids.slice(0, length)), { reused, matched: length }, `${length}`)
    assert.equal(bench.read(1), rows.slice(0, reused))
    cache.rewind(1, 0)
  }
  // Known as long as nobody wants the pages, also when the conversation is gone.
  cache.rewind(0, 0)
  assert.is(cache.used, 0)
  assert.equal(cache.reuse(2, [...ids, 1, 2]), { reused: 192, matched: 192 })
  assert.equal(bench.read(2), rows.slice(0, 192))
  bench.end()
})

test('matched says where a text differs, within a page too, and of the text that is most alike', () => {
  const bench = new Bench({ pages: 30 })
  const { cache } = bench
  const ids = text(180)
  const other = [...ids.slice(0, 100), ...text(100, 1)]
  bench.feed(0, ids)
  bench.feed(1, other)
  const differsAt = (from: readonly number[], at: number) => from.map((token, i) => (i === at ? 49999 : token))
  for (const at of [0, 1, 63, 64, 99, 127, 128, 150, 179]) {
    const { reused, matched } = cache.reuse(2, differsAt(ids, at))
    assert.equal([reused, matched], [Math.floor(at / 64) * 64, at])
    cache.rewind(2, 0)
  }
  assert.equal(cache.reuse(2, differsAt(other, 120)), { reused: 64, matched: 120 })
  cache.rewind(2, 0)
  assert.equal(cache.reuse(2, text(90, 3)), { reused: 0, matched: 0 })
  bench.end()
})

test('the same page behind another past is another page', () => {
  const bench = new Bench({ pages: 20 })
  const [a, b, common] = [text(64, 1), text(64, 2), text(64, 3)]
  bench.feed(0, [...a, ...common])
  bench.feed(1, [...b, ...common])
  assert.equal(bench.cache.reuse(2, [...b, ...common, 1]).reused, 128)
  assert.equal(bench.read(2), bench.read(1))
  assert.equal(bench.cache.reuse(3, [...common, 1]).reused, 0, 'in another place')
  bench.end()
})

test('two that compute the same text at the same time end with one copy of it', () => {
  const bench = new Bench({ pages: 20 })
  const ids = text(130)
  const feeds = [0, 1].map((conversation) => ({ conversation, tokens: ids }))
  bench.step(feeds)
  assert.is(bench.cache.used, 2 + 2)
  assert.equal(bench.cache.pagesOf(0).slice(0, 2), bench.cache.pagesOf(1).slice(0, 2))
  assert.equal(bench.read(0).slice(0, 128), bench.read(1).slice(0, 128))
  bench.end()
})

test('out of memory is said before anything changes, with what is needed and what there is', () => {
  const bench = new Bench({ pages: 4 })
  const { cache } = bench
  bench.feed(0, text(130))
  bench.feed(1, text(10, 1))
  // In one step: the first would fit, both do not.
  const error = bench.starves(() =>
    bench.step([
      { conversation: 1, tokens: [5] },
      { conversation: 0, tokens: text(63) },
    ]),
  )
  assert.equal([error.needed, error.available], [PAGE_BYTES, 0])
  assert.is(bench.starves(() => bench.feed(2, text(65))).needed, 2 * PAGE_BYTES)
  assert.is(bench.starves(() => cache.checkRoom(0, 63 + 64)).needed, 2 * PAGE_BYTES)
  cache.checkRoom(0, 62)
  bench.starves(() => cache.adopt(2, 1, 0, []))
  cache.fork(1, 2)
  bench.starves(() => bench.feed(2, [6]))
  // What a row cuts off is counted, whoever comes first.
  bench.step([
    { conversation: 2, tokens: [6] },
    { conversation: 0, tokens: [7], from: 120 },
  ])
  assert.equal([cache.lengthOf(0), cache.lengthOf(1), cache.lengthOf(2)], [121, 10, 11])
  bench.end()
})

test('a full cache of which a prefix alone holds a page too can be written again', () => {
  const bench = new Bench({ pages: 2 })
  const { cache } = bench
  bench.feed(0, text(128))
  cache.rewind(0, 127)
  bench.feed(0, [9])
  cache.rewind(0, 100)
  bench.feed(0, text(28, 2))
  assert.is(cache.available, 0)
  const tokens = [...text(100), ...text(28, 2)]
  assert.equal(bench.tokens(0), tokens)
  // With a page to spare the old text stays known.
  const roomy = new Bench({ pages: 5 })
  roomy.feed(0, text(128))
  roomy.cache.rewind(0, 100)
  roomy.feed(0, text(28, 2))
  for (const ids of [text(128), tokens]) {
    assert.is(roomy.cache.reuse(1, [...ids, 1]).reused, 128)
    roomy.cache.rewind(1, 0)
  }
  bench.end()
  roomy.end()
})

test('rows that leave a hole, go back within a step, or lie outside are refused and change nothing', () => {
  const bench = new Bench({ pages: 4 })
  bench.feed(0, text(70))
  const before = bench.state()
  const refused = (rows: [number, number][], context = LONG) =>
    assert.throws(
      () =>
        bench.cache.check(
          rows.map(([conversation, position]) => ({ conversation, position })),
          context,
        ),
      (error: unknown) => error instanceof RangeError,
      `${rows}`,
    )
  refused([[0, 71]])
  refused([
    [0, 70],
    [0, 72],
  ])
  refused([
    [0, 70],
    [0, 70],
  ])
  refused([
    [1, 0],
    [0, 64],
    [1, 0],
  ])
  refused([[0, -1]])
  refused([[0, 0.5]])
  refused([[0, 70]], 70)
  refused([[4, 0]])
  assert.throws(() => bench.cache.reuse(0, [1, 2]), /must be empty/)
  assert.throws(() => bench.cache.fork(1, 0), /must be empty/)
  assert.throws(() => bench.cache.rewind(0, 1.5), /whole number/)
  assert.throws(() => bench.cache.dropPages(0, 1, 1), /last page/)
  assert.equal(bench.state(), before)
  bench.end()
})

test('the prefix that was unused longest is given up first, and the end of a text before its beginning', () => {
  const bench = new Bench({ pages: 6 })
  const { cache } = bench
  const [a, b] = [text(128, 1), text(128, 2)]
  const known = (ids: number[]) => {
    const { reused } = cache.reuse(3, [...ids, 1])
    return reused / PAGE_TOKENS
  }
  bench.feed(0, a)
  bench.feed(1, b)
  cache.rewind(0, 0)
  cache.rewind(1, 0)
  // a is used once more, so b has been unused for longer.
  assert.is(known(a), 2)
  cache.rewind(3, 0)
  bench.feed(2, text(150, 3))
  assert.is(known(b), 1, 'its second page went')
  cache.rewind(3, 0)
  assert.is(known(a), 2)
  // All that is in use stays, however old.
  bench.feed(0, text(64, 4))
  assert.equal(bench.starves(() => bench.feed(1, [1])).available, 0)
  assert.equal(bench.tokens(3), a)
  bench.end()
})

test('what a rewind or a drop lets go was in use until then', () => {
  for (const letGo of [
    (cache: PageCache) => cache.rewind(0, 64),
    (cache: PageCache) => void cache.dropPages(0, 0, 2),
  ]) {
    const bench = new Bench({ pages: 7 })
    const { cache } = bench
    const [first, second] = [text(192, 1), text(64, 2)]
    bench.feed(0, first)
    bench.feed(1, second)
    cache.rewind(1, 0)
    letGo(cache)
    // Two pages are free, and two wanted more than that: the younger text of the two is the first one.
    bench.feed(2, text(4 * 64, 3))
    assert.is(cache.reuse(1, [...second, 1]).reused, 0)
    assert.ok(cache.reuse(1, [...first, 1]).reused >= 64, 'its beginning is left')
    bench.end()
  }
})

test('a drop forgets pages behind the kept ones, and turns those from what was computed', () => {
  const bench = new Bench({ pages: 12 })
  const { cache } = bench
  bench.feed(0, text(300))
  const rows = bench.read(0)
  const [first] = cache.pagesOf(0)
  const turns = cache.dropPages(0, 1, 2)
  assert.equal(turns, [{ from: first, to: cache.pagesOf(0)[0], delta: 128 }])
  assert.not.equal(cache.pagesOf(0)[0], first)
  assert.equal([cache.lengthOf(0), cache.droppedOf(0)], [172, 128])
  assert.equal(bench.read(0).slice(64), rows.slice(192))
  // Again from the original, into the page that is its own now.
  const own = cache.pagesOf(0)[0]
  assert.equal(cache.dropPages(0, 1, 1), [{ from: first, to: own, delta: 192 }])
  // A fork has the turned page too: then there must be another.
  cache.fork(0, 1)
  bench.feed(0, text(100, 2))
  const [third] = cache.dropPages(0, 1, 1)
  assert.equal([third?.from, third?.delta], [first, 256])
  assert.not.equal(third?.to, own)
  assert.is(cache.pagesOf(1)[0], own)
  // A rewind into the kept page: as it is now, it is an original of its own.
  cache.rewind(0, 30)
  assert.equal(cache.originalsOf(0), [])
  bench.feed(0, text(120, 3))
  const [fourth] = cache.dropPages(0, 1, 1)
  assert.equal([fourth?.from, fourth?.delta], [third?.to, 64])
  assert.is(cache.reuse(2, [...bench.tokens(0), 1]).reused, 0, 'what was turned is nobody’s prefix')
  bench.end()
})

test('fewer pages may be kept at the next drop', () => {
  const bench = new Bench({ pages: 12 })
  const { cache } = bench
  bench.feed(0, text(300))
  cache.dropPages(0, 2, 1)
  const [first, second] = cache.pagesOf(0)
  const [original] = cache.originalsOf(0)
  assert.equal(cache.dropPages(0, 1, 2), [{ from: original?.page, to: first, delta: 192 }])
  assert.not.ok(cache.pagesOf(0).includes(second as number))
  assert.is(cache.originalsOf(0).length, 1)
  assert.is(cache.used, 3, 'the other original is given back')
  bench.end()
})

test('a drop without memory for the turned pages changes nothing', () => {
  const bench = new Bench({ pages: 5 })
  const { cache } = bench
  bench.feed(0, text(256))
  cache.fork(0, 1)
  bench.feed(2, [1])
  // What it would forget, the fork keeps.
  bench.starves(() => cache.dropPages(0, 1, 1))
  cache.rewind(1, 0)
  assert.is(cache.dropPages(0, 1, 1).length, 1)
  bench.end()
})

test('adopted pages are empty, and no text is known by them', () => {
  const bench = new Bench({ pages: 6 })
  const { cache } = bench
  cache.adopt(0, 130, 64, [0, 64])
  assert.equal([cache.lengthOf(0), cache.droppedOf(0), cache.used], [130, 64, 5])
  assert.equal(
    cache.originalsOf(0).map(({ dropped }) => dropped),
    [0, 64],
  )
  assert.ok(bench.read(0).every(Number.isNaN))
  bench.starves(() => cache.adopt(1, 60, 0, [0]))
  bench.feed(0, text(64))
  assert.is(cache.reuse(1, [...bench.tokens(0), 1]).reused, 0)
  assert.throws(() => cache.adopt(0, 1, 0, []), /must be empty/)
  bench.end()
})

/** What a conversation should have: a copy of its own, and how it came to be. */
interface Copy {
  tokens: number[]
  rows: number[]
  dropped: number
}

test('20,000 random operations: each conversation has what it would have alone', () => {
  const next = random(5)
  const below = (n: number) => Math.floor(next() * n)
  const bench = new Bench({ pages: 14, conversations: 8 })
  const { cache } = bench
  const copies: Copy[] = Array.from({ length: 8 }, () => ({ tokens: [], rows: [], dropped: 0 }))
  const copyOf = (c: number) => copies[c] as Copy
  // Few texts, so that they often have a beginning in common.
  const texts = Array.from({ length: 3 }, (_, salt) => text(700, salt))
  const counts: Record<string, number> = {}
  const count = (name: string) => {
    counts[name] = (counts[name] ?? 0) + 1
  }
  /** Tokens that follow: those of the text that a conversation is in, or others now and then. */
  const tokensFor = (c: number, n: number) => {
    const { tokens } = copyOf(c)
    const start = texts.find(([first]) => first === tokens[0]) ?? texts[below(3)]
    return Array.from({ length: n }, (_, i) => (below(400) === 0 ? below(50) : (start?.[tokens.length + i] ?? 1)))
  }

  const operations: Record<string, (c: number) => void> = {
    feed(c) {
      const others = below(3) === 0 ? [(c + 1 + below(7)) % 8] : []
      const feeds = [c, ...others].map((conversation) => {
        const length = copyOf(conversation).tokens.length
        const from = below(4) === 0 ? below(length + 1) : length
        const tokens = tokensFor(conversation, 1 + below(below(4) === 0 ? 150 : 20))
        return { conversation, tokens, from }
      })
      bench.step(feeds)
      for (const { conversation, tokens, from } of feeds) {
        const copy = copyOf(conversation)
        copy.tokens = [...copy.tokens.slice(0, from), ...tokens]
        if (from === 0) copy.dropped = 0
        const rows = bench.read(conversation)
        assert.not.ok(rows.some(Number.isNaN))
        // Alike rows of the same text may have become one; what was there before may not change.
        assert.equal(rows.slice(0, Math.floor(from / 64) * 64), copy.rows.slice(0, Math.floor(from / 64) * 64))
        copy.rows = rows
      }
    },
    rewind(c) {
      const length = below(copyOf(c).tokens.length + 10)
      cache.rewind(c, length)
      const copy = copyOf(c)
      copies[c] = { ...copy, tokens: copy.tokens.slice(0, length), rows: copy.rows.slice(0, length) }
      if (length === 0) copyOf(c).dropped = 0
    },
    close(c) {
      cache.rewind(c, 0)
      copies[c] = { tokens: [], rows: [], dropped: 0 }
    },
    fork(c) {
      const to = copies.findIndex(({ tokens }) => tokens.length === 0)
      if (to < 0 || to === c) return
      cache.fork(c, to)
      copies[to] = structuredClone(copyOf(c))
    },
    reuse(c) {
      if (copyOf(c).tokens.length > 0) operations.close?.(c)
      const ids = (texts[below(3)] ?? []).slice(0, 1 + below(400))
      if (below(2)) ids[below(ids.length)] = 49998
      const { reused, matched } = cache.reuse(c, ids)
      assert.ok(reused % 64 === 0 && reused < ids.length && reused <= matched && matched <= ids.length)
      assert.equal(bench.tokens(c), ids.slice(0, reused))
      copies[c] = { tokens: ids.slice(0, reused), rows: bench.read(c), dropped: 0 }
      assert.not.ok(copyOf(c).rows.some(Number.isNaN))
    },
    drop(c) {
      const copy = copyOf(c)
      const pages = pagesFor(copy.tokens.length)
      if (pages < 2) return
      const keep = below(Math.min(3, pages - 1))
      const forgotten = 1 + below(pages - keep - 1)
      for (const { from, to, delta } of cache.dropPages(c, keep, forgotten)) {
        assert.ok(from !== to && delta > 0)
        bench.pageAt(to).set(bench.pageAt(from))
        cache.historyOf(to).set(cache.historyOf(from))
      }
      const cut = <T>(list: T[]) => [...list.slice(0, keep * 64), ...list.slice((keep + forgotten) * 64)]
      copies[c] = { tokens: cut(copy.tokens), rows: cut(copy.rows), dropped: copy.dropped + forgotten * 64 }
    },
  }
  const names = ['feed', 'feed', 'feed', 'feed', 'feed', 'rewind', 'close', 'fork', 'reuse', 'drop']

  for (let i = 0; i < 20_000; i++) {
    const name = names[below(names.length)] as string
    const c = below(8)
    const before = i % 50 === 0 ? bench.state() : undefined
    try {
      operations[name]?.(c)
      count(name)
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error
      count('out of memory')
      if (before && name !== 'reuse') assert.equal(bench.state(), before)
    }
    // Everybody now and then; each time, those that share pages with the one that did something.
    for (let other = 0; other < 8; other++) {
      if (other !== c && (i + other) % 8 !== 0) continue
      const { tokens, rows, dropped } = copyOf(other)
      assert.is(cache.lengthOf(other), tokens.length, name)
      assert.is(cache.droppedOf(other), dropped, name)
      assert.equal(bench.tokens(other), tokens, `${i} ${name}`)
      assert.equal(bench.read(other), rows, `${i} ${name}: rows of ${other}`)
    }
    const held = new Set(
      copies.flatMap((_, k) => [...cache.pagesOf(k), ...cache.originalsOf(k).map(({ page }) => page)]),
    )
    assert.is(cache.used, held.size, `${i} ${name}: every page that is not to be had is somebody’s`)
  }
  for (const name of [...new Set(names), 'out of memory'])
    assert.ok((counts[name] ?? 0) > 300, `${name}: ${counts[name]}`)
  bench.end()
})

test.run()
