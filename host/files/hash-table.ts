/**
 * Tensor "sha256" of a packed file, its last one: hashes of all that lies before it. U8, 64 hex digits for each: first of the
 * header, then of every tensor in the order of the file.
 */
import type { SafetensorsFile, TensorInfo } from './safetensors.ts'

export const HASH_TENSOR = 'sha256'

/** Hex digits of one hash. */
export const DIGITS = 64

/** Bytes of the table for so many tensors. */
export const hashTableBytes = (tensors: number) => (1 + tensors) * DIGITS

/** Tensors that have a hash: all but the table itself, in the order of the file. */
export function hashedTensors({ tensors }: SafetensorsFile): TensorInfo[] {
  return [...tensors.values()].filter(({ name }) => name !== HASH_TENSOR).sort((a, b) => a.begin - b.begin)
}

/** Tensors that have a hash; 0 for a file without hashes. */
export function countHashes(opened: SafetensorsFile): number {
  return opened.tensors.has(HASH_TENSOR) ? hashedTensors(opened).length : 0
}
