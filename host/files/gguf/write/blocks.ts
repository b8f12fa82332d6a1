/**
 * Numbers as blocks of a GGUF file, as ggml's quantize_row_*_ref makes them: every product is rounded to an f32, halves go
 * away from zero, an f16 to the nearest, ties to even.
 */
import { f16Bits } from '../../half.ts'

export const ggufTypes = ['f32', 'f16', 'q8_0'] as const
export type GgufType = (typeof ggufTypes)[number]

interface Blocks {
  /** ggml's number of the type. */
  id: number
  /** Numbers of a block, and its bytes. */
  values: number
  bytes: number
  encode(values: Float32Array): Uint8Array
}

const { fround } = Math

/** d │ 32 × i8: x = d · q */
function q8_0(values: Float32Array): Uint8Array {
  const blocks = values.length / 32
  const bytes = new Uint8Array(34 * blocks)
  const view = new DataView(bytes.buffer)
  for (let block = 0; block < blocks; block++) {
    const from = 32 * block
    let peak = 0
    for (let i = 0; i < 32; i++) peak = Math.max(peak, Math.abs(values[from + i] as number))
    const d = fround(peak / 127)
    const factor = d === 0 ? 0 : fround(1 / d)
    view.setUint16(34 * block, f16Bits(d), true)
    for (let i = 0; i < 32; i++) {
      const scaled = fround((values[from + i] as number) * factor)
      view.setInt8(34 * block + 2 + i, Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5))
    }
  }
  return bytes
}

function f16(values: Float32Array): Uint8Array {
  return new Uint8Array(Uint16Array.from(values, f16Bits).buffer)
}

const f32 = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

export const blocksOf: Record<GgufType, Blocks> = {
  f32: { id: 0, values: 1, bytes: 4, encode: f32 },
  f16: { id: 1, values: 1, bytes: 2, encode: f16 },
  q8_0: { id: 8, values: 32, bytes: 34, encode: q8_0 },
}
