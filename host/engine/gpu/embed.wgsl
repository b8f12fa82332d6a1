// Rows of a matrix as f32: the embedding of each token of a step, or learned positions that are added to it. One matrix may
// lie in several bindings, bands of rows: then each has its own dispatch, which leaves the rows of other bands alone.
// Behind step.wgsl, blocks.wgsl and precise.wgsl. Workgroups: (⌈STRIDE / 64⌉, rows), a thread for each number.

override TYPE: u32; // of assembly/abi.ts
override COLS: u32;
override ROW_WORDS: u32; // u32 from row to row, or from eight rows to the next
override STRIDE: u32; // of what is written
override IS_POSITIONS: bool;

// `last`: of the whole matrix; first … first + count: of the band. Words: of its first row, and of the scale of that (q8).
struct Parameters { data: u32, scales: u32, first: u32, count: u32, last: u32, factor: f32, unused0: u32, unused1: u32 }

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
@group(0) @binding(2) var<storage, read> words: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read_write> embedded: array<f32>;

fn byteAt(at: u32) -> u32 {
  return (words[at >> 2u] >> ((at & 3u) * 8u)) & 255u;
}

// Of the kept types: a scale, or a minimum, number `index` at byte `at`.
fn factorAt(at: u32, index: u32) -> f32 {
  if (TYPE == Q4K || TYPE == Q8K) { return f32(i32(byteAt(at + index) << 24u) >> 24u); }
  let byte = at + 2u * index;
  return halfOf((words[byte >> 2u] >> ((byte & 2u) * 8u)) & 0xffffu);
}

// assembly/kernels/blocks.ts, decode()
fn keptAt(row: u32, c: u32) -> f32 {
  let isWide = TYPE == Q8M || TYPE == Q8K;
  let group = select(32u, 16u, TYPE == Q8K);
  let integers = group * select(4u, 8u, isWide);
  let bytes = integers + select(32u, 16u, TYPE == Q4K || TYPE == Q8K);
  let r = row & 7u;
  let span = 4u * (parameters.data + (row >> 3u) * ROW_WORDS) + (c >> 8u) * (64u + (256u / group) * bytes);
  let at = span + 64u + ((c & 255u) / group) * bytes;
  let s = bitcast<f32>(words[(span >> 2u) + r]) * factorAt(at + integers, r);
  let m = bitcast<f32>(words[(span >> 2u) + 8u + r]) * factorAt(at + integers + (bytes - integers) / 2u, r);
  let i = c % group;
  let place = ((r & 3u) << 2u) + (i & 3u);
  var q = 0u;
  if (isWide) { q = byteAt(at + ((i >> 2u) << 5u) + ((r & 4u) << 2u) + place); }
  else { q = (byteAt(at + ((i >> 2u) << 4u) + place) >> (r & 4u)) & 15u; }
  return precisely(s * f32(q)) - precisely(m);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= STRIDE) { return; }
  let row = rows[id.y];
  let wanted = select(row.token, min(row.dropped + row.position, parameters.last), IS_POSITIONS);
  let r = wanted - parameters.first;
  if (wanted < parameters.first || r >= parameters.count) { return; }
  var value = 0.0;
  if (id.x < COLS) {
    if (TYPE == F32) {
      value = bitcast<f32>(words[parameters.data + r * ROW_WORDS + id.x]) * parameters.factor;
    } else if (TYPE == Q8) {
      let q = f32(byteAt(4u * (parameters.data + r * ROW_WORDS) + id.x)) - 64.0;
      value = q * precisely(scales[parameters.scales + r] * parameters.factor);
    } else {
      value = keptAt(r, id.x) * parameters.factor;
    }
  }
  let at = id.y * STRIDE + id.x;
  if (IS_POSITIONS) { value = precisely(value) + embedded[at]; }
  embedded[at] = value;
}
