// The norm of the low side of queries, before they are projected up. Behind precise.wgsl and
// attention-head.wgsl.
//
//     projection f32 (rows, stride), its first RANK numbers  →  low f32 (rows, lowStride)
//
// Workgroups (rows), 64 threads each.

struct Layer { offset: u32, stride: u32, lowStride: u32, norm: u32 }

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read> projection: array<f32>;
@group(0) @binding(2) var<storage, read> norms: array<f32>;
@group(0) @binding(3) var<storage, read_write> low: array<f32>;

override RANK: u32;
override EPS: f32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let base = layer.offset + id.x * layer.stride;
  var sum = 0f;
  for (var i = thread; i < RANK; i += LANES) {
    let x = projection[base + i];
    sum += precisely(x * x);
  }
  let factor = divided(1, rootOf(divided(sumOf(sum, thread), f32(RANK)) + EPS));
  for (var i = thread; i < RANK; i += LANES) {
    low[id.x * layer.lowStride + i] = precisely(projection[base + i] * factor) * norms[layer.norm + i];
  }
}
