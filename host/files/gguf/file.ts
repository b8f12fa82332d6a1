/**
 * GGUF, the file format of llama.cpp (ggml, docs/gguf.md), read as hostile until checked:
 *
 *     "GGUF" ┃ u32 version ┃ u64 tensors ┃ u64 values ┃ { key, u32 type, value } … ┃
 *     { name, u32 dimensions, u64 … , u32 type, u64 offset } … ┃ padding ┃ data
 *
 * A text is its length (u64) and UTF-8; a list is a type, a count and its items. Version 1 has u32 for all counts. Everything
 * is little-endian; the first dimension of a tensor is that of a row's numbers, so shapes are turned round here.
 */
import { show } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import type { ByteSource } from '../source.ts'
import { type BlockType, blockTypes } from './blocks.ts'

export type GgufScalar = number | bigint | boolean | string
export type GgufList = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array | BigUint64Array | BigInt64Array | string[] // biome-ignore format: one line
export type GgufValue = GgufScalar | GgufList

export interface GgufTensor {
  name: string
  type: BlockType
  /** Rows before numbers of a row, as in safetensors. */
  shape: number[]
  /** Bytes in the file. */
  begin: number
  bytes: number
}

export interface GgufFile {
  path: string
  file: ByteSource
  version: number
  values: Map<string, GgufValue>
  tensors: Map<string, GgufTensor>
}

/** What stands before the data: a vocabulary of 262144 tokens with its merges takes some 15 MB. */
const MAX_HEADER = 2 ** 28
/** What is read at first, and doubled until the header ends in it. */
const FIRST_READ = 2 ** 20
const MAX_TENSORS = 65_536
const MAX_VALUES = 65_536
const MAX_TEXT = 2 ** 24
const ALIGNMENT = 32

/** The header goes on behind what was read so far. */
class Unfinished extends Error {}

/** Reads a header and checks it; throws BAD_FILE or NOT_A_MODEL. */
export async function readGguf(path: string, file: ByteSource): Promise<GgufFile> {
  const most = Math.min(file.size, MAX_HEADER)
  for (let length = Math.min(FIRST_READ, most); ; length = Math.min(2 * length, most)) {
    const bytes = new Uint8Array(length)
    await file.read(bytes, 0)
    try {
      return { path, file, ...new HeaderReader(path, bytes, file.size).read() }
    } catch (error) {
      if (!(error instanceof Unfinished)) throw error
      if (length === most)
        throw errors.badFile(path, 'the header', `complete within ${most} bytes`, 'that it goes on behind them')
    }
  }
}

