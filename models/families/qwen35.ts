/**
 * Qwen 3.5, text only (transformers `qwen3_5_text`): three of four layers are gated delta nets (arXiv 2412.06464), the others
 * attention, a part of whose heads is rotated and whose averages pass a gate. Norms keep w − 1, but for that of the delta net.
 *
 *     q_proj     head by head [query | gate]           averages ⊙ σ(gate) before o_proj
 *     in_proj    qkv, z, b, a                          dt_bias is the bias of a
 *
 * Of a checkpoint that also sees (`qwen3_5`, Qwen3_5ForConditionalGeneration) the text part runs: its config is in `text_config`,
 * its tensors begin with `model.language_model`. The others, and layers that predict several tokens (`mtp`), are left out.
 */
import { MAX_WIDTH } from '../../assembly/abi.ts'
import type { AttentionSpec } from '../attention.ts'
import type { Config } from '../config.ts'
import {
  decoderSources,
  decoderSpec,
  type Folding,
  headNorm,
  layerCount,
  linear,
  range,
  requireDivides,
  rmsNorm,
  smallDecoder,
  swiGlu,
  zeros,
} from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { grouped, groupedHeads, groupedKind } from '../kinds/gqa.ts'
import type { LayerSpec } from '../layer.ts'
import { type LayerSources, layerOf, type ModelDescription, mismatch } from '../spec.ts'
import { convChannels, type DeltaSpec, stateNumbers } from '../state.ts'

const small = { architectures: ['Qwen3_5ForCausalLM'] }
/** Numbers of the matrices of one layer, as the engine allows them. */
const MAX_STATE = 2 ** 24
const SEEING = 'Qwen3_5ForConditionalGeneration'

export const family: Family = {
  name: 'qwen3_5',
  kinds: [],
  architectures: ['Qwen3_5ForCausalLM', SEEING],
  describe: (config) =>
    config.architectures().includes(SEEING)
      ? describe(config.nested('text_config', outerFields(config)), { model: 'model.language_model' })
      : describe(config),
}

export const shapes: Shapes = () => ({
  'qwen3_5, 3 value heads of 6 for each of 2 key heads of 5, 3 taps': {
    ...smallDecoder(small, 22, 31, 43),
    num_hidden_layers: 3,
    num_attention_heads: 3,
    num_key_value_heads: 1,
    head_dim: 8,
    rms_norm_eps: 1e-2,
    partial_rotary_factor: 0.5,
    full_attention_interval: 3,
    linear_conv_kernel_dim: 3,
    linear_num_key_heads: 2,
    linear_key_head_dim: 5,
    linear_num_value_heads: 6,
    linear_value_head_dim: 6,
  },
  'qwen3_5 within a model that sees, a value head of 18, biases, untied': {
    architectures: [SEEING],
    vision_config: {},
    // Not read: the text part has its own.
    vocab_size: 37,
    text_config: {
      ...smallDecoder(small, 30, 18, 37),
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 16,
      attention_bias: true,
      layer_types: ['full_attention', 'linear_attention'],
      linear_conv_kernel_dim: 4,
      linear_num_key_heads: 1,
      linear_key_head_dim: 7,
      linear_num_value_heads: 1,
      linear_value_head_dim: 18,
      tie_word_embeddings: false,
    },
  },
})

/** Whether the head is tied may be said once, for the whole model. */
function outerFields(config: Config): Record<string, unknown> {
  return config.has('tie_word_embeddings') ? { tie_word_embeddings: config.value('tie_word_embeddings') } : {}
}

