// Quotients and roots, correctly rounded as the CPU's are: those of WGSL may be some units in the last place off, and integers
// that are rounded with a factor that is off are now and then others. What is left over is computed in integers, exactly.

fn divided(a: f32, b: f32) -> f32 {
  let near = a / b;
  let bits = vec3<u32>(bitcast<u32>(a), bitcast<u32>(b), bitcast<u32>(near));
  let exponents = (bits >> vec3<u32>(23)) & vec3<u32>(255);
  // Zeros, what is too small to be exact, infinity and NaN are as they are.
  if (any((exponents == vec3<u32>()) | (exponents == vec3<u32>(255)))) { return near; }
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

fn rootOf(x: f32) -> f32 {
  let near = sqrt(x);
  let bits = vec2<u32>(bitcast<u32>(x), bitcast<u32>(near));
  let exponents = bits >> vec2<u32>(23);
  if (any((exponents == vec2<u32>()) | (exponents >= vec2<u32>(255)))) { return near; }
  let mantissas = (bits & vec2<u32>(0x7fffff)) | vec2<u32>(0x800000);
  // x − root², in units of the root's last place squared; the next root's square is 2 · root + 1 more of them.
  let shift = exponents.x + 150 - 2 * exponents.y;
  let rest = bitcast<i32>((mantissas.x << shift) - mantissas.y * mantissas.y);
  let root = i32(mantissas.y);
  var more = i32(round(f32(rest) / f32(2 * root)));
  let left = rest - more * (2 * root + more);
  // (root + more ± ½)² lies between two integers: there are no ties.
  if (left > root + more) { more++; }
  if (left <= -(root + more)) { more--; }
  return bitcast<f32>(bits.y + bitcast<u32>(more));
}
