/**
 * The KV cache of an engine: the one way to it for all that is above. It knows which conversation has which pages, sees to
 * it that the rows of a step are good and that their pages are there, and lets one thing at a time happen.
 */
import { PAGE_TOKENS } from '../../models/index.ts'
import type { Engine, EngineFacts, PageStore, Probe, Row, StoredKind, ThreadCounts } from '../engine/engine.ts'
import { checkTokens, errors } from '../errors.ts'
import type { CachedPage, CachedPages } from './cached-pages.ts'
import type { OffloadUse, Pager } from './pager.ts'
import { PageCache, type Reuse } from './pages.ts'
import { Recovery } from './recovery.ts'
import type { WindowMemory } from './window-pages.ts'

export type { CachedPage, CachedPages }

export class KvCache {
  readonly engine: Engine
  private readonly store: PageStore
  private readonly pages: PageCache
  /** Kinds of layers, those that keep all, and those with a window: their indices. */
  readonly kinds: readonly StoredKind[]
  private readonly whole: number[]
  private readonly windows: number[]
  /** Where some pages lie in a file. */
  private readonly pager: Pager | undefined
  /** Where an engine that is lost is not the end. */
  readonly recovery: Recovery | undefined
  private isBusy = false
  private isClosed = false
  /** Conversations of the step that runs. */
  private running: ReadonlySet<number> = new Set()

  /**
   * Owns the engine from now on. `directory` is for the file of those pages that have no place in memory; a cache that has
   * none of them does not read how files are read.
   */
  static async open(engine: Engine, directory: string | undefined): Promise<KvCache> {
    const { stream } = engine.pages
    if (!stream || directory === undefined) return new KvCache(engine)
    const { Pager } = await import('./pager.ts')
    return new KvCache(engine, new Pager(engine.pages, stream, directory))
  }

  /** The same without a file, or with that of `pager`. */
  constructor(engine: Engine, pager?: Pager) {
    const { pages: store, facts } = engine
    this.engine = engine
    this.store = store
    this.kinds = store.kinds ?? [{ pages: store.pages, pageBytes: store.pageBytes }]
    const indices = [...this.kinds.keys()]
    this.whole = indices.filter((kind) => this.kinds[kind]?.window === undefined)
    this.windows = indices.filter((kind) => this.kinds[kind]?.window !== undefined)
    this.pages = new PageCache({
      tables: store.tables,
      tablePages: store.tablePages,
      conversations: facts.conversations,
      pages: store.pages,
      history: store.history,
      // A page without anything but windows still has its history.
      pageBytes: this.wholeBytes || 4 * PAGE_TOKENS,
      copy: (from, to) => {
        for (const kind of this.whole) store.copy(this.placeOf(from) as number, this.placeOf(to) as number, kind)
      },
      clear: (page) => {
        this.pager?.admit(page)
        this.recovery?.take(page)
        const place = this.placeOf(page)
        // A session that is saved must hold nothing of another conversation.
        if (place !== undefined) for (const kind of this.whole) store.clear(place, kind)
      },
      release: (page) => this.pager?.release(page),
      windows: this.windows.map((kind) => this.windowMemory(kind)),
    })
    this.pager = pager
    this.recovery = engine.revive ? new Recovery(engine, this.pages, (work) => this.alone(work)) : undefined
  }

  get facts(): EngineFacts {
    return this.engine.facts
  }

  get threads(): ThreadCounts {
    return this.engine.threads
  }

  set threads(counts: ThreadCounts) {
    this.engine.threads = counts
  }

