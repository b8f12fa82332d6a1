/** What a benchmark is asked to do: options with their defaults, checked, and the tests that they name. */
import type { CacheType, PackingType } from '../../../models/index.ts'
import type { ThreadCounts } from '../../engine/engine.ts'
import { checkNames, checkSetting, errors } from '../../errors.ts'
import { settings as shared } from '../../settings.ts'
import type { BenchInfo, BenchResult } from './report.ts'
import type { BenchProgress, BenchTest } from './workload.ts'

export interface BenchOptions {
  /** A .gta file or a Hugging Face directory; default: the embedded model. */
  model?: string | URL
  /** Instead of a model: a config.json that is given synthetic weights. A model stands for its config. */
  config?: string
  /** Weight type of synthetic weights, or of a directory that is converted; default q8. */
  type?: PackingType
  /** Default: as for `load()`. */
  cache?: CacheType
  /** Tokens of the prompts to read; 0: none. Default 512. */
  prompt?: number[]
  /** Tokens to generate in each conversation; 0: none. Default 128. */
  predict?: number[]
  /** Prompts to read and tokens to generate behind them, timed together: [512, 128]. Default none. */
  promptPredict?: [number, number][]
  /** Positions in the cache before them. Default 0. */
  depth?: number[]
  /** Conversations that generate together, one token of each per step. Default 1. */
  conversations?: number[]
  /** Threads for steps of one token. Default: what the engine chooses. */
  threads?: number[]
  /** Threads for steps of more: prompts, and several conversations. Default: those of `threads`. */
  batchThreads?: number[]
  /** Default 5. */
  repetitions?: number
  /** Tokens of a prompt that are read in one step. Default 64. */
  batch?: number
  signal?: AbortSignal
  /** Where the signal ends it behind a first result, return what there is, `isComplete: false`, instead of throwing. */
  keepsUnfinished?: boolean
  /** Told once the model is loaded, with the names of the tests. */
  onOpen?: (info: BenchInfo, tests: string[]) => void
  onResult?: (result: BenchResult) => void
  onProgress?: (progress: BenchProgress) => void
}

/** As llama-bench's. */
export const benchDefaults = {
  prompt: [512],
  predict: [128],
  promptPredict: [] as [number, number][],
  depth: [0],
  conversations: [1],
  repetitions: 5,
  batch: shared.batch.default,
}

export type BenchSettings = BenchOptions &
  Required<
    Pick<BenchOptions, 'prompt' | 'predict' | 'promptPredict' | 'depth' | 'conversations' | 'repetitions' | 'batch'>
  >

const functions = ['onOpen', 'onResult', 'onProgress']
const names = [
  ...Object.keys(benchDefaults),
  ...['model', 'config', 'type', 'cache', 'threads', 'batchThreads', 'signal', 'keepsUnfinished'],
]

/** Options and defaults; throws BAD_OPTION. */
export function checkBench(options: BenchOptions): BenchSettings {
  checkNames('bench()', options, [...names, ...functions])
  checkSetting('type', options.type)
  checkSetting('cache', options.cache)
  if (options.model !== undefined && options.config !== undefined)
    throw errors.badOption('config', 'absent where a model is given', options.config)
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const settings: BenchSettings = { ...benchDefaults, ...given }
  const { max: positions } = shared.context
  checkList('prompt (-p)', settings.prompt, 0, positions)
  checkList('predict (-n)', settings.predict, 0, positions)
  for (const pair of settings.promptPredict)
    if (
      !Array.isArray(pair) ||
      pair.length !== 2 ||
      !pair.every((n) => Number.isInteger(n) && n >= 1 && n <= positions)
    )
      throw errors.badOption('promptPredict (-pg)', 'pairs of a prompt and tokens, such as 512,128', pair)
  checkList('depth (-d)', settings.depth, 0, positions)
  checkList('conversations (-np)', settings.conversations, 1, 1024)
  if (settings.threads) checkList('threads (-t)', settings.threads, 1, shared.threads.max)
  if (settings.batchThreads) checkList('batchThreads (-tb)', settings.batchThreads, 1, shared.batchThreads.max)
  checkList('repetitions (-r)', [settings.repetitions], 1, 1000)
  checkList('batch (-b)', [settings.batch], 1, shared.batch.max)
  if (Math.max(...settings.prompt, ...settings.predict, settings.promptPredict.length) === 0)
    throw errors.badOption(
      'prompt (-p), predict (-n) or promptPredict (-pg)',
      'more than 0: there is nothing to measure',
      0,
    )
  return settings
}

function checkList(name: string, list: unknown, min: number, max: number): void {
  if (!Array.isArray(list) || list.length === 0) throw errors.badOption(name, 'a list of numbers', list)
  for (const [i, value] of list.entries()) {
    if (!Number.isInteger(value) || value < min || value > max)
      throw errors.badOption(name, `a whole number from ${min} to ${max}`, value)
    if (list.indexOf(value) !== i) throw errors.badOption(name, 'a list of different numbers', list.join(','))
  }
}

/**
 * All tests, shallow ones first: then no position is read twice. `chosen` are the engine's own threads. Prompts do not
 * depend on the threads for single tokens and the other way round, so not every pair of the two is run.
 */
export function listTests(settings: BenchSettings, chosen: ThreadCounts): BenchTest[] {
  const threads = settings.threads ?? [chosen.decode]
  const batchThreads = settings.batchThreads ?? settings.threads ?? [chosen.prefill]
  const some = (list: number[]) => list.filter((tokens) => tokens > 0)
  const tests: BenchTest[] = []
  for (const depth of settings.depth.toSorted((a, b) => a - b)) {
    for (const tokens of some(settings.prompt))
      for (const count of batchThreads) tests.push({ phase: 'pp', tokens, depth, conversations: 1, threads: count })
    for (const conversations of settings.conversations)
      for (const tokens of some(settings.predict))
        for (const count of conversations === 1 ? threads : batchThreads)
          tests.push({ phase: 'tg', tokens, depth, conversations, threads: count })
    for (const [prompt, predict] of settings.promptPredict)
      for (const count of threads)
        tests.push({ phase: 'pg', tokens: prompt + predict, prompt, depth, conversations: 1, threads: count })
  }
  return tests
}

/** Positions that each conversation needs. */
export function contextOf({ prompt, predict, promptPredict, depth }: BenchSettings): number {
  return Math.max(...depth) + Math.max(...prompt, ...predict, ...promptPredict.map(([read, told]) => read + told))
}
