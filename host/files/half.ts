/** Half precision. */

/** The number of an f16: a sign, 5 bits of exponent, 10 of fraction. */
export function f16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}

const bitsOf = new DataView(new ArrayBuffer(4))

/** The nearest f16 of a number that is an f32; ties go to the even one, what is too large becomes infinite. */
export function f16Bits(value: number): number {
  bitsOf.setFloat32(0, value)
  const bits = bitsOf.getUint32(0)
  const sign = (bits >>> 16) & 0x8000
  const size = Math.abs(value)
  if (Number.isNaN(value)) return 0x7e00
  if (size >= 65520) return sign | 0x7c00
  // Below 2^-14 steps are 2^-24, above they are 2^-10 of the power of two; adding and taking away rounds to them.
  const exponent = Math.max(((bits >>> 23) & 255) - 127, -14)
  const steps = roundEven(size / 2 ** (exponent - 10))
  return sign | (exponent === -14 ? steps : ((exponent + 14) << 10) + steps)
}

/** Below 2^52; halves go to the even one. */
function roundEven(value: number): number {
  const low = Math.floor(value)
  const rest = value - low
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low
}

/** A number as f16 has it. */
export function toF16(value: number): number {
  return f16(f16Bits(value))
}
