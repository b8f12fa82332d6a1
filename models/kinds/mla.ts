/**
 * Multi-head Latent Attention of DeepSeek-V2 and V3, dense models (transformers `deepseek_v2`, `deepseek_v3`; deepseek-ai
 * `inference/model.py`; SPEC §5), absorbed: the cache holds the normed latent c and one rotated key.
 *
 *     kv_b_proj, head block i = [ U_i (d_n × r) ; O_i (d_v × r) ]
 *     score = (U_iᵀ q_i^n) · c + q_i^r · k_r                 output = O_i Σ p c
 *
 * RoPE turns neighbouring pairs here (`rope_interleave`, default true). Rows of the rotated parts of q and k are put in
 * half layout at conversion, the same for both, so their dot product stays. The norms of the latents have eps 1e-6
 * whatever rms_norm_eps says: transformers leaves it at the default argument.
 */
import type { AttentionSpec, Rope } from '../attention.ts'
import { type Config, yarnMagnitude } from '../config.ts'
import {
  decoderSources,
  decoderSpec,
  type Folding,
  heads,
  layerCount,
  linear,
  range,
  rmsNorm,
  smallDecoder,
  swiGlu,
  unpairedRows,
  zeros,
} from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import type { FeedForward, LayerSpec } from '../layer.ts'
import { type LayerSources, type ModelDescription, ModelError, mismatch } from '../spec.ts'

const LATENT_EPS = 1e-6

export const family: Family = {
  name: 'mla',
  kinds: ['mla'],
  architectures: ['DeepseekV2ForCausalLM', 'DeepseekV3ForCausalLM'],
  recognise: (config) => config.has('kv_lora_rank'),
  tensor: 'kv_a_proj_with_mqa.weight',
  describe,
}

export const shapes: Shapes = () => ({
  'mla, values wider than keys, other eps': {
    ...smallDecoder({ attention_kind: 'mla' }, 34, 31, 43),
    rms_norm_eps: 1e-3,
    num_attention_heads: 3,
    kv_lora_rank: 18,
    q_lora_rank: null,
    qk_nope_head_dim: 6,
    qk_rope_head_dim: 2,
    v_head_dim: 10,
  },
  'mla, low-rank query, biases, halves': {
    ...smallDecoder({ attention_kind: 'mla' }, 34, 31, 43),
    rms_norm_eps: 1e-2,
    num_attention_heads: 4,
    kv_lora_rank: 14,
    q_lora_rank: 22,
    qk_nope_head_dim: 10,
    qk_rope_head_dim: 6,
    v_head_dim: 4,
    rope_interleave: false,
    attention_bias: true,
  },
})

/**
 * MLA and GLA, absorbed: what is cached is a normed latent and one rotated key. A head's key matrix moves to its query
 * (encoder) and its value matrix behind the average (decoder), so the cache is read as it is.
 */
export function latent(shape: {
  maps: number
  latents: number
  latentDim: number
  latentEps: number
  /** Width of the un-rotated part of a query. */
  plainDim: number
  rope: Rope
  /** Width of a head's value. */
  valueDim: number
  query?: { rank: number; eps: number; bias: boolean }
  decoderBias: boolean
  bias: { in: boolean; out: boolean }
  scale: number
}): AttentionSpec {
  const { maps, latents, latentDim, latentEps, plainDim, rope, valueDim, query, decoderBias, bias, scale } = shape
  return {
    is: 'attention',
    maps,
    slots: {
      c: { heads: latents, dim: latentDim, norm: { eps: latentEps, spans: 'head' } },
      r: { heads: 1, dim: rope.dim, isRotated: true },
    },
    key: [
      { slot: 'c', dim: latentDim },
      { slot: 'r', dim: rope.dim },
    ],
    value: { slot: 'c', dim: latentDim },
    rope,
    query,
    encoder: { inDim: plainDim },
    decoder: { repeat: 0, bias: decoderBias },
    bias,
    outDim: valueDim,
    scale,
  }
}

function describe(config: Config): ModelDescription {
  refuseExperts(config)
  // TransMLA can leave the norms of the latents out.
  for (const name of ['qk_latent_norm', 'qk_latent_layernorm']) config.require(name, true)
  return latentDecoder(config, { isInterleaved: config.boolean('rope_interleave', true) })
}

/** What DeepSeek's heirs do otherwise. */
export interface LatentWay {
  /** Neighbours are rotated as pairs. */
  isInterleaved: boolean
  /** Base of the class; default 10000. */
  theta?: number
  /** v_head_dim where config.json has none. */
  valueDim?: number
  /** Default: silu, gated. */
  ffn?: FeedForward
  /** tie_word_embeddings where config.json has none; default false. */
  isTied?: boolean
  embeddingScale?: number
}

