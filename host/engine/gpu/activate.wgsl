// What the feed-forward block does number by number: f32 (rows, [gate | up]) or (rows, up) → f32 (rows, width). Behind
// math.wgsl. Workgroups: (⌈width / 64⌉, rows), a thread for each number.

override ACTIVATION: u32; // of assembly/abi.ts
override IS_GATED: bool;
override WIDTH: u32;
override FROM_STRIDE: u32;
override INTO_STRIDE: u32;

@group(0) @binding(0) var<storage, read> projected: array<f32>;
@group(0) @binding(1) var<storage, read_write> activated: array<f32>;

// x · Φ(x), Φ from erfc by Abramowitz and Stegun 7.1.26
fn gelu(x: f32) -> f32 {
  let size = abs(x);
  let t = divided(1.0, 1.0 + precisely(size * 0.23164189));
  var p = precisely(1.061405429 * t) - 1.453152027;
  p = precisely(p * t) + 1.421413741;
  p = precisely(p * t) - 0.284496736;
  p = precisely(p * t) + 0.254829592;
  let tail = precisely(size * precisely((p * t) * 0.5)) * expOf((x * x) * -0.5);
  return max(x, 0.0) - precisely(tail);
}

fn activate(x: f32) -> f32 {
  switch ACTIVATION {
    case 1u: { return precisely(x * sigmoidOf(x)); }
    case 2u: { return gelu(x); }
    case 3u: { return x * sigmoidOf((x + precisely(precisely(precisely(x * x) * x) * 0.044715)) * 1.5957691); }
    default: { let positive = max(x, 0.0); return positive * positive; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= WIDTH) { return; }
  let at = id.y * FROM_STRIDE + i;
  let x = projected[at];
  var y = activate(x);
  if (IS_GATED) { y *= projected[at + WIDTH]; }
  // max() and the polynomials' clamps may lose NaN; broken weights must not look sound.
  if (!isFinite(x)) { y = x; }
  activated[id.y * INTO_STRIDE + i] = y;
}
