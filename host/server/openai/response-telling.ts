/** An answer as /v1/responses tells it: items, each begun and ended, in events that are numbered. */
import { randomUUID } from 'node:crypto'
import type { AnswerEvent } from '../../text/tools/parser.ts'
import { type ChatAnswer, callsToTell } from '../chat-run.ts'
import type { AnswerStream } from '../streams.ts'
import { finishReason } from './usage.ts'

/** An item of the answer, as far as it has come. */
interface Item {
  type: 'reasoning' | 'message' | 'function_call'
  id: string
  /** Of a call. */
  call: number
  callId: string
  name: string
  text: string
  status: 'in_progress' | 'completed' | 'incomplete'
}

/** What a response says again of its request, and what it says where that says nothing. */
const repeated = {
  instructions: null,
  metadata: {},
  parallel_tool_calls: true,
  temperature: null,
  tool_choice: 'auto',
  tools: [],
  top_p: null,
  max_output_tokens: null,
  reasoning: null,
  text: { format: { type: 'text' } },
}

const newId = (prefix: string) => `${prefix}_${randomUUID().replaceAll('-', '')}`
const prefixes = { reasoning: 'rs', message: 'msg', function_call: 'fc' }

export class ResponseTelling {
  private readonly id = newId('resp')
  private readonly asked: Record<string, unknown>
  private readonly model: string
  private readonly created = Math.floor(Date.now() / 1000)
  private readonly stream: AnswerStream | undefined
  private readonly items: Item[] = []
  private sequence = 0

  /** `asked`: what the request said; some of it is said again. */
  constructor(asked: Record<string, unknown>, model: string, stream: AnswerStream | undefined) {
    this.asked = asked
    this.model = model
    this.stream = stream
  }

  private send(type: string, more: object): Promise<void> | undefined {
    return this.stream?.send({ type, sequence_number: this.sequence++, ...more }, type)
  }

  /** The response as it is now. */
  private response(status: string, more: object = {}): object {
    return {
      id: this.id,
      object: 'response',
      created_at: this.created,
      status,
      model: this.model,
      error: null,
      incomplete_details: null,
      store: false,
      ...Object.fromEntries(Object.entries(repeated).map(([name, value]) => [name, this.asked[name] ?? value])),
      output: this.items.map((item) => itemOf(item)),
      ...more,
    }
  }

  private begin(): void {
    if (this.sequence > 0) return
    this.send('response.created', { response: this.response('in_progress') })
    this.send('response.in_progress', { response: this.response('in_progress') })
  }

  add(events: readonly AnswerEvent[]): Promise<void> | undefined {
    this.begin()
    let slow: Promise<void> | undefined
    for (const event of events) slow = this.one(event)
    return slow
  }

  private one(event: AnswerEvent): Promise<void> | undefined {
    switch (event.type) {
      case 'content':
        return this.grow(this.itemFor('message'), event.text)
      case 'reasoning':
        return this.grow(this.itemFor('reasoning'), event.text)
      case 'call':
        return void this.open({ type: 'function_call', call: event.index, callId: event.id, name: event.name })
      case 'arguments':
        return this.grow(this.items.find(({ call }) => call === event.index) as Item, event.text)
      case 'broken':
        return void this.close('incomplete')
      default:
        return undefined
    }
  }

  /** Words go on in the item that has them, if nothing else has begun since. */
  private itemFor(type: 'message' | 'reasoning'): Item {
    const last = this.items.at(-1)
    return last?.type === type ? last : this.open({ type, call: -1, callId: '', name: '' })
  }

  private open(parts: Pick<Item, 'type' | 'call' | 'callId' | 'name'>): Item {
    this.close()
    const item: Item = { ...parts, id: newId(prefixes[parts.type]), text: '', status: 'in_progress' }
    this.items.push(item)
    this.send('response.output_item.added', { output_index: this.items.length - 1, item: itemOf(item, true) })
    if (item.type === 'message') this.send('response.content_part.added', { ...this.place(item), part: partOf('') })
    return item
  }

  private place({ id, type }: Item): object {
    return { item_id: id, output_index: this.items.length - 1, ...(type === 'message' ? { content_index: 0 } : {}) }
  }

  private grow(item: Item, delta: string): Promise<void> | undefined {
    item.text += delta
    const place = this.place(item)
    if (item.type === 'function_call') return this.send('response.function_call_arguments.delta', { ...place, delta })
    if (item.type === 'reasoning')
      return this.send('response.reasoning_text.delta', { ...place, content_index: 0, delta })
    return this.send('response.output_text.delta', { ...place, delta, logprobs: [] })
  }

  /** Ends the last item. */
  private close(status: 'completed' | 'incomplete' = 'completed'): void {
    const item = this.items.at(-1)
    if (item?.status !== 'in_progress') return
    item.status = status
    const place = this.place(item)
    const { text } = item
    if (item.type === 'function_call')
      this.send('response.function_call_arguments.done', { ...place, name: item.name, arguments: text })
    else if (item.type === 'reasoning') this.send('response.reasoning_text.done', { ...place, content_index: 0, text })
    else {
      this.send('response.output_text.done', { ...place, text, logprobs: [] })
      this.send('response.content_part.done', { ...place, part: partOf(text) })
    }
    this.send('response.output_item.done', { output_index: this.items.length - 1, item: itemOf(item) })
  }

  /** The whole response; as events, what is left of it. */
  end(answer: ChatAnswer): object {
    this.begin()
    if (!this.stream) this.collect(answer)
    const { generation } = answer
    const isWhole = finishReason(generation) === 'stop'
    this.close(isWhole ? 'completed' : 'incomplete')
    const { promptTokens, cachedTokens, tokens } = generation
    const usage = {
      input_tokens: promptTokens,
      input_tokens_details: { cached_tokens: cachedTokens },
      output_tokens: tokens.length,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: promptTokens + tokens.length,
    }
    const whole = this.response(isWhole ? 'completed' : 'incomplete', {
      usage,
      ...(isWhole ? {} : { incomplete_details: { reason: 'max_output_tokens' } }),
    })
    this.send(isWhole ? 'response.completed' : 'response.incomplete', { response: whole })
    return whole
  }

  private collect(answer: ChatAnswer): void {
    const { content, reasoning } = answer
    const calls = callsToTell(answer)
    if (reasoning !== '') this.one({ type: 'reasoning', text: reasoning })
    if (content !== '' || calls.length === 0) this.one({ type: 'content', text: content })
    for (const [index, { id, name, arguments: given }] of calls.entries()) {
      this.one({ type: 'call', index, id, name })
      this.one({ type: 'arguments', index, text: given })
    }
  }
}

const partOf = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] })

function itemOf({ type, id, callId, name, text, status }: Item, isNew = false): object {
  if (type === 'function_call') return { type, id, call_id: callId, name, arguments: text, status }
  if (type === 'reasoning')
    return { type, id, summary: [], content: isNew ? [] : [{ type: 'reasoning_text', text }], status }
  return { type, id, role: 'assistant', status, content: isNew ? [] : [partOf(text)] }
}
