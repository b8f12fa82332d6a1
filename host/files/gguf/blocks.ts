/**
 * Types of tensors in a GGUF file, and the numbers in their blocks: bit for bit those that ggml makes of them (its
 * ggml-common.h and ggml-quants.c; test/gguf-blocks.test.ts). Every product here is exact in an f64 and is rounded once,
 * where it is stored, as in ggml.
 */

import { f16 } from '../half.ts'

export interface BlockType {
  name: string
  /** Numbers of a block, and its bytes. */
  values: number
  bytes: number
  /** Absent: a type that is not read. */
  decode: Decode | undefined
}

/** Writes the numbers of the block at `at` of `block` to `out` from `to` on. */
type Decode = (block: Block, at: number, out: Float32Array, to: number) => void

/** Bytes of blocks, with the views that their fields are read by. */
export interface Block {
  u8: Uint8Array
  view: DataView
}

const half = ({ view }: Block, at: number) => f16(view.getUint16(at, true))

/** What can be added without changing any number: −0 stays −0. */
const NONE = -0

/** x = d · (q − 8), or d · q + m: q of four bits: low ones of 16 bytes first, then the high ones. */
function nibbles(hasMinimum: boolean): Decode {
  return (block, at, out, to) => {
    const d = half(block, at)
    const [zero, m] = hasMinimum ? [0, half(block, at + 2)] : [8, NONE]
    const qs = at + (hasMinimum ? 4 : 2)
    for (let j = 0; j < 16; j++) {
      const byte = block.u8[qs + j] as number
      out[to + j] = d * ((byte & 15) - zero) + m
      out[to + j + 16] = d * ((byte >> 4) - zero) + m
    }
  }
}

/** As `nibbles`, with a fifth bit for each number in four bytes of their own. */
function fiveBits(hasMinimum: boolean): Decode {
  return (block, at, out, to) => {
    const d = half(block, at)
    const [zero, m] = hasMinimum ? [0, half(block, at + 2)] : [16, NONE]
    const high = block.view.getUint32(at + (hasMinimum ? 4 : 2), true)
    const qs = at + (hasMinimum ? 8 : 6)
    for (let j = 0; j < 16; j++) {
      const byte = block.u8[qs + j] as number
      out[to + j] = d * (((byte & 15) | (((high >>> j) & 1) << 4)) - zero) + m
      out[to + j + 16] = d * (((byte >> 4) | (((high >>> (j + 16)) & 1) << 4)) - zero) + m
    }
  }
}

function q8_0(block: Block, at: number, out: Float32Array, to: number): void {
  const d = half(block, at)
  for (let j = 0; j < 32; j++) out[to + j] = d * block.view.getInt8(at + 2 + j)
}

/** 16 runs of 16: scales and minima of four bits │ two bits a number │ d │ dmin */
function q2_K(block: Block, at: number, out: Float32Array, to: number): void {
  const { u8 } = block
  const [d, dmin] = [half(block, at + 80), half(block, at + 82)]
  for (let i = 0; i < 256; i++) {
    const scale = u8[at + (i >> 4)] as number
    const q = ((u8[at + 16 + (i >> 7) * 32 + (i & 31)] as number) >> (2 * ((i >> 5) & 3))) & 3
    out[to + i] = d * (scale & 15) * q - dmin * (scale >> 4)
  }
}

/** 16 runs of 16: third bits │ two bits a number │ scales of six bits in 12 bytes │ d */
function q3_K(block: Block, at: number, out: Float32Array, to: number): void {
  const { u8 } = block
  const d = half(block, at + 108)
  const scales = at + 96
  for (let i = 0; i < 256; i++) {
    const run = i >> 4
    const low = ((u8[scales + (run & 7)] as number) >> (run < 8 ? 0 : 4)) & 15
    const high = ((u8[scales + 8 + (run & 3)] as number) >> (2 * (run >> 2))) & 3
    const q = ((u8[at + 32 + (i >> 7) * 32 + (i & 31)] as number) >> (2 * ((i >> 5) & 3))) & 3
    const third = ((u8[at + (i & 31)] as number) >> (i >> 5)) & 1
    out[to + i] = d * ((low | (high << 4)) - 32) * (third ? q : q - 4)
  }
}

