/**
 * A leaf's states as far as they have been met, numbered as they were (places): so that a walk is a look-up a node. Each is asked
 * once which bytes may come, where they lead, and how many characters of a slice it has room for.
 */
import type { Rule } from './rule.ts'
import { slices } from './slices.ts'

/** States that are kept, of 1 kB each. */
const MOST_STATES = 2048
/** An entry that was not asked for yet; -1 is none. */
const UNKNOWN = -2
const UNKNOWN_ROOM = 255

export class LeafTable {
  readonly states: number[] = []
  /** (places) */
  isEnd = new Uint8Array(64)
  private rows: Int32Array // (places, 256)
  private rooms: Uint8Array // (places, slices)
  private readonly rule: Rule
  private readonly places = new Map<number, number>()

  constructor(rule: Rule) {
    this.rule = rule
    this.rows = new Int32Array(16 * 256)
    this.rooms = new Uint8Array(64 * slices.length)
  }

  get isFull(): boolean {
    return this.states.length > MOST_STATES
  }

  placeOf(state: number): number {
    const known = this.places.get(state)
    if (known !== undefined) return known
    const place = this.states.push(state) - 1
    this.places.set(state, place)
    if (place * 256 >= this.rows.length) this.rows = grown(this.rows, new Int32Array(this.rows.length * 2))
    if (place >= this.isEnd.length) {
      this.isEnd = grown(this.isEnd, new Uint8Array(place * 2))
      this.rooms = grown(this.rooms, new Uint8Array(place * 2 * slices.length))
    }
    const { rule, rows } = this
    const bytes = rule.bytes?.(state)
    rows.fill(bytes ? -1 : UNKNOWN, place * 256, place * 256 + 256)
    for (const byte of bytes ?? []) rows[place * 256 + byte] = UNKNOWN
    this.rooms.fill(rule.room ? UNKNOWN_ROOM : 0, place * slices.length, (place + 1) * slices.length)
    this.isEnd[place] = rule.isEnd(state) ? 1 : 0
    return place
  }

  /** The place behind a byte, or -1. */
  next(place: number, byte: number): number {
    const entry = place * 256 + byte
    const known = this.rows[entry] as number
    if (known !== UNKNOWN) return known
    const state = this.rule.next(this.states[place] as number, byte)
    const next = state < 0 ? -1 : this.placeOf(state)
    this.rows[entry] = next
    return next
  }

  /** Characters of a slice that may come, whichever they are. */
  room(place: number, slice: number): number {
    const entry = place * slices.length + slice
    const known = this.rooms[entry] as number
    if (known !== UNKNOWN_ROOM) return known
    const room = Math.min(this.rule.room?.(this.states[place] as number, slice) ?? 0, UNKNOWN_ROOM - 1)
    this.rooms[entry] = room
    return room
  }
}

function grown<Table extends Int32Array | Uint8Array>(from: Table, to: Table): Table {
  to.set(from)
  return to
}
