/**
 * Decimal numbers as a person writes them. Up to 15 digits and a power of ten within 10^±22 are exact in f64, so one
 * rounding gives the nearest number, the one that JavaScript reads; what is longer is not a number here.
 */

const MAX_DIGITS: u32 = 15

function isDigit(c: u32): bool {
  return c - 48 < 10
}

/** The number that all `length` bytes spell; NaN if they do not. */
export function parseNumber(at: usize, length: usize): f64 {
  const end = at + length
  if (at == end) return NaN
  const isNegative = load<u8>(at) == 45
  if (isNegative || load<u8>(at) == 43) at++
  let mantissa: u64 = 0
  let digits: u32 = 0
  let seen: u32 = 0
  let exponent: i32 = 0
  let isFraction = false
  for (; at < end; at++) {
    const c: u32 = load<u8>(at)
    if (c == 46 && !isFraction) {
      isFraction = true
      continue
    }
    if (!isDigit(c)) break
    seen++
    if (isFraction) exponent--
    if (mantissa || c != 48) digits++
    if (digits > MAX_DIGITS + 1) return NaN
    mantissa = mantissa * 10 + c - 48
  }
  if (!seen) return NaN
  if (at < end && (load<u8>(at) | 32) == 101) {
    const power = parseExponent(at + 1, end)
    if (power == i32.MAX_VALUE) return NaN
    exponent += power
  } else if (at < end) return NaN
  // 2^53 itself is exact: the largest seed has 16 digits.
  if (mantissa > 9007199254740992 || exponent < -22 || exponent > 22) return mantissa ? NaN : 0
  const value = exponent < 0 ? (mantissa as f64) / power10(-exponent) : (mantissa as f64) * power10(exponent)
  return isNegative ? -value : value
}

/** Is this what parseNumber() returns for a number? */
export function isSpelt(value: f64): bool {
  return value - value == 0
}

/** The digits from `at` on, with a sign; MAX_VALUE if there are none, or too many. */
function parseExponent(at: usize, end: usize): i32 {
  const isNegative = at < end && load<u8>(at) == 45
  if (isNegative || (at < end && load<u8>(at) == 43)) at++
  if (at == end || end - at > 4) return i32.MAX_VALUE
  let value: i32 = 0
  for (; at < end; at++) {
    if (!isDigit(load<u8>(at))) return i32.MAX_VALUE
    value = value * 10 + load<u8>(at) - 48
  }
  return isNegative ? -value : value
}

function power10(exponent: i32): f64 {
  let value: f64 = 1
  for (let i = 0; i < exponent; i++) value *= 10
  return value
}
