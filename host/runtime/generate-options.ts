/** Options of a generation, checked against its model, with their defaults. */
import { MAX_BIASES } from '../../assembly/abi.ts'
import type { LogitBias, Sampling } from '../engine/engine.ts'
import { checkSampling, defaultSampling, samplingNames } from '../engine/sampling.ts'
import {
  checkCallback,
  checking,
  checkList,
  checkNames,
  checkSetting,
  checkSignal,
  checkTokens,
  errors,
} from '../errors.ts'
import { generateSettings, scoreSettings, settings, titleOf } from '../settings.ts'
import type { GenerateOptions, Prompt } from './api.ts'
import type { Runtime } from './runtime.ts'
import type { Sequence } from './sequence.ts'

const names = [
  ...Object.keys(generateSettings),
  ...Object.keys(scoreSettings),
  ...[
    'stopAtEos',
    'stopTokens',
    'signal',
    'onToken',
    'onPrefill',
    'schema',
    'pattern',
    'json',
    'constraint',
    'shownTokens',
  ],
]

export interface CheckedOptions {
  sampling: Sampling
  maxTokens: number
  /** Tokens that end the text. */
  ends: ReadonlySet<number>
  stops: string[]
  /** Control tokens that are written out. */
  shown: ReadonlySet<number>
  speculate: number
  bias: LogitBias | undefined
  /** Alternatives to tell, of tokens and of those of the prompt; undefined: no log probabilities. */
  logprobs: number | undefined
  promptLogprobs: number | undefined
}

/** Throws BAD_OPTION or BAD_PROMPT. */
export function checkOptions(
  { runtime, lastSampling }: Sequence,
  prompt: Prompt | undefined,
  options: GenerateOptions,
  isConstrained: boolean,
): CheckedOptions {
  const { tokenizer, eos, spec } = runtime
  const {
    maxTokens = Number.POSITIVE_INFINITY,
    // Without a prompt it goes on with text, if the model has a tokenizer. A constraint says where the text may end.
    stopAtEos = typeof prompt === 'string' || (prompt === undefined && tokenizer !== undefined) || isConstrained,
    stopTokens = [],
    shownTokens = [],
    signal,
    speculate = settings.speculate.default,
    logitBias,
    logprobs,
    promptLogprobs,
  } = options
  if (maxTokens !== Number.POSITIVE_INFINITY) checkSetting('maxTokens', maxTokens)
  checkSetting('speculate', speculate)
  checkSetting('logprobs', logprobs)
  checkSetting('promptLogprobs', promptLogprobs)
  checkSignal(signal)
  for (const name of ['onToken', 'onPrefill'] as const) checkCallback(name, options[name])
  const stops = checking('stop', () => checkStops(options.stop ?? []))
  if (stops.length > 0 && !tokenizer)
    throw errors.badOption('stop', 'absent, because this model has no tokenizer', stops)
  for (const [name, ids] of Object.entries({ stopTokens, shownTokens })) {
    checkList(name, 'a list of token ids', ids)
    checkTokens(ids, spec.vocabSize)
  }
  return {
    sampling: resolveSampling(runtime, lastSampling, options),
    maxTokens,
    ends: new Set([...(stopAtEos ? eos : []), ...stopTokens]),
    stops,
    shown: new Set(shownTokens),
    speculate,
    bias: checking('logitBias', () => checkBias(logitBias, spec.vocabSize)),
    logprobs,
    promptLogprobs,
  }
}

/** Refuses an option that there is not; before anything else is looked at. */
export function checkOptionNames(options: GenerateOptions): void {
  checkNames('generate()', options, names)
}

function resolveSampling(runtime: Runtime, last: Sampling | undefined, options: GenerateOptions): Sampling {
  const given = Object.fromEntries(
    samplingNames.map((name) => [name, options[name]] as const).filter(([, value]) => value !== undefined),
  )
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] as number
  return checkSampling({ seed, ...defaultSampling, ...runtime.recommended, ...last, ...given })
}

/** Throws BAD_OPTION for what is no list of texts. */
export function checkStops(stops: string[]): string[] {
  if (!Array.isArray(stops)) throw errors.badOption('stop', 'a list of texts', stops)
  for (const stop of stops)
    if (typeof stop !== 'string' || stop === '') throw errors.badOption('a stop text', 'not empty', stop)
  return stops
}

function checkBias(given: GenerateOptions['logitBias'], vocabSize: number): LogitBias | undefined {
  if (given === undefined) return undefined
  const title = titleOf('logitBias')
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw errors.badOption(title, 'an object of numbers by token id', given)
  const entries = Object.entries(given)
  if (entries.length > MAX_BIASES)
    throw errors.badOption(`the number of tokens of ${title}`, `at most ${MAX_BIASES}`, entries.length)
  for (const [id, value] of entries) {
    if (!/^\d+$/.test(id) || Number(id) >= vocabSize)
      throw errors.badOption(`a token of ${title}`, `a whole number from 0 to ${vocabSize - 1}`, id)
    if (typeof value !== 'number' || !(value >= -100 && value <= 100))
      throw errors.badOption(`a value of ${title}`, 'a number from -100 to 100', value)
  }
  if (entries.length === 0) return undefined
  return {
    tokens: Uint32Array.from(entries, ([id]) => Number(id)),
    values: Float32Array.from(entries, ([, value]) => value),
  }
}
