/** Measures a board: a fixed set of tests, the same for everybody, or those that options name. */
import { freemem } from 'node:os'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { platform } from '#platform'
import { planModel, type WeightType } from '../../../../models/index.ts'
import { describeModel } from '../../../files/describe.ts'
import { defaultModel, paperConfig } from '../../../load.ts'
import { availableThreads } from '../../../runtime/tune.ts'
import { bench } from '../bench.ts'
import type { BenchReport } from '../report.ts'
import { readSensors } from '../sensors.ts'
import type { BenchOptions } from '../settings.ts'
import { boardFacts, forms, inForm, loadNow, readFrequency, softwareFacts } from './facts.ts'
import { type BoardHeat, type BoardReport, type BoardRun, boardSchema, checkBoardReport } from './report.ts'

export interface BoardOptions extends Pick<BenchOptions, 'signal' | 'onOpen' | 'onResult' | 'onProgress'> {
  /** Tests to run instead of the standard set, one model each. */
  tests?: BenchOptions[] | undefined
  /** Told of a run that is left out because so many bytes are not free. */
  onSkip?: (model: string, bytes: number) => void
}

/**
 * Some 6 minutes on a Raspberry Pi 5 as it is predicted to be; 1.3 GB of memory. Small weights that caches hold, and the
 * papers' 1B models: alone and behind a long text, alone and four together, with few threads and all, in both types.
 */
export function standardSet(): BenchOptions[] {
  const threads = [...new Set([1, 2, availableThreads()])].filter((count) => count <= availableThreads())
  const long = { prompt: [0], predict: [32], depth: [1536], conversations: [1, 4], repetitions: 3 }
  return [
    { model: defaultModel, prompt: [128], predict: [128] },
    { config: paperConfig('160m-gta1'), prompt: [128], predict: [64], threads, repetitions: 3 },
    { config: paperConfig('gta-1b'), prompt: [128], predict: [32], threads, repetitions: 3 },
    { config: paperConfig('gta-1b'), ...long },
    { config: paperConfig('gqa-1b'), ...long },
    { config: paperConfig('gta-1b'), type: 'q4', prompt: [128], predict: [32], repetitions: 3 },
  ]
}

/** Runs the tests; a run of the standard set for which no memory is free is left out. Errors are those of `bench()`. */
export async function measureBoard(options: BoardOptions = {}): Promise<BoardReport> {
  const { tests, onSkip, ...told } = options
  const started = performance.now()
  const load = loadNow()
  const heat = await watchHeat()
  const runs: { given: BenchOptions; report: BenchReport }[] = []
  const skipped: BoardReport['skipped'] = []
  let isUnfinished = false
  try {
    for (const given of tests ?? standardSet()) {
      const tooLarge = tests ? undefined : await lacksMemory(given)
      if (tooLarge) {
        onSkip?.(tooLarge.model, tooLarge.bytes)
        skipped.push({ model: tooLarge.model, weightType: tooLarge.weightType, reason: 'memory' })
      } else runs.push({ given, report: await bench({ ...given, ...told, keepsUnfinished: true }) })
      told.signal?.throwIfAborted()
    }
  } catch (error) {
    // What was measured before a signal is worth keeping.
    if (!told.signal?.aborted || runs.length === 0) throw error
    isUnfinished = true
  } finally {
    heat.stop()
  }
  isUnfinished ||= runs.some(({ report }) => !report.isComplete)
  // The embedded model of a set always runs.
  const { environment } = (runs[0] as (typeof runs)[0]).report
  const report: BoardReport = {
    schema: boardSchema,
    date: environment.date.slice(0, 10),
    set: tests ? 'flags' : 'standard-1',
    seconds: (performance.now() - started) / 1000,
    software: softwareFacts(environment),
    machine: await boardFacts(environment, load),
    heat: await heat.read(),
    runs: runs.map(({ given, report }) => boardRun(report, given)),
    skipped,
    peakRssBytes: Math.max(...runs.map(({ report }) => report.peakRssBytes)),
    isGood: runs.every(({ report }) => report.isGood),
    ...(isUnfinished ? { isUnfinished } : {}),
  }
  // As it will be read: without what is undefined.
  return checkBoardReport(JSON.parse(JSON.stringify(report)), 'this report')
}

