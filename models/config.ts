/**
 * Reads fields of a Hugging Face config.json, which is somebody else's file: every value is checked for type and range,
 * and an error names the field, what is expected and what was found.
 */
import { ln } from './arithmetic.ts'
import type { Rope } from './attention.ts'
import { ModelError, mismatch, show } from './spec.ts'

/** Largest count that any dimension may have; keeps every product below 2^53. */
const MAX_COUNT = 2 ** 24
const CHECK_CONFIG = 'check config.json'

export class Config {
  readonly fields: Readonly<Record<string, unknown>>

  constructor(value: unknown, what = 'config.json') {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw mismatch(what, 'a JSON object', value, 'is this the config.json of a language model?')
    this.fields = value as Record<string, unknown>
  }

  has(name: string): boolean {
    return Object.hasOwn(this.fields, name) && this.fields[name] !== null && this.fields[name] !== undefined
  }

  /** The field's value; undefined when it is absent or null. */
  value(name: string): unknown {
    return this.has(name) ? this.fields[name] : undefined
  }

  /** A whole number from `min` to `max`; `fallback` when the field is absent or null. */
  integer(name: string, options: { min?: number; max?: number; fallback?: number } = {}): number {
    const { min = 1, max = MAX_COUNT, fallback } = options
    const value = this.value(name) ?? fallback
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
      throw mismatch(`"${name}" in config.json`, `a whole number from ${min} to ${max}`, value, CHECK_CONFIG)
    return value
  }

  /** A finite number above 0 and below `max`. */
  positive(name: string, options: { max?: number; fallback?: number } = {}): number {
    const { max = 1e12, fallback } = options
    const value = this.value(name) ?? fallback
    if (typeof value !== 'number' || !(value > 0) || value > max)
      throw mismatch(`"${name}" in config.json`, `a number above 0 and up to ${max}`, value, CHECK_CONFIG)
    return value
  }

  /** Any finite number; undefined when the field is absent or null. */
  number(name: string): number | undefined {
    const value = this.value(name)
    if (value !== undefined && (typeof value !== 'number' || !Number.isFinite(value)))
      throw mismatch(`"${name}" in config.json`, 'a number', value, CHECK_CONFIG)
    return value as number | undefined
  }

  /** A number of at least `min`, up to 10^12. */
  above(name: string, min: number, fallback?: number): number {
    const value = this.value(name) ?? fallback
    if (typeof value !== 'number' || !(value >= min) || value > 1e12)
      throw mismatch(`"${name}" in config.json`, `a number from ${min} to 1e12`, value, CHECK_CONFIG)
    return value
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.value(name) ?? fallback
    if (typeof value !== 'boolean') throw mismatch(`"${name}" in config.json`, 'true or false', value, CHECK_CONFIG)
    return value
  }

  /** An object within the config. */
  child(name: string): Config {
    return new Config(this.value(name), `"${name}" in config.json`)
  }

  text(name: string): string | undefined {
    const value = this.value(name)
    if (value !== undefined && typeof value !== 'string')
      throw mismatch(`"${name}" in config.json`, 'a text', value, CHECK_CONFIG)
    return value
  }

  /** Refuses a field that asks for something this runtime does not compute. */
  require(name: string, expected: unknown): void {
    const value = this.value(name)
    if (value !== undefined && value !== expected)
      throw mismatch(`"${name}" in config.json`, show(expected), value, 'other values are not supported')
  }

