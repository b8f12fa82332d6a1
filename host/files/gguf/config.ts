/**
 * The keys of a GGUF file as a config.json, architecture by architecture: what `models/` then reads as any other. What an
 * architecture's file keeps otherwise than the checkpoint that it was made from is its `Layout`.
 */
import { show } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import type { GgufFile, GgufValue } from './file.ts'

/** How the weights lie in the file. */
export interface Layout {
  /** Rows of q and k of each head in this order of pairs: 0, d/2, 1, d/2 + 1, …; the checkpoint rotates halves. */
  pairs?: { heads: number; kvHeads: number }
  /** Norms have w + 1, the checkpoint w. */
  normPlus?: number
  /** Names of tensors that mean something else than elsewhere: of those of a layer, and of the others. */
  names?: Record<string, string>
  outer?: Record<string, string>
  /** The same for tensors whose whole name behind the layer says it, in a checkpoint too. */
  whole?: Record<string, string>
  /** Numbers of these, by their names in the checkpoint, are −e^x there. */
  exponents?: string[]
  /** Weights of depthwise convolutions, by the names in the file: (channels, taps) there, (channels, 1, taps) in the checkpoint. */
  convolutions?: string[]
  /** Norms that are kept as they are, whatever `normPlus` says of the others. */
  plainNorms?: string[]
  /** kv_b of each head is kept as two matrices, that of the keys turned round. */
  isSplit?: boolean
}

/** Factors of the frequencies that are tensors in the file, by their names. */
export type RopeFactors = Partial<Record<'freqs' | 'factors_short' | 'factors_long', Float32Array>>

type Fields = Record<string, unknown>

interface Architecture {
  /** Class name in transformers. */
  name: string
  fields?: (keys: Keys) => Fields
  layout?: (keys: Keys) => Layout
}

const normedPairs = (keys: Keys): Layout => ({
  pairs: { heads: keys.integer('attention.head_count'), kvHeads: keys.integer('attention.head_count_kv') },
})

/** Norms before both blocks and behind them. */
const sandwich = { ffn_norm: 'pre_feedforward_layernorm', post_attention_norm: 'post_attention_layernorm' }

const gemma = (keys: Keys): Fields => ({
  hidden_activation: 'gelu_pytorch_tanh',
  sliding_window: keys.integer('attention.sliding_window'),
  // llama.cpp scales by the width of a head; the file has no word for anything else.
  query_pre_attn_scalar: keys.integer('attention.key_length'),
  final_logit_softcapping: keys.optional('final_logit_softcapping'),
})

/** Of a head of MLA: its un-rotated part, its rotated one, its value. */
const latentWidths = (keys: Keys, key: string, value: string): Fields => {
  const rope = keys.integer('rope.dimension_count')
  return {
    q_lora_rank: keys.optional('attention.q_lora_rank') ?? null,
    kv_lora_rank: keys.integer('attention.kv_lora_rank'),
    qk_rope_head_dim: rope,
    qk_nope_head_dim: keys.integer(key) - rope,
    v_head_dim: keys.integer(value),
    head_dim: undefined,
  }
}

/** For each layer, a head count of 0 where it does not attend. */
const attendingLayers = (keys: Keys): Fields => {
  const counts = keys.list('attention.head_count_kv')
  if (!counts) return {}
  if (counts.length !== keys.integer('block_count'))
    throw keys.refuse('attention.head_count_kv', 'one number for each layer')
  return {
    num_key_value_heads: Math.max(...counts),
    layer_types: counts.map((count) => (count === 0 ? 'conv' : 'full_attention')),
  }
}

