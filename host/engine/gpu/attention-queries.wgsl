// Queries, from where they are projected to what the sweep reads: normed, rotated, spread where the keys that they meet are.
// Behind step.wgsl, attention-head.wgsl and attention-prepared.wgsl.
//
//     source f32 (rows, stride), maps × width of a query   →  prepared (attention-prepared.wgsl)
//                                                           →  plain f32 (rows, plainStride): what an encoder takes, padded to 16
//
// Workgroups (maps, rows), 64 threads each.

struct Layer {
  offset: u32,
  stride: u32,
  anglesStride: u32,
  rotation: u32,
  // Words before the weights of the norm, and before the biases of the keys of each slot.
  norm: u32,
  bias0: u32,
  bias1: u32,
  plainStride: u32,
}

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read> angles: array<f32>;
@group(0) @binding(2) var<storage, read> source: array<f32>;
@group(0) @binding(3) var<storage, read> norms: array<f32>;
@group(0) @binding(4) var<storage, read> biases: array<f32>;
// f32 (rows, anglesStride): cos and sin of the angles of tokens that a conversation has dropped.
@group(0) @binding(5) var<storage, read> dropped: array<f32>;
// Slot head of each map: key 0, key 1, value.
@group(0) @binding(6) var<storage, read> heads: array<u32>;
@group(0) @binding(7) var<storage, read_write> prepared: array<u32>;
@group(0) @binding(8) var<storage, read_write> plain: array<f32>;

override MAPS: u32;
// Width of what an encoder takes; 0: none.
override ENCODER: u32;
override ROPE0: u32;
override ROPE1: u32;
override SPREAD0: bool;
override SPREAD1: bool;
override NORM: u32;
override EPS: f32;
// Rotated width of the biases that each view meets; 0: none is kept apart.
override BIAS0: u32;
override BIAS1: u32;
// SCALE times the magnitude of the rotation.
override BIAS_SCALE: f32;

fn weightAt(i: u32) -> f32 { return norms[i]; }

const LARGE: f32 = 16;

fn squareOf(bias: u32, pairs: u32, pair: u32) -> f32 {
  let u = biases[bias + pair];
  let v = biases[bias + pairs + pair];
  return precisely(u * u) + precisely(v * v);
}

// factor · q · conj(b) of each pair with a large bias, with the query turned back by what its conversation dropped.
fn writeHarmonics(at: u32, view: u32, base: u32, dim: u32, pairs: u32, bias: u32, turn: u32) {
  var sum = 0f;
  for (var i = 0u; i < pairs; i++) { sum += squareOf(bias, pairs, i); }
  var count = 0u;
  if (sum > LARGE * f32(dim)) {
    let first = viewWord(at, 1) + viewWords(KEY1) + select(0u, 2 * BIAS0, view == 1);
    for (var i = 0u; i < pairs; i++) {
      if (!(squareOf(bias, pairs, i) > LARGE)) { continue; }
      let c = dropped[turn + i];
      let s = dropped[turn + pairs + i];
      let u = precisely(head[base + i] * c) + precisely(head[base + pairs + i] * s);
      let v = precisely(head[base + pairs + i] * c) - precisely(head[base + i] * s);
      let b = vec2f(biases[bias + i], biases[bias + pairs + i]);
      let word = first + 4 * count;
      prepared[word] = i;
      prepared[word + 1] = bitcast<u32>((precisely(u * b.x) + precisely(v * b.y)) * BIAS_SCALE);
      prepared[word + 2] = bitcast<u32>((precisely(v * b.x) - precisely(u * b.y)) * BIAS_SCALE);
      count++;
    }
  }
  prepared[at + 2 + view] = count;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let map = id.x;
  let first = select(KEY0, ENCODER, ENCODER != 0);
  let dim = first + KEY1;
  let base = layer.offset + id.y * layer.stride;
  let angle = id.y * layer.anglesStride + layer.rotation;
  let at = (id.y * MAPS + map) * QUERY * 4;
  for (var i = thread; i < dim; i += LANES) { head[i] = source[base + map * dim + i]; }
  workgroupBarrier();
  if (NORM == SPAN_HEAD) { normHead(dim, EPS, layer.norm + map * dim, thread); }
  if (NORM == SPAN_ALL) {
    var sum = 0f;
    for (var i = thread; i < MAPS * dim; i += LANES) {
      let x = source[base + i];
      sum += precisely(x * x);
    }
    let factor = divided(1, rootOf(divided(sumOf(sum, thread), f32(MAPS * dim)) + EPS));
    scaleHead(dim, factor, layer.norm + map * dim, thread);
  }
  if (ROPE0 != 0) { rotateHead(0, ROPE0 / 2, angle, thread); }
  if (ROPE1 != 0) { rotateHead(first, ROPE1 / 2, angle, thread); }
  if (NORM == SPAN_TURNED) { normHead(dim, EPS, layer.norm + map * dim, thread); }
  if (IS_INT8 && thread == 0) {
    prepared[at + 2] = 0;
    prepared[at + 3] = 0;
    if (BIAS0 != 0) { writeHarmonics(at, 0, 0, KEY0, BIAS0 / 2, layer.bias0 + heads[map] * KEY0, angle); }
    if (BIAS1 != 0) { writeHarmonics(at, 1, first, KEY1, BIAS1 / 2, layer.bias1 + heads[MAPS + map] * KEY1, angle); }
  }
  workgroupBarrier();
  // One call for both views, here and below: compilers put the function where it is called.
  for (var view = 0u; view < 2; view++) {
    if (select(SPREAD0, SPREAD1, view == 1)) { spreadHead(view * first, select(KEY0, KEY1, view == 1), thread); }
  }
  if (ENCODER != 0) {
    let padded = (ENCODER + 15) & ~15u;
    let start = id.y * layer.plainStride + map * padded;
    for (var i = thread; i < padded; i += LANES) { plain[start + i] = select(0f, head[min(i, HEAD - 1)], i < ENCODER); }
  }
  for (var view = select(0u, 1u, ENCODER != 0); view < select(1u, 2u, KEY1 != 0); view++) {
    writeView(at, view, view * first, select(KEY0, KEY1, view == 1), thread);
  }
}
