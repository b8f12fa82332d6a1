// Weights in blocks of eight rows, TYPE of assembly/abi.ts: q4, and those with a scale and a minimum. assembly/kernels/
// products-q4.ts and blocks.ts have pictures of them. A group is the columns that have one scale, a quad four columns of it.
// Vectors as quantise.wgsl leaves them; sums of integers are exact, and
//
//     y = s_x · Σ_groups s · (Σ w'·x − 8·Σx)          q4
//     y = s_x · Σ_groups ( s · Σ q·x − m · Σx )       the others

@group(0) @binding(6) var<storage, read> pairs: array<vec2<u32>>;

override TYPE: u32;

const Q4 = 3u;
const Q4M = 4u;
const Q4K = 5u;
const Q8M = 6u;
const Q8K = 7u;

const NIBBLES = 0x0f0f0f0fu;
const ONES = 0x01010101u;
// Of a span: 16 bytes of its factors.
const FACTORS = 4u;

// Eight rows: 0..3, then 4..7.
struct Integers { low: vec4<u32>, high: vec4<u32> }
struct Numbers { low: vec4<f32>, high: vec4<f32> }

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

// The integers of four columns, a row in each word.
fn integersOf(group: u32, quad: u32) -> Integers {
  if (hasBytes()) {
    return Integers(weights[group + 2 * quad], weights[group + 2 * quad + 1]);
  }
  let both = weights[group + quad];
  return Integers(both & vec4<u32>(NIBBLES), (both >> vec4<u32>(4)) & vec4<u32>(NIBBLES));
}

// Four signed bytes of a word.
fn fourOf(word: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24, 16, 8, 0)) >> vec4<u32>(24));
}

// Eight f16 or i8, times eight factors.
fn productsOf(words: vec4<u32>, factors: u32) -> Numbers {
  let low = vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
  let high = vec4<f32>(unpack2x16float(words.z), unpack2x16float(words.w));
  return Numbers(low * bitcast<vec4<f32>>(weights[factors]), high * bitcast<vec4<f32>>(weights[factors + 1]));
}

fn byteProductsOf(words: vec2<u32>, factors: u32) -> Numbers {
  let low = fourOf(words.x) * bitcast<vec4<f32>>(weights[factors]);
  return Numbers(low, fourOf(words.y) * bitcast<vec4<f32>>(weights[factors + 1]));
}

// Scales of a group that lies at `at`.
fn scalesOf(at: u32, factors: u32) -> Numbers {
  let words = weights[at + integerSteps()];
  if (TYPE == Q4) {
    // bf16: the upper half of an f32.
    let even = bitcast<vec4<f32>>(words << vec4<u32>(16));
    let odd = bitcast<vec4<f32>>(words & vec4<u32>(0xffff0000));
    return Numbers(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
  }
  if (TYPE == Q4M || TYPE == Q8M) {
    return productsOf(words, factors);
  }
  return byteProductsOf(words.xy, factors);
}

fn minimaOf(at: u32, factors: u32) -> Numbers {
  if (TYPE == Q4M || TYPE == Q8M) {
    return productsOf(weights[at + integerSteps() + 1], factors + 2);
  }
  return byteProductsOf(weights[at + integerSteps()].zw, factors + 2);
}

// What a group, or some of its columns, adds to four rows: Σ of their integers times x, and Σx.
fn termOf(integers: vec4<i32>, sum: i32, scales: vec4<f32>, minima: vec4<f32>) -> vec4<f32> {
  if (TYPE == Q4) {
    return vec4<f32>(integers - vec4<i32>(sum << 3)) * scales;
  }
  return vec4<f32>(integers) * scales - f32(sum) * minima;
}
