// What the sweep does with the numbers of a page of an int8 cache: scales f32[64], then blocks of 4 tokens × 4 dims, a word for
// each token. Sums are of integers, as on the CPU: queries and weights are of 14 bits, in two digits of base 128.
// Before attention-sweep.wgsl, behind precise.wgsl, divide.wgsl and what brings dot4(a, b): Σ of four i8 × i8.

alias Four = vec4<u32>;

// Blocks of four dims in the slots that are keys and value; vec4 of harmonics of the first view.
override HEAD0: u32;
override HEAD1: u32;
override VALUE: u32;
override HARMONICS0: u32;

// vec4 of the scales of a head.
const SCALES: u32 = 16;

var<private> weighed: vec4f;
// Sizes of weights by their bits, NaN above all.
var<workgroup> tops: array<u32, SLOTS * LANES>;
// Weights of four tokens: high digits, low digits.
var<workgroup> digits: array<vec2<u32>, SLOTS * LANES>;

// vec4 of a view of a query: two digits of four dims, twice.
fn viewFours(dim: u32) -> u32 { return ((dim + 3) / 4 + 1) / 2; }

// vec4 of a query before the harmonics of a view.
fn biasStart(view: u32) -> u32 { return 1 + viewFours(KEY0) + viewFours(KEY1) + select(0, HARMONICS0, view == 1); }

// Scores of tokens 4 lane … in a view; the keys begin at vec4 `at`, the query at vec4 `query`.
fn scoresOf(at: u32, view: u32, query: u32, lane: u32) -> vec4f {
  let stride = select(HEAD0, HEAD1, view == 1);
  let dims = (select(KEY0, KEY1, view == 1) + 3) / 4;
  let first = query + 1 + select(0, viewFours(KEY0), view == 1);
  let key = at + SCALES + lane * stride;
  var high = vec4<i32>();
  var low = vec4<i32>();
  for (var i = 0u; i < dims; i++) {
    let two = prepared[first + i / 2];
    let q = select(two.zw, two.xy, (i & 1) == 0);
    let k = pages[key + i];
    high += vec4<i32>(dot4(k.x, q.x), dot4(k.y, q.x), dot4(k.z, q.x), dot4(k.w, q.x));
    low += vec4<i32>(dot4(k.x, q.y), dot4(k.y, q.y), dot4(k.z, q.y), dot4(k.w, q.y));
  }
  let factor = bitcast<f32>(prepared[query][view]);
  return precisely4(vec4f(high * 128 + low) * precisely4(factor * bitcast<vec4f>(pages[at + lane])));
}

// Weights are what a token's value is worth: times its scale.
fn prepareWeights(at: u32, slot: u32, lane: u32, weights: vec4f, isSeen: vec4<bool>) {
  weighed = select(vec4f(), precisely4(weights * bitcast<vec4f>(pages[at + lane])), isSeen);
  let bits = bitcast<vec4<u32>>(weighed) & vec4<u32>(0x7fffffff);
  tops[slot * LANES + lane] = max(max(bits.x, bits.y), max(bits.z, bits.w));
}

// The weights as integers, behind a barrier; what a unit of them is.
const HAS_DIGITS = true;
fn finishWeights(slot: u32, lane: u32, lanes: u32) -> f32 {
  var top = 0u;
  for (var i = 0u; i < lanes; i++) { top = max(top, tops[slot * LANES + i]); }
  let peak = bitcast<f32>(top);
  let factor = select(divided(16383, peak), 0f, peak < 1e-34);
  let four = vec4<u32>(round(weighed * factor));
  let high = four >> vec4<u32>(7);
  let low = four & vec4<u32>(127);
  digits[slot * LANES + lane] = vec2<u32>(
    high.x | (high.y << 8) | (high.z << 16) | (high.w << 24),
    low.x | (low.y << 8) | (low.z << 16) | (low.w << 24),
  );
  return divided(peak, 16383);
}

// Σ weight · value of a column of the first `tokens` tokens, for the slots of an owner.
fn sumValues(at: u32, column: u32, owner: u32, owners: u32, tokens: u32, found: ptr<function, array<vec4f, VALUES>>) {
  var high = array<vec4<i32>, VALUES>();
  var low = array<vec4<i32>, VALUES>();
  const even = 0x00ff00ffu;
  for (var group = 0u; group < (tokens + 3) / 4; group++) {
    // Turned: a word for each dim, of four tokens.
    let v = pages[at + SCALES + group * VALUE + column];
    let xy02 = (v.x & even) | ((v.y & even) << 8);
    let xy13 = ((v.x >> 8) & even) | (v.y & ~even);
    let zw02 = (v.z & even) | ((v.w & even) << 8);
    let zw13 = ((v.z >> 8) & even) | (v.w & ~even);
    let d = vec4<u32>(
      (xy02 & 0xffff) | (zw02 << 16),
      (xy13 & 0xffff) | (zw13 << 16),
      (xy02 >> 16) | (zw02 & 0xffff0000),
      (xy13 >> 16) | (zw13 & 0xffff0000),
    );
    for (var i = 0u; i < VALUES; i++) {
      let w = digits[min(owner + i * owners, SLOTS - 1) * LANES + group];
      high[i] += vec4<i32>(dot4(d.x, w.x), dot4(d.y, w.x), dot4(d.z, w.x), dot4(d.w, w.x));
      low[i] += vec4<i32>(dot4(d.x, w.y), dot4(d.y, w.y), dot4(d.z, w.y), dot4(d.w, w.y));
    }
  }
  for (var i = 0u; i < VALUES; i++) { (*found)[i] = vec4f(high[i] * 128 + low[i]); }
}
