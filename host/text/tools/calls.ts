/** What forms of calls have in common: what they tell of a call, and calls written as JSON. */
import { JsonScan } from './json-scan.ts'
import type { Reader, Reading } from './reader.ts'

/** Characters of a call that are held back until its name is known: arguments that stand before it. */
const MAX_HELD = 1 << 20
const MAX_NAME = 64

export interface CallSink {
  /** Is there a tool of this name? */
  knows(name: string): boolean
  /** The JSON Schema of its arguments. */
  schemaOf(name: string): unknown
  /** A call begins; `id` if the model has given it one. */
  begin(name: string, id: string | undefined): void
  /** Its arguments go on: JSON. */
  arguments(text: string): void
  /** The call that has begun does not go on as one: what was not told of it is read again, as text. */
  breakOff(): void
}

/**
 * How a family of models writes calls. What its parts put together is what `read` reads:
 * `open`, for each call `call(name)`, JSON of the arguments and `close`, with `next` between two of them, and `end`.
 */
export interface CallForm {
  readonly name: string
  /** Texts that begin calls; most are control tokens. */
  readonly openers: readonly string[]
  /** Does a `{` at the beginning of an answer begin a call, too? */
  readonly isBare?: boolean
  /** Other control tokens that it is written with. */
  readonly marks: readonly string[]
  readonly open: string
  call(name: string): string
  readonly close: string
  readonly next: string
  readonly end: string
  /** Reads what stands behind an opener. False: it is no call, and nothing was told of it. */
  read(reader: Reader, sink: CallSink): Reading<boolean>
}

/** A call as a message holds it. */
export interface WrittenCall {
  name: string
  /** JSON of an object. */
  arguments: string
}

/** Calls as a model of the form would have written them. */
export function writeCalls(form: CallForm, calls: readonly WrittenCall[]): string {
  const texts = calls.map((call) => form.call(call.name) + call.arguments + form.close)
  return form.open + texts.join(form.next) + form.end
}

/** {"name": …, "arguments": …}; `parameters` is another word for the latter. False: as in CallForm.read. */
export function* readCallObject(reader: Reader, sink: CallSink): Reading<boolean> {
  const found: FoundParts = {}
  const begin = (): boolean => {
    if (found.isBegun) return true
    if (found.name === undefined || !sink.knows(found.name)) return false
    found.isBegun = true
    sink.begin(found.name, found.id)
    return true
  }
  const isCall = yield* readParts(reader, sink, found, begin)
  // Cut off behind its name: a call, of whose arguments nothing has come.
  if (isCall || !reader.isBroken || !begin()) return isCall
  sink.breakOff()
  return true
}

/** What the parts of a call have been. */
interface FoundParts {
  name?: string
  id?: string
  held?: string
  isBegun?: boolean
}

/** As readCallObject; `begin` tells that the call has begun, once, if it is one. */
function* readParts(reader: Reader, sink: CallSink, found: FoundParts, begin: () => boolean): Reading<boolean> {
  yield* reader.skipBlanks()
  if (!(yield* reader.take('{'))) return false
  let hasArguments = false
  for (let isFirst = true; ; isFirst = false) {
    yield* reader.skipBlanks()
    const isEnd = yield* reader.take('}')
    if (isEnd && !isFirst) break
    if (!isFirst && !(yield* reader.take(','))) return giveUp(found, sink)
    const key = yield* readKey(reader)
    if ((key === 'arguments' || key === 'parameters') && !hasArguments) {
      hasArguments = true
      yield* reader.skipBlanks()
      // Held back where the name is still to come, or where it may be no object.
      const out = found.name !== undefined && (yield* reader.peek()) === '{' ? sink : undefined
      if (out && !begin()) return false
      const held = yield* readArguments(reader, out)
      if (held === undefined) return giveUp(found, sink)
      found.held = held
    } else if (key === 'name' || key === 'id' || key === 'type') {
      const value = yield* readShortText(reader)
      if (value === undefined || (key === 'type' && value !== 'function')) return giveUp(found, sink)
      if (key !== 'type') found[key] ??= value
      if (key === 'name' && !sink.knows(value)) return giveUp(found, sink)
    } else return giveUp(found, sink)
  }
  if (found.isBegun) return true
  if (!begin()) return false
  sink.arguments(found.held ?? '{}')
  return true
}

