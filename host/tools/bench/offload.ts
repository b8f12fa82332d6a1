/**
 * What it costs to keep a part of the cache on a disk: the paper's memory-constrained setting. A token reads the whole
 * cache of its conversation, so what lies on the disk is read for each; the time is the disk's unless computing takes
 * longer. A smaller cache has less to read, and a larger part of it stays in memory.
 *
 * The cache is filled with copies of one page that the model computed: what is generated behind it means nothing, how
 * long it takes does not depend on that.
 */
import { totalmem } from 'node:os'
import { type CacheType, cacheBytes, PAGE_TOKENS, type PackingType } from '../../../models/index.ts'
import type { KvCache } from '../../cache/cache.ts'
import { checkFit } from '../../engine/check-fit.ts'
import { type EngineOptions, finite, greedy, type StepProfile, secondsOf } from '../../engine/engine.ts'
import { checkNames, errors, Words } from '../../errors.ts'
import { cacheDirectory } from '../../platform/remember.ts'
import { openCache } from '../../runtime/open.ts'
import { availableThreads } from '../../runtime/tune.ts'
import { defaultCache } from '../../settings.ts'
import { type Spread, spreadOf } from './runner.ts'
import { checkBench } from './settings.ts'
import { openSubject, type Subject } from './subject.ts'
import type { BenchProgress } from './workload.ts'

export interface OffloadBenchOptions {
  /** config.json files, timed with synthetic weights. */
  configs: string[]
  /** Memory of the cache, buffers included, in bytes. */
  bytes: number
  /** Where the rest goes; default: $XDG_CACHE_HOME/gta-edge. */
  directory?: string
  /** Tokens in the cache, a multiple of 64. Default 8192. */
  depth?: number
  /** Tokens to generate in each repetition. Default 16. */
  predict?: number
  /** Default 3. */
  repetitions?: number
  threads?: number
  type?: PackingType
  signal?: AbortSignal
  onResult?: (result: OffloadResult) => void
  onProgress?: (progress: BenchProgress) => void
}

export interface OffloadResult {
  config: string
  /** Attention kind. */
  kind: string
  weightType: PackingType
  cacheType: CacheType
  threads: number
  /** Tokens in the cache, and their bytes. */
  depth: number
  cacheBytes: number
  /** What of the cache may be in memory, buffers included. */
  memoryBytes: number
  /** Read from the disk for each token; 0: all of the cache is in memory. */
  bytesPerToken: number
  tokensPerSecond: Spread
  /** The same with all of the cache in memory; undefined if this machine has not as much. */
  inMemory: Spread | undefined
  /** Share of a thread's time that goes into waiting for the disk. */
  stallShare: number
  /** What the disk gives when nothing is computed, in bytes per second. */
  diskBytesPerSecond: number
  /** Does it read past the system's own cache? If not, it may not be the disk that was measured. */
  isDirect: boolean
}

const names = ['configs', 'bytes', 'directory', 'depth', 'predict', 'repetitions', 'threads', 'type', 'signal']

/** One result for each config, in their order. Throws GtaError. */
export async function benchOffload(options: OffloadBenchOptions): Promise<OffloadResult[]> {
  checkNames('benchOffload()', options, [...names, 'onResult', 'onProgress'])
  const { depth = 8192, predict = 16, repetitions = 3 } = options
  if (options.configs.length === 0) throw errors.badOption('configs (--config)', 'at least one file', new Words('none'))
  if (!Number.isInteger(depth) || depth < PAGE_TOKENS || depth % PAGE_TOKENS > 0 || depth > 2 ** 24)
    throw errors.badOption('depth (-d)', `a multiple of ${PAGE_TOKENS} up to 2^24`, depth)
  const results: OffloadResult[] = []
  for (const config of options.configs) {
    const result = await measure(config, { ...options, depth, predict, repetitions })
    results.push(result)
    options.onResult?.(result)
  }
  return results
}

type Settings = OffloadBenchOptions & Required<Pick<OffloadBenchOptions, 'depth' | 'predict' | 'repetitions'>>

