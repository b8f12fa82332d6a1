/**
 * Reads fields of a Hugging Face config.json, which is somebody else's file: every value is checked for type and range,
 * and an error names the field, what is expected and what was found.
 */
import { ln } from './arithmetic.ts'
import type { Rope } from './attention.ts'
import { ModelError, mismatch, show } from './spec.ts'

/** Largest count that any dimension may have; keeps every product below 2^53. */
const MAX_COUNT = 2 ** 24
/** Of numbers that are no counts; no config of a model that anybody trained comes near. */
const [LEAST, MOST] = [1e-12, 1e12]
const CHECK_CONFIG = 'check config.json'

/** Fields that say how weights were quantised; MLX has the first, with or without the second. */
export const quantisations = ['quantization', 'quantization_config']

export class Config {
  readonly fields: Readonly<Record<string, unknown>>
  private readonly names: Readonly<Record<string, string>>

  constructor(value: unknown, what = 'config.json', names: Record<string, string> = {}) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw mismatch(what, 'a JSON object', value, 'is this the config.json of a language model?')
    this.fields = value as Record<string, unknown>
    this.names = names
  }

  /** The same config for a class that calls fields otherwise: their usual names, and its own. */
  renamed(names: Record<string, string>): Config {
    return new Config(this.fields, undefined, names)
  }

  /**
   * The config of a part, such as the text of a model that also sees: what it leaves out is what this one says of tokens and
   * weights, or what the part's class has by default.
   */
  nested(name: string, defaults: Record<string, unknown>): Config {
    const inherited = ['bos_token_id', 'eos_token_id', 'tie_word_embeddings', ...quantisations]
    const fields = inherited.filter((field) => this.has(field))
    const own = Object.fromEntries(fields.map((field) => [field, this.value(field)]))
    return new Config({ ...defaults, ...own, ...this.child(name).fields })
  }

  /** A field's name in this config. */
  private own(name: string): string {
    return this.names[name] ?? name
  }

  has(name: string): boolean {
    return this.value(name) !== undefined
  }

  /** The field's value; undefined when it is absent or null. */
  value(name: string): unknown {
    const own = this.own(name)
    return Object.hasOwn(this.fields, own) ? (this.fields[own] ?? undefined) : undefined
  }

  /** Says null, which often means none where an absent field would have the default of its class. */
  isNull(name: string): boolean {
    return Object.hasOwn(this.fields, name) && this.fields[name] === null
  }

  /** A whole number from `min` to `max`; `fallback` when the field is absent or null. */
  integer(name: string, options: { min?: number; max?: number; fallback?: number } = {}): number {
    const { min = 1, max = MAX_COUNT, fallback } = options
    const value = this.value(name) ?? fallback
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
      throw mismatch(`"${this.own(name)}" in config.json`, `a whole number from ${min} to ${max}`, value, CHECK_CONFIG)
    return value
  }

  /** A number from `LEAST` to `max`: the reciprocal of a smaller one would be infinite somewhere. */
  positive(name: string, options: { max?: number; fallback?: number } = {}): number {
    const { max = MOST, fallback } = options
    const value = this.value(name) ?? fallback
    if (typeof value !== 'number' || !(value >= LEAST && value <= max))
      throw mismatch(`"${this.own(name)}" in config.json`, `a number from ${LEAST} to ${max}`, value, CHECK_CONFIG)
    return value
  }

  /** Any number of a size that makes sense; undefined when the field is absent or null. */
  number(name: string): number | undefined {
    const value = this.value(name)
    if (value !== undefined && (typeof value !== 'number' || !(Math.abs(value) <= MOST)))
      throw mismatch(`"${this.own(name)}" in config.json`, `a number from ${-MOST} to ${MOST}`, value, CHECK_CONFIG)
    return value as number | undefined
  }

  /** A number of at least `min`, up to `MOST`. */
  above(name: string, min: number, fallback?: number): number {
    const value = this.value(name) ?? fallback
    if (typeof value !== 'number' || !(value >= min && value <= MOST))
      throw mismatch(`"${this.own(name)}" in config.json`, `a number from ${min} to ${MOST}`, value, CHECK_CONFIG)
    return value
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.value(name) ?? fallback
    if (typeof value !== 'boolean')
      throw mismatch(`"${this.own(name)}" in config.json`, 'true or false', value, CHECK_CONFIG)
    return value
  }

  /** An object within the config. */
  child(name: string): Config {
    return new Config(this.value(name), `"${this.own(name)}" in config.json`)
  }

  text(name: string): string | undefined {
    const value = this.value(name)
    if (value !== undefined && typeof value !== 'string')
      throw mismatch(`"${this.own(name)}" in config.json`, 'a text', value, CHECK_CONFIG)
    return value
  }

  /** Refuses a field that asks for something this runtime does not compute. */
  require(name: string, expected: unknown): void {
    const value = this.value(name)
    if (value !== undefined && value !== expected)
      throw mismatch(`"${this.own(name)}" in config.json`, show(expected), value, 'other values are not supported')
  }

  /** Token ids: a number, a list of numbers, or absent. */
  tokenIds(name: string, vocabSize: number): number[] {
    const value = this.value(name)
    if (value === undefined) return []
    const ids = Array.isArray(value) ? value : [value]
    for (const id of ids)
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize)
        throw mismatch(
          `"${this.own(name)}" in config.json`,
          `token ids below vocab_size ${vocabSize}`,
          value,
          CHECK_CONFIG,
        )
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
   * `fallback` is the base of the class; `rotaryDim()` has read what part of a head is rotated where `isPartial`.
   */
  rope(dim: number, fallback = 10000, isPartial = false): Rope {
    const parameters = this.ropeParameters()
    const theta = (parameters?.has('rope_theta') ? parameters : this).above('rope_theta', 1.001, fallback)
    const scaling = this.has('rope_scaling') ? this.child('rope_scaling') : parameters
    if (!isPartial) for (const place of [parameters, scaling]) place?.require('partial_rotary_factor', 1)
    return { dim, theta, ...(scaling && this.ropeScaling(scaling, scaling === parameters, dim)) }
  }

  /** Rotated entries of a head: the part that transformers 5 calls `partial_rotary_factor`, and older configs `name`. */
  rotaryDim(dim: number, name = 'partial_rotary_factor', fallback = 1): number {
    const parameters = this.ropeParameters()
    const isNew = parameters?.has('partial_rotary_factor')
    const factor = isNew
      ? parameters?.positive('partial_rotary_factor', { max: 1 })
      : this.positive(name, { max: 1, fallback })
    const width = Math.floor(dim * (factor as number))
    if (width < 2 || width % 2 !== 0)
      throw mismatch(
        `"${isNew ? 'partial_rotary_factor' : name}" in config.json`,
        `a part of head_dim ${dim} that is even, because RoPE rotates pairs`,
        factor,
        CHECK_CONFIG,
      )
    return width
  }

  private ropeParameters(): Config | undefined {
    return this.has('rope_parameters') ? this.child('rope_parameters') : undefined
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

  /**
   * Layer by layer, its window as Qwen says it: without `use_sliding_window` the other fields mean nothing, with it the layers
   * from max_window_layers on have the window.
   */
  lateWindows(count: number): (number | undefined)[] {
    const isOn = this.boolean('use_sliding_window', false)
    const from = this.integer('max_window_layers', { min: 0, fallback: 28 })
    const window = isOn && this.has('sliding_window') ? this.integer('sliding_window') : undefined
    const sliding = this.slidingLayers(count, (index) => window !== undefined && index >= from)
    return sliding.map((isSliding) => (isSliding ? (window ?? this.integer('sliding_window')) : undefined))
  }

  /** The scaling that `scaling` asks for, of `dim` rotated entries; where it may say nothing of it, none. */
  ropeScaling(scaling: Config, isOptional: boolean, dim: number): Pick<Rope, 'scaling' | 'magnitude'> {
    const type = scaling.value('rope_type') ?? scaling.value('type') ?? (isOptional ? 'default' : undefined)
    if (type === 'default') return {}
    if (type === 'dynamic') return this.dynamic(scaling)
    // Phi 3 called it su, then yarn, before it was longrope.
    if (type === 'longrope' || type === 'su' || (type === 'yarn' && scaling.has('short_factor')))
      return this.longRope(scaling, dim)
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
      `"rope_scaling" in config.json must be null or of type default, linear, dynamic, llama3, yarn or longrope, found ${show(this.value('rope_scaling') ?? this.value('rope_parameters'))}: ` +
        'this model needs a position encoding that is not supported, running it without would give wrong text',
    )
  }

  /**
   * NTK by the length of the text: beyond max_position_embeddings the base grows with every token, for the tokens before it too,
   * and transformers' result depends on how a prompt was cut. Up to there it is no scaling, and there the context ends.
   */
  private dynamic(scaling: Config): Pick<Rope, 'scaling'> {
    scaling.above('factor', 1)
    // Hunyuan's has a factor of the base in any case.
    scaling.require('alpha', undefined)
    scaling.require('original_max_position_embeddings', this.integer('max_position_embeddings'))
    return {}
  }

  /**
   * LongRoPE (arXiv 2402.13753) as transformers computes it, up to the context that the model was first trained for: a factor
   * for each pair. Beyond it other factors hold, for the tokens before it too: who wants more chooses them from the first token on
   * (long-context.ts).
   */
  private longRope(scaling: Config, dim: number): Pick<Rope, 'scaling' | 'magnitude'> {
    const maxContext = this.integer('max_position_embeddings')
    const place = [this, scaling].find((one) => one.has('original_max_position_embeddings'))
    const originalContext = place?.integer('original_max_position_embeddings', { min: 2 }) ?? maxContext
    const ratio = place || !scaling.has('factor') ? maxContext / originalContext : scaling.above('factor', 1)
    const magnitude = scaling.has('attention_factor')
      ? scaling.positive('attention_factor')
      : ratio <= 1
        ? 1
        : Math.sqrt(1 + ln(ratio) / ln(originalContext))
    const longFactors = scaling.factors('long_factor', dim / 2)
    const factors = scaling.factors('short_factor', dim / 2)
    return { scaling: { type: 'longrope', factors, longFactors, originalContext }, magnitude }
  }

  /** So many numbers above 0. */
  private factors(name: string, length: number): number[] {
    const value = this.value(name)
    const isRight = Array.isArray(value) && value.length === length
    if (!isRight || value.some((one) => typeof one !== 'number' || !(one >= LEAST && one <= MOST)))
      throw mismatch(
        `"${name}" in rope_scaling`,
        `${length} numbers above 0, one for each rotated pair`,
        value,
        CHECK_CONFIG,
      )
    return value
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
