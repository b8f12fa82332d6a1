// Weights of seven bits, stored as w + 64, with a scale per row; vectors as quantise.wgsl leaves them. 16 bytes are 16
// numbers. Integers are exact, and there is one epilogue, that of assembly/kernels/products-q8.ts:
//
//     y = (s_w · s_x) · (Σ w'·x − 64·Σx)
//
// Behind precise.wgsl.

@group(0) @binding(6) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read> scales: array<f32>;

alias Number = i32;
const COLS = 16u;

fn weightsOf(at: u32, step: u32) -> vec4<u32> {
  return weights[at + step];
}

fn inputsOf(at: u32, step: u32) -> vec4<u32> {
  return x[at + step];
}

fn dotOf(w: vec4<u32>, v: vec4<u32>) -> i32 {
  return dot4(w.x, v.x) + dot4(w.y, v.y) + dot4(w.z, v.z) + dot4(w.w, v.w);
}

fn resultOf(sum: i32, row: u32, vector: u32) -> f32 {
  let pair = pairs[vector];
  let scale = precisely(bitcast<f32>(pair.x) * scales[product.scales + row]);
  return precisely(f32(sum - (bitcast<i32>(pair.y) << 6)) * scale);
}
