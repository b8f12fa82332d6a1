/**
 * Logarithm and power from +, −, × and / alone, so that every platform and every version of Node computes the same bits:
 * `Math.pow` and `Math.log` may differ in the last place from one to the next. Relative error below 1e-14.
 */

/** Natural logarithm of a positive number: x = m · 2^k with m near 1, ln m = 2 artanh((m − 1) / (m + 1)). */
export function ln(x: number): number {
  let k = 0
  let m = x
  for (; m > Math.SQRT2; m /= 2) k++
  for (; m < Math.SQRT1_2; m *= 2) k--
  const z = (m - 1) / (m + 1)
  let sum = 0
  for (let n = 25; n >= 1; n -= 2) sum = sum * z * z + 1 / n
  return 2 * z * sum + k * Math.LN2
}

/** base^exponent for a positive base: e^y by its series after y = k · ln 2 + r. */
export function power(base: number, exponent: number): number {
  const y = exponent * ln(base)
  const k = Math.round(y / Math.LN2)
  const r = y - k * Math.LN2
  let sum = 1
  for (let n = 18; n >= 1; n--) sum = 1 + (sum * r) / n
  let scale = 1
  for (let i = Math.abs(k); i > 0; i--) scale *= 2
  return k < 0 ? sum / scale : sum * scale
}
