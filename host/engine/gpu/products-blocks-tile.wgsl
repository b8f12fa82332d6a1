// Matrix × matrix, weights in blocks: tiles of 64 rows × 64 vectors. 256 invocations bring 32 columns of each row and of each
// vector to the workgroup's memory, weights unpacked to bytes, then each computes 4 rows × 4 vectors, 16 apart, so that
// neighbours write neighbours. Tiles of the same rows follow each other: the weights come from memory once.

const TILE = 64u;
const EACH = 4u;
const SIDE = TILE / EACH;
const STEPS = 2u;
// One more than the steps keeps neighbours on different banks.
const STRIDE = STEPS + 1;

var<workgroup> tileRows: array<vec4<u32>, TILE * STRIDE>;
var<workgroup> tileVectors: array<vec4<u32>, TILE * STRIDE>;
// Of each 16 columns: Σx of a vector, scale and minimum of a row.
var<workgroup> tileSums: array<i32, TILE * STEPS>;
var<workgroup> tileScales: array<vec2<f32>, TILE * STEPS>;

fn groupsHere() -> u32 {
  return 8 / groupQuads();
}

// Rows j and 4 + j of a stripe, 16 of the tile's columns.
fn bringRows(stripe: u32, column: u32, own: u32, half: u32, j: u32) {
  var low = vec4<u32>();
  var high = vec4<u32>();
  let at = groupAt(stripe, column * groupsHere() + half * 4 / groupQuads());
  for (var k = 0u; k < 4; k++) {
    let both = integersOf(at, (half * 4 + k) % groupQuads(), j);
    low[k] = both.x;
    high[k] = both.y;
  }
  tileRows[(own * 8 + j) * STRIDE + half] = low;
  tileRows[(own * 8 + 4 + j) * STRIDE + half] = high;
}

fn bringScales(stripe: u32, column: u32, own: u32) {
  for (var g = 0u; g < groupsHere(); g++) {
    let group = column * groupsHere() + g;
    tileScales[g * TILE + own] = scalesOf(groupAt(stripe, group), factorsAt(stripe, group), own % 8);
  }
}

fn bringVectors(vector: u32, column: u32, own: u32, half: u32) {
  let v = x[vectorAt(vector, 0) + column * STEPS + half];
  tileVectors[own * STRIDE + half] = v;
  tileSums[half * TILE + own] = sum16(v);
}

// What 32 columns add to four rows of a vector.
fn termsOf(vector: u32, row: u32) -> vec4<f32> {
  let v0 = tileVectors[vector * STRIDE];
  let v1 = tileVectors[vector * STRIDE + 1];
  let sum0 = tileSums[vector];
  let sum1 = tileSums[TILE + vector];
  var terms = vec4<f32>();
  for (var j = 0u; j < EACH; j++) {
    let own = row + j * SIDE;
    let first = dot16(tileRows[own * STRIDE], v0);
    let second = dot16(tileRows[own * STRIDE + 1], v1);
    if (groupQuads() == 8) {
      terms[j] = termOf(first + second, sum0 + sum1, tileScales[own]);
    } else {
      terms[j] = termOf(first, sum0, tileScales[own]) + termOf(second, sum1, tileScales[TILE + own]);
    }
  }
  return terms;
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let count = countOf();
  let vectorTiles = (count + TILE - 1) / TILE;
  let index = indexOf(id, grid);
  let first = index % vectorTiles * TILE;
  let row = index / vectorTiles * TILE;
  if (row >= product.rows) {
    return;
  }
  // 64 invocations bring rows, 64 their scales, 128 vectors; what is behind the last is the last again, and counts for nothing.
  let own = local % 64 / 8;
  let stripe = product.weights + min(row / 8 + own, (product.rows - 1) / 8) * product.stride;
  let left = local % SIDE;
  let top = local / SIDE;
  let columns = (product.cols + 31) / 32;
  var totals = array<vec4<f32>, EACH>();
  for (var column = 0u; column < columns; column++) {
    workgroupBarrier();
    if (local < 64) {
      bringRows(stripe, column, own, local / 4 % STEPS, local % 4);
    } else if (local < 128) {
      bringScales(stripe, column, local - 64);
    } else {
      let vector = (local - 128) / STEPS;
      bringVectors(min(first + vector, count - 1), column, vector, local % STEPS);
    }
    workgroupBarrier();
    for (var i = 0u; i < EACH; i++) {
      if (first + i * SIDE < count) {
        totals[i] += termsOf(top + i * SIDE, left);
      }
    }
  }
  // No loop that is unrolled, and totals without an index that is computed: they stay in registers.
  let vectors = min(EACH, (count - first + SIDE - 1 - top) / SIDE);
  let rows = min(EACH, (product.rows - row + SIDE - 1 - left) / SIDE);
  for (var i = 0u; i < vectors; i++) {
    let four = select(select(totals[0], totals[1], i == 1), select(totals[2], totals[3], i == 3), i >= 2);
    let vector = first + top + i * SIDE;
    let scale = bitcast<f32>(pairs[vector].x);
    for (var k = 0u; k < rows; k++) {
      finish(precisely(four[k] * scale), row + left + k * SIDE, vector);
    }
  }
}
