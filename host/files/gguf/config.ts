/**
 * The keys of a GGUF file as a config.json, architecture by architecture: what `models/` then reads as any other. What an
 * architecture's file keeps otherwise than the checkpoint that it was made from is its `Layout`.
 */
import { show } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import type { GgufFile, GgufValue } from './file.ts'

/** How the weights lie in the file. */
export interface Layout {
  /** Rows of q and k of each head in this order of pairs: 0, d/2, 1, d/2 + 1, …; the checkpoint rotates halves. */
  pairs?: { heads: number; kvHeads: number }
  /** Norms have w + 1, the checkpoint w. */
  normPlus?: number
  /** Names of tensors that mean something else than elsewhere. */
  names?: Record<string, string>
}

type Fields = Record<string, unknown>

interface Architecture {
  /** Class name in transformers. */
  name: string
  fields?: (keys: Keys) => Fields
  layout?: (keys: Keys) => Layout
}

const normedPairs = (keys: Keys): Layout => ({
  pairs: { heads: keys.integer('attention.head_count'), kvHeads: keys.integer('attention.head_count_kv') },
})

const architectures: Record<string, Architecture> = {
  llama: { name: 'LlamaForCausalLM', layout: normedPairs },
  qwen2: { name: 'Qwen2ForCausalLM' },
  qwen3: { name: 'Qwen3ForCausalLM' },
  gemma3: {
    name: 'Gemma3ForCausalLM',
    fields: (keys) => ({
      hidden_activation: 'gelu_pytorch_tanh',
      sliding_window: keys.integer('attention.sliding_window'),
      sliding_window_pattern: keys.integer('attention.sliding_window_pattern', 6),
      rope_local_base_freq: keys.number('rope.freq_base_swa', 10000),
      // llama.cpp scales by the width of a head; the file has no word for anything else.
      query_pre_attn_scalar: keys.integer('attention.key_length'),
      ...optional('final_logit_softcapping', keys.get('final_logit_softcapping')),
    }),
    layout: () => ({
      normPlus: 1,
      names: { ffn_norm: 'pre_feedforward_layernorm', post_attention_norm: 'post_attention_layernorm' },
    }),
  },
}

/** Values by the part of their key behind the architecture. */
class Keys {
  readonly gguf: GgufFile
  readonly architecture: string

  constructor(gguf: GgufFile) {
    this.gguf = gguf
    const found = gguf.values.get('general.architecture')
    if (typeof found !== 'string') throw errors.badFile(gguf.path, '"general.architecture"', 'a text', show(found))
    this.architecture = found
  }

  get(name: string): GgufValue | undefined {
    return this.gguf.values.get(`${this.architecture}.${name}`)
  }

  /** A finite number; `fallback` if there is none. */
  number(name: string, fallback?: number): number {
    const value = this.get(name) ?? fallback
    const found = typeof value === 'bigint' ? Number(value) : value
    if (typeof found !== 'number' || !Number.isFinite(found))
      throw errors.badFile(this.gguf.path, `"${this.architecture}.${name}"`, 'a number', showValue(value))
    return found
  }

  integer(name: string, fallback?: number): number {
    const found = this.number(name, fallback)
    if (!Number.isSafeInteger(found) || found < 0)
      throw errors.badFile(this.gguf.path, `"${this.architecture}.${name}"`, 'a whole number', found)
    return found
  }
}

function showValue(value: GgufValue | undefined): string {
  return typeof value === 'object' && typeof value.length === 'number' ? `a list of ${value.length}` : String(value)
}

/**
 * Throws NOT_A_MODEL for an architecture that is not read, BAD_FILE for keys that are missing or wrong. `ropeFactors`: the numbers of
 * rope_freqs.weight.
 */
export function configOf(gguf: GgufFile, ropeFactors?: Float32Array): { config: Fields; layout: Layout } {
  const keys = new Keys(gguf)
  const architecture = Object.hasOwn(architectures, keys.architecture) ? architectures[keys.architecture] : undefined
  if (!architecture)
    throw errors.otherKind(
      gguf.path,
      `a GGUF file of one of the architectures ${Object.keys(architectures).join(', ')}`,
      show(keys.architecture),
      'this model is not supported as GGUF, its Hugging Face directory may be',
    )
  const layout = architecture.layout?.(keys) ?? {}
  return {
    config: { architectures: [architecture.name], ...commonFields(keys, ropeFactors), ...architecture.fields?.(keys) },
    layout,
  }
}

