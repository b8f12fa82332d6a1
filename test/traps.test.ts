/**
 * Where papers, published code and checkpoints mislead (SPEC §4.2, §9). Each test fails when the trap is stepped into.
 * Those about results rather than sizes are caught by the conformance goldens; here it is shown that they would be: the
 * wrong reading must miss the golden by far.
 */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cost, describe, ModelError, nLayers } from '../models/index.ts'
import { parseSafetensors } from './checkpoints.ts'
import { attentionOf, golden, readGolden, readJson, worst } from './goldens.ts'
import { attention, type Weights } from './reference.ts'

const config = (name: string) => readJson(new URL(`../models/configs/${name}.json`, import.meta.url).pathname)
const goldenConfig = (kind: string) => ({
  ...readJson(golden(`${kind}/config.json`)),
  attention_kind: kind.split('-')[0],
})
const goldenWeights = (kind: string) => parseSafetensors(readFileSync(golden(`${kind}/model.safetensors`)))

/** Layer 0 of the literal reference with changed weights or config, against the golden. */
function missBy(kind: string, change: (weights: Weights) => void, fields: object = {}): number {
  const weights = goldenWeights(kind)
  change(weights)
  const { input, output } = readGolden(kind).layer0_attention
  const name = 'model.layers.0.self_attn'
  const normed = input.map((row) => Float64Array.from(row))
  const found = attention({ ...goldenConfig(kind), ...fields }, weights, name, normed)
  return Math.max(...found.map((row, t) => worst(row, output[t] as number[])))
}

const unchanged = () => undefined

for (const kind of ['gta', 'mla', 'tied', 'gla', 'gha'])
  test(`${kind}: the literal reference itself meets the golden`, () => {
    assert.ok(missBy(kind, unchanged) < 1e-5, `${missBy(kind, unchanged)}`)
  })

test('v_b_proj is not a matrix of its stored shape: the usual reading y = W x is wrong', () => {
  const read = (weights: Weights) => {
    const name = 'model.layers.0.self_attn.v_b_proj.weight'
    const { shape, data } = weights.get(name) as { shape: number[]; data: Float32Array }
    const [rows = 0, cols = 0] = shape
    // W (e·d_l × n_q·d_l) read as y = W x: P_j[a][b] = W[b][j·d_l + a].
    const [maps, latentDim] = [goldenConfig('gta').num_query_heads, goldenConfig('gta').value_dim]
    const wrong = new Float32Array(data.length)
    for (let j = 0; j < maps; j++)
      for (let a = 0; a < latentDim; a++)
        for (let b = 0; b < rows; b++)
          wrong[(j * latentDim + a) * rows + b] = data[b * cols + j * latentDim + a] as number
    weights.set(name, { shape, data: wrong })
  }
  assert.ok(missBy('gta', read) > 1e-2)
})

test('num_key_value_heads says nothing about a GTA cache', () => {
  const model = describe({ ...config('gta-1b'), num_key_value_heads: 20 })
  assert.is(cost(model).cacheElements, 192)
})

test('a GTA row is key and latent: keys padded to the latent, as one code path caches them, would be 256', () => {
  assert.is(cost(describe(config('gta-1b'))).cacheElements, 64 + 128)
})

test('GTA has its q, k, v and g biases whatever attention_bias says', () => {
  for (const attention_bias of [true, false]) {
    const { sources, spec } = describe({ ...config('gta-1b'), attention_bias })
    assert.equal(
      sources.layer(3).inBias?.map(({ tensor }) => tensor?.split('.').slice(-2).join('.')),
      ['q_proj.bias', 'k_proj.bias', 'v_proj.bias', 'g_proj.bias'],
    )
    assert.not.ok(attentionOf(spec).bias.out)
  }
})

test('20 maps of latent 128 are not expressible at hidden 1280: an expand rate of 0 is refused', () => {
  assert.throws(
    () => describe({ ...config('500m-gta4'), num_query_heads: 20 }),
    (error: unknown) => error instanceof ModelError && /num_query_heads × value_dim 2560/.test(error.message),
  )
})

test('GTA scores are scaled by head_dim, which query_dim must equal', () => {
  assert.is(attentionOf(describe(config('gta-1b')).spec).scale, 1 / 8)
  assert.throws(() => describe({ ...config('gta-1b'), query_dim: 32 }), /query_dim/)
})

