// The short convolution of a mixer that keeps a state (assembly/mixers/state.ts), of all rows of a step in their order:
//
//     ALONE   y = C ⊙ conv(B ⊙ x)     projection B | C | x, CHANNELS numbers each
//     else    y = silu(conv(x))       projection x, CHANNELS numbers, and what the recurrence reads
//
// Its last columns before a row lie in the page of the row before, those behind it go into its own. A thread takes one channel
// through all rows, so nobody else reads what it writes. Workgroups (CHANNELS / 64), 64 threads each.
// Behind step.wgsl, math.wgsl and state-pages.wgsl.

@group(0) @binding(5) var<storage, read> projection: array<f32>;
// f32 (TAPS, CHANNELS), the row's own last; f32 (CHANNELS).
@group(0) @binding(6) var<storage, read> taps: array<f32>;
@group(0) @binding(7) var<storage, read> biases: array<f32>;
@group(0) @binding(8) var<storage, read_write> pages: array<f32>;
@group(0) @binding(9) var<storage, read_write> result: array<f32>;

override TAPS: u32;
override CHANNELS: u32;
override ALONE: bool;
override HAS_BIAS: bool;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let channel = id.x;
  if (channel >= CHANNELS) { return; }
  let weight = layer.first + channel;
  for (var i = 0u; i < sizes.rows; i++) {
    let row = rows[i];
    let own = pageOf(row.conversation, row.position);
    let before = pageOf(row.conversation, max(row.position, 1) - 1);
    if (own == NO_PAGE || before == NO_PAGE) { continue; }
    let to = own * LAYER_WORDS + channel;
    let past = before * LAYER_WORDS + channel;
    let at = layer.offset + i * layer.stride + channel;
    var x = projection[at];
    if (ALONE) { x = precisely(x * projection[at + 2 * CHANNELS]); }
    var sum = precisely(x * taps[weight + (TAPS - 1) * CHANNELS]);
    for (var k = 0u; k < TAPS - 1; k++) {
      let column = select(pages[past + k * CHANNELS], 0f, row.position == 0);
      sum += precisely(column * taps[weight + k * CHANNELS]);
      if (k > 0) { pages[to + (k - 1) * CHANNELS] = column; }
    }
    pages[to + (TAPS - 2) * CHANNELS] = x;
    if (HAS_BIAS) { sum += biases[layer.second + channel]; }
    if (ALONE) { sum *= projection[at + CHANNELS]; } else { sum *= sigmoidOf(sum); }
    result[i * layer.resultStride + channel] = sum;
  }
}
