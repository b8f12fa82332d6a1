// Matrix × matrix, f32 or q8: tiles of 64 rows × 64 vectors. 256 invocations bring 32 bytes of each row and of each vector to
// the workgroup's memory, then each computes 4 rows × 4 vectors, 16 apart, so that neighbours write neighbours. The next
// bytes are under way meanwhile. Tiles of the same rows follow each other: the weights come from memory once.

const TILE = 64u;
const EACH = 4u;
const SIDE = TILE / EACH;
const STEPS = 2u;
// One more than the steps keeps neighbours on different banks.
const STRIDE = STEPS + 1;

var<workgroup> tileRows: array<vec4<u32>, TILE * STRIDE>;
var<workgroup> tileVectors: array<vec4<u32>, TILE * STRIDE>;

fn pieceOf(isRow: bool, at: u32, step: u32) -> vec4<u32> {
  if (isRow) {
    return weightsOf(at, step);
  }
  return inputsOf(at, step);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let count = countOf();
  let vectorTiles = (count + TILE - 1) / TILE;
  let rowTiles = (product.rows + TILE - 1) / TILE;
  let index = indexOf(id, grid);
  let first = (index % vectorTiles) * TILE;
  let r = (index / vectorTiles % rowTiles) * TILE;
  let matrix = index / vectorTiles / rowTiles;
  if (matrix >= product.matrices) {
    return;
  }

  // Half of the invocations bring rows, half vectors; what is behind the last is the last again, and counts for nothing.
  let own = local % (TILE * STEPS) / STEPS;
  let bringsRows = local < TILE * STEPS;
  let row = matrix * product.rows + min(r + own, product.rows - 1);
  let at = select(vectorAt(min(first + own, count - 1), matrix), product.weights + row * product.stride, bringsRows);
  let place = own * STRIDE + local % STEPS;
  let left = local % SIDE;
  let top = local / SIDE;
  var sums = array<vec4<Number>, EACH>();
  let steps = (product.cols + COLS - 1) / COLS;
  var piece = pieceOf(bringsRows, at, local % STEPS);
  for (var step = 0u; step < steps; step += STEPS) {
    workgroupBarrier();
    if (bringsRows) {
      tileRows[place] = piece;
    } else {
      tileVectors[place] = piece;
    }
    workgroupBarrier();
    if (step + STEPS < steps) {
      piece = pieceOf(bringsRows, at, step + STEPS + local % STEPS);
    }
    let here = min(STEPS, steps - step);
    for (var k = 0u; k < here; k++) {
      let w0 = tileRows[left * STRIDE + k];
      let w1 = tileRows[(left + SIDE) * STRIDE + k];
      let w2 = tileRows[(left + 2 * SIDE) * STRIDE + k];
      let w3 = tileRows[(left + 3 * SIDE) * STRIDE + k];
      for (var i = 0u; i < EACH; i++) {
        if (first + i * SIDE < count) {
          let v = tileVectors[(top + i * SIDE) * STRIDE + k];
          sums[i] += vec4<Number>(dotOf(w0, v), dotOf(w1, v), dotOf(w2, v), dotOf(w3, v));
        }
      }
    }
  }
  // No loop that is unrolled, and sums without an index that is computed: they stay in registers.
  let vectors = min(EACH, (count - first + SIDE - 1 - top) / SIDE);
  let rows = min(EACH, (product.rows - r + SIDE - 1 - left) / SIDE);
  for (var i = 0u; i < vectors; i++) {
    let four = select(select(sums[0], sums[1], i == 1), select(sums[2], sums[3], i == 3), i >= 2);
    let vector = first + top + i * SIDE;
    let pair = vector * product.vectors + product.firstVector + matrix;
    for (var k = 0u; k < rows; k++) {
      let result = matrix * product.rows + r + left + k * SIDE;
      finish(resultOf(four[k], result, pair), result, vector);
    }
  }
}
