// The sweep of attention over the cache: for each row and map the weighted sum of values, Σ e^(score − peak) · value, with peak
// and Σ e^(score − peak). Behind math.wgsl, step.wgsl, attention-chunks.wgsl and attention-pages-f32.wgsl or attention-pages-int8.wgsl.
//
// A tile is some rows of one conversation, one behind the other; a slot is a map of one of them; the slots of a workgroup read the
// same slot heads of the cache, so each page is read once for all of them. Page by page:
//
//     1  thread (slot, lane) scores tokens 4 lane … 4 lane + 3         → peak of the page
//     2  the same four: e^(score − peak)                               → their sum, and weights in workgroup memory
//     3  thread (group, column): four numbers of the values, of slots group, group + groups, …
//
// and the page is merged with those before it in its chunk, the chunk with those before it: in their order, so that it makes no
// difference whether one workgroup takes all chunks of a tile (one in x) or each its own, which attention-merge.wgsl merges.
//
// Workgroups: (chunks or 1, tiles, groups × parts of a tile's slots). THREADS ≥ 16 · SLOTS and COLUMNS.

struct Layer {
  tableBlocks: u32,
  // Numbers before this layer's page kind in places.
  places: u32,
  // Numbers before the turns of this layer's rotation, before those of pages, from page to page, and from cos to sin.
  turns: u32,
  pageTurns: u32,
  pageStride: u32,
  pairs: u32,
}

@group(0) @binding(0) var<uniform> layer: Layer;
// Of each group: vec4 in a layer of a page before key 0, key 1 and value, and its first map in the list that follows the groups.
@group(0) @binding(1) var<uniform> groups: array<vec4<u32>, 512>;
@group(0) @binding(2) var<storage, read> rows: array<Row>;
@group(0) @binding(3) var<storage, read> tables: array<u32>;
@group(0) @binding(4) var<storage, read> places: array<u32>;
// Chunks that a row of partials has room for, 0; then first row and number of rows of each tile.
@group(0) @binding(5) var<storage, read> tiles: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read> prepared: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> turns: array<vec4f>;
@group(0) @binding(8) var<storage, read> pages: array<Four>;
// (rows, chunks, maps) of peak, sum, 0, 0, then values.
@group(0) @binding(9) var<storage, read_write> partials: array<vec4f>;

const PAGE_TOKENS: u32 = 64;
const NO_PAGE: u32 = 0xffffffff;
const LANES: u32 = 16;

override SLOTS: u32;
override THREADS: u32;
override GROUPS: u32;
override MAPS: u32;
override WINDOW: u32;
override SOFTCAP: f32;
override HAS_BIAS: bool;
// vec4 of a layer of a page, and of a prepared query.
override LAYER_FOURS: u32;
override QUERY: u32;
// Numbers of each view.
override KEY0: u32;
override KEY1: u32;
// vec4 of a row of values. Slots that a thread sums them of are VALUES, a constant that the host writes before this text: arrays of a
// function have no other.
override COLUMNS: u32;

var<workgroup> peaks: array<f32, SLOTS * LANES>;
// Each token's weight: sums are in the order of assembly/kernels/exp.ts, every fourth token in a lane.
var<workgroup> sums: array<vec4f, SLOTS * LANES>;
// Of each slot: what is kept of the sum before, and what the page adds of its own.
var<workgroup> keeps: array<f32, SLOTS>;
var<workgroup> gains: array<f32, SLOTS>;
// What one of the integers of a slot's values is worth.
var<workgroup> units: array<f32, SLOTS>;
// The same of its chunk.
var<workgroup> chunkFactors: array<vec2f, SLOTS>;

// cap · tanh(x / cap), as assembly/kernels/activation.ts has it: the built-in may overflow.
fn capped(score: vec4f) -> vec4f {
  var result = score;
  for (var i = 0u; i < 4; i++) { result[i] = tanhOf(divided(score[i], SOFTCAP)) * SOFTCAP; }
  return precisely4(result);
}

