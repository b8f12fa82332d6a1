/** Other people's config.json: what is right becomes the right numbers, what is not is refused by the field's name. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cacheElements, describe, ModelError, planModel } from '../models/index.ts'
import { invFreq } from '../models/rope.ts'
import { type Config, gqaConfig, gtaConfig, sourcesOf } from './fixtures/checkpoints.ts'
import { attentionOf, ropeOf } from './fixtures/goldens.ts'

/** A config with some fields changed; undefined removes one. */
function edit(config: Config, change: Config): Config {
  const merged: Config = { ...config, ...change }
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined))
}

/** The config must be refused with all of `words` in the message. */
function refused(config: unknown, ...words: string[]): void {
  let error: Error | undefined
  try {
    describe(config)
  } catch (caught) {
    error = caught as Error
  }
  const what = JSON.stringify(config)
  assert.ok(error, `accepted: ${what}`)
  assert.instance(error, ModelError, `${error?.stack} for ${what}`)
  const message = error?.message ?? ''
  for (const word of words) assert.ok(message.includes(word), `"${word}" is not in "${message}" for ${what}`)
  assert.ok(message.length < 600, message)
}

const specOf = (config: Config) => describe(config).spec
const namesOf = (config: Config) => sourcesOf(config).map(({ tensor }) => tensor)
const shapeOf = (config: Config, name: string) => sourcesOf(config).find(({ tensor }) => tensor === name)?.shape
const biasesOf = (config: Config) =>
  namesOf(config)
    .filter((name) => name.startsWith('model.layers.0.') && name.endsWith('.bias'))
    .map((name) => name.split('.').at(-2))

const gta1b: Config = {
  architectures: ['GTAForCausalLM'],
  model_type: 'llama',
  hidden_size: 1280,
  intermediate_size: 3584,
  num_hidden_layers: 54,
  num_attention_heads: 20,
  head_dim: 64,
  num_query_heads: 5,
  query_dim: 64,
  num_key_heads: 1,
  key_dim: 64,
  num_value_heads: 1,
  value_dim: 128,
  vocab_size: 128256,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 2048,
  tie_word_embeddings: true,
}

test('GTA-1B as published', () => {
  const spec = specOf(gta1b)
  assert.is(spec.kind, 'gta')
  assert.is(cacheElements(attentionOf(spec)), 192)
  assert.is(attentionOf(spec).maps, 5)
  assert.equal(attentionOf(spec).decoder, { repeat: 2, bias: false })
  assert.is(attentionOf(spec).outDim, 256)
  assert.is(attentionOf(spec).scale, 1 / 8)
  assert.equal(ropeOf(spec), { dim: 64, theta: 10000 })
  assert.is(spec.maxContext, 2048)
  assert.equal([spec.bos, spec.eos], [undefined, []])
  assert.equal(shapeOf(gta1b, 'model.layers.0.self_attn.v_b_proj.weight'), [256, 640])
  assert.equal(shapeOf(gta1b, 'model.layers.53.self_attn.v_proj.bias'), [128])
  assert.not.ok(namesOf(gta1b).includes('lm_head.weight'))
})

test('the cache of GTA does not come from num_key_value_heads', () => {
  for (const heads of [20, 1, 5]) {
    const spec = specOf({ ...gta1b, num_key_value_heads: heads })
    assert.is(cacheElements(attentionOf(spec)), 192)
  }
})

test('GTA is recognised by its class, or by its fields alone', () => {
  const { architectures, ...fields } = gta1b
  assert.equal(architectures, ['GTAForCausalLM'])
  for (const names of [['GTAForCausalLM'], ['LlamaForCausalLM'], [], undefined, null])
    assert.is(specOf(edit(fields, { architectures: names })).kind, 'gta', JSON.stringify(names))
  assert.is(specOf({ ...gta1b, attention_kind: 'gta' }).kind, 'gta')
  // A class that nobody knows may differ in what no field says, unless the kind is named.
  refused({ ...fields, architectures: ['SomethingElse'] }, '"architectures"', 'SomethingElse')
  assert.is(specOf({ ...fields, architectures: ['SomethingElse'], attention_kind: 'gta' }).kind, 'gta')
  // One of the two fields is no sign of GTA, and the class name without the fields is a broken GTA.
  assert.is(specOf({ ...gqaConfig, num_query_heads: 4 }).kind, 'gqa')
  assert.is(specOf({ ...gqaConfig, value_dim: 8 }).kind, 'gqa')
  refused({ ...gqaConfig, architectures: ['GTAForCausalLM'] }, '"num_query_heads"')
  assert.is(specOf({ ...gqaConfig, num_query_heads: null, value_dim: null }).kind, 'gqa')
})

