/**
 * Safetensors files (github.com/huggingface/safetensors, README "Format"), read as hostile until checked:
 *
 *     u64 header length ┃ JSON header, padded with spaces ┃ data
 *     header = { name: { dtype, shape, data_offsets: [begin, end] }, __metadata__: { text: text } }
 *
 * Rules of the format, all enforced: header ≤ 100 MB and inside the file, starts with '{', sizes are shape × dtype,
 * tensors lie one after the other without holes or overlap and fill the file exactly.
 */
import { show } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { parseJson } from '../json.ts'
import { refuseOtherKind } from './other-kinds.ts'
import type { ByteSource } from './source.ts'

export const dtypeBytes = {
  F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1, F8_E4M3: 1, F8_E5M2: 1,
} as const // biome-ignore format: a table
export type Dtype = keyof typeof dtypeBytes

const MAX_HEADER = 100_000_000

export interface TensorInfo {
  name: string
  dtype: Dtype
  shape: number[]
  /** Bytes in the file. */
  begin: number
  bytes: number
}

export interface SafetensorsFile {
  path: string
  file: ByteSource
  metadata: Record<string, string>
  tensors: Map<string, TensorInfo>
  /** File position of the first tensor. */
  dataStart: number
}

/** Reads a header and checks it. */
export async function readSafetensors(path: string, file: ByteSource): Promise<SafetensorsFile> {
  return { path, file, ...parse(path, await readHeader(path, file), file.size) }
}

async function readHeader(path: string, file: ByteSource): Promise<Uint8Array> {
  const { size } = file
  const prefix = new DataView(new ArrayBuffer(8))
  if (size < 8) throw errors.badFile(path, 'the size', 'at least 8 bytes', `${size}`)
  await file.read(new Uint8Array(prefix.buffer), 0)
  const length = prefix.getBigUint64(0, true)
  if (length > BigInt(MAX_HEADER) || Number(length) > size - 8)
    refuseOtherKind(path, new Uint8Array(prefix.buffer), 'a .gta or .safetensors file')
  if (length > BigInt(MAX_HEADER)) throw errors.badFile(path, 'the header length', `at most ${MAX_HEADER}`, length)
  if (Number(length) > size - 8)
    throw errors.badFile(path, 'the header length', `at most the ${size - 8} bytes that follow`, length)
  const header = new Uint8Array(Number(length))
  await file.read(header, 8)
  if (header[0] !== 0x7b) throw errors.badFile(path, 'the header', 'JSON that starts with "{"', `byte ${header[0]}`)
  return header
}

function parse(path: string, header: Uint8Array, size: number) {
  const dataStart = 8 + header.length
  let json: Record<string, unknown>
  try {
    json = parseJson(header) as Record<string, unknown>
  } catch (cause) {
    throw errors.badJson(path, cause)
  }
  const metadata: Record<string, string> = {}
  const tensors = new Map<string, TensorInfo>()
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') Object.assign(metadata, checkMetadata(path, value))
    else tensors.set(name, checkTensor(path, name, value, dataStart))
  }
  let next = dataStart
  for (const tensor of [...tensors.values()].sort((a, b) => a.begin - b.begin || a.bytes - b.bytes)) {
    if (tensor.begin !== next)
      throw errors.badFile(
        path,
        `tensor "${tensor.name.slice(0, 200)}"`,
        `at offset ${next - dataStart}, right behind its predecessor`,
        tensor.begin - dataStart,
      )
    next += tensor.bytes
  }
  // A size that nobody told is that of the header; what comes behind it is found when it comes.
  if (Number.isFinite(size) && next !== size)
    throw errors.badFile(path, 'the size', `${next} bytes as its header says`, size)
  return { metadata, tensors, dataStart }
}

function checkMetadata(path: string, value: unknown): Record<string, string> {
  const isTexts =
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((v) => typeof v === 'string')
  if (!isTexts) throw errors.badFile(path, '"__metadata__"', 'an object of texts', show(value))
  return value as Record<string, string>
}

function checkTensor(path: string, name: string, value: unknown, dataStart: number): TensorInfo {
  const what = `tensor "${name.slice(0, 200)}"`
  const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypeBytes, dtype))
    throw errors.badFile(path, `dtype of ${what}`, `one of ${Object.keys(dtypeBytes).join(', ')}`, show(dtype))
  if (!isCounts(shape) || shape.length > 8)
    throw errors.badFile(path, `shape of ${what}`, 'a list of whole numbers', show(shape))
  if (!isCounts(offsets) || offsets.length !== 2)
    throw errors.badFile(path, `data_offsets of ${what}`, '[begin, end]', show(offsets))
  const bytes = shape.reduce((product, n) => product * n, dtypeBytes[dtype as Dtype])
  const [begin = 0, end = 0] = offsets
  if (!Number.isSafeInteger(bytes) || end - begin !== bytes)
    throw errors.badFile(
      path,
      `data_offsets of ${what}`,
      `${bytes} bytes apart, as ${dtype} [${shape}] needs`,
      end - begin,
    )
  return { name, dtype: dtype as Dtype, shape, begin: dataStart + begin, bytes }
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0)
}

/** Header bytes for tensors in file order, padded with spaces so that the data starts at a multiple of 64. */
export function encodeHeader(
  metadata: Record<string, string>,
  tensors: { name: string; dtype: Dtype; shape: number[]; offset: number; bytes: number }[],
): Uint8Array {
  const entries = tensors.map(({ name, dtype, shape, offset, bytes }) => [
    name,
    { dtype, shape, data_offsets: [offset, offset + bytes] },
  ])
  const json = new TextEncoder().encode(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }))
  const length = Math.ceil((json.length + 8) / 64) * 64 - 8
  const header = new Uint8Array(8 + length).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true)
  header.set(json, 8)
  return header
}
