/**
 * Grouped-head latenT Attention (arXiv 2506.17286; reference code plm-team/GTA, `gta/gta_modeling.py`; SPEC §4).
 * Its checkpoints say model_type "llama" and have no num_key_value_heads: the config class then fills in n_h, so the
 * cache is never derived from that field.
 */
import type { AttentionSpec, Rope } from '../attention.ts'
import type { Config } from '../config.ts'
import {
  decoderSources,
  headDim,
  heads,
  hiddenDim,
  linear,
  llamaSpec,
  requireDivides,
  smallDecoder,
} from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { type ModelDescription, mismatch } from '../spec.ts'

export const family: Family = {
  name: 'gta',
  kinds: ['gta'],
  architectures: ['GTAForCausalLM'],
  recognise: (config) => config.has('num_query_heads') && config.has('value_dim'),
  tensor: 'v_b_proj.weight',
  describe,
}

export const shapes: Shapes = () => ({
  'gta, expand rate 3, latent of 6': {
    ...smallDecoder({ attention_kind: 'gta' }, 90, 31, 43),
    num_attention_heads: 9,
    head_dim: 10,
    num_query_heads: 5,
    query_dim: 10,
    num_key_heads: 1,
    key_dim: 10,
    num_value_heads: 5,
    value_dim: 6,
  },
  'gta, one map for all': {
    ...smallDecoder({ attention_kind: 'gta' }, 24, 10, 9),
    num_attention_heads: 12,
    head_dim: 2,
    num_query_heads: 1,
    query_dim: 2,
    num_key_heads: 1,
    key_dim: 2,
    num_value_heads: 1,
    value_dim: 24,
  },
})

/** Shared maps, a latent value, a nonlinear decoder. */
export function latentValue(shape: {
  maps: number
  keyHeads: number
  keyDim: number
  valueHeads: number
  latentDim: number
  /** Heads' worth of output per map: hiddenDim / (maps · latentDim). */
  repeat: number
  rope: Rope
}): AttentionSpec {
  const { maps, keyHeads, keyDim, valueHeads, latentDim, repeat, rope } = shape
  return {
    is: 'attention',
    maps,
    slots: { k: { heads: keyHeads, dim: keyDim, isRotated: true }, latent: { heads: valueHeads, dim: latentDim } },
    key: [{ slot: 'k', dim: keyDim }],
    value: { slot: 'latent', dim: latentDim },
    rope,
    decoder: { repeat, bias: false },
    gate: 'sigmoid',
    bias: { in: true, out: false },
    outDim: repeat * latentDim,
    scale: keyDim ** -0.5,
  }
}

function describe(config: Config): ModelDescription {
  const hidden = hiddenDim(config)
  const nHeads = heads(config, 'num_attention_heads')
  const dim = headDim(config, nHeads)
  const maps = heads(config, 'num_query_heads')
  const keyHeads = heads(config, 'num_key_heads')
  const valueHeads = heads(config, 'num_value_heads')
  const latentDim = config.integer('value_dim', { max: 1024 })
  // RoPE is head_dim wide, and the reference code scales scores by head_dim in one path and query_dim in the other.
  for (const name of ['query_dim', 'key_dim'])
    if (config.integer(name, { max: 1024 }) !== dim)
      throw mismatch(`"${name}" in config.json`, `head_dim ${dim}`, config.value(name), 'RoPE is head_dim wide')
  if (nHeads * dim !== hidden)
    throw mismatch('num_attention_heads × head_dim', `hidden_size ${hidden}`, nHeads * dim, 'check config.json')
  requireDivides(['num_key_heads', keyHeads], ['num_query_heads', maps])
  requireDivides(['num_value_heads', valueHeads], ['num_query_heads', maps])
  // The reference code divides with rounding down, so a config that breaks this silently gives a shape error or nothing.
  requireDivides(['num_query_heads × value_dim', maps * latentDim], ['hidden_size', hidden])
  const repeat = hidden / (maps * latentDim)

  const attention = latentValue({ maps, keyHeads, keyDim: dim, valueHeads, latentDim, repeat, rope: config.rope(dim) })
  const spec = llamaSpec(config, 'gta', attention)
  const sources = decoderSources(spec, (prefix) => {
    const q = linear(`${prefix}.q_proj`, maps * dim, hidden)
    const k = linear(`${prefix}.k_proj`, keyHeads * dim, hidden)
    const v = linear(`${prefix}.v_proj`, valueHeads * latentDim, hidden)
    const g = linear(`${prefix}.g_proj`, hidden, hidden)
    return {
      in: [q.weight, k.weight, v.weight, g.weight],
      inBias: [q.bias, k.bias, v.bias, g.bias],
      // The stored shape misleads: the memory holds P[map][latentDim][repeat·latentDim], and a row vector o_j is
      // multiplied from the left (SPEC §4.2). Each P_j transposed is the matrix that we apply.
      decoder: [
        {
          tensor: `${prefix}.v_b_proj.weight`,
          shape: [repeat * latentDim, maps * latentDim],
          transposedBlocks: maps,
        },
      ],
      out: [linear(`${prefix}.o_proj`, hidden, nHeads * dim).weight],
    }
  })
  return { spec, sources }
}
