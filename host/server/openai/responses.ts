/**
 * POST /v1/responses: a chat in OpenAI's newer shape, whole or as events. Nothing is kept between two requests: what was said
 * before comes with each of them.
 */
import type { ChatMessage } from '../../text/template/messages.ts'
import { reasoningEfforts } from '../../text/template/thinking.ts'
import type { Call } from '../call.ts'
import { type ChatAsked, grammarFor } from '../chat-asked.ts'
import { runChat } from '../chat-run.ts'
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
import { contentOf, flatFormat, flatToolChoice, flatTools, ignoredFields } from './fields.ts'
import { ResponseTelling } from './response-telling.ts'

const content = contentOf('input_text', 'output_text', 'text')

const itemFields = {
  type: oneOf('message', 'function_call', 'function_call_output', 'reasoning'),
  id: ignored,
  status: ignored,
  role: oneOf('system', 'developer', 'user', 'assistant'),
  content: ((value) => value) satisfies Reader<unknown>,
  phase: ignored,
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
  const said: ChatMessage[] = []
  const items = list(fields(itemFields), { min: 1, what: 'a text or a list of items' })
  for (const [i, item] of items(value, path).entries()) addItem(said, item, `${path}[${i}]`)
  return said
}

function addItem(said: ChatMessage[], item: Read<typeof itemFields>, place: string): void {
  // What was thought is not thought again.
  if (item.type === 'reasoning') return
  if (item.type === 'function_call') {
    addCall(said, item, place)
    return
  }
  if (item.type === 'function_call_output') {
    const id = required(item.call_id, `${place}.call_id`)
    said.push({ role: 'tool', content: required(item.output, `${place}.output`), tool_call_id: id })
    return
  }
  const role = required(item.role, `${place}.role`)
  said.push({ role, content: content(required(item.content, `${place}.content`), `${place}.content`) })
}

/** Calls belong to the words that they came with: one message of the assistant. */
function addCall(said: ChatMessage[], item: Read<typeof itemFields>, place: string): void {
  const last = said.at(-1)
  const message = last?.role === 'assistant' ? last : { role: 'assistant' as const, content: '' }
  if (message !== last) said.push(message)
  const called = { name: required(item.name, `${place}.name`), arguments: item.arguments ?? '{}' }
  const call = { id: required(item.call_id, `${place}.call_id`), type: 'function' as const, function: called }
  message.tool_calls = [...(message.tool_calls ?? []), call]
}

export const responseTable = {
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
  tools: flatTools,
  tool_choice: flatToolChoice,
  parallel_tool_calls: boolean,
  reasoning: fields({ effort: oneOf(...reasoningEfforts), summary: ignored, generate_summary: ignored }),
  text: fields({ format: flatFormat, verbosity: only('medium', 'how long answers are is not to be chosen') }),
  chat_template_kwargs: object,
  truncation: only('disabled', 'nothing is cut in silence'),
  background: only(false, 'nothing is kept'),
  previous_response_id: unsupported('nothing is kept, send what was said before'),
  conversation: unsupported('nothing is kept, send what was said before'),
  prompt: unsupported('nothing is kept, send the prompt itself'),
  include: ignored,
  ...ignoredFields,
}

function chatOf(asked: Read<typeof responseTable>): ChatAsked {
  const { instructions } = asked
  const said = required(asked.input, 'input')
  return {
    messages: instructions === undefined ? said : [{ role: 'system', content: instructions }, ...said],
    tools: asked.tools ?? [],
    toolChoice: asked.tool_choice,
    parallelToolCalls: asked.parallel_tool_calls,
    reasoningEffort: asked.reasoning?.effort,
    variables: asked.chat_template_kwargs,
    response: grammarFor(asked.text?.format, 'text.format'),
  }
}

export async function responses(call: Call, services: Services, body: Record<string, unknown>): Promise<void> {
  call.params = { prompt: 'input', form: 'text.format', reasoningEffort: 'reasoning.effort' }
  const asked = readFields(responseTable, body)
  const said = chatOf(asked)
  const stream = asked.stream ? call.events() : undefined
  const lease = await services.pool.enter(asked.model, 1, call.signal)
  try {
    const told = new ResponseTelling(body, lease.model.name, stream)
    const options = { ...samplingOf({ ...none, ...asked }), ...tokenLimit(asked.max_output_tokens) }
    const [answer] = await runChat(services, call, lease.model, {
      ...said,
      options,
      ...(stream ? { onEvents: (_: number, events) => told.add(events) } : {}),
    })
    const whole = told.end(required(answer, 'answer'))
    if (stream) stream.end()
    else call.json(whole)
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
