// Weights and vectors in f32: 16 bytes are four numbers. Rows of both begin on 16 bytes.

alias Number = f32;
const COLS = 4u;

fn weightsOf(at: u32, step: u32) -> vec4<u32> {
  return weights[at + step];
}

// Behind the last column of x anything may stand.
fn inputsOf(at: u32, step: u32) -> vec4<u32> {
  let behind = vec4<u32>(step * COLS) + vec4<u32>(0, 1, 2, 3) >= vec4<u32>(product.cols);
  return select(x[at + step], vec4<u32>(), behind);
}

fn dotOf(w: vec4<u32>, v: vec4<u32>) -> f32 {
  return dot(bitcast<vec4<f32>>(w), bitcast<vec4<f32>>(v));
}

fn resultOf(sum: f32, row: u32, vector: u32) -> f32 {
  return sum;
}