/** A field that is there if its value is. */
function optional(name: string, value: unknown): Fields {
  return value === undefined ? {} : { [name]: value }
}

function commonFields(keys: Keys, ropeFactors: Float32Array | undefined): Fields {
  const { tensors, path } = keys.gguf
  const vocabulary = tensors.get('token_embd.weight')?.shape[0]
  if (vocabulary === undefined) throw errors.missingTensors(path, ['token_embd.weight'])
  const heads = keys.integer('attention.head_count')
  const hidden = keys.integer('embedding_length')
  const eps = keys.get('attention.layer_norm_rms_epsilon')
  return {
    vocab_size: vocabulary,
    hidden_size: hidden,
    intermediate_size: keys.integer('feed_forward_length'),
    num_hidden_layers: keys.integer('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: keys.integer('attention.head_count_kv', heads),
    head_dim: keys.integer('attention.key_length', hidden / heads),
    max_position_embeddings: keys.integer('context_length'),
    ...optional(
      'rms_norm_eps',
      eps === undefined ? undefined : shortest(keys.number('attention.layer_norm_rms_epsilon')),
    ),
    rope_theta: keys.number('rope.freq_base', 10000),
    ...ropeScaling(keys, ropeFactors),
    tie_word_embeddings: !tensors.has('output.weight'),
    attention_bias: tensors.has('blk.0.attn_output.bias'),
    qkv_bias: tensors.has('blk.0.attn_q.bias'),
    ...tokenIds(keys.gguf),
  }
}

/** 9.999999974752427e-7 was 1e-6 before it was an f32. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === Math.fround(value)) return short
  }
  return value
}

function ropeScaling(keys: Keys, ropeFactors: Float32Array | undefined): Fields {
  const { tensors, path } = keys.gguf
  const type = keys.get('rope.scaling.type') ?? 'none'
  if (tensors.has('rope_factors_long.weight'))
    throw errors.otherKind(
      path,
      'a GGUF file with at most one table of rope factors',
      'one for short texts and one for long ones',
      'these are not read yet, give the Hugging Face directory of the same model',
    )
  if (ropeFactors) return { rope_scaling: llama3Scaling(keys, ropeFactors) }
  if (type === 'none') return {}
  if (type !== 'linear')
    throw errors.badFile(path, `"${keys.architecture}.rope.scaling.type"`, 'none or linear', showValue(type))
  return { rope_scaling: { type: 'linear', factor: keys.number('rope.scaling.factor') } }
}

/** Contexts that models with this scaling were first trained for. */
const originalContexts = [8192, 4096, 16384, 32768, 2048, 64]
const [LOW, HIGH] = [1, 4]

/**
 * The rule behind a table of factors, one for each pair of a head: Llama 3's, with the bounds that all models have that use
 * it. That it makes this very table is checked.
 */
function llama3Scaling(keys: Keys, factors: Float32Array): Fields {
  const theta = keys.number('rope.freq_base', 10000)
  const factor = shortest(Math.max(...factors))
  for (const original of originalContexts) {
    const isSame = factors.every((found, i) => {
      const turns = (original * theta ** (-i / factors.length)) / (2 * Math.PI)
      const share = Math.min(Math.max((turns - LOW) / (HIGH - LOW), 0), 1)
      return Math.abs(found * ((1 - share) / factor + share) - 1) < 1e-4
    })
    if (isSame)
      return {
        rope_type: 'llama3',
        factor,
        low_freq_factor: LOW,
        high_freq_factor: HIGH,
        original_max_position_embeddings: original,
      }
  }
  throw errors.badFile(keys.gguf.path, 'tensor "rope_freqs.weight"', "a table of Llama 3's scaling", 'another one')
}

function tokenIds({ values }: GgufFile): Fields {
  const id = (name: string) => values.get(`tokenizer.ggml.${name}_token_id`)
  const ends = [id('eos'), id('eot'), id('eom')].filter((found) => typeof found === 'number')
  return { ...(typeof id('bos') === 'number' ? { bos_token_id: id('bos') } : {}), eos_token_id: [...new Set(ends)] }
}
