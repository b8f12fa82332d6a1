/**
 * SmolLM3 (transformers `smollm3`): Llama, but every fourth layer does not rotate (NoPE). `no_rope_layers` has a 1 for each layer
 * that *does* rotate; without it the last of each `no_rope_layer_interval` layers does not.
 */
import type { Config } from '../config.ts'
import { layerCount, range, rmsNorm, smallDecoder, swiGlu } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import { type ModelDescription, mismatch } from '../spec.ts'

const small = { architectures: ['SmolLM3ForCausalLM'] }

export const family: Family = {
  name: 'smollm3',
  kinds: [],
  architectures: ['SmolLM3ForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'smollm3, every second layer does not rotate': {
    ...smallDecoder(small, 22, 31, 43),
    num_hidden_layers: 3,
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    no_rope_layer_interval: 2,
  },
  'smollm3, a list of layers, a window of 7 in the first, all biases, untied': {
    ...smallDecoder(small, 34, 18, 37),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 10,
    no_rope_layers: [0, 1],
    layer_types: ['sliding_attention', 'full_attention'],
    use_sliding_window: true,
    sliding_window: 7,
    attention_bias: true,
    mlp_bias: true,
    tie_word_embeddings: false,
  },
})

function describe(config: Config): ModelDescription {
  const heads = groupedHeads(config)
  const hasBias = config.boolean('attention_bias', false)
  const norm = rmsNorm(config)
  const count = layerCount(config)
  const rope = config.rope(heads.keyDim, 2e6)
  const rotates = rotatingLayers(config, count)
  const hasWindow = config.boolean('use_sliding_window', false) && config.has('sliding_window')
  // The class gives the window to the layers that do not rotate.
  const slides = config.slidingLayers(count, (index) => hasWindow && !rotates[index])
  const layer = (index: number): LayerSpec => ({
    mixer: grouped({
      ...heads,
      bias: { in: hasBias, out: hasBias },
      rope: rotates[index] ? rope : undefined,
      window: hasWindow && slides[index] ? config.integer('sliding_window') : undefined,
    }),
    ffn: swiGlu(config, config.boolean('mlp_bias', false)),
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  })
  return groupedDecoder(config, {
    layers: range(count, layer),
    isTied: config.boolean('tie_word_embeddings', true),
    headNorm: norm,
    maxContext: 32768,
  })
}

function rotatingLayers(config: Config, count: number): boolean[] {
  const list = config.value('no_rope_layers')
  if (list === undefined) {
    const interval = config.integer('no_rope_layer_interval', { fallback: 4 })
    return range(count, (index) => (index + 1) % interval !== 0)
  }
  if (!Array.isArray(list) || list.length !== count || list.some((one) => one !== 0 && one !== 1))
    throw mismatch('"no_rope_layers" in config.json', `${count} times 0 or 1`, list, 'check config.json')
  return list.map((one) => one === 1)
}
