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
import { decoderSources, heads, linear, llamaSpec, range, smallDecoder, zeros } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { type ModelDescription, ModelError, mismatch } from '../spec.ts'

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
  const maps = heads(config, 'num_attention_heads')
  const rank = config.integer('kv_lora_rank', { max: 2048 })
  const plainDim = config.integer('qk_nope_head_dim', { max: 1024 })
  const ropeDim = config.integer('qk_rope_head_dim', { max: 1024 })
  const valueDim = config.integer('v_head_dim', { max: 1024 })
  const queryRank = config.has('q_lora_rank') ? config.integer('q_lora_rank', { max: 65536 }) : undefined
  if (ropeDim % 2 !== 0)
    throw mismatch(
      '"qk_rope_head_dim" in config.json',
      'even, because RoPE rotates pairs',
      ropeDim,
      'check config.json',
    )
  const hasBias = config.boolean('attention_bias', false)
  const isInterleaved = config.boolean('rope_interleave', true)

  const attention = latent({
    maps,
    latents: 1,
    latentDim: rank,
    latentEps: LATENT_EPS,
    plainDim,
    rope: config.rope(ropeDim),
    valueDim,
    query: queryRank === undefined ? undefined : { rank: queryRank, eps: LATENT_EPS, bias: false },
    decoderBias: false,
    bias: { in: hasBias, out: hasBias },
    scale: (plainDim + ropeDim) ** -0.5 * yarnScale(config),
  })
  const spec = llamaSpec(config, 'mla', attention)
  const headRows = plainDim + ropeDim
  const halfLayout = (i: number) => (i < ropeDim / 2 ? 2 * i : 2 * (i - ropeDim / 2) + 1)
  const rotatedRow = (i: number) => (isInterleaved ? halfLayout(i) : i)
  const queryRows = range(maps * headRows, (i) => {
    const inHead = i % headRows
    return inHead < plainDim ? i : i - inHead + plainDim + rotatedRow(inHead - plainDim)
  })
  const rowRows = range(rank + ropeDim, (i) => (i < rank ? i : rank + rotatedRow(i - rank)))
  // Once for all layers: with many heads these lists are long.
  const blockRows = plainDim + valueDim
  const keyRows = range(maps * plainDim, (i) => Math.floor(i / plainDim) * blockRows + (i % plainDim))
  const valueRows = range(maps * valueDim, (i) => Math.floor(i / valueDim) * blockRows + plainDim + (i % valueDim))
  const sources = decoderSources(spec, (prefix) => {
    const qa = linear(`${prefix}.q_a_proj`, queryRank ?? 0, spec.hiddenDim)
    const qb = linear(`${prefix}.q_b_proj`, maps * headRows, queryRank ?? 0)
    const q = linear(`${prefix}.q_proj`, maps * headRows, spec.hiddenDim)
    const kva = linear(`${prefix}.kv_a_proj_with_mqa`, rank + ropeDim, spec.hiddenDim)
    const kvb = linear(`${prefix}.kv_b_proj`, maps * blockRows, rank)
    const o = linear(`${prefix}.o_proj`, spec.hiddenDim, maps * valueDim)
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
  })
  return { spec, sources }
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
