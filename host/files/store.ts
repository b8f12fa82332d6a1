import type { KeptType } from '../../models/index.ts'

/** The tensors of a checkpoint by their Hugging Face names, wherever they lie. */
export interface TensorStore {
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** Numbers `from` … `from + count` of a tensor, as f32. */
  read(tensor: string, from: number, count: number): Promise<Float32Array>
  /** Rows of a matrix that has `keptAs`, in this order, as they are kept. */
  readKept?(tensor: string, rows: readonly number[]): Promise<KeptRows>
  /** Tensors of its layers that the model has no place for would change its words: they are refused. */
  readonly refusesOthers?: boolean
  close(): Promise<void>
}

export interface StoredTensor {
  shape: readonly number[]
  /** Name of its type, and whether its numbers can be read. */
  type: string
  isReadable: boolean
  /** Packed types that take its numbers over as they are; absent: none. */
  keptAs?: readonly KeptType[]
}

/** Rows of numbers (factor · scale) · q − (minimumFactor · minimum). */
export interface KeptRows {
  count: number
  cols: number
  /** 0 … 127, (count, cols). */
  q: Uint8Array
  /** Columns that have one scale and one minimum: 32 or 16. */
  group: number
  /** (count, cols / group), whole numbers of eight bits, or f16. */
  scales: Float32Array
  minima: Float32Array
  /** (count, cols / 256, rounded up) */
  factors: Float32Array
  minimumFactors: Float32Array
}

/** Columns that have one factor. */
export const SPAN_COLS = 256

export function emptyRows(count: number, cols: number, group: number): KeptRows {
  const groups = count * Math.ceil(cols / group)
  const spans = count * Math.ceil(cols / SPAN_COLS)
  return {
    count,
    cols,
    q: new Uint8Array(count * cols),
    group,
    scales: new Float32Array(groups),
    minima: new Float32Array(groups),
    factors: new Float32Array(spans).fill(1),
    minimumFactors: new Float32Array(spans).fill(1),
  }
}
