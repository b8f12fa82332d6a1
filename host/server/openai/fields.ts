/** Parameters of chats as OpenAI's clients send them. */
import type { ChatMessage } from '../../text/template/messages.ts'
import type { Format, Tool, ToolChoice } from '../chat-asked.ts'
import { apiErrors } from '../errors.ts'
import { boolean, fields, ignored, list, object, oneOf, type Reader, readFields, required, text } from '../readers.ts'

/** What cannot change the answer. */
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

export const streamOptions = fields({ include_usage: boolean, include_obfuscation: ignored })

const MAX_TOOLS = 128

/** A text, or parts of one. */
export const content: Reader<string> = (value, path) => {
  if (typeof value === 'string') return value
  return list(fields({ type: oneOf('text'), text }))(value, path)
    .map((part) => part.text ?? '')
    .join('\n')
}

const called = fields({
  id: text,
  type: oneOf('function'),
  index: ignored,
  function: fields({ name: text, arguments: text }),
})

const message = fields({
  role: oneOf('system', 'developer', 'user', 'assistant', 'tool'),
  content,
  name: ignored,
  refusal: ignored,
  reasoning_content: text,
  reasoning: text,
  tool_calls: list(called),
  tool_call_id: text,
})

/** What was said, in the library's shape. */
export const messages: Reader<ChatMessage[]> = (value, path) =>
  list(message, { min: 1 })(value, path).map((each, i) => {
    const role = required(each.role, `${path}[${i}].role`)
    return { role: role === 'developer' ? 'system' : role, content: each.content ?? '' }
  })

const definition = { name: text, description: text, parameters: object, strict: boolean }

/** Chat's tools have their function inside, those of /v1/responses beside their type. */
export const tool: Reader<Tool> = (value, path) => {
  const {
    type,
    function: inside,
    ...flat
  } = readFields({ type: text, function: fields(definition), ...definition }, value, path)
  if (type !== 'function') throw apiErrors.unsupported(`${path}.type`, 'tools are functions')
  const { name, description, parameters } = inside ?? flat
  const given = required(name, `${path}.function.name`)
  if (!/^[\w.-]{1,64}$/.test(given))
    throw apiErrors.badValue(`${path}.function.name`, '1 to 64 letters, digits, _, . or -', `"${given.slice(0, 70)}"`)
  return { name: given, ...(description === undefined ? {} : { description }), ...(parameters ? { parameters } : {}) }
}

export const tools = list(tool, { max: MAX_TOOLS })

export const toolChoice: Reader<ToolChoice> = (value, path) => {
  if (typeof value === 'string') return oneOf('none', 'auto', 'required')(value, path)
  const { function: inside, name } = readFields(
    { type: oneOf('function'), function: fields({ name: text }), name: text },
    value,
    path,
  )
  return { name: required(inside?.name ?? name, `${path}.function.name`) }
}

const formatFields = {
  type: oneOf('text', 'json_object', 'json_schema'),
  json_schema: fields({ name: ignored, description: ignored, schema: object, strict: ignored }),
  // llama-server's way, and that of /v1/responses.
  schema: object,
  name: ignored,
  description: ignored,
  strict: ignored,
}

export const responseFormat: Reader<Format> = (value, path) => {
  const { type, json_schema: inside, schema = inside?.schema } = readFields(formatFields, value, path)
  if (required(type, `${path}.type`) === 'text') return { type: 'text' }
  if (schema) return { type: 'schema', schema }
  if (type === 'json_object') return { type: 'json' }
  throw apiErrors.missing(`${path}.json_schema.schema`)
}
