/**
 * A chat: messages, and the conversation that their prompt lies in. Each turn renders all messages and computes only what
 * the cache does not have: usually the new message; after a change of what was said before, all from there on.
 */
import { show } from '../../models/index.ts'
import { checkNames, checkSignal, errors } from '../errors.ts'
import { markControls } from '../text/template/mark.ts'
import { type ChatMessage, checkMessages } from '../text/template/messages.ts'
import type { ChatTemplate, Rendered } from '../text/template/template.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type {
  ChatOptions,
  ConversationOptions,
  GenerateOptions,
  Generation,
  PrefillProgress,
  SavedConversation,
} from './api.ts'
import { type Conversation, sequenceOf } from './conversation.ts'
import { generate } from './generate.ts'
import { checkOptionNames } from './generate-options.ts'
import { type GenerationParts, GenerationStream } from './stream.ts'

/** What ends an answer: a control token, or a text where the tokenizer knows no such token. @internal */
export interface Ending {
  stopTokens: number[]
  stop: string[]
}

/** What was said in a chat, what was said before it, and by which template, if it is not the model's own. */
interface Talk {
  system: string | undefined
  messages: ChatMessage[]
  template: string | undefined
}

let chatOf: (conversation: Conversation, template: ChatTemplate, tokenizer: Tokenizer, end: Ending, talk: Talk) => Chat

export class Chat {
  readonly conversation: Conversation
  /** Instructions before all messages; may be changed between two turns. */
  system: string | undefined
  readonly #template: ChatTemplate
  /** The template as it was given: a session holds it. */
  readonly #given: string | undefined
  readonly #tokenizer: Tokenizer
  readonly #ending: Ending
  #history: ChatMessage[]
  /** All tokens of the conversation, those that it has forgotten too. */
  #ids: number[]
  /** The prompt of the last turn with its answer, as text and as tokens, up to what ends the answer. */
  #last: { text: string; ids: number[] } = { text: '', ids: [] }
  #isBusy = false

  /** Use `model.chat()`. */
  private constructor(
    conversation: Conversation,
    template: ChatTemplate,
    tokenizer: Tokenizer,
    ending: Ending,
    { system, messages, template: given }: Talk,
  ) {
    this.conversation = conversation
    this.system = system
    this.#template = template
    this.#given = given
    this.#tokenizer = tokenizer
    this.#ending = ending
    this.#history = messages
    this.#ids = conversation.tokens
  }

  static {
    chatOf = (...parts) => new Chat(...parts)
  }

  /** What was said so far, without the instructions. */
  get messages(): ChatMessage[] {
    return this.#history.map((message) => ({ ...message }))
  }

  /**
   * Says something and streams the answer, piece by piece; `result` of the stream tells how it went, where
   * `promptTokens` are those of all messages, and `cachedTokens` those that were not computed again. An answer that is
   * aborted stays as far as it was heard; where there is none yet, because of an error or an abort, nothing was said.
   */
  send<T = unknown>(content: string, options: GenerateOptions<T> = {}): GenerationStream<T> {
    return new GenerationStream(this.#parts(content, options))
  }

  async *#parts<T>(content: string, options: GenerateOptions<T>): GenerationParts<T> {
    this.#checkIdle()
    checkOptionNames(options)
    checkSignal(options.signal)
    this.#isBusy = true
    try {
      sequenceOf(this.conversation).checkLength(content)
      const said: ChatMessage[] = [...this.#history, { role: 'user', content }]
      const prompt = await this.#render(said, options.signal)
      return yield* this.#answer(said, prompt, this.#encode(prompt), options)
    } finally {
      this.#isBusy = false
    }
  }

  async *#answer<T>(
    said: ChatMessage[],
    prompt: Rendered,
    ids: number[],
    options: GenerateOptions<T>,
  ): GenerationParts<T> {
    const ending = this.#ending
    const rest = this.#align(ids)
    const heard: number[] = []
    const parts = generate(sequenceOf(this.conversation), rest.length > 0 ? rest : undefined, {
      ...options,
      stopAtEos: options.stopAtEos ?? true,
      stop: [...ending.stop, ...(options.stop ?? [])],
      stopTokens: [...ending.stopTokens, ...(options.stopTokens ?? [])],
    })
    let text = ''
    let finish: Generation['finish'] | undefined
    try {
      for (;;) {
        const { done, value } = await parts.next()
        if (done) {
          finish = value.finish
          return ofAll(value, ids.length)
        }
        if (value.type === 'token') {
          heard.push(value.id)
          text += value.text
        }
        yield value.type === 'prefill' ? { ...value, ...progressOfAll(value, ids.length) } : value
      }
    } finally {
      await parts.return(undefined as never)
      if (heard.length > 0) {
        this.#history = [...said, { role: 'assistant', content: text }]
        this.#ids = [...ids, ...heard]
        // A stopped answer has tokens whose text was held back, so they do not spell its text.
        if (finish !== undefined && finish !== 'stop') this.#remember(prompt, text, finish === 'eos')
      }
    }
  }

