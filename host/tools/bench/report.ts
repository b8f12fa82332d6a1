/** What a benchmark tells: enough to compare it with one of another machine, or to see why it cannot be compared. */
import type { CacheType, PackingType } from '../../../models/index.ts'
import { commit, version } from '../../platform/version.ts'
import { type Diagnosis, diagnose } from '../diagnose.ts'
import type { Timing } from './runner.ts'
import type { Sensors } from './sensors.ts'
import type { Work } from './workload.ts'

export interface BenchResult extends Timing {
  /** At the median: weights once per step, the cache of a conversation once per step. */
  bytesPerSecond: number
  /** The share of the bandwidth that as many threads reach at best. */
  bandwidthShare: number
  /** At the median, two for each multiply-add. */
  operationsPerSecond: number
  /** Right after the test. */
  sensors: Sensors
}

export interface BenchEnvironment
  extends Pick<
    Diagnosis,
    'board' | 'cpu' | 'cores' | 'cpuFeatures' | 'platform' | 'pageSize' | 'governor' | 'node' | 'totalMemory'
  > {
  /** Of gta-edge; absent where its sources run unbuilt. */
  version?: string
  commit?: string
  /** The engine's build. */
  build: string
  /** ISO 8601. */
  date: string
}

/** What so many threads can do at best. */
export interface Bandwidth {
  threads: number
  /** Reading memory. */
  bytesPerSecond: number
  /** Meeting at a barrier, when all come at once. */
  barrierSeconds: number
}

/** What is known before the first test. */
export interface BenchInfo {
  environment: BenchEnvironment
  /** Path of the model, or of the config. */
  model: string
  isSynthetic: boolean
  /** Attention kind. */
  kind: string
  weightType: PackingType
  cacheType: CacheType
  /** SHA-256 of the plan, first 16 hex digits: what has it too has the same shape and weight type. */
  planHash: string
  /** Bytes of the packed weights. */
  weightBytes: number
  /** Of the model as its authors count them. */
  parameters: number
  /** Positions reserved for each conversation. */
  context: number
  batch: number
  repetitions: number
  /** Memory, weights and workers. */
  loadSeconds: number
  /** Read at best by as many threads, in this process. */
  bandwidth: Bandwidth[]
  sensorsBefore: Sensors
  /** Processes that wanted to run before it began, on average over a minute; absent where the system does not tell. */
  load?: number
}

export interface BenchReport extends BenchInfo {
  schema: 'gta-bench/1'
  /** Of gta-edge; null where its sources run unbuilt. */
  version: string | null
  results: BenchResult[]
  sensorsAfter: Sensors
  /** Of the process: weights, cache and Node itself. */
  peakRssBytes: number
  /** No result has a problem. */
  isGood: boolean
  /** Names of all tests, those that were not run too. */
  tests: string[]
  /** All of them were run. */
  isComplete: boolean
}

export async function describeEnvironment(build: string): Promise<BenchEnvironment> {
  const { board, cpu, cores, cpuFeatures, platform, pageSize, governor, node, totalMemory } = await diagnose()
  const machine = { board, cpu, cores, cpuFeatures, platform, pageSize, governor, node, totalMemory }
  return { ...machine, version, commit, build, date: new Date().toISOString() }
}

/** Sets a timing against what it had to do and what the machine can. */
export function judge(timing: Timing, { macs, bytes }: Work, bandwidth: Bandwidth[], sensors: Sensors): BenchResult {
  const { tokens, conversations, tokensPerSecond, threads } = timing
  const perSecond = tokensPerSecond.median / (tokens * conversations)
  const best = bandwidth.find((measured) => measured.threads === threads)?.bytesPerSecond
  const bytesPerSecond = bytes * perSecond
  return {
    ...timing,
    bytesPerSecond,
    bandwidthShare: best ? bytesPerSecond / best : 0,
    operationsPerSecond: 2 * macs * perSecond,
    sensors,
  }
}
