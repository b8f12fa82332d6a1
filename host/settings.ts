/**
 * Every option that the library and the commands share, said once: its name, its flags, what it may be, what it is if nobody
 * says, and its line of help. Library, commands, gta.wasm and all their help texts read this table; what they check, they
 * check against it. Only data: nothing of Node is imported, so that builds and browsers can read it too.
 */
import { type CacheType, cacheTypes, type PackingType, packingTypes } from '../models/index.ts'
import { sizeForms } from './sizes.ts'

export interface Setting {
  /** `--flag`; absent where only the library has it. */
  flag?: string
  /** One letter behind one dash, as in `-t`. */
  short?: string
  /** Several letters behind one dash, as llama.cpp has them: `-tb`. */
  alias?: string
  /**
   * bytes: a number in the library, `512M` on a command line (sizes.ts). texts: a list; its flag may be given several times.
   * biases: an object in the library, `5+1.5` on a command line, several times.
   */
  kind: 'whole' | 'number' | 'bytes' | 'choice' | 'text' | 'texts' | 'biases' | 'boolean'
  /** What stands for the value in help; of a choice, the choices. */
  value?: string
  /** Range of a number, both ends included; a model may have a smaller largest one. */
  min?: number
  max?: number
  choices?: readonly string[]
  /** On a command line: llama.cpp's way to say "no limit" or "choose yourself", as if the flag were not there. */
  none?: number
  default?: number | string
  /** The model's generation_config.json may say so; then that is the default. */
  isRecommended?: true
  /** Of `load()`: only where there are files. */
  needsFiles?: true
  /** The default in words, where it follows from something else; or what comes behind it. */
  otherwise?: string
  help: string
}

/** What happens when a conversation has filled its context. */
export const contextPolicies = ['error', 'window', 'shift'] as const

/** What a conversation does when as many as there can be are open. */
export const busyChoices = ['wait', 'throw'] as const

/** What a GPU computes. */
export const gpuModes = ['off', 'on', 'prefill', 'auto'] as const

const MAX_SAFE = Number.MAX_SAFE_INTEGER
/** More positions than any engine can address. */
const MAX_POSITIONS = 2 ** 28
/** The context that is reserved when nobody asks for one: a model may allow far more than a board can hold. */
const DEFAULT_CONTEXT = 4096

/** The element type of the cache, where nobody says one. */
export function defaultCache(weights: PackingType): CacheType {
  return weights === 'f32' ? 'f32' : 'int8'
}

/** Positions of a conversation, where nobody says how many. */
export function defaultContext(maxContext: number): number {
  return Math.min(maxContext, DEFAULT_CONTEXT)
}

/** Options of `load()`. */
export const modelSettings = {
  type: {
    flag: 'type',
    kind: 'choice',
    choices: packingTypes,
    default: 'q8',
    needsFiles: true,
    help: 'weight type when a directory or a GGUF file is converted in memory; keep: what a GGUF file has',
  },
  cache: {
    flag: 'cache',
    kind: 'choice',
    choices: cacheTypes,
    otherwise: 'f32 with f32 weights, else int8',
    help: 'element type of the KV cache',
  },
  context: {
    flag: 'ctx-size',
    short: 'c',
    kind: 'whole',
    value: 'N',
    min: 1,
    max: MAX_POSITIONS,
    none: 0,
    otherwise: `the model's, at most ${DEFAULT_CONTEXT}`,
    help: 'context in tokens',
  },
  cacheMemory: {
    flag: 'cache-memory',
    kind: 'bytes',
    value: 'SIZE',
    otherwise: 'enough to fill one context',
    help: `memory of the cache, ${sizeForms}`,
  },
  memory: {
    flag: 'memory',
    kind: 'bytes',
    value: 'SIZE',
    min: 1,
    needsFiles: true,
    help: 'load only what takes no more than this, all of it: weights, cache, scratch, Node and its threads',
  },
  offload: {
    flag: 'offload',
    kind: 'bytes',
    value: 'SIZE',
    min: 1,
    needsFiles: true,
    help: 'keep no more of the cache in memory than this (a size as above), the rest in a file',
  },
  offloadDirectory: {
    flag: 'offload-dir',
    kind: 'text',
    value: 'DIR',
    otherwise: '$XDG_CACHE_HOME/gta-edge, else ~/.cache/gta-edge',
    needsFiles: true,
    help: 'where that file is',
  },
  threads: {
    flag: 'threads',
    short: 't',
    kind: 'whole',
    value: 'N',
    min: 1,
    max: 64,
    otherwise: 'measured once and remembered',
    help: 'threads of decode',
  },
  batchThreads: {
    flag: 'threads-batch',
    alias: 'tb',
    kind: 'whole',
    value: 'N',
    min: 1,
    max: 64,
    otherwise: 'as -t, else measured',
    help: 'threads of prefill',
  },
  gpu: {
    flag: 'gpu',
    kind: 'choice',
    choices: gpuModes,
    default: 'off',
    help: 'use a GPU: not at all, for everything, for prompts only, or as was measured once to be fastest',
  },
  gpuForce: {
    flag: 'gpu-force',
    kind: 'boolean',
    help: 'use it even if it is computed by the CPU, or known to be slower than the CPU',
  },
  recover: {
    flag: 'recover',
    kind: 'boolean',
    help: 'when a GPU or a thread is lost, go on with another engine on the CPU: what conversations had is computed again',
  },
  verify: {
    flag: 'verify',
    kind: 'boolean',
    needsFiles: true,
    help: 'read a .gta file twice, first to check that every tensor is as it was written',
  },
  batch: { kind: 'whole', min: 1, max: 4096, default: 64, help: 'tokens of a prompt read in one step' },
  maxLogits: { kind: 'whole', min: 1, max: 4096, default: 32, help: 'rows of one step that may have logits' },
} as const satisfies Record<string, Setting>