test('every constraint of GTA', () => {
  const cases: [Config, ...string[]][] = [
    [{ query_dim: 32 }, '"query_dim"', 'head_dim 64', 'found 32'],
    [{ key_dim: 128 }, '"key_dim"', 'head_dim 64', 'found 128'],
    [{ head_dim: 32 }, '"query_dim"', 'head_dim 32'],
    [{ num_attention_heads: 10 }, 'num_attention_heads × head_dim', 'hidden_size 1280', 'found 640'],
    [{ hidden_size: 1344 }, 'num_attention_heads × head_dim', 'hidden_size 1344', 'found 1280'],
    [{ num_key_heads: 2 }, '"num_query_heads"', 'num_key_heads 2', 'found 5'],
    [{ num_key_heads: 10 }, '"num_query_heads"', 'num_key_heads 10', 'found 5'],
    [{ num_value_heads: 3 }, '"num_query_heads"', 'num_value_heads 3', 'found 5'],
    [{ num_query_heads: 3 }, '"hidden_size"', 'num_query_heads × value_dim 384', 'found 1280'],
    [{ value_dim: 96 }, '"hidden_size"', 'num_query_heads × value_dim 480', 'found 1280'],
    // Expand rate 0: more latent numbers than the hidden state has.
    [{ num_query_heads: 20 }, '"hidden_size"', 'num_query_heads × value_dim 2560', 'found 1280'],
    [{ value_dim: 512 }, '"hidden_size"', 'num_query_heads × value_dim 2560', 'found 1280'],
    [{ query_dim: undefined }, '"query_dim"', 'found nothing'],
    [{ key_dim: undefined }, '"key_dim"', 'found nothing'],
    [{ num_key_heads: undefined }, '"num_key_heads"', 'found nothing'],
    [{ num_value_heads: undefined }, '"num_value_heads"', 'found nothing'],
    [{ num_query_heads: undefined }, '"num_query_heads"', 'found nothing'],
    [{ value_dim: undefined }, '"value_dim"', 'found nothing'],
  ]
  for (const [change, ...words] of cases) refused(edit(gta1b, change), ...words)
})

test('GTA with other sizes that fit', () => {
  const e1 = specOf({ ...gta1b, num_query_heads: 10 })
  assert.equal(attentionOf(e1).decoder, { repeat: 1, bias: false })
  const several = specOf({ ...gta1b, num_query_heads: 10, num_key_heads: 5, num_value_heads: 2 })
  assert.is(cacheElements(attentionOf(several)), 5 * 64 + 2 * 128)
  assert.is(attentionOf(specOf(edit(gta1b, { head_dim: undefined }))).key[0]?.dim, 64)
})

test('GTA has biases on q, k, v and g whatever attention_bias says', () => {
  for (const bias of [true, false, undefined]) {
    const found = biasesOf(edit(gtaConfig, { attention_bias: bias }))
    assert.equal(found, ['q_proj', 'k_proj', 'v_proj', 'g_proj'], `${bias}`)
  }
})

test('biases of llama and its like', () => {
  const qwen = { architectures: ['Qwen2ForCausalLM'] }
  const cases: [Config, string[]][] = [
    [{}, []],
    [{ attention_bias: false }, []],
    [{ attention_bias: null }, []],
    [{ attention_bias: true }, ['q_proj', 'k_proj', 'v_proj', 'o_proj']],
    [{ qkv_bias: true }, ['q_proj', 'k_proj', 'v_proj']],
    [{ qkv_bias: false }, []],
    [{ qkv_bias: true, attention_bias: true }, ['q_proj', 'k_proj', 'v_proj', 'o_proj']],
    [{ ...qwen }, ['q_proj', 'k_proj', 'v_proj']],
    [{ ...qwen, qkv_bias: false }, []],
    [{ architectures: ['MistralForCausalLM'] }, []],
  ]
  for (const [change, names] of cases) {
    const config = { ...gqaConfig, ...change }
    assert.equal(biasesOf(config), names, JSON.stringify(change))
    const { bias } = attentionOf(specOf(config))
    assert.equal(bias, { in: names.includes('q_proj'), out: names.includes('o_proj') })
  }
  const config = { ...gqaConfig, attention_bias: true, head_dim: 10 }
  assert.equal(shapeOf(config, 'model.layers.0.self_attn.q_proj.bias'), [40])
  assert.equal(shapeOf(config, 'model.layers.0.self_attn.k_proj.bias'), [20])
  assert.equal(shapeOf(config, 'model.layers.0.self_attn.o_proj.bias'), [32])
})