fn exps(x: vec4f) -> vec4f { return vec4f(expOf(x.x), expOf(x.y), expOf(x.z), expOf(x.w)); }

fn turnAt(i: u32) -> f32 { return turns[i / 4][i % 4]; }

// What the large biases of the keys that the query at vec4 `query` meets add to the scores of four tokens.
fn biasOf(query: u32, view: u32, page: u32, lane: u32) -> vec4f {
  var sum = vec4f();
  let count = prepared[query][2 + view];
  let first = query + biasStart(view);
  let angle = layer.pageTurns + page * layer.pageStride;
  for (var n = 0u; n < count; n++) {
    let harmonic = prepared[first + n];
    let cosine = bitcast<f32>(harmonic.y);
    let sine = bitcast<f32>(harmonic.z);
    let c = turnAt(angle + harmonic.x);
    let s = turnAt(angle + layer.pairs + harmonic.x);
    let a = precisely(cosine * c) + precisely(sine * s);
    let b = precisely(sine * c) - precisely(cosine * s);
    let row = (layer.turns + harmonic.x * 2 * PAGE_TOKENS) / 4 + lane;
    sum += precisely4(turns[row] * a);
    sum += precisely4(turns[row + PAGE_TOKENS / 4] * b);
  }
  return sum;
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) count: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  // The slots of this workgroup: maps of a group, row by row.
  let parts = count.z / GROUPS;
  let group = groups[id.z / parts];
  let maps = groups[id.z / parts + 1].w - group.w;
  let tile = tiles[1 + id.y];
  let start = (id.z % parts) * SLOTS;
  let all = tile.y * maps;
  if (start >= all) { return; }
  let used = min(SLOTS, all - start);
  let chunks = tiles[0].x;
  let first = rows[tile.x];
  let last = first.position + tile.y - 1;
  let seen = hiddenBefore(first.position) / PAGE_TOKENS;
  var chunk = chunkOf(seen);
  var endChunk = chunkOf(last / PAGE_TOKENS) + 1;
  if (count.x > 1) {
    if (id.x < chunk || id.x >= endChunk) { return; }
    chunk = id.x;
    endChunk = id.x + 1;
  }

  // What a thread is in steps 1 and 2, and in step 3.
  let own = thread / LANES;
  let lane = thread % LANES;
  let isScoring = own < used;
  let query = ((tile.x + (start + own) / maps) * MAPS + mapOf(group.w, (start + own) % maps)) * QUERY;
  let position = first.position + (start + own) / maps;
  let hidden = hiddenBefore(position);
  let column = thread % COLUMNS;
  let owner = thread / COLUMNS;
  let owners = THREADS / COLUMNS;

  var total = array<vec4f, VALUES>();
  var totalPeak = UNSEEN;
  var totalSum = 0f;
  for (; chunk < endChunk; chunk++) {
    var average = array<vec4f, VALUES>();
    var peak = UNSEEN;
    var sum = 0f;
    let endPage = min(firstPage(chunk + 1), last / PAGE_TOKENS + 1);
    for (var page = max(firstPage(chunk), seen); page < endPage; page++) {
      let place = places[layer.places + tables[first.conversation * layer.tableBlocks + page]];
      if (place == NO_PAGE) { continue; }
      let base = place * LAYER_FOURS;
      let tokens = min(PAGE_TOKENS, last + 1 - page * PAGE_TOKENS);
      // Lanes that have tokens. Loops over them are not unrolled: compilers take long enough as it is.
      let lanes = (tokens + 3) / 4;
      // 1
      var scores = vec4f(UNSEEN);
      let token = page * PAGE_TOKENS + 4 * lane;
      let at = vec4<u32>(token, token + 1, token + 2, token + 3);
      let isSeen = (at <= vec4<u32>(position)) & (at >= vec4<u32>(hidden)) & vec4<bool>(isScoring);
      if (isScoring && 4 * lane < tokens) {
        scores = vec4f();
        for (var view = 0u; view < select(1u, 2u, KEY1 != 0); view++) {
          scores += scoresOf(base + group[view], view, query, lane);
        }
        for (var view = 0u; HAS_BIAS && view < select(1u, 2u, KEY1 != 0); view++) {
          scores += biasOf(query, view, page, lane);
        }
        if (SOFTCAP != 0) { scores = capped(scores); }
        scores = select(vec4f(UNSEEN), scores, isSeen);
      }
      if (isScoring) { peaks[thread] = max(max(scores.x, scores.y), max(scores.z, scores.w)); }
      workgroupBarrier();
      // 2
      var pagePeak = UNSEEN;
      for (var i = 0u; i < lanes; i++) { pagePeak = max(pagePeak, peaks[min(own, SLOTS - 1) * LANES + i]); }
      let next = max(peak, pagePeak);
      let keep = expOf(peak - next);
      let gain = expOf(pagePeak - next);
      peak = next;
      if (isScoring) {
        let weights = select(vec4f(), exps(scores - pagePeak), isSeen);
        sums[thread] = weights;
        prepareWeights(base + group.z, own, lane, weights, isSeen);
        if (lane == 0) {
          keeps[own] = keep;
          gains[own] = gain;
        }
      }
      workgroupBarrier();
      var four = vec4f();
      for (var i = 0u; i < lanes; i++) { four += sums[min(own, SLOTS - 1) * LANES + i]; }
      let pageSum = (four.x + four.y) + (four.z + four.w);
      sum = precisely(sum * keep) + precisely(pageSum * gain);
      if (HAS_DIGITS) {
        if (isScoring) {
          let unit = finishWeights(own, lane, lanes);
          if (lane == 0) { units[own] = unit; }
        }
        workgroupBarrier();
      }
      // 3
      if (owner < owners) {
        var found = array<vec4f, VALUES>();
        sumValues(base + group.z, column, owner, owners, tokens, &found);
        for (var i = 0u; i < VALUES; i++) {
          let slot = min(owner + i * owners, SLOTS - 1);
          if (HAS_DIGITS) { found[i] = precisely4(found[i] * units[slot]); }
          average[i] = precisely4(average[i] * keeps[slot]) + precisely4(found[i] * gains[slot]);
        }
      }
    }
    let next = max(totalPeak, peak);
    let keep = expOf(totalPeak - next);
    let gain = expOf(peak - next);
    totalSum = precisely(totalSum * keep) + precisely(sum * gain);
    totalPeak = next;
    if (isScoring && lane == 0) { chunkFactors[own] = vec2f(keep, gain); }
    workgroupBarrier();
    for (var i = 0u; i < VALUES; i++) {
      let factors = chunkFactors[min(owner + i * owners, SLOTS - 1)];
      total[i] = precisely4(total[i] * factors.x) + precisely4(average[i] * factors.y);
    }
  }

  let place = select(0, id.x, count.x > 1);
  if (isScoring && lane == 0) {
    partials[partialOf(tile.x, start + own, maps, group.w, chunks, place)] = vec4f(totalPeak, totalSum, 0, 0);
  }
  for (var i = 0u; i < VALUES; i++) {
    let slot = owner + i * owners;
    if (owner < owners && slot < used) {
      partials[partialOf(tile.x, start + slot, maps, group.w, chunks, place) + 1 + column] = total[i];
    }
  }
}

// The k-th map of a group that begins at `first` of the list.
fn mapOf(first: u32, k: u32) -> u32 { return groups[GROUPS + 1 + (first + k) / 4][(first + k) % 4]; }

// Where the partial of a slot begins.
fn partialOf(row: u32, slot: u32, maps: u32, first: u32, chunks: u32, chunk: u32) -> u32 {
  return (((row + slot / maps) * chunks + chunk) * MAPS + mapOf(first, slot % maps)) * (1 + COLUMNS);
}
