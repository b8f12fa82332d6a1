/**
 * Takes an answer apart as it comes: what the model thinks, what it says, and the tools that it calls. The same answer gives
 * the same, however it is cut into pieces. Nothing is lost: what begins like a call and is none is said, and a call that
 * stops being one after its name was told is told to be broken, with the rest of it said. Only white space goes that
 * stands between thoughts, words and calls. Of an answer that was cut off, what may be the beginning of a mark or a call is
 * not said: it was going to be one.
 */
import { StopStrings } from '../stop.ts'
import type { CallForm, CallSink } from './calls.ts'
import { Reader, type Reading } from './reader.ts'
import type { ReasoningForm } from './reasoning.ts'

export type AnswerEvent =
  | { type: 'content' | 'reasoning'; text: string }
  | { type: 'call'; index: number; id: string; name: string }
  /** JSON that goes on from what was told of the arguments before. */
  | { type: 'arguments'; index: number; text: string }
  /** The arguments are not whole, and never will be. */
  | { type: 'broken'; index: number }

export interface ParserOptions {
  reasoning?: ReasoningForm | undefined
  /** Did the prompt end within the block? */
  isReasoningOpen?: boolean
  calls?: CallForm | undefined
  /** Tools by name, with the schemas of their arguments. A call of another one is text. */
  tools?: ReadonlyMap<string, unknown>
  /** Default: nine letters and digits, which is what Mistral's templates take. */
  newId?: () => string
  /** Texts that end the answer: where it says them, never within a call; and where it thinks them. */
  stop?: { content: readonly string[]; reasoning: readonly string[] }
}

/** What of an answer is words. */
type Spoken = 'content' | 'reasoning'

interface Told {
  blanks: string
  end: string | undefined
  isSaid: boolean
}

/** Characters after which what was read is forgotten. */
const FORGET = 1 << 14

export class AnswerParser {
  private readonly reader = new Reader()
  private readonly options: ParserOptions
  private readonly reading: Reading<void>
  private events: AnswerEvent[] = []
  private calls = 0
  /** Behind what was told of a call. */
  private told = 0
  /** Where what may be a call begins, opener and all. */
  private callAt: number | undefined
  private isThoughtful: boolean
  private readonly stops: Record<Spoken, StopStrings>
  /** What may go on with words that a stop text holds back. */
  private spoken: Spoken = 'content'
  private hasStopped = false

  constructor(options: ParserOptions = {}) {
    this.options = options
    const { content = [], reasoning = [] } = options.stop ?? {}
    this.stops = { content: new StopStrings([...content]), reasoning: new StopStrings([...reasoning]) }
    this.isThoughtful = options.reasoning !== undefined && (options.isReasoningOpen ?? false)
    this.reading = this.read()
  }

  /** Takes a piece of the answer; returns what is known of it now. */
  push(text: string): AnswerEvent[] {
    this.reader.push(text)
    return this.go()
  }

  /** The answer is over; `isCut`: at a limit, before the model had come to its end (finish length or context). */
  end(isCut = false): AnswerEvent[] {
    this.reader.isEnded = true
    this.reader.isCut = isCut
    const events = this.go()
    if (!this.hasStopped) this.release()
    return [...events, ...this.take()]
  }

  /** A text that ends the answer has come. */
  get isStopped(): boolean {
    return this.hasStopped
  }

  /** Is it within thoughts? */
  get isThinking(): boolean {
    return this.isThoughtful
  }

  /** What has come of a call, from its opener on, while it is read; undefined elsewhere. */
  get callText(): string | undefined {
    return this.callAt === undefined ? undefined : this.reader.text.slice(this.callAt)
  }

  private go(): AnswerEvent[] {
    this.reading.next()
    return this.take()
  }

  private take(): AnswerEvent[] {
    const { events } = this
    this.events = []
    return events
  }

  private *read(): Reading<void> {
    const { reader } = this
    const { reasoning, calls, isReasoningOpen = false } = this.options
    // White space behind thoughts or a call belongs to what comes next, or to nothing.
    let isFresh = reasoning !== undefined && (yield* this.think(reasoning, isReasoningOpen))
    let isSilent = true
    for (;;) {
      if (isFresh) yield* reader.skipBlanks()
      if (calls?.isBare && isSilent && (yield* this.bareCall(calls))) {
        isFresh = true
        continue
      }
      const { blanks, end, isSaid } = yield* this.tell('content', calls?.openers ?? [])
      if (end === undefined) return
      isSilent &&= !isSaid
      isFresh = yield* this.call(calls as CallForm, blanks, end)
      isSilent &&= isFresh
    }
  }

  /** A block of thoughts, if the answer begins with one. */
  private *think({ open, close }: ReasoningForm, isOpen: boolean): Reading<boolean> {
    const { reader } = this
    const start = reader.at
    yield* reader.skipBlanks()
    // Some open the block again that the prompt has opened.
    const isBegun = yield* reader.take(open)
    if (!isBegun && reader.isBroken) reader.skipRest()
    else if (!isBegun) reader.at = start
    if (!isBegun && !isOpen) return false
    this.isThoughtful = true
    yield* reader.skipBlanks()
    yield* this.tell('reasoning', [close])
    this.isThoughtful = false
    return true
  }