test('head counts make MHA, MQA or GQA', () => {
  const kinds: [Config, string, number][] = [
    [{ num_key_value_heads: undefined }, 'mha', 64],
    [{ num_key_value_heads: null }, 'mha', 64],
    [{ num_key_value_heads: 4 }, 'mha', 64],
    [{ num_key_value_heads: 2 }, 'gqa', 32],
    [{ num_key_value_heads: 1 }, 'mqa', 16],
  ]
  for (const [change, kind, elements] of kinds) {
    const spec = specOf(edit(gqaConfig, change))
    assert.is(spec.kind, kind)
    assert.is(cacheElements(attentionOf(spec)), elements)
  }
  for (const heads of [3, 8]) refused({ ...gqaConfig, num_key_value_heads: heads }, '"num_attention_heads"', 'found 4')
  refused({ ...gqaConfig, num_attention_heads: 3, num_key_value_heads: 3 }, '"hidden_size"', 'num_attention_heads 3')
  const wide = { ...gqaConfig, head_dim: 64 }
  assert.equal(shapeOf(wide, 'model.layers.0.self_attn.q_proj.weight'), [256, 32])
  assert.equal(shapeOf(wide, 'model.layers.0.self_attn.o_proj.weight'), [32, 256])
  refused({ ...gqaConfig, head_dim: 7 }, '"head_dim"', 'even')
  refused({ ...gqaConfig, num_attention_heads: 32, num_key_value_heads: 32 }, '"head_dim"', 'even')
})

test('attention_kind must agree with the head counts', () => {
  const agree: [Config, string][] = [
    [{ attention_kind: 'gqa' }, 'gqa'],
    [{ attention_kind: 'mha', num_key_value_heads: 4 }, 'mha'],
    [{ attention_kind: 'mqa', num_key_value_heads: 1 }, 'mqa'],
    [{ attention_kind: 'gqa', num_key_value_heads: 1 }, 'mqa'],
    [{ attention_kind: 'gqa', num_key_value_heads: 4 }, 'mha'],
    [{ attention_kind: null }, 'gqa'],
  ]
  for (const [change, kind] of agree) assert.is(specOf({ ...gqaConfig, ...change }).kind, kind)
  for (const kind of ['mha', 'mqa']) refused({ ...gqaConfig, attention_kind: kind }, '"attention_kind"', kind, '"gqa"')
  refused({ ...gqaConfig, attention_kind: 'mqa', num_key_value_heads: 4 }, '"attention_kind"', 'mqa', '"mha"')
  refused({ ...gqaConfig, attention_kind: 'mha', num_key_value_heads: 1 }, '"attention_kind"', 'mha', '"mqa"')
  refused({ ...gqaConfig, attention_kind: 'gta' }, '"num_query_heads"')
  // The kind alone selects a family, whatever the class is called.
  assert.is(specOf({ ...gqaConfig, architectures: ['My'], attention_kind: 'gqa' }).kind, 'gqa')
})

test('one query head with one key-value head is MHA and MQA alike', () => {
  for (const kind of ['mha', 'mqa', 'gqa', undefined])
    describe(edit(gqaConfig, { attention_kind: kind, num_attention_heads: 1, num_key_value_heads: 1 }))
})

test('kinds and mixtures of kinds that are not known', () => {
  for (const kind of ['mla3', 'GTA', '', 'gta+gqa', 'constructor', '__proto__'])
    refused({ ...gtaConfig, attention_kind: kind }, '"attention_kind"', `found "${kind}"`, 'gta')
  for (const kind of [['gta', 'gqa'], [], {}, 7, true])
    refused({ ...gtaConfig, attention_kind: kind }, '"attention_kind"', 'a text')
})

