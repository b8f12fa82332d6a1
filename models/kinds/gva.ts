/**
 * GVA of the GTA paper (its Table 4; SPEC §3): every output head has a value head of its own, and g = n_h / n_q of them read
 * the same map. No code was published; tensor names are Llama's. A map's g values lie side by side: one value of g·d.
 */
import type { AttentionSpec } from '../attention.ts'
import type { Config } from '../config.ts'
import { decoderSources, headDim, heads, linear, llamaSpec, requireDivides, smallDecoder } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { type ModelDescription, mismatch, type Source } from '../spec.ts'
import { grouped } from './gqa.ts'

export const family: Family = {
  name: 'gva',
  kinds: ['gva'],
  architectures: ['GVAForCausalLM'],
  describe: (config) => {
    const counts = headCounts(config, heads(config, 'num_attention_heads'))
    const { nHeads, valueHeads, maps, keyHeads, dim, bias } = counts
    if (valueHeads !== nHeads)
      throw mismatch(
        '"num_value_heads" in config.json',
        `num_attention_heads ${nHeads}`,
        valueHeads,
        'a GVA model has a value head per head',
      )
    const width = (nHeads / maps) * dim
    const rope = config.rope(dim)
    const attention = grouped({ maps, keyHeads, keyDim: dim, valueHeads: maps, valueDim: width, bias, rope })
    return describeShared(config, 'gva', attention, counts)
  },
}

export const shapes: Shapes = () => ({
  'gva, 3 maps for 9 heads of 6': {
    ...smallDecoder({ attention_kind: 'gva' }, 54, 31, 43),
    num_attention_heads: 9,
    head_dim: 6,
    num_query_heads: 3,
    num_key_heads: 1,
    num_value_heads: 9,
  },
  'gva with as many maps as heads': {
    ...smallDecoder({ attention_kind: 'gva' }, 40, 31, 43),
    num_attention_heads: 4,
    head_dim: 10,
    num_query_heads: 4,
    num_key_heads: 2,
    num_value_heads: 4,
    attention_bias: true,
  },
})

/** Head counts of GVA and GHA: output heads, maps that they share, and the heads of keys and values. */
export interface HeadCounts {
  nHeads: number
  maps: number
  keyHeads: number
  valueHeads: number
  dim: number
  bias: { in: boolean; out: boolean }
}

export function headCounts(config: Config, valueHeadsFallback?: number): HeadCounts {
  const nHeads = heads(config, 'num_attention_heads')
  const maps = heads(config, 'num_query_heads')
  const keyHeads = heads(config, 'num_key_heads')
  const valueHeads = heads(config, 'num_value_heads', valueHeadsFallback)
  requireDivides(['num_query_heads', maps], ['num_attention_heads', nHeads])
  requireDivides(['num_key_heads', keyHeads], ['num_query_heads', maps])
  requireDivides(['num_value_heads', valueHeads], ['num_attention_heads', nHeads])
  const out = config.boolean('attention_bias', false)
  const bias = { in: out || config.boolean('qkv_bias', false), out }
  return { nHeads, maps, keyHeads, valueHeads, dim: headDim(config, nHeads), bias }
}

/** A model of shared maps; `fold` adds up columns of W_o that read the same average. */
export function describeShared(
  config: Config,
  kind: string,
  attention: AttentionSpec,
  counts: HeadCounts,
  fold?: Source['fold'],
): ModelDescription {
  const { nHeads, maps, keyHeads, valueHeads, dim, bias } = counts
  const spec = llamaSpec(config, kind, attention)
  const sources = decoderSources(spec, (prefix) => {
    const q = linear(`${prefix}.q_proj`, maps * dim, spec.hiddenDim)
    const k = linear(`${prefix}.k_proj`, keyHeads * dim, spec.hiddenDim)
    const v = linear(`${prefix}.v_proj`, valueHeads * dim, spec.hiddenDim)
    const o = linear(`${prefix}.o_proj`, spec.hiddenDim, nHeads * dim)
    return {
      in: [q.weight, k.weight, v.weight],
      inBias: bias.in ? [q.bias, k.bias, v.bias] : [],
      out: [{ ...o.weight, fold }],
      outBias: bias.out ? [o.bias] : [],
    }
  })
  return { spec, sources }
}
