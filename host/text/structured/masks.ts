/**
 * Which tokens may come next: a state of the machine, held against the trie of the vocabulary. Masks are kept by state, so
 * that a string costs one look-up a token. A new one is put together of
 *   - what each leaf (string, number) allows within itself, kept for all texts and all grammars that share the leaf;
 *   - walks over the rest: tokens that begin outside of a leaf, and the ends of those that leave one, such as `", "`.
 */
import type { Frame, Machine, MachineState } from './machine.ts'
import type { Rule } from './rule.ts'
import { LONGEST_TOKEN } from './rule.ts'
import { LONGEST_IN_SLICE } from './slices.ts'
import { setBit, type TokenTrie, type Trie } from './trie.ts'

/** What a leaf allows by itself. */
interface LeafMask {
  /** Of slices that are allowed as they are: tokens of at most so many characters; 0: none. */
  readonly rooms: readonly number[]
  /** Other tokens, in a mask, or listed if they are few. */
  readonly mask: Uint32Array | undefined
  readonly ids: Uint32Array
  /** By trie: nodes with others below them, where the leaf may be over. */
  readonly exits: readonly (readonly [Trie, Uint32Array])[]
}

/** Masks of leaves that one tokenizer keeps, and masks that a grammar keeps for it; each has at most a bit for each token. */
const MOST_LEAF_MASKS = 1024
const MOST_MASKS = 256
/** States of a leaf that are kept, of 1 kB each. */
const MOST_LEAF_STATES = 2048

/** Masks of leaves, for all grammars of a tokenizer. */
export class LeafMasks {
  readonly tokens: TokenTrie
  private masks = new WeakMap<Rule, Map<number, LeafMask>>()
  private count = 0
  private readonly tables = new WeakMap<Rule, LeafTable>()
  private readonly path = new Int32Array(LONGEST_TOKEN + 1)

  constructor(tokens: TokenTrie) {
    this.tokens = tokens
  }

  maskOf(rule: Rule, state: number): LeafMask {
    let byKey = this.masks.get(rule)
    if (!byKey || this.count > MOST_LEAF_MASKS) {
      if (byKey) this.masks = new WeakMap()
      if (byKey) this.count = 0
      byKey = new Map()
      this.masks.set(rule, byKey)
    }
    const key = rule.maskKey?.(state) ?? state
    let mask = byKey.get(key)
    if (!mask) {
      mask = this.compute(rule, state)
      byKey.set(key, mask)
      this.count++
    }
    return mask
  }

  private compute(rule: Rule, state: number): LeafMask {
    const { slices, rest, words } = this.tokens
    const mask = new Uint32Array(words)
    const exits: [Trie, Uint32Array][] = []
    let count = 0
    const walk = (trie: Trie) => {
      const found: number[] = []
      count += this.walk(rule, state, trie, mask, found)
      if (found.length > 0) exits.push([trie, Uint32Array.from(found)])
    }
    const rooms = slices.map(({ trie }, slice) => {
      const room = rule.room?.(state, slice) ?? 0
      if (room >= LONGEST_IN_SLICE || (room > 0 && rule.isCounted)) return room
      walk(trie)
      return 0
    })
    walk(rest)
    const isFew = count < words
    return { rooms, mask: isFew ? undefined : mask, ids: isFew ? idsOf(mask, count) : NONE, exits }
  }

  /** Adds the tokens of a trie that stay in the leaf; returns how many. */
  private walk(rule: Rule, start: number, trie: Trie, mask: Uint32Array, exits: number[]): number {
    const { bytes, depths, ends, firsts, ids } = trie
    const { path } = this
    const table = this.tableOf(rule)
    let count = 0
    path[0] = table.placeOf(start)
    for (let node = 0; node < bytes.length; ) {
      const depth = depths[node] as number
      const entry = (path[depth] as number) * 256 + (bytes[node] as number)
      let place = table.rows[entry] as number
      if (place === UNKNOWN) place = table.fill(entry)
      if (place < 0) {
        node = ends[node] as number
        continue
      }
      path[depth + 1] = place
      const last = firsts[node + 1] as number
      for (let i = firsts[node] as number; i < last; i++, count++) setBit(mask, ids[i] as number)
      node++
      if (table.isEnd[place] === 1 && (ends[node - 1] as number) > node) exits.push(node - 1)
    }
    return count
  }

  private tableOf(rule: Rule): LeafTable {
    let table = this.tables.get(rule)
    if (!table || table.isFull) {
      table = new LeafTable(rule)
      this.tables.set(rule, table)
    }
    return table
  }
}