function giveUp({ isBegun = false }: FoundParts, sink: CallSink): boolean {
  if (isBegun) sink.breakOff()
  return isBegun
}

function* readKey(reader: Reader): Reading<string | undefined> {
  yield* reader.skipBlanks()
  const key = yield* readShortText(reader)
  yield* reader.skipBlanks()
  return (yield* reader.take(':')) ? key : undefined
}

/** A JSON string of a few characters, without escapes. */
function* readShortText(reader: Reader): Reading<string | undefined> {
  yield* reader.skipBlanks()
  if (!(yield* reader.take('"'))) return undefined
  const text = yield* reader.word(/[^"\\]/, MAX_NAME)
  return (yield* reader.take('"')) ? text : undefined
}

/**
 * The object of arguments: to `sink` as it comes, or, without one, as what is returned ('' otherwise). Some models write
 * it as a string that holds it, and null for none. Undefined where it is none of these.
 */
export function* readArguments(reader: Reader, sink: CallSink | undefined): Reading<string | undefined> {
  yield* reader.skipBlanks()
  const first = yield* reader.peek()
  if (first === '{') {
    let held = ''
    const isWhole = yield* copyJson(reader, (text) => {
      if (sink) sink.arguments(text)
      else held += text
      return held.length <= MAX_HELD
    })
    return isWhole ? held : undefined
  }
  let text = ''
  if (first === 'n') text = (yield* reader.take('null')) ? '{}' : ''
  else if (first === '"') {
    let quoted = ''
    const isWhole = yield* copyJson(reader, (part) => {
      quoted += part
      return quoted.length <= MAX_HELD
    })
    text = isWhole ? JSON.parse(quoted) : ''
  }
  if (!isObjectText(text)) return undefined
  sink?.arguments(text)
  return sink ? '' : text
}

function isObjectText(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

/**
 * Copies an object, a list or a string; line breaks within a string, which JSON does not have, become escapes. False where
 * it is no JSON any more, or `out` wants no more.
 */
export function* copyJson(reader: Reader, out: (text: string) => boolean): Reading<boolean> {
  const scan = new JsonScan()
  let copied = ''
  for (;;) {
    if (reader.at >= reader.text.length) {
      if (copied !== '' && !out(copied)) return false
      copied = ''
      if (!(yield* reader.has(1))) return false
    }
    const character = reader.text[reader.at] as string
    const written = scan.isText && character < ' ' ? JSON.stringify(character).slice(1, -1) : character
    const step = written === character ? scan.step(character) : 'more'
    if (step === 'bad') {
      out(copied)
      return false
    }
    copied += written
    reader.at++
    if (step === 'done') return out(copied)
  }
}

/** [{…}, {…}], or {…} alone. False: as in CallForm.read. */
export function* readCallList(reader: Reader, sink: CallSink): Reading<boolean> {
  yield* reader.skipBlanks()
  if (!(yield* reader.take('['))) return yield* readCallObject(reader, sink)
  if (!(yield* readCallObject(reader, sink))) return false
  return yield* readMore(reader, [','], ']', (at) => readCallObject(at, sink))
}

/**
 * More calls behind the first, each behind one of `separators`, and `end`, which may be missing where the text ends. What
 * follows the last call and is neither stays where it is.
 */
export function* readMore(
  reader: Reader,
  separators: readonly string[],
  end: string,
  read: (reader: Reader) => Reading<boolean>,
): Reading<true> {
  for (;;) {
    const behind = reader.at
    if (end !== '' && (yield* takeBehindBlanks(reader, end))) return true
    let isMore = false
    for (const separator of separators) isMore ||= yield* takeBehindBlanks(reader, separator)
    if (isMore && (yield* read(reader))) continue
    reader.at = behind
    return true
  }
}

/** Behind white space, if it is there; else nothing is passed over. */
export function* takeBehindBlanks(reader: Reader, literal: string): Reading<boolean> {
  const start = reader.at
  yield* reader.skipBlanks()
  if (yield* reader.take(literal)) return true
  reader.at = start
  return false
}