  #remember({ text: prompt, mark }: Rendered, answer: string, isEnded: boolean): void {
    const text = prompt + markControls(answer, this.#tokenizer.controlNames(true), mark)
    this.#last = { text, ids: isEnded ? this.#ids.slice(0, -1) : this.#ids }
  }

  /** Forgets all that was said, but not the instructions. */
  reset(): void {
    this.#checkIdle()
    this.conversation.rewind(0)
    this.#history = []
    this.#ids = []
  }

  /** Saves messages, cache and a template that was given; `model.restoreChat()` goes on with them. Throws as `conversation.save()`. */
  async save(path: string, options: { signal?: AbortSignal } = {}): Promise<SavedConversation> {
    const notes = { chat: { system: this.system, messages: this.#history, template: this.#given } }
    return await this.conversation.save(path, { ...options, notes })
  }

  close(): void {
    this.conversation.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #checkIdle(): void {
    sequenceOf(this.conversation).checkOpen()
    if (this.#isBusy) throw errors.busy()
  }

  async #render(messages: ChatMessage[], signal: AbortSignal | undefined): Promise<Rendered> {
    const system: ChatMessage[] = this.system === undefined ? [] : [{ role: 'system', content: this.system }]
    return await this.#template.render(checkMessages([...system, ...messages]), { signal })
  }

  /**
   * Ids of a prompt. Where it goes on from the last answer with a control token, the answer is the tokens that were
   * generated: another way to cut the same text would have to be computed.
   */
  #encode({ text, mark }: Rendered): number[] {
    const last = this.#last
    const tokenizer = this.#tokenizer
    const rest = text.slice(last.text.length)
    if (last.text === '' || !text.startsWith(last.text) || tokenizer.controlAt(rest) === undefined)
      return tokenizer.encodeChat(text, mark)
    return [...last.ids, ...tokenizer.encodeChat(rest, mark)]
  }

  /** Rewinds the conversation to what it has in common with a prompt, and returns what is to follow. */
  #align(ids: number[]): number[] {
    const { conversation } = this
    const cached = conversation.tokens.length
    // Restored after it had forgotten something, or failed in the midst of forgetting: what its tokens were is not known.
    if (cached + conversation.dropped !== this.#ids.length) this.#ids = []
    let common = 0
    while (common < this.#ids.length && this.#ids[common] === ids[common]) common++
    // What was forgotten lies behind the kept tokens; a change before its end begins anew.
    const { dropped, kept } = sequenceOf(conversation)
    const left = dropped === 0 ? common : common >= kept + dropped ? common - dropped : 0
    conversation.rewind(left)
    this.#ids = this.#ids.slice(0, left === 0 ? 0 : common)
    return ids.slice(this.#ids.length)
  }
}

/** What a chat is made from; `open` and `templateOf` throw as `Model.open()`, `restore()` and `chat()` say. @internal */
export interface ChatParts {
  open(options: ConversationOptions & { signal?: AbortSignal | undefined }): Promise<Conversation>
  templateOf(given: string | undefined): Promise<ChatTemplate>
  tokenizer: Tokenizer
  /** Where the conversation was saved, if it was. */
  session?: string
}

/**
 * A chat of a conversation, which is opened once the template has been tried; one that was restored brings its messages and
 * its template. Throws BAD_TEMPLATE or BAD_SESSION. @internal
 */
export async function openChat(parts: ChatParts, options: ChatOptions): Promise<Chat> {
  checkNames('chat()', options, ['template', 'system', 'contextPolicy', 'keep', 'busy', 'signal'])
  const { open, templateOf, tokenizer, session } = parts
  const { system, signal, contextPolicy, keep, busy, template: given } = options
  checkSignal(signal)
  if (system !== undefined) checkMessages([{ role: 'system', content: system }])
  const openConversation = () => open({ contextPolicy, keep, busy, signal })
  const restored = session === undefined ? undefined : await openConversation()
  try {
    const saved = restored
      ? talkOf(restored, session as string)
      : { system: undefined, messages: [], template: undefined }
    const talk = { ...saved, system: system ?? saved.system, template: given ?? saved.template }
    const template = await templateOf(talk.template)
    const ending = await findEnding(template, tokenizer, signal)
    return chatOf(restored ?? (await openConversation()), template, tokenizer, ending, talk)
  } catch (error) {
    restored?.close()
    throw error
  }
}

/** What was saved with a conversation. Throws BAD_SESSION if that is no chat. */
function talkOf(conversation: Conversation, session: string): Talk {
  const notes = conversation.notes as { chat?: Record<string, unknown> } | null | undefined
  const { system, messages, template } = notes?.chat ?? {}
  try {
    const said = checkMessages(messages).map(({ role, content }) => ({ role, content }))
    if (system !== undefined) checkMessages([{ role: 'system', content: system as string }])
    if (template !== undefined && (typeof template !== 'string' || template === ''))
      throw errors.badOption('the template', 'a text', template)
    return { system: system as string | undefined, messages: said, template }
  } catch (cause) {
    throw errors.badSession(session, 'what was said', 'the messages of a chat', show(messages).slice(0, 100), cause)
  }
}

/** How a turn went, of a prompt of so many tokens of all messages: what was not handed over lay in the cache. */
function ofAll<T>(generation: Generation<T>, promptTokens: number): Generation<T> {
  const cachedTokens = promptTokens - (generation.promptTokens - generation.cachedTokens)
  const usage = { ...generation.usage, promptTokens, cachedTokens }
  return { ...generation, promptTokens, cachedTokens, usage }
}

function progressOfAll({ done, total, cached }: PrefillProgress, promptTokens: number): PrefillProgress {
  const before = promptTokens - total
  return { done: done + before, total: promptTokens, cached: cached + before }
}

const PROBE = 'probe'

/** What the template puts behind an answer. @internal */
export async function findEnding(template: ChatTemplate, tokenizer: Tokenizer, signal?: AbortSignal): Promise<Ending> {
  const messages: ChatMessage[] = [
    { role: 'user', content: 'question' },
    { role: 'assistant', content: PROBE },
  ]
  const { text } = await template.render(messages, { addGenerationPrompt: false, signal })
  const at = text.lastIndexOf(PROBE)
  if (at < 0) throw errors.badTemplate(template.path, 'repeat what was answered', show(text).slice(0, 200))
  const end = text.slice(at + PROBE.length).trim()
  const token = tokenizer.controlAt(end)
  if (token !== undefined) return { stopTokens: [token], stop: [] }
  return { stopTokens: [], stop: end === '' ? [] : [end] }
}
