// What enters W_o: averages, or what a value decoder made of them with its copies and bias, times the gate.
//
//     u_j = [o_j, o_j, …] + P_j o_j + b_j       u ⊙ σ(gate)
//
// Behind math.wgsl.
// Workgroups (WIDTH / 64, rows), 64 threads each.

struct Layer {
  averagesStride: u32,
  enteringStride: u32,
  // Where a row's gate begins in the projection, and from one to the next.
  gate: u32,
  stride: u32,
  // Words before the decoder's bias.
  bias: u32,
}

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read> projection: array<f32>;
@group(0) @binding(2) var<storage, read> biases: array<f32>;
@group(0) @binding(3) var<storage, read> averages: array<f32>;
@group(0) @binding(4) var<storage, read_write> entering: array<f32>;

// Maps × width of each.
override WIDTH: u32;
override OUT: u32;
override VALUE: u32;
// From one map's average to the next.
override AVERAGE: u32;
override HAS_DECODER: bool;
override HAS_BIAS: bool;
override HAS_GATE: bool;
// Numbers of a map that are copies of its average.
override COPIES: u32;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i >= WIDTH) { return; }
  let map = i / OUT;
  let k = i % OUT;
  let at = id.y * layer.enteringStride + i;
  let average = id.y * layer.averagesStride + map * AVERAGE;
  var u: f32;
  if (HAS_DECODER) {
    u = entering[at];
    if (HAS_BIAS) { u += biases[layer.bias + i]; }
    if (k < COPIES) { u += averages[average + k % VALUE]; }
  } else {
    u = averages[average + k];
  }
  if (HAS_GATE) { u *= sigmoidOf(projection[layer.gate + id.y * layer.stride + i]); }
  entering[at] = u;
}
