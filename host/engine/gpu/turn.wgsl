// Keys of a page rotated on by some positions: turnBlock() of assembly/cache.ts. RoPE makes scores depend on the distance
// alone, so these are the keys of the same tokens, that much later. Of a head that is rotated in part, int8 rounds all of it
// again. Behind precise.wgsl, attention-head.wgsl, attention-rotate.wgsl and attention-cache.wgsl.
//
//     pages u32 (places, layer), in place        Workgroups: (heads of both slots, PAGE_TOKENS), 64 threads each.

override LAYER_WORDS: u32;
override HEADS0: u32;
override DIM0: u32;
override ROPE0: u32;
override SPREAD0: bool;
override DIM1: u32;
override ROPE1: u32;
override SPREAD1: bool;
// Numbers before the angles of the layer's rotation.
override ROTATION: u32;

// Where the page is.
@group(0) @binding(0) var<uniform> place: vec4u;
@group(0) @binding(1) var<storage, read> angles: array<f32>;
@group(0) @binding(2) var<storage, read_write> pages: array<u32>;

fn readHead(at: u32, dim: u32, token: u32, thread: u32) {
  let padded = (dim + 3) & ~3u;
  let scale = bitcast<f32>(pages[at + token]);
  for (var i = thread; i < dim; i += LANES) {
    if (IS_INT8) {
      let four = pages[blockWord(at, dim, token, i >> 2)];
      head[i] = f32(i32(four << (24 - 8 * (i & 3))) >> 24) * scale;
    } else {
      head[i] = bitcast<f32>(pages[at + token * padded + i]);
    }
  }
  workgroupBarrier();
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let isFirst = id.x < HEADS0;
  let rope = select(ROPE1, ROPE0, isFirst);
  if (rope == 0) { return; }
  let dim = select(DIM1, DIM0, isFirst);
  let spread = select(SPREAD1, SPREAD0, isFirst);
  let before = select(HEADS0 * headWords(DIM0) + (id.x - HEADS0) * headWords(DIM1), id.x * headWords(DIM0), isFirst);
  let at = place.x * LAYER_WORDS + before;
  readHead(at, dim, id.y, thread);
  if (spread) { spreadHead(0, dim, thread); }
  rotateHead(0, rope / 2, ROTATION, thread);
  if (spread) { spreadHead(0, dim, thread); }
  writeHead(at, dim, id.y, thread);
}
