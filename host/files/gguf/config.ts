/** The keys of a GGUF file as a config.json, which `models/` then reads as any other. */
import { largest, show } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import { architectures, type Fields } from './architectures.ts'
import type { GgufFile } from './file.ts'
import { Keys, shortest } from './keys.ts'
import { type Layout, llamaNames } from './layout.ts'

/** Factors of the frequencies that are tensors in the file, by their names. */
export type RopeFactors = Partial<Record<'freqs' | 'factors_short' | 'factors_long', Float32Array>>

/**
 * Throws NOT_A_MODEL for an architecture that is not read, BAD_FILE for keys that are missing or wrong. `ropeFactors`: the numbers of
 * rope_freqs.weight and its like.
 */
export function configOf(gguf: GgufFile, ropeFactors: RopeFactors = {}): { config: Fields; layout: Layout } {
  const keys = new Keys(gguf)
  const architecture = Object.hasOwn(architectures, keys.architecture) ? architectures[keys.architecture] : undefined
  if (!architecture)
    throw errors.otherKind(
      gguf.path,
      `a GGUF file of one of the architectures ${Object.keys(architectures).join(', ')}`,
      show(keys.architecture),
      'this model is not supported as GGUF, its Hugging Face directory may be',
    )
  if (keys.integer('expert_count', 0) > 0) throw keys.refuse('expert_count', '0: mixtures of experts are not supported')
  const layout = { names: llamaNames(), ...architecture.layout?.(keys) }
  const fields = { ...commonFields(keys), ...ropeScaling(keys, ropeFactors), ...architecture.fields?.(keys) }
  refuseUnread(keys, fields)
  if (fields.num_key_value_heads === undefined) throw keys.refuse('attention.head_count_kv', 'the same for all layers')
  const config = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
  return { config: { architectures: [architecture.classOf?.(keys) ?? architecture.name], ...config }, layout }
}

/** Keys that would change the numbers, or say that the model does not write text. */
function refuseUnread(keys: Keys, fields: Fields): void {
  if (!keys.boolean('attention.causal', true)) throw keys.refuse('attention.causal', 'true: this model does not write')
  if (keys.integer('pooling_type', 0) !== 0)
    throw keys.refuse('pooling_type', '0: models that make one vector of a text are not supported')
  const isPartRead = ['partial_rotary_factor', 'rotary_pct', 'qk_rope_head_dim', 'n_embd'].some((name) => fields[name])
  const rotated = keys.optional('rope.dimension_count')
  if (!isPartRead && rotated !== undefined && rotated !== fields.head_dim)
    throw keys.refuse('rope.dimension_count', `${fields.head_dim}, all of a head`)
}

function commonFields(keys: Keys): Fields {
  const { tensors, path } = keys.gguf
  const vocabulary = tensors.get('token_embd.weight')?.shape[0]
  if (vocabulary === undefined) throw errors.missingTensors(path, ['token_embd.weight'])
  const heads = keys.integer('attention.head_count')
  const hidden = keys.integer('embedding_length')
  return {
    vocab_size: vocabulary,
    hidden_size: hidden,
    intermediate_size: keys.integer('feed_forward_length'),
    num_hidden_layers: keys.integer('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads(keys, heads),
    head_dim: keys.integer('attention.key_length', hidden / heads),
    max_position_embeddings: keys.integer('context_length'),
    // One of both is there.
    rms_norm_eps:
      keys.get('attention.layer_norm_epsilon') === undefined
        ? keys.number('attention.layer_norm_rms_epsilon')
        : keys.optional('attention.layer_norm_rms_epsilon'),
    rope_theta: keys.number('rope.freq_base', 10000),
    tie_word_embeddings: !tensors.has('output.weight'),
    attention_bias: keys.hasTensor('attn_output.bias'),
    qkv_bias: keys.hasTensor('attn_q.bias'),
    mlp_bias: keys.hasTensor('ffn_down.bias'),
    ...tokenIds(keys.gguf),
  }
}

/** One number for all layers; undefined where they differ, of which an architecture has to say what it means. */
function keyValueHeads(keys: Keys, heads: number): number | undefined {
  const counts = keys.list('attention.head_count_kv')
  if (!counts) return keys.integer('attention.head_count_kv', heads)
  return counts.every((count) => count === counts[0]) ? counts[0] : undefined
}

function ropeScaling(keys: Keys, { freqs, factors_short: short, factors_long: long }: RopeFactors): Fields {
  const original = keys.optional('rope.scaling.original_context_length')
  const context = original === undefined ? {} : { original_max_position_embeddings: original }
  if (short && long) {
    // What llama.cpp takes where the file says nothing.
    const attention = { attention_factor: keys.number('rope.scaling.attn_factor', 1) }
    const factors = { short_factor: [...short], long_factor: [...long] }
    return { ...context, rope_scaling: { type: 'longrope', ...factors, ...context, ...attention } }
  }
  if (freqs) return { rope_scaling: llama3Scaling(keys, freqs, original) }
  // As llama.cpp: linear where a file says none of them, and how it was said before there were other types.
  const type = keys.get('rope.scaling.type') ?? 'linear'
  const factor = keys.optional('rope.scaling.factor') ?? keys.number('rope.scale_linear', 0)
  if (type === 'none' || (type === 'linear' && (factor === 0 || factor === 1))) return {}
  if (type !== 'linear' && type !== 'yarn') throw keys.refuse('rope.scaling.type', 'none, linear or yarn')
  if (factor === 0) throw keys.refuse('rope.scaling.factor', 'a number above 0')
  for (const [name, value] of yarnDefaults) {
    const found = keys.optional(`rope.scaling.${name}`)
    if (found !== undefined && found !== value)
      throw keys.refuse(`rope.scaling.${name}`, `${value}: others are not read`)
  }
  return { rope_scaling: { type, factor, ...(type === 'yarn' ? context : {}) } }
}

/** What else a file may say of yarn, and the values that say nothing new. */
const yarnDefaults: [string, number][] = [
  ['attn_factor', 1],
  ['yarn_attn_factor', 1],
  ['yarn_ext_factor', 1],
  ['yarn_beta_fast', 32],
  ['yarn_beta_slow', 1],
  ['yarn_log_multiplier', 0],
]

/** Contexts that models with this scaling were first trained for. */
const originalContexts = [8192, 4096, 16384, 32768, 2048, 64]
const [LOW, HIGH] = [1, 4]

/**
 * The rule behind a table of factors, one for each pair of a head: Llama 3's, with the bounds that all models have that use
 * it. That it makes this very table is checked.
 */
function llama3Scaling(keys: Keys, factors: Float32Array, said: number | undefined): Fields {
  const theta = keys.number('rope.freq_base', 10000)
  const factor = shortest(largest(factors))
  for (const original of [...(said === undefined ? [] : [said]), ...originalContexts]) {
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
  const id = (name: string) => {
    const found = values.get(`tokenizer.ggml.${name}_token_id`)
    return typeof found === 'bigint' ? Number(found) : found
  }
  const ends = [id('eos'), id('eot'), id('eom')].filter((found) => typeof found === 'number')
  return { ...(typeof id('bos') === 'number' ? { bos_token_id: id('bos') } : {}), eos_token_id: [...new Set(ends)] }
}