/** Weights, and a tenth for cache and buffers. */
const MARGIN = 1.1

async function lacksMemory({ config, type = 'q8' }: BenchOptions) {
  if (config === undefined) return undefined
  const { model } = await describeModel(config)
  const bytes = planModel(model, type).bytes * MARGIN
  return bytes > Math.min(freemem(), platform.machineMemory())
    ? { model: basename(config, '.json'), weightType: type as WeightType, bytes }
    : undefined
}

/** Field by field: what `bench()` tells besides, the path of the model first of all, stays here. */
function boardRun(report: BenchReport, { threads, batchThreads = threads }: BenchOptions): BoardRun {
  const { isSynthetic, kind, weightType, cacheType, weightBytes, context, batch, repetitions, loadSeconds } = report
  const isEmbedded = !isSynthetic && report.model === fileURLToPath(defaultModel)
  return {
    model: publicName(report.model),
    weights: isSynthetic ? 'synthetic' : isEmbedded ? 'embedded' : 'own',
    plan: report.planHash,
    kind,
    weightType,
    cacheType,
    weightBytes,
    context,
    batch,
    repetitions,
    loadSeconds,
    bandwidth: report.bandwidth,
    results: report.results.map((result) => {
      const { median, min, max } = result.tokensPerSecond
      const { linear, attention, valueDecoder, rest, barrier } = result.parts
      const isSingle = result.phase !== 'pp' && result.conversations === 1
      return {
        test: result.test,
        threads: result.threads,
        isTuned: (isSingle ? threads : batchThreads) === undefined,
        tokensPerSecond: { median, min, max },
        bytesPerSecond: result.bytesPerSecond,
        bandwidthShare: result.bandwidthShare,
        operationsPerSecond: result.operationsPerSecond,
        parts: { linear, attention, valueDecoder, rest, barrier },
        barrierShare: result.barrierShare,
        foreignShare: result.foreignShare,
        temperature: result.sensors.temperature,
        hash: result.hash,
        differs: result.problems.length > 0,
      }
    }),
  }
}

/** The name of a file; not that of a directory, which may be somebody's home. */
export function publicName(path: string): string | undefined {
  const [, file] = /^(.+)\.(?:gta|json)$/.exec(basename(path)) ?? []
  return inForm(file, forms.name)
}

/** Milliseconds between two looks. */
const LOOK = 1000

/** Looks at the sensors once a second until `stop()`; compute threads do not notice. */
async function watchHeat() {
  const before = await readSensors()
  const temperatures: number[] = []
  const frequencies: number[] = []
  const throttled = new Set<string>()
  const look = async () => {
    const [sensors, frequency] = await Promise.all([readSensors(), readFrequency('scaling_cur_freq')])
    if (sensors.temperature !== undefined) temperatures.push(sensors.temperature)
    if (frequency !== undefined) frequencies.push(frequency)
    for (const reason of sensors.throttled ?? []) throttled.add(reason)
    return sensors
  }
  const timer = setInterval(look, LOOK)
  return {
    stop: () => clearInterval(timer),
    async read(): Promise<BoardHeat> {
      const after = await look()
      const ends = (list: number[]) => (list.length > 0 ? [Math.min(...list), Math.max(...list)] : [])
      const [lowestFrequency, highestFrequency] = ends(frequencies)
      return {
        before: before.temperature,
        highest: ends(temperatures)[1],
        after: after.temperature,
        lowestFrequency,
        highestFrequency,
        throttled: after.throttled && [...throttled],
        throttledSinceStart: after.throttledSinceStart,
      }
    },
  }
}