/** Scale and minimum of run `j` of 32: six bits each, eight of both in 12 bytes. */
export function scaleAndMinimum(u8: Uint8Array, at: number, j: number): [scale: number, minimum: number] {
  const byte = (i: number) => u8[at + i] as number
  if (j < 4) return [byte(j) & 63, byte(j + 4) & 63]
  return [(byte(j + 4) & 15) | ((byte(j - 4) >> 6) << 4), (byte(j + 4) >> 4) | ((byte(j) >> 6) << 4)]
}

/** d │ dmin │ 12 bytes of scales and minima │ [fifth bits] │ four bits a number, of two runs in 32 bytes */
function runsOf32(hasFifthBits: boolean): Decode {
  return (block, at, out, to) => {
    const { u8 } = block
    const [d, dmin] = [half(block, at), half(block, at + 2)]
    const qs = at + (hasFifthBits ? 48 : 16)
    for (let run = 0; run < 8; run++) {
      const [scale, minimum] = scaleAndMinimum(u8, at + 4, run)
      const bytes = qs + (run >> 1) * 32
      for (let l = 0; l < 32; l++) {
        const four = ((u8[bytes + l] as number) >> (4 * (run & 1))) & 15
        const fifth = hasFifthBits ? ((u8[at + 16 + l] as number) >> run) & 1 : 0
        out[to + run * 32 + l] = d * scale * (four | (fifth << 4)) - dmin * minimum
      }
    }
  }
}

/** Four low bits │ two high bits │ 16 scales of eight bits │ d */
function q6_K(block: Block, at: number, out: Float32Array, to: number): void {
  const { u8, view } = block
  const d = half(block, at + 208)
  for (let i = 0; i < 256; i++) {
    const [part, quarter, l] = [i >> 7, (i >> 5) & 3, i & 31]
    const low = ((u8[at + part * 64 + (quarter & 1) * 32 + l] as number) >> (4 * (quarter >> 1))) & 15
    const high = ((u8[at + 128 + part * 32 + l] as number) >> (2 * quarter)) & 3
    out[to + i] = d * view.getInt8(at + 192 + (i >> 4)) * ((low | (high << 4)) - 32)
  }
}

/** The sixteen steps of the IQ4 types. */
const iq4Steps = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

/** Sixteen bytes of steps: low four bits first, then the high ones. */
function steps(u8: Uint8Array, at: number, table: readonly number[], d: number, out: Float32Array, to: number): void {
  for (let j = 0; j < 16; j++) {
    const byte = u8[at + j] as number
    out[to + j] = d * (table[byte & 15] as number)
    out[to + j + 16] = d * (table[byte >> 4] as number)
  }
}

function iq4_nl(block: Block, at: number, out: Float32Array, to: number): void {
  steps(block.u8, at + 2, iq4Steps, half(block, at), out, to)
}

/** d │ two high bits of eight scales │ their four low bits │ steps */
function iq4_xs(block: Block, at: number, out: Float32Array, to: number): void {
  const { u8, view } = block
  const d = half(block, at)
  const high = view.getUint16(at + 2, true)
  for (let run = 0; run < 8; run++) {
    const low = ((u8[at + 4 + (run >> 1)] as number) >> (4 * (run & 1))) & 15
    const scale = (low | (((high >> (2 * run)) & 3) << 4)) - 32
    steps(u8, at + 8 + 16 * run, iq4Steps, d * scale, out, to + 32 * run)
  }
}

/** FP4 (E2M1), doubled; the scale is a power of two, halved. */
const fp4Steps = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]

