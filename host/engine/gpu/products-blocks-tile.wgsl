// Matrix × matrix, weights in blocks: tiles of 64 rows × 64 vectors. 256 invocations bring 32 columns of each row and of each
// vector to the workgroup's memory, weights unpacked to bytes, then each computes 4 rows × 4 vectors, 16 apart, so that
// neighbours write neighbours. Groups are added in their order. Tiles of the same rows follow each other: the weights come
// from memory once.

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

// Rows j and 4 + j of a stripe, 16 columns from quad `quad` of the tile's columns on.
fn bringRows(stripe: u32, column: u32, piece: u32) {
  let j = piece % 4;
  let half = piece / 4 % STEPS;
  let own = piece / 8;
  let quad = half * 4;
  let at = groupAt(stripe, column * groupsHere() + quad / groupQuads());
  var low: vec4<u32>;
  var high: vec4<u32>;
  for (var k = 0u; k < 4; k++) {
    let inGroup = (quad + k) % groupQuads();
    if (hasBytes()) {
      low[k] = weights[at + 2 * inGroup][j];
      high[k] = weights[at + 2 * inGroup + 1][j];
    } else {
      let both = weights[at + inGroup][j];
      low[k] = both & NIBBLES;
      high[k] = (both >> 4) & NIBBLES;
    }
  }
  tileRows[(own * 8 + j) * STRIDE + half] = low;
  tileRows[(own * 8 + 4 + j) * STRIDE + half] = high;
}

// Scales and minima of four rows of a stripe.
fn bringScales(stripe: u32, column: u32, own: u32, isHigh: bool) {
  for (var g = 0u; g < groupsHere(); g++) {
    let group = column * groupsHere() + g;
    let at = groupAt(stripe, group);
    let factors = factorsAt(stripe, group);
    let both = scalesOf(at, factors);
    let scales = select(both.low, both.high, isHigh);
    var minima: vec4<f32>;
    if (TYPE != Q4) {
      let m = minimaOf(at, factors);
      minima = select(m.low, m.high, isHigh);
    }
    for (var k = 0u; k < 4; k++) {
      tileScales[g * TILE + own * 8 + select(0u, 4u, isHigh) + k] = vec2<f32>(scales[k], minima[k]);
    }
  }
}

fn bringVectors(vector: u32, column: u32, own: u32, half: u32) {
  let v = x[vectorAt(vector, 0) + column * STEPS + half];
  tileVectors[own * STRIDE + half] = v;
  tileSums[half * TILE + own] = dot4(ONES, v.x) + dot4(ONES, v.y) + dot4(ONES, v.z) + dot4(ONES, v.w);
}

fn dotOf(w: vec4<u32>, v: vec4<u32>) -> i32 {
  return dot4(w.x, v.x) + dot4(w.y, v.y) + dot4(w.z, v.z) + dot4(w.w, v.w);
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
  // 64 invocations bring rows, 16 their scales, 128 vectors; what is behind the last is the last again, and counts for nothing.
  let own = select(local / 8, (local - 64) / 2, local >= 64) % 8;
  let stripe = product.weights + min(row / 8 + own, (product.rows - 1) / 8) * product.stride;
  let left = local % SIDE;
  let top = local / SIDE;
  let columns = (product.cols + 31) / 32;
  var totals: array<vec4<f32>, EACH>;
  for (var column = 0u; column < columns; column++) {
    workgroupBarrier();
    if (local < 64) {
      bringRows(stripe, column, local);
    } else if (local < 80) {
      bringScales(stripe, column, own, local % 2 == 1);
    } else if (local >= 128) {
      let vector = (local - 128) / STEPS;
      bringVectors(min(first + vector, count - 1), column, vector, local % STEPS);
    }
    workgroupBarrier();
    for (var i = 0u; i < EACH; i++) {
      if (first + i * SIDE >= count) {
        break;
      }
      let vector = top + i * SIDE;
      var integers: vec4<i32>;
      var sum = 0;
      for (var k = 0u; k < STEPS; k++) {
        let v = tileVectors[vector * STRIDE + k];
        let w = left * STRIDE + k;
        let side = SIDE * STRIDE;
        integers += vec4<i32>(
          dotOf(tileRows[w], v),
          dotOf(tileRows[w + side], v),
          dotOf(tileRows[w + 2 * side], v),
          dotOf(tileRows[w + 3 * side], v),
        );
        sum += tileSums[k * TILE + vector];
        // The group ends here?
        if (groupQuads() == 4 || k == 1) {
          let at = select(0u, k, groupQuads() == 4) * TILE + left;
          let a = tileScales[at];
          let b = tileScales[at + SIDE];
          let c = tileScales[at + 2 * SIDE];
          let d = tileScales[at + 3 * SIDE];
          totals[i] += termOf(integers, sum, vec4<f32>(a.x, b.x, c.x, d.x), vec4<f32>(a.y, b.y, c.y, d.y));
          integers = vec4<i32>();
          sum = 0;
        }
      }
    }
  }
  for (var i = 0u; i < EACH; i++) {
    let vector = first + top + i * SIDE;
    if (vector >= count) {
      break;
    }
    let scale = bitcast<f32>(pairs[vector].x);
    for (var k = 0u; k < EACH; k++) {
      let result = row + left + k * SIDE;
      if (result < product.rows) {
        finish(totals[i][k] * scale, result, vector);
      }
    }
  }
}
