/**
 * Calls as Python: LFM2 writes <|tool_call_start|>[f(a=1, b='x'), g()]<|tool_call_end|>, from its chat templates. Strings are
 * put between quotes as they are there, without escapes, so a quote ends one only where something else could follow.
 */
import { type CallForm, type CallSink, readCallList, readMore, takeBehindBlanks } from './calls.ts'
import type { Reader, Reading } from './reader.ts'

const MAX_TEXT = 1 << 20
const MAX_DEPTH = 32

export const lfm2: CallForm = {
  name: 'lfm2',
  openers: ['<|tool_call_start|>'],
  marks: ['<|tool_call_end|>'],
  // JSON, which the models are trained to write where they are told to; arguments of it can be held to a schema.
  open: '<|tool_call_start|>[',
  call: (name) => `{"name": "${name}", "arguments": `,
  close: '}',
  next: ', ',
  end: ']<|tool_call_end|>',
  *read(reader, sink) {
    yield* reader.skipBlanks()
    const start = reader.at
    const isList = yield* reader.take('[')
    yield* reader.skipBlanks()
    if ((yield* reader.peek()) === '{') {
      reader.at = start
      if (!(yield* readCallList(reader, sink))) return false
    } else {
      if (!(yield* readPythonCall(reader, sink))) return false
      yield* readMore(reader, [','], isList ? ']' : '', (at) => readPythonCall(at, sink))
    }
    yield* takeBehindBlanks(reader, '<|tool_call_end|>')
    return true
  },
}

/** f(a=1, b='x'). False: it is no call, and nothing was told of it. */
export function* readPythonCall(reader: Reader, sink: CallSink): Reading<boolean> {
  yield* reader.skipBlanks()
  const word = yield* reader.word(/[\w.-]/, 80)
  // Of the tools that Llama 3 knows by itself.
  const name = sink.knows(word) ? word : word.replace(/\.call$/, '')
  if (!(yield* reader.take('(')) || !sink.knows(name)) return false
  sink.begin(name, undefined)
  let separator = '{'
  for (;;) {
    yield* reader.skipBlanks()
    if (yield* reader.take(')')) break
    if (separator !== '{' && !(yield* reader.take(','))) return breakOff(sink)
    yield* reader.skipBlanks()
    const key = yield* reader.word(/[\w-]/, 256)
    yield* reader.skipBlanks()
    const value = key !== '' && (yield* reader.take('=')) ? yield* readValue(reader, 0) : undefined
    if (value === undefined) return breakOff(sink)
    sink.arguments(`${separator}${JSON.stringify(key)}: ${value}`)
    separator = ', '
  }
  sink.arguments(separator === '{' ? '{}' : '}')
  return true
}

function breakOff(sink: CallSink): true {
  sink.breakOff()
  return true
}

const WORDS: Record<string, string> = {
  True: 'true',
  False: 'false',
  None: 'null',
  true: 'true',
  false: 'false',
  null: 'null',
}

/** JSON of a literal; undefined where there is none. */
function* readValue(reader: Reader, depth: number): Reading<string | undefined> {
  if (depth > MAX_DEPTH) return undefined
  yield* reader.skipBlanks()
  const first = yield* reader.peek()
  if (first === "'" || first === '"') return yield* readText(reader)
  if (first === '[' || first === '(') return yield* readItems(reader, first === '[' ? ']' : ')', depth)
  if (first === '{') return yield* readDict(reader, depth)
  const word = yield* reader.word(/[\w.+-]/, 400)
  if (Object.hasOwn(WORDS, word)) return WORDS[word]
  return /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(word) ? word : undefined
}

function* readItems(reader: Reader, end: string, depth: number): Reading<string | undefined> {
  reader.at++
  const items: string[] = []
  for (;;) {
    yield* reader.skipBlanks()
    if (yield* reader.take(end)) return `[${items.join(', ')}]`
    if (items.length > 0) {
      if (!(yield* reader.take(','))) return undefined
      yield* reader.skipBlanks()
      if (yield* reader.take(end)) return `[${items.join(', ')}]`
    }
    const item = yield* readValue(reader, depth + 1)
    if (item === undefined) return undefined
    items.push(item)
  }
}

function* readDict(reader: Reader, depth: number): Reading<string | undefined> {
  reader.at++
  const entries: string[] = []
  for (;;) {
    yield* reader.skipBlanks()
    if (yield* reader.take('}')) return `{${entries.join(', ')}}`
    if (entries.length > 0 && !(yield* reader.take(','))) return undefined
    yield* reader.skipBlanks()
    const first = yield* reader.peek()
    const key = first === "'" || first === '"' ? yield* readText(reader) : undefined
    yield* reader.skipBlanks()
    const value = key !== undefined && (yield* reader.take(':')) ? yield* readValue(reader, depth + 1) : undefined
    if (value === undefined) return undefined
    entries.push(`${key}: ${value}`)
  }
}

const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', '\\': '\\', "'": "'", '"': '"' }

/** JSON of a string; \u and \x escapes count, and a backslash before anything else is one. */
function* readText(reader: Reader): Reading<string | undefined> {
  const quote = yield* reader.next()
  let text = ''
  for (;;) {
    const character = yield* reader.next()
    if (character === '' || text.length > MAX_TEXT) return undefined
    if (character === quote && (yield* endsText(reader))) return JSON.stringify(text)
    if (character === '\\') text += yield* readEscape(reader)
    else text += character
  }
}

/** Behind a quote: does what follows stand behind a string? */
function* endsText(reader: Reader): Reading<boolean> {
  for (let at = 1; ; at++) {
    if (!(yield* reader.has(at))) return true
    const character = reader.text[reader.at + at - 1] as string
    if (!/\s/.test(character)) return ',)]}:'.includes(character)
  }
}

function* readEscape(reader: Reader): Reading<string> {
  const letter = yield* reader.peek()
  const digits = { x: 2, u: 4, U: 8 }[letter]
  if (digits !== undefined && (yield* reader.has(digits + 1))) {
    const hex = reader.text.slice(reader.at + 1, reader.at + 1 + digits)
    if (/^[0-9a-fA-F]+$/.test(hex) && Number.parseInt(hex, 16) <= 0x10ffff) {
      reader.at += digits + 1
      return String.fromCodePoint(Number.parseInt(hex, 16))
    }
  }
  const plain = ESCAPES[letter]
  if (plain === undefined) return '\\'
  reader.at++
  return plain
}
