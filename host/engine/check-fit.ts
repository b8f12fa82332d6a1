/** Refuses, before any weights are read, a model that cannot run with the options that it is loaded with. */
import { platform } from '#platform'
import { cacheBytes, type ModelSpec, type Plan } from '../../models/index.ts'
import { errors, megabytes } from '../errors.ts'
import type { EngineOptions } from './engine.ts'
import { MAX_MEMORY } from './limits.ts'
import { chooseBuild } from './wasm/builds.ts'
import { memoryCounter } from './wasm/memory.ts'

/** What an engine will reserve with given options, in bytes: what the engine itself says, before anything is read. */
export async function counter(spec: ModelSpec, plan: Plan): Promise<(options: EngineOptions) => number> {
  return memoryCounter(await chooseBuild(), spec, plan)
}

/** Refuses what cannot fit the engine's address space or this machine; `shorter` tells how to ask for a smaller cache. */
export async function checkFit(
  spec: ModelSpec,
  plan: Plan,
  options: EngineOptions,
  machineBytes = platform.machineMemory(),
  shorter = 'use a smaller -c',
): Promise<void> {
  const { cache, context, conversations } = options
  const needed = (await counter(spec, plan))(options)
  const kv = cacheBytes(spec, cache, context)
  const tokens = conversations > 1 ? `${conversations} × ${context} tokens` : `${context} tokens`
  const what = `the model (${plan.type} weights ${megabytes(plan.bytes)}, ${cache} cache for ${tokens} ${megabytes(conversations * (kv.elements + kv.scales + kv.states))})`
  const advice = plan.type === 'f32' ? 'use --type q8' : cache === 'f32' ? 'use --cache int8' : shorter
  if (needed > MAX_MEMORY)
    throw errors.tooLarge(what, needed, MAX_MEMORY, `that is the address space of one engine; ${advice}`)
  if (needed > machineBytes)
    throw errors.tooLarge(
      what,
      needed,
      machineBytes,
      `that is the memory of this machine, or of its control group; ${advice}`,
    )
}

/** The largest whole number that is good, if all below it are; 0 if 1 is not. */
export function largest(isGood: (n: number) => boolean): number {
  let low = 0
  let high = 1
  while (isGood(high)) {
    low = high
    high *= 2
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (isGood(middle)) low = middle
    else high = middle
  }
  return low
}
