/** Arrays of JSON: values for the first places, then one for all others, and how many. */
import type { Call, Rule } from './rule.ts'
import { nextSpace } from './space.ts'

export interface ArrayParts {
  first: readonly Rule[]
  /** Absent: no more than the first ones. */
  rest: Rule | undefined
  least: number
  /** Where there is no rest, at most the number of the first ones. */
  most: number
}

/** Where it stands. Each comes with white space and a number of elements. */
const BEFORE = 0
const OPEN = 1
const BEHIND_ELEMENT = 2
const BEHIND_COMMA = 3
const CLOSED = 4
const PLACES = 5
/** `[,]` and white space. */
const BYTES = [0x5b, 0x2c, 0x5d, 0x20, 0x09, 0x0a]
/** More than nextSpace makes. */
const SPACES = 64

export class ArrayRule implements Rule {
  readonly start = BEFORE
  private readonly parts: ArrayParts
  /** Numbers of elements from here on are all the same. */
  private readonly enough: number

  constructor(parts: ArrayParts) {
    this.parts = parts
    this.enough = Number.isFinite(parts.most) ? parts.most : Math.max(parts.least, parts.first.length)
  }

  next(state: number, byte: number): number {
    const { place, space, count } = read(state)
    const { least, most } = this.parts
    if (place === CLOSED) return -1
    if (place === BEFORE) return byte === 0x5b ? stateOf(OPEN, 0, 0) : -1
    // Behind white space, nothing but the end can follow an element.
    const more = place !== BEHIND_ELEMENT || count >= least ? nextSpace(space, byte) : -1
    if (more >= 0) return stateOf(place, more, count)
    if (byte === 0x5d && place !== BEHIND_COMMA && count >= least) return stateOf(CLOSED, 0, 0)
    return byte === 0x2c && place === BEHIND_ELEMENT && space === 0 && count < most
      ? stateOf(BEHIND_COMMA, 0, count)
      : -1
  }

  bytes(): readonly number[] {
    return BYTES
  }

  isEnd(state: number): boolean {
    return state % PLACES === CLOSED
  }

  isFinal(state: number): boolean {
    return this.isEnd(state)
  }

  calls(state: number): readonly Call[] {
    const { place, count } = read(state)
    const { first, rest, most } = this.parts
    if ((place !== OPEN && place !== BEHIND_COMMA) || count >= most) return []
    const rule = first[count] ?? rest
    return rule ? [{ rule, back: stateOf(BEHIND_ELEMENT, 0, Math.min(count + 1, this.enough)) }] : []
  }
}

function stateOf(place: number, space: number, count: number): number {
  return (count * SPACES + space) * PLACES + place
}

function read(state: number): { place: number; space: number; count: number } {
  const rest = Math.floor(state / PLACES)
  return { place: state % PLACES, space: rest % SPACES, count: Math.floor(rest / SPACES) }
}
