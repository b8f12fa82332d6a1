/**
 * POST /v1/responses: a chat in OpenAI's newer shape, whole or as events. Nothing is kept between two requests: what was said
 * before comes with each of them.
 */
import { randomUUID } from 'node:crypto'
import type { ChatMessage } from '../../text/template/messages.ts'
import type { ChatAsked } from '../chat-asked.ts'
import { runChat } from '../chat-run.ts'
import { apiErrors } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import {
  boolean,
  fields,
  ignored,
  list,
  object,
  oneOf,
  only,
  type Read,
  type Reader,
  readFields,
  required,
  text,
  unsupported,
} from '../readers.ts'
import {
  logitBias,
  maxTokens,
  minP,
  penalty,
  samplingOf,
  seed,
  stop,
  temperature,
  tokenLimit,
  topK,
  topP,
} from '../sampling.ts'
import type { Services } from '../services.ts'
import { EventStream } from '../streams.ts'
import { ignoredFields, responseFormat, toolChoice, tools } from './fields.ts'
import { ResponseTelling } from './response-telling.ts'

const part = fields({ type: oneOf('input_text', 'output_text', 'text'), text, annotations: ignored, logprobs: ignored })

const content: Reader<string> = (value, path) => {
  if (typeof value === 'string') return value
  return list(part)(value, path)
    .map((each) => each.text ?? '')
    .join('\n')
}

const itemFields = {
  type: oneOf('message', 'function_call', 'function_call_output', 'reasoning'),
  id: ignored,
  status: ignored,
  role: oneOf('system', 'developer', 'user', 'assistant'),
  content: ((value) => value) satisfies Reader<unknown>,
  call_id: text,
  name: text,
  arguments: text,
  output: content,
  summary: ignored,
  encrypted_content: ignored,
}

/** What was said, an item for each message, call and result. */
const input: Reader<ChatMessage[]> = (value, path) => {
  if (typeof value === 'string') return [{ role: 'user', content: value }]
  return list(fields(itemFields), { min: 1 })(value, path).flatMap((item, i): ChatMessage[] => {
    const place = `${path}[${i}]`
    // What was thought is not thought again.
    if (item.type === 'reasoning') return []
    if (item.type === 'function_call' || item.type === 'function_call_output') return callMessage(item, place)
    const role = required(item.role, `${place}.role`)
    const said = content(required(item.content, `${place}.content`), `${place}.content`)
    return [{ role: role === 'developer' ? 'system' : role, content: said }]
  })
}

function callMessage({ type }: Read<typeof itemFields>, place: string): ChatMessage[] {
  throw apiErrors.unsupported(place, `a ${type} needs tools, and this version has none`)
}

const table = {
  model: text,
  input,
  instructions: text,
  stream: boolean,
  stream_options: ignored,
  max_output_tokens: maxTokens,
  max_tool_calls: ignored,
  temperature,
  top_p: topP,
  top_k: topK,
  min_p: minP,
  presence_penalty: penalty,
  frequency_penalty: penalty,
  logit_bias: logitBias,
  seed,
  stop,
  tools,
  tool_choice: toolChoice,
  parallel_tool_calls: boolean,
  reasoning: fields({ effort: text, summary: ignored, generate_summary: ignored }),
  text: fields({ format: responseFormat, verbosity: only('medium', 'other lengths are not') }),
  chat_template_kwargs: object,
  truncation: only('disabled', 'nothing is cut in silence'),
  background: only(false, 'nothing is kept'),
  previous_response_id: unsupported('nothing is kept: send what was said before'),
  conversation: unsupported('nothing is kept: send what was said before'),
  prompt: unsupported('nothing is kept: send the prompt itself'),
  include: ignored,
  ...ignoredFields,
}

function chatOf(asked: Read<typeof table>): ChatAsked {
  const { instructions } = asked
  const said = required(asked.input, 'input')
  return {
    messages: instructions === undefined ? said : [{ role: 'system', content: instructions }, ...said],
    tools: asked.tools ?? [],
    toolChoice: asked.tool_choice,
    parallelToolCalls: asked.parallel_tool_calls,
    reasoningEffort: asked.reasoning?.effort,
    variables: asked.chat_template_kwargs,
    format: asked.text?.format,
  }
}

export async function responses(exchange: Exchange, services: Services, body: Record<string, unknown>): Promise<void> {
  const asked = readFields(table, body)
  const said = chatOf(asked)
  const stream = asked.stream ? new EventStream(exchange) : undefined
  const lease = await services.pool.enter(asked.model, 1, exchange.signal)
  try {
    const told = new ResponseTelling(`resp_${randomUUID().replaceAll('-', '')}`, lease.model.name, stream)
    const options = { ...samplingOf({ ...none, ...asked }), ...tokenLimit(asked.max_output_tokens) }
    const [answer] = await runChat(services, exchange, lease.model, {
      ...said,
      options,
      ...(stream ? { onEvents: (_: number, events) => told.add(events) } : {}),
    })
    const whole = told.end(required(answer, 'answer'))
    if (stream) stream.end()
    else exchange.json(whole)
  } finally {
    lease.release()
  }
}

const none = {
  ignore_eos: undefined,
  repeat_penalty: undefined,
  repetition_penalty: undefined,
  repeat_last_n: undefined,
}