/** Options of a conversation. */
export const contextSettings = {
  contextPolicy: {
    flag: 'context-policy',
    kind: 'choice',
    choices: contextPolicies,
    default: 'error',
    help: 'when the context is full: end (error), forget the oldest page after page (window), or half at once (shift)',
  },
  keep: {
    flag: 'keep',
    kind: 'whole',
    value: 'N',
    min: 0,
    max: 2 ** 31,
    // The first page: where there is none to lose, attention has nowhere to put what it does not want (arXiv 2309.17453).
    default: 64,
    help: 'tokens at the beginning that are never forgotten, in pages of 64',
  },
  busy: {
    kind: 'choice',
    choices: busyChoices,
    default: 'wait',
    help: 'when all conversations are taken: wait until one is closed, or throw at once',
  },
} as const satisfies Record<string, Setting>

/** How the next token is chosen: llama.cpp's defaults, and as there, no penalty. */
export const samplingSettings = {
  seed: {
    flag: 'seed',
    short: 's',
    kind: 'whole',
    value: 'N',
    min: 0,
    max: MAX_SAFE,
    none: -1,
    otherwise: 'another one each time',
    help: 'same seed, same text',
  },
  temperature: {
    flag: 'temp',
    kind: 'number',
    value: 'T',
    min: 0,
    max: 100,
    default: 0.8,
    isRecommended: true,
    help: 'temperature; 0: always the most likely token',
  },
  topK: {
    flag: 'top-k',
    kind: 'whole',
    value: 'K',
    min: 0,
    max: 2 ** 31,
    default: 40,
    isRecommended: true,
    help: 'choose among the K most likely tokens; 0: all',
  },
  topP: {
    flag: 'top-p',
    kind: 'number',
    value: 'P',
    min: 0,
    max: 1,
    default: 0.95,
    isRecommended: true,
    help: 'choose among the tokens with this share of probability',
  },
  minP: {
    flag: 'min-p',
    kind: 'number',
    value: 'P',
    min: 0,
    max: 1,
    default: 0.05,
    isRecommended: true,
    help: 'drop tokens less likely than this share of the best',
  },
  repeatPenalty: {
    flag: 'repeat-penalty',
    kind: 'number',
    value: 'X',
    min: 0.01,
    max: 100,
    default: 1,
    isRecommended: true,
    help: 'make tokens of the recent text less likely; 1: off',
  },
  repeatLastN: {
    flag: 'repeat-last-n',
    kind: 'whole',
    value: 'N',
    min: 0,
    max: 2 ** 31,
    default: 64,
    help: 'how many tokens the penalty looks at',
  },
  presencePenalty: {
    flag: 'presence-penalty',
    kind: 'number',
    value: 'X',
    min: -2,
    max: 2,
    default: 0,
    help: 'lower the logits of tokens that were written, once; 0: off',
  },
  frequencyPenalty: {
    flag: 'frequency-penalty',
    kind: 'number',
    value: 'X',
    min: -2,
    max: 2,
    default: 0,
    help: 'lower them again for each time that they were; 0: off',
  },
} as const satisfies Record<string, Setting>

