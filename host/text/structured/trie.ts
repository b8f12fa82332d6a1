/**
 * A vocabulary as tries over the bytes of its tokens, built once for a tokenizer: one for each slice (see slices.ts), one for
 * the rest. Nodes stand in the order of a walk, so that a walk is a loop over arrays, and a branch is left out by a jump:
 *
 *     byte   a  b  c  c        tokens "ab", "abc", "ac": node 2 is "abc"
 *     depth  0  1  2  1        …and the branch of node 1 ends before node 3
 *     end    4  3  3  4
 *     first  0  0  1  2  3     tokens of node n: from first[n] to first[n + 1]
 */
import { LONGEST_TOKEN } from './rule.ts'
import { LONGEST_IN_SLICE, slices } from './slices.ts'

export interface Trie {
  readonly bytes: Uint8Array // (nodes)
  readonly depths: Uint8Array // (nodes), of 0 on
  /** The first node that is not below. */
  readonly ends: Uint32Array // (nodes)
  /** Place in `ids` where the tokens that end here begin; those of node n end where those of n + 1 begin. */
  readonly firsts: Uint32Array // (nodes + 1)
  readonly ids: Uint32Array
}

/** What a trie is made of; `bytesOf` of an id without text is empty. */
export interface Vocabulary {
  bytesOf(id: number): Uint8Array
  /** Names of control tokens, and their ids. */
  controlNames(isSilentOnly: boolean): string[]
  controlAt(text: string): number | undefined
}

/** Stands around the name of a control token, which is no text: no UTF-8 has this byte. */
export const CONTROL = 0xff

/** Tokens of one slice. */
export interface Slice {
  readonly trie: Trie
  /** Those of fewest characters first. */
  readonly ids: Uint32Array
  /** By a number of characters n: how many of `ids` have at most n. */
  readonly counts: Uint32Array // (LONGEST_IN_SLICE + 1)
}

export class TokenTrie {
  readonly slices: readonly Slice[]
  /** Tokens of no slice. */
  readonly rest: Trie
  /** Words of a mask. */
  readonly words: number
  private readonly masks = new Map<number, Uint32Array>()
  private readonly vocabulary: Vocabulary
  private readonly controls: ReadonlyMap<number, Uint8Array>

  constructor(vocabulary: Vocabulary, vocabSize: number) {
    this.vocabulary = vocabulary
    this.controls = controlsOf(vocabulary)
    this.words = Math.ceil(vocabSize / 32)
    const bySlice: Token[][] = Array.from({ length: slices.length + 1 }, () => [])
    for (const token of tokensOf(vocabulary, vocabSize, this.controls)) bySlice[sliceOf(token)]?.push(token)
    this.rest = trieOf(bySlice.pop() as Token[])
    this.slices = bySlice.map((tokens) => {
      const ordered = tokens.toSorted((a, b) => a.characters - b.characters)
      const counts = new Uint32Array(LONGEST_IN_SLICE + 1)
      ordered.forEach(({ characters }, place) => {
        counts.fill(place + 1, characters)
      })
      return { trie: trieOf(tokens), ids: Uint32Array.from(ordered, ({ id }) => id), counts }
    })
  }

  /** Of a token, as grammars have it. */
  bytesOf(id: number): Uint8Array {
    return this.controls.get(id) ?? this.vocabulary.bytesOf(id)
  }

  /** The mask of a slice's tokens of at most so many characters; not to be changed. */
  maskOf(slice: number, characters: number): Uint32Array {
    const most = Math.min(characters, LONGEST_IN_SLICE)
    const key = slice * (LONGEST_IN_SLICE + 1) + most
    let mask = this.masks.get(key)
    if (!mask) {
      const { ids, counts } = this.slices[slice] as Slice
      mask = new Uint32Array(this.words)
      for (const id of ids.subarray(0, counts[most])) setBit(mask, id)
      this.masks.set(key, mask)
    }
    return mask
  }
}

export function setBit(mask: Uint32Array, id: number): void {
  mask[id >> 5] = (mask[id >> 5] as number) | (1 << (id & 31))
}

interface Token {
  id: number
  /** A character for each byte: such strings are sorted and compared fast. */
  text: string
  /** If it is plain: whole, and in a JSON string as it is; else 0. */
  characters: number
}

