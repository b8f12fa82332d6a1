/** Marks control tokens (mark.ts) in everything that somebody else than the template writes: messages, tools, variables. */

import { errors } from '../../errors.ts'
import type { Tokenizer } from '../tokenizer.ts'
import type { CallForm } from '../tools/calls.ts'
import type { PlainMessage } from '../tools/plain-tools.ts'
import { type Context, json } from './json-values.ts'
import { markControls } from './mark.ts'
import type { ChatMessage, ToolCall } from './messages.ts'

/** Deeper values are refused, before anything follows them into the depth. */
const MAX_DEPTH = 100

/** A value of JSON, in which 1.0 and 12345678901234567890 are written again as they were. */
export function readExact(text: string): unknown {
  return json.parse(text, (_key: string, value: unknown, ...more: unknown[]) => {
    const { source } = more[0] as Context
    return typeof value === 'number' && source !== undefined ? json.rawJSON(source) : value
  })
}

/** The same value with other texts, keys of objects too. Throws BAD_OPTION where `what` nests too deep. */
export function mapTexts(what: string, value: unknown, map: (text: string) => string, depth = 0): unknown {
  if (depth > MAX_DEPTH) throw errors.badOption(what, `nested ${MAX_DEPTH} deep at most`, 'more')
  if (typeof value === 'string') return map(value)
  if (typeof value !== 'object' || value === null || json.isRawJSON(value)) return value
  if (Array.isArray(value)) return value.map((item) => mapTexts(what, item, map, depth + 1))
  const entries = Object.entries(value).map(([key, item]) => [map(key), mapTexts(what, item, map, depth + 1)])
  return Object.fromEntries(entries)
}

/** All texts in a value of JSON, keys too. */
export function textsIn(value: unknown): string[] {
  const texts: string[] = []
  mapTexts('what a template is given', value, (text) => {
    texts.push(text)
    return text
  })
  return texts
}

export class Marking {
  private readonly mark: string
  private readonly all: string[]
  private readonly silent: string[]

  constructor(tokenizer: Tokenizer, mark: string) {
    this.mark = mark
    this.all = tokenizer.controlNames(false)
    this.silent = tokenizer.controlNames(true)
  }

  /** A value of JSON with its texts marked. Throws BAD_OPTION where `what` nests too deep. */
  value<T>(what: string, value: T): T {
    return mapTexts(what, value, (text) => markControls(text, this.all, this.mark)) as T
  }

  /** A message as a template sees it: arguments of calls are objects. */
  message({ role, content, ...rest }: ChatMessage, source: string, form: CallForm | undefined): PlainMessage {
    const { tool_calls: calls, reasoning_content: thoughts, tool_call_id: id, name } = rest
    const text = (given: string) => markControls(given, this.all, this.mark)
    const isShort = form?.name.startsWith('mistral') ?? false
    return {
      role: role === 'developer' && !source.includes('developer') ? 'system' : role,
      // What a model says may hold what it writes as text, such as <think>.
      content: role === 'assistant' ? markControls(content, this.silent, this.mark) : text(content),
      ...(name === undefined ? {} : { name: text(name) }),
      ...(id === undefined ? {} : { tool_call_id: text(isShort ? shortId(id) : id) }),
      ...(calls ? { tool_calls: calls.map((call) => this.call(call, isShort)) } : {}),
      // LFM 2.5 calls it otherwise.
      ...(thoughts === undefined ? {} : { reasoning_content: text(thoughts), thinking: text(thoughts) }),
    }
  }

  private call({ id, type, function: { name, arguments: json } }: ToolCall, isShort: boolean) {
    const given = { id: isShort ? shortId(id) : id, type, function: { name, arguments: readExact(json) } }
    return this.value('the arguments of a tool call', given)
  }
}

/** Mistral's templates take ids of nine letters and digits only: others become such, the same ones each time. */
export function shortId(id: string): string {
  if (/^[a-zA-Z0-9]{9}$/.test(id)) return id
  // FNV-1a, 64 bits.
  let hash = 0xcbf29ce484222325n
  for (const byte of new TextEncoder().encode(id)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  return hash.toString(36).padStart(13, '0').slice(-9)
}
