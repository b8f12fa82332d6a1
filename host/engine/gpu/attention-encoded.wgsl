// What an encoder made of queries, as the sweep reads it. Behind attention-head.wgsl and attention-prepared.wgsl.
//
//     encoded f32 (rows, stride), maps × KEY0  →  prepared, the first view
//
// Workgroups (maps, rows), 64 threads each.

struct Layer { offset: u32, stride: u32 }

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read> encoded: array<f32>;
@group(0) @binding(2) var<storage, read_write> prepared: array<u32>;

override MAPS: u32;

// What attention-head.wgsl wants of others.
fn weightAt(i: u32) -> f32 { return 1; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let base = layer.offset + id.y * layer.stride + id.x * KEY0;
  for (var i = thread; i < KEY0; i += LANES) { head[i] = encoded[base + i]; }
  workgroupBarrier();
  writeView((id.y * MAPS + id.x) * QUERY * 4, 0, 0, KEY0, thread);
}
