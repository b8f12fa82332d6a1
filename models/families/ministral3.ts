/**
 * Ministral 3 (transformers `ministral3`; its checkpoints also see: Mistral3ForConditionalGeneration, whose text part runs). Mistral
 * without a window, with YaRN, and with queries that grow with their position p:
 *
 *     q · (1 + llama_4_scaling_beta · ln(1 + floor(p / original_max_position_embeddings)))
 *
 * Up to the original context that is a factor of 1, and there the model's context ends here.
 */
import type { Config } from '../config.ts'
import { type Folding, layerCount, range, rmsNorm, smallDecoder, swiGlu, textPartNames } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import { type ModelDescription, mismatch } from '../spec.ts'

const small = { architectures: ['Ministral3ForCausalLM'] }
const SEEING = 'Mistral3ForConditionalGeneration'

export const family: Family = {
  name: 'ministral3',
  kinds: [],
  architectures: ['Ministral3ForCausalLM', SEEING],
  describe: (config, tensors) => {
    if (!config.architectures().includes(SEEING)) return describe(config)
    // Mistral Small 3 has the same class around a text part of its own.
    const part = config.child('text_config').text('model_type')
    if (part !== 'ministral3')
      throw mismatch(
        '"model_type" in "text_config" in config.json',
        '"ministral3"',
        part,
        'other parts are not supported',
      )
    return describe(config.nested('text_config', {}), textPartNames(tensors))
  },
}

const parameters = {
  rope_type: 'yarn',
  rope_theta: 10000,
  factor: 4,
  original_max_position_embeddings: 128,
  llama_4_scaling_beta: 0.1,
  mscale: 1,
  mscale_all_dim: 1,
}

export const shapes: Shapes = () => ({
  'ministral3, 5 heads of 6 over 1, yarn': {
    ...smallDecoder(small, 22, 31, 43),
    max_position_embeddings: 512,
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    rope_parameters: parameters,
  },
  'ministral3 within a model that sees, 4 heads of 10 over 2, untied': {
    architectures: [SEEING],
    vision_config: {},
    // Not read: the text part has its own.
    vocab_size: 37,
    text_config: {
      ...smallDecoder(small, 34, 18, 37),
      model_type: 'ministral3',
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 10,
      rope_parameters: parameters,
      tie_word_embeddings: false,
    },
  },
})

function describe(config: Config, names: Folding = {}): ModelDescription {
  for (const bias of ['attention_bias', 'mlp_bias']) config.require(bias, false)
  config.require('sliding_window', undefined)
  const heads = groupedHeads(config)
  const norm = rmsNorm(config)
  const mixer = grouped({ ...heads, bias: { in: false, out: false }, rope: config.rope(heads.keyDim) })
  const layer = { mixer, ffn: swiGlu(config), norms: { mixerIn: norm, ffnIn: norm }, isParallel: false }
  const decoder = {
    layers: range(layerCount(config), () => layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
    contextEnd: originalContext(config),
  }
  return groupedDecoder(config, decoder, names)
}

/** Where queries begin to grow. */
function originalContext(config: Config): number | undefined {
  const parameters = config.has('rope_parameters') ? config.child('rope_parameters') : config.child('rope_scaling')
  if ((parameters.number('llama_4_scaling_beta') ?? 0) === 0) return undefined
  return parameters.integer('original_max_position_embeddings')
}
