/**
 * Packs what is kept of a GGUF file, eight rows at a time, as assembly/kernels/blocks.ts has it. What a matrix then means is
 * what its blocks meant, to the last bit, but for Q8_0, whose eight bits become seven, and for factors that were folded in.
 */
import {
  type KeptType,
  Q4_COLS,
  Q4_ROWS,
  type Source,
  SPAN_BLOCKS,
  SPAN_BYTES,
  stripeBytes,
} from '../../models/index.ts'
import type { Checkpoint } from './checkpoint.ts'
import { f16Bits } from './half.ts'
import { QuantizationError } from './quantize.ts'
import { type KeptRows, SPAN_COLS } from './store.ts'

interface Format {
  isByte: boolean
  isHalf: boolean
  /** Columns that have one scale. */
  group: number
}

const formats: Record<KeptType, Format> = {
  q4k: { isByte: false, isHalf: false, group: 32 },
  q4m: { isByte: false, isHalf: true, group: 32 },
  q8k: { isByte: true, isHalf: false, group: 16 },
  q8m: { isByte: true, isHalf: true, group: 32 },
}

/** Rows that are packed at a time. */
const ROWS = 512

/** All rows of a matrix, as bytes of whole stripes; returns what was lost. */
export async function packKept(
  checkpoint: Checkpoint,
  type: KeptType,
  cols: number,
  sources: readonly Source[],
  sink: (bytes: Uint8Array) => Promise<void> | void,
): Promise<{ rows: number; error: QuantizationError }> {
  const error = new QuantizationError()
  const stride = stripeBytes(type, cols)
  let stripes = new Uint8Array((ROWS / Q4_ROWS) * stride)
  let [rows, inStripes] = [0, 0]
  for (const source of sources)
    for await (const { kept, values } of keptRows(checkpoint, source, cols)) {
      compare(kept, values, error)
      for (let r = 0; r < kept.count; r++) {
        writeRow(stripes, type, kept, r, inStripes)
        rows++
        if (++inStripes < ROWS) continue
        await sink(stripes)
        stripes = new Uint8Array(stripes.length)
        inStripes = 0
      }
    }
  if (inStripes > 0) await sink(stripes.subarray(0, Math.ceil(inStripes / Q4_ROWS) * stride))
  return { rows, error }
}

/** Rows of a source, some at a time, with the numbers that they are in the checkpoint; both times its factor. */
async function* keptRows(
  checkpoint: Checkpoint,
  { tensor = '', shape, rows, times = 1 }: Source,
  cols: number,
): AsyncGenerator<{ kept: KeptRows; values: Float32Array }> {
  const count = rows?.length ?? (shape[0] as number)
  for (let from = 0; from < count; from += ROWS) {
    const length = Math.min(ROWS, count - from)
    const wanted = rows?.slice(from, from + length) ?? Array.from({ length }, (_, i) => from + i)
    const low = Math.min(...wanted)
    const span = await checkpoint.read(tensor, low * cols, (Math.max(...wanted) - low + 1) * cols)
    const kept = await checkpoint.readKept(tensor, wanted)
    const values = new Float32Array(length * cols)
    for (const [i, row] of wanted.entries())
      values.set(span.subarray((row - low) * cols, (row - low + 1) * cols), i * cols)
    if (times !== 1)
      for (const list of [kept.factors, kept.minimumFactors, values])
        for (let i = 0; i < list.length; i++) list[i] = (list[i] as number) * times
    yield { kept, values }
  }
}

/** What is lost of numbers: of most types nothing. */
function compare(kept: KeptRows, values: Float32Array, error: QuantizationError): void {
  const { count, cols, q, group, scales, minima, factors, minimumFactors } = kept
  const spans = Math.ceil(cols / SPAN_COLS)
  for (let r = 0; r < count; r++)
    for (let c = 0; c < cols; c += group) {
      const g = (r * cols + c) / group
      const span = r * spans + Math.floor(c / SPAN_COLS)
      const s = (factors[span] as number) * (scales[g] as number)
      const m = (minimumFactors[span] as number) * (minima[g] as number)
      for (let i = r * cols + c; i < r * cols + c + group; i++)
        error.add(values[i] as number, Math.fround(s * (q[i] as number) - m))
    }
}

/** Row `r` of `kept` as row `row` of the stripes. */
function writeRow(stripes: Uint8Array, type: KeptType, kept: KeptRows, r: number, row: number): void {
  const { isByte, isHalf, group } = formats[type]
  const { cols } = kept
  const view = new DataView(stripes.buffer, stripes.byteOffset)
  const inStripe = row % Q4_ROWS
  const integers = (isByte ? 8 : 4) * group
  const width = isHalf ? 2 : 1
  const spans = Math.ceil(cols / SPAN_COLS)
  const groups = cols / kept.group
  let at = Math.floor(row / Q4_ROWS) * stripeBytes(type, cols)
  for (let c = 0; c < cols; c += group) {
    if (c % (SPAN_BLOCKS * Q4_COLS) === 0) {
      const span = r * spans + Math.floor(c / SPAN_COLS)
      view.setFloat32(at + 4 * inStripe, kept.factors[span] as number, true)
      view.setFloat32(at + 32 + 4 * inStripe, kept.minimumFactors[span] as number, true)
      at += SPAN_BYTES
    }
    for (let k = 0; k < group; k++) {
      const value = kept.q[r * cols + c + k] as number
      const place = (inStripe & 3) * 4 + (k & 3)
      if (isByte) stripes[at + (k >> 2) * 32 + (inStripe & 4) * 4 + place] = value
      else
        stripes[at + (k >> 2) * 16 + place] =
          (stripes[at + (k >> 2) * 16 + place] as number) | (value << (inStripe & 4))
    }
    const from = r * groups + Math.floor(c / kept.group)
    for (const [i, list] of [kept.scales, kept.minima].entries()) {
      const target = at + integers + (8 * i + inStripe) * width
      const value = list[from] as number
      if (isHalf) view.setUint16(target, f16Bits(value), true)
      else view.setInt8(target, value)
    }
    at += integers + 16 * width
  }
}
