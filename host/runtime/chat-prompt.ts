/** The prompt that messages make, with tools, and how an answer to it is generated and read. */
import { checking, errors, GtaError } from '../errors.ts'
import type { Grammar } from '../text/structured/rule.ts'
import { checkMessages } from '../text/template/messages.ts'
import type { ChatTemplate } from '../text/template/template.ts'
import type { ReasoningEffort } from '../text/template/thinking.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { AnswerForm } from '../text/tools/answer.ts'
import type { AnswerParser } from '../text/tools/parser.ts'
import { checkToolChoice, checkTools } from '../text/tools/tool-list.ts'
import type { GenerateOptions } from './api.ts'
import { type Ending, findEnding } from './chat.ts'
import { checkStops } from './generate-options.ts'
import type { Runtime } from './runtime.ts'

/** What the model may call, and how it thinks; in the shapes of OpenAI's API, and checked. */
export interface ChatPromptOptions {
  /** Functions with JSON Schemas of their arguments. */
  tools?: unknown
  /** none, auto, required, or a function by name; default: auto where there are tools. */
  toolChoice?: unknown
  /** May an answer call several at once? Default: yes. */
  parallelToolCalls?: boolean | undefined
  /** none turns thinking off, where the template has a switch for it. */
  reasoningEffort?: string | undefined
  /** Variables of the template (chat_template_kwargs). */
  variables?: Record<string, unknown> | undefined
  /** Texts that end what the model says: never within its thoughts or a call, which the `stop` of `generate()` would cut. */
  stop?: string[] | undefined
  /** Should the prompt end where an answer begins? Default: yes. */
  addGenerationPrompt?: boolean
  signal?: AbortSignal | undefined
}

/** @internal */
export const chatPromptNames = [
  ...[
    'tools',
    'toolChoice',
    'parallelToolCalls',
    'reasoningEffort',
    'variables',
    'stop',
    'addGenerationPrompt',
    'signal',
  ],
]

export interface ChatPrompt {
  text: string
  tokens: number[]
  /** For `generate(tokens, …)`: what ends an answer, and what holds it to the tools. */
  options: GenerateOptions
  /** Takes an answer apart while it comes: what the model thinks, says and calls. One for each answer. */
  parser(): AnswerParser
}

/** @internal */
export interface Opened {
  template: ChatTemplate
  ending: Ending
}

/** Templates of a model that were tried, by what was given; few are. */
const opened = new WeakMap<Runtime, Map<string | undefined, Promise<Opened>>>()
const MOST_OPENED = 8

/** A template of a model, its own or `given`, and what it puts behind an answer. Throws NO_TEMPLATE or BAD_TEMPLATE. @internal */
export async function openTemplate(runtime: Runtime, given: string | undefined): Promise<Opened> {
  const known = opened.get(runtime) ?? new Map<string | undefined, Promise<Opened>>()
  opened.set(runtime, known)
  const opening = known.get(given) ?? tryTemplate(runtime, given)
  known.set(given, opening)
  for (const oldest of known.keys()) if (known.size > MOST_OPENED) known.delete(oldest)
  try {
    return await opening
  } catch (error) {
    if (known.get(given) === opening) known.delete(given)
    throw error
  }
}

async function tryTemplate(runtime: Runtime, given: string | undefined): Promise<Opened> {
  const template = await runtime.chatTemplate(given)
  try {
    return { template, ending: await findEnding(template, runtime.requireTokenizer()) }
  } catch (error) {
    // One that takes no such talk, or does not repeat an answer, ends its answers with the model's own tokens.
    if (!(error instanceof GtaError) || error.code !== 'BAD_TEMPLATE') throw error
    return { template, ending: { stopTokens: [], stop: [] } }
  }
}

/**
 * `response`: what an answer has to be where it calls nothing. Throws BAD_OPTION for what is wrong in messages, tools, or
 * options, BAD_TEMPLATE, and SchemaError for a tool whose arguments cannot be held to their schema. @internal
 */
export async function chatPrompt(
  template: ChatTemplate,
  ending: Ending,
  tokenizer: Tokenizer,
  messages: unknown,
  options: ChatPromptOptions & { response?: Grammar | undefined } = {},
): Promise<ChatPrompt> {
  const { parallelToolCalls: isParallel = true, reasoningEffort, variables, response, signal } = options
  if (typeof isParallel !== 'boolean') throw errors.badOption('parallelToolCalls', 'true or false', isParallel)
  if (variables !== undefined && (typeof variables !== 'object' || variables === null))
    throw errors.badOption('variables', 'an object', variables)
  const given = checking('tools', () => checkTools(options.tools))
  const choice = checking('toolChoice', () => checkToolChoice(options.toolChoice, given))
  // A model that must not call any is not told of them.
  const tools = choice === 'none' ? [] : given
  const said = checking('messages', () => checkMessages(messages))
  const { text, mark, calls, reasoning, isReasoningOpen } = await template.render(said, {
    ...{ tools, variables, signal },
    addGenerationPrompt: options.addGenerationPrompt ?? true,
    reasoningEffort: reasoningEffort as ReasoningEffort | undefined,
  })
  const stop = checking('stop', () => checkStops(options.stop ?? []))
  const form = { tokenizer, calls, reasoning, isReasoningOpen, tools, choice, isParallel, response }
  const answer = checking('tools', () => new AnswerForm({ ...form, stop, ending: ending.stop }))
  return {
    text: text.replaceAll(mark, ''),
    tokens: tokenizer.encodeChat(text, mark),
    options: {
      stopAtEos: true,
      stop: answer.stop,
      stopTokens: [...ending.stopTokens, ...answer.stopTokens],
      shownTokens: answer.shownTokens,
      ...(answer.isHeld ? { constraint: (parts) => answer.constraint(parts) } : {}),
    },
    parser: () => answer.parser(),
  }
}
