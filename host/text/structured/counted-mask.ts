/**
 * Tokens in a text of which only the number of characters counts, such as the inside of `{"type": "string", "maxLength": 20}`: one
 * walk, by a text without bounds, tells how many characters each token has there; with bounds it is a choice by number.
 */

import type { LeafTable } from './leaf-table.ts'
import { LONGEST_TOKEN } from './rule.ts'
import { NO_SLICE, type Part, type Trie } from './trie.ts'
import { addMask, setBits, type TokenTrie } from './vocabulary.ts'

/** What a rule allows by itself: the tokens of a mask, and listed ones. */
export interface LeafMask {
  readonly mask: Uint32Array | undefined
  readonly ids: Uint32Array
  /** Nodes where the rule may be over, with others below them that are not all in the mask. */
  readonly exits: Uint32Array
  /** Those where it calls others, by its state there. */
  readonly calls: ReadonlyMap<number, readonly number[]>
}

const NO_CALLS: ReadonlyMap<number, readonly number[]> = new Map()

export class CountedMask {
  private readonly words: number
  /** Tokens that stay in the text, with the characters that must be left: what is begun counts as one. */
  private readonly inside: Counting
  /** Those that end it, with the characters before its end. */
  private readonly ending: Counting
  /** Nodes with others below them that end it. */
  private readonly exits: Counting
  private readonly masks = new Map<number, Uint32Array>()

  /** `between`: the place between two characters of a text without bounds. */
  constructor({ trie, parts, words }: TokenTrie, table: LeafTable, between: number) {
    this.words = words
    this.inside = new Counting(trie.ids.length)
    this.ending = new Counting(trie.ids.length)
    this.exits = new Counting(trie.nodes.length / 4)
    for (const part of parts)
      if (part.slice !== NO_SLICE) this.addPlain(trie, part)
      else this.walk(trie, part, table, between)
    for (const counting of [this.inside, this.ending, this.exits]) counting.sort()
    // All others are made of this one.
    this.insideMask(LONGEST_TOKEN)
  }

  private addPlain({ ids, characters }: Trie, { first, last }: Part): void {
    for (let i = first; i < last; i++) this.inside.add(ids[i] as number, characters[i] as number)
  }

  private walk({ nodes, ids }: Trie, { from, to }: Part, table: LeafTable, between: number): void {
    const { inside, ending, exits } = this
    const path = new Int32Array(LONGEST_TOKEN + 1)
    const counts = new Uint8Array(LONGEST_TOKEN + 1)
    path[0] = between
    for (let node = from; node < to; ) {
      const row = nodes[4 * node] as number
      const end = nodes[4 * node + 1] as number
      const depth = (row >> 8) & 255
      const place = table.next(path[depth] as number, row & 255)
      if (place < 0) {
        node = end
        continue
      }
      const count = (counts[depth] as number) + (place === between ? 1 : 0)
      const isEnd = table.isEnd[place] === 1
      path[depth + 1] = place
      counts[depth + 1] = count
      const last = nodes[4 * node + 6] as number
      for (let i = nodes[4 * node + 2] as number; i < last; i++)
        if (isEnd) ending.add(ids[i] as number, count)
        else inside.add(ids[i] as number, place === between ? count : count + 1)
      if (isEnd && end > node + 1) exits.add(node, count)
      node++
    }
  }

  /** With so many characters to come at least, and at most. */
  maskOf(least: number, most: number): LeafMask {
    return {
      mask: this.insideMask(Math.min(most, LONGEST_TOKEN)),
      ids: between(this.ending, least, most),
      exits: between(this.exits, least, most),
      calls: NO_CALLS,
    }
  }

  private insideMask(most: number): Uint32Array {
    const { found, ends } = this.inside
    const count = ends[most] as number
    let mask = this.masks.get(count)
    if (mask) return mask
    mask = new Uint32Array(this.words)
    if (count > found.length / 2 && count < found.length) {
      addMask(mask, this.insideMask(LONGEST_TOKEN))
      for (const id of found.subarray(count)) mask[id >> 5] = (mask[id >> 5] as number) & ~(1 << (id & 31))
    } else setBits(mask, found.subarray(0, count))
    this.masks.set(count, mask)
    return mask
  }
}

function between({ found, ends }: Counting, least: number, most: number): Uint32Array {
  const last = ends[Math.min(most, LONGEST_TOKEN + 1)]
  const first = least === 0 ? 0 : (ends[Math.min(least - 1, LONGEST_TOKEN + 1)] as number)
  return found.subarray(first, last)
}

/** Things and their numbers of characters. */
class Counting {
  /** The fewest first, once they are sorted. */
  found: Uint32Array
  /** By a number of characters: how many have at most that many. */
  readonly ends = new Uint32Array(LONGEST_TOKEN + 2)
  private counts: Uint8Array
  private size = 0

  constructor(most: number) {
    this.found = new Uint32Array(most)
    this.counts = new Uint8Array(most)
  }

  add(what: number, count: number): void {
    this.found[this.size] = what
    this.counts[this.size++] = count
  }

  sort(): void {
    const { ends, counts, size } = this
    for (let i = 0; i < size; i++) ends[counts[i] as number] = (ends[counts[i] as number] as number) + 1
    for (let count = 1; count < ends.length; count++)
      ends[count] = (ends[count] as number) + (ends[count - 1] as number)
    const places = new Uint32Array(ends.length)
    places.set(ends.subarray(0, -1), 1)
    const sorted = new Uint32Array(size)
    for (let i = 0; i < size; i++) {
      const count = counts[i] as number
      const place = places[count] as number
      sorted[place] = this.found[i] as number
      places[count] = place + 1
    }
    this.found = sorted
    this.counts = new Uint8Array()
  }
}
