// Types of matrices (assembly/abi.ts), and f16 that lies in a u32.

const F32 = 1u;
const Q8 = 2u;
const Q4 = 3u;
const Q4M = 4u;
const Q4K = 5u;
const Q8M = 6u;
const Q8K = 7u;

// By hand: unpack2x16float() may make zeros of numbers without a leading one.
fn halfOf(bits: u32) -> f32 {
  let mantissa = bits & 0x3ffu;
  let exponent = (bits >> 10u) & 31u;
  let large = bitcast<f32>(((exponent + 112u) << 23u) | (mantissa << 13u));
  let size = select(large, f32(mantissa) * 5.9604644775390625e-8, exponent == 0u);
  return select(size, -size, (bits & 0x8000u) != 0u);
}
