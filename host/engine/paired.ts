/**
 * One engine made of two with the same weights: prompts are read by the first, everything else is computed by the second. So
 * a GPU that shares the board's memory can do what it is good at, and the CPU the rest.
 *
 * Pages of the cache are laid out alike in both, byte for byte. What one has written is brought to the other before it is
 * read there, page by page, and not before: a conversation that has read its prompt crosses once.
 */
import * as abi from '../../assembly/abi.ts'
import { PAGE_TOKENS } from '../../models/index.ts'
import { errors, Words } from '../errors.ts'
import type { Engine, EngineFacts, Logits, PageStore, Probe, Row, StoredKind, ThreadCounts } from './engine.ts'

/** Who has what a page holds: bits of a set. */
const FIRST = 1
const SECOND = 2
const BOTH = FIRST | SECOND

/** Rows beyond one for each conversation from which on a step reads a prompt: more than guesses bring. */
const PROMPT_ROWS = 32

/** A page of a kind, by its place. */
interface Page {
  kind: number
  place: number
}

/** Owns both engines. They must be opened with the same options; `promptRows` is for tests. */
export async function openPaired(first: Engine, second: Engine, promptRows = PROMPT_ROWS): Promise<Engine> {
  const [one, other] = await Promise.all([first.pages.fingerprint(), second.pages.fingerprint()])
  const shape = (engine: Engine) => {
    const { tables, history } = engine.pages
    const kinds = kindsOf(engine.pages).map(({ pages, pageBytes }) => [pages, pageBytes])
    return JSON.stringify([kinds, tables.length, history.length, engine.facts.maxRows, engine.facts.maxLogits])
  }
  if (first.pages.stream ?? second.pages.stream)
    throw errors.badOption('offload (--offload)', 'left out where two engines share the work', new Words('it'))
  if (one !== other || shape(first) !== shape(second))
    throw errors.engineFailed('two engines that share the work do not keep the same pages')
  return new PairedEngine(first, second, promptRows)
}

function kindsOf({ kinds, pages, pageBytes }: PageStore): readonly StoredKind[] {
  return kinds ?? [{ pages, pageBytes }]
}

class PairedEngine implements Engine {
  readonly pages: PageStore
  private readonly first: Engine
  private readonly second: Engine
  private readonly promptRows: number
  private readonly kinds: readonly StoredKind[]
  /** For each kind, who has the page at each place. */
  private readonly holders: readonly Uint8Array[]
  /** Of the last step. */
  private last: Engine

  constructor(first: Engine, second: Engine, promptRows: number) {
    const { pages } = second
    this.first = first
    this.second = second
    this.promptRows = promptRows
    this.last = second
    this.kinds = kindsOf(pages)
    // Zeros, in both.
    this.holders = this.kinds.map((kind) => new Uint8Array(kind.pages).fill(BOTH))
    this.pages = this.pageStore(pages)
  }

  get facts(): EngineFacts {
    const [first, second] = [this.first.facts, this.second.facts]
    const memoryBytes = first.memoryBytes + second.memoryBytes
    return { ...second, name: `${first.name} for prompts, ${second.name}`, memoryBytes }
  }

  get threads(): ThreadCounts {
    return this.second.threads
  }

  set threads(counts: ThreadCounts) {
    this.second.threads = counts
    this.first.threads = counts
  }

  get probe(): Probe | undefined {
    return this.second.probe
  }

  async step(rows: readonly Row[]): Promise<Uint32Array> {
    const conversations = new Set(rows.map(({ conversation }) => conversation)).size
    // States have the second engine's bits, however long a text is.
    const isPrompt = rows.length - conversations >= this.promptRows && !rows.some(({ wantsState }) => wantsState)
    const own = isPrompt ? FIRST : SECOND
    const { read, written } = this.touchedBy(rows)
    await this.bring(own, read)
    for (const page of written) this.setHolder(page, own)
    this.last = this.engineOf(own)
    if (own === FIRST) for (const name of ['tables', 'places', 'history'] as const) this.copyWords(name)
    return await this.last.step(rows)
  }

  logits(k: number): Promise<Logits> {
    return this.last.logits(k)
  }

  state(k: number): Promise<Float32Array> {
    return this.last.state(k)
  }

