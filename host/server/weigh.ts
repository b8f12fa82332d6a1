/** What a model is and takes, counted from its header before any weights are read: so a server knows all of its models. */
import { fileURLToPath } from 'node:url'
import { platform } from '#platform'
import { cost, type ModelSpec, PAGE_TOKENS, type PackingType, poolBytes } from '../../models/index.ts'
import { counter, largest } from '../engine/check-fit.ts'
import { openTokenizer } from '../files/tokenizer.ts'
import { type LoadOptions, makeTables, openSource } from '../load.ts'
import { isRecoverable, optionsFor } from '../runtime/open.ts'
import type { ModelSource } from '../runtime/source.ts'
import { availableThreads } from '../runtime/tune.ts'

export interface Weighed {
  spec: ModelSpec
  type: PackingType
  /** Bytes of its weights, and of the engine that holds them with its cache. */
  weightBytes: number
  bytes: number
  parameters: number
  /** Positions of a conversation. */
  context: number
  /** What to load it with. */
  options: LoadOptions
}

/** Bytes of weights that are read once more to compare their hashes, before another model makes room: a fraction of a second. */
const MOST_READ = 64e6

/**
 * Throws as `load()` does before it reads weights. `recover` is left out for what cannot be. Unless `cacheMemory` is given, the
 * cache has room for as many full contexts as there are slots, or for as many as `budget` bytes leave.
 */
export async function weigh(path: string | URL, options: LoadOptions, slots: number, budget: number): Promise<Weighed> {
  const source = await openSource(nameOf(path), options)
  try {
    return await weighSource(source, options, slots, budget)
  } finally {
    await source.close()
  }
}

/**
 * As `weigh()`, and looks at all that can be wrong with a model and is read in less than a second: its tokenizer, and if it is
 * small, the hashes of its weights.
 */
export async function inspect(...[path, options, slots, budget]: Parameters<typeof weigh>): Promise<Weighed> {
  const source = await openSource(nameOf(path), options)
  try {
    const weighed = await weighSource(source, options, slots, budget)
    await openTokenizer(nameOf(path), { ...source.files, ...(await source.readTokenizer?.()) }, makeTables)
    if (source.plan.bytes <= MOST_READ && !options.verify) await source.verify?.()
    return weighed
  } finally {
    await source.close()
  }
}

const nameOf = (path: string | URL) => (path instanceof URL ? fileURLToPath(path) : path)

async function weighSource(
  { model, plan }: ModelSource,
  asked: LoadOptions,
  slots: number,
  budget: number,
): Promise<Weighed> {
  const { spec } = model
  const options = {
    ...asked,
    recover: asked.recover === true && asked.offload === undefined && isRecoverable(spec),
  }
  const bytesOf = await counter(spec, plan)
  const threads = options.threads ?? availableThreads()
  const count = (cacheMemory: number | undefined) =>
    bytesOf({ ...optionsFor(spec, plan, { ...options, cacheMemory }), threads })
  const { context, cache, maxRows, conversations } = optionsFor(spec, plan, options)
  const tableBlocks = Math.ceil(context / PAGE_TOKENS)
  const memoryFor = (contexts: number) =>
    poolBytes(spec, cache, contexts * (tableBlocks + 1), { rows: maxRows, tableBlocks, conversations })
  // One context is the least: what cannot hold that is refused with a sentence when it is loaded.
  const contexts = largest((n) => n <= slots && count(memoryFor(n)) <= budget)
  const cacheMemory = options.cacheMemory ?? (contexts > 1 ? memoryFor(contexts) : undefined)
  return {
    spec,
    type: plan.type,
    weightBytes: plan.bytes,
    bytes: count(cacheMemory),
    parameters: cost(model).parameters,
    context,
    options: cacheMemory === undefined ? options : { ...options, cacheMemory },
  }
}

/** Bytes that all models together may take, where nobody says: three quarters of the machine, or of its control group. */
export function defaultBudget(): number {
  return Math.floor(platform.machineMemory() * 0.75)
}
