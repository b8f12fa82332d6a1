/** What a loaded model is made of. Users see what `Model` shows of it; the rooms above, and tests, see all. */
import type { CacheType, ModelSpec, Plan } from '../../models/index.ts'
import type { KvCache } from '../cache/cache.ts'
import type { Engine, EngineOptions, Sampling } from '../engine/engine.ts'
import { recommendedSampling } from '../engine/sampling.ts'
import { errors } from '../errors.ts'
import { unusedSettings } from '../files/unused-settings.ts'
import { eosOf } from '../text/special-tokens.ts'
import type { ChatTemplate } from '../text/template/template.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { Prompt } from './api.ts'
import type { Extensions, Sessions } from './extensions.ts'
import { Scheduler } from './scheduler.ts'
import type { ModelSource } from './source.ts'

function isIds(value: unknown): value is ArrayLike<number> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))
}

interface Waiter {
  take(id: number): void
  leave(error: unknown): void
}

export class Runtime {
  readonly path: string
  readonly spec: ModelSpec
  readonly plan: Plan
  readonly cacheType: CacheType
  /** Positions per conversation. */
  readonly context: number
  /** Tensors of the checkpoint that the model does not use. */
  readonly unused: string[]
  /** Settings of generation_config.json that are not applied. */
  readonly unusedSettings: string[]
  readonly tokenizer: Tokenizer | undefined
  /** What generation_config.json recommends. */
  readonly recommended: Partial<Sampling>
  /** Tokens that end a text: those of config.json and of generation_config.json. */
  readonly eos: ReadonlySet<number>
  /** Everything that is computed goes through it. */
  readonly cache: KvCache
  readonly scheduler: Scheduler
  private readonly tokenizerConfig: unknown
  private readonly extensions: Extensions
  /** Numbers of conversations that are not open. */
  private readonly free: number[]
  /** Who wants one, in the order in which they came. */
  private readonly waiting = new Set<Waiter>()
  private isClosed = false

  constructor(
    path: string,
    { model, files, plan, unused }: Pick<ModelSource, 'model' | 'files' | 'plan' | 'unused'>,
    { cache: cacheType, context }: EngineOptions,
    cache: KvCache,
    tokenizer: Tokenizer | undefined,
    extensions: Extensions,
  ) {
    this.path = path
    this.spec = model.spec
    this.plan = plan
    this.cacheType = cacheType
    this.context = context
    this.unused = unused
    this.unusedSettings = unusedSettings(model.spec, files.generation)
    this.tokenizer = tokenizer
    this.recommended = recommendedSampling(files.generation)
    this.eos = eosOf(model.spec, files.generation)
    this.cache = cache
    this.scheduler = new Scheduler(cache)
    this.tokenizerConfig = files.tokenizerConfig
    this.extensions = extensions
    this.free = Array.from({ length: cache.facts.conversations }, (_, id) => id)
  }

  get engine(): Engine {
    return this.cache.engine
  }

  /**
   * Ids of a prompt: text with the model's begin token before it unless something precedes it, or ids as they are. Throws
   * when there are none.
   */
  promptIds(prompt: Prompt, isContinued = false): number[] {
    if (typeof prompt !== 'string' && !isIds(prompt))
      throw errors.badOption('the prompt', 'a text or a list of token ids', prompt)
    // An empty text is refused even where a begin token would make it one: nobody means it.
    if (prompt.length === 0) throw errors.emptyPrompt()
    if (typeof prompt !== 'string') return Array.from(prompt)
    const tokenizer = this.requireTokenizer()
    const { before, behind } = tokenizer.ends
    const text = tokenizer.encode(prompt)
    const ids = isContinued ? text : before.concat(text, behind)
    if (ids.length === 0) throw errors.emptyPrompt()
    return ids
  }

  /** Ids of a corpus: special tokens in the text are themselves; begins with the begin token. */
  corpusIds(text: string): number[] {
    const tokenizer = this.requireTokenizer()
    const { before } = tokenizer.ends
    const ids = tokenizer.encodeCorpus(text)
    return before.every((id, i) => ids[i] === id) ? ids : before.concat(ids)
  }

  /** The number of a conversation for whoever opens one; undefined if all are taken, or others wait for one. */
  takeId(): number | undefined {
    return this.free.shift()
  }

  /** The same, when there is one: who came first has it first. Rejects with the reason of a signal, or CLOSED. */
  async waitForId(signals: readonly (AbortSignal | undefined)[]): Promise<number> {
    for (const signal of signals) signal?.throwIfAborted()
    this.checkOpen()
    const id = this.takeId()
    if (id !== undefined) return id
    return await new Promise((resolve, reject) => {
      const leave = (error: unknown) => {
        this.waiting.delete(waiter)
        for (const [i, signal] of signals.entries()) signal?.removeEventListener('abort', aborts[i] as () => void)
        if (error !== undefined) reject(error)
      }
      const aborts = signals.map((signal) => () => leave(signal?.reason))
      const waiter: Waiter = {
        take: (free) => {
          leave(undefined)
          resolve(free)
        },
        leave,
      }
      this.waiting.add(waiter)
      for (const [i, signal] of signals.entries()) signal?.addEventListener('abort', aborts[i] as () => void)
    })
  }

  /** Empties a conversation; its number is free again. */
  giveBack(id: number): void {
    this.cache.rewind(id, 0)
    const [first] = this.waiting
    if (first) first.take(id)
    else this.free.push(id)
  }

  /** Throws CLOSED. */
  checkOpen(): void {
    if (this.isClosed) throw errors.closed()
  }

  async close(): Promise<void> {
    this.isClosed = true
    for (const waiter of [...this.waiting]) waiter.leave(errors.closed())
    await this.cache.close()
  }

  requireTokenizer(): Tokenizer {
    if (!this.tokenizer) throw errors.badTokenizer(this.path, 'is missing (no tokenizer.json)')
    return this.tokenizer
  }

  /** Does the model bring a chat template of its own? */
  get hasTemplate(): boolean {
    return ((this.tokenizerConfig ?? {}) as { chat_template?: unknown }).chat_template !== undefined
  }

  /** The model's own template, or `given`. Throws NO_TEMPLATE, BAD_TEMPLATE, or BAD_OPTION where no template can run. */
  async chatTemplate(given: string | undefined): Promise<ChatTemplate> {
    const { renderTemplate } = this.extensions
    if (!renderTemplate) throw errors.needsProcesses()
    const { ChatTemplate } = await import('../text/template/template.ts')
    return new ChatTemplate(this.path, this.tokenizerConfig, this.requireTokenizer(), given, renderTemplate)
  }

  /** Conversations in files, for `what`. Throws BAD_OPTION where there are none. */
  async sessions(what: string): Promise<Sessions> {
    if (!this.extensions.sessions) throw errors.needsFiles(what)
    return await this.extensions.sessions()
  }
}
