/**
 * q8: one byte per weight, w + 64 with w = round(x / scale) in −63..63, scale = max|x| / 63 per row. Seven bits, offset,
 * because the second operand of WebAssembly's relaxed int8 dot means the same on x64 and ARM only in 0..127; the lost
 * bit costs 0.03–0.4 % of perplexity (measured, decision 002).
 */

/** Quantises rows of `cols` numbers to `stride` bytes each, and writes their scales. */
export function quantizeRows(values: Float32Array, cols: number, stride: number, scales: Float32Array): Uint8Array {
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
    for (let c = 0; c < cols; c++) bytes[r * stride + c] = 64 + Math.round((values[from + c] as number) * factor)
    scales[r] = peak / 63
  }
  return bytes
}
