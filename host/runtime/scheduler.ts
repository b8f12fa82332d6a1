/**
 * Shares the steps of an engine among conversations. Every conversation that has something to compute is in every step,
 * as long as there are rows for it: one that decodes has its next token after each step, and a long prompt is read in
 * slices beside it. What a conversation computes does not depend on who shares its steps, so nobody can tell.
 */
import { PAGE_TOKENS } from '../../models/index.ts'
import type { KvCache } from '../cache/cache.ts'
import type { Recovery } from '../cache/recovery.ts'
import { isLoss, type LogitBias, NO_TOKEN, type Row, type Sampling } from '../engine/engine.ts'
import { errors } from '../errors.ts'
import type { ContextPolicy } from './api.ts'

export interface ContextSettings {
  policy: ContextPolicy
  /** Tokens at the beginning that are never forgotten, in whole pages: the attention sinks, or a system prompt. */
  keep: number
}

/** Tokens that a conversation is to compute. */
export interface Feed {
  conversation: number
  tokens: readonly number[]
  /** Sample a token behind the last one; with `isEvery` behind each. Absent: none. */
  sampling?: Sampling
  isEvery?: boolean
  /** What may be sampled behind the last one only: a mask is for one token. */
  mask?: Uint32Array | undefined
  bias?: LogitBias | undefined
  /** Tokens of the conversation before the first one that was generated, those that are forgotten too. */
  generatedFrom?: number
  context: ContextSettings
  signal?: AbortSignal | undefined
  /** Another one: nobody waits for it any more. */
  leaving?: AbortSignal | undefined
  /** And another one: the conversation is closed. */
  closing?: AbortSignal | undefined
  /** Told after every step how many of the tokens are done. */
  onProgress?: ((done: number) => void) | undefined
  /** Told of every sampled token; if it asks for logits, the next step waits for the promise that it returns. */
  /** Told the hidden state (hiddenDim) of each token, a view, in their order; nothing is sampled then. */
  onState?: (state: Float32Array) => void
  onSampled?: (token: number, sampled: SampledLogits) => Promise<void> | undefined
}

/** The logits that a token was sampled from, for who asks: they are gone with the next step. */
export interface SampledLogits {
  /** (vocabSize); may be a view: valid until the next step. */
  values(): Promise<Float32Array>
  /** SHA-256 of the same, first 16 hex digits. */
  hash(): Promise<string>
}

/** What a scheduler needs of a cache; windows only where there are layers with one, revival where an engine can be. */
export type ScheduledCache = Partial<Pick<KvCache, 'windowNeeds' | 'windowsAvailable' | 'recovery'>> &
  Pick<
    KvCache,
    | 'facts'
    | 'lengthOf'
    | 'droppedOf'
    | 'checkRoom'
    | 'pagesNeeded'
    | 'pagesAvailable'
    | 'pagesWritten'
    | 'pagesWritable'
    | 'use'
    | 'drop'
    | 'step'
    | 'logits'
    | 'state'
    | 'logitsHash'
  >

interface Job {
  feed: Feed
  done: number
  /** Steps in which it had no row. */
  waited: number
  resolve(): void
  reject(error: unknown): void
}

/** Tokens of a job that a step computes. */
interface Slice {
  job: Job
  count: number
}

/** Turns of the event loop's shortest kind that a step waits for conversations which are about to want their next token. */
const TURNS = 32

export class Scheduler {
  private readonly cache: ScheduledCache
  private jobs: Job[] = []
  private isRunning = false
  private readonly interludes: (() => Promise<void>)[] = []
  /** Conversations that will want a token soon: a step waits a moment for them. */
  active = 0

  constructor(cache: ScheduledCache) {
    this.cache = cache
  }

  /** Resolves when all tokens are computed; what was computed before an error stays. */
  feed(feed: Feed): Promise<void> {
    const { cache } = this
    const { conversation, tokens, context } = feed
    if (tokens.length === 0) return Promise.resolve()
    const capacity = cache.facts.context - cache.lengthOf(conversation)
    // What cannot succeed is refused before it is begun. One that forgets needs room for its context only.
    cache.checkRoom(conversation, context.policy === 'error' ? tokens.length : Math.min(tokens.length, capacity))
    return new Promise((resolve, reject) => {
      this.jobs.push({ feed, done: 0, waited: 0, resolve, reject })
      if (!this.isRunning) this.run()
    })
  }

