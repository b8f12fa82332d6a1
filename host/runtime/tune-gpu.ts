/**
 * Whether a GPU is worth it: an embedded one may read prompts faster than the CPU and generate slower, or lose both. With
 * `gpu: 'auto'` both engines are timed when a model is first loaded on a machine, and what was found is remembered
 * (measurements.ts).
 */
import { platform } from '#platform'
import type { Plan } from '../../models/index.ts'
import type { KvCache } from '../cache/cache.ts'
import type { EngineOptions } from '../engine/engine.ts'
import { type AdapterFacts, chooseAdapter } from '../engine/gpu/adapters.ts'
import { GtaError } from '../errors.ts'
import { isWorthAgain, measured, recall, remember } from './measurements.ts'
import { fastest, threadsKey } from './tune.ts'

/** A GPU must be worth it: it takes memory, and computes other bits than the CPU. */
const WORTH = 1.1
/** Rows of a step that stands for reading a prompt. */
const PROMPT_ROWS = 64

export type ChosenMode = 'off' | 'on' | 'prefill'

/** Seconds of a step that reads a prompt, and of one that generates. */
interface Speed {
  prompt: number
  decode: number
}

export interface Comparison {
  cpu: Speed
  gpu: Speed
}

/** What `options.gpu` comes to; `open` opens a cache with an engine to be timed. */
export async function chooseMode(
  plan: Plan,
  options: EngineOptions,
  open: (mode: 'off' | 'on') => Promise<KvCache>,
): Promise<ChosenMode> {
  const { gpu = 'off', gpuForce = false } = options
  if (gpu !== 'auto') return gpu
  try {
    const { facts } = await chooseAdapter(gpuForce)
    return fastestMode(await compare(keyOf(plan, facts, options), open))
  } catch (error) {
    // No GPU, none that is fit for it, or one that this model does not fit in: the CPU needs none.
    if (error instanceof GtaError && error.code !== 'CLOSED') return 'off'
    throw error
  }
}

/** Generating counts first: most of the time goes there. */
export function fastestMode({ cpu, gpu }: Comparison): ChosenMode {
  if (gpu.decode * WORTH < cpu.decode) return 'on'
  return gpu.prompt * WORTH < cpu.prompt ? 'prefill' : 'off'
}

async function compare(key: string, open: (mode: 'off' | 'on') => Promise<KvCache>): Promise<Comparison> {
  const before = await recall('gpu', key, isComparison)
  if (before && !isWorthAgain(before)) return before.value
  const now = await measured(async () => {
    // The GPU first: what does not fit in it is refused before a weight is read.
    const gpu = await time(open, 'on')
    return { cpu: await time(open, 'off'), gpu }
  })
  // The less others took, the better.
  const better = !before || (now.foreignShare ?? 0) <= (before.foreignShare ?? 0) ? now : before
  await remember('gpu', key, better)
  return better.value
}

async function time(open: (mode: 'off' | 'on') => Promise<KvCache>, mode: 'off' | 'on'): Promise<Speed> {
  const cache = await open(mode)
  try {
    const rows = Math.min(PROMPT_ROWS, cache.facts.maxRows, cache.facts.context)
    const speeds: number[] = []
    for (const count of [rows, 1]) {
      // The first one of a kind compiles what it calls.
      await fastest(cache, count)
      speeds.push((await fastest(cache, count)) / 1000)
    }
    const [prompt = 0, decode = 0] = speeds
    return { prompt, decode }
  } finally {
    await cache.close()
  }
}

/** All that the comparison depends on: model and machine, the GPU and its driver, what the CPU has, and the cache's rows. */
function keyOf(plan: Plan, facts: AdapterFacts, { threads, batchThreads, cache }: EngineOptions): string {
  const { vendor, architecture, device, description } = facts
  return platform
    .createHash()
    .update(JSON.stringify([vendor, architecture, device, description, threads, batchThreads, cache]))
    .update(threadsKey(plan, 'gpu'))
    .digest('hex')
    .slice(0, 16)
}

function isComparison(value: unknown): value is Comparison {
  const { cpu, gpu } = (value ?? {}) as Partial<Comparison>
  return [cpu, gpu].every((speed) => speed && [speed.prompt, speed.decode].every((n) => typeof n === 'number' && n > 0))
}
