/**
 * q8: one byte per weight, w + 64 with w = round(x / scale) in −63..63, scale = max|x| / 63 per row. Seven bits, offset,
 * because the second operand of WebAssembly's relaxed int8 dot means the same on x64 and ARM only in 0..127; the lost
 * bit costs 0.03–0.4 % of perplexity (measured, decision 002).
 *
 * q4: w + 8 with w = round(x / scale) in −8..7, a bf16 scale per 32 columns of a row, blocks of 8 rows (models/plan.ts).
 * The scale is searched for the least squared error (decision 013).
 */
import { Q4_BYTES, Q4_COLS, Q4_ROWS } from '../../models/index.ts'

/** Sums from which the error of a quantised tensor follows. */
export class QuantizationError {
  private squares = 0
  private squaredErrors = 0

  add(value: number, found: number): void {
    this.squares += value * value
    this.squaredErrors += (value - found) ** 2
  }

  /** Root of the mean squared error over that of the weights; 0 for a tensor of zeros. */
  get relative(): number {
    return this.squares === 0 ? 0 : Math.sqrt(this.squaredErrors / this.squares)
  }
}

/** Quantises rows of `cols` numbers to `stride` bytes each, and writes their scales. */
export function quantizeRows(
  values: Float32Array,
  cols: number,
  stride: number,
  scales: Float32Array,
  error?: QuantizationError,
): Uint8Array {
  const rows = values.length / cols
  const bytes = new Uint8Array(rows * stride).fill(64) // 64 is zero: what is not written is padding
  for (let r = 0; r < rows; r++) {
    const from = r * cols
    let peak = 0
    for (let c = 0; c < cols; c++) {
      const size = Math.abs(values[from + c] as number)
      if (size > peak) peak = size
    }
    const factor = peak === 0 ? 0 : 63 / peak
    for (let c = 0; c < cols; c++) {
      const value = values[from + c] as number
      const w = Math.round(value * factor)
      bytes[r * stride + c] = 64 + w
      error?.add(value, (w * peak) / 63)
    }
    scales[r] = peak / 63
  }
  return bytes
}

/**
 * Quantises rows of `cols` numbers to q4; a last block that lacks rows is filled with zeros. `stride` is the bytes of a
 * row of blocks.
 */
export function quantizeBlocks(
  values: Float32Array,
  cols: number,
  stride: number,
  error?: QuantizationError,
): Uint8Array {
  const rows = values.length / cols
  // Weight 0 is nibble 8; scales of what is not written are 0 all the same.
  const bytes = new Uint8Array(Math.ceil(rows / Q4_ROWS) * stride).fill(0x88)
  const scales = new DataView(bytes.buffer)
  const group = new Float32Array(Q4_COLS)
  for (let at = 0; at < bytes.length; at += Q4_BYTES) bytes.fill(0, at + Q4_BYTES - 2 * Q4_ROWS, at + Q4_BYTES)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c += Q4_COLS) {
      const block = Math.floor(r / Q4_ROWS) * stride + (c / Q4_COLS) * Q4_BYTES
      const inBlock = r % Q4_ROWS
      group.fill(0).set(values.subarray(r * cols + c, r * cols + Math.min(cols, c + Q4_COLS)))
      const scale = bestScale(group)
      scales.setUint16(block + Q4_BYTES - 2 * (Q4_ROWS - inBlock), bf16Bits(scale), true)
      const factor = scale === 0 ? 0 : 1 / scale
      for (let k = 0; k < Q4_COLS; k++) {
        const value = group[k] as number
        const w = nibble(value, factor)
        if (c + k < cols) error?.add(value, w * scale)
        const byte = block + (k >> 2) * 16 + (inBlock & 3) * 4 + (k & 3)
        const old = bytes[byte] as number
        bytes[byte] = inBlock < 4 ? (old & 0xf0) | (w + 8) : (old & 0x0f) | ((w + 8) << 4)
      }
    }
  return bytes
}

/** Integer of a weight, −8..7. */
function nibble(value: number, factor: number): number {
  const w = Math.round(value * factor)
  return w < -8 ? -8 : w > 7 ? 7 : w
}

/**
 * What the largest number is divided by: −8 uses all of the range, a smaller number keeps more of the others, a larger one
 * cuts the largest off. A finer grid finds less than what fitting does (bench/LOG.md).
 */
const TARGETS = [-8.5, -8, -7.5, -7, -6.5, -6, 7.5, 7, 6.5, 6]

/** A bf16 scale of little squared error: the best of those around the largest number's, or what fits its integers best. */
function bestScale(group: Float32Array): number {
  let peak = 0
  for (const value of group) if (Math.abs(value) > Math.abs(peak)) peak = value
  let best = 0
  let least = Number.POSITIVE_INFINITY
  const attempt = (scale: number) => {
    const squares = scale === 0 ? Number.POSITIVE_INFINITY : squaredError(group, scale)
    if (squares >= least) return
    least = squares
    best = scale
  }
  for (const target of TARGETS) attempt(toBf16(peak / target))
  if (best !== 0) attempt(toBf16(fittingScale(group, best)))
  return best
}

function squaredError(group: Float32Array, scale: number): number {
  const factor = 1 / scale
  let sum = 0
  for (let k = 0; k < group.length; k++) {
    const value = group[k] as number
    const miss = value - nibble(value, factor) * scale
    sum += miss * miss
  }
  return sum
}

/** Σ w·x / Σ w·w: the scale with the least squared error for the integers that `scale` gives. */
function fittingScale(group: Float32Array, scale: number): number {
  const factor = 1 / scale
  let products = 0
  let squares = 0
  for (let k = 0; k < group.length; k++) {
    const value = group[k] as number
    const w = nibble(value, factor)
    products += w * value
    squares += w * w
  }
  return squares === 0 ? scale : products / squares
}

const floats = new Float32Array(1)
const words = new Uint32Array(floats.buffer)

/** The nearest bf16 number, ties to even. Weights are finite (checked when they are read). */
function toBf16(value: number): number {
  floats[0] = value
  const bits = words[0] as number
  words[0] = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000
  return floats[0] as number
}

function bf16Bits(value: number): number {
  floats[0] = value
  return (words[0] as number) >>> 16
}
