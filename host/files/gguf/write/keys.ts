/**
 * A model as the keys of a GGUF file: the other way of ../architectures.ts and ../config.ts. What no key can say is not looked
 * for here: match.ts compares the model that the keys give again with the one that they were written from.
 */

import { longestContext, type ModelDescription, type Rope } from '../../../../models/index.ts'
import { invFreq } from '../../../../models/rope.ts'
import { type Entry, entries } from './header.ts'
import { attentionOf } from './match.ts'

/** Key and value of what a family has beside the common ones; names without the architecture. */
type Special = (model: ModelDescription, key: (name: string) => string) => Entry[]

interface Writer {
  /** Class names in transformers. */
  classes: string[]
  special?: Special
  /** llama.cpp scales scores by the width of a head: another scale goes into the queries. */
  foldsScale?: boolean
  /** Biases that llama.cpp has tensors for: of q, k and v, of what is behind the attention, of the feed-forward block. */
  biases?: readonly ('in' | 'out' | 'ffn')[]
  /** What else it cannot load, though keys and tensors can say it. */
  refuses?: (model: ModelDescription) => string | undefined
  /** What it computes otherwise, though it is told. */
  warns?: (model: ModelDescription) => string | undefined
}

const { integer, number, boolean, booleans } = entries

const first = ({ spec }: ModelDescription) => attentionOf(spec, 0)
const attentions = ({ spec }: ModelDescription) => spec.order.map((_, index) => attentionOf(spec, index))
const windowsOf = (model: ModelDescription) => attentions(model).map(({ window }) => window)
const largestWindow = (model: ModelDescription) => Math.max(0, ...windowsOf(model).map((window) => window ?? 0))

/** Factors of what a block adds, and of the logits, which are folded into the weights. */
const residualScale = ({ sources }: ModelDescription) => sources.layer(0).out?.[0]?.times ?? 1
const logitScale = ({ sources }: ModelDescription) => 1 / (sources.norm[0]?.times ?? 1)

const factors: Special = (model, key) => [
  number(key('embedding_scale'), model.spec.embedding.scale),
  number(key('residual_scale'), residualScale(model)),
  number(key('logit_scale'), logitScale(model)),
]

/** A window of the whole context is none. */
const window: Special = (model, key) => [
  integer(key('attention.sliding_window'), largestWindow(model) || longestContext(model.spec)),
]

const caps: Special = (model, key) => {
  const [scores, logits] = [first(model).softcap, model.spec.head.softcap]
  return [
    ...(scores === undefined ? [] : [number(key('attn_logit_softcapping'), scores)]),
    ...(logits === undefined ? [] : [number(key('final_logit_softcapping'), logits)]),
  ]
}

/** The first layer without a window is the last of its group. */
const gemma3: Special = (model, key) => {
  const windows = windowsOf(model)
  const group = windows.indexOf(undefined) + 1 || windows.length + 1
  const sliding = attentions(model).find((attention) => attention.window !== undefined)
  return [
    ...window(model, key),
    ...caps(model, key),
    integer(key('attention.sliding_window_pattern'), group),
    ...(sliding?.rope ? [number(key('rope.freq_base_swa'), sliding.rope.theta)] : []),
  ]
}

const exaone4: Special = (model, key) => {
  if (largestWindow(model) === 0) return []
  const pattern = windowsOf(model).map((width) => width !== undefined)
  return [...window(model, key), booleans(key('attention.sliding_window_pattern'), pattern)]
}

const granite: Special = (model, key) => [
  ...factors(model, key),
  number(key('attention.scale'), first(model).scale),
  ...(first(model).rope ? [] : [boolean(key('rope.scaling.finetuned'), false)]),
]

/** MLA as it is in a checkpoint: each head has a key and a value of its own. */
const latent: Special = (model, key) => {
  const { maps, slots, query, encoder, rope, outDim } = first(model)
  return [
    integer(key('attention.head_count_kv'), maps),
    integer(key('attention.kv_lora_rank'), slots.c?.dim ?? 0),
    ...(query ? [integer(key('attention.q_lora_rank'), query.rank)] : []),
    integer(key('attention.key_length'), (encoder?.inDim ?? 0) + (rope?.dim ?? 0)),
    integer(key('attention.value_length'), outDim),
  ]
}