/** The first slice that has all characters of a token; their number for the rest. */
function sliceOf({ text, characters }: Token): number {
  if (characters === 0 || characters > LONGEST_IN_SLICE) return slices.length
  const ascii = asciiSlices.findIndex((set) => set.test(text))
  return ascii < 0 ? slices.length - 1 : ascii
}

/** All slices but the last, which is not only ASCII. */
const asciiSlices = slices.slice(0, -1).map((set) => {
  const ranges = set.flatMap((range) => range.map((code) => `\\x${code.toString(16)}`).join('-'))
  return new RegExp(`^[${ranges.join('')}]+$`)
})

function tokensOf(vocabulary: Vocabulary, vocabSize: number, controls: ReadonlyMap<number, Uint8Array>): Token[] {
  const tokens: Token[] = []
  for (let id = 0; id < vocabSize; id++) {
    const bytes = vocabulary.bytesOf(id)
    // A vocabulary of bytes has one that stands for control tokens here.
    if (bytes.length > 0 && bytes.length <= LONGEST_TOKEN && !bytes.includes(CONTROL)) tokens.push(tokenOf(id, bytes))
  }
  for (const [id, bytes] of controls)
    if (id < vocabSize && bytes.length <= LONGEST_TOKEN) tokens.push(tokenOf(id, bytes))
  return tokens.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id))
}

function controlsOf(vocabulary: Vocabulary): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>()
  for (const name of vocabulary.controlNames(true)) {
    const id = vocabulary.controlAt(name)
    if (id !== undefined) found.set(id, controlBytes(name))
  }
  return found
}

/** How a control token is written in a grammar. */
export function controlBytes(name: string): Uint8Array {
  return Uint8Array.of(CONTROL, ...new TextEncoder().encode(name), CONTROL)
}

function tokenOf(id: number, bytes: Uint8Array): Token {
  const text = latin1(bytes)
  return { id, text, characters: plainLength(text) }
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}

/** Characters of a text that is whole in UTF-8 and needs no escape in JSON; 0 for others. */
function plainLength(text: string): number {
  let characters = 0
  for (let at = 0; at < text.length; characters++) {
    const lead = text.charCodeAt(at)
    const length =
      lead < 0x80
        ? 1
        : lead >= 0xc2 && lead < 0xe0
          ? 2
          : (lead & 0xf0) === 0xe0
            ? 3
            : lead >= 0xf0 && lead < 0xf5
              ? 4
              : 0
    if (length === 0 || lead < 0x20 || lead === 0x22 || lead === 0x5c || at + length > text.length) return 0
    for (let i = 1; i < length; i++) if ((text.charCodeAt(at + i) & 0xc0) !== 0x80) return 0
    const second = text.charCodeAt(at + 1)
    // Longer than needed, half of a pair, or beyond the last character.
    if ((lead === 0xe0 && second < 0xa0) || (lead === 0xed && second >= 0xa0)) return 0
    if ((lead === 0xf0 && second < 0x90) || (lead === 0xf4 && second >= 0x90)) return 0
    at += length
  }
  return characters
}

/** `tokens` are sorted by text. */
function trieOf(tokens: readonly Token[]): Trie {
  let nodes = 0
  const shared = tokens.map(({ text }, i) => {
    const before = i > 0 ? (tokens[i - 1] as Token).text : ''
    let same = 0
    while (same < before.length && same < text.length && before.charCodeAt(same) === text.charCodeAt(same)) same++
    nodes += text.length - same
    return same
  })
  const trie = {
    bytes: new Uint8Array(nodes),
    depths: new Uint8Array(nodes),
    ends: new Uint32Array(nodes),
    firsts: new Uint32Array(nodes + 1),
    ids: Uint32Array.from(tokens, ({ id }) => id),
  }
  const path: number[] = []
  let node = 0
  tokens.forEach(({ text }, i) => {
    const same = shared[i] as number
    for (const left of path.splice(same)) trie.ends[left] = node
    for (let at = same; at < text.length; at++) {
      trie.bytes[node] = text.charCodeAt(at)
      trie.depths[node] = at
      // Nodes on the way to a token have none of their own.
      trie.firsts[node] = i
      path.push(node++)
    }
  })
  for (const left of path) trie.ends[left] = node
  trie.firsts[node] = tokens.length
  return trie
}
