/**
 * A conversation: tokens in the cache of a model, and what is to follow them. Conversations of one model share its
 * threads and its cache; none can tell that there are others.
 */
import { PAGE_TOKENS } from '../../models/index.ts'
import type { Reuse } from '../cache/pages.ts'
import { greedy, type Sampling } from '../engine/engine.ts'
import { checkNames, checkSetting, checkTokens, errors } from '../errors.ts'
import { settings as shared, titleOf } from '../settings.ts'
import type { Between, FoundSession, SavedPages } from './extensions.ts'
import { type GenerateOptions, type Generation, generate } from './generate.ts'
import type { Model, Prompt } from './model.ts'
import { type ContextPolicy, type ContextSettings, type Feed, planDrop } from './scheduler.ts'

export interface ConversationOptions {
  /** What happens when the context is full: it ends (error, the default), or what is old is forgotten. */
  contextPolicy?: ContextPolicy | undefined
  /** Tokens at the beginning that are never forgotten, rounded up to whole pages of 64; default 64. */
  keep?: number | undefined
}

export interface SavedConversation {
  /** Through all links. */
  path: string
  tokens: number
  /** Of the whole file, and what this save wrote of it. */
  bytes: number
  bytesWritten: number
  /** Was it added to what the file held? */
  isIncremental: boolean
}

export class Conversation {
  /** Number of the conversation in the engine. */
  readonly id: number
  readonly context: ContextSettings
  private readonly model: Model
  private readonly onClose: () => void
  /** The last token that was generated: it is shown, but not computed yet. */
  private next: number | undefined
  private sampling: Sampling | undefined
  /** Tokens that a rewind took out of the cache beyond what was asked for, and the position of the first among all. */
  private lost: { at: number; tokens: readonly number[] } = { at: 0, tokens: [] }
  /** What was saved with it, if it was restored: anything that JSON can say, checked by nobody. */
  notes: unknown
  /** What of it lies in a file already. */
  private saved: SavedPages | undefined
  private isBusy = false
  private isClosed = false

  /** Use `model.open()`. */
  constructor(model: Model, id: number, options: ConversationOptions, onClose: () => void) {
    this.model = model
    this.id = id
    this.context = checkContext(options, model)
    this.onClose = onClose
  }

  /** Tokens in the cache. The last generated token is one of them once another one follows. */
  get length(): number {
    return this.model.cache.lengthOf(this.id)
  }

  /** Tokens that were forgotten. */
  get dropped(): number {
    return this.model.cache.droppedOf(this.id)
  }

  /** All tokens that are not forgotten, the last generated one too. */
  get tokens(): number[] {
    this.checkOpen()
    return [...this.model.cache.tokensOf(this.id), ...this.pending]
  }

  /** Is there a token that the next one follows? */
  get isBegun(): boolean {
    return this.length > 0 || this.pending.length > 0
  }

  /** Tokens that are to be computed before anything else. */
  get pending(): number[] {
    return this.next === undefined ? this.unread : [...this.unread, this.next]
  }

  /** Those of them that were in the cache before. */
  get unread(): number[] {
    const { at, tokens } = this.lost
    return tokens.slice(Math.max(0, this.length + this.dropped - at))
  }

  /** Tokens at the beginning that are never forgotten. */
  get kept(): number {
    return planDrop(this.context, this.model.context).keep * PAGE_TOKENS
  }

  /** Settings of the last generation: the next one goes on with them. */
  get lastSampling(): Sampling | undefined {
    return this.sampling
  }

  /**
   * Adds a prompt and streams what follows, piece by piece; the iterator's return value tells how it went. Without a
   * prompt it goes on where it ended. A prompt that is not read to its end, because of an error or an abort, leaves the
   * conversation as it was.
   */
  async *generate(prompt?: Prompt, options: GenerateOptions = {}): AsyncGenerator<string, Generation> {
    const release = this.acquire()
    try {
      return yield* generate(this.model, this, prompt, options)
    } finally {
      release()
    }
  }

  /**
   * Computes a prompt without generating; resolves to the logits (vocabSize) behind its last token. If that fails, the
   * conversation is as it was.
   */
  async logits(prompt: Prompt): Promise<Float32Array> {
    const release = this.acquire()
    try {
      const ids = [...this.pending, ...this.model.promptIds(prompt, this.isBegun)]
      this.checkRoom(ids)
      let logits = new Float32Array()
      const onSampled = (_: number, view: Float32Array) => {
        logits = view.slice()
      }
      await this.whole(() => this.feed({ tokens: ids.slice(this.reuse(ids).reused), sampling: greedy, onSampled }))
      this.stepBack(this.sampling)
      return logits
    } finally {
      release()
    }
  }

