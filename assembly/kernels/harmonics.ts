/** Scores that are a sum of harmonics of the position in a page: what the rotated bias of a key is to a query. */

/** cosine · cos(ωt) + sine · sin(ωt), with the ω of a rotated pair. */
@unmanaged
export class Harmonic {
  pair: u32
  cosine: f32
  sine: f32
}

/**
 * scores[t] += Σ cosine · cos(ω t) + sine · sin(ω t) for `count` harmonics and t below `tokens`, rounded up to 16.
 * `turns`: for each pair f32 (2, 64), cos ωt of the tokens t of a page, then sin ωt. Any alignment.
 */
export function addHarmonics(harmonics: usize, count: u32, turns: usize, tokens: u32, scores: usize): void {
  const end = harmonics + count * offsetof<Harmonic>()
  for (let t: u32 = 0; t < tokens; t += 16) {
    let a = f32x4.splat(0)
    let b = a
    let c = a
    let d = a
    for (let at = harmonics; at < end; at += offsetof<Harmonic>()) {
      const row = turns + (load<u32>(at) << 9) + (t << 2)
      const cosine = v128.load32_splat(at, offsetof<Harmonic>('cosine'))
      const sine = v128.load32_splat(at, offsetof<Harmonic>('sine'))
      a = addTurn(a, row, cosine, sine)
      b = addTurn(b, row + 16, cosine, sine)
      c = addTurn(c, row + 32, cosine, sine)
      d = addTurn(d, row + 48, cosine, sine)
    }
    const target = scores + (t << 2)
    v128.store(target, f32x4.add(v128.load(target, 0), a), 0)
    v128.store(target, f32x4.add(v128.load(target, 16), b), 16)
    v128.store(target, f32x4.add(v128.load(target, 32), c), 32)
    v128.store(target, f32x4.add(v128.load(target, 48), d), 48)
  }
}

/** The sines of four tokens lie 64 numbers behind their cosines. */
function addTurn(sum: v128, row: usize, cosine: v128, sine: v128): v128 {
  sum = f32x4.add(sum, f32x4.mul(v128.load(row), cosine))
  return f32x4.add(sum, f32x4.mul(v128.load(row, 256), sine))
}
