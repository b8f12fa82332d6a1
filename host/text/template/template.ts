/**
 * Chat templates: Jinja programs of a model that turn messages into a prompt. They come with model files, so they are
 * hostile until they have run, in a process of their own (render.ts); and so are messages, which must not become control
 * tokens (mark.ts).
 */
import { show } from '../../../models/index.ts'
import { checkNames, errors } from '../../errors.ts'
import type { Tokenizer } from '../tokenizer.ts'
import { chooseMark, markControls } from './mark.ts'
import { builtInTemplates } from './templates.ts'

export const roles = ['system', 'user', 'assistant', 'tool'] as const

export interface ChatMessage {
  role: (typeof roles)[number]
  content: string
}

/** What a process renders: one text for each list of messages. */
export interface TemplateRequest {
  template: string
  variables: Record<string, string>
  messages: readonly ChatMessage[]
  addGenerationPrompt: boolean
  signal?: AbortSignal | undefined
  /** Milliseconds that the template may take; default 10 s. */
  deadline?: number | undefined
}

/** Runs a template where it can do no harm; `path` is for its errors. Throws BAD_TEMPLATE. */
export type TemplateRenderer = (path: string, request: TemplateRequest) => Promise<string>

/** A prompt as a template made it: control tokens behind a mark are text that somebody typed. */
export interface Rendered {
  text: string
  mark: string
}

/** Real ones have 20,000 at most. */
const MAX_TEMPLATE = 250_000

export class ChatTemplate {
  readonly path: string
  private readonly source: string
  private readonly tokenizer: Tokenizer
  private readonly variables: Record<string, string>
  private readonly renderer: TemplateRenderer

  /**
   * The template of a model, or `given`: the name of a built-in one, or a template. Throws NO_TEMPLATE if there is none,
   * BAD_TEMPLATE if what is there is none.
   */
  constructor(
    path: string,
    tokenizerConfig: unknown,
    tokenizer: Tokenizer,
    given: string | undefined,
    renderer: TemplateRenderer,
  ) {
    const config = (tokenizerConfig ?? {}) as Record<string, unknown>
    this.path = path
    this.source = given === undefined ? sourceOf(path, config.chat_template) : checkGiven(given)
    if (this.source.length > MAX_TEMPLATE)
      throw errors.badTemplate(path, `have at most ${MAX_TEMPLATE} characters`, this.source.length)
    this.tokenizer = tokenizer
    this.renderer = renderer
    this.variables = tokenNames(config)
  }

  /** Throws BAD_TEMPLATE if the template cannot render these messages, or takes too much to do it. */
  async render(
    messages: readonly ChatMessage[],
    addGenerationPrompt: boolean,
    signal?: AbortSignal,
  ): Promise<Rendered> {
    const { path, source: template, tokenizer, variables } = this
    const mark = chooseMark([template, ...messages.map(({ content }) => content)])
    const marked = messages.map(({ role, content }) => ({
      role,
      content: markControls(content, tokenizer.controlNames(role === 'assistant'), mark),
    }))
    const request = { template, variables, messages: marked, addGenerationPrompt, signal }
    return { text: await this.renderer(path, request), mark }
  }
}

/** Refuses what is no list of messages. Throws BAD_OPTION. */
export function checkMessages(messages: unknown): readonly ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0)
    throw errors.badOption('messages', 'a list of at least one', show(messages))
  for (const message of messages) {
    checkNames('a message', message, ['role', 'content'])
    if (!roles.includes(message.role))
      throw errors.badOption('the role of a message', `one of ${roles.join(', ')}`, show(message.role))
    if (typeof message.content !== 'string')
      throw errors.badOption('the content of a message', 'a text', show(message.content))
  }
  return messages
}

/** A text, or a list of them with names, of which "default" is meant. */
function sourceOf(path: string, value: unknown): string {
  if (value === undefined || value === null) throw errors.noTemplate(path, Object.keys(builtInTemplates))
  const named = Array.isArray(value) ? value.find((entry) => entry?.name === 'default')?.template : value
  if (typeof named !== 'string')
    throw errors.badTemplate(path, 'be a text, or a list of named ones with a "default"', show(value).slice(0, 100))
  return named
}

function checkGiven(given: unknown): string {
  if (typeof given !== 'string' || given === '')
    throw errors.badOption('template', `a template or one of ${Object.keys(builtInTemplates).join(', ')}`, show(given))
  return Object.hasOwn(builtInTemplates, given) ? builtInTemplates[given as keyof typeof builtInTemplates] : given
}

/** bos_token and the like: a text, or an object with one. */
function tokenNames(config: Record<string, unknown>): Record<string, string> {
  const names: Record<string, string> = {}
  for (const key of ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map((name) => `${name}_token`)) {
    const value = config[key]
    const name = typeof value === 'string' ? value : (value as { content?: unknown } | null | undefined)?.content
    if (typeof name === 'string') names[key] = name
  }
  return names
}
