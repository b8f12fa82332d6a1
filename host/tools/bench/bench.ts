/**
 * Benchmarks in the manner of llama-bench: prompts read and text generated per second, at several depths, with several
 * conversations and threads. Beside the speed stands what is needed to judge it: the share of the memory bandwidth,
 * where the time went, and a hash of what was computed, which must be one and the same in all repetitions and with any
 * number of threads: a fast wrong answer is no result.
 */
import { platform } from '#platform'
import { cost } from '../../../models/index.ts'
import type { CachedPage, KvCache } from '../../cache/cache.ts'
import { checkFit } from '../../engine/check-fit.ts'
import type { EngineOptions } from '../../engine/engine.ts'
import { watchLoad } from '../../platform/load.ts'
import { version } from '../../platform/version.ts'
import { openCache } from '../../runtime/open.ts'
import { availableThreads } from '../../runtime/tune.ts'
import { defaultCache } from '../../settings.ts'
import { RemainingTime } from './remaining.ts'
import {
  type Bandwidth,
  type BenchInfo,
  type BenchReport,
  type BenchResult,
  describeEnvironment,
  judge,
} from './report.ts'
import { runTests } from './runner.ts'
import { readSensors } from './sensors.ts'
import { type BenchOptions, type BenchSettings, checkBench, contextOf, listTests } from './settings.ts'
import { openSubject, type Subject } from './subject.ts'
import { type BenchProgress, type BenchTest, hashPlan, workCounter, workloadName } from './workload.ts'

/** Runs all tests that the options name. Throws GtaError; results that differ are told in the report. */
export async function bench(options: BenchOptions = {}): Promise<BenchReport> {
  const settings = checkBench(options)
  const context = contextOf(settings)
  const { load } = watchLoad()()
  const sensorsBefore = await readSensors()
  const started = performance.now()
  const { subject, cache, engineOptions } = await open(settings, context)
  try {
    const loadSeconds = (performance.now() - started) / 1000
    const { model, plan, path, isSynthetic } = subject
    const { batch, repetitions, signal, onProgress } = settings
    const tests = listTests(settings, cache.threads)
    const info: BenchInfo = {
      environment: await describeEnvironment(cache.facts.build),
      model: path,
      isSynthetic,
      kind: model.spec.kind,
      weightType: plan.type,
      cacheType: engineOptions.cache,
      planHash: hashPlan(plan),
      weightBytes: plan.bytes,
      parameters: cost(model).parameters,
      context,
      batch,
      repetitions,
      loadSeconds,
      bandwidth: await measureBandwidths(cache, tests),
      sensorsBefore,
      load,
    }
    options.onOpen?.(info, tests.map(workloadName))
    const workOf = workCounter(model, plan, engineOptions.cache, batch)
    const results: BenchResult[] = []
    const { vocabSize } = model.spec
    const copy = (from: number, to: number) => copyConversation(cache, from, to)
    const remaining = new RemainingTime(tests, workOf, info)
    const told = (progress: BenchProgress) =>
      onProgress?.({ ...progress, secondsLeft: remaining.seconds(results.length, progress) })
    try {
      for await (const timing of runTests(cache, tests, {
        ...{ batch, repetitions, vocabSize, copy, signal },
        onProgress: told,
      })) {
        const result = judge(timing, workOf(timing), info.bandwidth, await readSensors())
        results.push(result)
        remaining.finish(results.length)
        options.onResult?.(result)
      }
    } catch (error) {
      if (!(settings.keepsUnfinished && signal?.aborted && results.length > 0)) throw error
    }
    return {
      schema: 'gta-bench/1',
      version: version ?? null,
      ...info,
      results,
      sensorsAfter: await readSensors(),
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
      isGood: results.every(({ problems }) => problems.length === 0),
      tests: tests.map(workloadName),
      isComplete: results.length === tests.length,
    }
  } finally {
    await cache.close()
  }
}

/** The same tokens and rows, in pages of their own: conversations that shared them would be read faster. */
export async function copyConversation(cache: KvCache, from: number, to: number): Promise<void> {
  const source = cache.cached(from)
  const target = cache.adopt(to, source.length, 0, [])
  for (const [i, { id, tokens }] of target.pages.entries()) {
    const page = source.pages[i] as CachedPage
    tokens.set(page.tokens)
    for (const [kind, from] of target.from.entries())
      if (i >= from) await cache.storePage(id, await cache.fetchPage(page.id, kind), { kind })
  }
}

async function open(settings: BenchSettings, context: number) {
  const subject = await openSubject(settings, context)
  try {
    const engineOptions = engineOptionsFor(settings, subject, context)
    const checked = { ...engineOptions, threads: engineOptions.threads ?? availableThreads() }
    await checkFit(
      subject.model.spec,
      subject.plan,
      checked,
      platform.machineMemory(),
      'use smaller -p, -n, -d, -np or -b',
    )
    return { subject, engineOptions, cache: await openCache(subject, engineOptions) }
  } finally {
    await subject.close()
  }
}

export function engineOptionsFor(settings: BenchSettings, { plan }: Subject, context: number): EngineOptions {
  const conversations = Math.max(...settings.conversations)
  const { threads, batchThreads = threads } = settings
  return {
    context,
    cache: settings.cache ?? defaultCache(plan.type),
    maxRows: Math.max(settings.batch, conversations),
    maxLogits: conversations,
    conversations,
    threads: threads && Math.max(...threads),
    batchThreads: batchThreads && Math.max(...batchThreads),
  }
}

async function measureBandwidths(cache: KvCache, tests: BenchTest[]): Promise<Bandwidth[]> {
  const found: Bandwidth[] = []
  for (const threads of new Set(tests.map((test) => test.threads)))
    found.push({
      threads,
      bytesPerSecond: await cache.measure((probe) => probe.measureBandwidth(threads)),
      barrierSeconds: await cache.measure((probe) => probe.measureBarrier(threads)),
    })
  return found
}
