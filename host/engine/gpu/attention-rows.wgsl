// Cache rows, from the fused projection into their pages: each head normed, its large biases taken off, rotated, spread if it
// is rounded to int8, written. Behind step.wgsl, attention-head.wgsl and attention-cache.wgsl.
//
//     projection f32 (rows, stride): q | row | gate        →  pages u32 (places, layer)
//
// Workgroups (heads of both slots, rows), 64 threads each.

struct Layer {
  // Numbers of the projection: where a row begins, and from one to the next.
  offset: u32,
  stride: u32,
  anglesStride: u32,
  // Numbers before the angles of this layer's rotation.
  rotation: u32,
  // Words before the weights of the norms of heads, and before the bias of the projection's row.
  norm: u32,
  bias: u32,
  // Numbers before this layer's page kind in places.
  places: u32,
  tableBlocks: u32,
}

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
@group(0) @binding(2) var<storage, read> tables: array<u32>;
@group(0) @binding(3) var<storage, read> places: array<u32>;
@group(0) @binding(4) var<storage, read> angles: array<f32>;
@group(0) @binding(5) var<storage, read> projection: array<f32>;
@group(0) @binding(6) var<storage, read> norms: array<f32>;
@group(0) @binding(7) var<storage, read> biases: array<f32>;
@group(0) @binding(8) var<storage, read_write> pages: array<u32>;

override LAYER_WORDS: u32;
override HEADS0: u32;
override DIM0: u32;
override ROPE0: u32;
override NORM0: u32;
override EPS0: f32;
override SPREAD0: bool;
override BIAS0: bool;
override HEADS1: u32;
override DIM1: u32;
override ROPE1: u32;
override NORM1: u32;
override EPS1: f32;
override SPREAD1: bool;
override BIAS1: bool;

fn weightAt(i: u32) -> f32 { return norms[i]; }

// What the heads of a slot have in common.
struct Slot { heads: u32, dim: u32, rope: u32, norm: u32, eps: f32, spread: bool, bias: bool }

// The square of a bias from which on it is large: assembly/mixers/key-bias.ts.
const LARGE: f32 = 16;

fn squareOf(bias: u32, pairs: u32, pair: u32) -> f32 {
  let u = biases[bias + pair];
  let v = biases[bias + pairs + pair];
  return precisely(u * u) + precisely(v * v);
}

// Takes the large biases off the head.
fn removeBias(bias: u32, pairs: u32, dim: u32, thread: u32) {
  var sum = 0f;
  for (var i = 0u; i < pairs; i++) { sum += squareOf(bias, pairs, i); }
  for (var i = thread; i < dim; i += LANES) {
    let isLarge = i >= 2 * pairs || (sum > LARGE * f32(dim) && squareOf(bias, pairs, i % max(pairs, 1)) > LARGE);
    if (isLarge) { head[i] -= biases[bias + i]; }
  }
  workgroupBarrier();
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = rows[id.y];
  let block = tables[row.conversation * layer.tableBlocks + row.position / PAGE_TOKENS];
  let place = places[layer.places + block];
  if (place == NO_PAGE) { return; }
  let isFirst = id.x < HEADS0;
  var slot = Slot(HEADS1, DIM1, ROPE1, NORM1, EPS1, SPREAD1, BIAS1);
  if (isFirst) { slot = Slot(HEADS0, DIM0, ROPE0, NORM0, EPS0, SPREAD0, BIAS0); }
  let index = select(id.x - HEADS0, id.x, isFirst);
  // Numbers, and weights of norms, before the slot.
  let before = select(HEADS0 * DIM0, 0, isFirst);
  let weights = layer.norm + select(select(0, HEADS0 * DIM0, NORM0 != 0), 0, isFirst);
  let own = before + index * slot.dim;
  let source = layer.offset + id.y * layer.stride;

  for (var i = thread; i < slot.dim; i += LANES) { head[i] = projection[source + own + i]; }
  workgroupBarrier();
  if (slot.norm == SPAN_HEAD) { normHead(slot.dim, slot.eps, weights + index * slot.dim, thread); }
  if (slot.norm == SPAN_ALL) {
    let n = slot.heads * slot.dim;
    var sum = 0f;
    for (var i = thread; i < n; i += LANES) {
      let x = projection[source + before + i];
      sum += precisely(x * x);
    }
    let factor = divided(1, rootOf(divided(sumOf(sum, thread), f32(n)) + slot.eps));
    scaleHead(slot.dim, factor, weights + index * slot.dim, thread);
  }
  if (slot.bias) { removeBias(layer.bias + own, slot.rope / 2, slot.dim, thread); }
  if (slot.rope != 0) { rotateHead(0, slot.rope / 2, id.y * layer.anglesStride + layer.rotation, thread); }
  if (slot.spread) { spreadHead(0, slot.dim, thread); }
  let at = place * LAYER_WORDS + select(HEADS0 * headWords(DIM0), 0, isFirst) + index * headWords(slot.dim);
  writeHead(at, slot.dim, row.position % PAGE_TOKENS, thread);
}