const NONE = new Uint32Array()
/** An entry that was not asked for yet; -1 is none. */
const UNKNOWN = -2

/** A leaf's states as far as they have been met, numbered as they were: so that a walk is a look-up a node. */
class LeafTable {
  rows: Int32Array // (places, 256)
  isEnd = new Uint8Array(64)
  private readonly rule: Rule
  private readonly states: number[] = []
  private readonly places = new Map<number, number>()

  constructor(rule: Rule) {
    this.rule = rule
    this.rows = new Int32Array(16 * 256)
  }

  get isFull(): boolean {
    return this.states.length > MOST_LEAF_STATES
  }

  placeOf(state: number): number {
    let place = this.places.get(state)
    if (place !== undefined) return place
    place = this.states.push(state) - 1
    this.places.set(state, place)
    if (place * 256 >= this.rows.length) {
      const more = new Int32Array(this.rows.length * 2)
      more.set(this.rows)
      this.rows = more
    }
    if (place >= this.isEnd.length) {
      const more = new Uint8Array(place * 2)
      more.set(this.isEnd)
      this.isEnd = more
    }
    this.rows.fill(UNKNOWN, place * 256, place * 256 + 256)
    this.isEnd[place] = this.rule.isEnd(state) ? 1 : 0
    return place
  }

  fill(entry: number): number {
    const state = this.rule.next(this.states[entry >> 8] as number, entry & 255)
    const place = state < 0 ? -1 : this.placeOf(state)
    this.rows[entry] = place
    return place
  }
}

function idsOf(mask: Uint32Array, count: number): Uint32Array {
  const ids = new Uint32Array(count)
  let found = 0
  mask.forEach((word, place) => {
    for (let left = word; left !== 0; left &= left - 1) ids[found++] = place * 32 + 31 - Math.clz32(left & -left)
  })
  return ids
}

/** Masks of a grammar's states. */
export class Masks {
  readonly machine: Machine
  private readonly leaves: LeafMasks
  private masks = new Map<MachineState, Uint32Array>()
  private readonly path: MachineState[] = []

  constructor(machine: Machine, leaves: LeafMasks) {
    this.machine = machine
    this.leaves = leaves
  }

  /** Without tokens that end the text; not to be changed. */
  maskOf(state: MachineState): Uint32Array {
    let mask = this.masks.get(state)
    if (mask) return mask
    if (this.masks.size >= MOST_MASKS) this.masks = new Map()
    mask = this.compute(state)
    this.masks.set(state, mask)
    return mask
  }

  private compute(state: MachineState): Uint32Array {
    const { tokens } = this.leaves
    const mask = new Uint32Array(tokens.words)
    for (const frame of state.frames)
      if (frame.rule.calls) {
        const alone = this.machine.alone(frame)
        for (const { trie } of tokens.slices) this.walk(alone, trie, 0, trie.bytes.length, 0, mask)
        this.walk(alone, tokens.rest, 0, tokens.rest.bytes.length, 0, mask)
      } else this.addLeaf(frame, mask)
    return mask
  }

  private addLeaf(frame: Frame, mask: Uint32Array): void {
    const leaf = this.leaves.maskOf(frame.rule, frame.state)
    leaf.rooms.forEach((room, slice) => {
      if (room > 0) addMask(mask, this.leaves.tokens.maskOf(slice, room))
    })
    if (leaf.mask) addMask(mask, leaf.mask)
    else for (const id of leaf.ids) setBit(mask, id)
    if (leaf.exits.length === 0) return
    const behind = this.machine.behind(frame)
    if (behind.frames.length === 0) return
    for (const [trie, nodes] of leaf.exits)
      for (const node of nodes)
        this.walk(behind, trie, node + 1, trie.ends[node] as number, (trie.depths[node] as number) + 1, mask)
  }

  /** Adds the tokens of a part of a trie that can follow `start`, which is the state at a depth. */
  private walk(start: MachineState, trie: Trie, from: number, to: number, depth: number, mask: Uint32Array): void {
    const { bytes, depths, ends, firsts, ids } = trie
    const { machine, path } = this
    path[depth] = start
    for (let node = from; node < to; ) {
      const at = depths[node] as number
      const state = machine.step(path[at] as MachineState, bytes[node] as number)
      if (!state) {
        node = ends[node] as number
        continue
      }
      path[at + 1] = state
      for (let i = firsts[node] as number; i < (firsts[node + 1] as number); i++) setBit(mask, ids[i] as number)
      node++
    }
  }
}

function addMask(mask: Uint32Array, other: Uint32Array): void {
  for (let i = 0; i < mask.length; i++) mask[i] = (mask[i] as number) | (other[i] as number)
}
