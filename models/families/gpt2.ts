/**
 * GPT-2 (transformers `gpt2`): learned positions, LayerNorm, biases everywhere, GELU by tanh without a gate. Its matrices are
 * kept (in × out) and transposed at conversion; c_attn = [q | k | v]. Checkpoints have the prefix `transformer.`, or, as those that
 * OpenAI published, none.
 */
import { MAX_WIDTH } from '../../assembly/abi.ts'
import type { Config } from '../config.ts'
import { decoderSpec, heads as headCount, hiddenDim, layerCount, range, requireDivides } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped } from '../kinds/gqa.ts'
import type { Activation, LayerSpec, Norm } from '../layer.ts'
import { type ModelDescription, type ModelSpec, mismatch, type Source } from '../spec.ts'

export const family: Family = {
  name: 'gpt2',
  kinds: [],
  architectures: ['GPT2LMHeadModel'],
  describe,
}

const small = (n_embd: number, vocab_size: number) => ({
  architectures: ['GPT2LMHeadModel'],
  n_embd,
  vocab_size,
  n_layer: 2,
  n_positions: 160,
  layer_norm_epsilon: 1e-5,
})

export const shapes: Shapes = () => ({
  'gpt2, 3 heads of 5, four times as wide inside': { ...small(15, 43), n_head: 3, n_inner: null },
  'gpt2, 2 heads of 12, an inner width of its own, untied': {
    ...small(24, 37),
    n_head: 2,
    n_inner: 31,
    layer_norm_epsilon: 1e-2,
    tie_word_embeddings: false,
  },
})

/** As transformers' other classes call them. */
const names = {
  hidden_size: 'n_embd',
  num_hidden_layers: 'n_layer',
  num_attention_heads: 'n_head',
  max_position_embeddings: 'n_positions',
}

function describe(original: Config, tensors: readonly string[]): ModelDescription {
  const config = original.renamed(names)
  config.require('scale_attn_weights', true)
  config.require('scale_attn_by_inverse_layer_idx', false)
  config.require('add_cross_attention', false)
  const maps = headCount(config, 'num_attention_heads')
  const width = hiddenDim(config)
  requireDivides(['n_head', maps], ['n_embd', width])
  const dim = width / maps
  const norm: Norm = { kind: 'layer', eps: config.positive('layer_norm_epsilon', { max: 1, fallback: 1e-5 }) }
  const layer: LayerSpec = {
    mixer: grouped({
      ...{ maps, keyHeads: maps, keyDim: dim, valueHeads: maps, valueDim: dim },
      bias: { in: true, out: true },
    }),
    ffn: {
      width: config.integer('n_inner', { max: MAX_WIDTH, fallback: 4 * width }),
      activation: activation(config),
      isGated: false,
      bias: true,
    },
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  }
  const positions = config.integer('max_position_embeddings', { fallback: 1024 })
  const spec = decoderSpec(config, {
    kind: 'mha',
    layers: range(layerCount(config), () => layer),
    positions,
    isTied: config.boolean('tie_word_embeddings', true),
    headNorm: norm,
    maxContext: positions,
  })
  const prefix = tensors.includes('wte.weight') ? '' : 'transformer.'
  return { spec, sources: sourcesOf(spec, prefix) }
}

function activation(config: Config): Activation {
  const name = config.text('activation_function') ?? 'gelu_new'
  if (name === 'gelu') return 'gelu'
  if (name === 'gelu_new' || name === 'gelu_pytorch_tanh' || name === 'gelu_fast') return 'gelu-tanh'
  throw mismatch(
    '"activation_function" in config.json',
    '"gelu_new", "gelu_fast", "gelu_pytorch_tanh" or "gelu"',
    name,
    'other values are not supported',
  )
}

function sourcesOf(spec: ModelSpec, model: string): ModelDescription['sources'] {
  const { hiddenDim: width, vocabSize, head, embedding } = spec
  const norm = (name: string, of: 'weight' | 'bias'): Source[] => [{ tensor: `${name}.${of}`, shape: [width] }]
  const matrix = (name: string, ins: number, outs: number): Source[] => [
    { tensor: `${name}.weight`, shape: [ins, outs], transposedBlocks: 1 },
  ]
  const bias = (name: string, outs: number): Source[] => [{ tensor: `${name}.bias`, shape: [outs] }]
  const ffn = spec.layers[0]?.ffn.width ?? 0
  return {
    embed: [{ tensor: `${model}wte.weight`, shape: [vocabSize, width] }],
    positions: [{ tensor: `${model}wpe.weight`, shape: [embedding.positions ?? 0, width] }],
    norm: norm(`${model}ln_f`, 'weight'),
    normBias: norm(`${model}ln_f`, 'bias'),
    head: head.isTied ? [] : [{ tensor: 'lm_head.weight', shape: [vocabSize, width] }],
    layer: (index) => {
      const prefix = `${model}h.${index}`
      return {
        mixerInNorm: norm(`${prefix}.ln_1`, 'weight'),
        mixerInNormBias: norm(`${prefix}.ln_1`, 'bias'),
        in: matrix(`${prefix}.attn.c_attn`, width, 3 * width),
        inBias: bias(`${prefix}.attn.c_attn`, 3 * width),
        out: matrix(`${prefix}.attn.c_proj`, width, width),
        outBias: bias(`${prefix}.attn.c_proj`, width),
        ffnInNorm: norm(`${prefix}.ln_2`, 'weight'),
        ffnInNormBias: norm(`${prefix}.ln_2`, 'bias'),
        gateUp: matrix(`${prefix}.mlp.c_fc`, width, ffn),
        gateUpBias: bias(`${prefix}.mlp.c_fc`, ffn),
        down: matrix(`${prefix}.mlp.c_proj`, ffn, width),
        downBias: bias(`${prefix}.mlp.c_proj`, width),
      }
    },
    // The causal mask.
    isRedundant: (tensor) => /\.attn\.(bias|masked_bias)$/.test(tensor) || (head.isTied && tensor === 'lm_head.weight'),
  }
}
