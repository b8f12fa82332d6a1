/** POST /v1/chat/completions: a chat in OpenAI's shape, whole or as events. */
import { randomUUID } from 'node:crypto'
import type { Finish, Generation } from '../../runtime/api.ts'
import type { ChatMessage } from '../../text/template/messages.ts'
import { apiErrors } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import {
  boolean,
  fields,
  ignored,
  list,
  oneOf,
  only,
  type Reader,
  readFields,
  required,
  text,
  unsupported,
  whole,
} from '../readers.ts'
import { maxTokens, samplingFields, samplingOf, tokenLimit } from '../sampling.ts'
import type { Services } from '../services.ts'
import { EventStream } from '../streams.ts'
import { write } from '../writing.ts'

const part = fields({ type: oneOf('text'), text })

/** A text, or parts of one. */
const content: Reader<string> = (value, path) => {
  if (typeof value === 'string') return value
  return list(part)(value, path)
    .map((each) => each.text ?? '')
    .join('\n')
}

const message = fields({
  role: oneOf('system', 'developer', 'user', 'assistant', 'tool'),
  content,
  name: ignored,
})

export const messages: Reader<ChatMessage[]> = (value, path) =>
  list(message, { min: 1 })(value, path).map((each, i) => ({
    role: each.role === 'developer' ? 'system' : required(each.role, `${path}[${i}].role`),
    content: each.content ?? '',
  }))

/** What cannot change the answer, wherever OpenAI's clients send it. */
export const ignoredFields = {
  user: ignored,
  metadata: ignored,
  store: ignored,
  service_tier: ignored,
  safety_identifier: ignored,
  prompt_cache_key: ignored,
  prompt_cache_retention: ignored,
  cache_prompt: ignored,
  return_progress: ignored,
  timings_per_token: ignored,
  id_slot: ignored,
}

const table = {
  model: text,
  messages,
  stream: boolean,
  stream_options: fields({ include_usage: boolean, include_obfuscation: ignored }),
  max_tokens: maxTokens,
  max_completion_tokens: maxTokens,
  n: whole(1, 32),
  ...samplingFields,
  modalities: (value: unknown, path: string) => list(oneOf('text'))(value, path),
  audio: unsupported('answers are texts'),
  function_call: unsupported('it has become tool_choice'),
  functions: unsupported('they have become tools'),
  web_search_options: unsupported('nothing is searched'),
  prediction: ignored,
  verbosity: only('medium', 'other lengths are not'),
  ...ignoredFields,
}

export async function chatCompletions(
  exchange: Exchange,
  services: Services,
  body: Record<string, unknown>,
): Promise<void> {
  const asked = readFields(table, body)
  const said = required(asked.messages, 'messages')
  const count = asked.n ?? 1
  if (count > services.pool.slots)
    throw apiErrors.badValue('n', `at most ${services.pool.slots}, the slots of this server`, String(count))
  const stream = asked.stream ? new EventStream(exchange, 'data: [DONE]\n\n') : undefined
  const lease = await services.pool.enter(asked.model, count, exchange.signal)
  try {
    const { model } = lease
    const prompt = await model.render(said, exchange.signal)
    const options = { ...samplingOf(asked), ...tokenLimit(asked.max_completion_tokens, asked.max_tokens) }
    const answer = new ChatAnswer(model.name, stream)
    const generations = await write(services, exchange, model, {
      ids: prompt.ids,
      options: {
        ...options,
        stop: [...prompt.stop, ...(asked.stop ?? [])],
        stopTokens: prompt.stopTokens,
      },
      count,
      onPiece: (choice, piece) => answer.add(choice, piece),
    })
    const isUsage = asked.stream_options?.include_usage ?? false
    if (stream) await answer.finish(generations, isUsage)
    else exchange.json(answer.whole(generations))
    stream?.end()
  } finally {
    lease.release()
  }
}

/** An answer of one or several choices, while it comes. */
class ChatAnswer {
  private readonly stream: EventStream | undefined
  private readonly head: { id: string; created: number; model: string }
  private readonly begun = new Set<number>()

  constructor(model: string, stream: EventStream | undefined) {
    this.stream = stream
    this.head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model }
  }

  private chunk(index: number, delta: object, finish: string | null, more: object = {}): Promise<void> | undefined {
    const { id, created, model } = this.head
    const choices = [{ index, delta, logprobs: null, finish_reason: finish }]
    return this.stream?.send({ id, object: 'chat.completion.chunk', created, model, choices, ...more })
  }

  /** The role comes first, in a chunk of its own. */
  private begin(index: number): void {
    if (this.begun.has(index)) return
    this.begun.add(index)
    this.chunk(index, { role: 'assistant', content: '' }, null)
  }

  add(index: number, text: string): Promise<void> | undefined {
    if (!this.stream) return undefined
    this.begin(index)
    return this.chunk(index, { content: text }, null)
  }

  async finish(generations: readonly Generation[], isUsage: boolean): Promise<void> {
    for (const [index, { finish }] of generations.entries()) {
      this.begin(index)
      await this.chunk(index, {}, finishReason(finish))
    }
    if (!isUsage) return
    const { id, created, model } = this.head
    await this.stream?.send({
      ...{ id, object: 'chat.completion.chunk', created, model, choices: [] },
      usage: usageOf(generations),
    })
  }

  whole(generations: readonly Generation[]): object {
    const { id, created, model } = this.head
    return {
      ...{ id, object: 'chat.completion', created, model },
      choices: generations.map(({ text: written, finish }, index) => ({
        index,
        message: { role: 'assistant', content: written, refusal: null },
        logprobs: null,
        finish_reason: finishReason(finish),
      })),
      usage: usageOf(generations),
    }
  }
}

/** A text that was cut by max_tokens, or by the end of the context, is told alike. */
export function finishReason(finish: Finish): 'stop' | 'length' {
  return finish === 'eos' || finish === 'stop' ? 'stop' : 'length'
}

export function usageOf(generations: readonly Generation[]): object {
  const [first] = generations
  const prompt = first?.promptTokens ?? 0
  const completion = generations.reduce((sum, { tokens }) => sum + tokens.length, 0)
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: first?.cachedTokens ?? 0 },
  }
}
