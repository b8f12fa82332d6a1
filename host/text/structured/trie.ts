/**
 * A vocabulary as a trie over the bytes of its tokens, built once for a tokenizer. Nodes stand in the order of a walk, so that
 * a walk is a loop over an array, and a branch is left out by a jump:
 *
 *     byte   a  b  c  c        tokens "ab", "abc", "ac": node 2 is "abc"
 *     depth  0  1  2  1        …and the branch of node 1 ends before node 3
 *     end    4  3  3  4
 *     first  0  0  1  2        tokens of node n: from first[n] to first[n + 1], those of its branch from first[n] to last[n]
 *     last   3  2  2  3
 *     length 3  2  1  1        characters of the longest text that can be read from node n on, itself included
 *     slice  1  1  1  1        the first slice that has all characters of those texts
 *     below  1  1  0  0        and without the node itself
 *
 * It is several tries, one behind the other: of the tokens of each slice (see slices.ts), then of those of none. So most
 * branches are of one kind, and where all of a kind may come, they are not walked.
 */
import { LONGEST_TOKEN } from './rule.ts'
import { slices, slicesOf } from './slices.ts'

/** Where a node does not begin a character, or others follow than those of slices. */
export const NO_SLICE = 15

export interface Trie {
  /**
   * (nodes + 1, 4), a row in one line of the cache: byte + depth * 2^8 + length * 2^16 + slice * 2^24 + below * 2^28, end, first,
   * last. Behind the nodes is one more row for its first.
   */
  readonly nodes: Uint32Array
  readonly ids: Uint32Array // (tokens)
  readonly characters: Uint8Array // (tokens)
}

/** The tokens of a slice, or of none: nodes in a row. */
export interface Part {
  readonly from: number
  readonly to: number
  /** Its tokens. */
  readonly first: number
  readonly last: number
  readonly slice: number
  /** Characters of the longest. */
  readonly length: number
  /** By byte: 1 if it is behind the first one of some. */
  readonly inner: Uint8Array // (256)
}

/** What a trie is made of. */
export interface Token {
  id: number
  /** A character for each byte: such strings are sorted and compared fast. */
  text: string
}

/** Of tokens sorted by text. */
export function trieOf(tokens: readonly Token[]): { trie: Trie; parts: readonly Part[] } {
  const bySlice: Token[][] = Array.from({ length: slices.length + 1 }, () => [])
  const suffixes = new Suffixes()
  for (const token of tokens) {
    suffixes.read(token.text)
    bySlice[Math.min(firstSlice(suffixes.bits[0] as number), slices.length)]?.push(token)
  }
  const builder = new TrieBuilder(bySlice, suffixes)
  return { trie: builder.trie, parts: builder.parts }
}

/** Slices of a text without characters. */
const ALL = 0xffff

/** Of each end of a text: the slices that have all its characters, and how many those are. */
class Suffixes {
  /** By byte; 0 within a character, and where a character is none of a slice. */
  readonly bits = new Uint16Array(LONGEST_TOKEN + 1)
  readonly lengths = new Uint8Array(LONGEST_TOKEN + 1)

  read(text: string): void {
    const { bits, lengths } = this
    for (let at = 0; at < text.length; ) {
      const length = characterLength(text, at)
      bits[at] = length === 0 ? 0 : slicesOf(characterAt(text, at, length))
      lengths.fill(0, at + 1, at + length)
      lengths[at] = 1
      at += length || 1
    }
    let common = ALL
    let count = 0
    bits[text.length] = ALL
    for (let at = text.length - 1; at >= 0; at--) {
      const isStart = lengths[at] === 1
      if (isStart) common &= bits[at] as number
      if (isStart) count++
      bits[at] = isStart ? common : 0
      lengths[at] = count
    }
  }
}

function firstSlice(bits: number): number {
  return bits === 0 ? NO_SLICE : 31 - Math.clz32(bits & -bits)
}

/** Bytes of the character of UTF-8 that begins there; 0 if it is not whole. */
function characterLength(text: string, at: number): number {
  const lead = text.charCodeAt(at)
  if (lead < 0x80) return 1
  const length = lead >= 0xc2 && lead < 0xe0 ? 2 : (lead & 0xf0) === 0xe0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0
  if (length === 0 || at + length > text.length) return 0
  for (let i = 1; i < length; i++) if ((text.charCodeAt(at + i) & 0xc0) !== 0x80) return 0
  const second = text.charCodeAt(at + 1)
  // Longer than needed, half of a pair, or beyond the last character.
  if ((lead === 0xe0 && second < 0xa0) || (lead === 0xed && second >= 0xa0)) return 0
  if ((lead === 0xf0 && second < 0x90) || (lead === 0xf4 && second >= 0x90)) return 0
  return length
}

