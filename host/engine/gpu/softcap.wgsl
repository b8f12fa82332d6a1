// Logits in place: x = cap · tanh(x / cap). Behind math.wgsl. Workgroups: (⌈width / 64⌉, rows that want logits).

override WIDTH: u32;
override STRIDE: u32;
override CAP: f32;

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= WIDTH) { return; }
  let at = id.y * STRIDE + id.x;
  let x = logits[at];
  if (isFinite(x)) { logits[at] = tanhOf(divided(x, CAP)) * CAP; }
}