  /**
   * Runs the rows; resolves to one sampled id for every row with `sampling`, in their order, or NO_TOKEN. Throws
   * OutOfMemoryError before anything is done; if the engine is lost, its conversations are where they were.
   */
  async step(rows: readonly Row[]): Promise<Uint32Array> {
    return this.alone(async () => {
      let { fresh, written } = this.check(rows)
      const conversations = new Set(rows.map(({ conversation }) => conversation))
      this.running = conversations
      try {
        while (this.pager && !this.pager.hasRoom(written, fresh)) {
          await this.pager.makeRoom(written, fresh)
          ;({ fresh, written } = this.check(rows))
        }
        const starts = new Map(rows.toReversed().map(({ conversation, position }) => [conversation, position]))
        this.pages.extend(rows)
        try {
          await this.pager?.begin([...conversations].flatMap((conversation) => [...this.pages.pagesOf(conversation)]))
          const sampled = await this.engine.step(this.withDropped(rows, conversations))
          this.pager?.end()
          for (const conversation of conversations) this.pages.publish(conversation)
          return sampled
        } catch (error) {
          // A state cannot be taken back.
          if (!this.hasStates) for (const start of starts) this.pages.rewind(...start)
          throw error
        }
      } finally {
        this.running = new Set()
      }
    })
  }

  /** Logits (vocabSize) of the k-th row with `sampling` of the last step; valid until the next one. */
  async logits(k: number): Promise<Float32Array> {
    return (await this.engine.logits(k)).values
  }

  /** Hidden state (hiddenDim) of the k-th row with `wantsState` of the last step; valid until the next one. */
  async state(k: number): Promise<Float32Array> {
    return await this.engine.state(k)
  }

  /** SHA-256 of the same logits, first 16 hex digits: a change of any bit shows. */
  async logitsHash(k: number): Promise<string> {
    return (await this.engine.logits(k)).hash()
  }

  /** Positions that are filled. */
  lengthOf(conversation: number): number {
    return this.pages.lengthOf(conversation)
  }

  /** Tokens that the conversation had and the cache has no more. */
  droppedOf(conversation: number): number {
    return this.pages.droppedOf(conversation)
  }

  /** The tokens at the filled positions. */
  tokensOf(conversation: number): Uint32Array {
    return this.pages.tokensOf(conversation)
  }

  /** Pages of the cache that `count` more positions take, and that can be had. */
  pagesNeeded(conversation: number, count: number): number {
    return this.pages.needOf(conversation, count)
  }

  get pagesAvailable(): number {
    return this.pages.available
  }

  /** All pages that there can be. */
  get pagesTotal(): number {
    return this.store.pages
  }

  /** For each kind of layers with a window, its pages that `count` positions of one step take, and bytes of each. */
  windowNeeds(conversation: number, count: number): { pages: number; pageBytes: number }[] {
    const needs = this.pages.windowNeeds(conversation, count)
    return needs.map((pages, k) => ({ pages, pageBytes: this.windowKind(k).pageBytes }))
  }

  /** Its pages that can be had. */
  get windowsAvailable(): number[] {
    return this.pages.windowsAvailable
  }

  /** Pages that `count` more positions are written to, and that one step may write to: those that are in memory. */
  pagesWritten(conversation: number, count: number): number {
    return this.pages.writtenBy(conversation, count)
  }

  get pagesWritable(): number {
    return this.store.residentPages
  }

  /** Are there layers that keep a state, of which nothing can be forgotten, and to which a conversation goes back by pages? */
  get hasStates(): boolean {
    return this.kinds.some(({ isState }) => isState)
  }

  /** Can a conversation go back to any length? */
  get keepsAll(): boolean {
    return this.windows.length === 0
  }

  /** Throws OutOfMemoryError unless there is room for `count` more positions. */
  checkRoom(conversation: number, count: number): void {
    this.pages.checkRoom(conversation, count)
  }

  /**
   * Forgets all positions from `length` on; with 0 it is a new conversation. Returns how many are left: fewer where what
   * layers with a window see there is gone. The tokens up to `length` are then to be computed again.
   */
  rewind(conversation: number, length: number): number {
    this.checkIdle(conversation)
    if (length === 0) this.recovery?.empty(conversation)
    return this.pages.rewind(conversation, length)
  }