/** MLA absorbed: one head of what is cached, and the widths that it stands for. No layer has experts. */
const absorbed: Special = (model, key) => {
  const { slots, query, encoder, rope, outDim } = first(model)
  const [rank, rotated] = [slots.c?.dim ?? 0, rope?.dim ?? 0]
  const counts = { expert_count: 0, expert_used_count: 0, expert_shared_count: 0 }
  return [
    integer(key('attention.head_count_kv'), 1),
    integer(key('attention.kv_lora_rank'), rank),
    ...(query ? [integer(key('attention.q_lora_rank'), query.rank)] : []),
    integer(key('attention.key_length'), rank + rotated),
    integer(key('attention.value_length'), rank),
    integer(key('attention.key_length_mla'), (encoder?.inDim ?? 0) + rotated),
    integer(key('attention.value_length_mla'), outDim),
    integer(key('leading_dense_block_count'), model.spec.order.length),
    ...Object.entries(counts).map(([name, count]) => integer(key(name), count)),
    integer(key('expert_feed_forward_length'), model.spec.layers[0]?.ffn.width ?? 0),
    number(key('expert_weights_scale'), 1),
  ]
}

/** What every model has but those of MLA, whose heads are otherwise. */
const heads: Special = (model, key) => {
  const { maps, slots } = first(model)
  return [
    integer(key('attention.head_count_kv'), slots.k?.heads ?? maps),
    integer(key('attention.key_length'), slots.k?.dim ?? 0),
    integer(key('attention.value_length'), slots.v?.dim ?? 0),
  ]
}

const seesAll = (model: ModelDescription) =>
  largestWindow(model) > 0 ? `it has no window of ${largestWindow(model)} tokens there` : undefined

const all = ['in', 'out', 'ffn'] as const

const tied = ({ spec }: ModelDescription) => (spec.head.isTied ? 'a head that is the embedding' : undefined)
const untied = ({ spec }: ModelDescription) => (spec.head.isTied ? undefined : 'a head of its own')

const longFactors = (model: ModelDescription) =>
  first(model).rope?.scaling?.type === 'longrope'
    ? `it takes the factors for long texts in any context that is longer than ${model.spec.maxContext}`
    : undefined

/** By the architecture's name in llama.cpp. What it refuses and warns of was seen with v0.5.0. */
export const writers: Record<string, Writer> = {
  llama: {
    classes: ['LlamaForCausalLM', 'MistralForCausalLM'],
    special: (model, key) => (largestWindow(model) > 0 ? window(model, key) : []),
    biases: all,
    warns: seesAll,
  },
  qwen2: { classes: ['Qwen2ForCausalLM'], biases: ['in'] },
  qwen3: { classes: ['Qwen3ForCausalLM'] },
  granite: { classes: ['GraniteForCausalLM', 'GraniteMoeHybridForCausalLM'], special: granite, biases: all },
  minicpm: { classes: ['MiniCPMForCausalLM'], special: factors, biases: ['in', 'out'] },
  minicpm3: {
    classes: ['MiniCPM3ForCausalLM'],
    special: latent,
    warns: (model) =>
      model.spec.head.norm.eps === first(model).slots.c?.norm?.eps
        ? undefined
        : 'its norms of the latents have the eps of the others',
  },
  plm: { classes: ['PLMForCausalLM'], special: latent, refuses: untied },
  deepseek2: {
    classes: ['YoutuForCausalLM', 'DeepseekV2ForCausalLM', 'DeepseekV3ForCausalLM'],
    special: absorbed,
    refuses: (model) => (first(model).query ? undefined : 'queries without a low rank'),
  },
  smollm3: { classes: ['SmolLM3ForCausalLM'] },
  ernie4_5: { classes: ['Ernie4_5ForCausalLM'] },
  'hunyuan-dense': { classes: ['HunYuanDenseV1ForCausalLM'] },
  olmo2: { classes: ['Olmo2ForCausalLM'], refuses: tied },
  exaone4: {
    classes: ['Exaone4ForCausalLM'],
    special: exaone4,
    warns: (model) =>
      largestWindow(model) > 0 && model.spec.order.length !== 64
        ? 'it has windows, and layers that do not rotate, in a model of 64 layers only'
        : undefined,
  },
  phi3: { classes: ['Phi3ForCausalLM'], special: window, warns: longFactors },
  gemma2: {
    classes: ['Gemma2ForCausalLM'],
    special: (model, key) => [...window(model, key), ...caps(model, key)],
    foldsScale: true,
    refuses: untied,
  },
  gemma3: { classes: ['Gemma3ForCausalLM', 'Gemma3ForConditionalGeneration'], special: gemma3, foldsScale: true },
  gptneox: {
    classes: ['GPTNeoXForCausalLM'],
    special: ({ spec }, key) => [boolean(key('use_parallel_residual'), spec.layers[0]?.isParallel === true)],
    biases: all,
    refuses: (model) => (first(model).bias.in ? tied(model) : 'an attention without biases'),
  },
  gpt2: { classes: ['GPT2LMHeadModel'], biases: all },
}

