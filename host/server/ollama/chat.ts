/** POST /api/chat and /api/generate: chats and texts in Ollama's shape, as lines of JSON unless "stream" is false. */
import type { GenerateOptions, Generation } from '../../runtime/api.ts'
import { constraintOf } from '../../text/structured/constrain.ts'
import type { AnswerEvent } from '../../text/tools/parser.ts'
import { type ChatAsked, grammarFor, writerOf } from '../chat-asked.ts'
import { type ChatAnswer, runChat, type ToolCall } from '../chat-run.ts'
import type { Exchange } from '../exchange.ts'
import { boolean, list, readFields, required, text, unsupported } from '../readers.ts'
import type { ServedModel } from '../served-model.ts'
import type { Services } from '../services.ts'
import { LineStream } from '../streams.ts'
import { isCut, write } from '../writing.ts'
import { commonFields, generateOptions, messages, tools } from './fields.ts'

export const chatTable = { ...commonFields, messages, tools }

export async function chat(exchange: Exchange, services: Services, body: Record<string, unknown>): Promise<void> {
  exchange.params = { prompt: 'messages', form: 'format', reasoningEffort: 'think' }
  const asked = readFields(chatTable, body)
  const name = required(asked.model, 'model')
  const said = required(asked.messages, 'messages')
  const isStream = asked.stream ?? true
  const response = grammarFor(asked.format, 'format')
  const lease = await services.pool.enter(name, 1, exchange.signal)
  try {
    const told = new Telling(exchange, name, isStream, chatForm)
    // Without a message the model is only loaded.
    if (said.length === 0) return await told.end(undefined, 'load')
    const asking = { messages: said, tools: asked.tools ?? [], response, reasoningEffort: asked.think }
    await answer(exchange, services, lease.model, asking, generateOptions(asked.options), told)
  } finally {
    lease.release()
  }
}

export const generateTable = {
  ...commonFields,
  prompt: text,
  system: text,
  raw: boolean,
  suffix: unsupported('texts go on at their end only'),
  template: unsupported('the model has its own'),
  context: unsupported('send messages to /api/chat'),
  images: list(unsupported('models here read texts')),
}

/** The prompt is a question to a model that has a chat template, unless it is "raw"; to others it is what goes on. */
export async function generate(exchange: Exchange, services: Services, body: Record<string, unknown>): Promise<void> {
  exchange.params = { prompt: 'prompt', form: 'format', reasoningEffort: 'think' }
  const asked = readFields(generateTable, body)
  const name = required(asked.model, 'model')
  const { prompt = '', system, raw: isRaw = false, think: reasoningEffort } = asked
  const response = grammarFor(asked.format, 'format')
  const options = generateOptions(asked.options)
  const lease = await services.pool.enter(name, 1, exchange.signal)
  try {
    const told = new Telling(exchange, name, asked.stream ?? true, textForm)
    if (prompt === '') return await told.end(undefined, 'load')
    if (!isRaw && lease.model.hasTemplate) {
      const messages = [
        ...(system === undefined ? [] : [{ role: 'system' as const, content: system }]),
        { role: 'user' as const, content: prompt },
      ]
      const asking = { messages, response, reasoningEffort }
      return await answer(exchange, services, lease.model, asking, options, told)
    }
    await write(services, exchange, lease.model, {
      ids: lease.model.promptIds(system === undefined ? prompt : `${system}\n\n${prompt}`),
      options: response ? { ...options, constraint: (parts) => constraintOf(response, writerOf(parts)) } : options,
      onToken: (_, { text: piece }) => (piece === '' ? undefined : told.add([{ type: 'content', text: piece }])),
      onEnd: (_, generation) => told.end({ content: generation.text, reasoning: '', calls: [], generation }),
    })
  } finally {
    lease.release()
  }
}

async function answer(
  exchange: Exchange,
  services: Services,
  model: ServedModel,
  asked: ChatAsked,
  options: GenerateOptions,
  told: Telling,
): Promise<void> {
  await runChat(services, exchange, model, {
    ...asked,
    options,
    onEvents: (_, events) => told.add(events),
    onAnswer: (_, whole) => told.end(whole),
  })
}

interface Parts {
  content?: string
  thinking?: string
  calls?: readonly ToolCall[]
}

/** Where the words of an answer stand in a document. */
type Form = (parts: Parts) => object

const chatForm: Form = ({ content = '', thinking, calls = [] }) => ({
  message: {
    role: 'assistant',
    content,
    ...(thinking === undefined ? {} : { thinking }),
    ...(calls.length === 0
      ? {}
      : {
          tool_calls: calls.map(({ id, name, arguments: given }, index) => ({
            id,
            function: { index, name, arguments: JSON.parse(given || '{}') },
          })),
        }),
  },
})

const textForm: Form = ({ content = '', thinking }) => ({
  response: content,
  ...(thinking === undefined ? {} : { thinking }),
})

class Telling {
  private readonly exchange: Exchange
  private readonly model: string
  private readonly stream: LineStream | undefined
  private readonly form: Form
  private readonly begun = performance.now()

  constructor(exchange: Exchange, model: string, isStream: boolean, form: Form) {
    this.exchange = exchange
    this.model = model
    this.stream = isStream ? new LineStream(exchange) : undefined
    this.form = form
  }

  private document(parts: Parts, more: object): object {
    return { model: this.model, created_at: new Date().toISOString(), ...this.form(parts), ...more }
  }

  /** Calls are told whole, when the answer ends: here arguments are no text, so there are no parts of them. */
  add(events: readonly AnswerEvent[]): Promise<void> | undefined {
    let slow: Promise<void> | undefined
    for (const event of events) {
      if (event.type === 'content') slow = this.stream?.send(this.document({ content: event.text }, { done: false }))
      if (event.type === 'reasoning') slow = this.stream?.send(this.document({ thinking: event.text }, { done: false }))
    }
    return slow
  }

  async end(whole: ChatAnswer | undefined, reason = whole && reasonOf(whole.generation)): Promise<void> {
    const { stream, exchange } = this
    const calls = whole?.calls.filter(({ isWhole }) => isWhole) ?? []
    const counts = whole ? countsOf(whole.generation, performance.now() - this.begun) : {}
    const last = { done: true, done_reason: reason, ...counts }
    if (stream) {
      if (calls.length > 0) await stream.send(this.document({ calls }, { done: false }))
      await stream.send(this.document({}, last))
      stream.end()
      return
    }
    const parts = { content: whole?.content ?? '', calls, ...(whole?.reasoning ? { thinking: whole.reasoning } : {}) }
    exchange.json(this.document(parts, last))
  }
}

const reasonOf = (generation: Generation) => (isCut(generation) ? 'length' : 'stop')

/** In nanoseconds. */
function countsOf(generation: Generation, milliseconds: number): object {
  const { promptTokens, tokens, prefillSeconds, decodeSeconds } = generation
  const nano = (seconds: number) => Math.round(seconds * 1e9)
  return {
    total_duration: nano(milliseconds / 1000),
    load_duration: 0,
    prompt_eval_count: promptTokens,
    prompt_eval_duration: nano(prefillSeconds),
    eval_count: tokens.length,
    eval_duration: nano(decodeSeconds),
  }
}