test('architectures that are not known', () => {
  const names = [
    'MixtralForCausalLM',
    'Qwen3MoeForCausalLM',
    'PaliGemmaForConditionalGeneration',
    'BloomForCausalLM',
    'GPT3LMHeadModel',
    'llama',
    '',
  ]
  for (const name of names)
    refused({ ...gqaConfig, architectures: [name] }, '"architectures"', `"${name}"`, ' Llama,', 'GPT2LMHeadModel')
  for (const value of [undefined, null, []])
    refused(edit(gqaConfig, { architectures: value }), '"architectures"', ' Llama,')
  for (const value of ['LlamaForCausalLM', 7, {}, [7], [null], [['LlamaForCausalLM']]])
    refused({ ...gqaConfig, architectures: value }, '"architectures"', 'a list of names')
})

test('what is no config at all', () => {
  for (const value of [undefined, null, 7, 'text', true, [], [gqaConfig]]) refused(value, 'config.json', 'JSON object')
  refused({}, '"architectures"')
})

const common: [string, number][] = [
  ['vocab_size', 2 ** 24],
  ['hidden_size', 131072],
  ['intermediate_size', 131072],
  ['num_hidden_layers', 1024],
  ['num_attention_heads', 1024],
  ['head_dim', 1024],
  ['max_position_embeddings', 2 ** 24],
]

for (const [name, config, fields] of [
  ['gqa', gqaConfig, [...common, ['num_key_value_heads', 1024]]],
  [
    'gta',
    gtaConfig,
    [
      ...common,
      ...['num_query_heads', 'num_key_heads', 'num_value_heads', 'query_dim', 'key_dim', 'value_dim'].map((field) => [
        field,
        1024,
      ]),
    ],
  ],
] as [string, Config, [string, number][]][])
  test(`${name}: a count that is none is refused by name`, () => {
    for (const [field, max] of fields)
      for (const value of [
        0,
        -1,
        1.5,
        max + 1,
        2 ** 31,
        2 ** 53,
        1e300,
        '32',
        '',
        true,
        [32],
        {},
        Number.NaN,
        Infinity,
      ])
        refused({ ...config, [field]: value }, `"${field}"`, `a whole number from 1 to ${max}`)
  })

test('counts that must be there', () => {
  for (const field of ['vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'])
    for (const config of [gqaConfig, gtaConfig])
      for (const value of [undefined, null]) refused(edit(config, { [field]: value }), `"${field}"`, 'found nothing')
})

test('fields with a default of transformers', () => {
  const absent = Object.fromEntries(
    [
      'max_position_embeddings',
      'rms_norm_eps',
      'rope_theta',
      'tie_word_embeddings',
      'bos_token_id',
      'eos_token_id',
    ].map((name) => [name, undefined]),
  )
  const spec = specOf(edit(gqaConfig, absent))
  assert.is(spec.maxContext, 2048)
  assert.is(spec.head.norm.eps, 1e-6)
  assert.equal(ropeOf(spec), { dim: 8, theta: 10000 })
  assert.is(spec.head.isTied, false)
  assert.equal([spec.bos, spec.eos], [undefined, []])
  assert.equal(specOf({ ...gqaConfig, bos_token_id: 1, eos_token_id: [2, 3] }).eos, [2, 3])
  assert.equal(specOf({ ...gqaConfig, bos_token_id: 0, eos_token_id: 0 }).bos, 0)
})

test('other fields of a wrong type or range', () => {
  const positives = ['rms_norm_eps', 'rope_theta']
  for (const field of positives)
    for (const value of [0, -1, '1e-5', true, [], {}, Number.NaN, Infinity, 1e13])
      refused({ ...gqaConfig, [field]: value }, `"${field}"`, 'a number ')
  for (const field of ['tie_word_embeddings', 'attention_bias', 'qkv_bias'])
    for (const value of [0, 1, 'true', [], {}]) refused({ ...gqaConfig, [field]: value }, `"${field}"`, 'true or false')
  for (const field of ['bos_token_id', 'eos_token_id'])
    for (const value of [-1, 96, 1.5, '0', true, {}, [0, 96], [[0]], [null]])
      refused({ ...gqaConfig, [field]: value }, `"${field}"`, 'vocab_size 96')
})

