/**
 * What families share: reading the fields that every config has, the Llama layer around an attention (SPEC §1), and the
 * tensor names of Hugging Face's decoders.
 */
import { MAX_WIDTH } from '../assembly/abi.ts'
import type { AttentionSpec, HeadNorm } from './attention.ts'
import { type Config, quantisations } from './config.ts'
import { attentionOf, type FeedForward, type LayerSpec, type Norm, type NormPlace, normPlaces } from './layer.ts'
import { longestContext } from './long-context.ts'
import {
  arrange,
  type LayerSources,
  layerOf,
  ModelError,
  type ModelSources,
  type ModelSpec,
  mismatch,
  type Source,
  show,
} from './spec.ts'

/** What a family says of its models, beyond the fields that every config has. */
export interface Decoder {
  /** Name of the attention kind. */
  kind: string
  /** Layer by layer. */
  layers: LayerSpec[]
  embeddingScale?: number
  /** Learned positions: so many. */
  positions?: number
  isTied: boolean
  headNorm: Norm
  softcap?: number
  /** Where max_position_embeddings may be absent. */
  maxContext?: number
  /** Where the context ends sooner: what comes behind is not computed here. */
  contextEnd?: number
}

export function decoderSpec(config: Config, decoder: Decoder): ModelSpec {
  const { kind, layers, embeddingScale = 1, positions, isTied, headNorm, softcap } = decoder
  refuseQuantised(config)
  for (const { mixer } of layers)
    if (mixer.is === 'attention' && mixer.maps * mixer.outDim > MAX_WIDTH)
      throw mismatch(
        '"num_attention_heads" × head_dim in config.json',
        `at most ${MAX_WIDTH}`,
        mixer.maps * mixer.outDim,
        'check config.json',
      )
  const vocabSize = config.integer('vocab_size')
  const contexts = contextOf(config, decoder)
  return {
    kind,
    vocabSize,
    hiddenDim: hiddenDim(config),
    ...contexts,
    embedding: { scale: embeddingScale, ...(positions === undefined ? {} : { positions }) },
    ...arrange(layers.map((layer) => withoutIdleWindow(layer, longestContext(contexts)))),
    head: { norm: headNorm, isTied, bias: false, ...(softcap === undefined ? {} : { softcap }) },
    bos: config.tokenIds('bos_token_id', vocabSize)[0],
    eos: config.tokenIds('eos_token_id', vocabSize),
  }
}

/** How long a text may be; with longrope one set of frequencies holds up to the original context, another for longer ones. */
function contextOf(
  config: Config,
  { layers, maxContext, contextEnd }: Decoder,
): Pick<ModelSpec, 'maxContext' | 'longContext'> {
  const whole = config.integer('max_position_embeddings', { fallback: maxContext ?? 2048 })
  const originals = layers.flatMap((layer) => {
    const scaling = attentionOf(layer)?.rope?.scaling
    return scaling?.type === 'longrope' ? [scaling.originalContext] : []
  })
  const context = Math.min(whole, contextEnd ?? whole, ...originals)
  return { maxContext: context, ...(originals.some((original) => original < whole) ? { longContext: whole } : {}) }
}

/** No text is so long that a window of the context would hide something of it. */
function withoutIdleWindow(layer: LayerSpec, context: number): LayerSpec {
  if (layer.mixer.is !== 'attention') return layer
  const { window, ...mixer } = layer.mixer
  return window === undefined || window < context ? layer : { ...layer, mixer }
}

/** A Llama model but for its attention, the same in every layer. */
export function llamaSpec(config: Config, kind: string, attention: AttentionSpec, ffn = swiGlu(config)): ModelSpec {
  config.require('partial_rotary_factor', 1)
  if (config.value('use_sliding_window') !== false) config.require('sliding_window', undefined)
  const norm = rmsNorm(config)
  const layer: LayerSpec = { mixer: attention, ffn, norms: { mixerIn: norm, ffnIn: norm }, isParallel: false }
  return decoderSpec(config, {
    kind,
    layers: range(layerCount(config), () => layer),
    isTied: config.boolean('tie_word_embeddings', false),
    headNorm: norm,
  })
}

export function layerCount(config: Config): number {
  return config.integer('num_hidden_layers', { max: 1024 })
}

/** `fallback` is the eps of the class. */
export function rmsNorm(config: Config, fallback = 1e-6): Norm {
  return { kind: 'rms', eps: config.positive('rms_norm_eps', { max: 1, fallback }) }
}

