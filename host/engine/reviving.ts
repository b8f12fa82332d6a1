/**
 * An engine that survives the loss of the one inside: a GPU that is lost, a thread that ends, a trap. Another one is opened in
 * its place, whose pages hold nothing: host/cache/recovery.ts computes again what they held. Tables, places and history are
 * the host's, so they are kept here.
 */
import { errors } from '../errors.ts'
import type { Engine, EngineFacts, Logits, PageStore, Probe, Row, ThreadCounts } from './engine.ts'

/** Opens another engine for as many threads, with the same weights and pages, or throws GtaError. */
export type Reopen = (threads: ThreadCounts) => Promise<Engine>

/** Owns the engine from now on. */
export async function openReviving(engine: Engine, reopen: Reopen): Promise<Engine> {
  // Afterwards nobody could ask for it.
  return new RevivingEngine(engine, reopen, await engine.pages.fingerprint())
}

const words = ['tables', 'places', 'history'] as const

class RevivingEngine implements Engine {
  readonly pages: PageStore
  private inner: Engine
  private readonly reopen: Reopen
  private readonly fingerprint: string
  private isClosed = false

  constructor(inner: Engine, reopen: Reopen, fingerprint: string) {
    this.inner = inner
    this.reopen = reopen
    this.fingerprint = fingerprint
    this.pages = this.pageStore(inner.pages)
  }

  get facts(): EngineFacts {
    return this.inner.facts
  }

  get threads(): ThreadCounts {
    return this.inner.threads
  }

  set threads(counts: ThreadCounts) {
    this.inner.threads = counts
  }

  get probe(): Probe | undefined {
    return this.inner.probe
  }

  async step(rows: readonly Row[]): Promise<Uint32Array> {
    this.hand()
    return await this.inner.step(rows)
  }

  logits(k: number): Promise<Logits> {
    return this.inner.logits(k)
  }

  state(k: number): Promise<Float32Array> {
    return this.inner.state(k)
  }

  async turn(from: number, to: number, delta: number): Promise<void> {
    this.hand()
    await this.inner.turn(from, to, delta)
    this.pages.history.set(this.inner.pages.history)
  }

  async revive(): Promise<void> {
    const { threads } = this.inner
    await this.inner.close().catch(() => undefined)
    if (this.isClosed) throw errors.closed()
    const engine = await this.reopen(threads)
    try {
      if (this.isClosed) throw errors.closed()
      if ((await engine.pages.fingerprint()) !== this.fingerprint)
        throw errors.engineFailed('its weights, which are read again, are not the same')
    } catch (error) {
      await engine.close()
      throw error
    }
    this.inner = engine
  }

  async close(): Promise<void> {
    this.isClosed = true
    await this.inner.close()
  }

  /** What the host wrote since the last step. */
  private hand(): void {
    for (const name of words) this.inner.pages[name].set(this.pages[name])
  }

  private pageStore(store: PageStore): PageStore {
    const { pages, residentPages, pageBytes, kinds, tables, tablePages, places, history } = store
    return {
      ...{ pages, residentPages, pageBytes, tablePages, stream: undefined },
      ...(kinds ? { kinds } : {}),
      ...{ tables: tables.slice(), places: places.slice(), history: history.slice() },
      copy: (from, to, kind) => this.inner.pages.copy(from, to, kind),
      clear: (place, kind) => this.inner.pages.clear(place, kind),
      read: (place, kind) => this.inner.pages.read(place, kind),
      write: (place, bytes, kind, start) => this.inner.pages.write(place, bytes, kind, start),
      fingerprint: async () => this.fingerprint,
    }
  }
}
