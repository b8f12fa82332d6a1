/**
 * Chat templates: Jinja programs of a model that turn messages into a prompt. They come with model files, so they are
 * hostile until they have run, in a process of their own (render.ts); and so are messages, which must not become control
 * tokens (mark.ts).
 */
import { show } from '../../../models/index.ts'
import { checking, errors } from '../../errors.ts'
import type { Tokenizer } from '../tokenizer.ts'
import type { CallForm } from '../tools/calls.ts'
import { callFormOf, genericForm } from '../tools/forms.ts'
import {
  addInstructions,
  addToQuestion,
  callsToText,
  type PlainMessage,
  resultsToText,
  toolInstructions,
} from '../tools/plain-tools.ts'
import { isReasoningOpen, type ReasoningForm, reasoningOf } from '../tools/reasoning.ts'
import type { Tool } from '../tools/tool-list.ts'
import { pythonJson } from './json-values.ts'
import { chooseMark } from './mark.ts'
import { Marking, readExact, textsIn } from './marking.ts'
import type { ChatMessage } from './messages.ts'
import type { TemplateNames, TemplateRenderer } from './requests.ts'
import { builtInTemplates } from './templates.ts'
import { effortVariables, type ReasoningEffort } from './thinking.ts'

export interface RenderOptions {
  /** Should the prompt end where an answer begins? Default: yes. */
  addGenerationPrompt?: boolean
  /** Checked ones. */
  tools?: readonly Tool[]
  reasoningEffort?: ReasoningEffort | undefined
  /** For the template, beside those that every one gets: JSON. */
  variables?: Record<string, unknown> | undefined
  signal?: AbortSignal | undefined
}

/** A prompt as a template made it: control tokens behind a mark are text that somebody typed. */
export interface Rendered {
  text: string
  mark: string
  /** How the answer calls tools. */
  calls: CallForm
  /** How the answer thinks; absent where the model does not. */
  reasoning: ReasoningForm | undefined
  /** Does the prompt end within thoughts? */
  isReasoningOpen: boolean
}

/** Real ones have 20,000 at most. */
const MAX_TEMPLATE = 250_000
/** Variables that nobody gives by hand. */
const RESERVED = /^(?:messages|tools|xml_tools|documents|add_generation_prompt|\w+_token)$/

