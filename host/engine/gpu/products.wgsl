// What all products have in common: y = W x (+ bias) (+ y), `count` vectors of which each row of the step has `vectors`.
// Behind step.wgsl; then the number format (products-f32, -q8, -blocks), then the form (…-vector: a few vectors, each weight
// read once for all; …-tile: many).
//
// W is bound in bands of whole rows, as bytes lie in the file; a band is one operation. Rows count within the band. Where
// there is one matrix per map, vector j of a row meets rows j · rows … of the matrix, and no others.

struct Product {
  // W: numbers of 16 bytes before the first row of the band, and from row to row (or from eight rows to eight).
  weights: u32,
  stride: u32,
  // Columns that count; what is behind them is not read, or has a zero on the other side.
  cols: u32,
  // Rows of one matrix of the band, how many matrices it has, and its first row among those of y.
  rows: u32,
  matrices: u32,
  firstRow: u32,
  // Vectors of each row of the step, and the first of them that meets the band.
  vectors: u32,
  firstVector: u32,
  // x: numbers of 16 bytes before the first vector, from row to row, and from vector to vector of a row.
  x: u32,
  xStride: u32,
  xVectorStride: u32,
  // y, bias, and scales of rows: numbers before the first.
  y: u32,
  yStride: u32,
  bias: u32,
  scales: u32,
  hasBias: u32,
  adds: u32,
  ofLogits: u32,
  // Invocations that share the columns of a row, a power of two.
  lanes: u32,
}

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<uniform> product: Product;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read> x: array<vec4<u32>>;

// Rows of the step that take part.
fn countOf() -> u32 {
  return select(sizes.rows, sizes.logits, product.ofLogits == 1);
}

// Workgroups are counted in two dimensions, since one has 65535 at most: the last ones may be too many.
fn indexOf(id: vec3<u32>, grid: vec3<u32>) -> u32 {
  return id.y * grid.x + id.x;
}

// Where vector i of matrix j of the band lies in x.
fn vectorAt(i: u32, j: u32) -> u32 {
  return product.x + i * product.xStride + (product.firstVector + j) * product.xVectorStride;
}

// Epilogue of one number: row of the band, row of the step.
fn finish(value: f32, row: u32, i: u32) {
  var result = value;
  if (product.hasBias == 1) {
    result += bias[product.bias + row];
  }
  let at = product.y + i * product.yStride + product.firstRow + row;
  if (product.adds == 1) {
    result += y[at];
  }
  y[at] = result;
}
