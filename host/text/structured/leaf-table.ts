/**
 * A rule's states as far as they have been met, numbered as they were (places): so that a walk is a look-up a node. Each is asked
 * once which bytes may come, where they lead, and how many characters of a slice it has room for.
 */
import type { Groups, Rule } from './rule.ts'
import { slices } from './slices.ts'

/** States that are kept, of 1 kB each at most. */
const MOST_STATES = 4096
/** An entry that was not asked for yet; -1 is none. */
const UNKNOWN = -2
const UNKNOWN_ROOM = 255
/** Bytes that are looked for in a list, without a row of their own. */
const FEW = 8

/** A state's bytes, where they are few, and where each leads. */
interface List {
  readonly bytes: readonly number[]
  readonly next: number[]
}

export class LeafTable {
  /** Has the rule room for slices anywhere? */
  readonly hasRooms: boolean
  readonly states: number[] = []
  /** (places); in places that call, others may begin: there the rule alone does not tell what may come. */
  isEnd = new Uint8Array(64)
  isCalling = new Uint8Array(64)
  private rooms = new Uint8Array(64 * slices.length) // (places, slices)
  /** By place; one of both. */
  private readonly lists: (List | undefined)[] = []
  private readonly rows: (Int32Array | undefined)[] = [] // (groups) each
  private readonly groups: (Uint8Array | undefined)[] = []
  private readonly rule: Rule
  private readonly places = new Map<number, number>()

  constructor(rule: Rule) {
    this.rule = rule
    this.hasRooms = rule.room !== undefined
  }

  get isFull(): boolean {
    return this.states.length > MOST_STATES
  }

  placeOf(state: number): number {
    const known = this.places.get(state)
    if (known !== undefined) return known
    const { rule } = this
    const place = this.states.push(state) - 1
    this.places.set(state, place)
    if (place >= this.isEnd.length) {
      this.isEnd = grown(this.isEnd, place * 2)
      this.isCalling = grown(this.isCalling, place * 2)
      this.rooms = grown(this.rooms, place * 2 * slices.length)
    }
    const bytes = rule.bytes?.(state)
    const isFew = bytes !== undefined && bytes.length <= FEW
    this.lists.push(isFew ? { bytes, next: bytes.map(() => UNKNOWN) } : undefined)
    const groups = isFew ? undefined : (rule.groups?.(state) ?? single)
    this.groups.push(groups?.of)
    this.rows.push(groups && new Int32Array(groups.count).fill(UNKNOWN))
    this.rooms.fill(this.hasRooms ? UNKNOWN_ROOM : 0, place * slices.length, (place + 1) * slices.length)
    this.isEnd[place] = rule.isEnd(state) ? 1 : 0
    this.isCalling[place] = rule.calls && rule.calls(state).length > 0 ? 1 : 0
    return place
  }

  /** The place behind a byte, or -1. */
  next(place: number, byte: number): number {
    const groups = this.groups[place]
    const list = this.lists[place]
    const next = this.rows[place] ?? (list as List).next
    const entry = groups ? (groups[byte] as number) : (list as List).bytes.indexOf(byte)
    if (entry < 0) return -1
    const known = next[entry] as number
    if (known !== UNKNOWN) return known
    const state = this.rule.next(this.states[place] as number, byte)
    const found = state < 0 ? -1 : this.placeOf(state)
    next[entry] = found
    return found
  }

  /** Characters of a slice that can come at most; infinite where that is not known. */
  reach(place: number, slice: number): number {
    return this.rule.reach?.(this.states[place] as number, slice) ?? Number.POSITIVE_INFINITY
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

const single: Groups = { count: 256, of: Uint8Array.from({ length: 256 }, (_, byte) => byte) }

function grown(from: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const to = new Uint8Array(size)
  to.set(from)
  return to
}
