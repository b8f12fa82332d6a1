/** The worker's side: a model, its conversations and generations under the numbers that the page knows them by. */
import { platform } from '#platform'
import { errors } from '../errors.ts'
import type { ConversationOptions, Generation, Progress, Prompt } from '../runtime/api.ts'
import type { Conversation } from '../runtime/conversation.ts'
import { type Model, runtimeOf } from '../runtime/model.ts'
import { loadRemote } from './load.ts'
import {
  type Answer,
  type Message,
  type Methods,
  type ModelFacts,
  type Piece,
  type Request,
  type SentGenerateOptions,
  type SentOpenOptions,
  sendError,
} from './protocol.ts'

type Served = { [M in keyof Methods]: (...args: Parameters<Methods[M]>) => Promise<ReturnType<Methods[M]>> }

interface Running {
  iterator: AsyncGenerator<string, Generation>
  controller: AbortController
  /** Since the last piece. */
  tokens: number[]
  /** The request that waits for the next piece. */
  request: number
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

  async load(url: string, options: SentOpenOptions): Promise<ModelFacts> {
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

  async generate(
    conversation: number,
    prompt: Prompt | undefined,
    options: SentGenerateOptions & ConversationOptions,
  ): Promise<number> {
    const number = ++this.last
    const controller = new AbortController()
    const tokens: number[] = []
    const all = {
      ...options,
      signal: controller.signal,
      onToken: (token: number) => tokens.push(token),
      onPrefill: (progress: Progress) => this.post({ id: this.running.get(number)?.request ?? 0, progress }),
    }
    const iterator =
      conversation === 0 ? this.loaded().generate(prompt as Prompt, all) : this.find(conversation).generate(prompt, all)
    this.running.set(number, { iterator, controller, tokens, request: 0 })
    return number
  }

  async next(generation: number): Promise<Piece> {
    const running = this.running.get(generation)
    if (!running) throw errors.closed()
    running.request = this.request
    const { done, value } = await running.iterator.next()
    const tokens = running.tokens.splice(0)
    if (!done) return { tokens, text: value }
    this.running.delete(generation)
    return { tokens, generation: value }
  }

  /** Where the reader has had enough. */
  async end(generation: number): Promise<void> {
    const running = this.running.get(generation)
    this.running.delete(generation)
    await running?.iterator.return(undefined as never)
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
