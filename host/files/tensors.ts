/**
 * From a checkpoint to packed tensors, quantised if they are to be. It goes in slices of a few MB, so memory does not grow
 * with the model.
 */
import {
  derivedBytes,
  isInBlocks,
  isKeptType,
  type KeptType,
  type MatrixType,
  type PackedTensor,
  type Plan,
  Q4_ROWS,
  type Source,
} from '../../models/index.ts'
import type { Checkpoint } from './checkpoint.ts'
import { packKept } from './kept.ts'
import { QuantizationError, quantizeBlocks, quantizeRows } from './quantize.ts'

/** Numbers converted at a time. */
const SLICE = 2 ** 21

/** Receives packed bytes; offsets count from the first packed tensor. */
export type Sink = (offset: number, bytes: Uint8Array) => Promise<void> | void

export interface PackOptions {
  /** Told after every tensor. */
  onProgress?: (progress: { done: number; total: number }) => void
  /** Told what quantisation did to a matrix: root mean square of its error over that of its weights. */
  onError?: (error: { tensor: string; type: MatrixType; relative: number }) => void
  signal?: AbortSignal
}

/** Converts all tensors of a plan, one after the other, into the sink. */
export async function packTensors(
  checkpoint: Checkpoint,
  plan: Plan,
  sink: Sink,
  options: PackOptions = {},
): Promise<void> {
  for (const tensor of plan.tensors) {
    options.signal?.throwIfAborted()
    const derived = derivedBytes(plan, tensor)
    if (derived) await sink(tensor.offset, derived)
    else if (tensor.content.is === 'vector') await packVector(checkpoint, tensor, tensor.content.sources, sink)
    else if (tensor.content.is === 'matrix') await packMatrix(checkpoint, tensor, tensor.content, sink, options)
    options.onProgress?.({ done: tensor.offset + tensor.bytes, total: plan.bytes })
  }
}

async function packVector(checkpoint: Checkpoint, target: PackedTensor, sources: Source[], sink: Sink): Promise<void> {
  const padded = new Float32Array(target.bytes / 4)
  let at = 0
  for (const source of sources) {
    const { tensor, timesTensor, shape, rows, transposedBlocks } = source
    const length = shape.reduce((product, n) => product * n, 1)
    const values = tensor === undefined ? new Float32Array(length) : await checkpoint.read(tensor, 0, length)
    const factors = timesTensor === undefined ? undefined : await checkpoint.read(timesTensor, 0, length)
    if (factors) for (let i = 0; i < length; i++) values[i] = (values[i] as number) * (factors[i] as number)
    const turned = transposedBlocks ? transpose(values, shape[0] ?? 1) : values
    const taken = rows ? Float32Array.from(rows, (row) => turned[row] as number) : turned
    padded.set(adjusted(taken, source), at)
    at += taken.length
  }
  await sink(target.offset, new Uint8Array(padded.buffer))
}

type MatrixContent = Extract<PackedTensor['content'], { is: 'matrix' }>

async function packMatrix(
  checkpoint: Checkpoint,
  target: PackedTensor,
  content: MatrixContent,
  sink: Sink,
  options: PackOptions,
): Promise<void> {
  const { signal, onError } = options
  const { type, rows, cols, sources, scales } = content
  if (isKeptType(type)) return packKeptMatrix(checkpoint, target, content, type, sink, options)
  const stride = isInBlocks(type) ? (target.shape[1] as number) : target.bytes / rows
  const unit = isInBlocks(type) ? Q4_ROWS : 1
  const rowScales = new Float32Array(scales ? scales.bytes / 4 : 0)
  const error = onError && type !== 'f32' ? new QuantizationError() : undefined
  let row = 0
  for await (const values of inUnits(checkpoint, sources, cols, unit)) {
    signal?.throwIfAborted()
    const count = values.length / cols
    const bytes =
      type === 'q8'
        ? quantizeRows(values, cols, stride, rowScales.subarray(row, row + count), error)
        : type === 'q4'
          ? quantizeBlocks(values, cols, stride, error)
          : padRows(values, cols, stride / 4)
    await sink(target.offset + (row / unit) * stride, bytes)
    row += count
  }
  if (row !== rows) throw new RangeError(`${target.name} has ${rows} rows, its sources ${row}`)
  // The padding behind the last block is part of the file, so it is written too.
  const end = Math.ceil(rows / unit) * stride
  if (end < target.bytes) await sink(target.offset + end, new Uint8Array(target.bytes - end))
  if (scales) await sink(scales.offset, new Uint8Array(rowScales.buffer))
  if (error) onError?.({ tensor: target.name, type, relative: error.relative })
}

