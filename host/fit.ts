/** Will it fit? Counted from the plan before anything is read. */
import { totalmem } from 'node:os'
import {
  type CacheType,
  cacheBytes,
  type ModelDescription,
  type ModelSpec,
  PAGE_TOKENS,
  type Plan,
  planModel,
  type WeightType,
} from '../models/index.ts'
import type { EngineOptions } from './engine.ts'
import { errors, megabytes } from './errors.ts'
import { estimateMemory, MAX_MEMORY, pageMemory } from './wasm/engine.ts'

/** What the system, Node and its heap take of a board's memory; an estimate, on the careful side. */
const SYSTEM_BYTES = 400e6

/** Threads that a board runs. */
const BOARD_CORES = 4

/** Refuses what cannot fit the engine's address space or this machine; `shorter` tells how to ask for a smaller cache. */
export function checkFit(
  spec: ModelSpec,
  plan: Plan,
  options: EngineOptions,
  machineBytes = totalmem(),
  shorter = 'use a smaller -c',
): void {
  const { cache, context, conversations } = options
  const needed = estimateMemory(spec, plan, options)
  const kv = cacheBytes(spec, cache, context * conversations)
  const tokens = conversations > 1 ? `${conversations} × ${context} tokens` : `${context} tokens`
  const what = `the model (${plan.type} weights ${megabytes(plan.bytes)}, ${cache} cache for ${tokens} ${megabytes(kv.elements + kv.scales)})`
  const advice = plan.type === 'f32' ? 'use --type q8' : cache === 'f32' ? 'use --cache int8' : shorter
  if (needed > MAX_MEMORY)
    throw errors.tooLarge(what, needed, MAX_MEMORY, `that is the address space of one engine; ${advice}`)
  if (needed > machineBytes)
    throw errors.tooLarge(what, needed, machineBytes, `that is this machine's memory; ${advice}`)
}

/** Refuses weights that no engine can hold, whatever the context: not worth the time to read, nor the disk to write. */
export function refuseUnusable(model: ModelDescription, plan: Plan): void {
  const options = { context: 1, cache: 'int8' as const, maxRows: 1, maxLogits: 1, conversations: 1 }
  checkFit(model.spec, plan, options, Number.POSITIVE_INFINITY)
}

/** The longest context that a machine with so much memory can hold, whatever the model was made for; 0: not even the weights. */
export function largestContext(
  model: ModelDescription,
  type: WeightType,
  cache: CacheType,
  machineBytes: number,
): number {
  const plan = planModel(model, type)
  const options = { context: 0, cache, maxRows: 64, maxLogits: 1, conversations: 1, threads: BOARD_CORES }
  const left = Math.min(machineBytes - SYSTEM_BYTES, MAX_MEMORY) - estimateMemory(model.spec, plan, options)
  const pages = Math.floor(left / pageMemory(model.spec, cache))
  return Math.max(0, pages * PAGE_TOKENS)
}
