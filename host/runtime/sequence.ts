/**
 * A sequence: tokens of one conversation in the cache of a model, and what is to follow them. `Conversation` shows users a
 * part of it; generation, evaluation and tools use all.
 */
import { longestContext, PAGE_TOKENS } from '../../models/index.ts'
import type { Reuse } from '../cache/pages.ts'
import { greedy, type Sampling } from '../engine/engine.ts'
import { checkNames, checkSignal, checkTokens, errors } from '../errors.ts'
import type { ConversationOptions, Prompt, SavedConversation } from './api.ts'
import { checkContext } from './context.ts'
import type { Between, FoundSession, SavedPages } from './extensions.ts'
import type { Runtime } from './runtime.ts'
import { type ContextSettings, type Feed, planDrop, type SampledLogits } from './scheduler.ts'

export class Sequence {
  readonly runtime: Runtime
  /** Number of the conversation in the engine; undefined while it waits for one. */
  private slot: number | undefined
  readonly context: ContextSettings
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
  private isGenerating = false
  /** Steps that it takes part in, or waits for. */
  private feeds = 0
  /** Aborted when it is closed. */
  private readonly closing = new AbortController()

  /** Throws BAD_OPTION; with `busy` throw TOO_MANY if as many as there can be are open. Else it waits when it is used. */
  constructor(runtime: Runtime, options: ConversationOptions) {
    this.runtime = runtime
    this.context = checkContext(options, runtime)
    this.slot = runtime.takeId()
    if (this.slot === undefined && options.busy === 'throw')
      throw errors.tooManyConversations(runtime.cache.facts.conversations)
  }

  /** Waits until it has a number in the engine. Rejects with the reason of the signal, or CLOSED. */
  async claim(signal?: AbortSignal): Promise<void> {
    if (this.slot !== undefined) return
    const slot = await this.runtime.waitForId([signal, this.closing.signal])
    this.slot = slot
    if (!this.isClosed) return
    this.giveBack()
    this.checkOpen()
  }

  /** Its number in the engine, once it has one. */
  get number(): number | undefined {
    return this.slot
  }

  /** The same, for what happens to its tokens: then it has one. */
  get id(): number {
    this.checkOpen()
    if (this.slot === undefined) throw errors.tooManyConversations(this.runtime.cache.facts.conversations)
    return this.slot
  }

  get isClosed(): boolean {
    return this.closing.signal.aborted
  }

  /** See `Model.restore`. */
  static async restore(
    runtime: Runtime,
    path: string,
    given: ConversationOptions & { signal?: AbortSignal },
  ): Promise<Sequence> {
    checkNames('restore()', given, ['contextPolicy', 'keep', 'busy', 'signal'])
    const { signal, ...options } = given
    checkSignal(signal)
    if (typeof path !== 'string' || path === '') throw errors.badOption('the path', 'not empty', path)
    const { cache, spec } = runtime
    checkContext(options, runtime)
    const { findSession } = await runtime.sessions('restore()')
    const found = await findSession(cache, path, spec.vocabSize, longestContext(spec), signal)
    try {
      const sequence = new Sequence(runtime, options)
      try {
        await sequence.claim(signal)
        await sequence.fill(found)
        return sequence
      } catch (error) {
        sequence.close()
        throw error
      }
    } finally {
      await found.close()
    }
  }

  /** Tokens in the cache. The last generated token is one of them once another one follows. */
  get length(): number {
    return this.slot === undefined ? 0 : this.runtime.cache.lengthOf(this.slot)
  }

  /** Tokens that were forgotten. */
  get dropped(): number {
    return this.slot === undefined ? 0 : this.runtime.cache.droppedOf(this.slot)
  }

  /** All tokens that are not forgotten, the last generated one too. */
  get tokens(): number[] {
    this.checkOpen()
    return this.slot === undefined ? [] : [...this.runtime.cache.tokensOf(this.slot), ...this.pending]
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
    return planDrop(this.context, this.runtime.context).keep * PAGE_TOKENS
  }

  /** Settings of the last generation: the next one goes on with them. */
  get lastSampling(): Sampling | undefined {
    return this.sampling
  }

  /** See `Conversation.logits`. */
  async logits(prompt: Prompt): Promise<Float32Array> {
    const release = this.acquire()
    try {
      this.checkLength(prompt)
      const ids = [...this.pending, ...this.runtime.promptIds(prompt, this.isBegun)]
      this.checkRoom(ids)
      await this.claim()
      let logits = new Float32Array()
      const onSampled = async (_: number, { values }: SampledLogits) => {
        logits = (await values()).slice()
      }
      await this.whole(() => this.feed({ tokens: ids.slice(this.reuse(ids).reused), sampling: greedy, onSampled }))
      this.stepBack(this.sampling)
      return logits
    } finally {
      release()
    }
  }

