/**
 * EXAONE 4 (LG AI, transformers `exaone4`): norms behind both blocks as in OLMo 2, queries and keys normed head by head. The large
 * models mix layers with a window, which rotate, and layers without one, which do not; the small ones have no window at
 * all, and every layer rotates.
 */
import type { Config } from '../config.ts'
import { layerCount, rmsNorm, smallDecoder, swiGlu } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import { type ModelDescription, mismatch } from '../spec.ts'

const small = { architectures: ['Exaone4ForCausalLM'] }

export const family: Family = {
  name: 'exaone4',
  kinds: [],
  architectures: ['Exaone4ForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'exaone4, every second layer sees all and does not rotate': {
    ...smallDecoder(small, 22, 31, 43),
    num_hidden_layers: 3,
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    sliding_window: 9,
    sliding_window_pattern: 'LG',
  },
  'exaone4, no window, 4 heads of 10 over 2, untied': {
    ...smallDecoder(small, 34, 18, 37),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 10,
    sliding_window: null,
    rms_norm_eps: 1e-2,
    tie_word_embeddings: false,
  },
})

function describe(config: Config): ModelDescription {
  config.require('attention_bias', false)
  const heads = groupedHeads(config)
  const norm = rmsNorm(config, 1e-5)
  const rope = config.rope(heads.keyDim)
  const window = config.isNull('sliding_window') ? undefined : config.integer('sliding_window', { fallback: 4096 })
  const ffn = swiGlu(config)
  const layer = (slides: boolean): LayerSpec => ({
    mixer: grouped({
      ...heads,
      bias: { in: false, out: false },
      rope: slides || window === undefined ? rope : undefined,
      norm: { eps: norm.eps, spans: 'head' },
      window: slides ? window : undefined,
    }),
    ffn,
    norms: { mixerOut: norm, ffnOut: norm },
    isParallel: false,
  })
  const rule = window === undefined ? () => false : pattern(config)
  const decoder = {
    layers: config.slidingLayers(layerCount(config), rule).map(layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
  }
  const norms = { mixerOut: 'post_attention_layernorm', ffnOut: 'post_feedforward_layernorm' }
  return groupedDecoder(config, decoder, { norms })
}

/** "LLLG" and 4 are the same: the last of each four layers sees all. */
function pattern(config: Config): (layer: number) => boolean {
  const value = config.value('sliding_window_pattern') ?? 4
  if (typeof value === 'string' && /^[LG]+$/.test(value)) {
    const last = layerCount(config) - 1
    // The last layer sees all, whatever the pattern says.
    return (layer) => layer !== last && value[layer % value.length] === 'L'
  }
  if (typeof value === 'number' && Number.isInteger(value) && value > 0) return (layer) => (layer + 1) % value !== 0
  throw mismatch(
    '"sliding_window_pattern" in config.json',
    'a whole number, or a text such as "LLLG"',
    value,
    'check config.json',
  )
}