/** Sizes and readers of the value types, by their number. */
const scalars: Record<number, { bytes: number; read: (view: DataView, at: number) => number | bigint }> = {
  0: { bytes: 1, read: (view, at) => view.getUint8(at) },
  1: { bytes: 1, read: (view, at) => view.getInt8(at) },
  2: { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  3: { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  4: { bytes: 4, read: (view, at) => view.getUint32(at, true) },
  5: { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  6: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  7: { bytes: 1, read: (view, at) => view.getUint8(at) },
  10: { bytes: 8, read: (view, at) => view.getBigUint64(at, true) },
  11: { bytes: 8, read: (view, at) => view.getBigInt64(at, true) },
  12: { bytes: 8, read: (view, at) => view.getFloat64(at, true) },
}
const BOOL = 7
const TEXT = 8
const LIST = 9
const lists = [Uint8Array, Int8Array, Uint16Array, Int16Array, Uint32Array, Int32Array, Float32Array, Uint8Array, undefined, undefined, BigUint64Array, BigInt64Array, Float64Array] as const // biome-ignore format: by type

class HeaderReader {
  private readonly path: string
  private readonly bytes: Uint8Array
  private readonly view: DataView
  /** Of the whole file. */
  private readonly size: number
  private readonly decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  private at = 0
  private version = 0

  constructor(path: string, bytes: Uint8Array, size: number) {
    this.path = path
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
    this.size = size
  }

  read(): Pick<GgufFile, 'version' | 'values' | 'tensors'> {
    if (this.u32() !== 0x46554747) throw errors.badFile(this.path, 'the first four bytes', '"GGUF"', 'others')
    this.version = this.u32()
    if (this.version === 0x02000000 || this.version === 0x03000000)
      throw errors.badFile(this.path, 'the byte order', 'little-endian', 'big-endian')
    if (this.version < 1 || this.version > 3) throw errors.badFile(this.path, 'the version', '1, 2 or 3', this.version)
    const tensorCount = this.count('the number of tensors', MAX_TENSORS)
    const valueCount = this.count('the number of values', MAX_VALUES)
    const values = new Map<string, GgufValue>()
    for (let i = 0; i < valueCount; i++) {
      const key = this.text('a key')
      if (values.has(key)) throw errors.badFile(this.path, `the key ${show(key)}`, 'there once', 'it twice')
      values.set(key, this.value(key, this.u32()))
    }
    const alignment = this.alignment(values)
    const infos: (GgufTensor & { offset: number })[] = []
    for (let i = 0; i < tensorCount; i++) infos.push(this.tensor(alignment))
    const dataStart = Math.ceil(this.at / alignment) * alignment
    return { version: this.version, values, tensors: this.place(infos, dataStart) }
  }

  private alignment(values: Map<string, GgufValue>): number {
    const found = values.get('general.alignment') ?? ALIGNMENT
    const isPower = typeof found === 'number' && Number.isInteger(Math.log2(found)) && found >= 1 && found <= 2 ** 20
    if (!isPower) throw errors.badFile(this.path, '"general.alignment"', 'a power of two up to 2^20', show(found))
    return found
  }

  private tensor(alignment: number): GgufTensor & { offset: number } {
    const name = this.text('the name of a tensor')
    const what = `tensor ${show(name)}`
    const dimensions = this.u32()
    if (dimensions < 1 || dimensions > 4)
      throw errors.badFile(this.path, `the number of dimensions of ${what}`, '1 to 4', dimensions)
    const shape = Array.from({ length: dimensions }, () => this.count(`a dimension of ${what}`, 2 ** 32)).reverse()
    const number = this.u32()
    const type = blockTypes.get(number)
    if (!type) throw errors.badFile(this.path, `the type of ${what}`, 'one of those that ggml has', number)
    const offset = this.wide(`the offset of ${what}`, Number.MAX_SAFE_INTEGER)
    if (offset % alignment !== 0)
      throw errors.badFile(this.path, `the offset of ${what}`, `a multiple of ${alignment}`, offset)
    const row = shape.at(-1) as number
    const count = shape.reduce((product, n) => product * n, 1)
    if (count < 1 || row % type.values !== 0)
      throw errors.badFile(this.path, `a row of ${what}`, `blocks of ${type.values} numbers, as ${type.name} has`, row)
    const bytes = (count / type.values) * type.bytes
    if (!(bytes <= this.size))
      throw errors.badFile(this.path, `the bytes of ${what}`, `at most the ${this.size} of the file`, bytes)
    return { name, type, shape, begin: 0, bytes, offset }
  }

  /** All tensors within the file, and none within another. */
  private place(infos: (GgufTensor & { offset: number })[], dataStart: number): Map<string, GgufTensor> {
    const tensors = new Map<string, GgufTensor>()
    for (const { offset, ...tensor } of infos) {
      const what = `tensor ${show(tensor.name)}`
      if (tensors.has(tensor.name)) throw errors.badFile(this.path, what, 'there once', 'it twice')
      tensor.begin = dataStart + offset
      if (tensor.begin + tensor.bytes > this.size)
        throw errors.badFile(this.path, `the end of ${what}`, `within ${this.size} bytes`, tensor.begin + tensor.bytes)
      tensors.set(tensor.name, tensor)
    }
    let end = dataStart
    for (const { name, begin, bytes } of [...tensors.values()].sort((a, b) => a.begin - b.begin)) {
      if (begin < end)
        throw errors.badFile(this.path, `tensor ${show(name)}`, 'behind its predecessor', 'it overlaps it')
      end = begin + bytes
    }
    return tensors
  }

  private value(key: string, type: number): GgufValue {
    if (type === TEXT) return this.text(`the value of ${show(key)}`)
    if (type === LIST) return this.list(key)
    const scalar = scalars[type]
    if (!scalar) throw errors.badFile(this.path, `the type of ${show(key)}`, 'a number from 0 to 12', type)
    const found = scalar.read(this.view, this.take(scalar.bytes))
    return type === BOOL ? this.bool(key, found) : found
  }

  private bool(key: string, found: number | bigint): boolean {
    if (found !== 0 && found !== 1) throw errors.badFile(this.path, `the value of ${show(key)}`, '0 or 1', found)
    return found === 1
  }

  private list(key: string): GgufList {
    const type = this.u32()
    const what = `the list ${show(key)}`
    if (type === LIST) throw errors.badFile(this.path, what, 'a list of numbers or texts', 'a list of lists')
    const scalar = scalars[type]
    if (!scalar && type !== TEXT) throw errors.badFile(this.path, `the type of ${what}`, 'a number from 0 to 12', type)
    const least = scalar?.bytes ?? (this.version === 1 ? 4 : 8)
    const count = this.count(`the length of ${what}`, Math.floor(this.size / least))
    if (type === TEXT) {
      // A header that ends before it is not worth a list of its length.
      if (this.at + count * least > this.bytes.length) throw new Unfinished()
      return Array.from({ length: count }, () => this.text(`a text of ${what}`))
    }
    const List = lists[type] as typeof Uint8Array
    const at = this.take(count * least)
    return new List(this.bytes.slice(at, at + count * least).buffer)
  }

  /** A count, u64 since version 2; at most `max`. */
  private count(what: string, max: number): number {
    if (this.version > 1) return this.wide(what, max)
    const found = this.u32()
    if (found > max) throw errors.badFile(this.path, what, `at most ${max}`, found)
    return found
  }

  /** A u64, at most `max`. */
  private wide(what: string, max: number): number {
    const found = this.view.getBigUint64(this.take(8), true)
    if (found > max) throw errors.badFile(this.path, what, `at most ${max}`, found)
    return Number(found)
  }

  private text(what: string): string {
    const length = this.count(`the length of ${what}`, Math.min(MAX_TEXT, this.size))
    const at = this.take(length)
    try {
      return this.decoder.decode(this.bytes.subarray(at, at + length))
    } catch {
      throw errors.badFile(this.path, what, 'UTF-8 text', 'other bytes')
    }
  }

  private u32(): number {
    return this.view.getUint32(this.take(4), true)
  }

  /** The place of the next so many bytes. */
  private take(count: number): number {
    const { at } = this
    if (at + count > this.size) throw errors.badFile(this.path, 'the size', `at least ${at + count} bytes`, this.size)
    if (at + count > this.bytes.length) throw new Unfinished()
    this.at = at + count
    return at
  }
}
