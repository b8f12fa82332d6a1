/** Half precision. */

/** The number of an f16: a sign, 5 bits of exponent, 10 of fraction. */
export function f16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}

/** The bits of the nearest f16, ties to even; what is too large becomes infinity. */
export function f16Bits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (!(size < 65520)) return sign | 0x7c00
  // A step of the numbers of its size; those below 2^−14 have that of 2^−24.
  const exponent = size < 2 ** -14 ? -14 : Math.floor(Math.log2(size))
  const steps = size / 2 ** (exponent - 10)
  const floor = Math.floor(steps)
  const rest = steps - floor
  const whole = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor
  // What is rounded up to the next power of two carries into the exponent.
  return sign | (((exponent + 14) << 10) + whole)
}

export function toF16(value: number): number {
  return f16(f16Bits(value))
}
