// Matrix × vector: up to VECTORS vectors, weights in blocks. Four invocations read a group of a stripe, each two of its rows,
// and `lanes` of them the groups side by side: every weight is read once for all vectors, and sums of a group are exact. A
// workgroup of 64 invocations has 64 / lanes stripes.

override VECTORS: u32 = 1;

const SIZE = 64u;
const ROWS = 8u;
const PAIRS = 4u;
const MOST_VECTORS = 8;

// Two rows of one vector, of each invocation. Some drivers take long to compile shaders that have more of such memory.
var<workgroup> sums: array<vec2<f32>, SIZE>;

alias Columns = array<vec4<u32>, 2>;

// What a group adds to two rows; `at`: where the vector has it.
fn termsOf(low: Columns, high: Columns, at: u32, lowScales: vec2<f32>, highScales: vec2<f32>) -> vec2<f32> {
  let v0 = x[at];
  var sum = sum16(v0);
  var integers = vec2<i32>(dot16(low[0], v0), dot16(high[0], v0));
  if (groupQuads() == 8) {
    let v1 = x[at + 1];
    sum += sum16(v1);
    integers += vec2<i32>(dot16(low[1], v1), dot16(high[1], v1));
  }
  return vec2<f32>(termOf(integers.x, sum, lowScales), termOf(integers.y, sum, highScales));
}

@compute @workgroup_size(SIZE)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let count = min(countOf(), VECTORS);
  let lanes = product.lanes;
  let lane = local % lanes;
  let j = lane % PAIRS;
  let row = (indexOf(id, grid) * (SIZE / lanes) + local / lanes) * ROWS;

  var own = array<vec2<f32>, MOST_VECTORS>();
  if (row < product.rows) {
    let stripe = product.weights + row / ROWS * product.stride;
    let groups = (product.cols + 31) / 32 * (8 / groupQuads());
    for (var group = lane / PAIRS; group < groups; group += lanes / PAIRS) {
      let at = groupAt(stripe, group);
      let factors = factorsAt(stripe, group);
      // 16 columns of each row, and again.
      var low = Columns();
      var high = Columns();
      for (var quad = 0u; quad < groupQuads(); quad++) {
        let both = integersOf(at, quad, j);
        low[quad / 4][quad % 4] = both.x;
        high[quad / 4][quad % 4] = both.y;
      }
      let lowScales = scalesOf(at, factors, j);
      let highScales = scalesOf(at, factors, PAIRS + j);
      for (var i = 0u; i < VECTORS; i++) {
        if (i < count) {
          own[i] += termsOf(low, high, vectorAt(i, 0) + group * groupQuads() / 4, lowScales, highScales);
        }
      }
    }
  }
  for (var i = 0u; i < count; i++) {
    // An index that is computed would keep them out of registers.
    var two = own[0];
    for (var k = 1u; k < VECTORS; k++) {
      two = select(two, own[k], i == k);
    }
    sums[local] = two;
    for (var half = lanes / 2; half >= PAIRS; half /= 2) {
      workgroupBarrier();
      if (lane < half) {
        sums[local] += sums[local + half];
      }
    }
    workgroupBarrier();
    // Eight rows would be two for each of four; eight invocations may not be there.
    for (var k = 0u; k < 2; k++) {
      let result = row + k * PAIRS + j;
      if (lane < PAIRS && result < product.rows) {
        finish(precisely(sums[local][k] * bitcast<f32>(pairs[i].x)), result, i);
      }
    }
    workgroupBarrier();
  }
}
