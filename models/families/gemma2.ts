/**
 * Gemma 2 (transformers `gemma2`): Gemma 3 without norms of queries and keys and with one rotation for all layers, of which
 * every second one, from the first on, has a window. Scores and logits are capped; null for a cap means none.
 *
 *     scores: c · tanh(s / c)     logits: c · tanh(l / c)
 */
import type { Config } from '../config.ts'
import { type Folding, ffnWidth, hiddenDim, layerCount, rmsNorm, sandwichNorms, smallDecoder } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import type { ModelDescription } from '../spec.ts'

const small = { architectures: ['Gemma2ForCausalLM'] }

export const family: Family = {
  name: 'gemma2',
  kinds: [],
  architectures: ['Gemma2ForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'gemma2, a window of 5, 3 heads of 6': {
    ...smallDecoder(small, 22, 31, 43),
    num_hidden_layers: 3,
    num_attention_heads: 3,
    num_key_value_heads: 1,
    head_dim: 6,
    query_pre_attn_scalar: 10,
    sliding_window: 5,
    attn_logit_softcapping: 0.8,
    final_logit_softcapping: 2,
  },
  'gemma2, a window of a page, no caps, biases, untied': {
    ...smallDecoder(small, 34, 18, 37),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 10,
    query_pre_attn_scalar: 7,
    sliding_window: 64,
    layer_types: ['full_attention', 'sliding_attention'],
    attn_logit_softcapping: null,
    final_logit_softcapping: null,
    attention_bias: true,
    tie_word_embeddings: false,
  },
})

/** In what Gemma's generations differ. */
export interface GemmaWay {
  attention(isSliding: boolean, dim: number): Pick<Parameters<typeof grouped>[0], 'rope' | 'norm' | 'softcap'>
  /** Has layer `index` a window, where config.json has no list of layers? */
  slides(index: number): boolean
  /** Of the logits. */
  softcap: number | undefined
  maxContext: number
}

/** What they share: four norms, each w + 1, gated GELU, a scale of the scores and of the embedding, windows in some layers. */
export function gemmaDecoder(config: Config, way: GemmaWay, names: Folding = {}): ModelDescription {
  config.require('hidden_activation', 'gelu_pytorch_tanh')
  config.require('use_bidirectional_attention', false)
  const heads = groupedHeads(config, 256)
  const hasBias = config.boolean('attention_bias', false)
  const norm = rmsNorm(config)
  const window = config.integer('sliding_window', { fallback: 4096 })
  const layer = (isSliding: boolean): LayerSpec => ({
    mixer: grouped({
      ...heads,
      bias: { in: hasBias, out: hasBias },
      ...way.attention(isSliding, heads.keyDim),
      window: isSliding ? window : undefined,
      scale: config.positive('query_pre_attn_scalar', { fallback: 256 }) ** -0.5,
    }),
    ffn: { width: ffnWidth(config), activation: 'gelu-tanh', isGated: true, bias: false },
    norms: { mixerIn: norm, mixerOut: norm, ffnIn: norm, ffnOut: norm },
    isParallel: false,
  })
  const decoder = {
    layers: config.slidingLayers(layerCount(config), way.slides).map(layer),
    embeddingScale: Math.sqrt(hiddenDim(config)),
    isTied: config.boolean('tie_word_embeddings', true),
    headNorm: norm,
    softcap: way.softcap,
    maxContext: way.maxContext,
  }
  return groupedDecoder(config, decoder, { ...names, norms: sandwichNorms, normPlus: 1 })
}

function describe(config: Config): ModelDescription {
  const softcap = cap(config, 'attn_logit_softcapping', 50)
  return gemmaDecoder(config, {
    attention: (_, dim) => ({ rope: config.rope(dim), softcap }),
    slides: (index) => index % 2 === 0,
    softcap: cap(config, 'final_logit_softcapping', 30),
    maxContext: 8192,
  })
}

function cap(config: Config, name: string, fallback: number): number | undefined {
  return config.isNull(name) ? undefined : config.positive(name, { fallback })
}