export class ChatTemplate {
  readonly path: string
  private readonly source: string
  private readonly tokenizer: Tokenizer
  private readonly tokens: Record<string, string>
  private readonly renderer: TemplateRenderer
  private names: Promise<TemplateNames> | undefined

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
    this.tokens = tokenNames(config)
  }

  /**
   * The prompt that checked messages make. Throws BAD_TEMPLATE if the template cannot render them, leaves out calls or
   * results, or takes too much; BAD_OPTION for a variable that it does not use.
   */
  async render(messages: readonly ChatMessage[], options: RenderOptions = {}): Promise<Rendered> {
    const { tools = [], variables = {}, reasoningEffort } = options
    const hasCalls = messages.some(({ role, tool_calls }) => role === 'tool' || tool_calls)
    const isSimple = tools.length === 0 && !hasCalls && reasoningEffort === undefined
    const names =
      isSimple && Object.keys(variables).length === 0 ? { variables: [], words: [] } : await this.findNames()
    const { source } = this
    const thinking = () => (reasoningEffort === undefined ? {} : effortVariables(reasoningEffort, names, source))
    const effort = checking('reasoningEffort', thinking)
    checking('variables', () => checkVariables(variables, names))

    const mark = chooseMark([this.source, ...textsIn([messages.map(withArguments), tools, variables])])
    const marking = new Marking(this.tokenizer, mark)
    const native = this.nativeForm(names)
    const given = { ...effort, ...marking.value('a template variable', variables) }
    const shown = tools.map((tool) => marking.value('a tool', tool))
    const talk = messages.map((message) => marking.message(message, this.source, native))
    const isPlain = !native && (tools.length > 0 || hasCalls)
    const text = isPlain
      ? await this.runPlain(talk, shown, given, options)
      : await this.runNative(talk, native, names, { ...given, ...toolVariables(shown, names) }, options)
    const reasoning = reasoningOf(this.source)
    return {
      text,
      mark,
      calls: native ?? genericForm,
      reasoning,
      isReasoningOpen: reasoning !== undefined && isReasoningOpen(reasoning, text),
    }
  }

  /** The form that the template writes tools in by itself. */
  private nativeForm({ variables }: TemplateNames): CallForm | undefined {
    return variables.includes('tools') || variables.includes('xml_tools') ? callFormOf(this.source) : undefined
  }

  /** Calls and results whose native form has no place in the template become texts, or take a role that it has. */
  private async runNative(
    talk: readonly PlainMessage[],
    native: CallForm | undefined,
    { words }: TemplateNames,
    variables: Record<string, unknown>,
    options: RenderOptions,
  ): Promise<string> {
    if (!native) return await this.run(talk, variables, options)
    const called = words.includes('tool_calls') ? talk : callsToText(native, talk, pythonJson)
    if (words.includes('tool') || !talk.some(({ role }) => role === 'tool'))
      return await this.run(called, variables, options)
    if (words.includes('tool_response')) return await this.run(withRole(called, 'tool_response'), variables, options)
    try {
      return await this.run(called, variables, options)
    } catch (error) {
      if (options.signal?.aborted) throw error
      return await this.run(resultsToText(called), variables, options)
    }
  }

  /** For a template that knows no tools, or in a form that is not known here. */
  private async runPlain(
    talk: readonly PlainMessage[],
    tools: readonly object[],
    variables: Record<string, unknown>,
    options: RenderOptions,
  ): Promise<string> {
    const plain = resultsToText(callsToText(genericForm, talk, pythonJson))
    if (tools.length === 0) return await this.run(plain, variables, options)
    const text = toolInstructions(genericForm, tools.map(pythonJson))
    try {
      return await this.run(addInstructions(plain, text), variables, options)
    } catch (error) {
      // Some take no instructions: what was not the user's wish may stand elsewhere.
      if (plain[0]?.role === 'system' || options.signal?.aborted) throw error
      return await this.run(addToQuestion(plain, text), variables, options)
    }
  }

  private async run(
    messages: readonly PlainMessage[],
    variables: Record<string, unknown>,
    { addGenerationPrompt = true, signal }: RenderOptions,
  ): Promise<string> {
    const { path, source: template, tokens } = this
    return await this.renderer(path, {
      ...{ template, messages, addGenerationPrompt, signal },
      variables: { ...tokens, ...variables },
    })
  }

  /** The names that stand in the template; they are looked for once, whoever asks. */
  private async findNames(): Promise<TemplateNames> {
    this.names ??= this.renderer(this.path, { template: this.source }).then((text) => JSON.parse(text))
    const asked = this.names
    try {
      return await asked
    } catch (error) {
      if (this.names === asked) this.names = undefined
      throw error
    }
  }
}

function withRole(messages: readonly PlainMessage[], role: string): PlainMessage[] {
  return messages.map((message) => (message.role === 'tool' ? { ...message, role } : message))
}

/** A message with what its calls say when their JSON is read: characters may be written as escapes there. */
const withArguments = (message: ChatMessage): unknown[] => [
  message,
  message.tool_calls?.map((call) => readExact(call.function.arguments)),
]

function toolVariables(tools: readonly object[], { variables }: TemplateNames): Record<string, unknown> {
  if (tools.length === 0) return {}
  // SmolLM3 has a name of its own for tools that are called in JSON.
  return variables.includes('xml_tools') ? { tools, xml_tools: tools } : { tools }
}

function checkVariables(variables: Record<string, unknown>, names: TemplateNames): void {
  if (typeof variables !== 'object' || variables === null || Array.isArray(variables))
    throw errors.badOption('variables of a template (chat_template_kwargs)', 'an object', variables)
  for (const name of Object.keys(variables)) {
    if (RESERVED.test(name))
      throw errors.badOption('a template variable (chat_template_kwargs)', 'none that is given otherwise', name)
    if (!names.variables.includes(name))
      throw errors.badOption(
        'a template variable (chat_template_kwargs)',
        `one that the chat template of this model uses, such as enable_thinking where it has that`,
        name,
      )
  }
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
    throw errors.badOption('template', `a template or one of ${Object.keys(builtInTemplates).join(', ')}`, given)
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
