/**
 * A loaded model: the public face of the runtime. `generate()` streams text; `open()` gives a conversation that goes on.
 */
import {
  type CacheType,
  type ModelDescription,
  type ModelSpec,
  type Plan,
  type WeightType,
  weightBytesPerToken,
} from '../../models/index.ts'
import type { KvCache } from '../cache/cache.ts'
import { type Engine, type EngineOptions, nameOf, type Sampling } from '../engine/engine.ts'
import { recommendedSampling } from '../engine/sampling.ts'
import { checkNames, errors } from '../errors.ts'
import type { ModelFiles } from '../files/source.ts'
import { bosOf, eosOf } from '../text/special-tokens.ts'
import type { ChatMessage, ChatTemplate } from '../text/template/template.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { Chat, ChatOptions, TemplateOptions } from './chat.ts'
import { Conversation, type ConversationOptions, checkContext } from './conversation.ts'
import { type Evaluation, evaluate, type Predictions, type PredictOptions, predict } from './evaluate.ts'
import type { Extensions, Sessions } from './extensions.ts'
import type { GenerateOptions, Generation } from './generate.ts'
import { Scheduler } from './scheduler.ts'

/** A text, or token ids that are taken as they are. */
export type Prompt = string | ArrayLike<number>

function isIds(value: unknown): value is ArrayLike<number> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))
}

/** A model whose weights are still to be loaded. */
export interface Source {
  model: ModelDescription
  files: ModelFiles
  plan: Plan
  /** Tensors of the checkpoint that the model does not use. */
  unused: string[]
  load(target: Uint8Array): Promise<void>
  /** Where the tokenizer comes behind the weights: to be called when those are loaded. */
  readTokenizer?(): Promise<Uint8Array | undefined>
  close(): Promise<void>
}

export class Model {
  readonly path: string
  readonly spec: ModelSpec
  readonly weightType: WeightType
  readonly cacheType: CacheType
  /** Positions per conversation. */
  readonly context: number
  /** What generation_config.json recommends. */
  readonly recommended: Partial<Sampling>
  readonly tokenizer: Tokenizer | undefined
  /** Tensors of the checkpoint that the model does not use: harmless, or a sign of the wrong config.json. */
  readonly unusedTensors: string[]
  /** Bytes of all weights, in a packed file as in memory. */
  readonly weightBytes: number
  /** Weight bytes that one decoded token reads. */
  readonly bytesPerToken: number
  /** Everything that is computed goes through it. */
  readonly cache: KvCache
  /** Tokens that end a text: those of config.json and of generation_config.json. */
  readonly eos: ReadonlySet<number>
  private readonly bos: number | undefined
  private readonly tokenizerConfig: unknown
  readonly scheduler: Scheduler
  private readonly extensions: Extensions
  /** Numbers of conversations that are not open. */
  private readonly free: number[]

  /** Use `load()`. */
  constructor(
    path: string,
    { model, files, plan, unused }: Pick<Source, 'model' | 'files' | 'plan' | 'unused'>,
    options: EngineOptions,
    cache: KvCache,
    tokenizer: Tokenizer | undefined,
    extensions: Extensions,
  ) {
    this.extensions = extensions
    this.path = path
    this.unusedTensors = unused
    this.spec = model.spec
    this.weightType = plan.type
    this.cacheType = options.cache
    this.context = options.context
    this.recommended = recommendedSampling(files.generation)
    this.tokenizer = tokenizer
    this.weightBytes = plan.bytes
    this.bytesPerToken = weightBytesPerToken(plan, model.spec)
    this.cache = cache
    this.scheduler = new Scheduler(cache)
    this.free = Array.from({ length: cache.facts.conversations }, (_, id) => id)
    this.eos = eosOf(model.spec, files.generation)
    this.bos = bosOf(model.spec, files.tokenizerConfig)
    this.tokenizerConfig = files.tokenizerConfig
  }

  get engine(): Engine {
    return this.cache.engine
  }

  /** The engine for people: 'wasm relaxed-simd, 2 threads'. */
  get engineName(): string {
    return nameOf(this.engine)
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
    const ids = this.requireTokenizer().encode(prompt)
    if (this.bos !== undefined && !isContinued) ids.unshift(this.bos)
    if (ids.length === 0) throw errors.emptyPrompt()
    return ids
  }

  /** Ids of a corpus for `evaluate`: special tokens in the text are themselves; begins with the begin token. */
  corpusIds(text: string): number[] {
    const ids = this.requireTokenizer().encodeCorpus(text)
    return this.bos === undefined || ids[0] === this.bos ? ids : [this.bos, ...ids]
  }

  /** A new conversation; close it, or it keeps its part of the cache. Throws BUSY if all are taken. */
  open(options: ConversationOptions = {}): Conversation {
    const id = this.free[0]
    if (id === undefined) throw errors.tooManyConversations(this.cache.facts.conversations)
    const conversation = new Conversation(this, id, options, () => {
      this.cache.rewind(id, 0)
      this.free.push(id)
    })
    this.free.shift()
    return conversation
  }

