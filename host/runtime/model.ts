/**
 * A loaded model: the public face of the runtime. `generate()` streams text; `open()` gives a conversation that goes on.
 */
import { type CacheType, type ModelSpec, type PackingType, weightBytesPerToken } from '../../models/index.ts'
import { nameOf, type Sampling } from '../engine/engine.ts'
import { checkNames, errors } from '../errors.ts'
import type { ChatMessage } from '../text/template/messages.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type {
  ChatOptions,
  ConversationOptions,
  Embeddings,
  Evaluation,
  GenerateOptions,
  Predictions,
  PredictOptions,
  Prompt,
  TemplateOptions,
} from './api.ts'
import type { Chat, ChatParts } from './chat.ts'
import type { ChatPrompt, ChatPromptOptions } from './chat-prompt.ts'
import { type Conversation, conversationOf } from './conversation.ts'
import { generate } from './generate.ts'
import type { Runtime } from './runtime.ts'
import { Sequence } from './sequence.ts'
import { type GenerationParts, GenerationStream } from './stream.ts'

/** @internal */
export let modelOf: (runtime: Runtime) => Model
/** What is behind a model, for the rooms above the runtime. Throws BAD_OPTION for what is none. @internal */
export let runtimeOf: (model: Model) => Runtime

export class Model {
  readonly path: string
  readonly spec: ModelSpec
  readonly weightType: PackingType
  readonly cacheType: CacheType
  /** Positions per conversation. */
  readonly context: number
  /** What generation_config.json recommends. */
  readonly recommended: Partial<Sampling>
  readonly tokenizer: Tokenizer | undefined
  /** Tensors of the checkpoint that the model does not use: harmless, or a sign of the wrong config.json. */
  readonly unusedTensors: string[]
  /** Settings of generation_config.json that ask for what is not done here, such as `num_beams: 4`. */
  readonly unusedSettings: string[]
  /** Bytes of all weights, in a packed file as in memory. */
  readonly weightBytes: number
  /** Weight bytes that one decoded token reads. */
  readonly bytesPerToken: number
  readonly #runtime: Runtime

  /** Use `load()`. */
  private constructor(runtime: Runtime) {
    const { path, spec, plan, cacheType, context, recommended, tokenizer, unused, unusedSettings } = runtime
    this.#runtime = runtime
    this.path = path
    this.spec = spec
    this.weightType = plan.type
    this.cacheType = cacheType
    this.context = context
    this.recommended = recommended
    this.tokenizer = tokenizer
    this.unusedTensors = unused
    this.unusedSettings = unusedSettings
    this.weightBytes = plan.bytes
    this.bytesPerToken = weightBytesPerToken(plan, spec)
  }

