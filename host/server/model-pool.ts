/**
 * The models of a server and who may use them. A request waits in one queue, first come, first served, until it has a slot and
 * its model is in memory. Models are loaded when they are asked for; what does not fit in the budget beside them is the one
 * that nobody has used for longest. Because nobody overtakes the first of the queue, one that wants a model which does not
 * fit gets it as soon as those who run have ended: nobody waits for ever.
 */
import { stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { isLoss } from '../engine/engine.ts'
import { GtaError } from '../errors.ts'
import { type LoadOptions, load } from '../load.ts'
import { type ApiError, apiErrors, serverErrors } from './errors.ts'
import { ServedModel } from './served-model.ts'
import { defaultBudget, inspect, type Weighed, weigh } from './weigh.ts'

export interface ModelEntry {
  name: string
  path: string | URL
}

export interface PoolOptions {
  models: ModelEntry[]
  load: LoadOptions
  /** Generations that run at a time, and requests that wait at most. */
  slots: number
  queue: number
  /** Bytes of all models in memory; default: three quarters of the machine. */
  budget?: number | undefined
  /** For models that have none of their own, or in its place. */
  template?: string | undefined
  onLoad?: (name: string, milliseconds: number) => void
  onUnload?: (name: string) => void
}

/** A model that may be used by whoever holds it, until it is released. */
export interface Lease {
  model: ServedModel
  release(): void
}

/** A model in memory, or on its way there. */
interface Held {
  readonly model: Promise<ServedModel>
  isLoaded: boolean
  /** Requests that use it, or wait for it to be loaded. */
  users: number
}

interface Place {
  readonly entry: ModelEntry
  weighed: Weighed
  /** Seconds since 1970, of its file. */
  readonly created: number
  held: Held | undefined
  lastUsed: number
}

export interface ModelFacts extends Weighed {
  name: string
  created: number
  state: 'unloaded' | 'loading' | 'loaded'
}

interface Waiter {
  place: Place
  /** Of a model that others have to make room for: none is ended for one that is damaged. */
  inspection?: 'running' | 'good'
  slots: number
  start(held: Held): void
  fail(error: unknown): void
}

export class ModelPool {
  private readonly options: PoolOptions
  private readonly budget: number
  private readonly places = new Map<string, Place>()
  private waiting: Waiter[] = []
  /** Loads and unloads, one after the other. */
  private work: Promise<unknown> = Promise.resolve()
  private isEnding = false
  /** Slots that are taken. */
  running = 0
  /** Seconds that a request holds its slot, lately. */
  private meanSeconds = 1

  private constructor(options: PoolOptions, budget: number) {
    this.options = options
    this.budget = budget
  }

  /** Looks at every model before anything is loaded. Throws as `load()`, or BAD_OPTION for two models of one name. */
  static async open(options: PoolOptions): Promise<ModelPool> {
    const budget = options.budget ?? defaultBudget()
    const pool = new ModelPool(options, budget)
    for (const entry of options.models) {
      if (pool.places.has(entry.name)) throw serverErrors.sameName(entry.name)
      const weighed = await weigh(entry.path, options.load, options.slots, budget)
      const path = entry.path instanceof URL ? fileURLToPath(entry.path) : entry.path
      const created = Math.floor(((await stat(path).catch(() => undefined))?.mtimeMs ?? 0) / 1000)
      const place: Place = { entry, weighed, created, held: undefined, lastUsed: 0 }
      pool.checkBudget(place)
      pool.places.set(entry.name, place)
    }
    return pool
  }

  get names(): string[] {
    return [...this.places.keys()]
  }

  get slots(): number {
    return this.options.slots
  }

  /** Requests that wait for a slot or a model. */
  get deferred(): number {
    return this.waiting.length
  }

  get isReady(): boolean {
    return !this.isEnding && [...this.places.values()].some(({ held }) => held?.isLoaded)
  }

  facts(): ModelFacts[] {
    return [...this.places.values()].map(factsOf)
  }

  /** What is known of a model without loading it. Throws 404. */
  factsOf(name: string | undefined): ModelFacts {
    return factsOf(this.placeOf(name))
  }

  /** The models in memory. */
  async loaded(): Promise<ServedModel[]> {
    const held = [...this.places.values()].flatMap((place) => (place.held?.isLoaded ? [place.held.model] : []))
    return await Promise.all(held)
  }

  /** Only names of the list are models: no path of a request leads anywhere. Without a name it is the first one. */
  private placeOf(name: string | undefined): Place {
    const [first] = this.places.values()
    // Ollama's clients write a tag behind a name.
    const place = name ? (this.places.get(name) ?? this.places.get(name.replace(/:latest$/, ''))) : first
    if (!place) throw apiErrors.noModel(name ?? '', this.names)
    return place
  }

  /**
   * Waits for slots and the model. Throws 404 for a name that is not in the list, 429 at once if as many wait as may, 503 if the
   * server ends or the model cannot be loaded, or the reason of the signal.
   */
  async enter(name: string | undefined, slots: number, signal: AbortSignal): Promise<Lease> {
    const place = this.placeOf(name)
    signal.throwIfAborted()
    if (this.isEnding) throw apiErrors.ending()
    this.checkQueue(slots)
    const held = await new Promise<Held>((resolve, reject) => {
      const leave = () => {
        this.waiting = this.waiting.filter((other) => other !== waiter)
        reject(signal.reason)
        this.pump()
      }
      const settle = () => signal.removeEventListener('abort', leave)
      const waiter: Waiter = {
        place,
        slots,
        start: (found) => {
          settle()
          resolve(found)
        },
        fail: (error) => {
          settle()
          reject(error)
        },
      }
      signal.addEventListener('abort', leave)
      this.waiting.push(waiter)
      this.pump()
    })
    const release = this.releaser(place, held, slots)
    try {
      return { model: await untilAborted(held.model, signal), release }
    } catch (error) {
      release()
      throw error
    }
  }

  /** Throws 429 if as many wait as may. */
  checkQueue(slots = 1): void {
    const { length } = this.waiting
    if (length >= this.options.queue && (length > 0 || !this.canStart(slots)))
      throw apiErrors.queueFull(length, this.secondsToWait())
  }

  /** Gives slots back, which are taken already; once. */
  private releaser(place: Place, held: Held, slots: number): () => void {
    const started = performance.now()
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      this.running -= slots
      held.users--
      place.lastUsed = performance.now()
      this.meanSeconds += ((performance.now() - started) / 1000 - this.meanSeconds) / 8
      this.pump()
    }
  }

  /** An engine that is lost is no use to anybody else: whoever asks next has the model loaded again. Other errors change nothing. */
  failed(model: ServedModel, error: unknown): void {
    const isClosed = error instanceof GtaError && error.code === 'CLOSED'
    if (!isLoss(error) && !isClosed) return
    const place = this.places.get(model.name)
    if (place?.held?.isLoaded) this.unload(place)
  }

  private canStart(slots: number): boolean {
    return this.running + slots <= this.options.slots
  }

  private secondsToWait(): number {
    return (this.meanSeconds * (this.waiting.length + 1)) / this.options.slots
  }

  /** Lets in whoever can be, in the order in which they came. */
  private pump(): void {
    for (let first = this.waiting[0]; first && this.canStart(first.slots); first = this.waiting[0]) {
      const { place, slots } = first
      if (first.inspection === 'running') return
      if (!place.held && first.inspection === undefined && !this.hasRoom(place)) return void this.inspect(first)
      if (!place.held && !this.makeRoom(place)) return
      this.waiting.shift()
      place.held ??= this.load(place)
      place.held.users++
      this.running += slots
      first.start(place.held)
    }
  }

  /** Looks once more at a model that has no room yet, which may have changed; who waits for one that is no good is told so. */
  private async inspect(waiter: Waiter): Promise<void> {
    const { place } = waiter
    const { entry } = place
    const { load: options, slots } = this.options
    waiter.inspection = 'running'
    try {
      place.weighed = await inspect(entry.path, options, slots, this.budget)
      this.checkBudget(place)
      waiter.inspection = 'good'
    } catch (error) {
      this.waiting = this.waiting.filter((other) => other !== waiter)
      waiter.fail(apiErrors.cannotLoad(entry.name, error as Error))
    }
    this.pump()
  }

  /** A budget that somebody has named is kept by each model. */
  private checkBudget({ entry: { name }, weighed: { bytes } }: Place): void {
    if (this.options.budget !== undefined && bytes > this.budget)
      throw serverErrors.overBudget(name, bytes, this.budget)
  }

  private get taken(): number {
    return [...this.places.values()].reduce((sum, { held, weighed }) => sum + (held ? weighed.bytes : 0), 0)
  }

  private hasRoom(place: Place): boolean {
    return this.taken === 0 || this.taken + place.weighed.bytes <= this.budget
  }

  /** Unloads what nobody uses until a model fits; false if others have to end first. */
  private makeRoom(place: Place): boolean {
    const places = [...this.places.values()]
    while (!this.hasRoom(place)) {
      const idle = places.filter(({ held }) => held?.users === 0)
      const [oldest] = idle.sort((a, b) => a.lastUsed - b.lastUsed)
      if (!oldest) return false
      this.unload(oldest)
    }
    return true
  }

  private unload(place: Place): void {
    const { held, entry } = place
    place.held = undefined
    this.work = this.work.then(async () => {
      await held?.model.then((loaded) => loaded.close()).catch(() => undefined)
      this.options.onUnload?.(entry.name)
    })
  }

  private load(place: Place): Held {
    const { entry, weighed } = place
    const model = this.work.then(async () => {
      const started = performance.now()
      try {
        const loaded = new ServedModel(entry.name, await load(entry.path, weighed.options), this.options.template)
        this.options.onLoad?.(entry.name, performance.now() - started)
        held.isLoaded = true
        return loaded
      } catch (error) {
        // The next one who asks tries again.
        if (place.held === held) place.held = undefined
        throw apiErrors.cannotLoad(entry.name, error as Error)
      }
    })
    const held: Held = { model, isLoaded: false, users: 0 }
    this.work = model.catch(() => undefined)
    return held
  }

  /** Loads the first model, so that the first request need not wait for it. */
  async warm(): Promise<void> {
    const lease = await this.enter(undefined, 1, new AbortController().signal)
    lease.release()
  }

  /** Lets nobody in any more; those who wait are told `error`. */
  stop(error: ApiError): void {
    this.isEnding = true
    const { waiting } = this
    this.waiting = []
    for (const waiter of waiting) waiter.fail(error)
  }

  async close(): Promise<void> {
    this.stop(apiErrors.ending())
    for (const place of this.places.values()) if (place.held) this.unload(place)
    await this.work
  }
}

function factsOf({ entry, weighed, created, held }: Place): ModelFacts {
  const state = held === undefined ? 'unloaded' : held.isLoaded ? 'loaded' : 'loading'
  return { name: entry.name, created, state, ...weighed }
}

/** A load goes on without whoever does not wait for it any more. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw signal.reason
  let stop: () => void = () => undefined
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop)
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