  /**
   * Tells what comes before the next of `ends` and goes on behind that. The white space before it is not told but returned;
   * no end is found where the answer is over.
   */
  private *tell(type: 'content' | 'reasoning', ends: readonly string[]): Reading<Told> {
    const { reader } = this
    let isSaid = false
    for (;;) {
      const found = firstOf(reader.text, ends, reader.at)
      const all = found?.at ?? this.sayable(ends)
      const stop = found ? blanksBefore(reader.text, reader.at, all) : all
      isSaid ||= stop > reader.at
      this.emit({ type, text: reader.text.slice(reader.at, stop) })
      const blanks = reader.text.slice(stop, all)
      reader.at = all + (found?.end.length ?? 0)
      if (!found && reader.isEnded) reader.skipRest()
      if (found || reader.isEnded) return { blanks, end: found?.end, isSaid }
      if (reader.at > FORGET) reader.forget()
      yield
    }
  }

  /** Up to where the text can be told, if no end is in it. */
  private sayable(ends: readonly string[]): number {
    const { text, at, isEnded, isCut } = this.reader
    if (!isEnded) return safeEnd(text, ends, at)
    const begun = isCut ? endBegun(text, ends, at) : text.length
    return begun < text.length ? blanksBefore(text, at, begun) : begun
  }

  /** A call that begins with `{`: one that is none stays unread. */
  private *bareCall(form: CallForm): Reading<boolean> {
    const { reader } = this
    const start = reader.at
    yield* reader.skipBlanks()
    this.callAt = reader.at
    const isCall = (yield* reader.peek()) === '{' && (yield* form.read(reader, this.sink()))
    const isBroken = reader.isBroken && reader.text.length > this.callAt
    this.callAt = undefined
    if (isBroken) reader.skipRest()
    else if (!isCall) reader.at = start
    return isCall
  }

  /** Behind an opener: a call, or else the opener is said, and the white space before it. */
  private *call(form: CallForm, blanks: string, opener: string): Reading<boolean> {
    const { reader } = this
    const start = reader.at
    this.callAt = start - opener.length
    const isCall = yield* form.read(reader, this.sink())
    this.callAt = undefined
    if (reader.isBroken) reader.skipRest()
    if (isCall || reader.isBroken) return true
    reader.at = start
    this.emit({ type: 'content', text: blanks + opener })
    return false
  }

  private sink(): CallSink {
    const { reader } = this
    const { tools, newId = randomId } = this.options
    return {
      knows: (name) => tools?.has(name) ?? false,
      schemaOf: (name) => tools?.get(name),
      begin: (name, id) => {
        this.told = reader.at
        this.emit({ type: 'call', index: this.calls++, id: id || newId(), name })
      },
      arguments: (text) => {
        this.told = reader.at
        this.emit({ type: 'arguments', index: this.calls - 1, text })
      },
      breakOff: () => {
        if (!reader.isBroken) reader.at = this.told
        this.emit({ type: 'broken', index: this.calls - 1 })
      },
    }
  }

  /** Words go through what looks for texts that end the answer; behind one, nothing is told. */
  private emit(event: AnswerEvent): void {
    if (this.hasStopped) return
    if (event.type !== 'content' && event.type !== 'reasoning') {
      this.release()
      this.add(event)
      return
    }
    if (event.type !== this.spoken) this.release()
    this.spoken = event.type
    const { text, isStopped } = this.stops[event.type].push(event.text)
    this.hasStopped = isStopped
    this.add({ type: event.type, text })
  }

  /** Words that were held back go on with something else than a text that ends the answer. */
  private release(): void {
    this.add({ type: this.spoken, text: this.stops[this.spoken].end() })
  }

  private add(event: AnswerEvent): void {
    const { events } = this
    const last = events.at(-1)
    if ('text' in event) {
      if (event.text === '') return
      if (last && 'text' in last && last.type === event.type) {
        const isSame = last.type !== 'arguments' || last.index === (event as typeof last).index
        if (isSame) {
          last.text += event.text
          return
        }
      }
    }
    events.push(event)
  }
}

/** The first of some texts from `at` on. */
function firstOf(text: string, ends: readonly string[], at: number): { end: string; at: number } | undefined {
  let first: { end: string; at: number } | undefined
  for (const end of ends) {
    const found = text.indexOf(end, at)
    if (found >= 0 && (!first || found < first.at)) first = { end, at: found }
  }
  return first
}

/** Up to where a text can be told: not what may be the beginning of an end, and not the white space before one. */
function safeEnd(text: string, ends: readonly string[], at: number): number {
  const stop = endBegun(text, ends, at)
  return ends.length === 0 ? stop : blanksBefore(text, at, stop)
}

/** Where the longest beginning of an end begins with which a text ends, from `at` on; where it ends if there is none. */
function endBegun(text: string, ends: readonly string[], at: number): number {
  let stop = text.length
  for (const end of ends)
    for (let length = Math.min(end.length - 1, text.length - at); length > 0; length--)
      if (text.endsWith(end.slice(0, length))) {
        stop = Math.min(stop, text.length - length)
        break
      }
  return stop
}

/** Where the white space before `end` begins. */
function blanksBefore(text: string, begin: number, end: number): number {
  let at = end
  while (at > begin && /\s/.test(text[at - 1] as string)) at--
  return at
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(9))
  return Array.from(bytes, (byte) => LETTERS[byte % LETTERS.length]).join('')
}
