/** POST /v1/chat/completions: a chat in OpenAI's shape, whole or as events. */
import { randomUUID } from 'node:crypto'
import { reasoningEfforts } from '../../text/template/thinking.ts'
import type { AnswerEvent } from '../../text/tools/parser.ts'
import type { Call } from '../call.ts'
import type { ChatAsked } from '../chat-asked.ts'
import { type ChatAnswer, callsToTell, type OnEvents, runChat } from '../chat-run.ts'
import { apiErrors, type Params } from '../errors.ts'
import {
  boolean,
  ignored,
  list,
  object,
  oneOf,
  only,
  type Read,
  readFields,
  required,
  text,
  unsupported,
  whole,
} from '../readers.ts'
import { maxTokens, samplingFields, samplingOf, tokenLimit } from '../sampling.ts'
import type { Services } from '../services.ts'
import type { AnswerStream } from '../streams.ts'
import type { TokenEvent } from '../writing.ts'
import {
  formatFieldsOfOthers,
  formatOf,
  ignoredFields,
  messages,
  responseFormat,
  streamOptions,
  toolChoice,
  tools,
} from './fields.ts'
import { chatLogprobs } from './logprobs.ts'
import { finishReason, timingsOf, usageOf } from './usage.ts'

/** What is said, and what the template is told besides. */
export const chatFields = {
  model: text,
  messages,
  tools,
  tool_choice: toolChoice,
  parallel_tool_calls: boolean,
  reasoning_effort: oneOf(...reasoningEfforts),
  chat_template_kwargs: object,
  enable_thinking: boolean,
  ...ignoredFields,
}

export const chatTable = {
  ...chatFields,
  stream: boolean,
  stream_options: streamOptions,
  max_tokens: maxTokens,
  max_completion_tokens: maxTokens,
  n: whole(1, 32),
  response_format: responseFormat,
  ...formatFieldsOfOthers,
  logprobs: boolean,
  top_logprobs: whole(0, 20),
  ...samplingFields,
  modalities: list(oneOf('text')),
  audio: unsupported('answers are texts'),
  function_call: unsupported('it has become tool_choice'),
  functions: unsupported('they have become tools'),
  web_search_options: unsupported('nothing is searched'),
  prediction: ignored,
  verbosity: only('medium', 'how long answers are is not to be chosen'),
}

/** What a chat calls what the library may refuse. */
export function chatParams(body: Record<string, unknown>): Params {
  const isSwitch = body.chat_template_kwargs === undefined && body.enable_thinking !== undefined
  const form = ['response_format', 'json_schema', 'guided_json', 'guided_regex'].find(
    (name) => body[name] !== undefined,
  )
  return { prompt: 'messages', form: form ?? 'tools', ...(isSwitch ? { variables: 'enable_thinking' } : {}) }
}

export function chatOf(asked: Read<typeof chatFields>): ChatAsked {
  const variables = {
    ...(asked.enable_thinking === undefined ? {} : { enable_thinking: asked.enable_thinking }),
    ...asked.chat_template_kwargs,
  }
  return {
    messages: required(asked.messages, 'messages'),
    tools: asked.tools ?? [],
    toolChoice: asked.tool_choice,
    parallelToolCalls: asked.parallel_tool_calls,
    reasoningEffort: asked.reasoning_effort,
    variables,
  }
}

export async function chatCompletions(call: Call, services: Services, body: Record<string, unknown>): Promise<void> {
  call.params = chatParams(body)
  const asked = readFields(chatTable, body)
  const said = { ...chatOf(asked), response: formatOf(asked) }
  const options = {
    ...samplingOf(asked),
    ...tokenLimit(asked.max_completion_tokens, asked.max_tokens),
    ...(asked.logprobs ? { logprobs: asked.top_logprobs ?? 0 } : {}),
  }
  if (asked.top_logprobs !== undefined && !asked.logprobs)
    throw apiErrors.badValue('top_logprobs', 'left out unless logprobs is true', String(asked.top_logprobs))
  const count = checkCount(asked.n, services)
  const stream = asked.stream ? call.events('data: [DONE]\n\n') : undefined
  const lease = await services.pool.enter(asked.model, count, call.signal)
  try {
    const told = new ChatTelling(lease.model.name, stream)
    const onEvents: OnEvents = (...heard) => told.add(...heard)
    const onAnswer = (choice: number, answer: ChatAnswer) => told.end(choice, answer)
    const telling = stream ? { onEvents, onAnswer } : {}
    const answers = await runChat(services, call, lease.model, { ...said, options, count, ...telling })
    if (!stream) return call.json(told.whole(answers))
    if (asked.stream_options?.include_usage) await told.usage(answers)
    stream.end()
  } finally {
    lease.release()
  }
}

