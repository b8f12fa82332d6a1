/**
 * Settings of generation_config.json that change what transformers writes and that are not applied here: they are told, as
 * nobody would look for them. Those of beam search without beams, and of encoders, say nothing to a decoder that samples.
 */
import { type ModelSpec, show } from '../../models/index.ts'
import { isAllowed, samplingSettings } from '../settings.ts'
import { isObject } from './objects.ts'

/** Fields, and the values with which they do nothing; null never does anything. */
const neutral: Record<string, readonly unknown[]> = {
  bad_words_ids: [],
  begin_suppress_tokens: [],
  constraints: [],
  diversity_penalty: [0],
  dola_layers: [],
  epsilon_cutoff: [0],
  eta_cutoff: [0],
  exponential_decay_length_penalty: [],
  force_words_ids: [],
  forced_bos_token_id: [],
  forced_decoder_ids: [],
  forced_eos_token_id: [],
  guidance_scale: [1],
  min_length: [0],
  min_new_tokens: [0],
  no_repeat_ngram_size: [0],
  num_beam_groups: [1],
  num_beams: [1],
  penalty_alpha: [0],
  sequence_bias: [],
  stop_strings: [],
  suppress_tokens: [],
  top_h: [1],
  typical_p: [1],
  watermarking_config: [],
}

const applied = {
  temperature: samplingSettings.temperature,
  top_k: samplingSettings.topK,
  top_p: samplingSettings.topP,
  min_p: samplingSettings.minP,
  repetition_penalty: samplingSettings.repeatPenalty,
}

/** What is asked for in vain, as `field: value`. */
export function unusedSettings({ vocabSize }: Pick<ModelSpec, 'vocabSize'>, generation: unknown): string[] {
  if (!isObject(generation)) return []
  const found = Object.keys(neutral).filter((field) => {
    const value = generation[field]
    const isEmpty = (Array.isArray(value) && value.length === 0) || (isObject(value) && Object.keys(value).length === 0)
    return value !== undefined && value !== null && !isEmpty && !neutral[field]?.includes(value)
  })
  for (const [field, setting] of Object.entries(applied)) {
    const value = generation[field]
    if (value !== undefined && value !== null && !isAllowed(setting, value)) found.push(field)
  }
  const ends = [generation.eos_token_id ?? []].flat()
  const isId = (id: unknown) => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize
  if (!ends.every(isId)) found.push('eos_token_id')
  const { do_sample } = generation
  if (do_sample !== undefined && do_sample !== null && typeof do_sample !== 'boolean') found.push('do_sample')
  return found.map((field) => `${field}: ${show(generation[field]).slice(0, 60)}`)
}
