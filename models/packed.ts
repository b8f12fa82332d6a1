/**
 * Packed tensors: how weights lie in a file and in the engine's memory, each on a multiple of 64 bytes.
 *
 * Number formats (decision 002). f32: rows padded with zeros to 16 numbers. q8: one byte per weight, w + 64 with w in
 * −63..63, rows padded to 64 bytes, one f32 scale per row. q4: w + 8 with w in −8..7, in blocks of 8 rows × 32 columns,
 * each followed by its 8 scales in bf16.
 *
 *     q4 block   ┃ columns 0..3 of 8 rows ┃ columns 4..7 ┃ … ┃ columns 28..31 ┃ scales of rows 0..7 ┃     144 bytes
 *     16 bytes     byte 4·r + c: row r in the low nibble, row r + 4 in the high one; r, c in 0..3
 *
 * q4k, q4m, q8k, q8m take over the blocks of a GGUF file as they are, with a scale and a minimum: assembly/kernels/blocks.ts
 * has the picture.
 */
import * as abi from '../assembly/abi.ts'
import type { Rope } from './attention.ts'
import type { Source } from './spec.ts'

export const weightTypes = ['f32', 'q8', 'q4'] as const
export type WeightType = (typeof weightTypes)[number]

/** Types of matrices that keep what a GGUF file has, the smallest first. */
export const keptTypes = ['q4k', 'q4m', 'q8k', 'q8m'] as const
export type KeptType = (typeof keptTypes)[number]
export type MatrixType = WeightType | KeptType

export function isKeptType(type: string): type is KeptType {
  return (keptTypes as readonly string[]).includes(type)
}

/** What a model can be packed as; keep: each matrix as its file has it, if a type can hold that, else q8. */
export const packingTypes = [...weightTypes, 'keep'] as const
export type PackingType = (typeof packingTypes)[number]

/** The code of each type in a plan. */
export const matrixCodes: Record<MatrixType, number> = {
  f32: abi.TYPE_F32,
  q8: abi.TYPE_Q8,
  q4: abi.TYPE_Q4,
  q4k: abi.TYPE_Q4K,
  q4m: abi.TYPE_Q4M,
  q8k: abi.TYPE_Q8K,
  q8m: abi.TYPE_Q8M,
}

/** One tensor of the packed file. Its bytes are a multiple of 64, padding being part of the shape. */
export interface PackedTensor {
  name: string
  dtype: 'U8' | 'F32' | 'F64' | 'U32'
  shape: number[]
  /** From the first byte of the packed tensors. */
  offset: number
  bytes: number
  content:
    | { is: 'plan' }
    | { is: 'invFreq'; rope: Rope }
    | { is: 'vector'; sources: Source[] }
    | { is: 'matrix'; type: MatrixType; rows: number; cols: number; sources: Source[]; scales?: PackedTensor }
    | { is: 'scales' }
}

export const ALIGN = 64

/** Words of a Matrix record, in its order. */
export type MatrixWords = readonly [
  type: number,
  rows: number,
  cols: number,
  stride: number,
  data: number,
  scales: number,
]

export const absentMatrix: MatrixWords = [0, 0, 0, 0, 0, 0]

/** A block of q4 weights. */
export const Q4_ROWS: number = abi.Q4_ROWS
export const Q4_COLS: number = abi.Q4_COLS
export const Q4_BYTES: number = abi.Q4_BYTES
/** Blocks of the kept types that share factors, at most, and the bytes of these. */
export const SPAN_BLOCKS: number = abi.SPAN_BLOCKS
export const SPAN_BYTES: number = abi.SPAN_BYTES

type BlockType = Exclude<MatrixType, 'f32' | 'q8'>
const blockBytes: Record<BlockType, number> = {
  q4: Q4_BYTES,
  q4k: abi.Q4K_BYTES,
  q4m: abi.Q4M_BYTES,
  q8k: abi.Q8K_BYTES,
  q8m: abi.Q8M_BYTES,
}

/** Do weights of this type lie in blocks of eight rows? */
export function isInBlocks(type: MatrixType): type is BlockType {
  return type in blockBytes
}

/** Bytes of eight rows of `cols` numbers. */
export function stripeBytes(type: BlockType, cols: number): number {
  const blocks = Math.ceil(cols / Q4_COLS)
  const spans = type === 'q4' ? 0 : Math.ceil(blocks / SPAN_BLOCKS)
  return spans * SPAN_BYTES + blocks * blockBytes[type]
}

/** Collects packed tensors one after the other. */
export class Layout {
  tensors: PackedTensor[] = []
  bytes = 0

  add(name: string, dtype: PackedTensor['dtype'], shape: number[], content: PackedTensor['content']): PackedTensor {
    const width = { U8: 1, F32: 4, U32: 4, F64: 8 }[dtype]
    const bytes = shape.reduce((product, n) => product * n, width)
    if (bytes % ALIGN !== 0) throw new RangeError(`packed tensor ${name} is not padded to ${ALIGN} bytes`)
    const tensor: PackedTensor = { name, dtype, shape, offset: this.bytes, bytes, content }
    this.tensors.push(tensor)
    this.bytes += bytes
    return tensor
  }

  /** Offset of a vector. */
  vector(name: string, length: number, sources: Source[]): number {
    return this.add(name, 'F32', [roundUp(length, ALIGN / 4)], { is: 'vector', sources }).offset
  }

  /** Words of a matrix. */
  matrix(name: string, type: MatrixType, rows: number, cols: number, sources: Source[]): MatrixWords {
    if (type === 'f32') {
      const padded = roundUp(cols, ALIGN / 4)
      const data = this.add(name, 'F32', [rows, padded], { is: 'matrix', type, rows, cols, sources })
      return [abi.TYPE_F32, rows, cols, padded * 4, data.offset, 0]
    }
    if (isInBlocks(type)) {
      const stride = stripeBytes(type, cols)
      // Four times eight rows are a multiple of 64 bytes.
      const blocks = roundUp(Math.ceil(rows / Q4_ROWS), 4)
      const data = this.add(name, 'U8', [blocks, stride], { is: 'matrix', type, rows, cols, sources })
      return [matrixCodes[type], rows, cols, stride, data.offset, 0]
    }
    const stride = roundUp(cols, ALIGN)
    const content: PackedTensor['content'] = { is: 'matrix', type, rows, cols, sources }
    const data = this.add(name, 'U8', [rows, stride], content)
    content.scales = this.add(`${name}.scale`, 'F32', [roundUp(rows, ALIGN / 4)], { is: 'scales' })
    return [abi.TYPE_Q8, rows, cols, stride, data.offset, content.scales.offset]
  }
}

/** Bytes of the first `rows` rows of a packed matrix, their scales with them: what a product with them reads. */
export function matrixBytes({ shape, content }: PackedTensor, rows: number): number {
  if (content.is !== 'matrix') throw new RangeError('only a matrix has rows')
  const width = shape[1] as number
  if (isInBlocks(content.type)) return Math.ceil(rows / Q4_ROWS) * width
  return content.type === 'f32' ? rows * width * 4 : rows * (width + 4)
}

export function roundUp(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple
}
