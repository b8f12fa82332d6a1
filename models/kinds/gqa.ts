/**
 * Llama and its like: MHA, MQA and GQA (SPEC §3). transformers `LlamaForCausalLM`, `Qwen2ForCausalLM`. `attention_bias` puts
 * a bias on q, k, v and o, `mlp_bias` on gate, up and down; `qkv_bias` (implied by Qwen2) on q, k and v only.
 */
import type { AttentionSpec, HeadNorm, QueryNorm, Rope, Slot } from '../attention.ts'
import type { Config } from '../config.ts'
import {
  type Decoder,
  decoderSources,
  decoderSpec,
  type Folding,
  headDim,
  headNorm,
  heads,
  layerCount,
  linear,
  range,
  requireDivides,
  rmsNorm,
  smallDecoder,
  swiGlu,
} from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import type { LayerSpec } from '../layer.ts'
import { type LayerSources, layerOf, type ModelDescription, mismatch } from '../spec.ts'

export const family: Family = {
  name: 'gqa',
  kinds: ['mha', 'mqa', 'gqa'],
  architectures: ['LlamaForCausalLM', 'Qwen2ForCausalLM'],
  // Checkpoints of GTA, grouped-tied attention and GLA were saved under Llama's name.
  yields: true,
  describe,
}

export const shapes: Shapes = () => ({
  'mha, one head of 2': { ...smallDecoder({ attention_kind: 'mha' }, 2, 3, 5), num_attention_heads: 1, head_dim: 2 },
  'gqa, 6 heads of 10 over 3, untied': {
    ...smallDecoder({ attention_kind: 'gqa' }, 30, 22, 51),
    num_attention_heads: 6,
    num_key_value_heads: 3,
    head_dim: 10,
    tie_word_embeddings: false,
  },
  'mqa, 64 heads of 2, all biases': {
    ...smallDecoder({ attention_kind: 'mqa' }, 46, 70, 33),
    num_attention_heads: 64,
    num_key_value_heads: 1,
    head_dim: 2,
    attention_bias: true,
  },
  'gqa, 3 heads of 6, biases of the feed-forward block': {
    ...smallDecoder({ attention_kind: 'gqa' }, 22, 19, 41),
    num_attention_heads: 3,
    num_key_value_heads: 3,
    head_dim: 6,
    mlp_bias: true,
  },
  'qwen2, a window of 9 in the second layer': {
    ...smallDecoder({ architectures: ['Qwen2ForCausalLM'] }, 22, 19, 41),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    use_sliding_window: true,
    sliding_window: 9,
    max_window_layers: 1,
  },
  'gqa, head of 256, qkv bias': {
    ...smallDecoder({ attention_kind: 'gqa' }, 24, 18, 37),
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 256,
    qkv_bias: true,
  },
})

interface Biases {
  in: boolean
  out: boolean
}

/** Keys and values in heads of their own: MHA, MQA, GQA, GVA and GHA, and most families (SPEC §3). */
export function grouped(shape: {
  maps: number
  keyHeads: number
  keyDim: number
  valueHeads: number
  valueDim: number
  /** Value head of each map; default: neighbouring maps share. */
  valueHeadOfMap?: number[]
  bias: Biases
  /** Absent: no rotation. */
  rope?: Rope
  /** Of queries and keys. */
  norm?: HeadNorm
  /** Of queries, where it differs. */
  queryNorm?: QueryNorm
  window?: number
  softcap?: number
  /** Default keyDim^−1/2. */
  scale?: number
}): AttentionSpec {
  const { maps, keyHeads, keyDim, valueHeads, valueDim, valueHeadOfMap, bias, rope, norm, window, softcap } = shape
  return {
    is: 'attention',
    maps,
    slots: {
      k: { heads: keyHeads, dim: keyDim, isRotated: rope !== undefined, norm },
      v: { heads: valueHeads, dim: valueDim },
    },
    key: [{ slot: 'k', dim: keyDim }],
    value: { slot: 'v', dim: valueDim, heads: valueHeadOfMap },
    rope,
    window,
    queryNorm: shape.queryNorm ?? norm,
    bias,
    outDim: valueDim,
    scale: shape.scale ?? keyDim ** -0.5,
    softcap,
  }
}