test('what this runtime does not compute is refused, never ignored', () => {
  const cases: [string, unknown[]][] = [
    ['hidden_act', ['gelu', 'relu', 'SiLU', 7, {}]],
    ['mlp_bias', ['false']],
    ['partial_rotary_factor', [0.5, 0, 2]],
    ['quantization_config', [{ quant_method: 'gptq' }, {}, 'awq', false]],
    ['sliding_window', [4096, 0, true]],
  ]
  for (const config of [gqaConfig, gtaConfig])
    for (const [field, values] of cases)
      for (const value of values) refused({ ...config, [field]: value }, `"${field}"`)
  refused({ ...gtaConfig, mlp_bias: true }, '"mlp_bias"')
  const harmless: Config[] = [
    { hidden_act: 'silu', mlp_bias: false, partial_rotary_factor: 1 },
    { hidden_act: null, mlp_bias: null, quantization_config: null, sliding_window: null },
    { use_sliding_window: false, sliding_window: 4096 },
    { torch_dtype: 'bfloat16', pretraining_tp: 7, unheard_of: { x: 1 }, rope_interleaved: false },
  ]
  for (const change of harmless) describe({ ...gqaConfig, ...change })
  refused({ ...gqaConfig, rope_interleaved: true }, '"rope_interleaved"')
  refused({ ...gqaConfig, use_sliding_window: true, sliding_window: 4096 }, '"sliding_window"')
})

test('a rotation of half a head is refused where transformers 5 says it too', () => {
  refused(
    { ...gqaConfig, rope_parameters: { rope_type: 'default', rope_theta: 10000, partial_rotary_factor: 0.5 } },
    'partial_rotary_factor',
  )
  describe({ ...gqaConfig, rope_parameters: { rope_type: 'default', rope_theta: 10000, partial_rotary_factor: 1 } })
})

test('rope_scaling that is not known', () => {
  const types = ['Linear', '', 7, {}, ['linear'], 'constructor']
  for (const field of ['rope_scaling', 'rope_parameters'])
    for (const type of types) refused({ ...gqaConfig, [field]: { rope_type: type, factor: 2 } }, '"rope_scaling"')
  for (const type of ['longrope', 'su'])
    refused({ ...gqaConfig, rope_scaling: { type, factor: 4 } }, '"long_factor" in rope_scaling')
  refused({ ...gqaConfig, rope_scaling: { factor: 4 } }, '"rope_scaling"')
  refused({ ...gqaConfig, rope_scaling: {} }, '"rope_scaling"')
})

test('dynamic: no scaling, up to the context that is made for', () => {
  const scaled = (scaling: Config, change: Config = {}) => ({ ...gqaConfig, ...change, rope_scaling: scaling })
  assert.equal(specOf(scaled({ type: 'dynamic', factor: 2 })), specOf(gqaConfig))
  assert.equal(
    specOf(scaled({ rope_type: 'dynamic', factor: 2, original_max_position_embeddings: 64 })),
    specOf(gqaConfig),
  )
  refused(
    scaled({ type: 'dynamic', factor: 2, original_max_position_embeddings: 32 }),
    '"original_max_position_embeddings"',
  )
  refused(scaled({ type: 'dynamic', factor: 2, alpha: 1000 }), '"alpha"')
  refused(scaled({ type: 'dynamic' }), '"factor"')
  refused(
    edit(scaled({ type: 'dynamic', factor: 2 }), { max_position_embeddings: undefined }),
    '"max_position_embeddings"',
  )
})

test('the text part of Gemma 3 within a model that sees', () => {
  const text = { ...gqaConfig, architectures: ['Gemma3ForCausalLM'], head_dim: 8 }
  const seeing = { architectures: ['Gemma3ForConditionalGeneration'], text_config: text, eos_token_id: [1, 5] }
  const named = (names: string[]) =>
    describe({ ...seeing, text_config: { ...text, tie_word_embeddings: false } }, names).sources
  assert.equal(specOf(seeing), { ...specOf(text), eos: [1, 5], bos: 2 })
  assert.is(named([]).embed[0]?.tensor, 'model.language_model.embed_tokens.weight')
  assert.is(named(['model.language_model.norm.weight']).head[0]?.tensor, 'lm_head.weight')
  const old = named(['vision_tower.x', 'language_model.model.norm.weight'])
  assert.is(old.embed[0]?.tensor, 'language_model.model.embed_tokens.weight')
  assert.is(old.head[0]?.tensor, 'language_model.lm_head.weight')
  // Said of the whole model.
  const untied = { ...seeing, tie_word_embeddings: false, text_config: edit(text, { tie_word_embeddings: undefined }) }
  assert.is(specOf(untied).head.isTied, false)
  // What the class has by default: gemma-3-4b says no more than this.
  const { spec } = describe({
    ...seeing,
    text_config: { hidden_size: 2560, intermediate_size: 10240, num_hidden_layers: 34 },
  })
  assert.equal(
    [spec.vocabSize, attentionOf(spec).maps, attentionOf(spec).slots.k],
    [262208, 8, { heads: 4, dim: 256, isRotated: true, norm: { eps: 1e-6, spans: 'head' } }],
  )
  refused({ ...seeing, text_config: undefined }, '"text_config"')
})