const architectures: Record<string, Architecture> = {
  llama: { name: 'LlamaForCausalLM', layout: normedPairs },
  granite: {
    name: 'GraniteForCausalLM',
    fields: (keys) => ({
      embedding_multiplier: keys.number('embedding_scale', 1),
      residual_multiplier: keys.number('residual_scale', 1),
      attention_multiplier: keys.number('attention.scale', 1),
      logits_scaling: keys.number('logit_scale', 1),
    }),
    layout: normedPairs,
  },
  olmo2: {
    name: 'Olmo2ForCausalLM',
    layout: () => ({ names: { post_attention_norm: 'post_attention_layernorm' } }),
  },
  phi3: {
    name: 'Phi3ForCausalLM',
    fields: (keys) => ({
      partial_rotary_factor:
        keys.integer('rope.dimension_count') /
        (keys.integer('embedding_length') / keys.integer('attention.head_count')),
      sliding_window: keys.integer('attention.sliding_window', 0) || null,
    }),
    layout: () => ({ names: { attn_qkv: 'self_attn.qkv_proj', ffn_up: 'mlp.gate_up_proj' } }),
  },
  gemma2: {
    name: 'Gemma2ForCausalLM',
    fields: (keys) => ({ ...gemma(keys), attn_logit_softcapping: keys.optional('attn_logit_softcapping') }),
    layout: () => ({ normPlus: 1, names: sandwich }),
  },
  minicpm3: {
    name: 'MiniCPM3ForCausalLM',
    fields: (keys) => ({
      ...latentWidths(keys, 'attention.key_length', 'attention.value_length'),
      // Constants of llama.cpp: the file does not say them.
      scale_emb: 12,
      scale_depth: 1.4,
      dim_model_base: 256,
    }),
  },
  deepseek2: {
    name: 'YoutuForCausalLM',
    fields: (keys) => {
      if (keys.integer('expert_count', 0) > 0)
        throw keys.refuse('expert_count', '0: mixtures of experts are not supported')
      return {
        ...latentWidths(keys, 'attention.key_length_mla', 'attention.value_length_mla'),
        num_key_value_heads: keys.integer('attention.head_count'),
      }
    },
    layout: () => ({ isSplit: true }),
  },
  lfm2: {
    name: 'Lfm2ForCausalLM',
    fields: (keys) => ({
      ...attendingLayers(keys),
      norm_eps: shortest(keys.number('attention.layer_norm_rms_epsilon', 1e-5)),
      conv_L_cache: keys.integer('shortconv.l_cache'),
      // The width is that of the matrices.
      block_auto_adjust_ff_dim: false,
      conv_bias: keys.gguf.tensors.has('blk.0.shortconv.conv.bias'),
    }),
    layout: () => ({
      convolutions: ['shortconv.conv'],
      names: {
        attn_norm: 'operator_norm',
        ffn_norm: 'ffn_norm',
        ffn_gate: 'feed_forward.w1',
        ffn_up: 'feed_forward.w3',
        ffn_down: 'feed_forward.w2',
        attn_output: 'self_attn.out_proj',
        attn_q_norm: 'self_attn.q_layernorm',
        attn_k_norm: 'self_attn.k_layernorm',
        'shortconv.conv': 'conv.conv',
        'shortconv.in_proj': 'conv.in_proj',
        'shortconv.out_proj': 'conv.out_proj',
      },
      outer: { token_embd_norm: 'model.embedding_norm', output_norm: 'model.embedding_norm' },
    }),
  },
  qwen35: {
    name: 'Qwen3_5ForCausalLM',
    fields: (keys) => {
      const valueHeads = keys.integer('ssm.time_step_rank')
      const interval = keys.integer('full_attention_interval', 4)
      return {
        // Layers that predict further tokens come last, and are left out.
        num_hidden_layers: keys.integer('block_count') - keys.integer('nextn_predict_layers', 0),
        partial_rotary_factor: keys.integer('rope.dimension_count') / keys.integer('attention.key_length'),
        full_attention_interval: interval,
        linear_conv_kernel_dim: keys.integer('ssm.conv_kernel'),
        linear_num_key_heads: keys.integer('ssm.group_count'),
        linear_key_head_dim: keys.integer('ssm.state_size'),
        linear_num_value_heads: valueHeads,
        linear_value_head_dim: keys.integer('ssm.inner_size') / valueHeads,
        // Value heads of the file go through the key heads over and over, those of the checkpoint stay with one.
        linear_value_heads_tiled: true,
        attention_bias: keys.gguf.tensors.has(`blk.${interval - 1}.attn_output.bias`),
      }
    },
    layout: () => ({
      normPlus: 1,
      plainNorms: ['ssm_norm'],
      convolutions: ['ssm_conv1d'],
      names: {
        attn_qkv: 'linear_attn.in_proj_qkv',
        attn_gate: 'linear_attn.in_proj_z',
        ssm_beta: 'linear_attn.in_proj_b',
        ssm_alpha: 'linear_attn.in_proj_a',
        ssm_conv1d: 'linear_attn.conv1d',
        ssm_norm: 'linear_attn.norm',
        ssm_out: 'linear_attn.out_proj',
      },
      whole: { ssm_a: 'linear_attn.A_log', 'ssm_dt.bias': 'linear_attn.dt_bias' },
      exponents: ['ssm_a'],
    }),
  },
  qwen2: { name: 'Qwen2ForCausalLM' },
  qwen3: { name: 'Qwen3ForCausalLM' },
  gemma3: {
    name: 'Gemma3ForCausalLM',
    fields: (keys) => ({
      ...gemma(keys),
      sliding_window_pattern: keys.integer('attention.sliding_window_pattern', 6),
      rope_local_base_freq: keys.number('rope.freq_base_swa', 10000),
    }),
    layout: () => ({ normPlus: 1, names: sandwich }),
  },
}

