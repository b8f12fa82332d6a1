/**
 * LFM2, dense (transformers `lfm2`): most layers are short convolutions with two gates, the others grouped attention whose queries
 * and keys are normed head by head. `block_ff_dim` (or `intermediate_size`) is the width of the feed-forward block before it is
 * adjusted, unless `block_auto_adjust_ff_dim` is false.
 *
 *     [ B | C | x ] = W_in z          W_out ( C ⊙ conv(B ⊙ x) )          no activation, the last tap is the current token's
 */
import type { AttentionSpec } from '../attention.ts'
import type { Config } from '../config.ts'
import {
  decoderSources,
  decoderSpec,
  headNorm,
  hiddenDim,
  layerCount,
  linear,
  range,
  rmsNorm,
  smallDecoder,
} from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedHeads, groupedKind } from '../kinds/gqa.ts'
import type { FeedForward, LayerSpec } from '../layer.ts'
import { type LayerSources, layerOf, type ModelDescription, mismatch } from '../spec.ts'
import type { ConvSpec } from '../state.ts'

const small = { architectures: ['Lfm2ForCausalLM'] }

export const family: Family = {
  name: 'lfm2',
  kinds: [],
  architectures: ['Lfm2ForCausalLM'],
  describe: (config) => describe(config.renamed({ rms_norm_eps: 'norm_eps' })),
}

export const shapes: Shapes = () => ({
  'lfm2, 22 channels, 2 taps, all but the last layer convolve': {
    ...smallDecoder(small, 22, 31, 43),
    num_hidden_layers: 3,
    num_attention_heads: 11,
    num_key_value_heads: 1,
    norm_eps: 1e-2,
    block_multiple_of: 6,
    full_attn_idxs: [2],
    conv_L_cache: 2,
  },
  'lfm2, biases, 5 taps, a width that is not adjusted, untied': {
    ...smallDecoder(small, 30, 18, 37),
    num_hidden_layers: 3,
    num_attention_heads: 5,
    num_key_value_heads: 5,
    norm_eps: 1e-5,
    block_auto_adjust_ff_dim: false,
    layer_types: ['full_attention', 'conv', 'conv'],
    conv_L_cache: 5,
    conv_bias: true,
    tie_embedding: false,
  },
  'lfm2, nothing but convolutions': {
    ...smallDecoder(small, 34, 18, 37),
    num_attention_heads: 1,
    num_key_value_heads: 1,
    norm_eps: 1e-5,
    full_attn_idxs: [],
  },
})

function describe(config: Config): ModelDescription {
  const heads = groupedHeads(config)
  const norm = rmsNorm(config, 1e-5)
  const width = hiddenDim(config)
  const count = layerCount(config)
  const attention = grouped({
    ...heads,
    bias: { in: false, out: false },
    rope: config.rope(heads.keyDim, 1e6),
    norm: { eps: norm.eps, spans: 'head' },
  })
  const conv: ConvSpec = {
    is: 'conv',
    taps: config.integer('conv_L_cache', { min: 2, max: 64, fallback: 3 }),
    channels: width,
    bias: config.boolean('conv_bias', false),
  }
  for (const name of ['conv_dim', 'conv_dim_out']) config.require(name, width)
  config.require('block_use_swiglu', true)
  const ffn = feedForward(config)
  const layer = (attends: boolean): LayerSpec => ({
    mixer: attends ? attention : conv,
    ffn,
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  })
  const spec = decoderSpec(config, {
    kind: groupedKind(heads.maps, heads.keyHeads),
    layers: attendingLayers(config, count).map(layer),
    // transformers 5 has the usual name, and both mean the same.
    isTied: config.boolean('tie_embedding', config.boolean('tie_word_embeddings', true)),
    headNorm: norm,
    maxContext: 128000,
  })
  const mixer = (_: string, index: number) => {
    const prefix = `model.layers.${index}`
    const own = layerOf(spec, index).mixer
    return own.is === 'attention'
      ? attentionSources(`${prefix}.self_attn`, own, width)
      : convSources(`${prefix}.conv`, conv)
  }
  const sources = decoderSources(spec, mixer, {
    norms: { mixerIn: 'operator_norm', ffnIn: 'ffn_norm' },
    feedForward: (prefix) => {
      const matrix = (name: string, rows: number, cols: number) =>
        linear(`${prefix}.feed_forward.${name}`, rows, cols).weight
      return {
        gateUp: [matrix('w1', ffn.width, width), matrix('w3', ffn.width, width)],
        down: [matrix('w2', width, ffn.width)],
      }
    },
  })
  return { spec, sources: { ...sources, norm: [{ tensor: 'model.embedding_norm.weight', shape: [width] }] } }
}

/** As Lfm2MLP adjusts it: two thirds, times a factor, up to a multiple. */
function feedForward(config: Config): FeedForward {
  const most = { max: 2 ** 20 }
  const given = config.integer(config.has('block_ff_dim') ? 'block_ff_dim' : 'intermediate_size', most)
  const multiple = config.integer('block_multiple_of', { ...most, fallback: 256 })
  const factor = config.positive('block_ffn_dim_multiplier', { max: 1024, fallback: 1 })
  const width = config.boolean('block_auto_adjust_ff_dim', true)
    ? multiple * Math.ceil(Math.floor(factor * Math.floor((2 * given) / 3)) / multiple)
    : given
  return { width, activation: 'silu', isGated: true, bias: false }
}

/** Layer by layer, whether it attends: all of them where the config does not say. */
function attendingLayers(config: Config, count: number): boolean[] {
  const types = config.value('layer_types')
  if (types !== undefined) {
    const isList = Array.isArray(types) && types.length === count
    if (!isList || types.some((type) => type !== 'full_attention' && type !== 'conv'))
      throw mismatch(
        '"layer_types" in config.json',
        `${count} times "full_attention" or "conv"`,
        types,
        'check config.json',
      )
    return types.map((type) => type === 'full_attention')
  }
  const indices = config.value('full_attn_idxs') ?? range(count, (index) => index)
  if (!Array.isArray(indices) || indices.some((index) => !Number.isInteger(index) || index < 0 || index >= count))
    throw mismatch('"full_attn_idxs" in config.json', `a list of layers below ${count}`, indices, 'check config.json')
  return range(count, (index) => indices.includes(index))
}

function convSources(prefix: string, { taps, channels, bias }: ConvSpec): LayerSources {
  const into = linear(`${prefix}.in_proj`, 3 * channels, channels)
  const out = linear(`${prefix}.out_proj`, channels, channels)
  return {
    in: [into.weight],
    inBias: bias ? [into.bias] : [],
    conv: [{ tensor: `${prefix}.conv.weight`, shape: [channels, 1, taps], transposedBlocks: 1 }],
    convBias: bias ? [{ tensor: `${prefix}.conv.bias`, shape: [channels] }] : [],
    out: [out.weight],
    outBias: bias ? [out.bias] : [],
  }
}

function attentionSources(prefix: string, { maps, outDim, slots }: AttentionSpec, width: number): LayerSources {
  const heads = slots.k?.heads ?? 0
  const projection = (name: string, rows: number) => linear(`${prefix}.${name}`, rows, width).weight
  return {
    in: [
      projection('q_proj', maps * outDim),
      projection('k_proj', heads * outDim),
      projection('v_proj', heads * outDim),
    ],
    queryNorm: headNorm(`${prefix}.q_layernorm`, 'head', maps, outDim),
    slotNorm: headNorm(`${prefix}.k_layernorm`, 'head', heads, outDim),
    out: [linear(`${prefix}.out_proj`, width, maps * outDim).weight],
  }
}
