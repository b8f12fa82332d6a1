// The gated delta rule (assembly/kernels/recurrence.ts), a workgroup for each value head, through all rows of a step in their order:
//
//     S ← keep S + k ⊗ β (v − (keep S)ᵀ k)     o = Sᵀ q / √KEY      S f32 (KEY, VALUE), in the page behind the columns
//
// projection: CHANNELS numbers, z of each head, then b of each, then a; convolved: q and k of the key heads, v of the value heads.
// A thread takes columns of S through all rows, so nobody else reads what it writes.
// Behind step.wgsl, math.wgsl and state-pages.wgsl. Workgroups (value heads), 64 threads each.

@group(0) @binding(5) var<storage, read> projection: array<f32>;
@group(0) @binding(6) var<storage, read> convolved: array<f32>;
@group(0) @binding(7) var<storage, read> decays: array<f32>;
@group(0) @binding(8) var<storage, read_write> pages: array<f32>;
@group(0) @binding(9) var<storage, read_write> result: array<f32>;

const LANES: u32 = 64;
// Under the root, where queries and keys are made as long as 1.
const LENGTH_EPS: f32 = 1e-6;

override CHANNELS: u32;
override KEY_HEADS: u32;
override KEY: u32;
override VALUE_HEADS: u32;
override VALUE: u32;
override IS_TILED: bool;
// Words of a page before S.
override COLUMNS: u32;

var<workgroup> queries: array<f32, KEY>;
var<workgroup> keys: array<f32, KEY>;
var<workgroup> squares: array<vec2f, LANES>;

// ln(1 + e^x) = 2 artanh(t / (2 + t)) for t = e^−|x|, the larger of x and 0 besides.
fn softplus(x: f32) -> f32 {
  let t = expOf(-abs(x));
  let u = t / (2 + t);
  let z = u * u;
  var sum = 1f / 17;
  for (var n = 15; n > 0; n -= 2) { sum = sum * z + 1 / f32(n); }
  return max(x, 0) + 2 * u * sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let head = id.x;
  let keyHead = select(head * KEY_HEADS / VALUE_HEADS, head % KEY_HEADS, IS_TILED);
  let fades = expOf(decays[layer.first + head]);
  for (var i = 0u; i < sizes.rows; i++) {
    let row = rows[i];
    let own = pageOf(row.conversation, row.position);
    let before = pageOf(row.conversation, max(row.position, 1) - 1);
    if (own == NO_PAGE || before == NO_PAGE) { continue; }
    let q = i * layer.convolvedStride + keyHead * KEY;
    let k = q + KEY_HEADS * KEY;
    var sums = vec2f();
    for (var n = thread; n < KEY; n += LANES) {
      queries[n] = convolved[q + n];
      keys[n] = convolved[k + n];
      sums += vec2f(queries[n] * queries[n], keys[n] * keys[n]);
    }
    squares[thread] = sums;
    workgroupBarrier();
    var lengths = vec2f();
    for (var lane = 0u; lane < LANES; lane++) { lengths += squares[lane]; }
    let factors = 1 / sqrt(lengths + LENGTH_EPS);
    let gates = layer.offset + i * layer.stride + CHANNELS + VALUE_HEADS * VALUE + head;
    let beta = sigmoidOf(projection[gates]);
    let keep = expOf(-fades * softplus(projection[gates + VALUE_HEADS]));
    let past = before * LAYER_WORDS + COLUMNS + head * KEY * VALUE;
    let to = own * LAYER_WORDS + COLUMNS + head * KEY * VALUE;
    let v = i * layer.convolvedStride + 2 * KEY_HEADS * KEY + head * VALUE;
    let isFirst = row.position == 0;
    for (var c = thread; c < VALUE; c += LANES) {
      var known = 0f;
      if (!isFirst) { for (var n = 0u; n < KEY; n++) { known += pages[past + n * VALUE + c] * keys[n]; } }
      let gain = (convolved[v + c] - known * (keep * factors.y)) * (beta * factors.y);
      var sum = 0f;
      for (var n = 0u; n < KEY; n++) {
        let state = select(pages[past + n * VALUE + c], 0f, isFirst) * keep + gain * keys[n];
        pages[to + n * VALUE + c] = state;
        sum += state * queries[n];
      }
      result[i * layer.resultStride + head * VALUE + c] = sum * factors.x / sqrt(f32(KEY));
    }
    workgroupBarrier();
  }
}
