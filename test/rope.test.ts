/** RoPE frequencies: the arithmetic under them, and the scalings against transformers' formulas. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ln, power } from '../models/arithmetic.ts'
import { describe } from '../models/index.ts'
import { invFreq } from '../models/rope.ts'
import { random } from './fixtures/checkpoints.ts'
import { attentionOf, golden, readJson, ropeOf } from './fixtures/goldens.ts'

const isClose = (found: number, expected: number, tolerance: number) =>
  assert.ok(Math.abs(found - expected) <= tolerance * Math.abs(expected), `${found} instead of ${expected}`)

test('ln and power are right to 1e-14', () => {
  const next = random(1)
  for (let i = 0; i < 2000; i++) {
    const base = 10 ** (next() * 12 - 3)
    // Near 1 the logarithm itself vanishes; what counts there is the absolute error.
    assert.ok(Math.abs(ln(base) - Math.log(base)) <= 1e-14 * Math.max(1, Math.abs(Math.log(base))), `ln ${base}`)
    const exponent = -next()
    isClose(power(base, exponent), base ** exponent, 1e-13)
  }
  assert.is(power(10000, 0), 1)
  assert.is(ln(1), 0)
})

/** transformers 4.5x, modeling_rope_utils.py, _compute_yarn_parameters, written out again. */
function yarnReference(
  theta: number,
  dim: number,
  factor: number,
  original: number,
  fast: number,
  slow: number,
): number[] {
  const correction = (rotations: number) =>
    (dim * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(theta))
  const low = Math.max(Math.floor(correction(fast)), 0)
  const high = Math.min(Math.ceil(correction(slow)), dim - 1)
  return Array.from({ length: dim / 2 }, (_, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)))
    const extrapolation = 1 / theta ** ((2 * i) / dim)
    return (extrapolation / factor) * ramp + extrapolation * (1 - ramp)
  })
}

const yarn = {
  type: 'yarn',
  factor: 40,
  original_max_position_embeddings: 4096,
  beta_fast: 32,
  beta_slow: 1,
  mscale: 1,
  mscale_all_dim: 1,
}

test('yarn as DeepSeek uses it: frequencies, scale of the scores, and no change of cos and sin', () => {
  const config = { ...readJson(golden('mla/config.json')), qk_rope_head_dim: 64, qk_nope_head_dim: 128 }
  const { spec } = describe({ ...config, rope_scaling: yarn })
  const expected = yarnReference(10000, 64, 40, 4096, 32, 1)
  for (const [i, frequency] of invFreq(ropeOf(spec)).entries()) isClose(frequency, expected[i] as number, 1e-13)
  isClose(attentionOf(spec).scale, 192 ** -0.5 * (0.1 * Math.log(40) + 1) ** 2, 1e-13)
  assert.is(ropeOf(spec).magnitude, 1)
})

test('yarn elsewhere: cos and sin are multiplied, the scale of the scores is not', () => {
  const { mscale: _, mscale_all_dim: __, ...plain } = yarn
  const config = { ...readJson(golden('gqa/config.json')), rope_theta: 10000 }
  const { spec } = describe({ ...config, rope_scaling: plain })
  isClose(ropeOf(spec).magnitude as number, 0.1 * Math.log(40) + 1, 1e-13)
  assert.is(attentionOf(spec).scale, 8 ** -0.5)
  assert.is(ropeOf(describe({ ...config, rope_scaling: { ...plain, attention_factor: 1.5 } }).spec).magnitude, 1.5)
})

test('without scaling: theta^(−2i/r)', () => {
  for (const [i, frequency] of invFreq({ dim: 128, theta: 500000 }).entries())
    isClose(frequency, 500000 ** (-i / 64), 1e-13)
})

test('arithmetic ends on every double', () => {
  const doubles = [0, 5e-324, 2.2e-308, 1e-12, 1, 1e12, 1.7e308, Infinity, Number.NaN].flatMap((x) => [x, -x])
  for (const x of doubles) {
    const [found, expected] = [ln(x), Math.log(x)]
    assert.ok(
      Object.is(found, expected) || Math.abs(found - expected) <= 1e-12 * Math.abs(expected),
      `ln ${x} is ${found}`,
    )
    for (const y of doubles) assert.is(typeof power(Math.abs(x), y), 'number')
  }
  assert.equal([power(10, 400), power(10, -400), power(2, Infinity)], [Infinity, 0, Infinity])
})

test('numbers of a config beyond what makes sense are refused by name, or give finite frequencies', () => {
  const base = { ...readJson(golden('gqa/config.json')), rope_theta: 10000, original_max_position_embeddings: 64 }
  const pairs = 4
  const scalings: Record<string, object> = {
    linear: { factor: 4 },
    dynamic: { factor: 4 },
    llama3: { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 },
    yarn: { ...yarn, attention_factor: 1 },
    longrope: { factor: 4, attention_factor: 1, short_factor: Array(pairs).fill(1), long_factor: Array(pairs).fill(2) },
  }
  const values = [5e-324, 1e-300, 1e-12, 0.5, 1, 1.001, 2, 1e12, 1e300, -1, 0, '4', null, true, [1], {}]
  let accepted = 0
  for (const [type, scaling] of Object.entries(scalings))
    for (const name of ['rope_theta', ...Object.keys(scaling)])
      for (const value of values) {
        const inside = name === 'rope_theta' ? scaling : { ...scaling, [name]: value }
        const config = {
          ...base,
          ...(name === 'rope_theta' ? { rope_theta: value } : {}),
          rope_scaling: { type, ...inside },
        }
        try {
          const rope = ropeOf(describe(config).spec)
          accepted++
          for (const frequency of invFreq(rope))
            assert.ok(frequency >= 0 && frequency < 1e12, `${type} ${name} ${value}: ${frequency}`)
          assert.ok(Number.isFinite(rope.magnitude ?? 1), `${type} ${name} ${value}: magnitude ${rope.magnitude}`)
        } catch (error) {
          assert.is((error as Error).name, 'ModelError', `${type} ${name} ${value}: ${error}`)
        }
      }
  assert.ok(accepted > 50, `${accepted} were accepted`)
})

test.run()
