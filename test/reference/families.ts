/**
 * What each class of transformers does otherwise than Llama, from its config.json, for the literal evaluation in
 * reference.ts. Nothing of models/: what a field means is said twice. Llama itself is the default of every field.
 */
import { gpt2Names, lfm2Names, neoxNames, renamed } from './names.ts'
import type { Weights } from './reference.ts'

type Config = Record<string, unknown>

/** What is around the attention, the same in every layer. */
export interface Literal {
  eps: number
  /** Norms keep w less this. */
  normPlus: number
  embeddingScale: number
  /** Names of the norms of a layer that there are. */
  norms: { mixerIn?: string; mixerOut?: string; ffnIn?: string; ffnOut?: string }
  activation: 'silu' | 'gelu' | 'gelu-tanh' | 'relu2'
  isGated: boolean
  /** Both blocks read the same x. */
  isParallel: boolean
  hasPositions: boolean
  /** Of what a block adds to the residual stream. */
  branchFactor: number
  logitFactor: number
  logitCap: number
  attention(layer: number): LiteralAttention
  /** What looks at other tokens. */
  mixer(layer: number): 'attention' | 'conv' | 'delta'
}

export interface LiteralAttention {
  window: number
  theta: number
  /** Rotated entries at the start of each head; undefined: all. */
  rotated: number | undefined
  /** Neighbours are rotated as pairs, instead of halves. */
  isPaired: boolean
  /** What each pair's frequency is divided by. */
  factors: number[] | undefined
  /** Of cos and sin. */
  magnitude: number
  /** Undefined: head width^−1/2. */
  scale: number | undefined
  softcap: number
  /** RMSNorm of queries and keys: of each head, or of the whole projection; before they are rotated, or behind. */
  norm: 'none' | 'head' | 'all' | 'behind'
  /** Behind the query of a head q_proj has a gate of its average. */
  hasGate?: boolean
}

const llama = (config: Config): Literal => ({
  eps: Number(config.rms_norm_eps),
  normPlus: 0,
  embeddingScale: 1,
  norms: { mixerIn: 'input_layernorm', ffnIn: 'post_attention_layernorm' },
  activation: 'silu',
  isGated: true,
  isParallel: false,
  hasPositions: false,
  branchFactor: 1,
  logitFactor: 1,
  logitCap: 0,
  attention: () => plain(config),
  mixer: () => 'attention',
})

const plain = (config: Config): LiteralAttention => ({
  window: Number.POSITIVE_INFINITY,
  theta: Number(config.rope_theta ?? 10000),
  rotated: undefined,
  isPaired: false,
  factors: undefined,
  magnitude: 1,
  scale: undefined,
  softcap: 0,
  norm: 'none',
})

const lateWindow = (config: Config, layer: number) =>
  config.use_sliding_window === true && layer >= Number(config.max_window_layers)
    ? Number(config.sliding_window)
    : Number.POSITIVE_INFINITY

const sandwich = {
  mixerIn: 'input_layernorm',
  mixerOut: 'post_attention_layernorm',
  ffnIn: 'pre_feedforward_layernorm',
  ffnOut: 'post_feedforward_layernorm',
}

const gemma = (config: Config) => ({
  normPlus: 1,
  embeddingScale: Number(config.hidden_size) ** 0.5,
  norms: sandwich,
  activation: 'gelu-tanh' as const,
  logitCap: Number(config.final_logit_softcapping ?? 0),
})

const minicpm = (config: Config) => ({
  embeddingScale: Number(config.scale_emb),
  branchFactor: Number(config.scale_depth) / Number(config.num_hidden_layers) ** 0.5,
  logitFactor: Number(config.dim_model_base) / Number(config.hidden_size),
})

/** Texts of the cases are no longer than the original context. */
function longRope(config: Config, original: number) {
  const { short_factor: factors } = (config.rope_scaling ?? {}) as { short_factor?: number[] }
  if (!factors) return {}
  const ratio = Number(config.max_position_embeddings) / original
  return { factors, magnitude: Math.sqrt(1 + Math.log(ratio) / Math.log(original)) }
}