/** What llama.cpp cannot load of this model. */
export function unloadable(architecture: string, model: ModelDescription): string | undefined {
  const { biases = [], refuses } = writers[architecture] as Writer
  const { bias } = first(model)
  const found = { in: bias.in, out: bias.out, ffn: model.spec.layers[0]?.ffn.bias }
  return all.some((name) => found[name] && !biases.includes(name)) ? 'biases' : refuses?.(model)
}

/** The model's keys, and vectors of factors of its frequencies, which are tensors of the file. */
export function keysOf(architecture: string, model: ModelDescription, config: Record<string, unknown>) {
  const key = (name: string) => `${architecture}.${name}`
  const { spec } = model
  const { norm } = spec.head
  const attention = first(model)
  const rope = attentions(model).find((one) => one.rope && one.window === undefined)?.rope ?? attention.rope
  const scaling = scalingOf(key, rope, config)
  const values = [
    integer(key('vocab_size'), spec.vocabSize),
    integer(key('context_length'), scaling.context ?? spec.maxContext),
    integer(key('embedding_length'), spec.hiddenDim),
    integer(key('block_count'), spec.order.length),
    integer(key('feed_forward_length'), spec.layers[0]?.ffn.width ?? 0),
    integer(key('attention.head_count'), attention.maps),
    ...(attention.slots.c ? [] : heads(model, key)),
    number(key(`attention.layer_norm_${norm.kind === 'rms' ? 'rms_' : ''}epsilon`), norm.eps),
    ...(rope ? [integer(key('rope.dimension_count'), rope.dim), number(key('rope.freq_base'), rope.theta)] : []),
    ...scaling.values,
    ...(writers[architecture]?.special?.(model, key) ?? []),
  ]
  return { values, factors: scaling.factors }
}

interface Scaling {
  values: Entry[]
  /** Names of tensors and their numbers. */
  factors: Record<string, number[]>
  /** Where the model's own ends earlier: match.ts finds out if it does so there too. */
  context?: number
}

function scalingOf(key: (name: string) => string, rope: Rope | undefined, config: Record<string, unknown>): Scaling {
  const { scaling, magnitude = 1 } = rope ?? {}
  const original = (context: number) => integer(key('rope.scaling.original_context_length'), context)
  if (!rope || !scaling) return { values: [], factors: {} }
  if (scaling.type === 'llama3') {
    const plain = invFreq({ dim: rope.dim, theta: rope.theta })
    const factors = Array.from(invFreq(rope), (frequency, i) => (plain[i] as number) / frequency)
    return { values: [original(scaling.originalContext)], factors: { 'rope_freqs.weight': factors } }
  }
  if (scaling.type === 'longrope') {
    const said = (config.rope_scaling ?? config.rope_parameters) as { long_factor: number[] }
    const values = [original(scaling.originalContext), number(key('rope.scaling.attn_factor'), magnitude)]
    const factors = {
      'rope_factors_short.weight': scaling.factors,
      'rope_factors_long.weight': said.long_factor,
    }
    return { values, factors, context: Number(config.max_position_embeddings) }
  }
  const type = entries.text(key('rope.scaling.type'), scaling.type)
  const values = [type, number(key('rope.scaling.factor'), scaling.factor)]
  return { values: scaling.type === 'yarn' ? [...values, original(scaling.originalContext)] : values, factors: {} }
}
