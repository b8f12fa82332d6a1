// One head of a query or of a cache row, in workgroup memory: what happens to it before others meet it. Goes before the main
// of attention-queries, attention-rows and attention-turn.
//
// Behind divide.wgsl. Workgroup: 64 threads, all of which call each function. A function ends with a barrier, behind which all see its result.
// The order of sums is that of assembly/kernels (norm.ts, quantize.ts), so that a cache row has the bits that it has there,
// as far as the device's sums and products are rounded to nearest. Only the norm of all heads together is summed otherwise.

const LANES: u32 = 64;
const NO_PAGE: u32 = 0xffffffff;
const PAGE_TOKENS: u32 = 64;
const NAN_BITS: u32 = 0x7fc00000;

// Numbers of the widest head, padded to 4.
override HEAD: u32;

var<workgroup> head: array<f32, HEAD>;
var<workgroup> lanes: array<f32, LANES>;
var<workgroup> words: array<u32, LANES>;

// Comparisons of NaN may be left out by compilers, those of its bits may not.
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

// Σ of what each thread brings, in a tree.
fn sumOf(own: f32, thread: u32) -> f32 {
  lanes[thread] = own;
  workgroupBarrier();
  for (var half = LANES / 2; half > 0; half >>= 1) {
    if (thread < half) { lanes[thread] += lanes[thread + half]; }
    workgroupBarrier();
  }
  let sum = lanes[0];
  workgroupBarrier();
  return sum;
}

// The Hadamard rotation of n numbers from number `at` on (assembly/kernels/hadamard.ts), in blocks of powers of two.
fn spreadHead(at: u32, n: u32, thread: u32) {
  var first = at;
  for (var rest = n; rest > 0;) {
    let bits = firstLeadingBit(rest);
    let block = 1u << bits;
    for (var distance = 1u; distance < block; distance <<= 1) {
      for (var k = thread; k < block / 2; k += LANES) {
        let i = first + 2 * (k & ~(distance - 1)) + (k & (distance - 1));
        let a = head[i];
        let b = head[i + distance];
        head[i] = a + b;
        head[i + distance] = a - b;
      }
      workgroupBarrier();
    }
    // 1 / √block without a division: a power of two, times 1 / √2 or not.
    let factor = bitcast<f32>((127 - bits / 2) << 23) * select(1f, 0.70710678118654752f, (bits & 1) == 1);
    for (var i = thread; i < block; i += LANES) { head[first + i] *= factor; }
    workgroupBarrier();
    first += block;
    rest -= block;
  }
}

// The largest |x| of n numbers from number `at` on; NaN if one is NaN.
fn largest(at: u32, n: u32, thread: u32) -> f32 {
  // Sizes of numbers are in the order of their bits, and NaN is above all.
  var bits = 0u;
  for (var i = thread; i < n; i += LANES) { bits = max(bits, bitcast<u32>(head[at + i]) & 0x7fffffffu); }
  words[thread] = bits;
  workgroupBarrier();
  for (var half = LANES / 2; half > 0; half >>= 1) {
    if (thread < half) { words[thread] = max(words[thread], words[thread + half]); }
    workgroupBarrier();
  }
  let most = words[0];
  workgroupBarrier();
  return bitcast<f32>(most);
}

// What makes `peak` the largest integer; 0 for numbers so small that the quotient would overflow.
fn factorFor(peak: f32, most: f32) -> f32 { return select(divided(most, peak), 0f, peak < 1e-34); }

// Four numbers of the head, zeros behind the last.
fn fourOf(i: u32, n: u32) -> vec4f {
  var four = vec4f();
  for (var k = 0u; k < 4 && i + k < n; k++) { four[k] = head[i + k]; }
  return four;
}