/** YaRN: pairs that turn seldom within the original context are slowed down by `factor`, those that turn often stay. */
function yarn(dim: number, { rope_theta, factor, original_max_position_embeddings: original }: Record<string, number>) {
  const theta = Number(rope_theta)
  const pairThatTurns = (times: number) =>
    (dim * Math.log(Number(original) / (times * 2 * Math.PI))) / (2 * Math.log(theta))
  const [low, high] = [Math.max(0, Math.floor(pairThatTurns(32))), Math.min(dim - 1, Math.ceil(pairThatTurns(1)))]
  const factors = Array.from({ length: dim / 2 }, (_, pair) => {
    const slowed = Math.min(1, Math.max(0, (pair - low) / (high - low)))
    return 1 / (slowed / Number(factor) + 1 - slowed)
  })
  return { theta, factors }
}

/** By class name: what differs. */
const classes: Record<string, (config: Config) => Partial<Literal>> = {
  Qwen2ForCausalLM: (config) => ({ attention: (layer) => ({ ...plain(config), window: lateWindow(config, layer) }) }),
  Qwen3ForCausalLM: (config) => ({
    attention: (layer) => ({ ...plain(config), norm: 'head', window: lateWindow(config, layer) }),
  }),
  Gemma3ForCausalLM: (config) => ({
    ...gemma(config),
    attention: (layer) => {
      const types = config.layer_types as string[] | undefined
      const group = Number(config.sliding_window_pattern ?? 6)
      const slides = types ? types[layer] === 'sliding_attention' : (layer + 1) % group !== 0
      return {
        ...plain(config),
        norm: 'head',
        window: slides ? Number(config.sliding_window) : Number.POSITIVE_INFINITY,
        theta: slides ? Number(config.rope_local_base_freq ?? 10000) : Number(config.rope_theta),
        scale: Number(config.query_pre_attn_scalar) ** -0.5,
      }
    },
  }),
  Gemma2ForCausalLM: (config) => ({
    ...gemma(config),
    attention: (layer) => {
      const types = config.layer_types as string[] | undefined
      const slides = types ? types[layer] === 'sliding_attention' : layer % 2 === 0
      return {
        ...plain(config),
        window: slides ? Number(config.sliding_window) : Number.POSITIVE_INFINITY,
        scale: Number(config.query_pre_attn_scalar) ** -0.5,
        softcap: Number(config.attn_logit_softcapping ?? 0),
      }
    },
  }),
  MistralForCausalLM: (config) => ({
    attention: () => ({ ...plain(config), window: Number(config.sliding_window ?? Number.POSITIVE_INFINITY) }),
  }),
  GraniteForCausalLM: (config) => ({
    embeddingScale: Number(config.embedding_multiplier ?? 1),
    branchFactor: Number(config.residual_multiplier ?? 1),
    logitFactor: 1 / Number(config.logits_scaling ?? 1),
    attention: () => ({ ...plain(config), scale: Number(config.attention_multiplier ?? 1) }),
  }),
  GraniteMoeHybridForCausalLM: (config) => ({
    ...classes.GraniteForCausalLM?.(config),
    attention: () => ({
      ...plain(config),
      scale: Number(config.attention_multiplier ?? 1),
      rotated: config.position_embedding_type === 'rope' ? undefined : 0,
    }),
  }),
  SmolLM3ForCausalLM: (config) => ({
    attention: (layer) => {
      const list = config.no_rope_layers as number[] | undefined
      const types = config.layer_types as string[] | undefined
      return {
        ...plain(config),
        rotated: (list ? list[layer] === 1 : (layer + 1) % Number(config.no_rope_layer_interval) !== 0) ? undefined : 0,
        window: types?.[layer] === 'sliding_attention' ? Number(config.sliding_window) : Number.POSITIVE_INFINITY,
      }
    },
  }),
  HunYuanDenseV1ForCausalLM: (config) => ({
    attention: () => {
      const { alpha } = (config.rope_scaling ?? {}) as { alpha?: number }
      const d = Number(config.head_dim)
      const theta = Number(config.rope_theta) * (alpha ?? 1) ** (d / (d - 2))
      return { ...plain(config), theta, norm: 'behind' }
    },
  }),
  Exaone4ForCausalLM: (config) => ({
    norms: { mixerOut: 'post_attention_layernorm', ffnOut: 'post_feedforward_layernorm' },
    attention: (layer) => {
      // The pattern of the case is "LG", of three layers the last sees all.
      const sees = config.sliding_window === null || layer % 2 === 1 || layer === Number(config.num_hidden_layers) - 1
      return {
        ...plain(config),
        norm: 'head',
        window: sees ? Number.POSITIVE_INFINITY : Number(config.sliding_window),
        rotated: sees && config.sliding_window !== null ? 0 : undefined,
      }
    },
  }),
  Ernie4_5ForCausalLM: (config) => ({ attention: () => ({ ...plain(config), isPaired: true }) }),
  Phi3ForCausalLM: (config) => ({
    attention: () => {
      const dim = Number(config.head_dim ?? Number(config.hidden_size) / Number(config.num_attention_heads))
      return {
        ...plain(config),
        rotated: Math.floor(dim * Number(config.partial_rotary_factor ?? 1)),
        window: Number(config.sliding_window ?? Number.POSITIVE_INFINITY),
        ...longRope(config, Number(config.original_max_position_embeddings)),
      }
    },
  }),
  MiniCPMForCausalLM: (config) => minicpm(config),
  MiniCPM3ForCausalLM: (config) => ({
    ...minicpm(config),
    attention: () => ({
      ...plain(config),
      ...longRope(config, Number((config.rope_scaling as Config | undefined)?.original_max_position_embeddings)),
    }),
  }),
  Ministral3ForCausalLM: (config) => ({
    attention: () => ({
      ...plain(config),
      ...yarn(Number(config.head_dim), config.rope_parameters as Record<string, number>),
    }),
  }),
  YoutuForCausalLM: (config) => ({ attention: () => ({ ...plain(config), isPaired: true }) }),
  PLMForCausalLM: (config) => ({
    activation: 'relu2',
    isGated: false,
    attention: () => ({ ...plain(config), isPaired: true }),
  }),
  GPTNeoXForCausalLM: (config) => ({
    eps: Number(config.layer_norm_eps),
    activation: config.hidden_act === 'gelu' ? 'gelu' : 'gelu-tanh',
    isGated: false,
    isParallel: config.use_parallel_residual !== false,
    attention: () => ({
      ...plain(config),
      theta: Number(config.rotary_emb_base ?? 10000),
      rotated: Math.floor(
        (Number(config.hidden_size) / Number(config.num_attention_heads)) * Number(config.rotary_pct),
      ),
    }),
  }),
  GPT2LMHeadModel: (config) => ({
    eps: Number(config.layer_norm_epsilon),
    activation: 'gelu-tanh',
    isGated: false,
    hasPositions: true,
    attention: () => ({ ...plain(config), rotated: 0 }),
  }),
  Lfm2ForCausalLM: (config) => ({
    eps: Number(config.norm_eps),
    attention: () => ({ ...plain(config), norm: 'head' }),
    mixer: (layer) => {
      const types = config.layer_types as string[] | undefined
      const attends = types ? types[layer] === 'full_attention' : (config.full_attn_idxs as number[]).includes(layer)
      return attends ? 'attention' : 'conv'
    },
  }),
  Qwen3_5ForCausalLM: (config) => ({
    normPlus: 1,
    attention: () => ({
      ...plain(config),
      norm: 'head',
      rotated: Math.floor(Number(config.head_dim) * Number(config.partial_rotary_factor ?? 0.25)),
      hasGate: true,
    }),
    mixer: (layer) => {
      const types = config.layer_types as string[] | undefined
      const attends = types
        ? types[layer] === 'full_attention'
        : (layer + 1) % Number(config.full_attention_interval) === 0
      return attends ? 'attention' : 'delta'
    },
  }),
  Olmo2ForCausalLM: (config) => ({
    norms: { mixerOut: 'post_attention_layernorm', ffnOut: 'post_feedforward_layernorm' },
    attention: () => ({ ...plain(config), norm: 'all' }),
  }),
}

