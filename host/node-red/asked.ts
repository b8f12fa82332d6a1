/** What a message asks, with what the node says where the message says nothing. */
import type { Asked } from './answer.ts'
import { errors } from './errors.ts'
import { numberOf, textOf } from './model-node.ts'
import type { Message } from './red.ts'

/** As the editor saves it. */
export interface ChatConfig {
  model: string
  mode?: 'chat' | 'text'
  system?: string
  maxTokens?: string | number
  temperature?: string | number
  seed?: string | number
  stop?: string
  /** JSON. */
  schema?: string
  stream?: boolean
  timeout?: string | number
}

/** Throws invalid_value. What the model has to say about values, it says itself. */
export function askedOf(config: ChatConfig, message: Message): Asked {
  const stop = message.stop ?? textOf(config.stop)
  return {
    input: config.mode === 'text' ? { prompt: promptOf(message) } : { messages: messagesOf(config, message) },
    model: message.model === undefined ? undefined : String(message.model),
    maxTokens: numberOf('msg.max_tokens', message.max_tokens ?? config.maxTokens),
    temperature: numberOf('msg.temperature', message.temperature ?? config.temperature),
    seed: numberOf('msg.seed', message.seed ?? config.seed),
    stop: stop === undefined ? undefined : ([stop].flat() as string[]),
    schema: schemaOf(message.schema ?? textOf(config.schema)),
    tools: message.tools,
    toolChoice: message.tool_choice,
  }
}

const kindOf = (value: unknown) => (value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`)

function promptOf({ payload }: Message): string {
  if (typeof payload === 'string') return payload
  throw errors.badValue('msg.payload', 'the text that goes on', kindOf(payload))
}

/** msg.messages is the whole talk; else the payload is, or is what the user says. */
function messagesOf(config: ChatConfig, { messages, payload, system }: Message): unknown[] {
  const said = messages ?? payload
  if (typeof said !== 'string' && !Array.isArray(said))
    throw errors.badValue(
      messages === undefined ? 'msg.payload' : 'msg.messages',
      'a text, or a list of messages with role and content',
      kindOf(said),
    )
  const talk = typeof said === 'string' ? [{ role: 'user', content: said }] : said
  const content = system ?? textOf(config.system)
  const hasOwn = ['system', 'developer'].includes(talk[0]?.role)
  return content === undefined || (hasOwn && system === undefined) ? talk : [{ role: 'system', content }, ...talk]
}

function schemaOf(schema: unknown): object | undefined {
  const read = typeof schema === 'string' ? parse(schema) : schema
  if (read === undefined || (typeof read === 'object' && read !== null && !Array.isArray(read))) return read
  throw errors.badValue('msg.schema', 'a JSON Schema', kindOf(read))
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw errors.badValue('msg.schema', 'a JSON Schema, or its JSON', `that ${(cause as Error).message}`)
  }
}
