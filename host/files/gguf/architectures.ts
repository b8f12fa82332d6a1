/**
 * The architectures of llama.cpp that are read: the class that each is in transformers, the fields of its config.json from
 * the keys of the file, and how its tensors lie. What all of them have is in config.ts. The names of keys are those of
 * llama.cpp's llama-arch.cpp and gguf-py's constants.py; what an absent one means is in its src/models.
 */
import { largest } from '../../../models/index.ts'
import type { Keys } from './keys.ts'
import { gpt2Names, gptNeoXNames, type Layout, llamaNames } from './layout.ts'

export type Fields = Record<string, unknown>

export interface Architecture {
  /** Class name in transformers. */
  name: string
  /** Where it is not the same for all files. */
  classOf?: (keys: Keys) => string
  fields?: (keys: Keys) => Fields
  layout?: (keys: Keys) => Partial<Layout>
}

const inPairs = (keys: Keys): Partial<Layout> => {
  const heads = keys.integer('attention.head_count')
  // A list of the same number for every layer, or of others, which is refused.
  const kvHeads = keys.list('attention.head_count_kv')?.[0] ?? keys.integer('attention.head_count_kv', heads)
  return { pairs: { heads, kvHeads } }
}

const headDim = (keys: Keys) =>
  keys.integer('attention.key_length', keys.integer('embedding_length') / keys.integer('attention.head_count'))

/** Norms behind both blocks; before them too in Gemma. */
const normsBehind = { post_attention_norm: 'post_attention_layernorm', post_ffw_norm: 'post_feedforward_layernorm' }
const gemmaLayout = (): Partial<Layout> => ({
  normPlus: 1,
  names: llamaNames({ ...normsBehind, ffn_norm: 'pre_feedforward_layernorm' }),
})

const gemma = (keys: Keys): Fields => ({
  hidden_activation: 'gelu_pytorch_tanh',
  sliding_window: keys.integer('attention.sliding_window'),
  // llama.cpp scales by the width of a head; the file has no word for anything else.
  query_pre_attn_scalar: keys.integer('attention.key_length'),
  final_logit_softcapping: keys.optional('final_logit_softcapping'),
})

/** Of a head of MLA: its un-rotated part, its rotated one, its value. */
const latentWidths = (keys: Keys): Fields => {
  const rope = keys.integer('rope.dimension_count')
  // Files with the absorbed attention say the widths of what is cached under the usual names.
  const own = keys.get('attention.key_length_mla') === undefined ? '' : '_mla'
  const usual = keys.integer('embedding_length') / keys.integer('attention.head_count')
  return {
    q_lora_rank: keys.optional('attention.q_lora_rank') ?? null,
    kv_lora_rank: keys.integer('attention.kv_lora_rank'),
    qk_rope_head_dim: rope,
    qk_nope_head_dim: keys.integer(`attention.key_length${own}`) - rope,
    v_head_dim: keys.integer(`attention.value_length${own}`, own ? undefined : usual),
    head_dim: undefined,
  }
}

/** The part of a head that is rotated. Its product with the width, rounded down, is the number in the file. */
function rotatedPart(keys: Keys): number {
  const [rotated, dim] = [
    keys.integer('rope.dimension_count'),
    keys.integer('embedding_length') / keys.integer('attention.head_count'),
  ]
  const part = rotated / dim
  return Math.floor(dim * part) === rotated ? part : (rotated + 0.5) / dim
}

/** Factors that MiniCPM's files may leave out: those of its first models, constants of llama.cpp. */
const minicpm = (keys: Keys): Fields => {
  const [layers, hidden] = [keys.integer('block_count'), keys.integer('embedding_length')]
  const [residual, logits] = [keys.optional('residual_scale'), keys.optional('logit_scale')]
  return {
    scale_emb: keys.number('embedding_scale', 12),
    scale_depth: residual === undefined ? 1.4 : residual * Math.sqrt(layers),
    dim_model_base: logits === undefined ? 256 : hidden / logits,
  }
}