/** Values by the part of their key behind the architecture. */
class Keys {
  readonly gguf: GgufFile
  readonly architecture: string

  constructor(gguf: GgufFile) {
    this.gguf = gguf
    const found = gguf.values.get('general.architecture')
    if (typeof found !== 'string') throw errors.badFile(gguf.path, '"general.architecture"', 'a text', show(found))
    this.architecture = found
  }

  get(name: string): GgufValue | undefined {
    return this.gguf.values.get(`${this.architecture}.${name}`)
  }

  /** A finite number; `fallback` if there is none. */
  number(name: string, fallback?: number): number {
    const value = this.get(name) ?? fallback
    const found = typeof value === 'bigint' ? Number(value) : value
    if (typeof found !== 'number' || !Number.isFinite(found)) throw this.refuse(name, 'a number')
    return found
  }

  integer(name: string, fallback?: number): number {
    const found = this.number(name, fallback)
    if (!Number.isSafeInteger(found) || found < 0) throw this.refuse(name, 'a whole number')
    return found
  }

  /** A list of whole numbers; undefined where the value is none. */
  list(name: string): number[] | undefined {
    const value = this.get(name)
    if (typeof value !== 'object' || value.length === 0 || value.length > 1024) return undefined
    const numbers = Array.from(value as ArrayLike<unknown>, Number)
    if (numbers.some((one) => !Number.isSafeInteger(one) || one < 0)) throw this.refuse(name, 'whole numbers')
    return numbers
  }

  /** A number, or nothing. */
  optional(name: string): number | undefined {
    return this.get(name) === undefined ? undefined : this.number(name)
  }

  refuse(name: string, expected: string): Error {
    return errors.badFile(this.gguf.path, `"${this.architecture}.${name}"`, expected, showValue(this.get(name)))
  }
}

function showValue(value: GgufValue | undefined): string {
  return typeof value === 'object' && typeof value.length === 'number' ? `a list of ${value.length}` : String(value)
}

/**
 * Throws NOT_A_MODEL for an architecture that is not read, BAD_FILE for keys that are missing or wrong. `ropeFactors`: the numbers of
 * rope_freqs.weight and its like.
 */
export function configOf(gguf: GgufFile, ropeFactors: RopeFactors = {}): { config: Fields; layout: Layout } {
  const keys = new Keys(gguf)
  const architecture = Object.hasOwn(architectures, keys.architecture) ? architectures[keys.architecture] : undefined
  if (!architecture)
    throw errors.otherKind(
      gguf.path,
      `a GGUF file of one of the architectures ${Object.keys(architectures).join(', ')}`,
      show(keys.architecture),
      'this model is not supported as GGUF, its Hugging Face directory may be',
    )
  const layout = architecture.layout?.(keys) ?? {}
  const fields = { ...commonFields(keys), ...ropeScaling(keys, ropeFactors), ...architecture.fields?.(keys) }
  if (fields.num_key_value_heads === undefined) throw keys.refuse('attention.head_count_kv', 'the same for all layers')
  const config = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
  return { config: { architectures: [architecture.name], ...config }, layout }
}

