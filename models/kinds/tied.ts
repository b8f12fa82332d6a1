/**
 * Grouped-tied attention of Zadouri, Strauss and Dao (arXiv 2505.21487; Dao-AILab/grouped-latent-attention; SPEC §6.1). Its
 * authors call it GTA too; here it is always `tied`.
 *
 *     key m = [ T_m[0 : d − d_r] | k_r ]     value m = T_m     T = kv_proj x, k_r = RoPE(W_rope_k x + b) for all heads
 *     q_i   = [ q_i[0 : d − d_r] | RoPE(q_i[d − d_r : d]) ]
 */
import type { AttentionSpec, Rope } from '../attention.ts'
import type { Config } from '../config.ts'
import { decoderSources, headDim, heads, linear, llamaSpec, requireDivides, smallDecoder, zeros } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { type ModelDescription, mismatch } from '../spec.ts'

export const family: Family = {
  name: 'tied',
  kinds: ['tied'],
  architectures: [],
  recognise: (config) => config.has('rope_dim'),
  tensor: 'W_rope_k.weight',
  describe,
}

export const shapes: Shapes = () => ({
  'tied, 5 heads of 6, rotated 2': {
    ...smallDecoder({ attention_kind: 'tied' }, 26, 31, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    rope_dim: 2,
  },
  'tied, biases': {
    ...smallDecoder({ attention_kind: 'tied' }, 48, 31, 43),
    num_attention_heads: 6,
    num_key_value_heads: 3,
    head_dim: 12,
    rope_dim: 6,
    attention_bias: true,
  },
})

/** One state is key and value; a shared rotated key replaces the end of each key. */
export function tied(shape: {
  maps: number
  kvHeads: number
  headDim: number
  rope: Rope
  bias: { in: boolean; out: boolean }
}): AttentionSpec {
  const { maps, kvHeads, headDim, rope, bias } = shape
  return {
    is: 'attention',
    maps,
    slots: { kv: { heads: kvHeads, dim: headDim }, r: { heads: 1, dim: rope.dim, isRotated: true } },
    key: [
      { slot: 'kv', dim: headDim - rope.dim },
      { slot: 'r', dim: rope.dim },
    ],
    value: { slot: 'kv', dim: headDim },
    rope,
    bias,
    outDim: headDim,
    scale: headDim ** -0.5,
  }
}

function describe(config: Config): ModelDescription {
  const maps = heads(config, 'num_attention_heads')
  const kvHeads = heads(config, 'num_key_value_heads', maps)
  requireDivides(['num_key_value_heads', kvHeads], ['num_attention_heads', maps])
  const dim = headDim(config, maps)
  const ropeDim = config.integer('rope_dim', { fallback: dim / 2 })
  if (ropeDim % 2 !== 0 || ropeDim >= dim)
    throw mismatch(
      '"rope_dim" in config.json',
      `even and below head_dim ${dim}`,
      ropeDim,
      'RoPE rotates pairs at the end of each key',
    )
  const hasBias = config.boolean('attention_bias', false)

  // W_rope_k has a bias in any case, so the fused projection has one.
  const attention = tied({
    maps,
    kvHeads,
    headDim: dim,
    rope: config.rope(ropeDim),
    bias: { in: true, out: hasBias },
  })
  const spec = llamaSpec(config, 'tied', attention)
  const sources = decoderSources(spec, (prefix) => {
    const q = linear(`${prefix}.q_proj`, maps * dim, spec.hiddenDim)
    const kv = linear(`${prefix}.kv_proj`, kvHeads * dim, spec.hiddenDim)
    const rope = linear(`${prefix}.W_rope_k`, ropeDim, spec.hiddenDim)
    const o = linear(`${prefix}.o_proj`, spec.hiddenDim, maps * dim)
    const [qBias, kvBias] = hasBias ? [q.bias, kv.bias] : [zeros(maps * dim), zeros(kvHeads * dim)]
    return {
      in: [q.weight, kv.weight, rope.weight],
      inBias: [qBias, kvBias, rope.bias],
      out: [o.weight],
      outBias: hasBias ? [o.bias] : [],
    }
  })
  return { spec, sources }
}
