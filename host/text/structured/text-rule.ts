/**
 * Texts: a JSON string with its quotes, or characters as they are. A state is that of the characters and that of the
 * decoder, which stands within one (see decoder.ts):
 *
 *     0 before the quote, 1 behind the last one, else 2 + characters * states of the decoder + its state
 */
import { Budget } from './budget.ts'
import { CountedCharacters } from './characters.ts'
import { Decoder, NOTHING, type Writing } from './decoder.ts'
import type { Characters } from './pattern-automaton.ts'
import type { Counted, Groups, Rule } from './rule.ts'

const BEFORE = 0
const BEHIND = 1
const QUOTE = 0x22

export class TextRule implements Rule {
  readonly start: number
  private readonly characters: Characters
  private readonly isJson: boolean
  private readonly decoder: Decoder
  private readonly states: number
  /** Those that may come between two characters of JSON: the quote too. */
  private readonly betweenBytes: readonly number[]
  /** By state of the decoder: groups of bytes; the first are those before the text. */
  private readonly byInside: Groups[] = []
  /** Of states within a character. */
  private readonly alive = new Map<number, boolean>()

  constructor(characters: Characters, writing: Writing, budget: Budget) {
    this.characters = characters
    this.isJson = writing === 'json'
    this.decoder = decoderOf(characters, writing, budget)
    this.states = this.decoder.states
    this.betweenBytes = [QUOTE, ...this.decoder.bytesOf(0)]
    this.start = this.isJson ? BEFORE : this.stateOf(characters.start, 0)
  }

  next(state: number, byte: number): number {
    if (state < 2) return state === BEFORE && byte === QUOTE ? this.stateOf(this.characters.start, 0) : -1
    const inside = (state - 2) % this.states
    const at = Math.floor((state - 2) / this.states)
    if (this.isJson && inside === 0 && byte === QUOTE) return this.characters.accepts(at) ? BEHIND : -1
    const entry = this.decoder.table[inside * 256 + byte] as number
    if (entry === NOTHING) return -1
    if (entry >= 0) return this.isAlive(at, entry) ? this.stateOf(at, entry) : -1
    const next = this.characters.next(at, -2 - entry)
    return next < 0 ? -1 : this.stateOf(next, 0)
  }

  isEnd(state: number): boolean {
    if (this.isJson) return state === BEHIND
    return (state - 2) % this.states === 0 && this.characters.accepts(Math.floor((state - 2) / this.states))
  }

  isFinal(state: number): boolean {
    return this.isJson && state === BEHIND
  }

  bytes(state: number): readonly number[] {
    if (state < 2) return state === BEFORE ? [QUOTE] : []
    const inside = (state - 2) % this.states
    return this.isJson && inside === 0 ? this.betweenBytes : this.decoder.bytesOf(inside)
  }

  groups(state: number): Groups {
    const inside = state < 2 ? -1 : (state - 2) % this.states
    const isBetween = this.isJson && inside <= 0
    this.byInside[inside + 1] ??= this.decoder.groupsOf(Math.max(inside, 0), isBetween ? QUOTE : undefined)
    return this.byInside[inside + 1] as Groups
  }

  room(state: number, slice: number): number {
    if (state < 2 || (state - 2) % this.states !== 0) return 0
    return this.characters.room(Math.floor((state - 2) / this.states), slice)
  }

  reach(state: number, slice: number): number {
    const isBetween = this.isJson && state >= 2 && (state - 2) % this.states === 0
    const reach = isBetween ? this.characters.reach?.((state - 2) / this.states, slice) : undefined
    return reach ?? Number.POSITIVE_INFINITY
  }

  counted(state: number): Counted | undefined {
    const { characters, states } = this
    const isBetween = this.isJson && state >= 2 && (state - 2) % states === 0
    if (!isBetween || !(characters instanceof CountedCharacters)) return undefined
    return { free: anyString, between: 2, ...characters.left((state - 2) / states) }
  }

  maskKey(state: number): number {
    if (state < 2) return state
    const inside = (state - 2) % this.states
    return this.stateOf(this.characters.key(Math.floor((state - 2) / this.states)), inside)
  }

  private stateOf(at: number, inside: number): number {
    return 2 + at * this.states + inside
  }

  /** Can what is begun become a character that may follow? */
  private isAlive(at: number, inside: number): boolean {
    const state = this.stateOf(at, inside)
    let isAlive = this.alive.get(state)
    if (isAlive === undefined) {
      isAlive = (this.decoder.reach[inside] as readonly number[]).some((found) => this.characters.next(at, found) >= 0)
      if (this.alive.size > 50_000) this.alive.clear()
      this.alive.set(state, isAlive)
    }
    return isAlive
  }
}

const decoders = new WeakMap<object, Map<Writing, Decoder>>()
const anyDecoders = new Map<Writing, Decoder>()

/** One for all alphabets of a single class: it is the same. */
function decoderOf({ alphabet }: Characters, writing: Writing, budget: Budget): Decoder {
  const known = alphabet.size === 1 ? anyDecoders : (decoders.get(alphabet) ?? new Map<Writing, Decoder>())
  if (known !== anyDecoders) decoders.set(alphabet, known)
  let decoder = known.get(writing)
  if (!decoder) {
    decoder = new Decoder(alphabet, writing, budget)
    known.set(writing, decoder)
  }
  return decoder
}

export const anyText: Characters = new CountedCharacters(0, Number.POSITIVE_INFINITY)
/** One for all schemas, so that a tokenizer keeps its masks. */
export const anyString: Rule = new TextRule(anyText, 'json', new Budget())