test('DeepSeek-V3 as TransMLA writes it: every layer dense, the fields of the mixture null', () => {
  const config = {
    ...{ ...gqaConfig, architectures: ['DeepseekV3ForCausalLM'], q_lora_rank: 24, kv_lora_rank: 16 },
    ...{ qk_nope_head_dim: 8, qk_rope_head_dim: 4, v_head_dim: 8, first_k_dense_replace: 2, qk_latent_norm: true },
    ...{ n_routed_experts: null, n_shared_experts: null, moe_intermediate_size: null, num_experts_per_tok: null },
  }
  assert.is(specOf(config).kind, 'mla')
  assert.equal(specOf({ ...config, architectures: ['YoutuForCausalLM'] }), specOf(config))
  assert.is(
    specOf(edit({ ...config, architectures: ['YoutuForCausalLM'] }, { tie_word_embeddings: undefined })).head.isTied,
    true,
  )
  refused({ ...config, qk_latent_norm: false }, '"qk_latent_norm"')
})

test('longrope: a factor for each pair, and a context that ends where they do', () => {
  const [short, long] = [
    [1.5, 2, 2.5, 3],
    [4, 5, 6, 7],
  ]
  const scaling = { type: 'longrope', short_factor: short, long_factor: long }
  const config = { ...gqaConfig, max_position_embeddings: 640, rope_scaling: scaling }
  const own = specOf({ ...config, original_max_position_embeddings: 40 })
  assert.is(own.maxContext, 40)
  const plain = invFreq({ dim: 8, theta: 10000 })
  assert.equal(
    invFreq(ropeOf(own)),
    plain.map((frequency, pair) => frequency / (short[pair] as number)),
  )
  assert.ok(Math.abs((ropeOf(own).magnitude ?? 0) - Math.sqrt(1 + Math.log(16) / Math.log(40))) < 1e-12)
  // In the scaling alone, or nowhere: the model was not extended, and the factors hold everywhere.
  const inside = specOf({ ...config, rope_scaling: { ...scaling, original_max_position_embeddings: 640 } })
  assert.equal([inside.maxContext, ropeOf(inside).magnitude], [640, 1])
  assert.equal(specOf(config).layers, inside.layers)
  // transformers gives the top level priority.
  const both = {
    ...config,
    original_max_position_embeddings: 40,
    rope_scaling: { ...scaling, original_max_position_embeddings: 80 },
  }
  assert.equal(specOf(both).layers, own.layers)
  assert.is(ropeOf(specOf({ ...both, rope_scaling: { ...scaling, attention_factor: 1.25 } })).magnitude, 1.25)
  for (const factors of [undefined, [], [1, 2, 3], [1, 2, 3, 0], [1, 2, 3, '4'], 7, [1, 2, 3, 4, 5]])
    for (const name of ['short_factor', 'long_factor'])
      refused(
        { ...config, rope_scaling: { ...scaling, [name]: factors } },
        `"${name}" in rope_scaling`,
        '4 numbers above 0',
      )
})

test('the window of Mistral', () => {
  const windowOf = (change: Config) =>
    attentionOf(
      specOf({ ...gqaConfig, architectures: ['MistralForCausalLM'], max_position_embeddings: 8192, ...change }),
    ).window
  assert.is(windowOf({ sliding_window: 8 }), 8)
  assert.is(windowOf({ sliding_window: null }), undefined)
  assert.is(windowOf({}), 4096)
  assert.is(windowOf({ max_position_embeddings: 4096 }), undefined)
  for (const value of [0, -1, 1.5, '8', true])
    refused({ ...gqaConfig, architectures: ['MistralForCausalLM'], sliding_window: value }, '"sliding_window"')
  refused({ ...gqaConfig, architectures: ['MistralForCausalLM'], attention_bias: true }, '"attention_bias"')
})

