/**
 * What each rule allows within itself, up to where it is over or calls another: kept for all texts and all grammars of a
 * tokenizer that share the rule, as they do strings and numbers.
 */
import { CountedMask, type LeafMask } from './counted-mask.ts'
import { LeafTable } from './leaf-table.ts'
import { LONGEST_TOKEN, type Rule } from './rule.ts'
import { anyString } from './text-rule.ts'
import { NO_SLICE } from './trie.ts'
import { addMask, setBits, type TokenTrie } from './vocabulary.ts'

/** Masks of leaves that are kept; each has at most a bit for each token. */
const MOST_MASKS = 1024

/** A leaf's masks, and its states. */
interface Leaf {
  readonly masks: Map<number, LeafMask>
  table: LeafTable
}

export class LeafMasks {
  readonly tokens: TokenTrie
  private leaves = new WeakMap<Rule, Leaf>()
  private kept = 0
  private readonly counted = new WeakMap<Rule, CountedMask>()
  // Of the mask that is being made: places by depth, tokens by mask and by list.
  private readonly path = new Int32Array(LONGEST_TOKEN + 1)
  private mask: Uint32Array | undefined
  private calls = new Map<number, number[]>()
  private readonly found: Uint32Array

  constructor(tokens: TokenTrie) {
    this.tokens = tokens
    this.found = new Uint32Array(tokens.trie.ids.length)
    // Most strings are counted from here on: so none of them waits for it.
    this.countedMaskOf(anyString, anyString.next(anyString.start, 0x22))
  }

  maskOf(rule: Rule, state: number): LeafMask {
    const { masks, table } = this.leafOf(rule)
    const key = rule.maskKey?.(state) ?? state
    let mask = masks.get(key)
    if (!mask) {
      mask = this.countedMaskOf(rule, state) ?? this.compute(table, state)
      masks.set(key, mask)
      this.kept++
    }
    return mask
  }

  private leafOf(rule: Rule): Leaf {
    if (this.kept > MOST_MASKS) {
      this.leaves = new WeakMap()
      this.kept = 0
    }
    let leaf = this.leaves.get(rule)
    if (!leaf) {
      leaf = { masks: new Map(), table: new LeafTable(rule) }
      this.leaves.set(rule, leaf)
    }
    if (leaf.table.isFull) leaf.table = new LeafTable(rule)
    return leaf
  }

  /** undefined: not only the number of characters counts. */
  private countedMaskOf(rule: Rule, state: number): LeafMask | undefined {
    const counted = rule.counted?.(state)
    if (!counted) return undefined
    const { free, between, least, most } = counted
    let mask = this.counted.get(free)
    if (!mask) {
      const table = new LeafTable(free)
      mask = new CountedMask(this.tokens, table, table.placeOf(between))
      this.counted.set(free, mask)
    }
    return mask.maskOf(least, most)
  }

  private compute(table: LeafTable, state: number): LeafMask {
    const { tokens, found } = this
    const { parts, words } = tokens
    const start = table.placeOf(state)
    const exits: number[] = []
    this.mask = undefined
    this.calls = new Map()
    let count = 0
    for (const part of parts) {
      const { slice, length } = part
      const room = slice === NO_SLICE ? 0 : table.room(start, slice)
      if (room >= length) count = this.addAll(part.first, part.last, count)
      // None of more characters may come, whichever they are.
      else if (slice !== NO_SLICE && table.reach(start, slice) <= room)
        count = this.addList(tokens.shortest(part, room), count)
      else count = this.walk(table, start, part.from, part.to, count, exits)
    }
    const ids = found.subarray(0, count)
    if (count <= words) return { mask: this.mask, ids: ids.slice(), exits: Uint32Array.from(exits), calls: this.calls }
    const mask = this.largeMask()
    setBits(mask, ids)
    return { mask, ids: NONE, exits: Uint32Array.from(exits), calls: this.calls }
  }

  /** Adds the tokens of a part that stay in the leaf to those found; returns how many there are. */
  private walk(table: LeafTable, start: number, from: number, to: number, count: number, exits: number[]): number {
    const { path, found } = this
    const { nodes, ids } = this.tokens.trie
    const { hasRooms } = table
    path[0] = start
    for (let node = from; node < to; ) {
      const row = nodes[4 * node] as number
      const end = nodes[4 * node + 1] as number
      const first = nodes[4 * node + 2] as number
      const depth = (row >> 8) & 255
      const length = (row >> 16) & 255
      const before = path[depth] as number
      const slice = (row >> 24) & 15
      const isWhole = hasRooms && slice !== NO_SLICE && table.room(before, slice) >= length
      const place = isWhole ? -1 : table.next(before, row & 255)
      const below = row >>> 28
      if (isWhole || (hasRooms && place >= 0 && below !== NO_SLICE && table.room(place, below) >= length)) {
        count = this.addAll(first, nodes[4 * node + 3] as number, count)
        node = end
      } else if (place < 0) node = end
      else {
        path[depth + 1] = place
        const last = nodes[4 * node + 6] as number
        for (let i = first; i < last; i++) found[count++] = ids[i] as number
        const isCalling = table.isCalling[place] === 1
        if (end > node + 1) {
          if (table.isEnd[place] === 1) exits.push(node)
          if (isCalling) this.addCall(table.states[place] as number, node)
        }
        // What can come where others are called, the machine says.
        node = isCalling ? end : node + 1
      }
    }
    return count
  }

  /** Adds tokens in a row of the trie's. */
  private addAll(first: number, last: number, count: number): number {
    const { found, tokens } = this
    const { ids } = tokens.trie
    const size = last - first
    if (size > tokens.words / 2) addMask(this.largeMask(), tokens.maskOf(first, last))
    else if (size > MANY) setBits(this.largeMask(), ids.subarray(first, last))
    else for (let i = first; i < last; i++) found[count++] = ids[i] as number
    return count
  }

  private addList(ids: Uint32Array, count: number): number {
    if (ids.length > MANY) setBits(this.largeMask(), ids)
    else for (const id of ids) this.found[count++] = id
    return count
  }

  private addCall(state: number, node: number): void {
    const nodes = this.calls.get(state)
    if (nodes) nodes.push(node)
    else this.calls.set(state, [node])
  }

  private largeMask(): Uint32Array {
    this.mask ??= new Uint32Array(this.tokens.words)
    return this.mask
  }
}

const NONE = new Uint32Array()
/** Tokens for which a mask is worth being made. */
const MANY = 200