  /** Makes an empty conversation a copy of another one; they share what they have in common. */
  fork(from: number, to: number): void {
    this.checkIdle(from, to)
    this.pages.fork(from, to)
    this.recovery?.fork(from, to)
  }

  /** Fills an empty conversation with as much of a prompt as lies in the cache, but for its last token. */
  reuse(conversation: number, ids: ArrayLike<number>): Reuse {
    this.checkIdle(conversation)
    return this.pages.reuse(conversation, ids)
  }

  /**
   * Forgets `count` pages of tokens behind the first `keep` pages. What follows sees the rest as if it were all that there
   * was: keys of the kept pages are rotated on to where they would be.
   */
  async drop(conversation: number, keep: number, count: number): Promise<void> {
    return this.alone(async () => {
      while (this.pager && !this.pager.hasRoom([], keep)) await this.pager.makeRoom([], keep)
      for (const { from, to, delta } of this.pages.dropPages(conversation, keep, count)) {
        await this.pager?.makeRoom([from, to], 0)
        await this.engine.turn(from, to, delta)
      }
    })
  }

  /** The conversation as it lies in the cache; valid until it changes. */
  cached(conversation: number): CachedPages {
    this.recovery?.check(conversation)
    const view = (id: number) => ({ id, stamp: this.pages.stampOf(id), tokens: this.pages.historyOf(id) })
    return {
      length: this.pages.lengthOf(conversation),
      dropped: this.pages.droppedOf(conversation),
      pages: this.pages.pagesOf(conversation).map(view),
      originals: this.pages.originalsOf(conversation).map(({ page, dropped }) => ({ ...view(page), dropped })),
      from: this.kinds.map((_, kind) => this.pages.firstOf(conversation)[this.windows.indexOf(kind)] ?? 0),
    }
  }

  /**
   * Gives an empty conversation pages, for whoever reads it from a file to fill; of each kind of layers from page `from` on,
   * by default as much as the next row sees. Throws OutOfMemoryError.
   */
  adopt(
    conversation: number,
    length: number,
    dropped: number,
    originals: readonly number[],
    from?: readonly number[],
  ): CachedPages {
    this.checkIdle(conversation)
    const ofWindows = from && this.windows.map((kind) => from[kind] as number)
    this.pages.adopt(conversation, length, dropped, originals, ofWindows)
    return this.cached(conversation)
  }

  /** The first page of which layers of a kind keep something that the row at `position` sees. */
  firstSeen(position: number, kind: number): number {
    const { window = Number.POSITIVE_INFINITY } = this.kinds[kind] as StoredKind
    return Math.floor(Math.max(0, position - window + 1) / PAGE_TOKENS)
  }

  /** What a kind of layers keeps of a page: a view, or a copy of what is in a file. Not while a step runs. */
  async fetchPage(id: number, kind = 0): Promise<Uint8Array> {
    const place = this.placeOf(id, kind)
    if (place !== undefined) return this.store.read(place, kind)
    return this.alone(async () => (await this.pager?.fetch(id)) as Uint8Array)
  }

  /** Writes what a kind of layers keeps of a page that was adopted, from byte `start` of it on. Not while a step runs. */
  async storePage(id: number, bytes: Uint8Array, { kind = 0, start = 0 } = {}): Promise<void> {
    if (this.pager) await this.alone(async () => this.pager?.store(id, bytes))
    else await this.store.write(this.placeOf(id, kind) as number, bytes, kind, start)
  }

  /** What the cache's contents depend on besides the tokens. Hex. */
  fingerprint(): Promise<string> {
    return this.store.fingerprint()
  }