function commonFields(keys: Keys): Fields {
  const { tensors, path } = keys.gguf
  const vocabulary = tensors.get('token_embd.weight')?.shape[0]
  if (vocabulary === undefined) throw errors.missingTensors(path, ['token_embd.weight'])
  const heads = keys.integer('attention.head_count')
  const hidden = keys.integer('embedding_length')
  const eps = keys.optional('attention.layer_norm_rms_epsilon')
  return {
    vocab_size: vocabulary,
    hidden_size: hidden,
    intermediate_size: keys.integer('feed_forward_length'),
    num_hidden_layers: keys.integer('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads(keys, heads),
    head_dim: keys.integer('attention.key_length', hidden / heads),
    max_position_embeddings: keys.integer('context_length'),
    rms_norm_eps: eps === undefined ? undefined : shortest(eps),
    rope_theta: keys.number('rope.freq_base', 10000),
    tie_word_embeddings: !tensors.has('output.weight'),
    attention_bias: tensors.has('blk.0.attn_output.bias'),
    qkv_bias: tensors.has('blk.0.attn_q.bias'),
    ...tokenIds(keys.gguf),
  }
}

/** One number for all layers; undefined where they differ, of which an architecture has to say what it means. */
function keyValueHeads(keys: Keys, heads: number): number | undefined {
  const counts = keys.list('attention.head_count_kv')
  if (!counts) return keys.integer('attention.head_count_kv', heads)
  return counts.every((count) => count === counts[0]) ? counts[0] : undefined
}

/** 9.999999974752427e-7 was 1e-6 before it was an f32. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === Math.fround(value)) return short
  }
  return value
}

function ropeScaling(keys: Keys, { freqs, factors_short: short, factors_long: long }: RopeFactors): Fields {
  const original = keys.optional('rope.scaling.original_context_length')
  const context = original === undefined ? {} : { original_max_position_embeddings: original }
  if (short && long) {
    // What llama.cpp takes where the file says nothing.
    const attention = { attention_factor: keys.number('rope.scaling.attn_factor', 1) }
    const factors = { short_factor: [...short], long_factor: [...long] }
    return { ...context, rope_scaling: { type: 'longrope', ...factors, ...context, ...attention } }
  }
  if (freqs) return { rope_scaling: llama3Scaling(keys, freqs) }
  const type = keys.get('rope.scaling.type') ?? 'none'
  if (type === 'none') return {}
  if (type !== 'linear' && type !== 'yarn') throw keys.refuse('rope.scaling.type', 'none, linear or yarn')
  const factor = keys.number('rope.scaling.factor')
  return { rope_scaling: { type, factor, ...(type === 'yarn' ? context : {}) } }
}

/** Contexts that models with this scaling were first trained for. */
const originalContexts = [8192, 4096, 16384, 32768, 2048, 64]
const [LOW, HIGH] = [1, 4]

/**
 * The rule behind a table of factors, one for each pair of a head: Llama 3's, with the bounds that all models have that use
 * it. That it makes this very table is checked.
 */
function llama3Scaling(keys: Keys, factors: Float32Array): Fields {
  const theta = keys.number('rope.freq_base', 10000)
  const factor = shortest(Math.max(...factors))
  for (const original of originalContexts) {
    const isSame = factors.every((found, i) => {
      const turns = (original * theta ** (-i / factors.length)) / (2 * Math.PI)
      const share = Math.min(Math.max((turns - LOW) / (HIGH - LOW), 0), 1)
      return Math.abs(found * ((1 - share) / factor + share) - 1) < 1e-4
    })
    if (isSame)
      return {
        rope_type: 'llama3',
        factor,
        low_freq_factor: LOW,
        high_freq_factor: HIGH,
        original_max_position_embeddings: original,
      }
  }
  throw errors.badFile(keys.gguf.path, 'tensor "rope_freqs.weight"', "a table of Llama 3's scaling", 'another one')
}

function tokenIds({ values }: GgufFile): Fields {
  const id = (name: string) => values.get(`tokenizer.ggml.${name}_token_id`)
  const ends = [id('eos'), id('eot'), id('eom')].filter((found) => typeof found === 'number')
  return { ...(typeof id('bos') === 'number' ? { bos_token_id: id('bos') } : {}), eos_token_id: [...new Set(ends)] }
}
