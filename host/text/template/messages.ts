/** Messages of a chat, in the shape of OpenAI's API, and the check of what is given as such. */
import { checking, checkNames, errors, Words } from '../../errors.ts'

export const roles = ['system', 'developer', 'user', 'assistant', 'tool'] as const

export interface ChatMessage {
  role: (typeof roles)[number]
  content: string
  /** Who says it; of a result, the tool. Few templates show it. */
  name?: string
  /** Of an answer: what the model thought before it. Templates leave it out where it is no use any more. */
  reasoning_content?: string
  /** Of an answer: the tools that it calls. */
  tool_calls?: ToolCall[]
  /** Of a tool's result: the call that it belongs to. */
  tool_call_id?: string
}

export interface ToolCall {
  id: string
  type: 'function'
  /** `arguments`: JSON of an object. */
  function: { name: string; arguments: string }
}

/** What OpenAI's clients send back with an answer, and has nothing in it. */
const EMPTY = ['refusal', 'audio', 'function_call', 'annotations']
const NAMES = ['role', 'content', 'name', 'reasoning_content', 'tool_calls', 'tool_call_id', ...EMPTY]

/** Of names and ids: what templates put between quotes as it is. */
const PLAIN = /^[\w.:/-]{1,128}$/

/**
 * Messages with each content as one text, each call with an id, and each result with the id and the name of its call.
 * Throws BAD_OPTION for what are none.
 */
export function checkMessages(messages: unknown): readonly ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0)
    throw errors.badOption('messages', 'a list of at least one', messages)
  const checked = messages.map((message, i) => checking(`messages[${i}]`, () => checkMessage(message)))
  nameCalls(checked)
  return checked
}

function checkMessage(given: unknown): ChatMessage {
  checkNames('a message', given as object, NAMES)
  const message = given as Record<string, unknown>
  const role = message.role as ChatMessage['role']
  if (!roles.includes(role)) throw errors.badOption('the role of a message', `one of ${roles.join(', ')}`, role)
  for (const name of EMPTY) {
    const value = message[name]
    if (value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0))
      throw errors.badOption(`"${name}" of a message`, 'absent', value)
  }
  const calls = checkCalls(message.tool_calls, role)
  const checked: ChatMessage = { role, content: checkContent(message.content, calls.length > 0) }
  const texts = { name: role, reasoning_content: 'assistant', tool_call_id: 'tool' }
  for (const [name, of] of Object.entries(texts)) {
    const value = message[name]
    if (value === undefined || value === null) continue
    if (typeof value !== 'string') throw errors.badOption(`"${name}" of a message`, 'a text', value)
    if (role !== of) throw errors.badOption(`"${name}" of a message`, `in one of role "${of}" only`, role)
    checked[name as 'name'] = name === 'reasoning_content' ? value : checkPlain(`"${name}" of a message`, value)
  }
  if (calls.length > 0) checked.tool_calls = calls
  return checked
}

function checkPlain(what: string, value: unknown): string {
  if (typeof value !== 'string' || !PLAIN.test(value))
    throw errors.badOption(what, '1 to 128 letters, digits or _.:/-', value)
  return value
}

/** A text, or a list of texts as parts. */
function checkContent(content: unknown, hasCalls: boolean): string {
  if (typeof content === 'string') return content
  if (hasCalls && (content === undefined || content === null)) return ''
  if (!Array.isArray(content)) throw errors.badOption('the content of a message', 'a text', content)
  return content.map(checkPart).join('\n')
}

function checkPart(given: unknown): string {
  const part = (given ?? {}) as Record<string, unknown>
  if (part.type !== 'text')
    throw errors.badOption(
      'a part of the content of a message',
      'of type "text", because models read no pictures, sounds or files here',
      part.type,
    )
  checkNames('a part of the content', part, ['type', 'text'])
  if (typeof part.text !== 'string') throw errors.badOption('the text of a part', 'a text', part.text)
  return part.text
}

function checkCalls(given: unknown, role: string): ToolCall[] {
  if (given === undefined || given === null) return []
  if (!Array.isArray(given)) throw errors.badOption('"tool_calls" of a message', 'a list', given)
  if (role !== 'assistant' && given.length > 0)
    throw errors.badOption('"tool_calls" of a message', 'in one of role "assistant" only', role)
  return given.map((call) => {
    checkNames('a tool call', call, ['id', 'type', 'function', 'index'])
    if (call.type !== undefined && call.type !== 'function')
      throw errors.badOption('the type of a tool call', '"function"', call.type)
    checkNames('the function of a tool call', call.function, ['name', 'arguments', 'index'])
    const name = checkPlain('the name of a called tool', call.function.name)
    const id = call.id === undefined ? '' : checkPlain('the id of a tool call', call.id)
    return { id, type: 'function', function: { name, arguments: checkArguments(name, call.function.arguments) } }
  })
}

/** JSON of an object, or an object; '' is none. */
function checkArguments(name: string, given: unknown): string {
  const refuse = () => errors.badOption(`the arguments of the call of "${name}"`, 'JSON of an object', given)
  if (given === '' || given === undefined) return '{}'
  let value = given
  if (typeof given === 'string')
    try {
      value = JSON.parse(given)
    } catch {
      throw refuse()
    }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse()
  return typeof given === 'string' ? given : JSON.stringify(given)
}

/** Gives ids to calls that have none, and to results that name no call the next one without a result. */
function nameCalls(messages: ChatMessage[]): void {
  let open: ToolCall[] = []
  let count = 0
  for (const message of messages) {
    if (message.tool_calls) {
      for (const call of message.tool_calls) call.id ||= `call${String(count++).padStart(5, '0')}`
      open = [...message.tool_calls]
    }
    if (message.role !== 'tool') continue
    const at = message.tool_call_id === undefined ? 0 : open.findIndex(({ id }) => id === message.tool_call_id)
    const call = open[at]
    if (!call)
      throw errors.badOption(
        'the message of a tool',
        'behind the call that it answers',
        message.tool_call_id ?? new Words('none that has no result yet'),
      )
    open.splice(at, 1)
    message.tool_call_id = call.id
    message.name ??= call.function.name
  }
}