function characterAt(text: string, at: number, length: number): number {
  if (length === 1) return text.charCodeAt(at)
  let character = text.charCodeAt(at) & (0x7f >> length)
  for (let i = 1; i < length; i++) character = character * 64 + (text.charCodeAt(at + i) & 0x3f)
  return character
}

class TrieBuilder {
  readonly trie: Trie
  readonly parts: Part[] = []
  private readonly suffixes: Suffixes
  // (nodes): as those of suffixes, of all tokens below together, from the node on and behind it
  private readonly bits: Uint16Array
  private readonly below: Uint16Array
  private readonly lengths: Uint8Array // (nodes)
  private readonly path: number[] = []
  private node = 0
  private tokens = 0

  constructor(bySlice: readonly (readonly Token[])[], suffixes: Suffixes) {
    this.suffixes = suffixes
    const shared = bySlice.map(sharedBytes)
    const count = bySlice.reduce(
      (sum, tokens, slice) =>
        sum + tokens.reduce((nodes, { text }, i) => nodes + text.length - (shared[slice]?.[i] as number), 0),
      0,
    )
    this.bits = new Uint16Array(count).fill(ALL)
    this.below = new Uint16Array(count).fill(ALL)
    this.lengths = new Uint8Array(count)
    const ids = Uint32Array.from(bySlice.flatMap((tokens) => tokens.map(({ id }) => id)))
    this.trie = { nodes: new Uint32Array(4 * (count + 1)), ids, characters: new Uint8Array(ids.length) }
    bySlice.forEach((tokens, slice) => {
      this.addPart(tokens, shared[slice] as Uint8Array, slice)
    })
    const { nodes } = this.trie
    nodes[4 * count + 2] = this.tokens
    for (let node = 0; node < count; node++)
      nodes[4 * node] =
        (nodes[4 * node] as number) |
        ((this.lengths[node] as number) << 16) |
        (firstSlice(this.bits[node] as number) << 24) |
        (firstSlice(this.below[node] as number) << 28)
  }

  private addPart(tokens: readonly Token[], shared: Uint8Array, slice: number): void {
    const from = this.node
    const first = this.tokens
    tokens.forEach(({ text }, i) => {
      this.add(text, shared[i] as number)
    })
    this.close(0)
    const length = this.lengths.subarray(from, this.node).reduce((most, length) => Math.max(most, length), 0)
    const inner = new Uint8Array(256)
    for (let node = from; node < this.node; node++) {
      const row = this.trie.nodes[4 * node] as number
      if (row >= 256) inner[row & 255] = 1
    }
    this.parts.push({
      from,
      to: this.node,
      first,
      last: this.tokens,
      slice: slice < slices.length ? slice : NO_SLICE,
      length,
      inner,
    })
  }

  /** `same`: bytes that it begins with as the one before. */
  private add(text: string, same: number): void {
    const { trie, suffixes, path } = this
    this.close(same)
    for (let at = same; at < text.length; at++) {
      trie.nodes[4 * this.node] = text.charCodeAt(at) + (at << 8)
      // Nodes on the way to a token have none of their own.
      trie.nodes[4 * this.node + 2] = this.tokens
      path.push(this.node++)
    }
    suffixes.read(text)
    trie.characters[this.tokens++] = suffixes.lengths[0] as number
    for (const [at, node] of path.entries()) {
      this.bits[node] = (this.bits[node] as number) & (suffixes.bits[at] as number)
      this.below[node] = (this.below[node] as number) & (suffixes.bits[at + 1] as number)
      this.lengths[node] = Math.max(this.lengths[node] as number, suffixes.lengths[at] as number)
    }
  }

  /** Branches deeper than this are whole. */
  private close(depth: number): void {
    for (const node of this.path.splice(depth)) {
      this.trie.nodes[4 * node + 1] = this.node
      this.trie.nodes[4 * node + 3] = this.tokens
    }
  }
}

/** By token: bytes that it begins with as the one before. */
function sharedBytes(tokens: readonly Token[]): Uint8Array {
  return Uint8Array.from(tokens, ({ text }, i) => {
    const before = i > 0 ? (tokens[i - 1] as Token).text : ''
    let same = 0
    while (same < before.length && same < text.length && before.charCodeAt(same) === text.charCodeAt(same)) same++
    return same
  })
}