test('an error names a field as the config does', () => {
  const gpt2 = { architectures: ['GPT2LMHeadModel'], n_embd: 15, n_head: 3, n_layer: 1, vocab_size: 9 }
  assert.is(specOf(gpt2).maxContext, 1024)
  refused({ ...gpt2, n_embd: 'x' }, '"n_embd"')
  refused({ ...gpt2, n_head: 4 }, '"n_embd"', 'n_head 4')
  refused({ ...gpt2, n_layer: 0 }, '"n_layer"')
  refused({ ...gpt2, n_positions: 0 }, '"n_positions"')
  refused({ ...gpt2, activation_function: 'relu' }, '"activation_function"')
})

test('GPT-2 with the prefix of transformers, and without', () => {
  const config = { architectures: ['GPT2LMHeadModel'], n_embd: 15, n_head: 3, n_layer: 1, vocab_size: 9 }
  const first = (names: string[]) => describe(config, names).sources.embed[0]?.tensor
  assert.is(first([]), 'transformer.wte.weight')
  assert.is(first(['transformer.wte.weight']), 'transformer.wte.weight')
  assert.is(first(['wte.weight']), 'wte.weight')
})

test('a rope_scaling that is no object is refused by its own name', () => {
  for (const value of [7, 'linear', [], true]) refused({ ...gqaConfig, rope_scaling: value }, 'rope_scaling')
  for (const value of [7, 'linear', [], true]) refused({ ...gqaConfig, rope_parameters: value }, 'rope_parameters')
})

const llama3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
}

test('rope_scaling with fields missing or wrong', () => {
  const fields = Object.keys(llama3).filter((name) => name !== 'rope_type')
  for (const field of fields)
    for (const value of [undefined, null, 0, -1, '8', true, {}])
      refused({ ...gqaConfig, rope_scaling: edit(llama3, { [field]: value }) }, `"${field}"`)
  refused({ ...gqaConfig, rope_scaling: { ...llama3, high_freq_factor: 1 } }, '"high_freq_factor"', 'above')
  refused({ ...gqaConfig, rope_scaling: { ...llama3, original_max_position_embeddings: 8192.5 } }, '"original_max')
  for (const value of [undefined, 0, -2, '2'])
    refused({ ...gqaConfig, rope_scaling: { type: 'linear', factor: value } }, '"factor"')
})

/** Frequencies after transformers, modeling_rope_utils.py, written out step by step. */
function reference(theta: number, dim: number, scaling?: Record<string, number | string>): number[] {
  const base = Array.from({ length: dim / 2 }, (_, i) => 1 / theta ** ((2 * i) / dim))
  const number = (name: string) => Number(scaling?.[name])
  if (!scaling) return base
  if (scaling.rope_type === 'linear') return base.map((f) => f / number('factor'))
  const context = number('original_max_position_embeddings')
  const [low, high] = [number('low_freq_factor'), number('high_freq_factor')]
  return base.map((f) => {
    const wavelen = (2 * Math.PI) / f
    const scaled = wavelen > context / low ? f / number('factor') : f
    const smooth = (context / wavelen - low) / (high - low)
    const smoothed = ((1 - smooth) * scaled) / number('factor') + smooth * scaled
    const isMedium = !(wavelen < context / high) && !(wavelen > context / low)
    return isMedium ? smoothed : scaled
  })
}

function isClose(found: ArrayLike<number>, expected: number[], what: string): void {
  assert.is(found.length, expected.length, what)
  expected.forEach((value, i) => {
    assert.ok(Math.abs((found[i] as number) - value) <= 1e-13 * value, `${what}: ${found[i]} is not ${value} at ${i}`)
  })
}

test('frequencies are those of transformers', () => {
  const linear = { rope_type: 'linear', factor: 2.5 }
  const cases: [Config, number[]][] = [
    [{}, reference(10000, 128)],
    [{ rope_theta: 500000 }, reference(500000, 128)],
    [{ rope_scaling: null, rope_theta: 1e6 }, reference(1e6, 128)],
    [{ rope_scaling: { rope_type: 'default' } }, reference(10000, 128)],
    [{ rope_scaling: linear, rope_theta: 5000 }, reference(5000, 128, linear)],
    [{ rope_scaling: { type: 'linear', factor: 2.5 } }, reference(10000, 128, linear)],
    [{ rope_scaling: llama3, rope_theta: 500000 }, reference(500000, 128, llama3)],
    [{ rope_parameters: { ...llama3, rope_theta: 500000 } }, reference(500000, 128, llama3)],
    [{ rope_parameters: { rope_type: 'default', rope_theta: 77 } }, reference(77, 128)],
    [{ rope_parameters: { rope_theta: 77 } }, reference(77, 128)],
    [{ rope_parameters: { ...linear, rope_theta: 77 } }, reference(77, 128, linear)],
  ]
  for (const [change, expected] of cases)
    isClose(invFreq(ropeOf(specOf({ ...gqaConfig, head_dim: 128, ...change }))), expected, JSON.stringify(change))
})