  /** Does something for which the engine must be idle, between two steps. */
  between<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.interludes.push(() => work().then(resolve, reject))
      if (!this.isRunning) this.run()
    })
  }

  private async run(): Promise<void> {
    this.isRunning = true
    while (this.jobs.length > 0 || this.interludes.length > 0) {
      for (let work = this.interludes.shift(); work; work = this.interludes.shift()) await work()
      // A step that fails ends the jobs, not what waits for its end.
      if (this.jobs.length > 0) await this.advance().catch((error) => this.jobs.map((job) => this.end(job, error)))
    }
    this.isRunning = false
  }

  /** One step, or as much of it as there is to do. */
  private async advance(): Promise<void> {
    for (let turn = 0; turn < TURNS && this.jobs.length < this.active; turn++) await undefined
    for (const job of this.jobs) {
      const { signal, leaving, closing } = job.feed
      const aborted = [signal, leaving, closing].find((one) => one?.aborted)
      if (aborted) this.end(job, aborted.reason)
    }
    await this.makeRoom()
    // From here to the engine's step nobody else runs: what is counted is still there when it is taken.
    const slices = this.compose()
    if (slices.length > 0) await this.step(slices)
  }

  /** Full conversations forget what their policy says. Before anything is counted: it takes pages, and time. */
  private async makeRoom(): Promise<void> {
    const { cache } = this
    for (const job of this.jobs) {
      const { conversation, context } = job.feed
      const failure = cache.recovery?.failureOf(conversation)
      if (failure) {
        this.end(job, failure)
        continue
      }
      if (cache.lengthOf(conversation) < cache.facts.context) continue
      try {
        if (context.policy === 'error')
          throw errors.contextFull(cache.facts.context + 1, cache.facts.context, cache.facts.context)
        const { keep, drop } = planDrop(context, cache.facts.context)
        await cache.drop(conversation, keep, drop)
      } catch (error) {
        this.end(job, error)
      }
    }
  }

  /** How many tokens of which job the next step takes. Jobs for which there is no memory end here. */
  private compose(): Slice[] {
    const { cache } = this
    // The least first: what they leave of their share is for those who want more.
    const jobs = this.jobs.toSorted((a, b) => b.waited - a.waited || remaining(a) - remaining(b))
    const slices: Slice[] = []
    let rows = cache.facts.maxRows
    let logits = cache.facts.maxLogits
    let available = cache.pagesAvailable
    const windows = [...(cache.windowsAvailable ?? [])]
    let writable = cache.pagesWritable
    for (const [i, job] of jobs.entries()) {
      const { conversation, isEvery } = job.feed
      const share = (left: number) => Math.max(Math.min(left, 1), Math.floor(left / (jobs.length - i)))
      // Nothing for one that came, full, while others forgot: its turn to forget is before the next step.
      let count = Math.min(remaining(job), share(rows), cache.facts.context - cache.lengthOf(conversation))
      if (isEvery) count = Math.min(count, share(logits))
      else if (sampledBy(job, count) > logits) count--
      if (count === 0) {
        job.waited++
        continue
      }
      const needed = cache.pagesNeeded(conversation, count)
      if (needed > available) {
        const { pageBytes } = cache.use
        this.end(job, errors.outOfMemory(needed * pageBytes, available * pageBytes))
        continue
      }
      const needs = windows.length > 0 ? (cache.windowNeeds?.(conversation, count) ?? []) : []
      const short = needs.findIndex(({ pages }, k) => pages > (windows[k] as number))
      if (short >= 0) {
        const { pages, pageBytes } = needs[short] as (typeof needs)[number]
        this.end(job, errors.outOfMemory(pages * pageBytes, (windows[short] as number) * pageBytes))
        continue
      }
      // With a cache on disk, a step can write what memory has room for: the others come next.
      const written = cache.pagesWritten(conversation, count)
      if (written > writable && slices.length > 0) {
        job.waited++
        continue
      }
      writable -= written
      available -= needed
      for (const [k, { pages }] of needs.entries()) windows[k] = (windows[k] as number) - pages
      rows -= count
      logits -= sampledBy(job, count)
      slices.push({ job, count })
    }
    return slices
  }

  private async step(slices: Slice[]): Promise<void> {
    const { recovery } = this.cache
    try {
      await this.compute(slices)
    } catch (error) {
      if (!recovery || !isLoss(error)) throw error
      await recovery.revive()
      await this.stepApart(slices, recovery)
    }
  }

  /**
   * A step at which the engine was lost, once more in another one, conversation by conversation: the one at which that is lost
   * too fails, alone.
   */
  private async stepApart(slices: Slice[], recovery: Recovery): Promise<void> {
    for (const slice of slices) {
      const failure = recovery.failureOf(slice.job.feed.conversation)
      try {
        if (failure) throw failure
        await this.compute([slice])
      } catch (error) {
        this.end(slice.job, error)
        if (!failure && isLoss(error)) await recovery.revive()
      }
    }
  }

  private async compute(slices: Slice[]): Promise<void> {
    const { cache } = this
    const rows = slices.flatMap(({ job, count }) => rowsOf(job, count, cache))
    const sampled = await cache.step(rows)
    let [k, state] = [0, 0]
    for (const { job, count } of slices) {
      const { feed } = job
      const first = k
      k += sampledBy(job, count)
      job.done += count
      job.waited = 0
      try {
        if (sampled.subarray(first, k).includes(NO_TOKEN)) throw errors.notFinite()
        for (let i = first; i < k; i++) {
          const logits = { values: () => cache.logits(i), hash: () => cache.logitsHash(i) }
          const pending = feed.onSampled?.(sampled[i] as number, logits)
          if (pending) await pending
        }
        if (feed.onState) for (let i = 0; i < count; i++) feed.onState(await cache.state(state++))
        feed.onProgress?.(job.done)
        if (remaining(job) === 0) this.end(job)
      } catch (error) {
        this.end(job, error)
      }
    }
  }

  private end(job: Job, error?: unknown): void {
    this.jobs = this.jobs.filter((other) => other !== job)
    if (error === undefined) job.resolve()
    else job.reject(error)
  }
}