  /** Bytes of the cache: a page of all layers, all that conversations hold, all that there may be. */
  get use(): { pageBytes: number; usedBytes: number; totalBytes: number } {
    const { pageBytes, pages } = this.store
    const withWindows = (bytes: number, count: number, k: number) => bytes + count * this.windowKind(k).pageBytes
    return {
      pageBytes,
      usedBytes: this.pages.windowsUsed.reduce(withWindows, this.pages.used * this.wholeBytes),
      totalBytes: this.windows.map((_, k) => this.windowKind(k).pages).reduce(withWindows, pages * this.wholeBytes),
    }
  }

  /** Bytes of a page, of those layers that keep all. */
  private get wholeBytes(): number {
    return this.whole.reduce((sum, kind) => sum + (this.kinds[kind] as StoredKind).pageBytes, 0)
  }

  private windowKind(k: number): StoredKind {
    return this.kinds[this.windows[k] as number] as StoredKind
  }

  private windowMemory(kind: number): WindowMemory {
    const { store } = this
    const { pages, pageBytes, window, isState } = this.kinds[kind] as StoredKind
    return {
      window: window as number,
      ...{ pages, pageBytes, isState },
      places: store.places.subarray(kind * store.pages, (kind + 1) * store.pages),
      copy: (from, to) => store.copy(from, to, kind),
      clear: (place) => store.clear(place, kind),
    }
  }

  /** Undefined without offload. */
  get offloadUse(): OffloadUse | undefined {
    return this.pager?.use
  }

  /** Bytes per second at which the disk gives what the last step wanted of it; 0 if that was nothing. */
  async measureOffload(): Promise<number> {
    return this.alone(async () => (await this.pager?.measure()) ?? 0)
  }

  /** Lets the engine be measured while nothing else uses it. */
  async measure<T>(work: (probe: Probe) => Promise<T> | T): Promise<T> {
    return this.alone(async () => {
      const { probe, facts } = this.engine
      if (!probe) throw new RangeError(`an engine of ${facts.name} measures nothing`)
      return work(probe)
    })
  }

  async close(): Promise<void> {
    this.isClosed = true
    await Promise.all([this.engine.close(), this.pager?.close()])
  }

  /** Where in memory a page lies; undefined if it lies in a file. */
  private placeOf(page: number, kind = this.whole[0] ?? 0): number | undefined {
    if (this.pager) return this.pager.placeOf(page)
    return this.windows.includes(kind) ? this.store.places[kind * this.store.pages + page] : page
  }

  /** Seeds count positions from the first token that there was. */
  private withDropped(rows: readonly Row[], conversations: ReadonlySet<number>): readonly Row[] {
    if ([...conversations].every((conversation) => this.droppedOf(conversation) === 0)) return rows
    return rows.map((row) => ({ ...row, dropped: this.droppedOf(row.conversation) }))
  }

  /** The pages of a conversation stay as they are while a step reads them. */
  private checkIdle(...conversations: number[]): void {
    if (conversations.some((conversation) => this.running.has(conversation))) throw errors.busy()
  }

  /** The engine trusts its rows, so they are checked here: counts, ids and positions. */
  private check(rows: readonly Row[]): ReturnType<PageCache['check']> {
    const { maxRows, maxLogits, vocabSize, context } = this.facts
    if (rows.length < 1 || rows.length > maxRows) throw new RangeError(`a step takes 1 to ${maxRows} rows`)
    if (rows.filter((row) => row.sampling).length > maxLogits)
      throw new RangeError(`a step samples ${maxLogits} rows at most`)
    const ids = rows.map(({ token }) => token)
    checkTokens(ids, vocabSize)
    for (const { conversation } of rows) this.recovery?.check(conversation)
    return this.pages.check(rows, context)
  }

  /** One thing at a time, from the first row written to the last result read: no other may touch what it uses. */
  private async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.isClosed) throw errors.closed()
    if (this.isBusy) throw errors.busy()
    this.isBusy = true
    try {
      const result = await work()
      // The work may have been done before close() was called, its result is not read any more.
      if (this.isClosed) throw errors.closed()
      return result
    } finally {
      this.isBusy = false
    }
  }
}