/** A list of what each layer is, or every how many layers one sees all; absent: four, a constant of llama.cpp. */
const exaoneWindows = (keys: Keys): Fields => {
  const window = keys.integer('attention.sliding_window', 0)
  const pattern = keys.get('attention.sliding_window_pattern')
  if (window === 0) return { sliding_window: null }
  if (!(pattern instanceof Uint8Array))
    return {
      sliding_window: window,
      sliding_window_pattern: keys.integer('attention.sliding_window_pattern', 4),
    }
  const types = Array.from(pattern, (slides) => (slides ? 'sliding_attention' : 'full_attention'))
  return { sliding_window: window, layer_types: types }
}

/** GPT-2's own names for what every config has. */
const gpt2 = (keys: Keys): Fields => ({
  n_embd: keys.integer('embedding_length'),
  n_layer: keys.integer('block_count'),
  n_head: keys.integer('attention.head_count'),
  n_positions: keys.integer('context_length'),
  n_inner: keys.integer('feed_forward_length'),
  layer_norm_epsilon: keys.number('attention.layer_norm_epsilon'),
  activation_function: 'gelu_new',
})

/** For each layer, a head count of 0 where it does not attend. */
const attendingLayers = (keys: Keys): Fields => {
  const counts = keys.list('attention.head_count_kv')
  if (!counts) return {}
  if (counts.length !== keys.integer('block_count'))
    throw keys.refuse('attention.head_count_kv', 'one number for each layer')
  return {
    num_key_value_heads: largest(counts),
    layer_types: counts.map((count) => (count === 0 ? 'conv' : 'full_attention')),
  }
}

