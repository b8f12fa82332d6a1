// Norms of rows of the residual stream: f32 (rows, width) → f32 (rows, width), padded with zeros to 16 numbers.
//
//     KIND 1   y = w ⊙ x / sqrt(mean(x²) + eps)                      NORM_RMS
//     KIND 2   y = w ⊙ (x − μ) / sqrt(σ² + eps) + b                  NORM_LAYER
//     KIND 0   y = x
//     ADDS     y is added to what is there
//     GATHERS  row k is row wanted[k] of the step
//
// Workgroups: one for each row. Sums are in the order of assembly/kernels/norm.ts: eight threads take every eighth number (four
// every fourth, of a layer norm). More threads would be faster, and their last bits put a number on the other side of an edge
// where inputs of matrices are rounded to integers: the whole row, and all that follows, would be another. Behind precise.wgsl and
// divide.wgsl.

override KIND: u32;
override ADDS: bool;
override GATHERS: bool;
override WIDTH: u32;
override STRIDE: u32;
override EPS: f32;

// u32 of the bindings before the first number of w and of b.
struct Parameters { weight: u32, bias: u32, unused0: u32, unused1: u32 }

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> wanted: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> biases: array<f32>;
@group(0) @binding(4) var<storage, read> source: array<f32>;
@group(0) @binding(5) var<storage, read_write> normed: array<f32>;

const THREADS = 128u;
var<workgroup> partial: array<f32, 8>;

// Threads that sum: lanes of the CPU's vectors, two of four for a root mean square.
override LANES: u32 = select(8u, 4u, KIND == 2u);

// The sum of what 8 threads have, to each thread: pairs of four apart, then neighbours, as assembly/kernels/norm.ts adds lanes.
fn sumOf(mine: f32, thread: u32) -> f32 {
  if (thread < 8u) { partial[thread] = mine; }
  workgroupBarrier();
  let first = partial[0] + partial[4];
  let second = partial[1] + partial[5];
  let third = partial[2] + partial[6];
  let fourth = partial[3] + partial[7];
  workgroupBarrier();
  return (first + second) + (third + fourth);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  var row = group.x;
  // Every binding is used, whatever the constants say.
  if (GATHERS) { row = wanted[row]; }
  let start = row * STRIDE;
  let first = group.x * STRIDE;
  var mean = 0.0;
  var factor = 1.0;
  if (KIND == 2u) {
    var sum = 0.0;
    if (thread < LANES) {
      for (var i = thread; i < WIDTH; i += LANES) { sum += source[start + i]; }
    }
    mean = divided(sumOf(sum, thread), f32(WIDTH));
  }
  if (KIND != 0u) {
    // What fills no four is added behind the sum of a layer norm.
    let end = select(WIDTH, WIDTH & ~3u, KIND == 2u);
    var squares = 0.0;
    if (thread < LANES) {
      for (var i = thread; i < end; i += LANES) {
        let x = source[start + i] - mean;
        squares += precisely(x * x);
      }
    }
    squares = sumOf(squares, thread);
    for (var i = end; i < WIDTH; i++) {
      let x = source[start + i] - mean;
      squares += precisely(x * x);
    }
    factor = divided(1.0, rootOf(divided(squares, f32(WIDTH)) + EPS));
  }
  for (var i = thread; i < STRIDE; i += THREADS) {
    var y = 0.0;
    if (i < WIDTH) {
      y = source[start + i];
      if (KIND == 1u) { y = precisely(precisely(y * factor) * weights[parameters.weight + i]); }
      if (KIND == 2u) { y = precisely(precisely((y - mean) * factor) * weights[parameters.weight + i]) + biases[parameters.bias + i]; }
      if (ADDS) { y += normed[first + i]; }
    }
    normed[first + i] = y;
  }
}
