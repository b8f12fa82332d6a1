/**
 * Phi 3 and Phi 4 mini (transformers `phi3`): Llama with fused tensors, qkv_proj = [q; k; v] and gate_up_proj = [gate; up], which
 * is how the engine has them. Phi 4 mini rotates the first part of each head only. With longrope the context ends where the
 * model's first one did: beyond it other frequencies hold for the whole text.
 */
import type { Config } from '../config.ts'
import {
  decoderSources,
  decoderSpec,
  fusedFeedForward,
  layerCount,
  linear,
  range,
  rmsNorm,
  smallDecoder,
  swiGlu,
} from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedHeads, groupedKind } from '../kinds/gqa.ts'
import type { LayerSources, ModelDescription } from '../spec.ts'

const small = { architectures: ['Phi3ForCausalLM'] }

export const family: Family = {
  name: 'phi3',
  kinds: [],
  architectures: ['Phi3ForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'phi3, 4 of 10 rotated, 5 heads over 1': {
    ...smallDecoder(small, 50, 31, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    partial_rotary_factor: 0.4,
    sliding_window: null,
    original_max_position_embeddings: 160,
  },
  'phi3, a window of 9, 4 heads of 6 over 2, factors of the frequencies, untied': {
    ...smallDecoder(small, 24, 18, 37),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    sliding_window: 9,
    max_position_embeddings: 640,
    original_max_position_embeddings: 80,
    rope_scaling: { type: 'longrope', short_factor: [1.1, 1.7, 2.9], long_factor: [2, 3, 4] },
    tie_word_embeddings: false,
  },
})

function describe(config: Config): ModelDescription {
  config.require('attention_bias', false)
  const heads = groupedHeads(config)
  const norm = rmsNorm(config, 1e-5)
  const attention = grouped({
    ...heads,
    bias: { in: false, out: false },
    rope: config.rope(config.rotaryDim(heads.keyDim), 10000, true),
    window: config.has('sliding_window') ? config.integer('sliding_window') : undefined,
  })
  const layer = { mixer: attention, ffn: swiGlu(config), norms: { mixerIn: norm, ffnIn: norm }, isParallel: false }
  const spec = decoderSpec(config, {
    kind: groupedKind(heads.maps, heads.keyHeads),
    layers: range(layerCount(config), () => layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
    maxContext: 4096,
  })
  const { maps, keyHeads, keyDim } = heads
  const fused = (prefix: string): LayerSources => ({
    in: [linear(`${prefix}.qkv_proj`, (maps + 2 * keyHeads) * keyDim, spec.hiddenDim).weight],
    out: [linear(`${prefix}.o_proj`, spec.hiddenDim, maps * keyDim).weight],
  })
  return {
    spec,
    sources: decoderSources(spec, fused, { feedForward: fusedFeedForward('mlp.gate_up_proj', 'mlp.down_proj') }),
  }
}