function mxfp4(block: Block, at: number, out: Float32Array, to: number): void {
  steps(block.u8, at + 1, fp4Steps, 2 ** ((block.u8[at] as number) - 128), out, to)
}

function q1_0(block: Block, at: number, out: Float32Array, to: number): void {
  const d = half(block, at)
  for (let i = 0; i < 128; i++) out[to + i] = ((block.u8[at + 2 + (i >> 3)] as number) >> (i & 7)) & 1 ? d : -d
}

function f32({ view }: Block, at: number, out: Float32Array, to: number): void {
  out[to] = view.getFloat32(at, true)
}

function oneF16(block: Block, at: number, out: Float32Array, to: number): void {
  out[to] = half(block, at)
}

/** The upper half of an f32. */
function bf16({ view }: Block, at: number, out: Float32Array, to: number): void {
  new DataView(out.buffer, out.byteOffset).setUint32(4 * to, view.getUint16(at, true) << 16, true)
}

/** By ggml's numbers; those without `decode` are known by name and size only. */
const table: [number: number, name: string, values: number, bytes: number, decode?: Decode][] = [
  [0, 'F32', 1, 4, f32],
  [1, 'F16', 1, 2, oneF16],
  [2, 'Q4_0', 32, 18, nibbles(false)],
  [3, 'Q4_1', 32, 20, nibbles(true)],
  [6, 'Q5_0', 32, 22, fiveBits(false)],
  [7, 'Q5_1', 32, 24, fiveBits(true)],
  [8, 'Q8_0', 32, 34, q8_0],
  [9, 'Q8_1', 32, 36],
  [10, 'Q2_K', 256, 84, q2_K],
  [11, 'Q3_K', 256, 110, q3_K],
  [12, 'Q4_K', 256, 144, runsOf32(false)],
  [13, 'Q5_K', 256, 176, runsOf32(true)],
  [14, 'Q6_K', 256, 210, q6_K],
  [15, 'Q8_K', 256, 292],
  [16, 'IQ2_XXS', 256, 66],
  [17, 'IQ2_XS', 256, 74],
  [18, 'IQ3_XXS', 256, 98],
  [19, 'IQ1_S', 256, 50],
  [20, 'IQ4_NL', 32, 18, iq4_nl],
  [21, 'IQ3_S', 256, 110],
  [22, 'IQ2_S', 256, 82],
  [23, 'IQ4_XS', 256, 136, iq4_xs],
  [24, 'I8', 1, 1],
  [25, 'I16', 1, 2],
  [26, 'I32', 1, 4],
  [27, 'I64', 1, 8],
  [28, 'F64', 1, 8],
  [29, 'IQ1_M', 256, 56],
  [30, 'BF16', 1, 2, bf16],
  [34, 'TQ1_0', 256, 54],
  [35, 'TQ2_0', 256, 66],
  [39, 'MXFP4', 32, 17, mxfp4],
  [40, 'NVFP4', 64, 36],
  [41, 'Q1_0', 128, 18, q1_0],
  [42, 'Q2_0', 64, 18],
]

export const blockTypes: ReadonlyMap<number, BlockType> = new Map(
  table.map(([number, name, values, bytes, decode]) => [number, { name, values, bytes, decode }]),
)

/** Names of the types whose numbers can be read. */
export const readableTypes = table.filter(([, , , , decode]) => decode).map(([, name]) => name)

/** Numbers of whole blocks as f32. */
export function decodeBlocks({ name, values, bytes, decode }: BlockType, u8: Uint8Array): Float32Array {
  if (!decode) throw new RangeError(`blocks of ${name} are not read`)
  const count = Math.floor(u8.length / bytes)
  const out = new Float32Array(count * values)
  const block: Block = { u8, view: new DataView(u8.buffer, u8.byteOffset, u8.byteLength) }
  for (let i = 0; i < count; i++) decode(block, i * bytes, out, i * values)
  return out
}