  /** Another conversation with the same past; they share its memory. */
  fork(): Conversation {
    this.checkIdle()
    const { policy: contextPolicy, keep } = this.context
    const fork = this.model.open({ contextPolicy, keep })
    this.model.cache.fork(this.id, fork.id)
    fork.lost = this.lost
    fork.resume(this.next, this.sampling)
    return fork
  }

  /** Forgets all tokens but the first `length`. */
  rewind(length: number): void {
    this.checkIdle()
    const total = this.tokens.length
    if (!Number.isInteger(length) || length < 0 || length > total)
      throw errors.badOption('the length', `a whole number from 0 to ${total}`, length)
    if (length === total) return
    this.cut(length)
    if (length > 0) this.stepBack(this.sampling)
    else this.resume(undefined, undefined)
  }

  /**
   * Saves the conversation to a file, as it will go on: `model.restore()` brings it back, bit for bit. Saved again to the
   * same file, only what is new is written. At any moment, power cuts included, the file holds the conversation as it was
   * saved last or as it is saved now. `notes`, up to a megabyte of what JSON can say, are saved with it. Throws
   * WRITE_FAILED; the conversation is as usable as before.
   */
  async save(path: string, options: { signal?: AbortSignal; notes?: unknown } = {}): Promise<SavedConversation> {
    if (typeof path !== 'string' || path === '') throw errors.badOption('the path', 'not empty', path)
    this.checkIdle()
    if (this.length + this.pending.length === 0)
      throw errors.badOption('a conversation that is saved', 'of at least one token', 0)
    this.isBusy = true
    try {
      const { cache, scheduler } = this.model
      const { saveConversation } = await this.model.sessions('save()')
      if (this.unread.length > 0) await this.whole(() => this.reread(options.signal))
      const continuation = { next: this.next, sampling: this.sampling, notes: options.notes }
      const between: Between = (work) => scheduler.between(work)
      const { saved, pages } = await saveConversation(
        cache,
        this.id,
        path,
        continuation,
        this.saved,
        between,
        options.signal,
      )
      this.saved = pages
      const { bytesWritten, isIncremental, end } = saved
      return { path: saved.path, tokens: this.length + this.pending.length, bytes: end, bytesWritten, isIncremental }
    } finally {
      this.isBusy = false
    }
  }

