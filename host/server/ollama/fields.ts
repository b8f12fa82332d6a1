/** Parameters as Ollama's clients send them. */
import type { GenerateOptions } from '../../runtime/api.ts'
import type { ChatMessage, ToolCall } from '../../text/template/messages.ts'
import type { Format, Tool } from '../chat-asked.ts'
import { apiErrors } from '../errors.ts'
import { tools as openaiTools } from '../openai/fields.ts'
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
  required,
  shown,
  text,
  unsupported,
} from '../readers.ts'
import {
  given,
  maxTokens,
  minP,
  penalty,
  repeatLastN,
  repeatPenalty,
  seed,
  stop,
  temperature,
  tokenLimit,
  topK,
  topP,
} from '../sampling.ts'

/** "options" of a request. The context is that of the server: what does not fit is refused, never cut. */
export const optionFields = {
  temperature,
  top_k: topK,
  top_p: topP,
  min_p: minP,
  repeat_penalty: repeatPenalty,
  repeat_last_n: repeatLastN,
  presence_penalty: penalty,
  frequency_penalty: penalty,
  seed,
  stop,
  // -2 fills the context.
  num_predict: ((value, path) => (value === -2 ? -1 : maxTokens(value, path))) satisfies Reader<number>,
  mirostat: only(0, 'there is no other way to sample here'),
  mirostat_eta: ignored,
  mirostat_tau: ignored,
  tfs_z: only(1, 'there is no other way to sample here'),
  typical_p: only(1, 'there is no other way to sample here'),
  penalize_newline: ignored,
  num_ctx: ignored,
  num_keep: ignored,
  num_batch: ignored,
  num_gpu: ignored,
  main_gpu: ignored,
  num_thread: ignored,
  low_vram: ignored,
  vocab_only: ignored,
  use_mmap: ignored,
  use_mlock: ignored,
  numa: ignored,
}

export const options = fields(optionFields)

export function generateOptions(read: Read<typeof optionFields> | undefined): GenerateOptions {
  if (!read) return {}
  return {
    ...given({
      temperature: read.temperature,
      topK: read.top_k,
      topP: read.top_p,
      minP: read.min_p,
      repeatPenalty: read.repeat_penalty,
      repeatLastN: read.repeat_last_n,
      presencePenalty: read.presence_penalty || undefined,
      frequencyPenalty: read.frequency_penalty || undefined,
      seed: read.seed,
      stop: read.stop,
    }),
    ...tokenLimit(read.num_predict),
  }
}

const called = fields({ id: text, type: ignored, function: fields({ index: ignored, name: text, arguments: object }) })

const message = fields({
  role: oneOf('system', 'user', 'assistant', 'tool'),
  content: text,
  thinking: text,
  images: list(unsupported('models here read texts')),
  tool_calls: list(called),
  tool_name: text,
  name: text,
  tool_call_id: text,
})

/** What was said, in the library's shape. Calls and results that have no ids belong together in their order. */
export const messages: Reader<ChatMessage[]> = (value, path) => {
  let calls = 0
  let answered = 0
  return list(message)(value, path).map((each, i) => {
    const place = `${path}[${i}]`
    const role = required(each.role, `${place}.role`)
    const name = each.tool_name ?? each.name
    return {
      role,
      content: each.content ?? '',
      ...(name === undefined ? {} : { name }),
      ...(each.thinking ? { reasoning_content: each.thinking } : {}),
      ...(role === 'tool' ? { tool_call_id: each.tool_call_id ?? `call_${answered++}` } : {}),
      ...(each.tool_calls && each.tool_calls.length > 0
        ? {
            tool_calls: each.tool_calls.map((call, k) =>
              toolCall(call, `call_${calls++}`, `${place}.tool_calls[${k}]`),
            ),
          }
        : {}),
    }
  })
}

function toolCall({ id, function: inside }: ReturnType<typeof called>, fallback: string, place: string): ToolCall {
  const name = required(inside?.name, `${place}.function.name`)
  const given = JSON.stringify(inside?.arguments ?? {})
  return { id: id ?? fallback, type: 'function', function: { name, arguments: given } }
}

/** "json", or a JSON schema; an empty text is nothing, as Ollama's own clients send it. */
export const format: Reader<Format> = (value, path) => {
  if (value === '') return { type: 'text' }
  if (value === 'json') return { type: 'json' }
  if (typeof value === 'string') throw apiErrors.badValue(path, '"json" or a JSON schema', `"${value.slice(0, 50)}"`)
  if (typeof value !== 'object') throw apiErrors.badValue(path, '"json" or a JSON schema', shown(value))
  return { type: 'schema', schema: object(value, path) }
}

export const tools: Reader<Tool[]> = openaiTools

/** true, false, or how much. */
export const think: Reader<string> = (value, path) =>
  typeof value === 'boolean' ? (value ? 'medium' : 'none') : oneOf('none', 'low', 'medium', 'high')(value, path)

/** What requests of both kinds have. */
export const commonFields = { model: text, stream: boolean, options, format, think, keep_alive: ignored }
