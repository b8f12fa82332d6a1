/**
 * GHA of the GTA paper (its Table 4; SPEC §3): g = n_h / n_q output heads read the same map, and value heads are shared in one
 * of two orders, which the paper leaves open. Output head i reads value head
 *
 *     block    i // (n_h / n_v)          stride    i mod n_v
 *
 * A map averages the value heads that its output heads need, if they are one aligned block of the same size for every map,
 * else all n_v. Which average goes to which output head is a matter of W_o: columns that would read the same average are
 * added up at conversion. That is exact, and the engine needs no gather.
 */
import { smallDecoder } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { mismatch } from '../spec.ts'
import { grouped } from './gqa.ts'
import { describeShared, headCounts } from './gva.ts'

export const family: Family = {
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
    const attention = grouped({
      maps,
      keyHeads,
      keyDim: dim,
      valueHeads: valueHeads / size,
      valueDim: size * dim,
      valueHeadOfMap: first.map((head) => head / size),
      bias,
      rope: config.rope(dim),
    })
    const perMap = nHeads / maps
    const target = Array.from({ length: nHeads }, (_, head) => {
      const map = Math.floor(head / perMap)
      return map * size + valueHead(head) - (first[map] as number)
    })
    return describeShared(config, 'gha', attention, counts, { width: dim, target })
  },
}

export const shapes: Shapes = () => ({
  'gha block, blocks that straddle maps': {
    ...smallDecoder({ attention_kind: 'gha' }, 72, 31, 43),
    value_head_map: 'block',
    num_attention_heads: 12,
    head_dim: 6,
    num_query_heads: 2,
    num_key_heads: 1,
    num_value_heads: 3,
  },
  'gha block, more values than maps': {
    ...smallDecoder({ attention_kind: 'gha' }, 64, 31, 43),
    value_head_map: 'block',
    num_attention_heads: 16,
    head_dim: 4,
    num_query_heads: 4,
    num_key_heads: 2,
    num_value_heads: 8,
  },
  'gha stride, heads per map no multiple of values': {
    ...smallDecoder({ attention_kind: 'gha' }, 72, 31, 43),
    value_head_map: 'stride',
    num_attention_heads: 12,
    head_dim: 6,
    num_query_heads: 2,
    num_key_heads: 1,
    num_value_heads: 4,
  },
  'gha stride, more values than heads per map': {
    ...smallDecoder({ attention_kind: 'gha' }, 48, 31, 43),
    value_head_map: 'stride',
    num_attention_heads: 8,
    head_dim: 6,
    num_query_heads: 4,
    num_key_heads: 4,
    num_value_heads: 4,
  },
  'gha stride, three values in steps of two': {
    ...smallDecoder({ attention_kind: 'gha' }, 36, 31, 43),
    value_head_map: 'stride',
    num_attention_heads: 6,
    head_dim: 6,
    num_query_heads: 3,
    num_key_heads: 3,
    num_value_heads: 3,
    qkv_bias: true,
  },
})

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
