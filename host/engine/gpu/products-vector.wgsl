// Matrix × vector: up to VECTORS vectors, f32 or q8. LANES invocations read four rows of W side by side, 16 bytes each, so
// that neighbours read what lies side by side, and every weight once for all vectors. A workgroup of 64 invocations has
// 64 / LANES such groups; z: VECTORS vectors after VECTORS.

override LANES: u32 = 32;
override VECTORS: u32 = 1;

const SIZE = 64u;
const ROWS = 4u;
const MOST_VECTORS = 8;

// (VECTORS, SIZE): four rows each.
var<workgroup> sums: array<vec4<Number>, SIZE * VECTORS>;

@compute @workgroup_size(SIZE)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let first = id.z * VECTORS;
  let count = min(countOf() - first, VECTORS);
  let inMatrix = (product.rows + ROWS - 1) / ROWS;
  let group = indexOf(id, grid) * (SIZE / LANES) + local / LANES;
  let lane = local % LANES;
  let matrix = group / inMatrix;
  let r = (group % inMatrix) * ROWS;
  let row = matrix * product.rows + r;
  let isThere = matrix < product.matrices;

  var own: array<vec4<Number>, MOST_VECTORS>;
  if (isThere) {
    // A last group of less than four rows reads its last row again.
    let last = product.rows - 1 - r;
    let at = vec4<u32>(product.weights) + (vec4<u32>(row) + min(vec4<u32>(0, 1, 2, 3), vec4<u32>(last))) * product.stride;
    let steps = (product.cols + COLS - 1) / COLS;
    for (var step = lane; step < steps; step += LANES) {
      let w0 = weightsOf(at.x, step);
      let w1 = weightsOf(at.y, step);
      let w2 = weightsOf(at.z, step);
      let w3 = weightsOf(at.w, step);
      for (var i = 0u; i < VECTORS; i++) {
        if (i >= count) {
          break;
        }
        let v = inputsOf(vectorAt(first + i, matrix), step);
        own[i] += vec4<Number>(dotOf(w0, v), dotOf(w1, v), dotOf(w2, v), dotOf(w3, v));
      }
    }
  }
  for (var i = 0u; i < VECTORS; i++) {
    sums[i * SIZE + local] = own[i];
  }
  for (var half = LANES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) {
      for (var i = 0u; i < VECTORS; i++) {
        sums[i * SIZE + local] += sums[i * SIZE + local + half];
      }
    }
  }
  workgroupBarrier();
  if (!isThere) {
    return;
  }
  let n = min(ROWS, product.rows - r);
  for (var i = lane; i < count; i += LANES) {
    let sum = sums[i * SIZE + local - lane];
    let vector = (first + i) * product.vectors + product.firstVector + matrix;
    for (var k = 0u; k < n; k++) {
      finish(resultOf(sum[k], row + k, vector), row + k, first + i);
    }
  }
}