function describe(config: Config, names: Folding = {}): ModelDescription {
  config.require('attn_output_gate', true)
  const heads = groupedHeads(config, 256)
  const hasBias = config.boolean('attention_bias', false)
  const norm = rmsNorm(config)
  const attention: AttentionSpec = {
    ...grouped({
      ...heads,
      bias: { in: hasBias, out: hasBias },
      rope: config.rope(config.rotaryDim(heads.keyDim, 'partial_rotary_factor', 0.25), 10000, true),
      norm: { eps: norm.eps, spans: 'head' },
    }),
    gate: 'sigmoid',
  }
  const delta = deltaNet(config, norm.eps)
  const ffn = swiGlu(config)
  const layer = (attends: boolean): LayerSpec => ({
    mixer: attends ? attention : delta,
    ffn,
    norms: { mixerIn: norm, ffnIn: norm },
    isParallel: false,
  })
  const spec = decoderSpec(config, {
    kind: groupedKind(heads.maps, heads.keyHeads),
    layers: attendingLayers(config, layerCount(config)).map(layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
    maxContext: 32768,
  })
  const { model = 'model' } = names
  const mixer = (_: string, index: number) => {
    const own = layerOf(spec, index).mixer
    return own.is === 'attention'
      ? attentionSources(`${model}.layers.${index}.self_attn`, own, spec.hiddenDim)
      : deltaSources(`${model}.layers.${index}.linear_attn`, delta, spec.hiddenDim)
  }
  return { spec, sources: decoderSources(spec, mixer, { ...names, normPlus: 1 }) }
}

function deltaNet(config: Config, eps: number): DeltaSpec {
  const size = (name: string, fallback: number) => config.integer(name, { max: 1024, fallback })
  const [keyHeads, valueHeads] = [size('linear_num_key_heads', 16), size('linear_num_value_heads', 32)]
  requireDivides(['linear_num_key_heads', keyHeads], ['linear_num_value_heads', valueHeads])
  const delta: DeltaSpec = {
    is: 'delta',
    taps: config.integer('linear_conv_kernel_dim', { min: 2, max: 64, fallback: 4 }),
    keyHeads,
    keyDim: size('linear_key_head_dim', 128),
    valueHeads,
    valueDim: size('linear_value_head_dim', 128),
    // GGUF files have value heads in another order: the key heads over and over (host/files/gguf/config.ts).
    ...(config.boolean('linear_value_heads_tiled', false) ? { isTiled: true } : {}),
    eps,
  }
  const { matrices } = stateNumbers(delta)
  if (convChannels(delta) > MAX_WIDTH || matrices > MAX_STATE)
    throw mismatch(
      '"linear_num_value_heads" × "linear_value_head_dim" in config.json, with its keys,',
      `at most ${MAX_WIDTH} numbers of a token and ${MAX_STATE} of a state`,
      [convChannels(delta), matrices],
      'check config.json',
    )
  return delta
}

/** Layer by layer, whether it attends: the last of each group where the config does not say. */
function attendingLayers(config: Config, count: number): boolean[] {
  const types = config.value('layer_types')
  if (types === undefined) {
    const interval = config.integer('full_attention_interval', { fallback: 4 })
    return range(count, (index) => (index + 1) % interval === 0)
  }
  const isList = Array.isArray(types) && types.length === count
  if (!isList || types.some((type) => type !== 'full_attention' && type !== 'linear_attention'))
    throw mismatch(
      '"layer_types" in config.json',
      `${count} times "full_attention" or "linear_attention"`,
      types,
      'check config.json',
    )
  return types.map((type) => type === 'full_attention')
}

function attentionSources(prefix: string, attention: AttentionSpec, width: number): LayerSources {
  const { maps, outDim: dim, slots, bias } = attention
  const kvHeads = slots.k?.heads ?? 0
  const q = linear(`${prefix}.q_proj`, 2 * maps * dim, width)
  const k = linear(`${prefix}.k_proj`, kvHeads * dim, width)
  const v = linear(`${prefix}.v_proj`, kvHeads * dim, width)
  const o = linear(`${prefix}.o_proj`, width, maps * dim)
  // Half 0 of each head of q_proj is its query, half 1 its gate.
  const half = (which: number) => range(maps * dim, (i) => i + dim * (Math.floor(i / dim) + which))
  const fused = (part: 'weight' | 'bias') => [
    { ...q[part], rows: half(0) },
    k[part],
    v[part],
    { ...q[part], rows: half(1) },
  ]
  return {
    in: fused('weight'),
    inBias: bias.in ? fused('bias') : [],
    queryNorm: headNorm(`${prefix}.q_norm`, 'head', maps, dim, 1),
    slotNorm: headNorm(`${prefix}.k_norm`, 'head', kvHeads, dim, 1),
    out: [o.weight],
    outBias: bias.out ? [o.bias] : [],
  }
}

function deltaSources(prefix: string, delta: DeltaSpec, width: number): LayerSources {
  const { taps, valueHeads, valueDim } = delta
  const channels = convChannels(delta)
  const outWidth = valueHeads * valueDim
  const projection = (name: string, rows: number) => linear(`${prefix}.in_proj_${name}`, rows, width).weight
  return {
    in: [
      projection('qkv', channels),
      projection('z', outWidth),
      projection('b', valueHeads),
      projection('a', valueHeads),
    ],
    inBias: [zeros(channels + outWidth + valueHeads), { tensor: `${prefix}.dt_bias`, shape: [valueHeads] }],
    conv: [{ tensor: `${prefix}.conv1d.weight`, shape: [channels, 1, taps], transposedBlocks: 1 }],
    decay: [{ tensor: `${prefix}.A_log`, shape: [valueHeads] }],
    stateNorm: [{ tensor: `${prefix}.norm.weight`, shape: [valueDim] }],
    out: [linear(`${prefix}.out_proj`, width, outWidth).weight],
  }
}
