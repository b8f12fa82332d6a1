/**
 * Qwen 3, dense (transformers `qwen3`): grouped attention whose queries and keys are normed, head by head and before they are
 * rotated, with one weight for all heads. Heads are as wide as head_dim says, whatever hidden_size is.
 */
import type { Config } from '../config.ts'
import { layerCount, rmsNorm, smallDecoder, swiGlu } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import type { ModelDescription } from '../spec.ts'

const small = { architectures: ['Qwen3ForCausalLM'] }

export const family: Family = {
  name: 'qwen3',
  kinds: [],
  architectures: ['Qwen3ForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'qwen3, 5 heads of 6 over 1, untied': {
    ...smallDecoder(small, 22, 31, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    rms_norm_eps: 1e-2,
    tie_word_embeddings: false,
  },
  'qwen3, biases, a window of 9 in the second layer': {
    ...smallDecoder(small, 30, 18, 37),
    num_attention_heads: 6,
    num_key_value_heads: 3,
    head_dim: 10,
    attention_bias: true,
    use_sliding_window: true,
    sliding_window: 9,
    max_window_layers: 1,
  },
})

function describe(config: Config): ModelDescription {
  const heads = groupedHeads(config, 128)
  const hasBias = config.boolean('attention_bias', false)
  const norm = rmsNorm(config)
  const rope = config.rope(heads.keyDim)
  const ffn = swiGlu(config)
  const layer = (window: number | undefined): LayerSpec => ({
    mixer: grouped({
      ...heads,
      bias: { in: hasBias, out: hasBias },
      rope,
      norm: { eps: norm.eps, spans: 'head' },
      window,
    }),
    ffn,
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  })
  return groupedDecoder(config, {
    layers: config.lateWindows(layerCount(config)).map(layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
    maxContext: 32768,
  })
}