  /** Gives its memory back. What it has in common with others, or with prompts to come, stays in the cache for a while. */
  close(): void {
    if (this.isClosed) return
    this.checkIdle()
    this.isClosed = true
    this.onClose()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  // What follows is for the host.

  /** Computes tokens in steps that it shares with others. */
  feed(feed: Omit<Feed, 'conversation' | 'context'>): Promise<void> {
    return this.model.scheduler.feed({ ...feed, conversation: this.id, context: this.context })
  }

  /** Finds what the cache has of a prompt: nothing, unless the conversation is empty. */
  reuse(ids: readonly number[]): Reuse {
    return this.length > 0 ? { reused: 0, matched: 0 } : this.model.cache.reuse(this.id, ids)
  }

  /** Throws unless ids can follow; under a policy that forgets, any number can. */
  checkRoom(ids: readonly number[]): void {
    const { model, context } = this
    checkTokens(ids, model.spec.vocabSize)
    const total = this.length + ids.length
    if (context.policy === 'error' && total > model.context)
      throw errors.contextFull(total, model.context, model.spec.maxContext)
  }

  /** Tokens that the next step can compute and sample behind: its share of a step, as long as nothing is to be forgotten. */
  get share(): number {
    const { cache, scheduler, context } = this.model
    const most = Math.min(cache.facts.maxRows, cache.facts.maxLogits)
    return Math.min(context - this.length, Math.floor(most / scheduler.active))
  }

  /** Is there memory for so many more tokens? */
  hasMemory(count: number): boolean {
    const { cache } = this.model
    const available = cache.windowsAvailable
    const isThere = cache.windowNeeds(this.id, count).every(({ pages }, k) => pages <= (available[k] as number))
    return isThere && cache.pagesNeeded(this.id, count) <= cache.pagesAvailable
  }

  /** Cuts off what was computed behind `length`. */
  cut(length: number): void {
    const { cache } = this.model
    const before = this.length
    const { unread } = this
    if (length >= before) {
      this.lost = { at: before + this.dropped, tokens: unread.slice(0, length - before) }
      return
    }
    const tokens = cache.keepsAll ? [] : [...cache.tokensOf(this.id)]
    const left = cache.rewind(this.id, length)
    this.lost = { at: left + this.dropped, tokens: tokens.slice(left, length) }
  }

  /** Computes again what a cut has lost. */
  async reread(signal?: AbortSignal): Promise<void> {
    await this.feed({ tokens: this.unread, sampling: greedy, signal })
  }

  /** What is to be computed next, and with which settings. */
  resume(next: number | undefined, sampling: Sampling | undefined): void {
    this.next = next
    this.sampling = sampling
  }

  /** Reads a prompt; if that fails, the conversation is as it was. */
  async whole<T>(read: () => Promise<T>): Promise<T> {
    const { length, dropped, next, sampling, unread } = this
    try {
      return await read()
    } catch (error) {
      const computed = this.length + this.dropped - length - dropped
      // Tokens that were forgotten to make room are gone, so what was read of the prompt stays.
      if (this.dropped > dropped && computed > 0 && this.unread.length === 0) this.stepBack(sampling)
      else {
        this.cut(length + unread.length)
        this.resume(next, sampling)
      }
      throw error
    }
  }

  /** Takes the last token back, to be computed again: where there are no logits to go on from. */
  stepBack(sampling: Sampling | undefined): void {
    const { unread } = this
    const last = unread.at(-1) ?? this.model.cache.tokensOf(this.id).at(-1)
    this.cut(this.length + unread.length - 1)
    this.resume(last, sampling)
  }

  /** Fills it, being empty, with a session. */
  async restore(found: FoundSession): Promise<void> {
    const { scheduler } = this.model
    const between: Between = (work) => scheduler.between(work)
    this.saved = await found.restore(this.id, between)
    const { next, sampling, notes } = found.continuation
    this.notes = notes
    this.resume(next, sampling)
  }

  /** Nothing else may use the conversation until the returned function is called. */
  acquire(): () => void {
    this.checkIdle()
    this.isBusy = true
    this.model.scheduler.active++
    return () => {
      this.isBusy = false
      this.model.scheduler.active--
    }
  }

  private checkIdle(): void {
    this.checkOpen()
    if (this.isBusy) throw errors.busy()
  }

  private checkOpen(): void {
    if (this.isClosed) throw errors.conversationClosed()
  }
}

const names = ['contextPolicy', 'keep']

/** Options with their defaults; throws BAD_OPTION. */
export function checkContext(options: ConversationOptions, { context, cache, spec }: Model): ContextSettings {
  checkNames('open()', options, names)
  const { contextPolicy: policy = shared.contextPolicy.default, keep = shared.keep.default } = options
  checkSetting('contextPolicy', policy)
  checkSetting('keep', keep)
  // What is cached knows its position, and no rotation can change it.
  if (policy !== 'error' && spec.embedding.positions !== undefined)
    throw errors.badOption('contextPolicy (--context-policy)', 'error for a model that learned its positions', policy)
  const settings = { policy, keep }
  const plan = planDrop(settings, context)
  if (policy !== 'error' && (plan.keep + plan.drop) * PAGE_TOKENS >= context)
    throw errors.badOption(
      titleOf('context'),
      `more than ${(plan.keep + plan.drop) * PAGE_TOKENS} tokens where ${plan.keep * PAGE_TOKENS} are kept (--keep): ${PAGE_TOKENS} more are forgotten at a time, and one must be left`,
      context,
    )
  // Kept pages are turned when others are forgotten: they lie in the cache twice then.
  const { pageBytes, totalBytes } = cache.use
  const pages = Math.ceil(context / PAGE_TOKENS) - plan.drop + plan.keep
  // Where layers with a window have given kept pages back, these cannot be seen again: the window must end behind them.
  const windows = cache.kinds.map(({ window = 1 }) => window).filter((window) => context >= window + 2 * PAGE_TOKENS)
  const least = (plan.keep + plan.drop) * PAGE_TOKENS + Math.max(0, ...windows.map((window) => window - 1))
  if (policy !== 'error' && context < least)
    throw errors.badOption(
      titleOf('context'),
      `at least ${least} tokens where ${plan.keep * PAGE_TOKENS} are kept (--keep) and ${plan.drop * PAGE_TOKENS} forgotten at a time: some layers see all tokens behind them`,
      context,
    )
  if (policy !== 'error' && pages > cache.pagesTotal)
    throw errors.badOption(
      titleOf('cacheMemory'),
      `at least ${pages * pageBytes} bytes for a context of ${context} tokens of which ${keep} are kept`,
      totalBytes,
    )
  return settings
}