export function literalOf(config: Config): Literal {
  const [name] = (config.architectures as string[] | undefined) ?? []
  return { ...llama(config), ...(name === undefined ? {} : classes[name]?.(config)) }
}

/** A config and weights under the names that Llama's have: fused matrices taken apart, transposed ones turned. */
export function underLlamasNames(config: Config, weights: Weights): { config: Config; weights: Weights } {
  const [name] = (config.architectures as string[] | undefined) ?? []
  if (config.text_config)
    return { config: config.text_config as Config, weights: renamed(weights, [['model.language_model.', 'model.']]) }
  if (name === 'MobileLLMForCausalLM' && config.layer_sharing) return layersTwice(config, weights)
  if (name === 'Phi3ForCausalLM') return { config, weights: apart(config, weights) }
  if (name === 'GraniteMoeHybridForCausalLM')
    return {
      config,
      weights: apart(
        config,
        renamed(weights, [
          ['shared_mlp.input_linear', 'mlp.gate_up_proj'],
          ['shared_mlp.output_linear', 'mlp.down_proj'],
        ]),
      ),
    }
  if (name === 'Lfm2ForCausalLM') return { config, weights: renamed(weights, lfm2Names) }
  if (name === 'GPTNeoXForCausalLM') return { config, weights: neox(config, weights) }
  if (name !== 'GPT2LMHeadModel') return { config, weights }
  const { n_embd, n_layer, n_head } = config
  const llamas = { ...config, hidden_size: n_embd, num_hidden_layers: n_layer, num_attention_heads: n_head }
  return { config: llamas, weights: gpt2(weights) }
}