test('the three ranges of llama3 are all there, with numbers worked out by hand', () => {
  const found = invFreq(ropeOf(specOf({ ...gqaConfig, head_dim: 128, rope_scaling: llama3, rope_theta: 500000 })))
  const base = reference(500000, 128)
  const ratio = Array.from(found, (value, i) => value / (base[i] as number))
  assert.is(found[0], 1)
  assert.ok(ratio.slice(0, 29).every((r) => Math.abs(r - 1) < 1e-12))
  assert.ok(ratio.slice(29, 35).every((r) => r > 0.126 && r < 0.999))
  assert.ok(ratio.slice(35).every((r) => Math.abs(r - 1 / 8) < 1e-12))
  // i = 32: f = 500000^-½, wavelength 4442.88, smooth (8192 / 4442.88 − 1) / 3 = 0.281283
  assert.ok(Math.abs((ratio[32] as number) - (0.718717 / 8 + 0.281283)) < 1e-6)
})

test('the frequencies of a GTA model are head_dim wide', () => {
  const plan = planModel(describe(gta1b), 'q8')
  const tensor = plan.tensors.find(({ name }) => name === 'rotations.0.inv_freq')
  assert.equal(tensor?.shape, [32])
  isClose(invFreq(ropeOf(specOf(gta1b))), reference(10000, 64), 'GTA-1B')
})

test('matrices are never wider than the engine adds up exactly', () => {
  // W_O is as wide as all heads together, whatever hidden_size is.
  const wide = { num_attention_heads: 1024, num_key_value_heads: 1, head_dim: 256 }
  refused({ ...gqaConfig, ...wide }, 'num_attention_heads')
  describe({ ...gqaConfig, ...wide, head_dim: 128 })
})

test('fields of a config that every object has are not there', () => {
  // A field must be the file's own: JSON cannot take it from a prototype.
  refused(JSON.parse('{"__proto__":{"architectures":["LlamaForCausalLM"]}}'), '"architectures"')
  describe({ ...gqaConfig, ...JSON.parse('{"__proto__":{"hidden_act":"gelu"}}') })
})

test('a value nested too deep to print', () => {
  const deep = JSON.parse('['.repeat(200_000) + ']'.repeat(200_000))
  for (const field of ['vocab_size', 'rope_scaling', 'architectures', 'hidden_act', 'eos_token_id', 'attention_kind']) {
    let error: unknown
    try {
      describe({ ...gqaConfig, [field]: field === 'rope_scaling' ? { type: deep } : deep })
    } catch (caught) {
      error = caught
    }
    assert.instance(error, ModelError, `${field}: ${error}`)
  }
})

test('the largest latent model is described once, not once for each layer', () => {
  const sizes = {
    num_attention_heads: 1024,
    kv_lora_rank: 512,
    qk_nope_head_dim: 1024,
    qk_rope_head_dim: 64,
    v_head_dim: 128,
  }
  const { sources } = describe({
    ...gqaConfig,
    ...sizes,
    architectures: ['DeepseekV3ForCausalLM'],
    num_hidden_layers: 1024,
    q_lora_rank: null,
  })
  const [first, last] = [sources.layer(0), sources.layer(1023)]
  for (const name of ['in', 'encoder', 'decoder'] as const)
    assert.is(first[name]?.[0]?.rows, last[name]?.[0]?.rows, name)
})

test('frequencies that cannot be are refused where they are said', () => {
  for (const rope_theta of [1e-300, 1, 0.5]) refused({ ...gqaConfig, rope_theta }, '"rope_theta"')
  for (const rope_type of ['linear', 'llama3', 'yarn'])
    refused({ ...gqaConfig, rope_scaling: { ...llama3, rope_type, factor: 1e-300 } }, '"factor"')
})

test.run()