  /**
   * Brings back a conversation that was saved. All of it is checked before anything of this model is touched. Throws
   * NOT_FOUND, BAD_SESSION, OTHER_VERSION, OTHER_MODEL, CONTEXT_FULL or OutOfMemoryError.
   */
  async restore(path: string, options: ConversationOptions & { signal?: AbortSignal } = {}): Promise<Conversation> {
    if (typeof path !== 'string' || path === '') throw errors.badOption('the path', 'not empty', path)
    const { signal, ...rest } = options
    const { cache, spec } = this
    checkContext(rest, this)
    const { findSession } = await this.sessions('restore()')
    const found = await findSession(cache, path, spec.vocabSize, spec.maxContext, signal)
    try {
      const conversation = this.open(rest)
      try {
        await conversation.restore(found)
        return conversation
      } catch (error) {
        conversation.close()
        throw error
      }
    } finally {
      await found.close()
    }
  }

  /**
   * Streams the continuation of a prompt, piece by piece; the iterator's return value tells how it went. A conversation
   * of its own, which is forgotten; what earlier prompts have in common with it need not be computed again.
   */
  async *generate(
    prompt: Prompt,
    options: GenerateOptions & ConversationOptions = {},
  ): AsyncGenerator<string, Generation> {
    if (prompt === undefined) throw errors.badOption('the prompt', 'a text or a list of token ids', prompt)
    if (typeof options !== 'object' || options === null)
      throw errors.badOption('options of generate()', 'an object', options)
    const { contextPolicy, keep, ...rest } = options
    const conversation = this.open({ contextPolicy, keep })
    try {
      return yield* conversation.generate(prompt, rest)
    } finally {
      conversation.close()
    }
  }

  /**
   * A chat by the model's template. Throws NO_TEMPLATE if it has none and none is given, BAD_TEMPLATE if it does not work
   * (a template runs in a process of its own, with limits), or as `open()`.
   */
  async chat(options: ChatOptions = {}): Promise<Chat> {
    const { Chat } = await import('./chat.ts')
    return await Chat.open(this, this.requireTokenizer(), await this.chatTemplate(options?.template), options)
  }

  /** Brings back a chat that was saved. Throws as `chat()` and `restore()`. */
  async restoreChat(path: string, options: ChatOptions = {}): Promise<Chat> {
    const { Chat } = await import('./chat.ts')
    return await Chat.open(this, this.requireTokenizer(), await this.chatTemplate(options?.template), options, path)
  }

  /**
   * The prompt that the template makes of messages, as text and as tokens for `generate()`. Control tokens that are written
   * out in a message stay text.
   */
  async applyChatTemplate(
    messages: readonly ChatMessage[],
    options: TemplateOptions & { addGenerationPrompt?: boolean; signal?: AbortSignal } = {},
  ): Promise<{ text: string; tokens: number[] }> {
    checkNames('applyChatTemplate()', options, ['template', 'addGenerationPrompt', 'signal'])
    const { template, addGenerationPrompt = true, signal } = options
    const tokenizer = this.requireTokenizer()
    const { checkMessages } = await import('../text/template/template.ts')
    const chatTemplate = await this.chatTemplate(template)
    const { text, mark } = await chatTemplate.render(checkMessages(messages), addGenerationPrompt, signal)
    return { text: text.replaceAll(mark, ''), tokens: tokenizer.encodeChat(text, mark) }
  }

  /** Logits (vocabSize) after the last token of a prompt. */
  async logits(prompt: Prompt): Promise<Float32Array> {
    using conversation = this.open()
    return await conversation.logits(prompt)
  }

  /** Loss of every token of a text given those before it, in windows of the context. */
  async evaluate(
    ids: number[],
    options: { signal?: AbortSignal; onProgress?: (done: number) => void } = {},
  ): Promise<Evaluation> {
    return await evaluate(this, ids, options)
  }

  /** Logits at every place of a text, a few at a time, in windows of the context; in a conversation of its own. */
  predict(ids: number[], options: PredictOptions = {}): AsyncGenerator<Predictions, void> {
    return predict(this, ids, options)
  }

  async close(): Promise<void> {
    await this.cache.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Conversations in files, for `what`. Throws BAD_OPTION where there are none. */
  async sessions(what: string): Promise<Sessions> {
    if (!this.extensions.sessions) throw errors.needsFiles(what)
    return await this.extensions.sessions()
  }

  private async chatTemplate(given: string | undefined): Promise<ChatTemplate> {
    const { renderTemplate } = this.extensions
    if (!renderTemplate) throw errors.needsProcesses()
    const { ChatTemplate } = await import('../text/template/template.ts')
    return new ChatTemplate(this.path, this.tokenizerConfig, this.requireTokenizer(), given, renderTemplate)
  }

  private requireTokenizer(): Tokenizer {
    if (!this.tokenizer) throw errors.badTokenizer(this.path, 'is missing (no tokenizer.json)')
    return this.tokenizer
  }
}