  /** Token ids: a number, a list of numbers, or absent. */
  tokenIds(name: string, vocabSize: number): number[] {
    const value = this.value(name)
    if (value === undefined) return []
    const ids = Array.isArray(value) ? value : [value]
    for (const id of ids)
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize)
        throw mismatch(`"${name}" in config.json`, `token ids below vocab_size ${vocabSize}`, value, CHECK_CONFIG)
    return ids
  }

  architectures(): string[] {
    const value = this.value('architectures') ?? []
    if (!Array.isArray(value) || value.some((name) => typeof name !== 'string'))
      throw mismatch('"architectures" in config.json', 'a list of names', value, CHECK_CONFIG)
    return value
  }

  /**
   * RoPE of so many entries of a head: transformers 4 keeps base and scaling apart, transformers 5 in `rope_parameters`.
   * `fallback` is the base of the class.
   */
  rope(dim: number, fallback = 10000): Rope {
    const parameters = this.has('rope_parameters') ? this.child('rope_parameters') : undefined
    const theta = (parameters?.has('rope_theta') ? parameters : this).above('rope_theta', 1.001, fallback)
    const scaling = this.has('rope_scaling') ? this.child('rope_scaling') : parameters
    for (const place of [parameters, scaling]) place?.require('partial_rotary_factor', 1)
    return { dim, theta, ...(scaling && this.ropeScaling(scaling, scaling === parameters)) }
  }

  /** Layer by layer, whether it has a sliding window: `layer_types` says it, else the family's rule. */
  slidingLayers(count: number, rule: (index: number) => boolean): boolean[] {
    const types = this.value('layer_types')
    if (types === undefined) return Array.from({ length: count }, (_, index) => rule(index))
    const isList = Array.isArray(types) && types.length === count
    if (!isList || types.some((type) => type !== 'full_attention' && type !== 'sliding_attention'))
      throw mismatch(
        '"layer_types" in config.json',
        `${count} times "full_attention" or "sliding_attention"`,
        types,
        CHECK_CONFIG,
      )
    return types.map((type) => type === 'sliding_attention')
  }

  /** The scaling that `scaling` asks for; where it may say nothing of it, none. */
  ropeScaling(scaling: Config, isOptional: boolean): Pick<Rope, 'scaling' | 'magnitude'> {
    const type = scaling.value('rope_type') ?? scaling.value('type') ?? (isOptional ? 'default' : undefined)
    if (type === 'default') return {}
    if (type === 'linear') return { scaling: { type, factor: scaling.above('factor', 1) } }
    if (type === 'llama3') {
      const lowFreqFactor = scaling.positive('low_freq_factor')
      const highFreqFactor = scaling.positive('high_freq_factor')
      if (highFreqFactor <= lowFreqFactor)
        throw mismatch(
          '"high_freq_factor" in rope_scaling',
          `above low_freq_factor ${lowFreqFactor}`,
          highFreqFactor,
          CHECK_CONFIG,
        )
      const originalContext = scaling.integer('original_max_position_embeddings')
      return { scaling: { type, factor: scaling.above('factor', 1), lowFreqFactor, highFreqFactor, originalContext } }
    }
    if (type === 'yarn') return this.yarn(scaling)
    throw new ModelError(
      `"rope_scaling" in config.json must be null or of type default, linear, llama3 or yarn, found ${show(this.value('rope_scaling') ?? this.value('rope_parameters'))}: ` +
        'this model needs a position encoding that is not supported, running it without would give wrong text',
    )
  }

  /** YaRN (arXiv 2309.00071) as transformers computes it: modeling_rope_utils.py, _compute_yarn_parameters. */
  private yarn(scaling: Config): Pick<Rope, 'scaling' | 'magnitude'> {
    const factor = scaling.above('factor', 1)
    const originalContext = scaling.has('original_max_position_embeddings')
      ? scaling.integer('original_max_position_embeddings')
      : this.integer('max_position_embeddings')
    const betaFast = scaling.positive('beta_fast', { fallback: 32 })
    const betaSlow = scaling.positive('beta_slow', { fallback: 1 })
    const isTruncated = scaling.boolean('truncate', true)
    const [mscale, mscaleAll] = ['mscale', 'mscale_all_dim'].map((name) => scaling.number(name) ?? 0) as [
      number,
      number,
    ]
    const magnitude = scaling.has('attention_factor')
      ? scaling.positive('attention_factor')
      : mscale && mscaleAll
        ? yarnMagnitude(factor, mscale) / yarnMagnitude(factor, mscaleAll)
        : yarnMagnitude(factor, 1)
    return { scaling: { type: 'yarn', factor, betaFast, betaSlow, isTruncated, originalContext }, magnitude }
  }
}

/** transformers' get_mscale. */
export function yarnMagnitude(factor: number, mscale: number): number {
  return factor <= 1 ? 1 : 0.1 * mscale * ln(factor) + 1
}