export const architectures: Record<string, Architecture> = {
  // Llama, Mistral, SmolLM 2, TinyLlama, MiniCPM 5. llama.cpp itself has no window here.
  llama: {
    name: 'LlamaForCausalLM',
    classOf: (keys) => (keys.integer('attention.sliding_window', 0) > 0 ? 'MistralForCausalLM' : 'LlamaForCausalLM'),
    fields: (keys) => ({ sliding_window: keys.integer('attention.sliding_window', 0) || undefined }),
    layout: inPairs,
  },
  granite: {
    name: 'GraniteForCausalLM',
    fields: (keys) => ({
      embedding_multiplier: keys.number('embedding_scale', 1),
      residual_multiplier: keys.number('residual_scale', 1),
      attention_multiplier: keys.number('attention.scale', headDim(keys) ** -0.5),
      logits_scaling: keys.number('logit_scale'),
      position_embedding_type: keys.boolean('rope.scaling.finetuned', true) ? 'rope' : 'nope',
    }),
    layout: inPairs,
  },
  minicpm: { name: 'MiniCPMForCausalLM', fields: minicpm, layout: inPairs },
  // The interval of layers that do not rotate is a constant of llama.cpp, the default of the class.
  smollm3: { name: 'SmolLM3ForCausalLM', layout: inPairs },
  // Pairs of neighbours in the checkpoint too.
  ernie4_5: { name: 'Ernie4_5ForCausalLM', fields: (keys) => ({ use_bias: keys.hasTensor('attn_q.bias') }) },
  // The factor of the base is in the base.
  'hunyuan-dense': {
    name: 'HunYuanDenseV1ForCausalLM',
    layout: () => ({
      names: llamaNames({ attn_q_norm: 'self_attn.query_layernorm', attn_k_norm: 'self_attn.key_layernorm' }),
    }),
  },
  olmo2: { name: 'Olmo2ForCausalLM', layout: () => ({ names: llamaNames(normsBehind) }) },
  exaone4: {
    name: 'Exaone4ForCausalLM',
    fields: exaoneWindows,
    layout: () => ({ names: llamaNames(normsBehind) }),
  },
  phi3: {
    name: 'Phi3ForCausalLM',
    fields: (keys) => ({
      partial_rotary_factor: rotatedPart(keys),
      sliding_window: keys.integer('attention.sliding_window', 0) || null,
    }),
    layout: () => ({ names: llamaNames({ attn_qkv: 'self_attn.qkv_proj', ffn_up: 'mlp.gate_up_proj' }) }),
  },
  gemma2: {
    name: 'Gemma2ForCausalLM',
    fields: (keys) => ({ ...gemma(keys), attn_logit_softcapping: keys.optional('attn_logit_softcapping') }),
    layout: gemmaLayout,
  },
  gemma3: {
    name: 'Gemma3ForCausalLM',
    fields: (keys) => ({
      ...gemma(keys),
      sliding_window_pattern: keys.integer('attention.sliding_window_pattern', 6),
      rope_local_base_freq: keys.number('rope.freq_base_swa', 10000),
    }),
    layout: gemmaLayout,
  },
  minicpm3: {
    name: 'MiniCPM3ForCausalLM',
    fields: (keys) => ({
      ...latentWidths(keys),
      // Constants of llama.cpp: the file does not say them.
      scale_emb: 12,
      scale_depth: 1.4,
      dim_model_base: 256,
    }),
  },
  plm: {
    name: 'PLMForCausalLM',
    fields: (keys) => ({
      ...latentWidths(keys),
      hidden_act: 'relu2',
    }),
  },
  deepseek2: {
    name: 'YoutuForCausalLM',
    fields: (keys) => ({
      ...latentWidths(keys),
      num_key_value_heads: keys.integer('attention.head_count'),
    }),
    layout: () => ({ isSplit: true }),
  },
  lfm2: {
    name: 'Lfm2ForCausalLM',
    fields: (keys) => ({
      ...attendingLayers(keys),
      norm_eps: keys.number('attention.layer_norm_rms_epsilon', 1e-5),
      conv_L_cache: keys.integer('shortconv.l_cache'),
      // The width is that of the matrices.
      block_auto_adjust_ff_dim: false,
      conv_bias: keys.hasTensor('shortconv.conv.bias'),
    }),
    layout: () => ({
      convolutions: ['shortconv.conv'],
      names: llamaNames(
        {
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
        { outer: { token_embd_norm: 'model.embedding_norm', output_norm: 'model.embedding_norm' } },
      ),
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
      names: llamaNames(
        {
          attn_qkv: 'linear_attn.in_proj_qkv',
          attn_gate: 'linear_attn.in_proj_z',
          ssm_beta: 'linear_attn.in_proj_b',
          ssm_alpha: 'linear_attn.in_proj_a',
          ssm_conv1d: 'linear_attn.conv1d',
          ssm_norm: 'linear_attn.norm',
          ssm_out: 'linear_attn.out_proj',
        },
        { whole: { ssm_a: 'linear_attn.A_log', 'ssm_dt.bias': 'linear_attn.dt_bias' } },
      ),
      exponents: ['ssm_a'],
    }),
  },
  qwen2: { name: 'Qwen2ForCausalLM' },
  qwen3: { name: 'Qwen3ForCausalLM' },
  gptneox: {
    name: 'GPTNeoXForCausalLM',
    fields: (keys) => ({
      rotary_pct: rotatedPart(keys),
      layer_norm_eps: keys.number('attention.layer_norm_epsilon'),
      use_parallel_residual: keys.boolean('use_parallel_residual', true),
      attention_bias: keys.hasTensor('attn_qkv.bias'),
      hidden_act: 'gelu',
    }),
    layout: (keys) => ({ names: gptNeoXNames, fusedHeads: keys.integer('attention.head_count') }),
  },
  gpt2: { name: 'GPT2LMHeadModel', fields: gpt2, layout: () => ({ names: gpt2Names, isTransposed: true }) },
}
