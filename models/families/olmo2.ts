/**
 * OLMo 2 (transformers `olmo2`): a block reads the residual stream as it is, and its result is normed before it is added.
 * Queries and keys are normed over the whole projection, all heads together, before they are rotated.
 *
 *     x += norm(attention(x))          x += norm(mlp(x))
 */
import type { Config } from '../config.ts'
import { layerCount, range, rmsNorm, smallDecoder, swiGlu } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import type { ModelDescription } from '../spec.ts'

const small = { architectures: ['Olmo2ForCausalLM'] }

export const family: Family = {
  name: 'olmo2',
  kinds: [],
  architectures: ['Olmo2ForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'olmo2, 5 heads of 6 over 1, tied': {
    ...smallDecoder(small, 22, 31, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    rms_norm_eps: 1e-2,
  },
  'olmo2, 6 heads of 10 over 3, biases, untied': {
    ...smallDecoder(small, 34, 18, 37),
    num_attention_heads: 6,
    num_key_value_heads: 3,
    head_dim: 10,
    attention_bias: true,
    tie_word_embeddings: false,
  },
})

function describe(config: Config): ModelDescription {
  const heads = groupedHeads(config)
  const hasBias = config.boolean('attention_bias', false)
  const norm = rmsNorm(config, 1e-5)
  const layer: LayerSpec = {
    mixer: grouped({
      ...heads,
      bias: { in: hasBias, out: hasBias },
      rope: config.rope(heads.keyDim),
      norm: { eps: norm.eps, spans: 'all' },
    }),
    ffn: swiGlu(config),
    norms: { mixerOut: norm, ffnOut: norm },
    isParallel: false,
  }
  const decoder = {
    layers: range(layerCount(config), () => layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
  }
  const norms = { mixerOut: 'post_attention_layernorm', ffnOut: 'post_feedforward_layernorm' }
  return groupedDecoder(config, decoder, { norms })
}