function remaining({ feed, done }: Job): number {
  return feed.tokens.length - done
}

/** Tokens that are sampled in a step which takes `count` of a job's. */
function sampledBy({ feed, done }: Job, count: number): number {
  if (!feed.sampling) return 0
  return feed.isEvery ? count : done + count === feed.tokens.length ? 1 : 0
}

function rowsOf({ feed, done }: Job, count: number, cache: ScheduledCache): Row[] {
  const { conversation, tokens, sampling, isEvery, mask, bias } = feed
  const length = cache.lengthOf(conversation)
  const choice = {
    ...(sampling ? { sampling } : {}),
    ...(mask ? { mask } : {}),
    ...(bias ? { bias } : {}),
    ...(feed.generatedFrom === undefined ? {} : { generatedFrom: positionOf(feed, cache) }),
  }
  return Array.from({ length: count }, (_, i) => {
    const row: Row = { conversation, position: length + i, token: tokens[done + i] as number }
    if (feed.onState) row.wantsState = true
    return isEvery || done + i === tokens.length - 1 ? { ...row, ...choice } : row
  })
}

/** Of the first generated token that is not forgotten. */
function positionOf({ conversation, context, generatedFrom = 0 }: Feed, cache: ScheduledCache): number {
  const dropped = cache.droppedOf(conversation)
  const kept = planDrop(context, cache.facts.context).keep * PAGE_TOKENS
  return dropped === 0 || generatedFrom < kept ? generatedFrom : Math.max(kept, generatedFrom - dropped)
}

/** Pages of a full conversation that are kept at its beginning, and that are forgotten behind them. */
export function planDrop({ policy, keep }: ContextSettings, context: number): { keep: number; drop: number } {
  const pages = Math.ceil(context / PAGE_TOKENS)
  const kept = Math.ceil(keep / PAGE_TOKENS)
  // The last page stays: there is always a token that the next one follows.
  const most = pages - kept - 1
  return { keep: kept, drop: policy === 'shift' ? Math.max(1, Math.floor(most / 2)) : 1 }
}
