// Matrix × vector: up to VECTORS vectors, weights in blocks. `lanes` invocations read the eight rows of a stripe side by side,
// four columns each, so that neighbours read what lies side by side, and every weight once for all vectors. A workgroup of 64
// invocations has 64 / lanes such groups.

override VECTORS: u32 = 1;

const SIZE = 64u;
const ROWS = 8u;
const MOST_VECTORS = 8;

// Four rows of one vector, of each invocation. Some drivers take long to compile shaders that have more of such memory.
var<workgroup> sums: array<vec4<f32>, SIZE>;

@compute @workgroup_size(SIZE)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let count = min(countOf(), VECTORS);
  let lanes = product.lanes;
  let lane = local % lanes;
  let row = (indexOf(id, grid) * (SIZE / lanes) + local / lanes) * ROWS;

  var own: array<Numbers, MOST_VECTORS>;
  if (row < product.rows) {
    let stripe = product.weights + row / ROWS * product.stride;
    let quads = (product.cols + 31) / 32 * 8;
    for (var quad = lane; quad < quads; quad += lanes) {
      let group = quad / groupQuads();
      let at = groupAt(stripe, group);
      let factors = factorsAt(stripe, group);
      let w = integersOf(at, quad % groupQuads());
      let s = scalesOf(at, factors);
      var m: Numbers;
      if (TYPE != Q4) {
        m = minimaOf(at, factors);
      }
      for (var i = 0u; i < VECTORS; i++) {
        if (i >= count) {
          break;
        }
        let v = x[vectorAt(i, 0) + quad / 4][quad % 4];
        let sum = dot4(ONES, v);
        let low = vec4<i32>(dot4(w.low.x, v), dot4(w.low.y, v), dot4(w.low.z, v), dot4(w.low.w, v));
        let high = vec4<i32>(dot4(w.high.x, v), dot4(w.high.y, v), dot4(w.high.z, v), dot4(w.high.w, v));
        own[i].low += termOf(low, sum, s.low, m.low);
        own[i].high += termOf(high, sum, s.high, m.high);
      }
    }
  }
  for (var i = 0u; i < 2 * count; i++) {
    let isHigh = i % 2;
    sums[local] = select(own[i / 2].low, own[i / 2].high, isHigh == 1);
    for (var half = lanes / 2; half > 0; half /= 2) {
      workgroupBarrier();
      if (lane < half) {
        sums[local] += sums[local + half];
      }
    }
    workgroupBarrier();
    let result = row + isHigh * 4 + lane;
    if (lane < 4 && result < product.rows) {
      finish(sums[local - lane][lane] * bitcast<f32>(pairs[i / 2].x), result, i / 2);
    }
    workgroupBarrier();
  }
}
