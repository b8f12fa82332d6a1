/**
 * A hard limit of memory: all that a model takes is counted before anything of it is allocated. What the engine takes is exact,
 * by its own account; what Node takes beside it is measured (test/memory-limit.test.ts), on the careful side.
 */
import type { ModelSpec, Plan } from '../../models/index.ts'
import { poolBytes } from '../../models/index.ts'
import type { EngineOptions } from '../engine/engine.ts'
import { chooseBuild } from '../engine/wasm/builds.ts'
import { mailboxSizes } from '../engine/wasm/engine.ts'
import { mailboxBytes } from '../engine/wasm/mailbox.ts'
import { countPages, maxThreads, memoryCounter, tablePages } from '../engine/wasm/memory.ts'
import { errors, megabytes } from '../errors.ts'
import { titleOf } from '../settings.ts'
import { parseSize, sizeForms } from '../sizes.ts'
import { availableThreads } from './tune.ts'

/** Node, its heap, and this program in it. */
const HOST_BYTES = 80e6
/** A thread of it: heap, code and stack of its own. */
const THREAD_BYTES = 20e6
/** What a tokenizer has for each token of the vocabulary: texts, merges, and the files while they are read. */
const TOKEN_BYTES = 1500
/** The same over the tables of a packed file (node bench/tokenizers.ts DIRECTORY --load library|tables). */
const TABLE_TOKEN_BYTES = 300

/** Slices of a checkpoint on their way through a conversion, and those that are garbage already. */
const CONVERSION_BYTES = 64e6

export interface MemoryCount {
  weights: number
  cache: number
  /** What a step needs, and what the host and its threads share. */
  scratch: number
  /** Node, its threads, the tokenizer, a conversion. */
  host: number
}

/** What is counted. */
interface Counted {
  spec: ModelSpec
  plan: Plan
  /** Is it converted while it is loaded? */
  isConverted: boolean
  /** Does it bring the tables of its tokenizer? */
  hasTables: boolean
}

/** Bytes that a model takes with these options at most. */
async function countMemory(
  { spec, plan, isConverted, hasTables }: Counted,
  options: EngineOptions,
): Promise<MemoryCount> {
  const compiled = await chooseBuild()
  const all = { ...options, threads: options.threads ?? availableThreads() }
  const pages = countPages(spec, all)
  const { cache: type, maxRows: rows, conversations } = all
  const threads = compiled.build.isShared ? maxThreads(all) : 1
  const mailbox = mailboxBytes(mailboxSizes(spec, all, pages, threads))
  const engine = memoryCounter(compiled, spec, plan)(all)
  // Prompts on a GPU: it may share the memory, and has all of it too.
  const engines = all.gpu === 'prefill' || all.gpu === 'auto' ? 2 : 1
  const sizes = { rows, tableBlocks: tablePages(all), conversations }
  const cache = all.offload ? Math.min(all.offload.bytes, engine) : poolBytes(spec, type, pages.blocks, sizes)
  const tokens = hasTables ? TABLE_TOKEN_BYTES : TOKEN_BYTES
  return {
    weights: engines * plan.bytes,
    cache: engines * cache,
    scratch: engines * (engine - plan.bytes - cache) + mailbox,
    host: HOST_BYTES + threads * THREAD_BYTES + tokens * spec.vocabSize + (isConverted ? CONVERSION_BYTES : 0),
  }
}

/** Throws OutOfMemoryError if a model takes more than `limit`, which is bytes or a text such as '600M'; BAD_OPTION if it is neither. */
export async function checkMemory(model: Counted, options: EngineOptions, limit: number | string): Promise<void> {
  const available = typeof limit === 'string' ? parseSize(limit) : limit
  if (typeof available !== 'number' || !(available >= 1))
    throw errors.badOption(titleOf('memory'), `a number of bytes, or a size ${sizeForms}`, limit)
  const count = await countMemory(model, options)
  const needed = Object.values(count).reduce((sum, bytes) => sum + bytes, 0)
  const parts = Object.entries(count).map(([name, bytes]) => `${name} ${megabytes(bytes)}`)
  if (needed > available) throw errors.overMemory(needed, available, parts.join(', '))
}
