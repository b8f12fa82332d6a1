/**
 * The innermost loops of the f32 sweep, for one query. Each sum keeps its own order, whatever stands beside it: a score goes
 * over the dims four at a time, then over the lanes, pairwise; an average goes from token to token.
 *
 * Contract: rows behind the last token may hold anything.
 */

/** Scores of eight tokens, `row` bytes apart, over `used` bytes of each; those of the second key view are added. */
export function scoreTile_f32(
  keys: usize,
  row: usize,
  used: usize,
  q: usize,
  scale: v128,
  scores: usize,
  adds: bool,
): void {
  let a = f32x4.splat(0)
  let b = a
  let c = a
  let d = a
  let e = a
  let f = a
  let g = a
  let h = a
  const row4 = keys + 4 * row
  for (let i: usize = 0; i < used; i += 16) {
    const four = v128.load(q + i)
    a = f32x4.add(a, f32x4.mul(v128.load(keys + i), four))
    b = f32x4.add(b, f32x4.mul(v128.load(keys + row + i), four))
    c = f32x4.add(c, f32x4.mul(v128.load(keys + 2 * row + i), four))
    d = f32x4.add(d, f32x4.mul(v128.load(keys + 3 * row + i), four))
    e = f32x4.add(e, f32x4.mul(v128.load(row4 + i), four))
    f = f32x4.add(f, f32x4.mul(v128.load(row4 + row + i), four))
    g = f32x4.add(g, f32x4.mul(v128.load(row4 + 2 * row + i), four))
    h = f32x4.add(h, f32x4.mul(v128.load(row4 + 3 * row + i), four))
  }
  store4(sumLanes4(a, b, c, d), scale, scores, adds)
  store4(sumLanes4(e, f, g, h), scale, scores + 16, adds)
}

/** sumLanes() of four vectors. */
function sumLanes4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7))
  const cd = f32x4.add(v128.shuffle<i32>(c, d, 0, 2, 4, 6), v128.shuffle<i32>(c, d, 1, 3, 5, 7))
  return f32x4.add(v128.shuffle<i32>(ab, cd, 0, 2, 4, 6), v128.shuffle<i32>(ab, cd, 1, 3, 5, 7))
}

function store4(sums: v128, scale: v128, scores: usize, adds: bool): void {
  const value = f32x4.mul(sums, scale)
  v128.store(scores, adds ? f32x4.add(v128.load(scores), value) : value)
}

/** Σ weight · value of 32 dims over `tokens` tokens, `row` bytes apart: f32[32] at `sums`. */
export function valueTile_f32(value: usize, row: usize, tokens: u32, weights: usize, sums: usize): void {
  let a = f32x4.splat(0)
  let b = a
  let c = a
  let d = a
  let e = a
  let f = a
  let g = a
  let h = a
  for (const end = weights + (tokens << 2); weights < end; weights += 4) {
    const weight = v128.load32_splat(weights)
    a = f32x4.add(a, f32x4.mul(weight, v128.load(value, 0)))
    b = f32x4.add(b, f32x4.mul(weight, v128.load(value, 16)))
    c = f32x4.add(c, f32x4.mul(weight, v128.load(value, 32)))
    d = f32x4.add(d, f32x4.mul(weight, v128.load(value, 48)))
    e = f32x4.add(e, f32x4.mul(weight, v128.load(value, 64)))
    f = f32x4.add(f, f32x4.mul(weight, v128.load(value, 80)))
    g = f32x4.add(g, f32x4.mul(weight, v128.load(value, 96)))
    h = f32x4.add(h, f32x4.mul(weight, v128.load(value, 112)))
    value += row
  }
  v128.store(sums, a, 0)
  v128.store(sums, b, 16)
  v128.store(sums, c, 32)
  v128.store(sums, d, 48)
  v128.store(sums, e, 64)
  v128.store(sums, f, 80)
  v128.store(sums, g, 96)
  v128.store(sums, h, 112)
}

/** The same of four dims. */
export function valueBlock_f32(value: usize, row: usize, tokens: u32, weights: usize): v128 {
  let sum = f32x4.splat(0)
  for (const end = weights + (tokens << 2); weights < end; weights += 4) {
    sum = f32x4.add(sum, f32x4.mul(v128.load32_splat(weights), v128.load(value)))
    value += row
  }
  return sum
}
