// Matrix × vector: up to VECTORS vectors, f32 or q8. `lanes` invocations read four rows of W side by side, 16 bytes each, so
// that neighbours read what lies side by side, and every weight once for all vectors. A workgroup of 64 invocations has
// 64 / lanes such groups.

override VECTORS: u32 = 1;

const SIZE = 64u;
const ROWS = 4u;
const MOST_VECTORS = 8;

// Four rows of one vector, of each invocation. Some drivers take long to compile shaders that have more of such memory.
var<workgroup> sums: array<vec4<Number>, SIZE>;

@compute @workgroup_size(SIZE)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let count = min(countOf(), VECTORS);
  let inMatrix = (product.rows + ROWS - 1) / ROWS;
  let lanes = product.lanes;
  let group = indexOf(id, grid) * (SIZE / lanes) + local / lanes;
  let lane = local % lanes;
  let matrix = group / inMatrix;
  let r = (group % inMatrix) * ROWS;
  let row = matrix * product.rows + r;
  let isThere = matrix < product.matrices;

  var own = array<vec4<Number>, MOST_VECTORS>();
  if (isThere) {
    // A last group of less than four rows reads its last row again.
    let last = product.rows - 1 - r;
    let at = vec4<u32>(product.weights) + (vec4<u32>(row) + min(vec4<u32>(0, 1, 2, 3), vec4<u32>(last))) * product.stride;
    let steps = (product.cols + COLS - 1) / COLS;
    for (var step = lane; step < steps; step += lanes) {
      let w0 = weightsOf(at.x, step);
      let w1 = weightsOf(at.y, step);
      let w2 = weightsOf(at.z, step);
      let w3 = weightsOf(at.w, step);
      for (var i = 0u; i < VECTORS; i++) {
        if (i < count) {
          let v = inputsOf(vectorAt(i, matrix), step);
          own[i] += vec4<Number>(dotOf(w0, v), dotOf(w1, v), dotOf(w2, v), dotOf(w3, v));
        }
      }
    }
  }
  for (var i = 0u; i < count; i++) {
    // An index that is computed would keep them out of registers.
    var four = own[0];
    for (var k = 1u; k < VECTORS; k++) {
      four = select(four, own[k], i == k);
    }
    sums[local] = four;
    for (var half = lanes / 2; half > 0; half /= 2) {
      workgroupBarrier();
      if (lane < half) {
        sums[local] += sums[local + half];
      }
    }
    workgroupBarrier();
    if (isThere && lane < ROWS && r + lane < product.rows) {
      let vector = i * product.vectors + product.firstVector + matrix;
      finish(resultOf(sums[local - lane][lane], row + lane, vector), row + lane, i);
    }
    workgroupBarrier();
  }
}