/** Each choice takes a slot. */
export function checkCount(count = 1, { pool }: Services): number {
  if (count > pool.slots)
    throw apiErrors.badValue('n', `at most ${pool.slots}, the slots of this server`, String(count))
  return count
}

/** An answer of one or several choices, as it is told. */
class ChatTelling {
  private readonly stream: AnswerStream | undefined
  private readonly id = `chatcmpl-${randomUUID()}`
  private readonly created = Math.floor(Date.now() / 1000)
  private readonly model: string
  private readonly begun = new Set<number>()

  constructor(model: string, stream: AnswerStream | undefined) {
    this.model = model
    this.stream = stream
  }

  private chunk(choices: object[], more: object = {}): Promise<void> | undefined {
    const { id, created, model } = this
    return this.stream?.send({ id, object: 'chat.completion.chunk', created, model, choices, ...more })
  }

  private delta(
    index: number,
    delta: object,
    finish: string | null = null,
    scored: readonly TokenEvent[] = [],
  ): Promise<void> | undefined {
    const logprobs = scored.length > 0 ? chatLogprobs(scored) : null
    return this.chunk([{ index, delta, logprobs, finish_reason: finish }])
  }

  /** The role comes first, in a chunk of its own. */
  private begin(index: number): void {
    if (this.begun.has(index)) return
    this.begun.add(index)
    this.delta(index, { role: 'assistant', content: '' })
  }

  add(index: number, events: readonly AnswerEvent[], scored: readonly TokenEvent[]): Promise<void> | undefined {
    this.begin(index)
    let slow: Promise<void> | undefined
    let left = scored
    for (const event of events) {
      const delta = deltaOf(event)
      if (!delta) continue
      slow = this.delta(index, delta, null, left)
      left = []
    }
    return slow
  }

  end(index: number, answer: ChatAnswer): Promise<void> | undefined {
    this.begin(index)
    return this.delta(index, {}, reasonOf(answer))
  }

  usage(answers: readonly ChatAnswer[]): Promise<void> | undefined {
    const generations = answers.map(({ generation }) => generation)
    return this.chunk([], { usage: usageOf(generations), timings: timingsOf(generations) })
  }

  whole(answers: readonly ChatAnswer[]): object {
    const { id, created, model } = this
    const generations = answers.map(({ generation }) => generation)
    return {
      ...{ id, object: 'chat.completion', created, model },
      choices: answers.map((answer, index) => ({
        index,
        message: messageOf(answer),
        logprobs: answer.generation.logprobs ? chatLogprobs(answer.generation.logprobs) : null,
        finish_reason: reasonOf(answer),
      })),
      usage: usageOf(generations),
      timings: timingsOf(generations),
    }
  }
}

function reasonOf({ calls, generation }: ChatAnswer): string {
  const reason = finishReason(generation)
  // One that was cut may have been cut within a call.
  return reason === 'stop' && calls.length > 0 && calls.every(({ isWhole }) => isWhole) ? 'tool_calls' : reason
}

function deltaOf(event: AnswerEvent): object | undefined {
  switch (event.type) {
    case 'content':
      return { content: event.text }
    case 'reasoning':
      return { reasoning_content: event.text }
    case 'call':
      return { tool_calls: [{ index: event.index, id: event.id, type: 'function', function: { name: event.name, arguments: '' } }] } // biome-ignore format: one line
    case 'arguments':
      return { tool_calls: [{ index: event.index, function: { arguments: event.text } }] }
    default:
      return undefined
  }
}

function messageOf(answer: ChatAnswer): object {
  const { content, reasoning } = answer
  const calls = callsToTell(answer)
  return {
    role: 'assistant',
    content: content === '' && calls.length > 0 ? null : content,
    refusal: null,
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0
      ? {}
      : {
          tool_calls: calls.map(({ id, name, arguments: given }) => ({
            ...{ id, type: 'function' },
            function: { name, arguments: given },
          })),
        }),
  }
}
