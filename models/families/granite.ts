/**
 * Granite, dense (transformers `granite`, and `granitemoehybrid` without experts and without Mamba: Granite 4 micro, 1B, 350M): Llama
 * with four factors, each 1 where config.json does not have it. The second class has a fused feed-forward block, [gate; up],
 * and does not rotate unless `position_embedding_type` says so.
 *
 *     x = embedding_multiplier · E[token]              score = attention_multiplier · q·k, instead of head_dim^−1/2
 *     x += residual_multiplier · block(norm(x))        logits = W_head norm(x) / logits_scaling
 */
import { MAX_WIDTH } from '../../assembly/abi.ts'
import type { Config } from '../config.ts'
import { fusedFeedForward, layerCount, range, rmsNorm, smallDecoder, swiGlu } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { FeedForward, LayerSpec } from '../layer.ts'
import { type ModelDescription, mismatch } from '../spec.ts'

const small = { architectures: ['GraniteForCausalLM'] }
const HYBRID = 'GraniteMoeHybridForCausalLM'

export const family: Family = {
  name: 'granite',
  kinds: [],
  architectures: ['GraniteForCausalLM', HYBRID],
  describe,
}

export const shapes: Shapes = () => ({
  'granite, 5 heads of 6 over 1, every factor': {
    ...smallDecoder(small, 22, 31, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    embedding_multiplier: 3,
    attention_multiplier: 0.3,
    residual_multiplier: 0.4,
    logits_scaling: 0.7,
  },
  'granite, the factor of the branches alone, all biases, untied': {
    ...smallDecoder(small, 34, 18, 37),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 10,
    residual_multiplier: 0.6,
    attention_bias: true,
    mlp_bias: true,
    tie_word_embeddings: false,
  },
  'granite 4, a fused block of its own width': {
    ...smallDecoder({ architectures: [HYBRID] }, 30, 99, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    shared_intermediate_size: 23,
    num_local_experts: 0,
    layer_types: ['attention', 'attention'],
    position_embedding_type: 'rope',
    embedding_multiplier: 3,
    attention_multiplier: 0.3,
    residual_multiplier: 0.4,
    logits_scaling: 0.7,
  },
  'granite 4, no rotation, untied': {
    ...smallDecoder({ architectures: [HYBRID] }, 24, 99, 37),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    shared_intermediate_size: 18,
    num_local_experts: 0,
    layer_types: ['attention', 'attention'],
    position_embedding_type: 'nope',
    attention_multiplier: 0.3,
    tie_word_embeddings: false,
  },
})

function describe(config: Config): ModelDescription {
  config.require('partial_rotary_factor', 1)
  const isHybrid = config.architectures().includes(HYBRID)
  if (isHybrid) requireDense(config)
  const heads = groupedHeads(config)
  const hasBias = config.boolean('attention_bias', false)
  const norm = rmsNorm(config)
  const factor = (name: string) => config.positive(name, { fallback: 1 })
  const layer: LayerSpec = {
    mixer: grouped({
      ...heads,
      bias: { in: hasBias, out: hasBias },
      rope: rotates(config, isHybrid ? 'nope' : 'rope') ? config.rope(heads.keyDim) : undefined,
      scale: factor('attention_multiplier'),
    }),
    ffn: isHybrid ? sharedBlock(config) : swiGlu(config, config.boolean('mlp_bias', false)),
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  }
  const decoder = {
    layers: range(layerCount(config), () => layer),
    embeddingScale: factor('embedding_multiplier'),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
  }
  return groupedDecoder(config, decoder, {
    branch: factor('residual_multiplier'),
    logits: 1 / factor('logits_scaling'),
    ...(isHybrid ? { feedForward: fusedFeedForward('shared_mlp.input_linear', 'shared_mlp.output_linear') } : {}),
  })
}

/** What else the class can be: state spaces and mixtures of experts. */
function requireDense(config: Config): void {
  for (const name of ['num_local_experts', 'num_experts']) config.require(name, 0)
  const types = config.value('layer_types') ?? config.value('layers_block_type')
  const isAttention = Array.isArray(types) && types.every((type) => type === 'attention' || type === 'full_attention')
  if (!isAttention)
    throw mismatch(
      '"layer_types" in config.json',
      '"attention" for every layer',
      types,
      'layers of Mamba are not supported',
    )
}

/** `fallback` is what the class does where config.json says nothing; only GGUF says it of the first class. */
function rotates(config: Config, fallback: string): boolean {
  const type = config.text('position_embedding_type') ?? fallback
  if (type !== 'rope' && type !== 'nope')
    throw mismatch(
      '"position_embedding_type" in config.json',
      '"rope", "nope" or null',
      type,
      'other values are not supported',
    )
  return type === 'rope'
}

function sharedBlock(config: Config): FeedForward {
  config.require('hidden_act', 'silu')
  const width = config.integer('shared_intermediate_size', { max: MAX_WIDTH })
  return { width, activation: 'silu', isGated: true, bias: false }
}
