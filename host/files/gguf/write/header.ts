/** Writes what stands before the data of a GGUF file, version 3; the picture is in ../file.ts. */

/** As file.ts reads it where the file says nothing. */
export const ALIGNMENT = 32

/** Numbers of value types. */
const U32 = 4
const I32 = 5
const F32 = 6
const BOOL = 7
const TEXT = 8
const LIST = 9

/** A key and its value as bytes. */
export interface Entry {
  key: string
  bytes: Uint8Array
}

/** A tensor's place: rows before numbers of a row; bytes from the start of the data on. */
export interface TensorInfo {
  name: string
  shape: readonly number[]
  /** Number of its type: blocks.ts. */
  type: number
  offset: number
}

const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer)
const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
const f32 = (value: number) => Buffer.from(Float32Array.of(value).buffer)

function text(value: string): Uint8Array {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}

const entry = (key: string, type: number, value: Uint8Array): Entry => ({
  key,
  bytes: Buffer.concat([text(key), u32(type), value]),
})
const list = (key: string, type: number, length: number, values: Uint8Array) =>
  entry(key, LIST, Buffer.concat([u32(type), u64(length), values]))

/** Entries by the type of their value. */
export const entries = {
  integer: (key: string, value: number) => entry(key, U32, u32(value)),
  number: (key: string, value: number) => entry(key, F32, f32(value)),
  boolean: (key: string, value: boolean) => entry(key, BOOL, Uint8Array.of(value ? 1 : 0)),
  text: (key: string, value: string) => entry(key, TEXT, text(value)),
  texts: (key: string, values: readonly string[]) =>
    list(key, TEXT, values.length, Buffer.concat(values.map((value) => text(value)))),
  integers: (key: string, values: readonly number[]) =>
    list(key, I32, values.length, Buffer.from(Int32Array.from(values).buffer)),
  numbers: (key: string, values: readonly number[]) =>
    list(key, F32, values.length, Buffer.from(Float32Array.from(values).buffer)),
  booleans: (key: string, values: readonly boolean[]) =>
    list(
      key,
      BOOL,
      values.length,
      Uint8Array.from(values, (value) => (value ? 1 : 0)),
    ),
}

/** All of it, up to the first byte of data. */
export function encodeHeader(values: readonly Entry[], tensors: readonly TensorInfo[]): Uint8Array {
  const table = tensors.map(({ name, shape, type, offset }) =>
    Buffer.concat([text(name), u32(shape.length), ...shape.toReversed().map(u64), u32(type), u64(offset)]),
  )
  const head = [Buffer.from('GGUF'), u32(3), u64(table.length), u64(values.length)]
  const header = Buffer.concat([...head, ...values.map(({ bytes }) => bytes), ...table])
  return Buffer.concat([header, new Uint8Array(align(header.length) - header.length)])
}

export const align = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT
