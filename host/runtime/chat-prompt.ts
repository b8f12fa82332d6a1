/** The prompt that messages make, with tools, and how an answer to it is generated and read. */
import { errors } from '../errors.ts'
import type { Grammar } from '../text/structured/rule.ts'
import { checkMessages } from '../text/template/messages.ts'
import type { ChatTemplate } from '../text/template/template.ts'
import type { ReasoningEffort } from '../text/template/thinking.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { AnswerForm } from '../text/tools/answer.ts'
import { checkToolChoice, checkTools } from '../text/tools/tool-list.ts'

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
  /** Should the prompt end where an answer begins? Default: yes. */
  addGenerationPrompt?: boolean
  signal?: AbortSignal | undefined
}

export const chatPromptOptions = [
  ...['tools', 'toolChoice', 'parallelToolCalls', 'reasoningEffort', 'variables', 'addGenerationPrompt', 'signal'],
]

export interface ChatPrompt {
  text: string
  tokens: number[]
  answer: AnswerForm
}

/**
 * `response`: what an answer has to be where it calls nothing. Throws BAD_OPTION for what is wrong in messages, tools, or
 * options, BAD_TEMPLATE, and SchemaError for a tool whose arguments cannot be held to their schema.
 */
export async function chatPrompt(
  template: ChatTemplate,
  tokenizer: Tokenizer,
  messages: unknown,
  options: ChatPromptOptions & { response?: Grammar | undefined } = {},
): Promise<ChatPrompt> {
  const { parallelToolCalls: isParallel = true, reasoningEffort, variables, response, signal } = options
  if (typeof isParallel !== 'boolean') throw errors.badOption('parallelToolCalls', 'true or false', isParallel)
  const given = checkTools(options.tools)
  const choice = checkToolChoice(options.toolChoice, given)
  // A model that must not call any is not told of them.
  const tools = choice === 'none' ? [] : given
  const { text, mark, calls, reasoning, isReasoningOpen } = await template.render(checkMessages(messages), {
    ...{ tools, variables, signal },
    addGenerationPrompt: options.addGenerationPrompt ?? true,
    reasoningEffort: reasoningEffort as ReasoningEffort | undefined,
  })
  return {
    text: text.replaceAll(mark, ''),
    tokens: tokenizer.encodeChat(text, mark),
    answer: new AnswerForm({
      ...{ tokenizer, calls, reasoning, isReasoningOpen, tools, choice, isParallel, response },
    }),
  }
}
