// The topK most likely tokens of a row of logits, the lowest ids among equals: (u32 bits of the logit, u32 id), in no order.
// Which number is the last of them is found byte by byte: how many of the numbers that are left have which next byte, first
// the bytes of the logit from the highest on, then those of the id. Rows that do not draw from so many are left alone.
// Behind step.wgsl. Workgroups: one for each row that wants logits.

override WIDTH: u32;
override STRIDE: u32;
override MOST: u32;

@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
@group(0) @binding(2) var<storage, read> wanted: array<u32>;
@group(0) @binding(3) var<storage, read_write> candidates: array<vec2u>;

const THREADS = 256u;
var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> found: atomic<u32>;
// The bytes of the last one that are known, and how many of those with the same are still to be taken.
var<workgroup> known: u32;
var<workgroup> left: u32;

fn keyOf(bits: u32) -> u32 {
  if (bits << 1u == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >> 31u == 1u);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let k = rows[wanted[group.x]].topK;
  if (k == 0u || k > MOST || k >= WIDTH) { return; }
  let row = group.x * STRIDE;
  var lastKey = 0u;
  var lastId = 0u;
  if (thread == 0u) { left = k; known = 0u; atomicStore(&found, 0u); }
  for (var pass_ = 0u; pass_ < 8u; pass_++) {
    let isId = pass_ >= 4u;
    let shift = 24u - 8u * (pass_ & 3u);
    // Bytes above this one; all of them, where shift is 24, are none.
    let mask = select(0xffffffffu << (shift + 8u), 0u, shift == 24u);
    atomicStore(&counts[thread], 0u);
    let prefix = workgroupUniformLoad(&known);
    for (var i = thread; i < WIDTH; i += THREADS) {
      let key = keyOf(logits[row + i]);
      // Low ids come first, as large logits do.
      let number = select(key, ~i, isId);
      if ((!isId || key == lastKey) && (number & mask) == prefix) { atomicAdd(&counts[(number >> shift) & 255u], 1u); }
    }
    workgroupBarrier();
    if (thread == 0u) {
      var need = left;
      var byte = 255u;
      loop {
        let count = atomicLoad(&counts[byte]);
        if (count >= need || byte == 0u) { break; }
        need -= count;
        byte--;
      }
      left = need;
      known = prefix | (byte << shift);
    }
    let bytes = workgroupUniformLoad(&known);
    if (pass_ == 3u) {
      lastKey = bytes;
      workgroupBarrier();
      if (thread == 0u) { known = 0u; }
    }
    if (pass_ == 7u) { lastId = ~bytes; }
    workgroupBarrier();
  }
  for (var i = thread; i < WIDTH; i += THREADS) {
    let bits = logits[row + i];
    let key = keyOf(bits);
    if (key > lastKey || (key == lastKey && i <= lastId)) {
      let at = atomicAdd(&found, 1u);
      if (at < MOST) { candidates[group.x * MOST + at] = vec2u(bits, i); }
    }
  }
}
