/** Parameters of chats as OpenAI's clients send them. */
import { show } from '../../../models/index.ts'
import type { Grammar } from '../../text/structured/rule.ts'
import type { ChatMessage, ToolCall } from '../../text/template/messages.ts'
import { type Format, grammarFor, type Tool, type ToolChoice } from '../chat-asked.ts'
import { apiErrors } from '../errors.ts'
import {
  boolean,
  fields,
  ignored,
  list,
  object,
  oneOf,
  type Read,
  type Reader,
  readFields,
  required,
  shown,
  text,
  unsupported,
} from '../readers.ts'

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
export const content = contentOf('text')

/** Parts of some types, all of which are texts. */
export function contentOf(...types: string[]): Reader<string> {
  const part = fields({ type: oneOf(...types), text, annotations: ignored, logprobs: ignored })
  const checked: Reader<string> = (value, path) => {
    const { type } = object(value, path)
    if (typeof type === 'string' && !types.includes(type))
      throw apiErrors.onlyValue(
        `${path}.type`,
        types.map((one) => `"${one}"`).join(' or '),
        show(type),
        'models here read texts',
      )
    const read = part(value, path)
    required(read.type, `${path}.type`)
    return required(read.text, `${path}.text`)
  }
  const parts = list(checked, { what: 'a text or a list of parts' })
  return (value, path) => (typeof value === 'string' ? value : parts(value, path).join('\n'))
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
  name: text,
  refusal: ignored,
  audio: unsupported('answers are texts'),
  annotations: ignored,
  function_call: unsupported('it has become tool_calls'),
  reasoning_content: text,
  reasoning: text,
  tool_calls: list(called),
  tool_call_id: text,
})

/** What was said, in the library's shape. */
export const messages: Reader<ChatMessage[]> = (value, path) =>
  list(message, { min: 1 })(value, path).map((each, i) => {
    const place = `${path}[${i}]`
    const { name, tool_call_id: answered, tool_calls: calls, reasoning_content: thought = each.reasoning } = each
    const role = required(each.role, `${place}.role`)
    return {
      role,
      content: role === 'assistant' ? (each.content ?? '') : required(each.content, `${place}.content`),
      ...(name === undefined ? {} : { name }),
      ...(answered === undefined ? {} : { tool_call_id: answered }),
      ...(thought ? { reasoning_content: thought } : {}),
      ...(calls && calls.length > 0
        ? { tool_calls: calls.map((call, k) => toolCall(call, `${place}.tool_calls[${k}]`)) }
        : {}),
    }
  })

function toolCall({ id, function: inside }: ReturnType<typeof called>, place: string): ToolCall {
  const name = required(inside?.name, `${place}.function.name`)
  return { id: required(id, `${place}.id`), type: 'function', function: { name, arguments: inside?.arguments ?? '{}' } }
}

const definition = { name: text, description: text, parameters: object, strict: boolean }

/** Chat's tools have their function inside, those of /v1/responses beside their type. */
const toolIn =
  (inner: string): Reader<Tool> =>
  (value, path) => {
    const {
      type,
      function: inside,
      ...flat
    } = readFields({ type: text, function: fields(definition), ...definition }, value, path)
    if (type !== 'function')
      throw apiErrors.onlyValue(`${path}.type`, '"function"', show(type), 'tools are functions of the client')
    const { name, description, parameters } = inside ?? flat
    return {
      type: 'function',
      function: {
        name: required(name, `${path}${inside ? '.function' : inner}.name`),
        ...(description === undefined ? {} : { description }),
        ...(parameters === undefined ? {} : { parameters }),
      },
    }
  }

export const tools = list(toolIn('.function'), { max: MAX_TOOLS })
export const flatTools = list(toolIn(''), { max: MAX_TOOLS })

const choices = oneOf('none', 'auto', 'required')

const choiceIn =
  (inner: string): Reader<ToolChoice> =>
  (value, path) => {
    if (typeof value === 'string') return choices(value, path)
    if (typeof value !== 'object')
      throw apiErrors.badValue(path, 'none, auto, required, or {"type": "function"} with a name', shown(value))
    const { function: inside, name } = readFields(
      { type: oneOf('function'), function: fields({ name: text }), name: text },
      value,
      path,
    )
    const place = `${path}${inside ? '.function' : inner}.name`
    return { type: 'function', function: { name: required(inside?.name ?? name, place) } }
  }

export const toolChoice = choiceIn('.function')
export const flatToolChoice = choiceIn('')

const formatFields = {
  type: oneOf('text', 'json_object', 'json_schema', 'regex'),
  json_schema: fields({ name: ignored, description: ignored, schema: object, strict: ignored }),
  // llama-server's way, and that of /v1/responses.
  schema: object,
  name: ignored,
  description: ignored,
  strict: ignored,
  pattern: text,
}

/** Schemas are always enforced: "strict" says nothing more. */
const formatIn =
  (inner: string): Reader<Format> =>
  (value, path) => {
    const { type, json_schema: inside, schema = inside?.schema, pattern } = readFields(formatFields, value, path)
    if (required(type, `${path}.type`) === 'text') return { type: 'text' }
    if (type === 'regex') return { type: 'pattern', pattern: required(pattern, `${path}.pattern`) }
    if (schema) return { type: 'schema', schema }
    if (type === 'json_object') return { type: 'json' }
    throw apiErrors.missing(`${path}${inside ? '.json_schema' : inner}.schema`)
  }

export const responseFormat = formatIn('.json_schema')
export const flatFormat = formatIn('')

/** What other servers call the same, and what is not there. */
export const formatFieldsOfOthers = {
  json_schema: ((value, path) => ({ type: 'schema', schema: object(value, path) })) satisfies Reader<Format>,
  guided_json: ((value, path) => ({ type: 'schema', schema: object(value, path) })) satisfies Reader<Format>,
  guided_regex: ((value, path) => ({ type: 'pattern', pattern: text(value, path) })) satisfies Reader<Format>,
  grammar: unsupported('use response_format with a schema or a regular expression'),
  guided_grammar: unsupported('use response_format with a schema or a regular expression'),
}

/** The format that a request names in one way or another. Throws 400 for two of them. */
export function formatOf(
  given: Read<typeof formatFieldsOfOthers> & { response_format?: Format | undefined },
): Grammar | undefined {
  const names = ['response_format', 'json_schema', 'guided_json', 'guided_regex'] as const
  const [name, second] = names.filter((one) => given[one] !== undefined)
  if (second !== undefined) throw apiErrors.unsupported(second, `${name} is given too`)
  return name === undefined ? undefined : grammarFor(given[name], name)
}
