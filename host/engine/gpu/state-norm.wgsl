// What a delta net makes of its averages: norm(o) ⊙ silu(z) for each value head. Behind math.wgsl and attention-head.wgsl.
//
// Workgroups (value heads, rows), 64 threads each.

struct Layer { offset: u32, stride: u32, resultStride: u32, norm: u32 }

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read> projection: array<f32>;
@group(0) @binding(2) var<storage, read> norms: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

override CHANNELS: u32;
override VALUE: u32;
override EPS: f32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let at = id.y * layer.resultStride + id.x * VALUE;
  let gate = layer.offset + id.y * layer.stride + CHANNELS + id.x * VALUE;
  var sum = 0f;
  for (var i = thread; i < VALUE; i += LANES) { sum += result[at + i] * result[at + i]; }
  let factor = 1 / sqrt(sumOf(sum, thread) / f32(VALUE) + EPS);
  for (var i = thread; i < VALUE; i += LANES) {
    let z = projection[gate + i];
    result[at + i] = result[at + i] * factor * norms[layer.norm + i] * (z * sigmoidOf(z));
  }
}
