/**
 * MobileLLM (Meta, `MobileLLMForCausalLM` of modeling_mobilellm.py, arXiv 2402.14905): Llama, but `share_embedding` ties the head,
 * and `layer_sharing` runs every layer twice, one time right behind the other. Both times have keys and values of their own: the
 * published class appends both to one cache, so only without a cache, as it was trained, does it compute what the paper says. The
 * packed file has the weights of such a layer twice: the engine reads every layer's behind those of the one before.
 */
import type { Config } from '../config.ts'
import { layerCount, range, rmsNorm, smallDecoder, swiGlu } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import type { ModelDescription } from '../spec.ts'

const small = { architectures: ['MobileLLMForCausalLM'] }

export const family: Family = {
  name: 'mobilellm',
  kinds: [],
  architectures: ['MobileLLMForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'mobilellm, every layer twice, 3 heads of 6 over 1, a shared embedding': {
    ...smallDecoder(small, 18, 31, 43),
    num_attention_heads: 3,
    num_key_value_heads: 1,
    layer_sharing: true,
    share_embedding: true,
    tie_word_embeddings: false,
  },
  'mobilellm, every layer once, 4 heads of 10 over 2, all biases, untied': {
    ...smallDecoder(small, 40, 22, 51),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    attention_bias: true,
    mlp_bias: true,
    tie_word_embeddings: false,
  },
})

function describe(config: Config): ModelDescription {
  const heads = groupedHeads(config)
  const hasBias = config.boolean('attention_bias', false)
  const norm = rmsNorm(config)
  const layer: LayerSpec = {
    mixer: grouped({ ...heads, bias: { in: hasBias, out: hasBias }, rope: config.rope(heads.keyDim) }),
    ffn: swiGlu(config, config.boolean('mlp_bias', false)),
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  }
  const repeats = config.boolean('layer_sharing', false) ? 2 : 1
  const decoder = {
    layers: range(repeats * layerCount(config), () => layer),
    isTied: config.boolean('share_embedding', false) || config.boolean('tie_word_embeddings', false),
    headNorm: norm,
  }
  return groupedDecoder(config, decoder, { repeats })
}