/** A decoder of MLA whose tensors have DeepSeek's names. */
export function latentDecoder(config: Config, way: LatentWay, folding: Folding = {}): ModelDescription {
  config.require('partial_rotary_factor', 1)
  const shape = latentShape(config, way)
  const { maps, rank, plainDim, ropeDim, valueDim, queryRank, hasBias } = shape
  const attention = latent({
    maps,
    latents: 1,
    latentDim: rank,
    latentEps: LATENT_EPS,
    plainDim,
    rope: config.rope(ropeDim, way.theta),
    valueDim,
    query: queryRank === undefined ? undefined : { rank: queryRank, eps: LATENT_EPS, bias: false },
    decoderBias: false,
    bias: { in: hasBias, out: hasBias },
    scale: (plainDim + ropeDim) ** -0.5 * yarnScale(config),
  })
  const norm = rmsNorm(config)
  const ffn = way.ffn ?? swiGlu(config)
  const layer: LayerSpec = { mixer: attention, ffn, norms: { mixerIn: norm, ffnIn: norm }, isParallel: false }
  const spec = decoderSpec(config, {
    kind: 'mla',
    layers: range(layerCount(config), () => layer),
    embeddingScale: way.embeddingScale,
    isTied: config.boolean('tie_word_embeddings', way.isTied ?? false),
    headNorm: norm,
  })
  return { spec, sources: decoderSources(spec, latentSources(shape, way.isInterleaved, spec.hiddenDim), folding) }
}

type LatentShape = ReturnType<typeof latentShape>

function latentShape(config: Config, way: LatentWay) {
  const ropeDim = config.integer('qk_rope_head_dim', { max: 1024 })
  if (ropeDim % 2 !== 0)
    throw mismatch(
      '"qk_rope_head_dim" in config.json',
      'even, because RoPE rotates pairs',
      ropeDim,
      'check config.json',
    )
  return {
    maps: heads(config, 'num_attention_heads'),
    rank: config.integer('kv_lora_rank', { max: 2048 }),
    plainDim: config.integer('qk_nope_head_dim', { max: 1024 }),
    ropeDim,
    valueDim: config.integer('v_head_dim', { max: 1024, fallback: way.valueDim }),
    queryRank: config.has('q_lora_rank') ? config.integer('q_lora_rank', { max: 65536 }) : undefined,
    hasBias: config.boolean('attention_bias', false),
  }
}

/** Weights of a layer's attention by its prefix. */
function latentSources(shape: LatentShape, isInterleaved: boolean, hiddenDim: number) {
  const { maps, rank, plainDim, ropeDim, valueDim, queryRank, hasBias } = shape
  const headRows = plainDim + ropeDim
  // Once for all layers: with many heads these lists are long.
  const [queryRows, rowRows] = isInterleaved
    ? [unpairedRows(maps, headRows, ropeDim), unpairedRows(1, rank + ropeDim, ropeDim)]
    : []
  const blockRows = plainDim + valueDim
  const keyRows = range(maps * plainDim, (i) => Math.floor(i / plainDim) * blockRows + (i % plainDim))
  const valueRows = range(maps * valueDim, (i) => Math.floor(i / valueDim) * blockRows + plainDim + (i % valueDim))
  return (prefix: string): LayerSources => {
    const qa = linear(`${prefix}.q_a_proj`, queryRank ?? 0, hiddenDim)
    const qb = linear(`${prefix}.q_b_proj`, maps * headRows, queryRank ?? 0)
    const q = linear(`${prefix}.q_proj`, maps * headRows, hiddenDim)
    const kva = linear(`${prefix}.kv_a_proj_with_mqa`, rank + ropeDim, hiddenDim)
    const kvb = linear(`${prefix}.kv_b_proj`, maps * blockRows, rank)
    const o = linear(`${prefix}.o_proj`, hiddenDim, maps * valueDim)
    const row = { ...kva.weight, rows: rowRows }
    const rowBias = { ...kva.bias, rows: rowRows }
    const isLow = queryRank !== undefined
    return {
      in: isLow ? [qa.weight, row] : [{ ...q.weight, rows: queryRows }, row],
      // A direct q_proj has no bias even when the others have one.
      inBias: !hasBias ? [] : isLow ? [qa.bias, rowBias] : [zeros(maps * headRows), rowBias],
      lowNorm: isLow ? [{ tensor: `${prefix}.q_a_layernorm.weight`, shape: [queryRank] }] : [],
      query: isLow ? [{ ...qb.weight, rows: queryRows }] : [],
      slotNorm: [{ tensor: `${prefix}.kv_a_layernorm.weight`, shape: [rank] }],
      encoder: [{ ...kvb.weight, rows: keyRows, transposedBlocks: maps }],
      decoder: [{ ...kvb.weight, rows: valueRows }],
      out: [o.weight],
      outBias: hasBias ? [o.bias] : [],
    }
  }
}

/** transformers multiplies the scale by mscale², with the mscale of all dims. */
function yarnScale(config: Config): number {
  const scaling = config.has('rope_scaling')
    ? config.child('rope_scaling')
    : config.has('rope_parameters')
      ? config.child('rope_parameters')
      : undefined
  const type = scaling?.value('rope_type') ?? scaling?.value('type')
  const mscaleAll = scaling?.number('mscale_all_dim')
  if (!scaling || type !== 'yarn' || !mscaleAll) return 1
  return yarnMagnitude(scaling.above('factor', 1), mscaleAll) ** 2
}

/** Dense models only: which experts a token needs is known too late for weights that are read in order. */
function refuseExperts(config: Config): void {
  const experts = config.has('n_routed_experts') ? config.integer('n_routed_experts', { min: 0 }) : 0
  const dense = config.integer('first_k_dense_replace', { min: 0, fallback: 0 })
  if (experts > 0 && dense < config.integer('num_hidden_layers'))
    throw new ModelError(
      `"n_routed_experts" in config.json must be null or 0, found ${experts}: layers from ${dense} on are a mixture of experts, which is not supported`,
    )
}
