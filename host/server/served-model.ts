/** A model in memory as a server uses it: prompts of chats, and cache that is promised to requests before they begin. */
import { longestContext, PAGE_TOKENS } from '../../models/index.ts'
import { errors } from '../errors.ts'
import type { GenerateOptions } from '../runtime/api.ts'
import { chatPrompt, openTemplate } from '../runtime/chat-prompt.ts'
import { type Model, runtimeOf } from '../runtime/model.ts'
import type { AnswerParser } from '../text/tools/parser.ts'
import type { ChatAsked } from './chat-asked.ts'

/** A prompt, and how an answer to it ends and is read. */
export interface ChatPrompt {
  text: string
  ids: number[]
  options: GenerateOptions
  parser(): AnswerParser
}

interface Claim {
  pages: number
  take(): void
}

export class ServedModel {
  readonly name: string
  readonly model: Model
  private readonly given: string | undefined
  /** Pages that are promised, and who waits for some. */
  private promised = 0
  private claims: Claim[] = []

  constructor(name: string, model: Model, template: string | undefined) {
    this.name = name
    this.model = model
    this.given = template
  }

  /** Has it been given a way to chat? */
  get hasTemplate(): boolean {
    return this.given !== undefined || runtimeOf(this.model).hasTemplate
  }

  /** Ids of a prompt. Throws BAD_PROMPT, or CONTEXT_FULL for a text that is too long whatever its tokens are. */
  promptIds(prompt: string | number[]): number[] {
    if (typeof prompt === 'string') this.checkLength(prompt.length)
    return this.model.promptIds(prompt)
  }

  /** To cut a text into tokens takes a second per megabyte, in which nobody else is answered. */
  private checkLength(characters: number): void {
    const { tokenizer, context, spec } = runtimeOf(this.model)
    const least = tokenizer?.leastTokens(characters) ?? 0
    if (least > context) throw errors.contextFull(least, context, longestContext(spec), true)
  }

  /** The prompt that messages make. Throws NO_TEMPLATE, and as chatPrompt(). */
  async render(asked: ChatAsked, signal: AbortSignal): Promise<ChatPrompt> {
    const { messages, ...rest } = asked
    this.checkLength(messages.reduce((sum, { content }) => sum + content.length, 0))
    const runtime = runtimeOf(this.model)
    const { template, ending } = await openTemplate(runtime, this.given)
    const tokenizer = runtime.requireTokenizer()
    const { tokens, ...prompt } = await chatPrompt(template, ending, tokenizer, messages, { ...rest, signal })
    return { ...prompt, ids: tokens }
  }

  /**
   * Promises cache for `count` texts of so many tokens, so that none of them ends for want of memory when others came after it.
   * Waits for its turn; what is returned gives it back.
   */
  async reserve(tokens: number, count: number, signal: AbortSignal): Promise<() => void> {
    const total = runtimeOf(this.model).cache.pagesTotal
    const each = Math.ceil(Math.min(tokens, this.model.context) / PAGE_TOKENS) + 1
    const pages = Math.min(total, each * count)
    if (this.claims.length === 0 && this.promised + pages <= total) this.promised += pages
    else await this.queue(pages, signal)
    return () => {
      this.promised -= pages
      this.grant()
    }
  }

  private async queue(pages: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        this.claims = this.claims.filter((other) => other !== claim)
        reject(signal.reason)
        this.grant()
      }
      const take = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const claim: Claim = { pages, take }
      signal.addEventListener('abort', leave)
      this.claims.push(claim)
    })
  }

  private grant(): void {
    const total = runtimeOf(this.model).cache.pagesTotal
    for (let first = this.claims[0]; first && this.promised + first.pages <= total; first = this.claims[0]) {
      this.claims.shift()
      this.promised += first.pages
      first.take()
    }
  }

  async close(): Promise<void> {
    await this.model.close()
  }
}
