// Four products of signed bytes, exact. Where WGSL has packed_4x8_integer_dot_product; products-plain.wgsl elsewhere.

fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}
