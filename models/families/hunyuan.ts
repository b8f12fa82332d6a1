/**
 * Hunyuan, dense (Tencent, transformers `hunyuan_v1_dense`): Llama whose queries and keys are normed head by head behind the
 * rotation. A rotation changes no norm, so with weights w_q and w_k
 *
 *     score = (w_q ⊙ R q / |q|) · (w_k ⊙ R k / |k|) = (w_q ⊙ w_k ⊙ R q / |q|) · (R k / |k|)
 *
 * and a cached key stays a rotated one, which can be rotated further. `rope_scaling` of type dynamic has a factor alpha of the
 * base, in any text: theta · alpha^(d / (d − 2)).
 */
import { power } from '../arithmetic.ts'
import type { Rope } from '../attention.ts'
import type { Config } from '../config.ts'
import { decoderSources, decoderSpec, layerCount, range, rmsNorm, smallDecoder, swiGlu } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedHeads, groupedKind, groupedSources } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import { type LayerSources, type ModelDescription, mismatch } from '../spec.ts'

const small = { architectures: ['HunYuanDenseV1ForCausalLM'] }

export const family: Family = {
  name: 'hunyuan',
  kinds: [],
  architectures: ['HunYuanDenseV1ForCausalLM'],
  describe,
}

export const shapes: Shapes = () => ({
  'hunyuan, 5 heads of 6 over 1': {
    ...smallDecoder(small, 22, 31, 43),
    num_attention_heads: 5,
    num_key_value_heads: 1,
    head_dim: 6,
    rms_norm_eps: 1e-2,
  },
  'hunyuan, 4 heads of 10 over 2, a factor of the base, biases, untied': {
    ...smallDecoder(small, 34, 18, 37),
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 10,
    rope_scaling: { type: 'dynamic', alpha: 20, factor: 1 },
    attention_bias: true,
    tie_word_embeddings: false,
  },
})

function describe(config: Config): ModelDescription {
  config.require('partial_rotary_factor', 1)
  // Of those with a mixture of experts, which have a class of their own.
  config.require('use_qk_norm', true)
  config.require('use_cla', false)
  const heads = groupedHeads(config)
  const { maps, keyHeads, keyDim } = heads
  const hasBias = config.boolean('attention_bias', false)
  const norm = rmsNorm(config, 1e-5)
  const mixer = grouped({
    ...heads,
    bias: { in: hasBias, out: hasBias },
    rope: rotation(config, keyDim),
    norm: { eps: norm.eps, spans: 'head' },
    queryNorm: { eps: norm.eps, spans: 'turned' },
  })
  const layer: LayerSpec = { mixer, ffn: swiGlu(config), norms: { mixerIn: norm, ffnIn: norm }, isParallel: false }
  const spec = decoderSpec(config, {
    kind: groupedKind(maps, keyHeads),
    layers: range(layerCount(config), () => layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
  })
  const rows = range(maps * keyDim, (i) => i % keyDim)
  const attention = (prefix: string): LayerSources => {
    const [tensor, timesTensor] = ['query', 'key'].map((name) => `${prefix}.${name}_layernorm.weight`)
    return {
      ...groupedSources(prefix, mixer, spec.hiddenDim),
      queryNorm: [{ tensor, timesTensor, shape: [keyDim], rows }],
      slotNorm: [{ shape: [keyHeads * keyDim], plus: 1 }],
    }
  }
  return { spec, sources: decoderSources(spec, attention) }
}

function rotation(config: Config, dim: number): Rope {
  const place = ['rope_scaling', 'rope_parameters'].find((name) => config.has(name))
  const scaling = place === undefined ? undefined : config.child(place)
  const type = scaling?.value('rope_type') ?? scaling?.value('type')
  if (type !== 'dynamic' || !scaling?.has('alpha')) return config.rope(dim)
  const theta = (scaling.has('rope_theta') ? scaling : config).above('rope_theta', 1.001, 10000)
  const turned = theta * power(scaling.above('alpha', 1), dim / (dim - 2))
  if (!(turned <= 1e30))
    throw mismatch(
      '"alpha" in rope_scaling',
      `a number for heads of ${dim}`,
      scaling.value('alpha'),
      'check config.json',
    )
  return { dim, theta: turned }
}
