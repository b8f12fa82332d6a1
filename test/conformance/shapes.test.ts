/**
 * Every kind and family in shapes that nobody tuned for, which its own file lists: odd head counts, dims from 2 up that are
 * no multiple of 4, a vocabulary that is none either, texts longer than a page. Logits in f32 against a literal f64
 * transcription of each.
 */
import { readdirSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { load } from '../../host/index.ts'
import type { Family, Shapes } from '../../models/family.ts'
import { families } from '../../models/index.ts'
import { type Config, encode, random, sourcesOf, type Tensors, writeCheckpoint } from '../fixtures/checkpoints.ts'
import { worst } from '../fixtures/goldens.ts'
import { attention, referenceLogits, type Weights } from '../reference/reference.ts'

/** Names say what is unusual. */
const files = ['kinds', 'families'].flatMap((folder) => {
  const url = new URL(`../../models/${folder}/`, import.meta.url)
  return readdirSync(url).map((file) => new URL(file, url).href)
})
const sets: { family: Family; shapes: Shapes }[] = await Promise.all(files.map((file) => import(file)))
const shapes: Record<string, Config> = Object.assign({}, ...sets.map((set) => set.shapes()))

test('every kind and family has shapes of its own', () => {
  assert.equal(new Set(sets.map(({ family }) => family)), new Set(families))
  for (const { family, shapes: own } of sets) assert.ok(Object.keys(own()).length >= 2, family.name)
  assert.is(Object.keys(shapes).length, sets.flatMap((set) => Object.keys(set.shapes())).length)
})

/** The reference takes the biases that there are, so that there are some is said here. */
const biases: Record<string, string[]> = {
  attention_bias: ['self_attn.o_proj.bias'],
  mlp_bias: ['mlp.gate_proj.bias', 'mlp.up_proj.bias', 'mlp.down_proj.bias'],
  conv_bias: ['conv.in_proj.bias', 'conv.conv.bias', 'conv.out_proj.bias'],
  use_bias: ['self_attn.q_proj.bias', 'self_attn.o_proj.bias', 'mlp.up_proj.bias', 'mlp.down_proj.bias'],
}

test('a config that asks for biases gets them', () => {
  let count = 0
  for (const [name, config] of Object.entries(shapes))
    for (const [field, wanted] of Object.entries(biases)) {
      if (config[field] !== true) continue
      const found = new Set(sourcesOf(config).map(({ tensor }) => tensor))
      for (const bias of wanted) assert.ok(found.has(`model.layers.1.${bias}`), `${name}: ${bias}`)
      count++
    }
  assert.ok(count > 8, `${count}`)
})

const base = {
  num_hidden_layers: 2,
  max_position_embeddings: 160,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
  rope_theta: 10000,
}
const llama = { ...base, architectures: ['LlamaForCausalLM'] }
const sizes = (hidden_size: number, intermediate_size: number, vocab_size: number) => ({
  hidden_size,
  intermediate_size,
  vocab_size,
})

/** Weights that keep activations of order 1, norms around 1, biases that matter. */
function randomWeights(config: Config, seed: number): Weights {
  const next = random(seed)
  const weights: Weights = new Map()
  for (const { tensor, shape } of sourcesOf(config)) {
    const length = shape.reduce((product, n) => product * n, 1)
    const cols = shape.length > 1 ? (shape.at(-1) as number) : 0
    const isNorm = tensor.endsWith('norm.weight') || /norm_\d\.weight$/.test(tensor)
    const spread = cols ? 1.7 / Math.sqrt(cols) : 0.3
    const data = Float32Array.from({ length }, () => (next() * 2 - 1) * spread + (isNorm ? 1 : 0))
    weights.set(tensor, { shape, data })
  }
  return weights
}

function asTensors(weights: Weights): Tensors {
  return new Map(
    Array.from(weights, ([name, { shape, data }]) => [name, { dtype: 'F32', shape, data: encode(data, 'F32') }]),
  )
}

for (const [name, config] of Object.entries(shapes))
  test(name, async () => {
    const next = random(name.length)
    const weights = randomWeights(config, name.length)
    const ids = Array.from({ length: 70 }, () => Math.floor(next() * Number(config.vocab_size)))
    const expected = referenceLogits(config, weights, ids)
    const model = await load(writeCheckpoint(config, asTensors(weights)), { type: 'f32', batch: 70, threads: 1 })
    try {
      for (const position of [0, 1, 7, 63, 64, 68]) {
        const difference = worst(await model.logits(ids.slice(0, position + 1)), expected[position] as Float64Array)
        assert.ok(difference <= 1e-4, `position ${position} differs by ${difference}`)
      }
    } finally {
      await model.close()
    }
  })

/** Logits of the last token through the engine. */
async function lastLogits(config: Config, weights: Weights, ids: number[]): Promise<Float32Array> {
  const model = await load(writeCheckpoint(config, asTensors(weights)), { type: 'f32', threads: 1 })
  return model.logits(ids).finally(() => model.close())
}

const ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3]

test('GQA with a key-value head per head is MHA, with one it is MQA', async () => {
  for (const [kind, kvHeads] of [
    ['mha', 4],
    ['mqa', 1],
  ] as const) {
    const config = { ...llama, ...sizes(24, 18, 37), num_attention_heads: 4, num_key_value_heads: kvHeads, head_dim: 6 }
    const weights = randomWeights({ ...config, attention_kind: kind }, 5)
    const named = await lastLogits({ ...config, attention_kind: kind }, weights, ids)
    assert.equal(await lastLogits({ ...config, attention_kind: 'gqa' }, weights, ids), named)
    assert.equal(await lastLogits(config, weights, ids), named)
  }
})

test('GVA with a map per head is MHA', async () => {
  const shared = { ...sizes(24, 18, 37), num_attention_heads: 4, head_dim: 6 }
  const mha = { ...llama, ...shared, attention_kind: 'mha' }
  const gva = { ...base, ...shared, attention_kind: 'gva', num_query_heads: 4, num_key_heads: 4, num_value_heads: 4 }
  const weights = randomWeights(mha, 6)
  assert.equal(await lastLogits(gva, weights, ids), await lastLogits(mha, weights, ids))
})

test('GTA: attend then decode is decode then attend', () => {
  const config = shapes['gta, expand rate 3, latent of 6'] as Config
  const weights = randomWeights(config, 7)
  const next = random(8)
  const x = ids.map(() => Float64Array.from({ length: Number(config.hidden_size) }, () => next() * 2 - 1))
  const [a, b] = (['decode-then-attend', 'attend-then-decode'] as const).map((order) =>
    attention(config, weights, 'model.layers.0.self_attn', x, order),
  )
  for (const [t, row] of (a ?? []).entries()) assert.ok(worst(b?.[t] ?? [], row) < 1e-12)
})

test.run()