  async turn(from: number, to: number, delta: number): Promise<void> {
    const pagesOf = (block: number) => this.kinds.flatMap((_, kind) => this.pageOf(kind, block) ?? [])
    await this.bring(SECOND, pagesOf(from))
    for (const page of pagesOf(to)) this.setHolder(page, SECOND)
    await this.second.turn(from, to, delta)
  }

  async close(): Promise<void> {
    await Promise.all([this.first.close(), this.second.close()])
  }

  private engineOf(holder: number): Engine {
    return holder === FIRST ? this.first : this.second
  }

  private holderOf({ kind, place }: Page): number {
    return (this.holders[kind] as Uint8Array)[place] as number
  }

  private setHolder({ kind, place }: Page, holder: number): void {
    ;(this.holders[kind] as Uint8Array)[place] = holder
  }

  /** What the host wrote for the second engine, for the first. */
  private copyWords(name: 'tables' | 'places' | 'history'): void {
    this.first.pages[name].set(this.second.pages[name])
  }

  /** A block's page; undefined where it has none. */
  private pageOf(kind: number, block: number): Page | undefined {
    const { places, pages } = this.second.pages
    const place = places[kind * pages + block] as number
    return place === abi.NO_PAGE ? undefined : { kind, place }
  }

  /** Pages that a step reads something from that was there before, and those that it writes. */
  private touchedBy(rows: readonly Row[]): { read: Page[]; written: Page[] } {
    const { tables, tablePages } = this.second.pages
    const spans = new Map<number, { start: number; end: number }>()
    for (const { conversation, position } of rows) {
      const start = spans.get(conversation)?.start ?? position
      spans.set(conversation, { start, end: position })
    }
    const [read, written]: [Page[], Page[]] = [[], []]
    for (const [conversation, { start, end }] of spans)
      for (const [kind, { window = Number.POSITIVE_INFINITY }] of this.kinds.entries()) {
        const seen = Math.floor(Math.max(0, start - window + 1) / PAGE_TOKENS)
        for (let i = seen; i <= Math.floor(end / PAGE_TOKENS); i++) {
          const page = this.pageOf(kind, tables[conversation * tablePages + i] as number)
          if (!page) continue
          if (i * PAGE_TOKENS < start) read.push(page)
          if ((i + 1) * PAGE_TOKENS > start) written.push(page)
        }
      }
    return { read, written }
  }

  /** Brings to one engine what only the other one has. */
  private async bring(to: number, pages: readonly Page[]): Promise<void> {
    const [source, target] = [this.engineOf(to ^ BOTH), this.engineOf(to)]
    const missing = pages.filter((page) => {
      const isMissing = (this.holderOf(page) & to) === 0
      // Conversations may share it: once is enough.
      if (isMissing) this.setHolder(page, BOTH)
      return isMissing
    })
    try {
      await Promise.all(
        missing.map(async ({ place, kind }) => target.pages.write(place, await source.pages.read(place, kind), kind)),
      )
    } catch (error) {
      for (const page of missing) this.setHolder(page, to ^ BOTH)
      throw error
    }
  }

  private pageStore(store: PageStore): PageStore {
    const { pages, residentPages, pageBytes, kinds, tables, tablePages, places, history } = store
    const having = (holder: number) =>
      [FIRST, SECOND].filter((one) => holder & one).map((one) => this.engineOf(one).pages)
    return {
      ...{ pages, residentPages, pageBytes, tables, tablePages, places, history, stream: undefined },
      ...(kinds ? { kinds } : {}),
      copy: (from, to, kind = 0) => {
        const holder = this.holderOf({ kind, place: from })
        for (const one of having(holder)) one.copy(from, to, kind)
        this.setHolder({ kind, place: to }, holder)
      },
      clear: (place, kind = 0) => {
        for (const one of having(BOTH)) one.clear(place, kind)
        this.setHolder({ kind, place }, BOTH)
      },
      read: (place, kind = 0) => {
        const holder = this.holderOf({ kind, place })
        return this.engineOf(holder & SECOND || FIRST).pages.read(place, kind)
      },
      // A page may come in parts.
      write: async (place, bytes, kind = 0, start = 0) => {
        for (const one of having(this.holderOf({ kind, place }))) await one.write(place, bytes, kind, start)
      },
      fingerprint: () => store.fingerprint(),
    }
  }
}
