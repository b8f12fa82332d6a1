/**
 * Logarithm and power from +, −, × and / alone, so that every platform and every version of Node computes the same bits:
 * `Math.pow` and `Math.log` may differ in the last place from one to the next. Relative error below 1e-14. Whatever number of a
 * file comes here, they end: where there is no result, that is ±Infinity or NaN.
 */

/** Of as many numbers as a file lists: a call has no room for so many arguments. -Infinity of none. */
export function largest(values: Iterable<number>): number {
  let most = -Infinity
  for (const value of values) if (value > most || Number.isNaN(value)) most = value
  return most
}

/** Beyond it 2^k is 0 or infinite. */
const MOST_DOUBLINGS = 1100

/** Natural logarithm of a positive number: x = m · 2^k with m near 1, ln m = 2 artanh((m − 1) / (m + 1)). */
export function ln(x: number): number {
  if (x === 0) return -Infinity
  if (!(x > 0) || x === Infinity) return x > 0 ? x : Number.NaN
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
  if (!(Math.abs(k) <= MOST_DOUBLINGS)) return k > 0 ? Infinity : k < 0 ? 0 : Number.NaN
  const r = y - k * Math.LN2
  let sum = 1
  for (let n = 18; n >= 1; n--) sum = 1 + (sum * r) / n
  let scale = 1
  for (let i = Math.abs(k); i > 0; i--) scale *= 2
  return k < 0 ? sum / scale : sum * scale
}
