// Four products of signed bytes, exact. Where WGSL lacks packed_4x8_integer_dot_product: products-dot.wgsl.

fn bytesOf(word: u32) -> vec4<i32> {
  return bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24, 16, 8, 0)) >> vec4<u32>(24);
}

fn dot4(a: u32, b: u32) -> i32 {
  return dot(bytesOf(a), bytesOf(b));
}