async function measure(config: string, options: Settings): Promise<OffloadResult> {
  const { depth, predict, repetitions, bytes, directory = cacheDirectory(), threads, type, signal } = options
  const bench = checkBench({
    config,
    type,
    predict: [predict],
    repetitions,
    threads: threads === undefined ? undefined : [threads],
    signal,
  })
  const subject = await openSubject(bench, depth + predict)
  try {
    const { model, plan } = subject
    const cache = defaultCache(plan.type)
    const offload = { bytes, directory }
    const all: EngineOptions = {
      context: depth + predict,
      cache,
      maxRows: PAGE_TOKENS,
      maxLogits: 1,
      conversations: 1,
      threads,
    }
    const timed = await withCache(subject, { ...all, offload }, options, async (cache) => {
      const before = cache.offloadUse?.bytesRead ?? 0
      const run = await time(cache, options)
      // Warm-up, repetitions and the account.
      const tokens = predict * (repetitions + 2)
      return {
        ...run,
        bytesPerToken: ((cache.offloadUse?.bytesRead ?? 0) - before) / tokens,
        memoryBytes: cache.offloadUse?.memoryBytes ?? cache.use.totalBytes,
        diskBytesPerSecond: await cache.measureOffload(),
        isDirect: cache.offloadUse?.isDirect ?? false,
        threads: cache.threads.decode,
      }
    })
    const inMemory = timed.bytesPerToken === 0 ? timed : await ifItFits(subject, all, options)
    const { elements, scales } = cacheBytes(model.spec, cache, depth)
    const { parts, ...rest } = timed
    const total = secondsOf(parts)
    return {
      config,
      kind: model.spec.kind,
      weightType: plan.type,
      cacheType: cache,
      depth,
      cacheBytes: elements + scales,
      ...rest,
      inMemory: inMemory?.tokensPerSecond,
      stallShare: total > 0 ? parts.stream / total : 0,
    }
  } finally {
    await subject.close()
  }
}

async function ifItFits(subject: Subject, all: EngineOptions, options: Settings) {
  try {
    await checkFit(subject.model.spec, subject.plan, { ...all, threads: all.threads ?? availableThreads() }, totalmem())
  } catch {
    return undefined
  }
  return withCache(subject, all, options, (cache) => time(cache, options))
}

async function withCache<T>(
  subject: Subject,
  engineOptions: EngineOptions,
  { onProgress }: Settings,
  work: (cache: KvCache) => Promise<T>,
): Promise<T> {
  onProgress?.({ label: `loading ${subject.path}`, done: 0, total: 1 })
  const cache = await openCache(subject, engineOptions)
  try {
    return await work(cache)
  } finally {
    await cache.close()
  }
}

interface Run {
  tokensPerSecond: Spread
  parts: StepProfile
}

async function time(cache: KvCache, options: Settings): Promise<Run> {
  const { depth, predict, repetitions, signal, onProgress } = options
  await fill(cache, depth)
  const run = async (i: number) => {
    onProgress?.({ label: `generating behind ${depth} tokens`, done: i, total: repetitions + 2 })
    const started = performance.now()
    let token = 1
    for (let n = 0; n < predict; n++) {
      signal?.throwIfAborted()
      const row = { conversation: 0, position: depth + n, token, sampling: greedy }
      token = finite(await cache.step([row]))[0] as number
    }
    const seconds = (performance.now() - started) / 1000
    cache.rewind(0, depth)
    return predict / seconds
  }
  await run(0)
  const speeds: number[] = []
  for (let i = 1; i <= repetitions; i++) speeds.push(await run(i))
  await cache.measure((probe) => probe.profile(true))
  await run(repetitions + 1)
  const [parts] = await cache.measure((probe) => probe.profiled())
  await cache.measure((probe) => probe.profile(false))
  return { tokensPerSecond: spreadOf(speeds), parts: parts as StepProfile }
}

/** Fills the cache with one page, over and over. */
export async function fill(cache: KvCache, depth: number): Promise<void> {
  cache.rewind(0, 0)
  const rows = Array.from({ length: PAGE_TOKENS }, (_, position) => ({ conversation: 0, position, token: position }))
  await cache.step(rows)
  const [computed] = cache.cached(0).pages
  const bytes = (await cache.fetchPage(computed?.id ?? 0)).slice()
  cache.rewind(0, 0)
  for (const { id } of cache.adopt(0, depth, 0, []).pages) await cache.storePage(id, bytes)
}