function describe(config: Config): ModelDescription {
  const heads = groupedHeads(config)
  const isQwen2 = config.architectures().includes('Qwen2ForCausalLM')
  const outBias = config.boolean('attention_bias', false)
  const inBias = outBias || config.boolean('qkv_bias', isQwen2)
  config.require('partial_rotary_factor', 1)
  config.require('rope_interleaved', false)
  if (!isQwen2 && config.value('use_sliding_window') !== false) config.require('sliding_window', undefined)
  const norm = rmsNorm(config)
  const rope = config.rope(heads.keyDim)
  const ffn = swiGlu(config, isQwen2 ? undefined : config.boolean('mlp_bias', false))
  const layer = (window: number | undefined): LayerSpec => ({
    mixer: grouped({ ...heads, bias: { in: inBias, out: outBias }, rope, window }),
    ffn,
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  })
  const count = layerCount(config)
  return groupedDecoder(config, {
    kind: kindOf(config, heads.maps, heads.keyHeads),
    layers: (isQwen2 ? config.lateWindows(count) : range(count, () => undefined)).map(layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
  })
}

/** Heads as most configs say them; `classDim` is the class's own default of head_dim. */
export function groupedHeads(config: Config, classDim?: number) {
  const maps = heads(config, 'num_attention_heads')
  const kvHeads = heads(config, 'num_key_value_heads', maps)
  requireDivides(['num_key_value_heads', kvHeads], ['num_attention_heads', maps])
  const dim = headDim(config, maps, classDim)
  return { maps, keyHeads: kvHeads, keyDim: dim, valueHeads: kvHeads, valueDim: dim }
}

/** A decoder of grouped attention whose tensors have the usual names. */
export function groupedDecoder(
  config: Config,
  decoder: Omit<Decoder, 'kind'> & { kind?: string },
  folding: Folding = {},
): ModelDescription {
  const [{ mixer }] = decoder.layers as [LayerSpec & { mixer: AttentionSpec }]
  const spec = decoderSpec(config, { kind: groupedKind(mixer.maps, mixer.slots.k?.heads ?? 0), ...decoder })
  const attention = (prefix: string, index: number) =>
    groupedSources(prefix, layerOf(spec, index).mixer as AttentionSpec, spec.hiddenDim, folding.normPlus)
  return { spec, sources: decoderSources(spec, attention, folding) }
}

/**
 * Weights of grouped attention by the names that most checkpoints use: q_proj, k_proj, v_proj, o_proj, and q_norm and k_norm
 * where queries and keys are normed.
 */
export function groupedSources(
  prefix: string,
  attention: AttentionSpec,
  hiddenDim: number,
  normPlus?: number,
): LayerSources {
  const { maps, slots, bias, outDim, queryNorm } = attention
  const none: Slot = { heads: 0, dim: 0 }
  const { k: keys = none, v: values = none } = slots
  const q = linear(`${prefix}.q_proj`, maps * keys.dim, hiddenDim)
  const k = linear(`${prefix}.k_proj`, keys.heads * keys.dim, hiddenDim)
  const v = linear(`${prefix}.v_proj`, values.heads * values.dim, hiddenDim)
  const o = linear(`${prefix}.o_proj`, hiddenDim, maps * outDim)
  const norm = (name: string, of: QueryNorm | undefined, heads: number) =>
    of && of.spans !== 'turned' ? headNorm(`${prefix}.${name}`, of.spans, heads, keys.dim, normPlus) : []
  return {
    in: [q.weight, k.weight, v.weight],
    inBias: bias.in ? [q.bias, k.bias, v.bias] : [],
    queryNorm: norm('q_norm', queryNorm, maps),
    slotNorm: norm('k_norm', keys.norm, keys.heads),
    out: [o.weight],
    outBias: bias.out ? [o.bias] : [],
  }
}

/** 'mha', 'mqa' or 'gqa' by the head counts. */
export function groupedKind(maps: number, kvHeads: number): string {
  return kvHeads === maps ? 'mha' : kvHeads === 1 ? 'mqa' : 'gqa'
}

/** MHA and MQA are GQA with as many, or with one, key-value head: a config may use either name where it is right. */
function kindOf(config: Config, maps: number, kvHeads: number): string {
  const isRight: Record<string, boolean> = { mha: kvHeads === maps, mqa: kvHeads === 1, gqa: true }
  const found = groupedKind(maps, kvHeads)
  const said = config.text('attention_kind')
  if (said !== undefined && !isRight[said])
    throw mismatch('"attention_kind" in config.json', `"${found}" by its head counts`, said, 'correct one of them')
  return found
}
