// A query as the sweep reads it, `prepared`: (rows, maps, QUERY × 4) words. Goes behind attention-head.wgsl.
//
//     f32    first key view, padded to 4 ┃ second
//     int8   scale 0, scale 1, harmonics 0, harmonics 1 ┃ digits of the first view, padded ┃ of the second
//            ┃ harmonics of the first (pair, cosine, sine, 0), as many as its pairs ┃ of the second
//
// Digits: of four integers of 14 bits q = 128 · high + low a word of the high ones, then a word of the low ones.

override IS_INT8: bool;
// vec4 of one query, and of its parts.
override QUERY: u32;
override KEY0: u32;
override KEY1: u32;
// Factor of the scores.
override SCALE: f32;

// Words of a view of `dim` numbers.
fn viewWords(dim: u32) -> u32 {
  if (IS_INT8) { return (((dim + 3) / 4 + 1) / 2) * 4; }
  return (dim + 3) & ~3u;
}

// Word of a view of the query that begins at word `at`.
fn viewWord(at: u32, view: u32) -> u32 {
  return at + select(0u, 4u, IS_INT8) + select(0, viewWords(KEY0), view == 1);
}

// Writes `dim` numbers of the head, from `from` on, as a view of the query that begins at word `at`.
fn writeView(at: u32, view: u32, base: u32, dim: u32, thread: u32) {
  let start = viewWord(at, view);
  if (!IS_INT8) {
    for (var i = thread; i < viewWords(dim); i += LANES) {
      prepared[start + i] = select(0u, bitcast<u32>(head[base + min(i, dim - 1)]), i < dim);
    }
    return;
  }
  let peak = largest(base, dim, thread);
  let factor = factorFor(peak, 8191);
  for (var i = thread; i < viewWords(dim) / 2; i += LANES) {
    var high = 0u;
    var low = 0u;
    for (var k = 0u; k < 4 && 4 * i + k < dim; k++) {
      let q = i32(round(head[base + 4 * i + k] * factor));
      high |= (u32(q >> 7) & 255) << (8 * k);
      low |= (u32(q) & 127) << (8 * k);
    }
    prepared[start + 2 * i] = high;
    prepared[start + 2 * i + 1] = low;
  }
  if (thread == 0) { prepared[at + view] = select(bitcast<u32>(divided(peak, 8191) * SCALE), NAN_BITS, isNan(peak)); }
}