  static {
    modelOf = (runtime) => new Model(runtime)
    runtimeOf = (model) => {
      if (Object(model) === model && #runtime in model) return model.#runtime
      throw errors.badOption('the model', 'one that load() gave', typeof model)
    }
  }

  /** The engine for people: 'wasm relaxed-simd, 2 threads'. */
  get engineName(): string {
    return nameOf(this.#runtime.engine)
  }

  /** Throws CLOSED behind `close()`, whatever is asked. */
  get #open(): Runtime {
    this.#runtime.checkOpen()
    return this.#runtime
  }

  /** Ids of a prompt as `generate()` takes it: with the tokens that the tokenizer puts around a text. Throws as it does. */
  promptIds(prompt: Prompt): number[] {
    return this.#open.promptIds(prompt)
  }

  /** Ids of a corpus for `evaluate`: special tokens in the text are themselves; begins with the begin token. */
  corpusIds(text: string): number[] {
    return this.#open.corpusIds(text)
  }

  /** A new conversation; close it, or it keeps its part of the cache. If all are taken it waits when it is first used. */
  open(options: ConversationOptions = {}): Conversation {
    return conversationOf(new Sequence(this.#open, options))
  }

  /**
   * Brings back a conversation that was saved. All of it is checked before anything of this model is touched. Throws
   * NOT_FOUND, BAD_SESSION, OTHER_VERSION, OTHER_MODEL, CONTEXT_FULL or OutOfMemoryError.
   */
  async restore(path: string, options: ConversationOptions & { signal?: AbortSignal } = {}): Promise<Conversation> {
    return conversationOf(await Sequence.restore(this.#open, path, options))
  }

  /**
   * Streams the continuation of a prompt, piece by piece; `result` of the stream tells how it went. A conversation
   * of its own, which is forgotten; what earlier prompts have in common with it need not be computed again.
   */
  generate<T = unknown>(prompt: Prompt, options: GenerateOptions<T> & ConversationOptions = {}): GenerationStream<T> {
    return new GenerationStream(this.#parts(prompt, options))
  }

  async *#parts<T>(prompt: Prompt, options: GenerateOptions<T> & ConversationOptions): GenerationParts<T> {
    const runtime = this.#open
    if (prompt === undefined) throw errors.badOption('the prompt', 'a text or a list of token ids', prompt)
    if (typeof options !== 'object' || options === null)
      throw errors.badOption('options of generate()', 'an object', options)
    const { contextPolicy, keep, busy, ...rest } = options
    const sequence = new Sequence(runtime, { contextPolicy, keep, busy })
    try {
      return yield* generate(sequence, prompt, rest)
    } finally {
      sequence.close()
    }
  }

  /**
   * A chat by the model's template. Throws NO_TEMPLATE if it has none and none is given, BAD_TEMPLATE if it does not work
   * (a template runs in a process of its own, with limits), or as `open()`.
   */
  async chat(options: ChatOptions = {}): Promise<Chat> {
    return await this.#openChat(options, async ({ signal: _, ...rest }) => this.open(rest))
  }

  /**
   * Brings back a chat that was saved, with its template, unless another one is given: `messages` and
   * `conversation.length` tell what came back. Throws as `chat()` and `restore()`.
   */
  async restoreChat(path: string, options: ChatOptions = {}): Promise<Chat> {
    return await this.#openChat(options, (rest) => this.restore(path, rest), path)
  }

  async #openChat(options: ChatOptions, open: ChatParts['open'], session?: string): Promise<Chat> {
    const runtime = this.#open
    const { openChat } = await import('./chat.ts')
    const tokenizer = runtime.requireTokenizer()
    const templateOf = (given: string | undefined) => runtime.chatTemplate(given)
    return await openChat({ open, templateOf, tokenizer, ...(session === undefined ? {} : { session }) }, options)
  }

  /**
   * The prompt that the template makes of messages, as text and as tokens for `generate()`, with the options that an answer is
   * generated with, and what takes it apart. Control tokens that are written out in messages and tools stay text. Throws
   * BAD_OPTION, NO_TEMPLATE, BAD_TEMPLATE, or BAD_SCHEMA for a tool whose arguments cannot be held to their schema.
   */
  async applyChatTemplate(
    messages: readonly ChatMessage[],
    options: TemplateOptions & ChatPromptOptions = {},
  ): Promise<ChatPrompt> {
    const runtime = this.#open
    const { chatPrompt, chatPromptNames, openTemplate } = await import('./chat-prompt.ts')
    checkNames('applyChatTemplate()', options, ['template', ...chatPromptNames])
    const { template: given, ...rest } = options
    const tokenizer = runtime.requireTokenizer()
    const { template, ending } = await openTemplate(runtime, given)
    return await chatPrompt(template, ending, tokenizer, messages, rest)
  }

  /** Logits (vocabSize) after the last token of a prompt. */
  async logits(prompt: Prompt): Promise<Float32Array> {
    using sequence = new Sequence(this.#open, {})
    return await sequence.logits(prompt)
  }

  /**
   * Vectors of texts whose products say how alike they are: the mean of the hidden states behind the last norm over all
   * tokens, brought to length 1. A model that was made to write is not made for this, and the result says so. Short texts
   * share steps; a vector does not depend on what else runs. Throws BAD_PROMPT, CONTEXT_FULL or OutOfMemoryError.
   */
  async embed(texts: readonly Prompt[], options: { signal?: AbortSignal } = {}): Promise<Embeddings> {
    const runtime = this.#open
    const { embed } = await import('./embed.ts')
    return await embed(runtime, texts, options)
  }

  /** Loss of every token of a text given those before it, in windows of the context. */
  async evaluate(
    ids: number[],
    options: { signal?: AbortSignal; onProgress?: (done: number) => void } = {},
  ): Promise<Evaluation> {
    const runtime = this.#open
    const { evaluate } = await import('./evaluate.ts')
    return await evaluate(runtime, ids, options)
  }

  /** Logits at every place of a text, a few at a time, in windows of the context; in a conversation of its own. */
  async *predict(ids: number[], options: PredictOptions = {}): AsyncGenerator<Predictions, void> {
    const runtime = this.#open
    const { predict } = await import('./evaluate.ts')
    yield* predict(runtime, ids, options)
  }

  async close(): Promise<void> {
    await this.#runtime.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