async function packKeptMatrix(
  checkpoint: Checkpoint,
  target: PackedTensor,
  { rows, cols, sources }: MatrixContent,
  type: KeptType,
  sink: Sink,
  { signal, onError }: PackOptions,
): Promise<void> {
  let end = 0
  const write = async (bytes: Uint8Array) => {
    signal?.throwIfAborted()
    await sink(target.offset + end, bytes)
    end += bytes.length
  }
  const packed = await packKept(checkpoint, type, cols, sources, write)
  if (packed.rows !== rows) throw new RangeError(`${target.name} has ${rows} rows, its sources ${packed.rows}`)
  if (end < target.bytes) await write(new Uint8Array(target.bytes - end))
  onError?.({ tensor: target.name, type, relative: packed.error.relative })
}

/** All sources one below the other, some rows at a time: whole units, but for the last rows. */
async function* inUnits(
  checkpoint: Checkpoint,
  sources: Source[],
  cols: number,
  unit: number,
): AsyncGenerator<Float32Array> {
  let rest = new Float32Array()
  for (const source of sources)
    for await (const slice of slices(checkpoint, source, cols)) {
      const values = rest.length === 0 ? slice : concat(rest, slice)
      const whole = values.length - (values.length % (unit * cols))
      if (whole > 0) yield values.subarray(0, whole)
      rest = values.slice(whole)
    }
  if (rest.length > 0) yield rest
}

function concat(a: Float32Array, b: Float32Array): Float32Array {
  const result = new Float32Array(a.length + b.length)
  result.set(a)
  result.set(b, a.length)
  return result
}

/** (x + plus) · times, in place. */
function adjusted(values: Float32Array, { plus = 0, times = 1 }: Source): Float32Array {
  if (plus !== 0 || times !== 1)
    for (let i = 0; i < values.length; i++) values[i] = ((values[i] as number) + plus) * times
  return values
}

/** A source as rows of `cols` packed numbers, some at a time. */
export async function* slices(checkpoint: Checkpoint, source: Source, cols: number): AsyncGenerator<Float32Array> {
  for await (const values of takenRows(checkpoint, source, cols)) yield adjusted(values, source)
}

/** The same as the checkpoint has them. */
async function* takenRows(checkpoint: Checkpoint, source: Source, cols: number): AsyncGenerator<Float32Array> {
  const { tensor, shape, rows, transposedBlocks: blocks, fold } = source
  if (tensor === undefined) throw new RangeError('a matrix has no zeros of its own')
  if (source.timesTensor !== undefined) throw new RangeError('a matrix has no other as its factors')
  const total = shape.reduce((product, n) => product * n, 1)
  const width = shape[1] ?? 1
  if (blocks) {
    for (let block = 0; block < blocks; block++) {
      const part = (length: number) => [(block * length) / blocks, ((block + 1) * length) / blocks] as const
      const [from, end] = part(total)
      const matrix = rows
        ? await gatherRows(checkpoint, tensor, rows.slice(...part(rows.length)), width)
        : await checkpoint.read(tensor, from, end - from)
      yield transpose(matrix, cols)
    }
    return
  }
  const step = Math.max(1, Math.floor(SLICE / width))
  const count = rows?.length ?? total / width
  for (let from = 0; from < count; from += step) {
    const length = Math.min(step, count - from)
    const values = rows
      ? await gatherRows(checkpoint, tensor, rows.slice(from, from + length), width)
      : await checkpoint.read(tensor, from * width, length * width)
    yield fold ? foldColumns(values, width, fold, cols) : values
  }
}

/** The named rows of a matrix, one below the other; neighbours are read at once. */
async function gatherRows(
  checkpoint: Checkpoint,
  tensor: string,
  rows: number[],
  width: number,
): Promise<Float32Array> {
  const result = new Float32Array(rows.length * width)
  const [low, high] = rows.reduce(([min, max], row) => [Math.min(min, row), Math.max(max, row)], [Infinity, 0])
  // Permutations stay within a head, so the span is hardly more than what is wanted.
  const span = await checkpoint.read(tensor, low * width, (high - low + 1) * width)
  for (const [i, row] of rows.entries())
    result.set(span.subarray((row - low) * width, (row - low + 1) * width), i * width)
  return result
}

/** Adds up column blocks that share a target. */
function foldColumns(
  values: Float32Array,
  width: number,
  fold: NonNullable<Source['fold']>,
  cols: number,
): Float32Array {
  const rows = values.length / width
  const result = new Float32Array(rows * cols)
  for (let r = 0; r < rows; r++)
    for (const [block, target] of fold.target.entries())
      for (let c = 0; c < fold.width; c++) {
        const at = r * cols + target * fold.width + c
        result[at] = (result[at] as number) + (values[r * width + block * fold.width + c] as number)
      }
  return result
}

/** (rows, n / rows) → (n / rows, rows) */
function transpose(matrix: Float32Array, rows: number): Float32Array {
  const cols = matrix.length / rows
  const result = new Float32Array(matrix.length)
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) result[c * rows + r] = matrix[r * cols + c] as number
  return result
}

function padRows(values: Float32Array, cols: number, padded: number): Uint8Array {
  const rows = values.length / cols
  const result = new Float32Array(rows * padded)
  for (let r = 0; r < rows; r++) result.set(values.subarray(r * cols, (r + 1) * cols), r * padded)
  return new Uint8Array(result.buffer)
}
