/**
 * What all families share: the Llama decoder layer around the attention (SPEC §1) and its tensor names.
 */
import { MAX_WIDTH } from '../../assembly/abi.ts'
import type { AttentionSpec } from '../attention.ts'
import type { Config } from '../config.ts'
import {
  type AttentionSources,
  ModelError,
  type ModelSources,
  type ModelSpec,
  mismatch,
  type Source,
  show,
} from '../spec.ts'

/** The fields that every decoder has, with the attention that the family read. */
export function decoderSpec(config: Config, kind: string, attention: AttentionSpec): ModelSpec {
  config.require('hidden_act', 'silu')
  config.require('mlp_bias', false)
  config.require('partial_rotary_factor', 1)
  if (config.value('use_sliding_window') !== false) config.require('sliding_window', undefined)
  refuseQuantised(config)
  const outWidth = attention.maps * attention.outDim
  if (outWidth > MAX_WIDTH)
    throw mismatch(
      '"num_attention_heads" × head_dim in config.json',
      `at most ${MAX_WIDTH}`,
      outWidth,
      'check config.json',
    )
  const vocabSize = config.integer('vocab_size')
  const rope = config.rope()
  return {
    kind,
    vocabSize,
    hiddenDim: hiddenDim(config),
    ffnDim: config.integer('intermediate_size', { max: MAX_WIDTH }),
    nLayers: config.integer('num_hidden_layers', { max: 1024 }),
    maxContext: config.integer('max_position_embeddings', { fallback: 2048 }),
    normEps: config.positive('rms_norm_eps', { max: 1, fallback: 1e-6 }),
    rope,
    isTied: config.boolean('tie_word_embeddings', false),
    attention,
    bos: config.tokenIds('bos_token_id', vocabSize)[0],
    eos: config.tokenIds('eos_token_id', vocabSize),
  }
}

/** fp8 and packed int4 checkpoints: their numbers mean nothing without their own scales. */
function refuseQuantised(config: Config): void {
  if (!config.has('quantization_config')) return
  const method = config.child('quantization_config').value('quant_method')
  throw new ModelError(
    `"quantization_config" in config.json must be absent, found ${show(method ?? config.value('quantization_config'))}: quantised checkpoints (fp8, packed int4, …) are not supported, use the original weights`,
  )
}

export function hiddenDim(config: Config): number {
  return config.integer('hidden_size', { max: MAX_WIDTH })
}

/** head_dim, or hidden_size / num_attention_heads when it is absent. */
export function headDim(config: Config, nHeads: number): number {
  const hidden = hiddenDim(config)
  if (!config.has('head_dim') && hidden % nHeads !== 0)
    throw mismatch(
      '"hidden_size" in config.json',
      `a multiple of num_attention_heads ${nHeads}`,
      hidden,
      'or give head_dim',
    )
  const dim = config.integer('head_dim', { max: 1024, fallback: hidden / nHeads })
  if (dim % 2 !== 0)
    throw mismatch('"head_dim" in config.json', 'even, because RoPE rotates pairs', dim, 'check config.json')
  return dim
}

/** Number of heads; a head count above 1024 is a broken file. */
export function heads(config: Config, name: string, fallback?: number): number {
  return config.integer(name, { max: 1024, fallback })
}

export function requireDivides(small: [string, number], large: [string, number]): void {
  if (large[1] % small[1] !== 0)
    throw mismatch(
      `"${large[0]}" in config.json`,
      `a multiple of ${small[0]} ${small[1]}`,
      large[1],
      'check config.json',
    )
}

/** Linear weights `name.weight (rows × cols)`, and `name.bias` when asked for. */
export function linear(name: string, rows: number, cols: number) {
  return { weight: { tensor: `${name}.weight`, shape: [rows, cols] }, bias: { tensor: `${name}.bias`, shape: [rows] } }
}

/** As many zeros: a part of a fused bias that a checkpoint does not have. */
export function zeros(length: number): Source {
  return { shape: [length] }
}

/** [f(0), f(1), …] */
export function range(length: number, f: (i: number) => number): number[] {
  return Array.from({ length }, (_, i) => f(i))
}

/** Tensor names of the decoder around the attention; the family adds its own. */
export function decoderSources(spec: ModelSpec, attention: (prefix: string) => AttentionSources): ModelSources {
  const { hiddenDim: width, ffnDim, vocabSize } = spec
  const norm = (name: string) => [{ tensor: `${name}.weight`, shape: [width] }]
  return {
    embed: [{ tensor: 'model.embed_tokens.weight', shape: [vocabSize, width] }],
    norm: norm('model.norm'),
    head: spec.isTied ? [] : [{ tensor: 'lm_head.weight', shape: [vocabSize, width] }],
    layer: (index) => {
      const prefix = `model.layers.${index}`
      return {
        attnNorm: norm(`${prefix}.input_layernorm`),
        ...attention(`${prefix}.self_attn`),
        ffnNorm: norm(`${prefix}.post_attention_layernorm`),
        gateUp: [
          linear(`${prefix}.mlp.gate_proj`, ffnDim, width).weight,
          linear(`${prefix}.mlp.up_proj`, ffnDim, width).weight,
        ],
        down: [linear(`${prefix}.mlp.down_proj`, width, ffnDim).weight],
      }
    },
    isRedundant: (tensor) => tensor.endsWith('.rotary_emb.inv_freq') || (spec.isTied && tensor === 'lm_head.weight'),
  }
}
