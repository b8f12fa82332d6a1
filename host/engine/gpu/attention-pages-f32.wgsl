// What the sweep does with the numbers of a page of an f32 cache: (64 tokens, dim padded to 4) f32. Before attention-sweep.wgsl.

alias Four = vec4f;

// vec4 of a token in the slots that are keys and value.
override HEAD0: u32;
override HEAD1: u32;
override VALUE: u32;
override SCALE: f32;

var<workgroup> weightsOf: array<vec4f, SLOTS * LANES>;

// vec4 of a query before the harmonics of a view: an f32 cache has none.
fn biasStart(view: u32) -> u32 { return 0; }

// As assembly/kernels/lanes.ts adds them.
fn sumLanes(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

// Scores of tokens 4 lane … in a view; the keys begin at vec4 `at`, the query at vec4 `query`.
fn scoresOf(at: u32, view: u32, query: u32, lane: u32) -> vec4f {
  let stride = select(HEAD0, HEAD1, view == 1);
  let dims = (select(KEY0, KEY1, view == 1) + 3) / 4;
  let first = query + select(0, (KEY0 + 3) / 4, view == 1);
  let key = at + 4 * lane * stride;
  // Four running sums for each token.
  var a = vec4f();
  var b = vec4f();
  var c = vec4f();
  var d = vec4f();
  for (var i = 0u; i < dims; i++) {
    let q = bitcast<vec4f>(prepared[first + i]);
    a += precisely4(q * pages[key + i]);
    b += precisely4(q * pages[key + stride + i]);
    c += precisely4(q * pages[key + 2 * stride + i]);
    d += precisely4(q * pages[key + 3 * stride + i]);
  }
  return precisely4(vec4f(sumLanes(a), sumLanes(b), sumLanes(c), sumLanes(d)) * SCALE);
}

fn prepareWeights(at: u32, slot: u32, lane: u32, weights: vec4f, isSeen: vec4<bool>) {
  weightsOf[slot * LANES + lane] = weights;
}

// Weights are as they are.
const HAS_DIGITS = false;
fn finishWeights(slot: u32, lane: u32, lanes: u32) -> f32 { return 1; }

// Σ weight · value of a column of the first `tokens` tokens, for the slots of an owner.
fn sumValues(at: u32, column: u32, owner: u32, owners: u32, tokens: u32, found: ptr<function, array<vec4f, VALUES>>) {
  for (var t = 0u; t < tokens; t++) {
    let value = pages[at + t * VALUE + column];
    for (var i = 0u; i < VALUES; i++) {
      let slot = min(owner + i * owners, SLOTS - 1);
      (*found)[i] += precisely4(weightsOf[slot * LANES + t / 4][t % 4] * value);
    }
  }
}
