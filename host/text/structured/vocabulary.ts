/** A vocabulary as grammars see it: the trie of its tokens, control tokens among them, and masks of whole branches. */
import { LONGEST_TOKEN } from './rule.ts'
import { NO_SLICE, type Part, type Token, type Trie, trieOf } from './trie.ts'

/** What a trie is made of; `bytesOf` of an id without text is empty. */
export interface Vocabulary {
  bytesOf(id: number): Uint8Array
  /** Names of control tokens, and their ids. */
  controlNames(isSilentOnly: boolean): string[]
  controlAt(text: string): number | undefined
}

/** Stands around the name of a control token, which is no text: no UTF-8 has this byte. */
export const CONTROL = 0xff

export class TokenTrie {
  readonly trie: Trie
  readonly parts: readonly Part[]
  /** Words of a mask. */
  readonly words: number
  private readonly byLength: ReadonlyMap<Part, ByLength>
  private readonly masks = new Map<number, Uint32Array>()
  private readonly vocabulary: Vocabulary
  private readonly controls: ReadonlyMap<number, Uint8Array>

  constructor(vocabulary: Vocabulary, vocabSize: number) {
    this.vocabulary = vocabulary
    this.controls = controlsOf(vocabulary)
    this.words = Math.ceil(vocabSize / 32)
    const { trie, parts } = trieOf(tokensOf(vocabulary, vocabSize, this.controls))
    this.trie = trie
    this.parts = parts
    this.byLength = new Map(
      parts.filter(({ slice }) => slice !== NO_SLICE).map((part) => [part, shortestFirst(trie, part)]),
    )
  }

  /** Tokens of a part that have at most so many characters, which are fewer than its longest has. */
  shortest(part: Part, characters: number): Uint32Array {
    const { ids, ends } = this.byLength.get(part) ?? shortestFirst(this.trie, part)
    return ids.subarray(0, ends[characters])
  }

  /** Of a token, as grammars have it. */
  bytesOf(id: number): Uint8Array {
    return this.controls.get(id) ?? this.vocabulary.bytesOf(id)
  }

  /** Of tokens in a row of the trie's; not to be changed. For large branches, which are few. */
  maskOf(first: number, last: number): Uint32Array {
    const { ids } = this.trie
    const key = first * (ids.length + 1) + last
    let mask = this.masks.get(key)
    if (!mask) {
      mask = new Uint32Array(this.words)
      setBits(mask, ids.subarray(first, last))
      this.masks.set(key, mask)
    }
    return mask
  }
}

/** Tokens of a part, and how many of them have at most a number of characters. */
interface ByLength {
  readonly ids: Uint32Array
  readonly ends: Uint32Array // (longest + 1)
}

function shortestFirst({ ids, characters }: Trie, { first, last, length }: Part): ByLength {
  const sorted = new Uint32Array(last - first)
  const ends = new Uint32Array(length + 1)
  let place = 0
  for (let count = 1; count <= length; count++) {
    for (let i = first; i < last; i++) if (characters[i] === count) sorted[place++] = ids[i] as number
    ends[count] = place
  }
  return { ids: sorted, ends }
}

export function setBit(mask: Uint32Array, id: number): void {
  mask[id >> 5] = (mask[id >> 5] as number) | (1 << (id & 31))
}

export function setBits(mask: Uint32Array, ids: Uint32Array): void {
  for (let i = 0; i < ids.length; i++) setBit(mask, ids[i] as number)
}

export function addMask(mask: Uint32Array, other: Uint32Array): void {
  for (let i = 0; i < mask.length; i++) mask[i] = (mask[i] as number) | (other[i] as number)
}

function tokensOf(vocabulary: Vocabulary, vocabSize: number, controls: ReadonlyMap<number, Uint8Array>): Token[] {
  const tokens: Token[] = []
  for (let id = 0; id < vocabSize; id++) {
    const bytes = vocabulary.bytesOf(id)
    // A vocabulary of bytes has one that stands for control tokens here.
    if (bytes.length > 0 && bytes.length <= LONGEST_TOKEN && !bytes.includes(CONTROL))
      tokens.push({ id, text: latin1(bytes) })
  }
  for (const [id, bytes] of controls)
    if (id < vocabSize && bytes.length <= LONGEST_TOKEN) tokens.push({ id, text: latin1(bytes) })
  return tokens.sort((a, b) => (a.text < b.text ? -1 : a.text === b.text ? a.id - b.id : 1))
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

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}
