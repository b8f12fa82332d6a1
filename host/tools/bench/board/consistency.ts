/**
 * Whether the figures of a report fit together. A report comes from a stranger, and a figure that was typed, copied or cut is
 * found by what must hold between it and the others: a median lies in its range, bytes per second are the bytes of the test
 * times its speed, the parts are the whole. What a model of the papers has to compute and to read is known and compared.
 */
import { fileURLToPath } from 'node:url'
import { configs, describe, type ModelDescription, planModel } from '../../../../models/index.ts'
import { describeModel } from '../../../files/describe.ts'
import { defaultModel } from '../../../load.ts'
import { isBusy } from '../../../runtime/measurements.ts'
import { hashPlan, type Workload, workCounter } from '../workload.ts'
import type { BoardReport, BoardResult, BoardRun } from './report.ts'

/** Relative difference that rounding explains. */
const ROUNDING = 1e-6
/**
 * What the engine itself sees of a test, over its fastest and its slowest repetition. Measured: 0.92 to 0.99 of the mean. Where
 * other programs want the processors, or nobody knows, a step may be waited for as long as it likes: seen were 0.16 of an
 * honest one. Then only the upper bound holds.
 */
const PARTS = { least: 0.5, most: 1.1 }

/** A line for each thing that cannot be so. */
export async function inconsistencies(report: BoardReport): Promise<string[]> {
  const found: string[] = []
  for (const run of report.runs) {
    const name = run.model ?? 'a model'
    const workOf = await workCounterOf(run)
    for (const result of run.results)
      for (const problem of problemsOf(result, run, workOf))
        found.push(`${name} ${run.weightType} ${result.test} with threads ${result.threads}: ${problem}`)
    found.push(...differentWork(run).map((problem) => `${name} ${run.weightType} ${problem}`))
  }
  const differs = report.runs.some(({ results }) => results.some((result) => result.differs))
  if (report.isGood && differs) found.push('it says that all results are good, but some differ')
  return found
}

const isNear = (a: number, b: number, tolerance = ROUNDING) =>
  Math.abs(a - b) <= tolerance * Math.max(Math.abs(a), Math.abs(b))
const short = (n: number) => String(Number(n.toPrecision(4)))

function problemsOf(
  result: BoardResult,
  run: BoardRun,
  workOf: ((workload: Workload) => { macs: number; bytes: number }) | undefined,
): string[] {
  const {
    tokensPerSecond,
    bytesPerSecond,
    bandwidthShare,
    operationsPerSecond,
    parts,
    barrierShare,
    hash,
    threads,
    foreignShare,
  } = result
  const { median, min, max } = tokensPerSecond
  const found: string[] = []
  if (!(min > 0 && min <= median && median <= max))
    found.push(`the median ${short(median)} tok/s must lie in its range, ${short(min)} to ${short(max)}`)
  if (/^(.)\1*$/.test(hash)) found.push(`the hash is missing: ${hash}`)
  const read = run.bandwidth.find((one) => one.threads === threads)?.bytesPerSecond
  if (read === undefined) found.push(`the bandwidth of ${threads} threads is missing`)
  else if (read > 0 && !isNear(bandwidthShare, bytesPerSecond / read))
    found.push(
      `${short(bytesPerSecond / 1e9)} GB/s of ${short(read / 1e9)} must be ${short((100 * bytesPerSecond) / read)} %, found ${short(100 * bandwidthShare)} %`,
    )
  const workload = workloadOf(result.test)
  const tokens = workload.tokens * workload.conversations
  const work = workOf?.(workload)
  if (work) {
    const expected = { bytes: (work.bytes * median) / tokens, operations: (2 * work.macs * median) / tokens }
    if (!isNear(bytesPerSecond, expected.bytes))
      found.push(
        `${short(median)} tok/s read ${short(expected.bytes / 1e9)} GB/s, found ${short(bytesPerSecond / 1e9)}`,
      )
    if (!isNear(operationsPerSecond, expected.operations))
      found.push(
        `${short(median)} tok/s are ${short(expected.operations / 1e9)} GOP/s, found ${short(operationsPerSecond / 1e9)}`,
      )
  }
  const total = Object.values(parts).reduce((sum, seconds) => sum + seconds, 0)
  const isCalm = foreignShare !== undefined && !isBusy({ foreignShare })
  const least = isCalm ? (PARTS.least * tokens) / max : 0
  if (!(total > 0 && total >= least && total <= (PARTS.most * tokens) / min))
    found.push(`its parts take ${short(total)} s together, all of it ${short(tokens / median)} s`)
  else if (!isNear(barrierShare, parts.barrier / total))
    found.push(
      `waiting is ${short((100 * parts.barrier) / total)} % of its parts, found ${short(100 * barrierShare)} %`,
    )
  return found
}

/** Whatever the model: one test does the same work with any number of threads. */
function differentWork({ results }: BoardRun): string[] {
  const perToken = new Map<string, number>()
  return results.flatMap(({ test, threads, bytesPerSecond, tokensPerSecond: { median } }) => {
    const bytes = bytesPerSecond / median
    const first = perToken.get(test)
    if (first === undefined) perToken.set(test, bytes)
    return first === undefined || isNear(first, bytes)
      ? []
      : [`${test}: with threads ${threads} a token reads ${short(bytes / 1e6)} MB, with others ${short(first / 1e6)}`]
  })
}

/** pp512+tg64 @ d1536, tg64 x8: its form was checked when the report was read. */
function workloadOf(test: string): Workload {
  const [, phase = 'pp', first = 0, , second, , conversations = 1, , depth = 0] =
    /^(pp|tg)(\d+)(\+tg(\d+))?( x(\d+))?( @ d(\d+))?$/.exec(test) ?? []
  const common = { depth: Number(depth), conversations: Number(conversations) }
  if (second !== undefined)
    return { phase: 'pg', prompt: Number(first), tokens: Number(first) + Number(second), ...common }
  return { phase: phase as 'pp' | 'tg', tokens: Number(first), ...common }
}

/** What the tests of a run have to do; undefined where the model is not one that everybody has, in this version. */
async function workCounterOf(run: BoardRun) {
  const model = await knownModel(run)
  if (!model) return undefined
  const spec = { ...model.spec, maxContext: Math.max(run.context, model.spec.maxContext) }
  const longer = run.weights === 'synthetic' ? { ...model, spec } : model
  const plan = planModel(longer, run.weightType)
  return hashPlan(plan) === run.plan ? workCounter(longer, plan, run.cacheType, run.batch) : undefined
}

async function knownModel({ weights, model }: BoardRun): Promise<ModelDescription | undefined> {
  if (weights === 'embedded') return (await describeModel(fileURLToPath(defaultModel))).model
  const config =
    weights === 'synthetic' && model !== undefined && Object.hasOwn(configs, model)
      ? configs[model as keyof typeof configs]
      : undefined
  return config === undefined ? undefined : describe(config)
}
