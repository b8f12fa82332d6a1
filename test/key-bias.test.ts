/**
 * Large biases of keys, as Qwen 2 has them, in an int8 cache: what they are must not be rounded with the rest of a key
 * (assembly/mixers/key-bias.ts).
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { checkConversations } from './fixtures/conversations-alike.ts'
import { meanKl } from './fixtures/divergence.ts'
import { writeRandomModel } from './fixtures/random-model.ts'
import { logitsOf, openEngine, strict } from './harness/engines.ts'

const HEAD = 32
const qwen2 = (fields: object = {}) => ({
  architectures: ['Qwen2ForCausalLM'],
  vocab_size: 160,
  hidden_size: 128,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 1024,
  rms_norm_eps: 1e-5,
  rope_theta: 1e6,
  tie_word_embeddings: true,
  ...fields,
})

/** A model with so large biases at the given numbers of each key head, and at their partners in the rotation. */
const biased = (size: number, pairs: number[], fields?: object) =>
  writeRandomModel(qwen2(fields), {
    change: (tensor, values) => {
      if (!tensor.endsWith('k_proj.bias')) return
      for (const [i, value] of values.entries())
        if (pairs.includes(i % (HEAD / 2))) values[i] = Math.sign(value) * size * (1 + 0.3 * Math.abs(value))
    },
  })

/** Every number of every key has a large bias: of 16 the first four are rotated; none is rotated at all. */
const neox = { architectures: ['GPTNeoXForCausalLM'], hidden_act: 'gelu', layer_norm_eps: 1e-5, rotary_pct: 0.25 }
const gpt2 = {
  architectures: ['GPT2LMHeadModel'],
  n_embd: 128,
  n_head: 8,
  n_layer: 1,
  n_positions: 320,
  vocab_size: 160,
}
const allBiased = (config: object, isKey: (tensor: string, i: number) => boolean) =>
  writeRandomModel(
    { ...qwen2({ num_hidden_layers: 1, num_attention_heads: 8, tie_word_embeddings: false }), ...config },
    {
      change: (tensor, values) => {
        for (const i of values.keys()) if (isKey(tensor, i)) values[i] = (values[i] as number) * 300
      },
    },
  )

const slow = [14, 15]
const ids = Array.from({ length: 200 }, (_, i) => (i * 37 + (i >> 5) * 11 + 5) % 160)
const open = (directory: string, options: object = {}) =>
  openEngine(directory, { type: 'f32', context: 320, maxLogits: 64, ...options })

const window = { use_sliding_window: true, sliding_window: 100, max_window_layers: 1 }
const yarn = { rope_scaling: { type: 'yarn', factor: 8, original_max_position_embeddings: 128 } }
const all = Array.from({ length: HEAD / 2 }, (_, i) => i)
const models = {
  'of 100': () => biased(100, slow),
  'of 400': () => biased(400, slow),
  // More layers make other errors of so sharp scores large.
  'of 100 where pairs turn fast': () => biased(100, [1, 4], { num_hidden_layers: 1 }),
  'just too small to be kept apart, of all numbers': () => biased(3.1, all),
  'of 100, with YaRN, which makes rotated keys longer': () => biased(100, [6, 14], { num_hidden_layers: 1, ...yarn }),
  'of 100, with a window': () => biased(100, slow, window),
  'of 90, a quarter of it rotated': () =>
    allBiased(neox, (tensor, i) => tensor.endsWith('query_key_value.bias') && Math.floor(i / 16) % 3 === 1),
  'of 90, not rotated': () =>
    allBiased(gpt2, (tensor, i) => tensor.endsWith('c_attn.bias') && Math.floor(i / 128) === 1),
}
for (const [what, write] of Object.entries(models))
  test(`a bias ${what}: an int8 cache is near to an f32 cache`, async () => {
    const directory = write()
    const [exact, rounded] = [await open(directory), await open(directory, { cache: 'int8' })]
    const kl = meanKl(await logitsOf(exact, ids), await logitsOf(rounded, ids))
    await Promise.all([exact.close(), rounded.close()])
    assert.ok(kl > 0 && kl <= 0.0005, `a mean divergence of ${kl}`)
  })

test('slices, threads and builds do not change a bit', async () => {
  const directory = biased(100, [1, ...slow])
  const engine = await open(directory, { cache: 'int8' })
  const expected = await logitsOf(engine, ids)
  engine.rewind(0, 0)
  assert.equal(await logitsOf(engine, ids, 1), expected, 'token by token')
  // A rewind to the middle of a page, and rows over what was there.
  engine.rewind(0, 100)
  assert.equal(await logitsOf(engine, ids.slice(100), 64, 100), expected.slice(100))
  await engine.close()
  for (const options of [{ threads: 3 }, { build: strict }]) {
    const other = await open(directory, { cache: 'int8', ...options })
    assert.equal(await logitsOf(other, ids), expected, JSON.stringify(options))
    other.rewind(0, 150)
    assert.equal(await logitsOf(other, ids.slice(150), 1, 150), expected.slice(150), JSON.stringify(options))
    await other.close()
  }
})

test('three conversations at once, a fork, a session, as alone', async () => {
  await checkConversations(biased(100, [1, ...slow]), { type: 'q8', cache: 'int8' })
})

test('a conversation that has forgotten tokens, kept pages turned, is near to that of an f32 cache', async () => {
  const directory = biased(100, [8, ...slow], { num_hidden_layers: 1 })
  const [exact, rounded] = [await open(directory), await open(directory, { cache: 'int8' })]
  for (const keep of [0, 1]) {
    const found: Float32Array[][] = []
    for (const engine of [exact, rounded]) {
      engine.rewind(0, 0)
      await logitsOf(engine, ids)
      for (let i = 0; i < 2; i++) await engine.drop(0, keep, 1)
      found.push(await logitsOf(engine, ids.slice(0, 60), 60, engine.lengthOf(0)))
    }
    const [expected = [], near = []] = found
    const kl = meanKl(expected, near)
    assert.ok(kl > 0 && kl <= 0.0005, `${keep} pages kept: a mean divergence of ${kl}`)
  }
  await Promise.all([exact.close(), rounded.close()])
})

test.run()
