/** The values of a GGUF file's header that say what the model is: by name, checked for type and range. */
import { show } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import type { GgufFile, GgufValue } from './file.ts'

/** Values by the part of their key behind the architecture. */
export class Keys {
  readonly gguf: GgufFile
  readonly architecture: string

  constructor(gguf: GgufFile) {
    this.gguf = gguf
    const found = gguf.values.get('general.architecture')
    if (typeof found !== 'string') throw errors.badFile(gguf.path, '"general.architecture"', 'a text', show(found))
    this.architecture = found
  }

  get(name: string): GgufValue | undefined {
    return this.gguf.values.get(`${this.architecture}.${name}`)
  }

  /** A finite number; `fallback` if there is none. One that was rounded to an f32 is the shortest that rounds to it. */
  number(name: string, fallback?: number): number {
    const value = this.get(name) ?? fallback
    const found = typeof value === 'bigint' ? Number(value) : value
    if (typeof found !== 'number' || !Number.isFinite(found)) throw this.refuse(name, 'a number')
    return shortest(found)
  }

  integer(name: string, fallback?: number): number {
    const found = this.number(name, fallback)
    if (!Number.isSafeInteger(found) || found < 0) throw this.refuse(name, 'a whole number')
    return found
  }

  boolean(name: string, fallback: boolean): boolean {
    const found = this.get(name) ?? fallback
    if (typeof found !== 'boolean') throw this.refuse(name, 'true or false')
    return found
  }

  /** Is there a tensor of that name in the first layer? */
  hasTensor(name: string): boolean {
    return this.gguf.tensors.has(`blk.0.${name}`)
  }

  /** A list of whole numbers; undefined where the value is none. */
  list(name: string): number[] | undefined {
    const value = this.get(name)
    if (typeof value !== 'object' || value.length === 0 || value.length > 1024) return undefined
    const numbers = Array.from(value as ArrayLike<unknown>, Number)
    if (numbers.some((one) => !Number.isSafeInteger(one) || one < 0)) throw this.refuse(name, 'whole numbers')
    return numbers
  }

  /** A number, or nothing. */
  optional(name: string): number | undefined {
    return this.get(name) === undefined ? undefined : this.number(name)
  }

  refuse(name: string, expected: string): Error {
    return errors.badFile(this.gguf.path, `"${this.architecture}.${name}"`, expected, showValue(this.get(name)))
  }
}

/** 9.999999974752427e-7 was 1e-6 before it was an f32. */
export function shortest(value: number): number {
  if (Number.isInteger(value) || Math.fround(value) !== value) return value
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return value
}

function showValue(value: GgufValue | undefined): string {
  return typeof value === 'object' && typeof value.length === 'number' ? `a list of ${value.length}` : String(value)
}
