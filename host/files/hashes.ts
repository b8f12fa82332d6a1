/**
 * Writes and checks the hashes of a packed file (hash-table.ts). Loading does not look at them; `--verify` reads the whole
 * file and names what has changed, be it by one bit.
 */

import { platform } from '#platform'
import { largest } from '../../models/index.ts'
import { errors } from '../errors.ts'
import type { Hash } from '../platform/platform.ts'
import { DIGITS, HASH_TENSOR, hashedTensors } from './hash-table.ts'
import type { SafetensorsFile } from './safetensors.ts'
import type { ReadOptions } from './source.ts'

/** Bytes read at a time. */
const PIECE = 2 ** 24

/** Hashes of tensors that are written piece by piece; the pieces of each one come in their order. */
export class TensorHashes {
  private readonly tensors: { offset: number; end: number; next: number; hash: Hash }[]

  /** In the order of the file; offsets and bytes as in the plan. */
  constructor(tensors: readonly { offset: number; bytes: number }[]) {
    this.tensors = tensors.map(({ offset, bytes }) => ({
      offset,
      end: offset + bytes,
      next: offset,
      hash: platform.createHash(),
    }))
  }

  update(offset: number, bytes: Uint8Array): void {
    const tensor = this.tensors.find(({ next, end }) => offset === next && offset + bytes.length <= end)
    if (!tensor) throw new RangeError(`bytes at offset ${offset} are of no tensor, or not the next ones of it`)
    tensor.hash.update(bytes)
    tensor.next += bytes.length
  }

  /** The table, once all is written; `header` is what stands before the tensors. */
  table(header: Uint8Array): Uint8Array {
    const open = this.tensors.find(({ next, end }) => next !== end)
    if (open) throw new RangeError(`the tensor at offset ${open.offset} was not written to its end`)
    const hashes = [platform.createHash().update(header), ...this.tensors.map(({ hash }) => hash)]
    return new TextEncoder().encode(hashes.map((hash) => hash.digest('hex')).join(''))
  }
}

/** Reads a whole packed file. Throws BAD_FILE with the names of what is not as it was written. */
export async function verifyHashes(opened: SafetensorsFile, { signal, onProgress }: ReadOptions = {}): Promise<void> {
  const { path, file, tensors, dataStart } = opened
  const table = tensors.get(HASH_TENSOR)
  if (!table) throw errors.noHashes(path)
  const subjects = [{ name: 'the header', begin: 0, bytes: dataStart }, ...hashedTensors(opened)]
  if (table.bytes !== subjects.length * DIGITS)
    throw errors.badFile(path, `tensor "${HASH_TENSOR}"`, `${subjects.length * DIGITS} bytes`, table.bytes)
  const expected = new Uint8Array(table.bytes)
  await file.read(expected, table.begin)
  const buffer = new Uint8Array(Math.min(PIECE, largest(subjects.map(({ bytes }) => bytes))))
  const total = subjects.reduce((sum, { bytes }) => sum + bytes, 0)
  let done = 0
  const damaged: string[] = []
  for (const [i, { name, begin, bytes }] of subjects.entries()) {
    const hash = platform.createHash()
    for (let at = 0; at < bytes; at += PIECE) {
      signal?.throwIfAborted()
      const part = buffer.subarray(0, Math.min(PIECE, bytes - at))
      await file.read(part, begin + at)
      hash.update(part)
      done += part.length
      onProgress?.({ done, total })
    }
    const found = new TextEncoder().encode(hash.digest('hex'))
    const wanted = expected.subarray(i * DIGITS, (i + 1) * DIGITS)
    if (found.some((digit, k) => digit !== wanted[k])) damaged.push(name.slice(0, 200))
  }
  if (damaged.length > 0) throw errors.damaged(path, damaged)
}
