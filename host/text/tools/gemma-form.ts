/**
 * Calls of FunctionGemma, <start_function_call>call:f{a:<escape>x<escape>,b:1}<end_function_call>, and of Gemma 4,
 * <|tool_call>call:f{a:<|"|>x<|"|>,b:1}<tool_call|>: from their chat templates. JSON is read too.
 */
import { type CallForm, type CallSink, copyJson, takeBehindBlanks } from './calls.ts'
import type { Reader, Reading } from './reader.ts'
import { jsonOfText } from './tagged-call.ts'

const MAX_TEXT = 1 << 20
const MAX_DEPTH = 32

export const functionGemma = gemmaForm('functiongemma', '<start_function_call>', '<end_function_call>', '<escape>')
export const gemma4 = gemmaForm('gemma4', '<|tool_call>', '<tool_call|>', '<|"|>')

function gemmaForm(name: string, opener: string, end: string, quote: string): CallForm {
  return {
    name,
    openers: [opener],
    marks: [end, quote],
    open: '',
    call: (tool) => `${opener}call:${tool}`,
    close: end,
    next: '',
    end: '',
    *read(reader, sink) {
      yield* reader.skipBlanks()
      if (!(yield* reader.take('call:'))) return false
      const tool = yield* reader.word(/[\w.-]/, 64)
      yield* reader.skipBlanks()
      if ((yield* reader.peek()) !== '{' || !sink.knows(tool)) return false
      sink.begin(tool, undefined)
      if (yield* readFields(reader, sink, quote)) yield* takeBehindBlanks(reader, end)
      else sink.breakOff()
      return true
    },
  }
}

/** The arguments, one after the other. */
function* readFields(reader: Reader, sink: CallSink, quote: string): Reading<boolean> {
  let separator = ''
  const told = yield* readObject(reader, quote, 0, (entry) => {
    sink.arguments((separator || '{') + entry)
    separator = ', '
  })
  if (told) sink.arguments(separator === '' ? '{}' : '}')
  return told
}

/** Behind nothing but `{`: tells each entry as JSON. */
function* readObject(reader: Reader, quote: string, depth: number, tell: (entry: string) => void): Reading<boolean> {
  if (depth > MAX_DEPTH) return false
  reader.at++
  for (let isFirst = true; ; isFirst = false) {
    yield* reader.skipBlanks()
    if (yield* reader.take('}')) return true
    if (!isFirst && !(yield* reader.take(','))) return false
    yield* reader.skipBlanks()
    const key = yield* readKey(reader, quote)
    yield* reader.skipBlanks()
    const value = key !== undefined && (yield* reader.take(':')) ? yield* readValue(reader, quote, depth) : undefined
    if (value === undefined) return false
    tell(`${JSON.stringify(key)}: ${value}`)
  }
}

function* readKey(reader: Reader, quote: string): Reading<string | undefined> {
  if (yield* reader.take(quote)) return yield* reader.until(quote, 256)
  if ((yield* reader.peek()) === '"') {
    const key = yield* readJson(reader)
    return key && JSON.parse(key)
  }
  return (yield* reader.word(/[^:,{}[\]\s]/, 256)) || undefined
}

function* readValue(reader: Reader, quote: string, depth: number): Reading<string | undefined> {
  yield* reader.skipBlanks()
  if (yield* reader.take(quote)) {
    const text = yield* reader.until(quote, MAX_TEXT)
    return text === undefined ? undefined : JSON.stringify(text)
  }
  const first = yield* reader.peek()
  if (first === '"') return yield* readJson(reader)
  if (first === '[') return yield* readItems(reader, quote, depth + 1)
  if (first === '{') {
    const entries: string[] = []
    const isWhole = yield* readObject(reader, quote, depth + 1, (entry) => entries.push(entry))
    return isWhole ? `{${entries.join(', ')}}` : undefined
  }
  // Numbers and truth; a text may have lost its quotes.
  const word = (yield* reader.word(/[^,{}[\]]/, 1000)).trim()
  return word === '' ? undefined : jsonOfText(word, undefined)
}

function* readItems(reader: Reader, quote: string, depth: number): Reading<string | undefined> {
  if (depth > MAX_DEPTH) return undefined
  reader.at++
  const items: string[] = []
  for (;;) {
    yield* reader.skipBlanks()
    if (yield* reader.take(']')) return `[${items.join(', ')}]`
    if (items.length > 0 && !(yield* reader.take(','))) return undefined
    const item = yield* readValue(reader, quote, depth)
    if (item === undefined) return undefined
    items.push(item)
  }
}

function* readJson(reader: Reader): Reading<string | undefined> {
  let text = ''
  const isWhole = yield* copyJson(reader, (part) => {
    text += part
    return text.length <= MAX_TEXT
  })
  return isWhole ? text : undefined
}
