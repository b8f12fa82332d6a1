/** Little-endian words of packed files, and records of assembly/wasi/abi.ts as bytes. */
import { roundUp } from '../../models/index.ts'

const ALIGN = 64

/** Collects words and bytes. */
export class Writer {
  private readonly parts: Uint8Array[] = []

  words(values: readonly number[]): void {
    const view = new DataView(new ArrayBuffer(4 * values.length))
    for (const [i, value] of values.entries()) view.setUint32(4 * i, value, true)
    this.parts.push(new Uint8Array(view.buffer))
  }

  bytes(values: Uint8Array): void {
    this.parts.push(values)
  }

  /** The words of a record: the fields of `values` in the order of `empty`, a new one. A field that is NaN there is f32. */
  record<T extends object>(empty: T, values: { readonly [K in keyof T]: number }): void {
    const names = Object.keys(empty) as (keyof T)[]
    const view = new DataView(new ArrayBuffer(4 * names.length))
    for (const [i, name] of names.entries())
      if (Number.isNaN(empty[name])) view.setFloat32(4 * i, values[name], true)
      else view.setUint32(4 * i, values[name], true)
    this.parts.push(new Uint8Array(view.buffer))
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
