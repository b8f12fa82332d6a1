/**
 * MiniCPM 1 and 2 (OpenBMB, `MiniCPMForCausalLM`): Llama with factors, of which each must be in config.json. Later ones call
 * themselves Llama.
 *
 *     x = scale_emb · E[token]     x += scale_depth / √layers · block(norm(x))     logits = W_head norm(x) · dim_model_base / hidden
 */
import type { Config } from '../config.ts'
import { type Folding, hiddenDim, layerCount, range, rmsNorm, smallDecoder, swiGlu } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import type { ModelDescription } from '../spec.ts'

const small = { architectures: ['MiniCPMForCausalLM'], scale_emb: 5, scale_depth: 1.4, dim_model_base: 16 }

export const family: Family = {
  name: 'minicpm',
  kinds: [],
  architectures: ['MiniCPMForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'minicpm, 5 heads of 6 over 1': {
    ...smallDecoder(small, 30, 31, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
  },
  'minicpm, 4 heads of 10, biases, untied': {
    ...smallDecoder({ ...small, scale_emb: 1 } as typeof small, 40, 18, 37),
    num_attention_heads: 4,
    attention_bias: true,
    tie_word_embeddings: false,
  },
})

/** The factors that MiniCPM has and Llama has not. */
export function minicpmFactors(config: Config, hidden: number): Folding & { embeddingScale: number } {
  return {
    embeddingScale: config.positive('scale_emb'),
    branch: config.positive('scale_depth') / Math.sqrt(layerCount(config)),
    logits: config.positive('dim_model_base') / hidden,
  }
}

function describe(config: Config): ModelDescription {
  config.require('num_experts', 0)
  // MiniCPM 4 with InfLLM: which tokens are seen depends on their keys.
  config.require('sparse_config', undefined)
  config.require('partial_rotary_factor', 1)
  const heads = groupedHeads(config)
  const hasBias = config.boolean('attention_bias', false)
  const norm = rmsNorm(config)
  const layer: LayerSpec = {
    mixer: grouped({ ...heads, bias: { in: hasBias, out: hasBias }, rope: config.rope(heads.keyDim) }),
    ffn: swiGlu(config),
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  }
  const { embeddingScale, ...folding } = minicpmFactors(config, hiddenDim(config))
  const decoder = {
    layers: range(layerCount(config), () => layer),
    embeddingScale,
    isTied: config.boolean('tie_word_embeddings', true),
    headNorm: norm,
  }
  return groupedDecoder(config, decoder, folding)
}
