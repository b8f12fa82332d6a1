/**
 * SentencePiece's precompiled_charsmap: which characters, or sequences of them, become which text before a tokenizer sees
 * them (NFKC and the like). It is a trie over UTF-8 bytes as darts-clone lays it out, and a pool of texts:
 *
 *     u32 bytes of the trie │ units of the trie, u32 each │ texts, each with a zero behind it
 *
 *     unit    bits 0–7 label, 8 has a value, 9 the offset is × 256, 10–30 offset to its children (exclusive or)
 *     value   bit 31 and the place of a text in the pool
 *
 * Source: google/sentencepiece, src/normalizer.cc; s-yata/darts-clone, include/darts.h.
 */

/** A rule that holds at a place of a text. */
export interface Rule {
  /** Bytes that it replaces. */
  length: number
  text: string
}

export class Charsmap {
  private readonly units: Uint32Array
  private readonly pool: Uint8Array
  private readonly texts = new Map<number, string>()

  /** Throws Error if the parts do not fit together. */
  constructor(bytes: Uint8Array) {
    const size = bytes.length < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
    if (size === 0 || size % 4 !== 0 || size > bytes.length - 4)
      throw new Error(`its charsmap has a trie of ${size} bytes in ${bytes.length}`)
    this.units = new Uint32Array(bytes.slice(4, 4 + size).buffer)
    this.pool = bytes.slice(4 + size)
    if (this.pool.at(-1) !== 0) throw new Error('the last text of its charsmap has no end')
  }

  /** The rule for the most bytes at `begin`, or for the fewest. Throws Error where the trie points outside of itself. */
  find(bytes: Uint8Array, begin: number, end: number, isLongest: boolean): Rule | undefined {
    let found: { length: number; value: number } | undefined
    let place = offsetOf(this.unit(0))
    for (let i = begin; i < end; i++) {
      const byte = bytes[i] as number
      const unit = this.unit((place ^ byte) >>> 0)
      // The bit of a value is part of the label, so that no value is taken for a byte.
      if ((unit & 0x800000ff) !== byte) break
      place = (place ^ byte ^ offsetOf(unit)) >>> 0
      if ((unit & 0x100) === 0) continue
      found = { length: i + 1 - begin, value: this.unit(place) & 0x7fffffff }
      if (!isLongest) break
    }
    return found && { length: found.length, text: this.textAt(found.value) }
  }

  private unit(place: number): number {
    const unit = this.units[place]
    if (unit === undefined) throw new Error('the trie of its charsmap points outside of itself')
    return unit
  }

  private textAt(value: number): string {
    let text = this.texts.get(value)
    if (text !== undefined) return text
    if (value >= this.pool.length) throw new Error('the trie of its charsmap points outside of the texts')
    const end = this.pool.indexOf(0, value)
    text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.pool.subarray(value, end))
    this.texts.set(value, text)
    return text
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >> 6)
}

/** Bytes of base64. Throws Error. */
export function bytesOfBase64(text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  } catch {
    throw new Error('its charsmap is not base64')
  }
}
