/** The worker's side: a model, its conversations and generations under the numbers that the page knows them by. */
import { platform } from '#platform'
import { errors } from '../errors.ts'
import type { ConversationOptions, Embeddings, GenerationEvent, Progress, Prompt } from '../runtime/api.ts'
import type { Conversation } from '../runtime/conversation.ts'
import { type Model, runtimeOf } from '../runtime/model.ts'
import { loadRemote } from './load.ts'
import {
  type Answer,
  type Message,
  type Methods,
  type Request,
  type SentGenerateOptions,
  type SentModel,
  type SentOpenOptions,
  sendError,
} from './protocol.ts'

type Served = { [M in keyof Methods]: (...args: Parameters<Methods[M]>) => Promise<ReturnType<Methods[M]>> }

interface Running {
  events: AsyncIterableIterator<GenerationEvent>
  controller: AbortController
}

export class Service implements Served {
  private readonly post: (answer: Answer) => void
  private model: Model | undefined
  private readonly conversations = new Map<number, Conversation>()
  private readonly running = new Map<number, Running>()
  private last = 0
  /** The request whose method has just been called. */
  private request = 0

  constructor(post: (answer: Answer) => void) {
    this.post = post
  }

  async receive(message: Message): Promise<void> {
    if ('abort' in message) return this.running.get(message.abort)?.controller.abort()
    const { id, method, args } = message
    this.request = id
    try {
      const result = await (this[method] as (...args: Request['args']) => Promise<unknown>)(...args)
      this.post({ id, result })
    } catch (error) {
      this.post({ id, error: sendError(error) })
    }
  }

  async load(url: string, options: SentOpenOptions): Promise<SentModel> {
    const id = this.request
    const onProgress = (progress: Progress) => this.post({ id, progress })
    this.model = await loadRemote(url, { ...options, onProgress })
    const { spec, weightType, cacheType, context, recommended, bytesPerToken, tokenizer, engineName } = this.model
    const { eos, engine } = runtimeOf(this.model)
    const { build, memoryBytes } = engine.facts
    return {
      spec,
      weightType,
      cacheType,
      context,
      recommended,
      bytesPerToken,
      eos,
      hasTokenizer: tokenizer !== undefined,
      engine: { name: engineName, build, threads: engine.threads, memoryBytes, singleBecause: platform.unshared },
    }
  }

  async open(options: ConversationOptions): Promise<number> {
    return this.add(this.loaded().open(options))
  }

  async fork(conversation: number): Promise<number> {
    return this.add(this.find(conversation).fork())
  }

  async rewind(conversation: number, length: number): Promise<void> {
    this.find(conversation).rewind(length)
  }

  async tokens(conversation: number): Promise<number[]> {
    return this.find(conversation).tokens
  }

  async close(conversation: number): Promise<void> {
    this.conversations.get(conversation)?.close()
    this.conversations.delete(conversation)
  }

  async logits(conversation: number, prompt: Prompt): Promise<Float32Array> {
    return await (conversation === 0 ? this.loaded() : this.find(conversation)).logits(prompt)
  }

  async embed(texts: readonly Prompt[]): Promise<Embeddings> {
    return await this.loaded().embed(texts)
  }

  async generate(
    conversation: number,
    prompt: Prompt | undefined,
    options: SentGenerateOptions & ConversationOptions,
  ): Promise<number> {
    const number = ++this.last
    const controller = new AbortController()
    const all = { ...options, signal: controller.signal }
    const stream =
      conversation === 0 ? this.loaded().generate(prompt as Prompt, all) : this.find(conversation).generate(prompt, all)
    this.running.set(number, { events: stream.events(), controller })
    return number
  }

  async next(generation: number): Promise<GenerationEvent> {
    const running = this.running.get(generation)
    if (!running) throw errors.closed()
    const { value } = await running.events.next()
    if (value.type === 'end') this.running.delete(generation)
    return value
  }

  /** Where the reader has had enough. */
  async end(generation: number): Promise<void> {
    const running = this.running.get(generation)
    this.running.delete(generation)
    await running?.events.return?.()
  }

  private add(conversation: Conversation): number {
    this.conversations.set(++this.last, conversation)
    return this.last
  }

  private find(conversation: number): Conversation {
    const found = this.conversations.get(conversation)
    if (!found) throw errors.conversationClosed()
    return found
  }

  private loaded(): Model {
    if (!this.model) throw errors.closed()
    return this.model
  }
}
