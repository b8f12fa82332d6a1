// exp, σ and tanh by the same polynomials as assembly/kernels/exp.ts and activation.ts, to the last bit. Behind precise.wgsl and
// divide.wgsl, before the text of a shader that needs them.

fn expOf(value: f32) -> f32 {
  let x = clamp(value, -87.33654, 88.02969);
  let n = round(x * 1.44269504);
  let r = (x - precisely(n * 0.693359375)) - precisely(n * -2.1219444e-4);
  var p = precisely(1.98756915e-4 * r) + 1.3981999507e-3;
  p = precisely(p * r) + 8.3334519073e-3;
  p = precisely(p * r) + 4.1665795894e-2;
  p = precisely(p * r) + 1.6666665459e-1;
  p = precisely(p * r) + 5.0000001201e-1;
  return (precisely(precisely(precisely(p * r) * r) + r) + 1.0) * bitcast<f32>(u32(i32(n) + 127) << 23u);
}

fn sigmoidOf(x: f32) -> f32 {
  return divided(1.0, 1.0 + expOf(-x));
}

fn tanhOf(x: f32) -> f32 {
  let size = abs(x);
  if (size < 0.625) {
    let square = precisely(x * x);
    var p = precisely(-5.70498872745e-3 * square) + 2.06390887954e-2;
    p = precisely(p * square) - 5.37397155531e-2;
    p = precisely(p * square) + 1.33314422036e-1;
    p = precisely(p * square) - 3.33332819422e-1;
    return precisely(precisely(p * square) * x) + x;
  }
  let far = 1.0 - divided(2.0, expOf(size + size) + 1.0);
  return select(far, -far, x < 0.0);
}

// NaN and infinity, from the bits: a compiler may take it that there are none.
fn isFinite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}
