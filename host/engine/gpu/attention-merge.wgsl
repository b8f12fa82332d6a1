// What the chunks of a row found (attention-sweep.wgsl), merged in their order, and divided: averages of values.
// Behind math.wgsl, step.wgsl and attention-chunks.wgsl.
//
//     partials (rows, chunks, maps) of peak, sum, 0, 0 ┃ values   →  averages f32 (rows, stride), AVERAGE numbers for each map
//
// Workgroups (maps, rows), 64 threads each.

struct Layer { stride: u32 }

@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
@group(0) @binding(2) var<storage, read> tiles: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> partials: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> averages: array<f32>;

const PAGE_TOKENS: u32 = 64;

override MAPS: u32;
override WINDOW: u32;
override VALUE: u32;
override COLUMNS: u32;
override AVERAGE: u32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let head = tiles[0];
  let position = rows[id.y].position;
  // One workgroup took them all, or each its own.
  let isMerged = head.y == 0;
  let first = select(chunkOf(hiddenBefore(position) / PAGE_TOKENS), 0, isMerged);
  let last = select(chunkOf(position / PAGE_TOKENS), 0, isMerged);
  let stride = MAPS * (1 + COLUMNS);
  for (var column = thread; column < COLUMNS; column += 64) {
    var peak = UNSEEN;
    var sum = 0f;
    var total = vec4f();
    for (var chunk = first; chunk <= last; chunk++) {
      let at = (id.y * head.x + chunk) * stride + id.x * (1 + COLUMNS);
      let found = partials[at];
      let next = max(peak, found.x);
      let keep = expOf(peak - next);
      let gain = expOf(found.x - next);
      sum = precisely(sum * keep) + precisely(found.y * gain);
      total = precisely4(total * keep) + precisely4(partials[at + 1 + column] * gain);
      peak = next;
    }
    for (var k = 0u; k < 4 && 4 * column + k < VALUE; k++) {
      averages[id.y * layer.stride + id.x * AVERAGE + 4 * column + k] = divided(total[k], sum);
    }
  }
}
