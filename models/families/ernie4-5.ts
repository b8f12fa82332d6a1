/**
 * ERNIE 4.5, dense (Baidu, transformers `ernie4_5`): Llama whose rotated entries are pairs of neighbours; rows of q and k are put in
 * half layout at conversion. `use_bias` is a bias on every matrix of a layer.
 */
import type { Config } from '../config.ts'
import { layerCount, range, rmsNorm, smallDecoder, swiGlu, unpairedRows } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedDecoder, groupedHeads } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import type { ModelDescription, Source } from '../spec.ts'

const small = { architectures: ['Ernie4_5ForCausalLM'] }

export const family: Family = {
  name: 'ernie4_5',
  kinds: [],
  architectures: ['Ernie4_5ForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'ernie4_5, 5 heads of 6 over 1': {
    ...smallDecoder(small, 22, 31, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
  },
  'ernie4_5, 4 heads of 10 over 2, all biases, untied': {
    ...smallDecoder(small, 34, 18, 37),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 10,
    use_bias: true,
    tie_word_embeddings: false,
  },
})

function describe(config: Config): ModelDescription {
  config.require('partial_rotary_factor', 1)
  const heads = groupedHeads(config, 128)
  const hasBias = config.boolean('use_bias', false)
  const norm = rmsNorm(config, 1e-5)
  const layer: LayerSpec = {
    mixer: grouped({ ...heads, bias: { in: hasBias, out: hasBias }, rope: config.rope(heads.keyDim, 5e5) }),
    ffn: swiGlu(config, hasBias),
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  }
  const { spec, sources } = groupedDecoder(config, {
    layers: range(layerCount(config), () => layer),
    isTied: config.boolean('tie_word_embeddings', true),
    headNorm: norm,
    maxContext: 131072,
  })
  const { maps, keyHeads, keyDim } = heads
  const [queryRows, keyRows] = [unpairedRows(maps, keyDim), unpairedRows(keyHeads, keyDim)]
  const unpaired = (list: Source[] = []) =>
    list.map((source, i) =>
      i === 0 ? { ...source, rows: queryRows } : i === 1 ? { ...source, rows: keyRows } : source,
    )
  return {
    spec,
    sources: {
      ...sources,
      layer: (index) => {
        const layerSources = sources.layer(index)
        return { ...layerSources, in: unpaired(layerSources.in), inBias: unpaired(layerSources.inBias) }
      },
    },
  }
}
