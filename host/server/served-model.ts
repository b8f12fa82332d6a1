/** A model in memory as a server uses it: its chat template, and cache that is promised to requests before they begin. */
import { PAGE_TOKENS } from '../../models/index.ts'
import { findEnding } from '../runtime/chat.ts'
import { type Model, runtimeOf } from '../runtime/model.ts'
import { type ChatMessage, checkMessages } from '../text/template/messages.ts'
import type { ChatTemplate } from '../text/template/template.ts'

/** A prompt, and what ends an answer to it. */
export interface ChatPrompt {
  text: string
  ids: number[]
  stopTokens: number[]
  stop: string[]
}

interface Claim {
  pages: number
  take(): void
}

export class ServedModel {
  readonly name: string
  readonly model: Model
  private readonly given: string | undefined
  private template: Promise<{ template: ChatTemplate; ending: Awaited<ReturnType<typeof findEnding>> }> | undefined
  /** Pages that are promised, and who waits for some. */
  private promised = 0
  private claims: Claim[] = []

  constructor(name: string, model: Model, template: string | undefined) {
    this.name = name
    this.model = model
    this.given = template
  }

  /** The prompt that messages make. Throws NO_TEMPLATE or BAD_TEMPLATE. */
  async render(messages: readonly ChatMessage[], signal: AbortSignal): Promise<ChatPrompt> {
    this.template ??= this.openTemplate()
    const opening = this.template
    const { template, ending } = await opening.catch((error) => {
      if (this.template === opening) this.template = undefined
      throw error
    })
    const { text, mark } = await template.render(checkMessages(messages), { signal })
    const ids = runtimeOf(this.model).requireTokenizer().encodeChat(text, mark)
    return { text: text.replaceAll(mark, ''), ids, ...ending }
  }

  private async openTemplate() {
    const runtime = runtimeOf(this.model)
    const template = await runtime.chatTemplate(this.given)
    return { template, ending: await findEnding(template, runtime.requireTokenizer()) }
  }

  /**
   * Promises cache for `count` texts of so many tokens, so that none of them ends for want of memory when others came after it.
   * Waits for its turn; what is returned gives it back.
   */
  async reserve(tokens: number, count: number, signal: AbortSignal): Promise<() => void> {
    const total = runtimeOf(this.model).cache.pagesTotal
    const each = Math.ceil(Math.min(tokens, this.model.context) / PAGE_TOKENS) + 1
    const pages = Math.min(total, each * count)
    if (this.claims.length > 0 || this.promised + pages > total)
      await new Promise<void>((resolve, reject) => {
        const leave = () => {
          this.claims = this.claims.filter((other) => other !== claim)
          reject(signal.reason)
          this.grant()
        }
        const claim: Claim = {
          pages,
          take: () => {
            signal.removeEventListener('abort', leave)
            resolve()
          },
        }
        signal.addEventListener('abort', leave)
        if (signal.aborted) leave()
        else this.claims.push(claim)
      })
    else this.promised += pages
    return () => {
      this.promised -= pages
      this.grant()
    }
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