test('the decoder matrix counts: 486.98 M includes it, 492.61 and 498.24 M of the ablations do not', () => {
  const without = (fields: object) => {
    const model = describe({ ...config('500m-gta3'), ...fields })
    const decoder = model.sources.layer(0).decoder?.[0]?.shape as [number, number]
    return ((cost(model).parameters - nLayers(model.spec) * decoder[0] * decoder[1]) / 2 ** 20).toFixed(2)
  }
  assert.is((cost(describe(config('500m-gta3'))).parameters / 2 ** 20).toFixed(2), '486.98')
  assert.is(without({ num_query_heads: 10 }), '492.61')
  const wide = { num_attention_heads: 10, head_dim: 128, query_dim: 128, key_dim: 128, value_dim: 256 }
  assert.is(without(wide), '498.24')
})

test('MLA: latent norms have eps 1e-6, not rms_norm_eps', () => {
  const spec = attentionOf(describe({ ...config('160m-mla'), rms_norm_eps: 1e-2, q_lora_rank: 32 }).spec)
  assert.is(spec.slots.c?.norm?.eps, 1e-6)
  assert.is(spec.query?.eps, 1e-6)
})

test('MLA rotates neighbours: halves, as Llama does, miss the golden', () => {
  assert.ok(missBy('mla', unchanged, { rope_interleave: false }) > 1e-2)
})

test('MLA 500M caches 352 numbers, not the 342 that the paper prints', () => {
  assert.is(cost(describe(config('500m-mla'))).cacheElements, 352)
})

test('GVA work depends on the number of maps: the formula of the paper holds for n_q = n_k only', () => {
  const gva = (maps: number, keyHeads: number) =>
    cost(
      describe({
        ...readJson(golden('gva/config.json')),
        num_query_heads: maps,
        num_key_heads: keyHeads,
      }),
    )
  assert.is(gva(4, 2).attentionLinearMacs, 2 * 64 * 64 + (4 + 2) * 8 * 64)
  assert.is(gva(4, 2).attentionPairMacs, 4 * 8 + 8 * 8)
})

test('GHA counts the value product of every head, though the engine averages shared ones once', () => {
  assert.is(cost(describe(readJson(golden('gha/config.json')))).attentionPairMacs, 2 * 8 + 8 * 8)
})

test('GHA without a value_head_map is refused: the paper leaves it open', () => {
  const { value_head_map, ...without } = readJson(golden('gha/config.json'))
  assert.is(value_head_map, 'stride')
  assert.throws(() => describe(without), /value_head_map/)
})

test('grouped-tied: the rotated key has a bias even when nothing else has', () => {
  const inBias = describe(goldenConfig('tied')).sources.layer(0).inBias
  assert.equal(
    inBias?.map(({ tensor }) => tensor?.split('.').at(-2)),
    [undefined, undefined, 'W_rope_k'],
  )
  assert.ok(
    missBy('tied', (weights) => {
      weights.delete('model.layers.0.self_attn.W_rope_k.bias')
    }) > 1e-3,
  )
})

test('GLA: the bias of the values is not the bias of the keys, and it matters', () => {
  const name = 'model.layers.0.self_attn.W_ukv_1.bias'
  const zero = (isKey: boolean) => (weights: Weights) => {
    const { shape, data } = weights.get(name) as { shape: number[]; data: Float32Array }
    const dim = 8
    const changed = data.map((value, i) => (Math.floor(i / dim) % 2 === (isKey ? 0 : 1) ? 0 : value))
    weights.set(name, { shape, data: changed })
  }
  assert.ok(missBy('gla', zero(true)) < 1e-5, 'the bias of K cancels in the softmax')
  assert.ok(missBy('gla', zero(false)) > 1e-3)
})

test('GTA is not grouped-tied, whoever calls it so: fields and tensors tell them apart', () => {
  const { attention_kind: _, ...unnamed } = goldenConfig('gta')
  assert.is(describe({ ...unnamed, architectures: ['LlamaForCausalLM'] }).spec.kind, 'gta')
  const { attention_kind: __, rope_dim, ...plain } = goldenConfig('tied')
  assert.is(rope_dim, 4)
  assert.is(describe(plain).spec.kind, 'gqa')
  assert.is(describe(plain, ['model.layers.0.self_attn.W_rope_k.weight']).spec.kind, 'tied')
})

test.run()
