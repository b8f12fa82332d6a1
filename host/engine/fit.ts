/** What of a model fits in memory, counted from its plan before any weights are read: for who asks without loading it. */
import {
  type CacheType,
  cost,
  type ModelDescription,
  PAGE_TOKENS,
  type PackingType,
  type Plan,
  planModel,
  type WeightType,
} from '../../models/index.ts'
import { errors, megabytes } from '../errors.ts'
import { counter, largest } from './check-fit.ts'
import { MAX_MEMORY, SYSTEM_BYTES } from './limits.ts'

/** Threads that a board runs. */
const BOARD_CORES = 4

/** Refuses weights that no engine can hold, whatever the context: not worth the time to read, nor the disk to write. */
export async function refuseUnusable(model: ModelDescription, plan: Plan): Promise<void> {
  const least = { context: 1, cache: 'int8' as const, maxRows: 1, maxLogits: 1, conversations: 1 }
  const neededFor = async (one: Plan) => (await counter(model.spec, one))(least)
  const needed = await neededFor(plan)
  if (needed <= MAX_MEMORY) return
  const what = `the model (${plan.type} weights ${megabytes(plan.bytes)})`
  const advice = await whatFits(model, plan, neededFor)
  throw errors.tooLarge(what, needed, MAX_MEMORY, `that is the address space of one engine; ${advice}`)
}

/** Another weight type, or, where none would do, how large a model may be. */
async function whatFits(model: ModelDescription, { type }: Plan, neededFor: (plan: Plan) => Promise<number>) {
  let smallest = Number.POSITIVE_INFINITY
  for (const other of ['q8', 'q4'] as const) {
    smallest = Math.min(smallest, await neededFor(planModel(model, other)))
    if (other !== type && smallest <= MAX_MEMORY) return `use --type ${other}`
  }
  const billions = (cost(model).parameters * MAX_MEMORY) / smallest / 1e9
  return `no --type makes it fit, with q4 a model of ${billions.toFixed(1)} billion parameters would: use a smaller one`
}

/** The longest context that a machine with so much memory can hold, whatever the model was made for; 0: not even the weights. */
export async function largestContext(
  model: ModelDescription,
  weights: Plan | WeightType,
  cache: CacheType,
  machineBytes: number,
): Promise<number> {
  const count = await counter(model.spec, planOf(model, weights))
  const available = Math.min(machineBytes - SYSTEM_BYTES, MAX_MEMORY)
  const options = { cache, maxRows: 64, maxLogits: 1, conversations: 1, threads: BOARD_CORES }
  return PAGE_TOKENS * largest((pages) => count({ ...options, context: pages * PAGE_TOKENS }) <= available)
}

export interface FitQuestion {
  /** Bytes of the machine's memory, all of it. */
  memoryBytes: number
  context: number
  conversations: number
  cache: CacheType
}

/** Does a model fit, and what else would. */
export interface Fit {
  type: PackingType
  cache: CacheType
  weightBytes: number
  /** All that an engine reserves for the context and conversations that were asked for. */
  neededBytes: number
  /** What of the memory it may have: the system's own share is left out, and 4.3 GB are all that it can address. */
  availableBytes: number
  limit: 'memory' | 'address space'
  fits: boolean
  /** The longest context of one conversation, and how many conversations of the context that was asked for; 0: none. */
  largestContext: number
  mostConversations: number
}

/** Answers from the config alone: nothing large is read. */
export async function fit(model: ModelDescription, weights: Plan | WeightType, question: FitQuestion): Promise<Fit> {
  if (!model?.spec || typeof question !== 'object' || question === null)
    throw errors.badOption('fit()', 'asked of what describeModel() gave, with a question', question)
  const { memoryBytes, context, conversations, cache } = question
  const plan = planOf(model, weights)
  const bytesOf = await counter(model.spec, plan)
  const memory = Math.max(0, memoryBytes - SYSTEM_BYTES)
  const availableBytes = Math.min(memory, MAX_MEMORY)
  const needed = (tokens: number, count: number) => {
    const rows = Math.max(64, count)
    const sizes = { maxRows: rows, maxLogits: count, conversations: count, threads: BOARD_CORES }
    return bytesOf({ context: tokens, cache, ...sizes })
  }
  const fits = (tokens: number, count: number) => needed(tokens, count) <= availableBytes
  return {
    type: plan.type,
    cache,
    weightBytes: plan.bytes,
    neededBytes: needed(context, conversations),
    availableBytes,
    limit: memory < MAX_MEMORY ? 'memory' : 'address space',
    fits: fits(context, conversations),
    largestContext: PAGE_TOKENS * largest((pages) => fits(pages * PAGE_TOKENS, 1)),
    mostConversations: largest((count) => fits(context, count)),
  }
}

function planOf(model: ModelDescription, weights: Plan | WeightType): Plan {
  return typeof weights === 'string' ? planModel(model, weights) : weights
}
