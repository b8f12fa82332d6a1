// a / b of two positive numbers, correctly rounded: WGSL's may be 2.5 units in the last place off, and integers that are rounded
// with a factor that is off are now and then others than the CPU's. Before attention-head.wgsl and attention-pages-int8.wgsl.

fn divided(a: f32, b: f32) -> f32 {
  let near = a / b;
  let bits = vec3<u32>(bitcast<u32>(a), bitcast<u32>(b), bitcast<u32>(near));
  let exponents = bits >> vec3<u32>(23);
  // Zeros, what is too small to be exact, infinity, NaN and negative numbers are as they are.
  if (any((exponents == vec3<u32>()) | (exponents >= vec3<u32>(255)))) { return near; }
  let mantissas = (bits & vec3<u32>(0x7fffff)) | vec3<u32>(0x800000);
  // What is left of a, in units of b's mantissa a few: 32 bits of it are enough, whatever overflows.
  let shift = exponents.x + 150 - exponents.y - exponents.z;
  let rest = bitcast<i32>((mantissas.x << shift) - mantissas.z * mantissas.y);
  let unit = i32(mantissas.y);
  var more = i32(round(f32(rest) / f32(unit)));
  let twice = 2 * (rest - more * unit);
  let isOdd = ((mantissas.z + bitcast<u32>(more)) & 1) == 1;
  if (twice > unit || (twice == unit && isOdd)) { more++; }
  if (twice < -unit || (twice == -unit && isOdd)) { more--; }
  return bitcast<f32>(bits.z + bitcast<u32>(more));
}
