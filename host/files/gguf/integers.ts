/**
 * Blocks of a GGUF file as integers with a scale and a minimum, which packed types hold as they are (KeptRows in ../store.ts).
 * Only Q8_0 is rounded: its eight bits become seven, with a scale and a minimum of their own for each block.
 */
import type { KeptType } from '../../../models/index.ts'
import { f16, toF16 } from '../half.ts'
import { emptyRows, type KeptRows, SPAN_COLS } from '../store.ts'
import { type Block, type BlockType, scaleAndMinimum } from './blocks.ts'

interface Split {
  keptAs: readonly KeptType[]
  /** Numbers of a row that have one scale. */
  group: number
  /** Writes the numbers of the block at `at` of `block`: `to` is the first of them in `rows`. */
  split(block: Block, at: number, rows: KeptRows, to: Place): void
}

/** Indices into the arrays of KeptRows. */
interface Place {
  q: number
  group: number
  span: number
}

const half = ({ view }: Block, at: number) => f16(view.getUint16(at, true))

/** Scale (and minimum) │ [fifth bits] │ low four bits of 16 bytes, then the high ones. `zero`: what is taken off each integer. */
function flat(zero: number, hasFifthBits: boolean): Split['split'] {
  const isSymmetric = zero > 0
  return (block, at, rows, { q, group, span }) => {
    const d = half(block, at)
    rows.scales[group] = d
    // Of a symmetric type it is zero · d: the factor says so, for f16 may not hold it.
    rows.minima[group] = isSymmetric ? d : -half(block, at + 2)
    rows.minimumFactors[span] = isSymmetric ? zero : 1
    const bitsAt = at + (isSymmetric ? 2 : 4)
    const high = hasFifthBits ? block.view.getUint32(bitsAt, true) : 0
    const qs = bitsAt + (hasFifthBits ? 4 : 0)
    for (let j = 0; j < 16; j++) {
      const byte = block.u8[qs + j] as number
      rows.q[q + j] = (byte & 15) | (((high >>> j) & 1) << 4)
      rows.q[q + j + 16] = (byte >> 4) | (((high >>> (j + 16)) & 1) << 4)
    }
  }
}

/**
 * From −128 … 127 to 0 … 127 between the least and the largest number of the block. The factors make scale and minimum numbers
 * of the size of d, so that f16 holds them as well as it held that.
 */
function q8_0(block: Block, at: number, rows: KeptRows, { q, group, span }: Place): void {
  const d = half(block, at)
  const number = (j: number) => d * block.view.getInt8(at + 2 + j)
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let j = 0; j < 32; j++) {
    least = Math.min(least, number(j))
    most = Math.max(most, number(j))
  }
  rows.factors[span] = 2
  rows.minimumFactors[span] = 128
  rows.scales[group] = toF16((most - least) / 127 / 2)
  rows.minima[group] = toF16(-least / 128)
  const s = 2 * (rows.scales[group] as number)
  const m = 128 * (rows.minima[group] as number)
  for (let j = 0; j < 32; j++) rows.q[q + j] = s === 0 ? 0 : Math.max(0, Math.min(127, Math.round((number(j) + m) / s)))
}

/** d │ dmin │ scales and minima │ [fifth bits] │ four bits a number, of two runs in 32 bytes */
function runsOf32(hasFifthBits: boolean): Split['split'] {
  return (block, at, rows, { q, group, span }) => {
    const { u8 } = block
    rows.factors[span] = half(block, at)
    rows.minimumFactors[span] = half(block, at + 2)
    const qs = at + (hasFifthBits ? 48 : 16)
    for (let run = 0; run < 8; run++) {
      const [scale, minimum] = scaleAndMinimum(u8, at + 4, run)
      rows.scales[group + run] = scale
      rows.minima[group + run] = minimum
      for (let l = 0; l < 32; l++) {
        const four = ((u8[qs + (run >> 1) * 32 + l] as number) >> (4 * (run & 1))) & 15
        const fifth = hasFifthBits ? ((u8[at + 16 + l] as number) >> run) & 1 : 0
        rows.q[q + run * 32 + l] = four | (fifth << 4)
      }
    }
  }
}

/** Four low bits │ two high bits │ 16 scales of eight bits │ d; 32 is zero. */
function q6_K(block: Block, at: number, rows: KeptRows, { q, group, span }: Place): void {
  const { u8, view } = block
  const d = half(block, at + 208)
  rows.factors[span] = d
  rows.minimumFactors[span] = 32 * d
  for (let run = 0; run < 16; run++) {
    rows.scales[group + run] = view.getInt8(at + 192 + run)
    rows.minima[group + run] = view.getInt8(at + 192 + run)
  }
  for (let i = 0; i < 256; i++) {
    const [part, quarter, l] = [i >> 7, (i >> 5) & 3, i & 31]
    const low = ((u8[at + part * 64 + (quarter & 1) * 32 + l] as number) >> (4 * (quarter >> 1))) & 15
    rows.q[q + i] = low | ((((u8[at + 128 + part * 32 + l] as number) >> (2 * quarter)) & 3) << 4)
  }
}

const splits: Record<string, Split> = {
  Q4_0: { keptAs: ['q4m', 'q8m'], group: 32, split: flat(8, false) },
  Q4_1: { keptAs: ['q4m', 'q8m'], group: 32, split: flat(0, false) },
  Q5_0: { keptAs: ['q8m'], group: 32, split: flat(16, true) },
  Q5_1: { keptAs: ['q8m'], group: 32, split: flat(0, true) },
  Q8_0: { keptAs: ['q8m'], group: 32, split: q8_0 },
  Q4_K: { keptAs: ['q4k', 'q4m', 'q8k', 'q8m'], group: 32, split: runsOf32(false) },
  Q5_K: { keptAs: ['q8k', 'q8m'], group: 32, split: runsOf32(true) },
  Q6_K: { keptAs: ['q8k'], group: 16, split: q6_K },
}

/** Packed types that hold the blocks of a type as they are, the smallest first; undefined: none. */
export function keptAs(type: BlockType): readonly KeptType[] | undefined {
  return Object.hasOwn(splits, type.name) ? (splits[type.name] as Split).keptAs : undefined
}

/** Rows of `cols` numbers, one behind the other in `u8`. */
export function splitBlocks(type: BlockType, u8: Uint8Array, cols: number): KeptRows {
  const found = splits[type.name]
  if (!found) throw new RangeError(`blocks of ${type.name} are not kept`)
  const rowBytes = (cols / type.values) * type.bytes
  const rows = emptyRows(u8.length / rowBytes, cols, found.group)
  const block: Block = { u8, view: new DataView(u8.buffer, u8.byteOffset, u8.byteLength) }
  for (let r = 0, at = 0; r < rows.count; r++)
    for (let c = 0; c < cols; c += type.values, at += type.bytes)
      found.split(block, at, rows, {
        q: r * cols + c,
        group: r * (cols / found.group) + c / found.group,
        span: r * Math.ceil(cols / SPAN_COLS) + Math.floor(c / SPAN_COLS),
      })
  return rows
}
