// Vectors in f32 → integers of ±127, four in a word, with their scale and their sum: the inputs of products whose weights are
// not f32. The same integers, scales and sums as assembly/kernels/quantize.ts makes, to the last bit. A workgroup per vector.
//
// Scales and factors are quotients. Those of WGSL may be off by 2.5 units in the last place, so both are divided in integers;
// once per vector this costs little. Products and round() are exact, or correctly rounded, everywhere.

struct Quantise {
  // x: numbers before the first vector, from row to row, and from vector to vector of a row.
  x: u32,
  xStride: u32,
  xVectorStride: u32,
  // Vectors of each row of the step.
  vectors: u32,
  cols: u32,
  // Words of a vector, behind cols with zeros.
  words: u32,
  ofLogits: u32,
}

@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<uniform> quantise: Quantise;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> words: array<u32>;
// (bits of the scale, sum) of each vector.
@group(0) @binding(4) var<storage, read_write> pairs: array<vec2<u32>>;

override SIZE: u32 = 256;

// Bits of the largest |x|: those of positive numbers are in their order, infinity and NaN behind all of them.
var<workgroup> peakBits: atomic<u32>;
var<workgroup> sum: atomic<i32>;

const INFINITY = 0x7f800000u;

// The f32 nearest to (quotient + rest / divisor) · 2^(exponent − 151), ties to even; quotient has 25 or 26 bits, and the
// result is a normal number.
fn rounded(quotient: u32, rest: u32, exponent: u32) -> f32 {
  let drop = select(1u, 2u, quotient >= (1u << 25));
  let low = quotient & ((1u << drop) - 1);
  let half = 1u << (drop - 1);
  var mantissa = quotient >> drop;
  if (low > half || (low == half && (rest != 0 || (mantissa & 1) == 1))) {
    mantissa++;
  }
  // A mantissa of 2^24 carries into the exponent.
  return bitcast<f32>(((exponent + drop - 1) << 23) + (mantissa - (1u << 23)));
}

// 127 / peak: 127 · 2^42 divided by the mantissa, bit by bit; the first 16 bits are zeros.
fn factorOf(bits: u32) -> f32 {
  let divisor = (bits & 0x7fffff) | 0x800000;
  var rest = 127u << 16;
  var quotient = 0u;
  for (var i = 0; i < 26; i++) {
    rest <<= 1;
    quotient <<= 1;
    if (rest >= divisor) {
      rest -= divisor;
      quotient |= 1;
    }
  }
  return rounded(quotient, rest, 259 - (bits >> 23));
}

// peak / 127
fn scaleOf(bits: u32) -> f32 {
  let dividend = ((bits & 0x7fffff) | 0x800000) << 8;
  let quotient = dividend / 127;
  return rounded(quotient, dividend - 127 * quotient, (bits >> 23) - 7);
}

@compute @workgroup_size(SIZE)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let vector = id.y * grid.x + id.x;
  let row = vector / quantise.vectors;
  if (row >= select(sizes.rows, sizes.logits, quantise.ofLogits == 1)) {
    return;
  }
  let from0 = quantise.x + row * quantise.xStride + (vector % quantise.vectors) * quantise.xVectorStride;
  var most = 0u;
  for (var c = local; c < quantise.cols; c += SIZE) {
    most = max(most, bitcast<u32>(x[from0 + c]) & 0x7fffffff);
  }
  atomicMax(&peakBits, most);
  workgroupBarrier();
  let peak = atomicLoad(&peakBits);
  // Vectors so small that the factor would overflow are zeros; so are those that are not finite, with a scale that says so.
  let isPlain = peak < INFINITY && bitcast<f32>(peak) >= 1e-34f;
  var factor = 0f;
  if (isPlain) {
    factor = factorOf(peak);
  }
  var total = 0;
  for (var w = local; w < quantise.words; w += SIZE) {
    var packed = 0u;
    for (var k = 0u; k < 4; k++) {
      let c = 4 * w + k;
      if (isPlain && c < quantise.cols) {
        let value = i32(round(x[from0 + c] * factor));
        total += value;
        packed |= (bitcast<u32>(value) & 255) << (8 * k);
      }
    }
    words[vector * quantise.words + w] = packed;
  }
  atomicAdd(&sum, total);
  workgroupBarrier();
  if (local == 0) {
    var bits = 0u;
    if (isPlain) {
      bits = bitcast<u32>(scaleOf(peak));
    } else if (peak >= INFINITY) {
      bits = peak | 0x7fc00000;
    }
    pairs[vector] = vec2<u32>(bits, bitcast<u32>(atomicLoad(&sum)));
  }
}
