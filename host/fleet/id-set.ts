/**
 * Which of millions of requests were seen: 128 bits of the hash of each, in one table, some 32 bytes a request. Two requests of
 * one hash would be taken for one; with SHA-256 nobody finds such two.
 */
import { createHash } from 'node:crypto'

/** 32-bit words of an entry. */
const WORDS = 4

export class IdSet {
  size = 0
  /** (places, WORDS); all zeros: free. */
  private table = new Uint32Array(1024 * WORDS)

  /** False if it was there. */
  add(text: string): boolean {
    const words = wordsOf(text)
    if (!this.insert(words, 0)) return false
    this.size++
    if (this.size * 2 * WORDS > this.table.length) this.grow()
    return true
  }

  has(text: string): boolean {
    const words = wordsOf(text)
    return this.isAt(this.placeOf(words, 0), words, 0)
  }

  private get places(): number {
    return this.table.length / WORDS
  }

  private isAt(place: number, words: Uint32Array, from: number): boolean {
    for (let i = 0; i < WORDS; i++) if (this.table[place * WORDS + i] !== words[from + i]) return false
    return true
  }

  /** Where it is, or where it belongs. */
  private placeOf(words: Uint32Array, from: number): number {
    const { places } = this
    // The number of places is a power of two.
    let place = (words[from] as number) & (places - 1)
    while (isTaken(this.table, place * WORDS) && !this.isAt(place, words, from)) place = (place + 1) & (places - 1)
    return place
  }

  private insert(words: Uint32Array, from: number): boolean {
    const place = this.placeOf(words, from)
    if (this.isAt(place, words, from)) return false
    this.table.set(words.subarray(from, from + WORDS), place * WORDS)
    return true
  }

  private grow(): void {
    const old = this.table
    this.table = new Uint32Array(old.length * 2)
    for (let from = 0; from < old.length; from += WORDS) if (isTaken(old, from)) this.insert(old, from)
  }
}

const isTaken = (table: Uint32Array, at: number) => (table[at] || table[at + 1] || table[at + 2] || table[at + 3]) !== 0

function wordsOf(text: string): Uint32Array {
  const hash = hashOf(text)
  return new Uint32Array(hash.buffer.slice(hash.byteOffset, hash.byteOffset + 4 * WORDS))
}

/** Of the characters as they are: half a surrogate pair, which JSON can hold, has no UTF-8. */
export function hashOf(text: string): Buffer {
  return createHash('sha256').update(Buffer.from(text, 'utf16le')).digest()
}