/** Options of `generate()`. */
export const generateSettings = {
  maxTokens: {
    flag: 'n-predict',
    short: 'n',
    kind: 'whole',
    value: 'N',
    min: 0,
    max: MAX_SAFE,
    none: -1,
    otherwise: '-1: until text or context end',
    help: 'tokens to write at most; 0: only read the prompt',
  },
  ...samplingSettings,
  speculate: {
    flag: 'speculate',
    kind: 'whole',
    value: 'N',
    min: 0,
    // More than this is never guessed right.
    max: 31,
    default: 0,
    otherwise: 'the text is the same',
    help: 'guess up to N tokens from what followed earlier, and check them in one step',
  },
  logitBias: {
    flag: 'logit-bias',
    kind: 'biases',
    value: 'ID±X',
    help: 'add X to the logit of a token, as in 15043+1 or 15043-100; may be given several times',
  },
  stop: { flag: 'stop', kind: 'texts', value: 'TEXT', help: 'end before this text; may be given several times' },
} as const satisfies Record<string, Setting>

/** Of `generate()`: what it tells of how likely tokens were. */
export const scoreSettings = {
  logprobs: { kind: 'whole', min: 0, max: 20, help: 'log probabilities of tokens, and alternatives to each' },
  promptLogprobs: { kind: 'whole', min: 0, max: 20, help: 'the same of the tokens of the prompt' },
} as const satisfies Record<string, Setting>

/** What only commands have: the model and the prompt, which the library is given directly, and how a text ends. */
export const commandSettings = {
  model: {
    flag: 'model',
    short: 'm',
    kind: 'text',
    value: 'MODEL',
    help: 'a .gta or .gguf file, a Hugging Face directory, or the name of a pulled model',
  },
  prompt: { flag: 'prompt', short: 'p', kind: 'text', value: 'TEXT', help: 'the prompt' },
  file: { flag: 'file', short: 'f', kind: 'text', value: 'FILE', help: 'read the prompt from a file; -: from stdin' },
  tokens: { flag: 'tokens', kind: 'text', value: '1,5,9', help: 'token ids, taken as they are: nothing is added' },
  stopEos: { flag: 'stop-eos', kind: 'boolean', help: 'with --tokens: end at a token that ends a text' },
  ignoreEos: { flag: 'ignore-eos', kind: 'boolean', help: 'with a text prompt: go on after it' },
  jsonSchema: {
    flag: 'json-schema',
    kind: 'text',
    value: 'FILE',
    help: 'write JSON of this JSON Schema, and only that',
  },
  pattern: {
    flag: 'pattern',
    kind: 'text',
    value: 'REGEX',
    help: 'write a text that this regular expression matches whole',
  },
  json: { flag: 'json', kind: 'boolean', help: 'one JSON document on stdout' },
  help: { flag: 'help', short: 'h', kind: 'boolean', help: 'this text' },
} as const satisfies Record<string, Setting>

export const settings = {
  ...modelSettings,
  ...contextSettings,
  ...generateSettings,
  ...scoreSettings,
  ...commandSettings,
} as const

export type SettingName = keyof typeof settings

type Kinds = {
  whole: number
  number: number
  bytes: number
  text: string
  texts: string[]
  biases: Record<number, number>
  boolean: boolean
}

/** What a setting is in the library. */
export type ValueOf<N extends SettingName> = (typeof settings)[N] extends { choices: readonly (infer C)[] }
  ? C
  : Kinds[Exclude<(typeof settings)[N]['kind'], 'choice'>]

/** 'context in tokens (default: the model's, at most 4096)' */
export function helpOf({ help, default: value, otherwise, isRecommended }: Setting): string {
  if (isRecommended) return `${help} (default: the model's, else ${value})`
  if (value === undefined) return otherwise === undefined ? help : `${help} (default: ${otherwise})`
  return `${help} (default ${value}${otherwise === undefined ? '' : `; ${otherwise}`})`
}

/** For errors: by its name in the library and by its flag, 'context (-c)'. */
export function titleOf(name: SettingName): string {
  const { flag, short, alias }: Setting = settings[name]
  const letters = short ?? alias
  return flag === undefined ? name : `${name} (${letters === undefined ? `--${flag}` : `-${letters}`})`
}

/** For errors: what a value must be, 'a whole number from 1 to 64'. */
export function expectedOf({ kind, min = 0, max = MAX_SAFE, choices }: Setting): string {
  if (kind === 'choice') return `one of ${choices?.join(', ')}`
  if (kind === 'bytes') return 'a number of bytes'
  return `a ${kind === 'whole' ? 'whole ' : ''}number from ${min} to ${max}`
}

/** Is a choice one of those that there are, a number within its range? Other kinds are not looked at. */
export function isAllowed({ kind, min = 0, max = MAX_SAFE, choices }: Setting, value: unknown): boolean {
  if (kind === 'choice') return choices?.includes(value as string) ?? false
  if (kind !== 'whole' && kind !== 'number' && kind !== 'bytes') return true
  return typeof value === 'number' && value >= min && value <= max && (kind === 'number' || Number.isInteger(value))
}
