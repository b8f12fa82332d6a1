// Are all weights of seven bits below 128, as in assembly/check.ts? Looks at every byte of a band of rows of a q8, q8m or q8k
// matrix that is one, and not a part of a scale; `wide` is set if one is not. Behind blocks.wgsl. Workgroups: any number.

override TYPE: u32;

// u32 of the binding before the first; how many there are, and in eight rows of a matrix in blocks.
struct Parameters { first: u32, count: u32, stripe: u32, unused: u32 }

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> wide: atomic<u32>;

const THREADS = 256u;

// assembly/kernels/blocks.ts has the picture: 16 factors, then groups of integers and their scales.
fn isWeight(at: u32) -> bool {
  if (TYPE == Q8) { return true; }
  let inSpan = (at % parameters.stripe) % 592u;
  if (inSpan < 16u) { return false; }
  if (TYPE == Q8M) { return (inSpan - 16u) % 72u < 64u; }
  return (inSpan - 16u) % 36u < 32u;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  var bits = 0u;
  for (var at = id.x; at < parameters.count; at += groups.x * THREADS) {
    if (isWeight(at)) { bits |= words[parameters.first + at]; }
  }
  if ((bits & 0x80808080u) != 0u) { atomicOr(&wide, 1u); }
}
