/**
 * GPT-NeoX (transformers `gpt_neox`), such as Pythia: LayerNorm, biases everywhere, GELU without a gate, a part of each head is
 * rotated. Attention and feed-forward block read the same x unless `use_parallel_residual` is false. The fused projection has
 * its rows head by head, [q d | k d | v d].
 */
import type { Config } from '../config.ts'
import {
  decoderSpec,
  ffnWidth,
  heads as headCount,
  headDim,
  layerCount,
  linear,
  range,
  smallDecoder,
} from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped } from '../kinds/gqa.ts'
import type { Activation, LayerSpec, Norm } from '../layer.ts'
import { type ModelDescription, type ModelSpec, mismatch, type Source } from '../spec.ts'

const small = { architectures: ['GPTNeoXForCausalLM'] }

export const family: Family = {
  name: 'gpt_neox',
  kinds: [],
  architectures: ['GPTNeoXForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'gpt_neox, 3 heads of 6, 2 rotated': {
    ...smallDecoder(small, 18, 31, 43),
    tie_word_embeddings: false,
    num_attention_heads: 3,
    rotary_pct: 0.34,
    layer_norm_eps: 1e-2,
    hidden_act: 'gelu',
  },
  'gpt_neox, one block after the other, no biases in the attention, tied': {
    ...smallDecoder(small, 40, 22, 37),
    num_attention_heads: 4,
    rotary_pct: 1,
    rope_theta: null,
    rotary_emb_base: 500,
    layer_norm_eps: 1e-5,
    hidden_act: 'gelu_new',
    use_parallel_residual: false,
    attention_bias: false,
  },
})

function describe(config: Config): ModelDescription {
  const maps = headCount(config, 'num_attention_heads')
  const dim = headDim(config, maps)
  const hasBias = config.boolean('attention_bias', true)
  const norm: Norm = { kind: 'layer', eps: config.positive('layer_norm_eps', { max: 1, fallback: 1e-5 }) }
  const rotated = config.rotaryDim(dim, 'rotary_pct', 0.25)
  const base = config.has('rotary_emb_base') ? config.above('rotary_emb_base', 1.001) : 10000
  const layer: LayerSpec = {
    mixer: grouped({
      ...{ maps, keyHeads: maps, keyDim: dim, valueHeads: maps, valueDim: dim },
      bias: { in: hasBias, out: hasBias },
      rope: config.rope(rotated, base, true),
    }),
    ffn: { width: ffnWidth(config), activation: activation(config), isGated: false, bias: true },
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: config.boolean('use_parallel_residual', true),
  }
  const spec = decoderSpec(config, {
    kind: 'mha',
    layers: range(layerCount(config), () => layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
  })
  return { spec, sources: sourcesOf(spec, maps, dim, hasBias) }
}

function activation(config: Config): Activation {
  const name = config.text('hidden_act') ?? 'gelu'
  if (name === 'gelu') return 'gelu'
  if (name === 'gelu_new' || name === 'gelu_pytorch_tanh' || name === 'gelu_fast') return 'gelu-tanh'
  throw mismatch(
    '"hidden_act" in config.json',
    '"gelu", "gelu_new", "gelu_fast" or "gelu_pytorch_tanh"',
    name,
    'other values are not supported',
  )
}

function sourcesOf(spec: ModelSpec, maps: number, dim: number, hasBias: boolean): ModelDescription['sources'] {
  const { hiddenDim: width, vocabSize, head } = spec
  const norm = (name: string, of: 'weight' | 'bias'): Source[] => [{ tensor: `${name}.${of}`, shape: [width] }]
  // All rows of q, then of k, then of v.
  const rows = range(3, (part) => range(maps * dim, (i) => (Math.floor(i / dim) * 3 + part) * dim + (i % dim))).flat()
  const ffn = spec.layers[0]?.ffn.width ?? 0
  return {
    embed: [{ tensor: 'gpt_neox.embed_in.weight', shape: [vocabSize, width] }],
    norm: norm('gpt_neox.final_layer_norm', 'weight'),
    normBias: norm('gpt_neox.final_layer_norm', 'bias'),
    head: head.isTied ? [] : [{ tensor: 'embed_out.weight', shape: [vocabSize, width] }],
    layer: (index) => {
      const prefix = `gpt_neox.layers.${index}`
      const qkv = linear(`${prefix}.attention.query_key_value`, 3 * maps * dim, width)
      const out = linear(`${prefix}.attention.dense`, width, maps * dim)
      const up = linear(`${prefix}.mlp.dense_h_to_4h`, ffn, width)
      const down = linear(`${prefix}.mlp.dense_4h_to_h`, width, ffn)
      return {
        mixerInNorm: norm(`${prefix}.input_layernorm`, 'weight'),
        mixerInNormBias: norm(`${prefix}.input_layernorm`, 'bias'),
        in: [{ ...qkv.weight, rows }],
        inBias: hasBias ? [{ ...qkv.bias, rows }] : [],
        out: [out.weight],
        outBias: hasBias ? [out.bias] : [],
        ffnInNorm: norm(`${prefix}.post_attention_layernorm`, 'weight'),
        ffnInNormBias: norm(`${prefix}.post_attention_layernorm`, 'bias'),
        gateUp: [up.weight],
        gateUpBias: [up.bias],
        down: [down.weight],
        downBias: [down.bias],
      }
    },
    // The mask, and frequencies that are computed again.
    isRedundant: (tensor) =>
      /\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$/.test(tensor) ||
      (head.isTied && tensor === 'embed_out.weight'),
  }
}