/** W_down (silu(W_gate z) ⊙ W_up z); a class whose `mlp_bias` means something gives it as `bias`. */
export function swiGlu(config: Config, bias?: boolean): FeedForward {
  config.require('hidden_act', 'silu')
  if (bias === undefined) config.require('mlp_bias', false)
  return { width: ffnWidth(config), activation: 'silu', isGated: true, bias: bias ?? false }
}

export function ffnWidth(config: Config): number {
  return config.integer('intermediate_size', { max: MAX_WIDTH })
}

/** fp8, packed int4 and the like: their numbers mean nothing without their own scales. */
function refuseQuantised(config: Config): void {
  const field = quantisations.find((name) => config.has(name))
  if (field === undefined) return
  const value = config.value(field)
  const { quant_method: method, bits } = (typeof value === 'object' ? value : {}) as Record<string, unknown>
  // MLX names no method.
  const found = method ?? (bits === undefined ? value : { bits })
  throw new ModelError(
    `"${field}" in config.json must be absent, found ${show(found)}: quantised checkpoints (AWQ, GPTQ, fp8, bitsandbytes, MLX, …) are not supported, use the original weights, or a GGUF file of the model`,
  )
}

export function hiddenDim(config: Config): number {
  return config.integer('hidden_size', { max: MAX_WIDTH })
}