/** Layer i runs again as the one behind it. */
function layersTwice(config: Config, weights: Weights): { config: Config; weights: Weights } {
  const twice: Weights = new Map()
  for (const [name, weight] of weights) {
    const [, own, rest] = /^model\.layers\.(\d+)\.(.*)$/.exec(name) ?? []
    if (own === undefined) twice.set(name, weight)
    else for (const time of [0, 1]) twice.set(`model.layers.${2 * Number(own) + time}.${rest}`, weight)
  }
  return { config: { ...config, num_hidden_layers: 2 * Number(config.num_hidden_layers) }, weights: twice }
}

type Weight = { shape: number[]; data: Float32Array }

/** Rows of a matrix, or numbers of a vector, by what `own` says of each row. */
function rows({ shape, data }: Weight, own: (row: number) => boolean): Weight {
  const [count = 0, ...rest] = shape
  const width = rest[0] ?? 1
  const chosen = Array.from({ length: count }, (_, row) => row).filter(own)
  const taken = chosen.flatMap((row) => Array.from(data.subarray(row * width, (row + 1) * width)))
  return { shape: [chosen.length, ...rest], data: Float32Array.from(taken) }
}

/** Phi 3: [q; k; v] and [gate; up]. */
function apart(config: Config, weights: Weights): Weights {
  const heads = Number(config.num_attention_heads)
  const kvHeads = Number(config.num_key_value_heads)
  return split(weights, (name, { shape }): Parts | undefined => {
    const [count = 0] = shape
    if (name.includes('gate_up_proj'))
      return { gate_proj: (row) => row < count / 2, up_proj: (row) => row >= count / 2 }
    if (!name.includes('qkv_proj')) return undefined
    const dim = count / (heads + 2 * kvHeads)
    const [k, v] = [heads * dim, (heads + kvHeads) * dim]
    return { q_proj: (row) => row < k, k_proj: (row) => row >= k && row < v, v_proj: (row) => row >= v }
  })
}

type Parts = Record<string, (row: number) => boolean>

/** Each weight as it is, or as its parts, whose names stand for the second last word of its own. */
function split(weights: Weights, partsOf: (name: string, weight: Weight) => Parts | undefined): Weights {
  return new Map(
    Array.from(weights).flatMap(([name, weight]): [string, Weight][] => {
      const parts = partsOf(name, weight)
      if (!parts) return [[name, weight]]
      const words = name.split('.')
      return Object.entries(parts).map(([part, own]) => [words.with(-2, part).join('.'), rows(weight, own)])
    }),
  )
}

/** Rows of the fused matrix are [q | k | v] head by head. */
function neox(config: Config, weights: Weights): Weights {
  const dim = Number(config.hidden_size) / Number(config.num_attention_heads)
  const part = (row: number) => Math.floor(row / dim) % 3
  return split(renamed(weights, neoxNames), (name) =>
    name.includes('query_key_value')
      ? { q_proj: (row) => part(row) === 0, k_proj: (row) => part(row) === 1, v_proj: (row) => part(row) === 2 }
      : undefined,
  )
}

/** Matrices of a layer are (in × out); c_attn has q, k and v in thirds. */
function gpt2(weights: Weights): Weights {
  const turned = new Map(
    Array.from(renamed(weights, gpt2Names), ([name, weight]): [string, Weight] => {
      const [ins = 0, outs = 0] = weight.shape
      if (!outs || !name.includes('.layers.')) return [name, weight]
      const data = Float32Array.from({ length: ins * outs }, (_, i) =>
        Number(weight.data[(i % ins) * outs + Math.floor(i / ins)]),
      )
      return [name, { shape: [outs, ins], data }]
    }),
  )
  return split(turned, (name, { shape }) => {
    const third = (shape[0] ?? 0) / 3
    return name.includes('c_attn')
      ? {
          q_proj: (row) => row < third,
          k_proj: (row) => row >= third && row < 2 * third,
          v_proj: (row) => row >= 2 * third,
        }
      : undefined
  })
}
