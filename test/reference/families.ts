/**
 * What each class of transformers does otherwise than Llama, from its config.json, for the literal evaluation in
 * reference.ts. Nothing of models/: what a field means is said twice. Llama itself is the default of every field.
 */
type Config = Record<string, unknown>

/** What is around the attention, the same in every layer. */
export interface Literal {
  eps: number
  /** Norms keep w less this. */
  normPlus: number
  embeddingScale: number
  /** Names of the norms of a layer that there are. */
  norms: { mixerIn?: string; mixerOut?: string; ffnIn?: string; ffnOut?: string }
  activation: 'silu' | 'gelu-tanh'
  logitCap: number
  attention(layer: number): LiteralAttention
}

export interface LiteralAttention {
  window: number
  theta: number
  /** Undefined: head width^−1/2. */
  scale: number | undefined
  softcap: number
  /** RMSNorm of queries and keys before they are rotated: of each head, or of the whole projection. */
  norm: 'none' | 'head' | 'all'
}

const llama = (config: Config): Literal => ({
  eps: Number(config.rms_norm_eps),
  normPlus: 0,
  embeddingScale: 1,
  norms: { mixerIn: 'input_layernorm', ffnIn: 'post_attention_layernorm' },
  activation: 'silu',
  logitCap: 0,
  attention: () => plain(config),
})

const plain = (config: Config): LiteralAttention => ({
  window: Number.POSITIVE_INFINITY,
  theta: Number(config.rope_theta ?? 10000),
  scale: undefined,
  softcap: 0,
  norm: 'none',
})

const sandwich = {
  mixerIn: 'input_layernorm',
  mixerOut: 'post_attention_layernorm',
  ffnIn: 'pre_feedforward_layernorm',
  ffnOut: 'post_feedforward_layernorm',
}

const gemma = (config: Config): Omit<Literal, 'attention' | 'eps'> => ({
  normPlus: 1,
  embeddingScale: Number(config.hidden_size) ** 0.5,
  norms: sandwich,
  activation: 'gelu-tanh',
  logitCap: Number(config.final_logit_softcapping ?? 0),
})

/** By class name: what differs. */
const classes: Record<string, (config: Config) => Partial<Literal>> = {
  Qwen3ForCausalLM: (config) => ({
    attention: (layer) => ({
      ...plain(config),
      norm: 'head',
      window:
        config.use_sliding_window === true && layer >= Number(config.max_window_layers)
          ? Number(config.sliding_window)
          : Number.POSITIVE_INFINITY,
    }),
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
  Olmo2ForCausalLM: (config) => ({
    norms: { mixerOut: 'post_attention_layernorm', ffnOut: 'post_feedforward_layernorm' },
    attention: () => ({ ...plain(config), norm: 'all' }),
  }),
}

export function literalOf(config: Config): Literal {
  const [name] = (config.architectures as string[] | undefined) ?? []
  return { ...llama(config), ...(name === undefined ? {} : classes[name]?.(config)) }
}
