/**
 * Grouped Latent Attention (arXiv 2505.21487; Dao-AILab/grouped-latent-attention; SPEC §6.2): two latents of 2d, each for half
 * of the heads, and a rotated key for all.
 *
 *     W_dQ   (8d × H) → q_norm → W_uQ_rope (n_h (d + d_r) × 8d)      per head [un-rotated d | rotated d_r]
 *     W_dKV  ((4d + d_r) × H) = [latent 0 | latent 1 | k_r]           kv_norm_1, kv_norm_2 on the latents
 *     W_ukv_1, W_ukv_2 (n_h·d × 2d), heads of their half              per head [K d | V d]
 *
 * All but the norms have a bias. The bias of K adds the same number to every score of a head and cancels in the softmax;
 * the bias of V is added once behind the average, because the weights of the average sum to 1.
 */
import type { Config } from '../config.ts'
import { decoderSources, headDim, heads, linear, llamaSpec, range, smallDecoder } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { type ModelDescription, mismatch } from '../spec.ts'
import { latent } from './mla.ts'

const LATENTS = 2

export const family: Family = {
  name: 'gla',
  kinds: ['gla'],
  architectures: [],
  recognise: (config) => config.has('qk_rope_dim'),
  tensor: 'W_dKV.weight',
  describe,
}

export const shapes: Shapes = () => ({
  'gla, 6 heads of 6': {
    ...smallDecoder({ attention_kind: 'gla' }, 38, 31, 43),
    rms_norm_eps: 1e-3,
    num_attention_heads: 6,
    head_dim: 6,
    qk_rope_dim: 2,
  },
  'gla, output bias': {
    ...smallDecoder({ attention_kind: 'gla' }, 20, 31, 43),
    num_attention_heads: 2,
    head_dim: 10,
    qk_rope_dim: 8,
    attention_bias: true,
  },
})

function describe(config: Config): ModelDescription {
  const maps = heads(config, 'num_attention_heads')
  if (maps % LATENTS !== 0)
    throw mismatch(
      '"num_attention_heads" in config.json',
      'even, half of the heads for each latent',
      maps,
      'check config.json',
    )
  const dim = headDim(config, maps)
  const ropeDim = config.integer('qk_rope_dim', { max: 1024 })
  if (ropeDim % 2 !== 0)
    throw mismatch('"qk_rope_dim" in config.json', 'even, because RoPE rotates pairs', ropeDim, 'check config.json')
  const [rank, latentDim] = [8 * dim, 2 * dim]
  const hasOutBias = config.boolean('attention_bias', false)
  const eps = config.positive('rms_norm_eps', { max: 1, fallback: 1e-6 })

  const attention = latent({
    maps,
    latents: LATENTS,
    latentDim,
    latentEps: eps,
    plainDim: dim,
    rope: config.rope(ropeDim),
    valueDim: dim,
    query: { rank, eps, bias: true },
    decoderBias: true,
    bias: { in: true, out: hasOutBias },
    scale: (dim + ropeDim) ** -0.5,
  })
  const spec = llamaSpec(config, 'gla', attention)
  const half = maps / LATENTS
  // Rows of K and of V within one W_ukv: per head [K d | V d].
  const keyRows = range(half * dim, (i) => Math.floor(i / dim) * 2 * dim + (i % dim))
  const valueRows = keyRows.map((row) => row + dim)
  const sources = decoderSources(spec, (prefix) => {
    const dQ = linear(`${prefix}.W_dQ`, rank, spec.hiddenDim)
    const dKV = linear(`${prefix}.W_dKV`, LATENTS * latentDim + ropeDim, spec.hiddenDim)
    const uQ = linear(`${prefix}.W_uQ_rope`, maps * (dim + ropeDim), rank)
    const ukv = [1, 2].map((i) => linear(`${prefix}.W_ukv_${i}`, 2 * half * dim, latentDim))
    const o = linear(`${prefix}.o_proj`, spec.hiddenDim, maps * dim)
    return {
      in: [dQ.weight, dKV.weight],
      inBias: [dQ.bias, dKV.bias],
      lowNorm: [{ tensor: `${prefix}.q_norm.weight`, shape: [rank] }],
      query: [uQ.weight],
      queryBias: [uQ.bias],
      slotNorm: [1, 2].map((i) => ({ tensor: `${prefix}.kv_norm_${i}.weight`, shape: [latentDim] })),
      encoder: ukv.map(({ weight }) => ({ ...weight, rows: keyRows, transposedBlocks: half })),
      decoder: ukv.map(({ weight }) => ({ ...weight, rows: valueRows })),
      decoderBias: ukv.map(({ bias }) => ({ ...bias, rows: valueRows })),
      out: [o.weight],
      outBias: hasOutBias ? [o.bias] : [],
    }
  })
  return { spec, sources }
}
