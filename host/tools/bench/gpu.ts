/**
 * A GPU beside the CPU: the same tests on both engines, one after the other. What a GPU's driver computes on the CPU is told,
 * and says nothing about the speed of any GPU.
 */
import type { KvCache } from '../../cache/cache.ts'
import { nameOf } from '../../engine/engine.ts'
import { chooseAdapter } from '../../engine/gpu/adapters.ts'
import { openCache } from '../../runtime/open.ts'
import { copyConversation, engineOptionsFor } from './bench.ts'
import { runTests, type Spread, type TimedEngine } from './runner.ts'
import { type BenchOptions, checkBench, contextOf, listTests } from './settings.ts'
import { openSubject } from './subject.ts'
import { type BenchTest, type Work, workCounter, workloadName } from './workload.ts'

export type GpuBenchMode = 'off' | 'on' | 'prefill'

export interface GpuBenchOptions extends BenchOptions {
  /** What is timed, in this order; default: the CPU, then everything on the GPU. */
  engines?: readonly GpuBenchMode[]
  /** Also a GPU that is not fit for it. */
  gpuForce?: boolean
}

/** One test on all engines. */
export interface GpuBenchRow extends Omit<BenchTest, 'threads'> {
  test: string
  /** Least operations and bytes of it. */
  work: Work
  /** Tokens per second, in the order of the engines. */
  tokensPerSecond: Spread[]
}

export interface GpuBenchReport {
  model: string
  kind: string
  weightType: string
  cacheType: string
  /** Of the adapter. */
  gpu: string
  /** Why its figures say nothing, or little. */
  unfit: string | undefined
  engines: { mode: GpuBenchMode; name: string }[]
  rows: GpuBenchRow[]
}

/** Throws GtaError: NO_GPU, or what opening and running a model throws. */
export async function benchGpu(options: GpuBenchOptions): Promise<GpuBenchReport> {
  const { engines = ['off', 'on'], gpuForce = false, ...rest } = options
  const settings = checkBench(rest)
  const { facts } = await chooseAdapter(gpuForce)
  const context = contextOf(settings)
  const rows = new Map<string, GpuBenchRow>()
  const report: GpuBenchReport = {
    ...{ model: '', kind: '', weightType: '', cacheType: '', gpu: facts.name, unfit: facts.unfit, engines: [] },
    rows: [],
  }
  for (const mode of engines) {
    const subject = await openSubject(settings, context)
    const { model, plan } = subject
    const engineOptions = {
      ...engineOptionsFor(settings, subject, context),
      gpu: mode,
      gpuForce: mode !== 'off' && gpuForce,
    }
    const cache = await openCache(subject, engineOptions).finally(() => subject.close())
    try {
      const workOf = workCounter(model, plan, engineOptions.cache, settings.batch)
      Object.assign(report, {
        model: subject.path,
        kind: model.spec.kind,
        weightType: plan.type,
        cacheType: engineOptions.cache,
      })
      report.engines.push({ mode, name: mode === 'on' ? cache.facts.name : nameOf(cache.engine) })
      const copy = (from: number, to: number) => copyConversation(cache, from, to)
      const { batch, repetitions, signal, onProgress } = settings
      const common = { batch, repetitions, vocabSize: model.spec.vocabSize, copy, signal, onProgress }
      for await (const timing of runTests(timed(cache), listTests(settings, cache.threads), common)) {
        const { threads: _, phase, tokens, depth, conversations, prompt } = timing
        const test = { phase, tokens, depth, conversations, ...(prompt === undefined ? {} : { prompt }) }
        const name = workloadName(test)
        const row = rows.get(name) ?? { ...test, test: name, work: workOf(test), tokensPerSecond: [] }
        row.tokensPerSecond.push(timing.tokensPerSecond)
        rows.set(name, row)
      }
    } finally {
      await cache.close()
    }
  }
  return { ...report, rows: [...rows.values()] }
}

/** A GPU keeps no account of its parts. */
function timed(cache: KvCache): TimedEngine {
  return {
    get threads() {
      return cache.threads
    },
    set threads(counts) {
      cache.threads = counts
    },
    step: (rows) => cache.step(rows),
    logits: (k) => cache.logits(k),
    rewind: (conversation, length) => cache.rewind(conversation, length),
    measure: async <T>() => [] as T,
  }
}
