// Rows of the cache, in the layout of assembly/cache.ts: behind precise.wgsl and attention-head.wgsl.
//
//     head, f32    (PAGE_TOKENS, dim padded to 4) f32
//     head, int8   scales f32[PAGE_TOKENS], then 16 byte blocks (token / 4, dim / 4) of 4 tokens × 4 dims

override IS_INT8: bool;

// Words of one head of a page.
fn headWords(dim: u32) -> u32 {
  let padded = (dim + 3) & ~3u;
  return PAGE_TOKENS * select(padded, 1 + padded / 4, IS_INT8);
}

// Word of dims 4 i … of a token, of an int8 head at word `at`.
fn blockWord(at: u32, dim: u32, token: u32, i: u32) -> u32 {
  return at + PAGE_TOKENS + ((token >> 2) * ((dim + 3) >> 2) + i) * 4 + (token & 3);
}

// Writes the head, `dim` numbers, as that of a token; its page begins at word `at`.
fn writeHead(at: u32, dim: u32, token: u32, thread: u32) {
  if (IS_INT8) {
    writeInt8(at, dim, token, thread);
    return;
  }
  let padded = (dim + 3) & ~3u;
  for (var i = thread; i < padded; i += LANES) {
    // The padding is written too: a reused page must not bring old bytes into a dot product.
    pages[at + token * padded + i] = select(0u, bitcast<u32>(head[i]), i < dim);
  }
  workgroupBarrier();
}

// With the largest integer of the least squared error: thread c tries 127 − c.
fn writeInt8(at: u32, dim: u32, token: u32, thread: u32) {
  let peak = largest(0, dim, thread);
  if (thread < 16) {
    let tried = 127 - f32(thread);
    let factor = factorFor(peak, tried);
    var sum = vec4f();
    for (var i = 0u; i < dim; i += 4) {
      let y = precisely4(fourOf(i, dim) * factor);
      let error = round(y) - y;
      sum += precisely4(error * error);
    }
    lanes[thread] = divided((sum.x + sum.y) + (sum.z + sum.w), tried * tried);
  }
  workgroupBarrier();
  var best = 127f;
  var least = lanes[0];
  for (var c = 1u; c < 16; c++) {
    if (lanes[c] < least) {
      least = lanes[c];
      best = 127 - f32(c);
    }
  }
  workgroupBarrier();
  if (isNan(peak)) { best = 127; }
  let factor = factorFor(peak, best);
  for (var i = thread; i < (dim + 3) / 4; i += LANES) {
    let four = vec4<i32>(round(fourOf(4 * i, dim) * factor)) & vec4<i32>(255);
    pages[blockWord(at, dim, token, i)] = u32(four.x | (four.y << 8) | (four.z << 16) | (four.w << 24));
  }
  if (thread == 0) { pages[at + token] = select(bitcast<u32>(divided(peak, best)), NAN_BITS, isNan(peak)); }
  workgroupBarrier();
}