/** head_dim; when it is absent the default of the class, or hidden_size / num_attention_heads where it has none. */
export function headDim(config: Config, nHeads: number, classDefault?: number): number {
  const hidden = hiddenDim(config)
  if (!config.has('head_dim') && classDefault === undefined && hidden % nHeads !== 0)
    throw mismatch(
      '"hidden_size" in config.json',
      `a multiple of num_attention_heads ${nHeads}`,
      hidden,
      'or give head_dim',
    )
  const dim = config.integer('head_dim', { max: 1024, fallback: classDefault ?? hidden / nHeads })
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

/** Rows of heads of `dim` whose `rotated` last entries are in pairs of neighbours, in half layout. */
export function unpairedRows(heads: number, dim: number, rotated = dim): number[] {
  const plain = dim - rotated
  return range(heads * dim, (row) => {
    const i = (row % dim) - plain
    if (i < 0) return row
    return row - i + (i < rotated / 2 ? 2 * i : 2 * (i - rotated / 2) + 1)
  })
}

/** [f(0), f(1), …] */
export function range<T>(length: number, f: (i: number) => T): T[] {
  return Array.from({ length }, (_, i) => f(i))
}

/** Names of the norms in a layer, by their place; those of Llama are the usual ones. */
export type NormNames = Partial<Record<NormPlace, string>>

const llamaNorms: NormNames = { mixerIn: 'input_layernorm', ffnIn: 'post_attention_layernorm' }

/** Names where both blocks have a norm before and one behind. */
export const sandwichNorms: NormNames = {
  mixerIn: 'input_layernorm',
  mixerOut: 'post_attention_layernorm',
  ffnIn: 'pre_feedforward_layernorm',
  ffnOut: 'post_feedforward_layernorm',
}

/** What is folded into the weights around the attention, and how the norms are called. */
export interface Folding {
  /** What the names of all tensors but the head's begin with; default "model". */
  model?: string
  /** Name of the output head; default "lm_head". */
  head?: string
  norms?: NormNames
  /** What the norms' weights lack: 1 where a checkpoint keeps w − 1. */
  normPlus?: number
  /** Sources of the feed-forward block; default: gate_proj, up_proj and down_proj. */
  feedForward?(layer: string, ffn: FeedForward, hiddenDim: number): LayerSources
  /** Factor of what either block adds to the residual stream. */
  branch?: number
  /** Factor of the logits. It goes into the last norm, because a tied head shares its matrix with the embedding. */
  logits?: number
  /** So often each layer of the checkpoint comes, one time right behind the other; default 1. */
  repeats?: number
}

/** Names of the text part of a checkpoint that also sees: transformers before 4.52 saved the first, later ones the second. */
export function textPartNames(tensors: readonly string[]): Folding {
  return tensors.some((name) => name.startsWith('language_model.model.'))
    ? { model: 'language_model.model', head: 'language_model.lm_head' }
    : { model: 'model.language_model', head: 'lm_head' }
}

/** Tensor names of a decoder around its attention, of which the family gives the sources, layer by layer. */
export function decoderSources(
  spec: ModelSpec,
  attention: (prefix: string, index: number) => LayerSources,
  folding: Folding = {},
): ModelSources {
  const { model = 'model', head = 'lm_head', norms = llamaNorms, normPlus, feedForward = mlp, branch, logits } = folding
  const { repeats = 1 } = folding
  const { hiddenDim: width, vocabSize } = spec
  const norm = (name: string): Source => ({ tensor: `${name}.weight`, shape: [width], ...plus(normPlus) })
  const { isTied } = spec.head
  return {
    embed: [{ tensor: `${model}.embed_tokens.weight`, shape: [vocabSize, width] }],
    norm: [{ ...norm(`${model}.norm`), ...times(logits) }],
    head: isTied ? [] : [{ tensor: `${head}.weight`, shape: [vocabSize, width] }],
    layer: (index) => {
      const prefix = `${model}.layers.${Math.floor(index / repeats)}`
      const named = normPlaces.flatMap((place) => {
        const name = norms[place]
        return name === undefined ? [] : [[`${place}Norm`, [norm(`${prefix}.${name}`)]]]
      })
      const blocks = {
        ...attention(`${prefix}.self_attn`, index),
        ...feedForward(prefix, layerOf(spec, index).ffn, width),
      }
      return { ...Object.fromEntries(named), ...scaledBranches(blocks, branch) }
    },
    isRedundant: (tensor) => tensor.endsWith('.rotary_emb.inv_freq') || (isTied && tensor === `${head}.weight`),
  }
}

/** gate_proj, up_proj and down_proj, with biases if they have some. */
function mlp(layer: string, ffn: FeedForward, hiddenDim: number): LayerSources {
  const entering = (ffn.isGated ? ['gate', 'up'] : ['up']).map((name) =>
    linear(`${layer}.mlp.${name}_proj`, ffn.width, hiddenDim),
  )
  const down = linear(`${layer}.mlp.down_proj`, hiddenDim, ffn.width)
  return {
    gateUp: entering.map(({ weight }) => weight),
    gateUpBias: ffn.bias ? entering.map(({ bias }) => bias) : [],
    down: [down.weight],
    downBias: ffn.bias ? [down.bias] : [],
  }
}

/** One matrix for [gate; up], and the one behind them, by their names in a layer. */
export function fusedFeedForward(gateUp: string, down: string): NonNullable<Folding['feedForward']> {
  return (layer, { width }, hiddenDim) => ({
    gateUp: [linear(`${layer}.${gateUp}`, 2 * width, hiddenDim).weight],
    down: [linear(`${layer}.${down}`, hiddenDim, width).weight],
  })
}

/** The same with a factor in the last matrix of both blocks. */
function scaledBranches(layer: LayerSources, factor: number | undefined): LayerSources {
  if (factor === undefined || factor === 1) return layer
  const scaled = (['out', 'outBias', 'down', 'downBias'] as const).map((name) => [
    name,
    (layer[name] ?? []).map((source) => ({ ...source, times: factor })),
  ])
  return { ...layer, ...Object.fromEntries(scaled) }
}

function plus(value: number | undefined): Pick<Source, 'plus'> {
  return value === undefined ? {} : { plus: value }
}

function times(value: number | undefined): Pick<Source, 'times'> {
  return value === undefined || value === 1 ? {} : { times: value }
}

/** The weight of a norm of `heads` heads: one that they share, or one number for each of theirs. */
export function headNorm(
  name: string,
  spans: HeadNorm['spans'],
  heads: number,
  dim: number,
  normPlus?: number,
): Source[] {
  const tensor = `${name}.weight`
  if (spans === 'all') return [{ tensor, shape: [heads * dim], ...plus(normPlus) }]
  return [{ tensor, shape: [dim], rows: range(heads * dim, (i) => i % dim), ...plus(normPlus) }]
}

/** A config of a two-layer model for tests: what selects its family, hidden width, feed-forward width and vocabulary. */
export function smallDecoder(
  family: { attention_kind: string } | { architectures: string[] },
  hidden: number,
  ffn: number,
  vocabulary: number,
): Record<string, unknown> {
  return {
    ...family,
    hidden_size: hidden,
    intermediate_size: ffn,
    vocab_size: vocabulary,
    num_hidden_layers: 2,
    max_position_embeddings: 160,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
    rope_theta: 10000,
  }
}
