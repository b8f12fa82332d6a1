/** A model of `gta serve`, or of another server with OpenAI's API. Everything is streamed: so the node can tell how far it is. */
import { readEvents } from '../server/page/events.ts'
import {
  type Answer,
  type Answerer,
  type Asked,
  answerMessage,
  type Told,
  type ToolCall,
  type Usage,
} from './answer.ts'
import { errors, NodeError } from './errors.ts'

interface Chunk {
  choices?: { delta?: Delta; text?: string; finish_reason?: Answer['finish'] | null }[]
  usage?: Usage | null
  error?: { message?: string; code?: string }
}

interface Delta {
  content?: string | null
  reasoning_content?: string
  tool_calls?: { index: number; id?: string; function?: { name?: string; arguments?: string } }[]
}

export class ServerModel implements Answerer {
  readonly #url: string
  readonly #key: string | undefined
  readonly #model: string | undefined

  /** `url` with or without /v1. */
  constructor(url: string, key: string | undefined, model: string | undefined) {
    this.#url = url.trim().replace(/\/+(v1\/*)?$/, '')
    this.#key = key
    this.#model = model
  }

  async *ask(asked: Asked, signal: AbortSignal): AsyncGenerator<Told, Answer> {
    const response = await this.#post(asked, signal)
    const answer = new Collected()
    try {
      for await (const item of readEvents(response.body as ReadableStream<Uint8Array>)) {
        if ('comment' in item) {
          const [, done, total] = /^prompt (\d+)\/(\d+)$/.exec(item.comment) ?? []
          if (total !== undefined) yield { type: 'reading', done: Number(done), total: Number(total) }
        } else if (item.data !== '[DONE]') {
          const text = answer.push(JSON.parse(item.data) as Chunk)
          if (text !== undefined) yield { type: 'text', text, tokens: 1 }
        }
      }
    } catch (cause) {
      if (cause instanceof NodeError || signal.aborted) throw cause
      throw errors.brokenOff(this.#url)
    }
    return answer.end() ?? refuse(errors.brokenOff(this.#url))
  }

  async close(): Promise<void> {}

  async #post(asked: Asked, signal: AbortSignal): Promise<Response> {
    const path = 'messages' in asked.input ? '/v1/chat/completions' : '/v1/completions'
    const headers = { 'content-type': 'application/json', ...(this.#key ? { authorization: `Bearer ${this.#key}` } : {}) } // biome-ignore format: one line
    let response: Response
    try {
      const body = JSON.stringify(bodyOf(asked, this.#model))
      response = await fetch(this.#url + path, { method: 'POST', headers, body, signal })
    } catch (cause) {
      if (signal.aborted) throw cause
      const { message, cause: reason } = cause as Error & { cause?: { code?: string; message?: string } }
      throw errors.unreachable(this.#url, reason?.code ?? reason?.message ?? message, cause)
    }
    if (!response.ok) throw await refusal(response, this.#url)
    if (!response.headers.get('content-type')?.startsWith('text/event-stream'))
      throw errors.notTheApi(this.#url, `an answer of type "${response.headers.get('content-type')}"`)
    return response
  }
}

function refuse(error: NodeError): never {
  throw error
}

function bodyOf(asked: Asked, model: string | undefined): object {
  const { input, maxTokens, temperature, seed, stop, schema, tools, toolChoice } = asked
  const format = { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }
  // JSON has no undefined: what was not asked for is not sent.
  return {
    ...input,
    model: asked.model ?? model,
    ...{ max_tokens: maxTokens, temperature, seed, stop, tools, tool_choice: toolChoice },
    response_format: schema === undefined ? undefined : format,
    stream: true,
    stream_options: { include_usage: true },
  }
}

/** An answer that is no success. */
async function refusal(response: Response, url: string): Promise<NodeError> {
  const { error } = (await response.json().catch(() => ({}))) as Chunk
  if (typeof error?.message !== 'string') return errors.notTheApi(url, `status ${response.status}`)
  return new NodeError(response.status, error.code ?? 'refused', error.message)
}

/** An answer, put together again. */
class Collected {
  private content = ''
  private reasoning = ''
  private calls: ToolCall[] = []
  private finish: Answer['finish'] | undefined
  private usage: Usage | undefined

  /** The text that it adds, empty for thoughts and calls; undefined if it adds nothing. */
  push({ choices, usage, error }: Chunk): string | undefined {
    if (error) throw new NodeError(500, error.code ?? 'failed', error.message ?? 'the server failed')
    if (usage) this.usage = usage
    const [choice] = choices ?? []
    this.finish = choice?.finish_reason ?? this.finish
    const { reasoning_content: thought, tool_calls: calls, content } = choice?.delta ?? {}
    const text = content ?? choice?.text ?? ''
    this.content += text
    this.reasoning += thought ?? ''
    for (const { index, id, function: called } of calls ?? []) {
      const call = this.calls[index] ?? { id: '', type: 'function', function: { name: '', arguments: '' } }
      this.calls[index] = call
      call.id = id ?? call.id
      call.function.name += called?.name ?? ''
      call.function.arguments += called?.arguments ?? ''
    }
    return text !== '' || thought || calls ? text : undefined
  }

  /** Undefined if the end is missing. */
  end(): Answer | undefined {
    const { content, reasoning, calls, finish, usage } = this
    return finish && { message: answerMessage(content, reasoning, calls), finish, usage }
  }
}