  /** Another sequence with the same past; they share its memory. */
  fork(): Sequence {
    this.checkIdle()
    const { policy: contextPolicy, keep } = this.context
    const fork = new Sequence(this.runtime, { contextPolicy, keep, ...(this.length > 0 ? { busy: 'throw' } : {}) })
    if (this.length > 0) this.runtime.cache.fork(this.id, fork.id)
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

  /** See `Conversation.save`. */
  async save(path: string, options: { signal?: AbortSignal; notes?: unknown } = {}): Promise<SavedConversation> {
    this.checkIdle()
    checkNames('save()', options, ['signal', 'notes'])
    checkSignal(options.signal)
    if (typeof path !== 'string' || path === '') throw errors.badOption('the path', 'not empty', path)
    if (this.length + this.pending.length === 0)
      throw errors.badOption('a conversation that is saved', 'of at least one token', 0)
    this.isBusy = true
    try {
      const { cache, scheduler } = this.runtime
      const { saveConversation } = await this.runtime.sessions('save()')
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

  /** What it computes ends with CLOSED. Throws BUSY while it is saved. */
  close(): void {
    if (this.isClosed) return
    if (this.isBusy && !this.isGenerating) throw errors.busy()
    this.closing.abort(errors.conversationClosed())
    if (this.feeds === 0) this.giveBack()
  }

  private giveBack(): void {
    const { slot } = this
    this.slot = undefined
    if (slot !== undefined) this.runtime.giveBack(slot)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Computes tokens in steps that it shares with others. */
  async feed(feed: Omit<Feed, 'conversation' | 'context' | 'closing'>): Promise<void> {
    this.checkOpen()
    await this.claim(feed.signal)
    const { context, id: conversation } = this
    this.feeds++
    try {
      await this.runtime.scheduler.feed({ ...feed, conversation, context, closing: this.closing.signal })
    } finally {
      this.feeds--
      if (this.isClosed && this.feeds === 0) this.giveBack()
    }
    this.checkOpen()
  }

  /** Finds what the cache has of a prompt: nothing, unless the conversation is empty. */
  reuse(ids: readonly number[]): Reuse {
    return this.length > 0 ? { reused: 0, matched: 0 } : this.runtime.cache.reuse(this.id, ids)
  }

  /** Refuses a text that is too long whatever its tokens are, before they are looked for: that takes a second per megabyte. */
  checkLength(text: unknown): void {
    const { runtime, context } = this
    if (context.policy !== 'error' || typeof text !== 'string') return
    const least = this.length + (runtime.tokenizer?.leastTokens(text.length) ?? 0)
    if (least > runtime.context) throw errors.contextFull(least, runtime.context, longestContext(runtime.spec), true)
  }

  /** Throws unless ids can follow; under a policy that forgets, any number can. */
  checkRoom(ids: readonly number[]): void {
    const { runtime, context } = this
    checkTokens(ids, runtime.spec.vocabSize)
    const total = this.length + ids.length
    if (context.policy === 'error' && total > runtime.context)
      throw errors.contextFull(total, runtime.context, longestContext(runtime.spec))
  }

  /** Tokens that the next step can compute and sample behind: its share of a step, as long as nothing is to be forgotten. */
  get share(): number {
    const { cache, scheduler, context } = this.runtime
    const most = Math.min(cache.facts.maxRows, cache.facts.maxLogits)
    return Math.min(context - this.length, Math.floor(most / scheduler.active))
  }

  /** Is there memory for so many more tokens? */
  hasMemory(count: number): boolean {
    const { cache } = this.runtime
    const available = cache.windowsAvailable
    const isThere = cache.windowNeeds(this.id, count).every(({ pages }, k) => pages <= (available[k] as number))
    return isThere && cache.pagesNeeded(this.id, count) <= cache.pagesAvailable
  }

  /** Cuts off what was computed behind `length`. */
  cut(length: number): void {
    // What ends because it was closed has nothing to leave as it was.
    if (this.isClosed) return
    const { cache } = this.runtime
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
    if (this.isClosed) return
    const { unread } = this
    const last = unread.at(-1) ?? this.runtime.cache.tokensOf(this.id).at(-1)
    this.cut(this.length + unread.length - 1)
    this.resume(last, sampling)
  }

  /** Fills it, being empty, with a session. */
  async fill(found: FoundSession): Promise<void> {
    const { scheduler } = this.runtime
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
    this.isGenerating = true
    this.runtime.scheduler.active++
    return () => {
      this.isBusy = false
      this.isGenerating = false
      this.runtime.scheduler.active--
    }
  }

  private checkIdle(): void {
    this.checkOpen()
    if (this.isBusy) throw errors.busy()
  }

  /** Throws CLOSED. */
  checkOpen(): void {
    if (this.isClosed) throw errors.conversationClosed()
    this.runtime.checkOpen()
  }
}
