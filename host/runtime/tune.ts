/**
 * How many threads: two may read memory faster than four, and a small model is done before all have met, so it is
 * measured, at the first load of a model on a machine, in well under a second, and remembered (measurements.ts). Results do not
 * depend on it.
 */
import { platform } from '#platform'
import type { Plan } from '../../models/index.ts'
import type { KvCache } from '../cache/cache.ts'
import { finite, greedy, type ThreadCounts } from '../engine/engine.ts'
import { settings } from '../settings.ts'
import { isWorthAgain, measured, recall, remember } from './measurements.ts'

/** Milliseconds that the search for one count may take; on a slow board a single step of a large model takes longer. */
const BUDGET = 300
/** More threads must be worth it: they are taken from whatever else the board does. */
const WORTH = 1.03
/** Rows of a step that stands for prefill. */
const PREFILL_ROWS = 16

/** Threads that a load may start where nobody says how many. */
export function availableThreads(): number {
  return platform.unshared === undefined ? Math.min(platform.availableParallelism(), settings.threads.max) : 1
}

/** What the counts depend on: the processor, the model's shape and weight type, and the build. */
export function threadsKey(plan: Plan, build: string): string {
  const machine = `${platform.processorName()} ${availableThreads()}`
  return platform
    .createHash()
    .update(`${machine} ${build} `)
    .update(new Uint8Array(plan.words.buffer))
    .digest('hex')
    .slice(0, 16)
}

/** Undefined if nothing usable is remembered, or something that a busy machine spoilt and a quiet one can better. */
export async function rememberedThreads(key: string): Promise<ThreadCounts | undefined> {
  const found = await recall('threads', key, areCounts)
  return found && !isWorthAgain(found) ? found.value : undefined
}

/** Measures both counts and remembers them; the engine must be idle and its first conversation empty. */
export async function chooseThreads(key: string, cache: KvCache): Promise<ThreadCounts> {
  const before = await recall('threads', key, areCounts)
  const now = await measured(() => measureThreads(cache))
  // The less others took, the better.
  const isBetter = !before || (now.foreignShare ?? 0) <= (before.foreignShare ?? 0)
  const better = isBetter ? now : before
  await remember('threads', key, better)
  return better.value
}

function areCounts(value: unknown): value is ThreadCounts {
  const { decode, prefill } = (value ?? {}) as Partial<ThreadCounts>
  const isCount = (n: unknown) => Number.isInteger(n) && (n as number) >= 1 && (n as number) <= availableThreads()
  return isCount(decode) && isCount(prefill)
}

async function measureThreads(cache: KvCache): Promise<ThreadCounts> {
  const rows = Math.min(PREFILL_ROWS, cache.facts.maxRows, cache.facts.context)
  // The first step of a kind compiles what it calls and wakes the threads.
  await timeStep(cache, 1)
  const decode = await best(cache, 1)
  if (rows === 1) return { decode, prefill: decode }
  await timeStep(cache, rows)
  return { decode, prefill: await best(cache, rows) }
}

/**
 * All threads first, which is most often right, then half of them, where memory may be read fastest, then the others as
 * long as there is time.
 */
async function best(cache: KvCache, rows: number): Promise<number> {
  // Somebody may have asked for more threads of the other kind than there are cores.
  const most = Math.min(cache.facts.maxThreads, availableThreads())
  const others = Array.from({ length: most }, (_, i) => most - i)
  const times = new Map<number, number>()
  const end = performance.now() + BUDGET
  for (const count of new Set([most, Math.ceil(most / 2), ...others])) {
    cache.threads = { decode: count, prefill: count }
    times.set(count, await fastest(cache, rows))
    if (performance.now() > end) break
  }
  const least = Math.min(...times.values())
  return Math.min(...[...times].filter(([, time]) => time <= least * WORTH).map(([count]) => count))
}

/** Milliseconds of the fastest of a few steps, or of the only one if it takes long: a neighbour may be busy. */
export async function fastest(cache: KvCache, rows: number): Promise<number> {
  const end = performance.now() + BUDGET / 8
  let least = await timeStep(cache, rows)
  for (let i = 0; i < 20 && performance.now() < end; i++) least = Math.min(least, await timeStep(cache, rows))
  cache.rewind(0, 0)
  return least
}

async function timeStep(cache: KvCache, rows: number): Promise<number> {
  const start = performance.now()
  finite(
    await cache.step(
      Array.from({ length: rows }, (_, position) => ({
        conversation: 0,
        position,
        token: 0,
        ...(position === rows - 1 ? { sampling: greedy } : {}),
      })),
    ),
  )
  return performance.now() - start
}
