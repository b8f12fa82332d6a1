/**
 * Gemma 3, text only (transformers `gemma3_text`). Two kinds of layers: most look back as far as a window and rotate by a
 * base of their own, every sixth (the last of each group) sees everything. Four norms per layer, those behind a branch act
 * before it is added; queries and keys are normed head by head. Every norm keeps w − 1.
 *
 *     scale of the scores = query_pre_attn_scalar^−1/2          embedding · sqrt(hidden_size), the tied head without it
 *
 * `rope_scaling` is for the full layers alone. `attn_logit_softcapping` is in some configs, and the model never applies it.
 *
 * Of a checkpoint that also sees (`gemma3`, Gemma3ForConditionalGeneration) the text part runs: its config is in `text_config`,
 * without what the class has by default, and its tensors have another prefix. The others are left out.
 */
import type { Rope } from '../attention.ts'
import type { Config } from '../config.ts'
import { type Folding, rmsNorm, smallDecoder, textPartNames } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import type { ModelDescription } from '../spec.ts'
import { type GemmaWay, gemmaDecoder } from './gemma2.ts'

const small = { architectures: ['Gemma3ForCausalLM'] }
const SEEING = 'Gemma3ForConditionalGeneration'

/** Gemma3TextConfig of transformers, as far as a text_config may leave it out. */
const classDefaults = {
  vocab_size: 262208,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  bos_token_id: 2,
  eos_token_id: 1,
}

export const family: Family = {
  name: 'gemma3',
  kinds: [],
  architectures: ['Gemma3ForCausalLM', SEEING],
  describe: (config, tensors) => {
    if (!config.architectures().includes(SEEING)) return describe(config)
    return describe(config.nested('text_config', classDefaults), textPartNames(tensors))
  },
}

export const shapes: Shapes = () => ({
  'gemma3, a window of 5, 3 heads of 6': {
    ...smallDecoder(small, 22, 31, 43),
    num_hidden_layers: 3,
    num_attention_heads: 3,
    num_key_value_heads: 1,
    head_dim: 6,
    query_pre_attn_scalar: 10,
    sliding_window: 5,
    sliding_window_pattern: 2,
    rope_local_base_freq: 100,
  },
  'gemma3, a window of a page, capped logits, untied': {
    ...smallDecoder(small, 34, 18, 37),
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 10,
    query_pre_attn_scalar: 7,
    sliding_window: 64,
    layer_types: ['full_attention', 'sliding_attention', 'sliding_attention'],
    final_logit_softcapping: 2,
    attention_bias: true,
    tie_word_embeddings: false,
  },
  'gemma3 within a model that sees, 2 heads of 6, untied': {
    architectures: [SEEING],
    vision_config: {},
    // Not read: the text part has its own.
    vocab_size: 43,
    eos_token_id: [1, 6],
    text_config: {
      ...smallDecoder(small, 22, 31, 43),
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 6,
      query_pre_attn_scalar: 6,
      sliding_window: 5,
      sliding_window_pattern: 2,
      tie_word_embeddings: false,
    },
  },
})

function describe(config: Config, names: Folding = {}): ModelDescription {
  const pattern = config.has('sliding_window_pattern') ? 'sliding_window_pattern' : '_sliding_window_pattern'
  const group = config.integer(pattern, { fallback: 6 })
  const { eps } = rmsNorm(config)
  const way: GemmaWay = {
    attention: (isSliding, dim) => ({
      rope: isSliding ? slidingRope(config, dim) : fullRope(config, dim),
      norm: { eps, spans: 'head' },
    }),
    slides: (index) => (index + 1) % group !== 0,
    softcap: config.has('final_logit_softcapping') ? config.positive('final_logit_softcapping') : undefined,
    maxContext: 131072,
  }
  return gemmaDecoder(config, way, names)
}

/** transformers 4: rope_theta and rope_scaling; 5: rope_parameters by layer type. */
function fullRope(config: Config, dim: number): Rope {
  const own = parametersOf(config, 'full_attention')
  const theta = (own?.has('rope_theta') ? own : config).above('rope_theta', 1.001, 1e6)
  const scaling = config.has('rope_scaling') ? config.child('rope_scaling') : own
  return { dim, theta, ...(scaling && config.ropeScaling(scaling, scaling === own, dim)) }
}

/** transformers 4 has no word for a scaling here, and never scales. */
function slidingRope(config: Config, dim: number): Rope {
  const own = parametersOf(config, 'sliding_attention')
  const theta = own?.has('rope_theta')
    ? own.above('rope_theta', 1.001)
    : config.above('rope_local_base_freq', 1.001, 1e4)
  return { dim, theta, ...(own && config.ropeScaling(own, true, dim)) }
}

function parametersOf(config: Config, type: string): Config | undefined {
  const parameters = config.has('rope_parameters') ? config.child('rope_parameters') : undefined
  if (parameters?.has('rope_theta') || parameters?.has('rope_type'))
    return type === 'full_attention' ? parameters : undefined
  return parameters?.has(type) ? parameters.child(type) : undefined
}
