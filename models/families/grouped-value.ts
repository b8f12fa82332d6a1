/**
 * GVA and GHA of the GTA paper (its Table 4; SPEC §3). No code was published; tensor names are Llama's. A map is shared by
 * g = n_h / n_q output heads. Output head i reads map α(i) = i // g and value head ν(i):
 *
 *     GVA          n_v = n_h    ν(i) = i                     a map's g values lie side by side: one value of g·d
 *     GHA block    n_v | n_h    ν(i) = i // (n_h / n_v)
 *     GHA stride   n_v | n_h    ν(i) = i mod n_v
 *
 * A GHA map averages the value heads that its output heads need, if they are one aligned block of the same size for
 * every map, else all n_v. Which average goes to which output head is a matter of W_o: columns that would read the same
 * average are added up at conversion. That is exact, and the engine needs no gather.
 */
import { type AttentionSpec, grouped } from '../attention.ts'
import type { Config } from '../config.ts'
import { type ModelDescription, mismatch, type Source } from '../spec.ts'
import { decoderSources, decoderSpec, headDim, heads, linear, requireDivides } from './decoder.ts'
import type { Family } from './index.ts'

export const gva: Family = {
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
    const attention = grouped({ maps, keyHeads, keyDim: dim, valueHeads: maps, valueDim: width, bias })
    return assemble(config, 'gva', attention, counts)
  },
}

export const gha: Family = {
  name: 'gha',
  kinds: ['gha'],
  architectures: ['GHAForCausalLM'],
  recognise: (config) => config.has('value_head_map'),
  describe: (config) => {
    const counts = headCounts(config)
    const { nHeads, valueHeads, maps, keyHeads, dim, bias } = counts
    const order = config.text('value_head_map')
    if (order !== 'block' && order !== 'stride')
      throw mismatch(
        '"value_head_map" in config.json',
        '"block" or "stride"',
        order,
        'the paper leaves it open, so it must be said',
      )
    const valueHead = (head: number) =>
      order === 'block' ? Math.floor(head / (nHeads / valueHeads)) : head % valueHeads
    const { size, first } = sharedBlock(nHeads, maps, valueHeads, valueHead)
    const attention: AttentionSpec = {
      ...grouped({
        maps,
        keyHeads,
        keyDim: dim,
        valueHeads: valueHeads / size,
        valueDim: size * dim,
        valueHeadOfMap: first.map((head) => head / size),
        bias,
      }),
      valuePairMacs: nHeads * dim,
    }
    const perMap = nHeads / maps
    const target = Array.from({ length: nHeads }, (_, head) => {
      const map = Math.floor(head / perMap)
      return map * size + valueHead(head) - (first[map] as number)
    })
    return assemble(config, 'gha', attention, counts, { width: dim, target })
  },
}

interface HeadCounts {
  nHeads: number
  maps: number
  keyHeads: number
  valueHeads: number
  dim: number
  bias: { in: boolean; out: boolean }
}

function headCounts(config: Config, valueHeadsFallback?: number): HeadCounts {
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

/** The block of value heads that every map averages: its size, and its first head for each map. */
function sharedBlock(nHeads: number, maps: number, valueHeads: number, valueHead: (head: number) => number) {
  const perMap = nHeads / maps
  const needed = Array.from({ length: maps }, (_, map) =>
    Array.from({ length: perMap }, (_, i) => valueHead(map * perMap + i)),
  )
  const first = needed.map((list) => Math.min(...list))
  const size = new Set(needed[0]).size
  const isBlock = needed.every(
    (list, map) =>
      new Set(list).size === size &&
      Math.max(...list) - (first[map] as number) === size - 1 &&
      (first[map] as number) % size === 0,
  )
  return isBlock && valueHeads % size === 0 ? { size, first } : { size: valueHeads, first: needed.map(() => 0) }
}

function assemble(
  config: Config,
  kind: string,
  attention: AttentionSpec,
  counts: HeadCounts,
  fold?: Source['fold'],
): ModelDescription {
  const { nHeads, maps, keyHeads, valueHeads, dim, bias } = counts
  const spec = decoderSpec(config, kind, attention)
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
