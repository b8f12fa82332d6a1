/** Little-endian words, records and bytes, one behind the other. */
import { roundUp } from '../../models/index.ts'
import { wordsOf } from '../../models/records.ts'

const ALIGN = 64

/** Collects words and bytes. */
export class Writer {
  private readonly parts: Uint8Array[] = []

  words(values: ArrayLike<number>): void {
    this.parts.push(new Uint8Array(Uint32Array.from(values).buffer))
  }

  bytes(values: Uint8Array): void {
    this.parts.push(values)
  }

  /** A record, from its fields by name. */
  record<T extends object>(record: T, fields: { [K in keyof T]: number }): void {
    this.parts.push(new Uint8Array(wordsOf(record, fields).buffer))
  }

  /** All of it, padded with zeros to 64 bytes. */
  end(): Uint8Array {
    const length = this.parts.reduce((sum, part) => sum + part.length, 0)
    const result = new Uint8Array(roundUp(length, ALIGN))
    let at = 0
    for (const part of this.parts) {
      result.set(part, at)
      at += part.length
    }
    return result
  }
}
