// The most likely token of each row of logits: the largest number, the lowest id among equals, NO_TOKEN if one is not finite.
// Workgroups: one for each row that wants logits.

override WIDTH: u32;
override STRIDE: u32;

@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read_write> picked: array<u32>;

const THREADS = 256u;
const NO_TOKEN = 0xffffffffu;
var<workgroup> keys: array<u32, THREADS>;
var<workgroup> ids: array<u32, THREADS>;

// Unsigned numbers in the order of the f32 with these bits; both zeros are one.
fn keyOf(bits: u32) -> u32 {
  if (bits << 1u == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >> 31u == 1u);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.x * STRIDE;
  // No key of a finite number is as large as that of what is not.
  var key = 0u;
  var best = NO_TOKEN;
  var isBad = false;
  for (var i = thread; i < WIDTH; i += THREADS) {
    let bits = logits[row + i];
    isBad = isBad || (bits & 0x7f800000u) == 0x7f800000u;
    let found = keyOf(bits);
    if (found > key) { key = found; best = i; }
  }
  if (isBad) { key = 0xffffffffu; best = NO_TOKEN; }
  keys[thread] = key;
  ids[thread] = best;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (thread < half) {
      let other = thread + half;
      if (keys[other] > keys[thread] || (keys[other] == keys[thread] && ids[other] < ids[thread])) {
        keys[thread] = keys[other];
        ids[thread] = ids[other];
      }
    }
    workgroupBarrier();
  }
  if (thread == 0u) { picked[group.x] = ids[0]; }
}
