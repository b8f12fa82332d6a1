// Weights in blocks of eight rows, TYPE of blocks.wgsl, which goes before, as precise.wgsl does: q4, and those with a scale and a minimum.
// assembly/kernels/products-q4.ts and blocks.ts have pictures of them. A group is the columns that have one scale, a quad
// four columns of it. Vectors as quantise.wgsl leaves them; sums of integers are exact, and
//
//     y = s_x · Σ_groups s · (Σ w'·x − 8·Σx)          q4
//     y = s_x · Σ_groups ( s · Σ q·x − m · Σx )       the others

@group(0) @binding(6) var<storage, read> pairs: array<vec2<u32>>;

override TYPE: u32;

const NIBBLES = 0x0f0f0f0fu;
const ONES = 0x01010101u;
// Of a span: 16 bytes of its factors.
const FACTORS = 4u;

fn hasBytes() -> bool {
  return TYPE == Q8M || TYPE == Q8K;
}

fn groupQuads() -> u32 {
  return select(8u, 4u, TYPE == Q8K);
}

// Numbers of 16 bytes: of a group's integers, of a whole group, and where one lies.
fn integerSteps() -> u32 {
  return select(8u, 16u, TYPE == Q8M);
}

fn groupSteps() -> u32 {
  return integerSteps() + select(1u, 2u, TYPE == Q4M || TYPE == Q8M);
}

// Groups of a span.
fn spanGroups() -> u32 {
  return 64 / groupQuads();
}

fn factorsAt(stripe: u32, group: u32) -> u32 {
  return stripe + group / spanGroups() * (FACTORS + spanGroups() * groupSteps());
}

fn groupAt(stripe: u32, group: u32) -> u32 {
  if (TYPE == Q4) {
    return stripe + group * groupSteps();
  }
  return factorsAt(stripe, group) + FACTORS + group % spanGroups() * groupSteps();
}

// Four columns of rows j and 4 + j, from the quad of a group.
fn integersOf(group: u32, quad: u32, j: u32) -> vec2<u32> {
  if (hasBytes()) {
    return vec2<u32>(weights[group + 2 * quad][j], weights[group + 2 * quad + 1][j]);
  }
  let both = weights[group + quad][j];
  return vec2<u32>(both, both >> 4) & vec2<u32>(NIBBLES);
}

// Scale of one of eight rows, or its minimum: f16 or i8, times a factor of the span.
fn productOf(group: u32, factors: u32, row: u32, isMinimum: u32) -> f32 {
  let at = group + integerSteps();
  let factor = bitcast<f32>(weights[factors + 2 * isMinimum + row / 4][row % 4]);
  if (TYPE == Q4M || TYPE == Q8M) {
    return halfOf((weights[at + isMinimum][row / 2] >> (row % 2 * 16)) & 0xffff) * factor;
  }
  let bytes = weights[at][2 * isMinimum + row / 4];
  return f32(bitcast<i32>(bytes << (24 - row % 4 * 8)) >> 24) * factor;
}

// Scale and minimum of one of eight rows in a group.
fn scalesOf(group: u32, factors: u32, row: u32) -> vec2<f32> {
  if (TYPE == Q4) {
    // bf16: the upper half of an f32.
    let both = weights[group + integerSteps()][row / 2];
    return vec2<f32>(bitcast<f32>(select(both << 16, both & 0xffff0000, row % 2 == 1)), 0);
  }
  return vec2<f32>(productOf(group, factors, row, 0), productOf(group, factors, row, 1));
}

fn dot16(w: vec4<u32>, v: vec4<u32>) -> i32 {
  return dot4(w.x, v.x) + dot4(w.y, v.y) + dot4(w.z, v.z) + dot4(w.w, v.w);
}

// Σx of 16 columns.
fn sum16(v: vec4<u32>) -> i32 {
  return dot16(vec4<u32>(ONES), v);
}

// What a group adds to a row: Σ of its integers times x, and Σx.
fn termOf(integers: i32, sum: i32, scales: vec2<f32>) -> f32 {
  if (TYPE == Q4) {
    return precisely(f32(integers - (sum << 3)) * scales.x);
  }
  return precisely(f32(integers) * scales.x) - precisely(f32(sum) * scales.y);
}
