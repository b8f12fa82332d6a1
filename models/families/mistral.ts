/**
 * Mistral (transformers `mistral`): grouped attention without biases, and a window in every layer. `sliding_window` null means
 * none; an absent one is the class's 4096, as transformers reads it.
 */
import type { Config } from '../config.ts'
import { layerCount, range, rmsNorm, smallDecoder, swiGlu } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { ModelDescription } from '../spec.ts'

const small = { architectures: ['MistralForCausalLM'] }
const CONTEXT = 131072
const WINDOW = 4096

export const family: Family = {
  name: 'mistral',
  kinds: [],
  architectures: ['MistralForCausalLM'],
  // As with Llama: the tensors of another kind say more than this name.
  yields: true,
  describe,
}

export const shapes: Shapes = () => ({
  'mistral, a window of 9, 5 heads of 6 over 1': {
    ...smallDecoder(small, 22, 31, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    sliding_window: 9,
  },
  'mistral, no window, 4 heads of 10 over 2, untied': {
    ...smallDecoder(small, 34, 18, 37),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 10,
    sliding_window: null,
    tie_word_embeddings: false,
  },
})

function describe(config: Config): ModelDescription {
  for (const bias of ['attention_bias', 'qkv_bias']) config.require(bias, false)
  config.require('partial_rotary_factor', 1)
  const heads = groupedHeads(config)
  const norm = rmsNorm(config)
  const mixer = grouped({
    ...heads,
    bias: { in: false, out: false },
    rope: config.rope(heads.keyDim),
    window: windowOf(config),
  })
  const layer = { mixer, ffn: swiGlu(config), norms: { mixerIn: norm, ffnIn: norm }, isParallel: false }
  return groupedDecoder(config, {
    layers: range(layerCount(config), () => layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
    maxContext: CONTEXT,
  })
}

function windowOf(config: Config): number | undefined {
  if (config.isNull('sliding_window')) return undefined
  if (config.has('sliding_window')) return config.integer('sliding_window')
  // No text is so long that the class's window would hide something.
  return config.integer('max_position_embeddings', { fallback: CONTEXT }) <= WINDOW ? undefined : WINDOW
}
