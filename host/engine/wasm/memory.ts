/**
 * What an engine's memory holds: what lies where is the module's own decision (assembly/arena.ts), which is asked here, to
 * describe an engine or only to count what one would take. The memory itself is made in hold.ts.
 *
 *     0 … 4095 ┃ weights (plan first) ┃ rows, tables, scratch ┃ KV cache pages
 */
import * as abi from '../../../assembly/abi.ts'
import {
  type ModelSpec,
  nLayers,
  PAGE_TOKENS,
  type Plan,
  pageBytes,
  pageKinds,
  pagesOfKind,
  poolBytes,
  roundUp,
  windowOf,
} from '../../../models/index.ts'
import { wordsOf } from '../../../models/records.ts'
import { errors } from '../../errors.ts'
import type { EngineOptions } from '../engine.ts'
import { MAX_MEMORY } from '../limits.ts'
import type { CompiledBuild } from './builds.ts'
import { createMemory, type EngineExports, instantiate, WASM_PAGE } from './instance.ts'
import type { MemoryLayout } from './protocol.ts'

/** Pages in memory without which a step could not write its rows. */
const LEAST_RESIDENT = 4
/** Pages that are laid out at most; a multiple of 16, so that the tables of so many end at 64 bytes. */
const MOST_PAGES = 2 ** 24

/** Pages of an engine. */
export interface PageCounts {
  /** Blocks of PAGE_TOKENS tokens that there can be. */
  blocks: number
  /** Pages in memory, of each page kind, and its window: then there may be fewer of them than blocks. Is each a state? */
  kinds: { pages: number; window: number | undefined; isState: boolean }[]
  /** Pages of a buffer for those that are not in memory. */
  streamPages: number
}

/** Workers that an engine starts: enough for either kind of step. */
export function maxThreads({ threads = 1, batchThreads = threads }: EngineOptions): number {
  return Math.max(threads, batchThreads)
}

/** Pages of an engine that is opened with these options. */
export function countPages(spec: ModelSpec, options: EngineOptions): PageCounts {
  const { context, conversations, cache, offload, maxRows } = options
  const pages = options.pages ?? Math.ceil(context / PAGE_TOKENS) * conversations
  const sizes = { rows: maxRows, tableBlocks: tablePages(options), conversations }
  const kinds = pageKinds(spec).kinds.map((kind) => {
    const isState = kind.layer.mixer.is !== 'attention'
    return { pages: pagesOfKind(kind, pages, sizes), window: windowOf(kind.layer), isState }
  })
  const bytes = pageBytes(spec, cache)
  if (!offload || poolBytes(spec, cache, pages, sizes) <= offload.bytes) return { blocks: pages, kinds, streamPages: 0 }
  // Layers are streamed one after the other, each as long as the others.
  if (kinds.length > 1 || kinds[0]?.isState)
    throw errors.badOption(
      'offload (--offload)',
      'left out for a model whose layers keep different things',
      offload.bytes,
    )
  // Two layers of every page that is not in memory: residentPages · bytes + 2 · (pages − residentPages) · layer.
  const layer = roundUp(bytes / nLayers(spec), abi.STREAM_ALIGNMENT)
  const residentPages = Math.floor((offload.bytes - 2 * pages * layer) / (bytes - 2 * layer))
  if (bytes <= 2 * layer || residentPages < LEAST_RESIDENT) {
    const least = LEAST_RESIDENT * bytes + 2 * (pages - LEAST_RESIDENT) * layer
    throw errors.badOption(
      'offload (--offload)',
      `at least ${Math.ceil(least)} bytes for ${pages * PAGE_TOKENS} tokens: two layers of all of them, and all layers of ${LEAST_RESIDENT * PAGE_TOKENS}`,
      offload.bytes,
    )
  }
  const resident = { pages: residentPages, window: undefined, isState: false }
  return { blocks: pages, kinds: [resident], streamPages: pages - residentPages }
}

/**
 * Counts what engines of a model take, all of it, in bytes. The module lays out what it would in a memory that holds
 * nothing but the plan, so there is no second account that could differ.
 */
export function memoryCounter(
  { build, module }: CompiledBuild,
  spec: ModelSpec,
  plan: Plan,
): (options: EngineOptions) => number {
  const count = Math.ceil((abi.WEIGHTS + plan.words.byteLength) / WASM_PAGE)
  const memory = countingMemory(count, build.isShared)
  const exports = openPlan(module, plan, memory)
  const end = abi.WEIGHTS + plan.bytes
  // Weights may be larger than an address. What follows them is as long wherever it begins, but for its alignment.
  const start = abi.WEIGHTS + (end % abi.STREAM_ALIGNMENT)
  return (options) => {
    const pages = countPages(spec, options)
    const { blocks } = pages
    const bytes = (most: number) => {
      const kinds = pages.kinds.map((kind) => ({ ...kind, pages: Math.min(kind.pages, most) }))
      const request = requestOf(start, 0, options, { ...pages, blocks: most, kinds })
      new Uint32Array(memory.buffer, abi.LAYOUT_REQUEST).set(request)
      const counted = exports.layout(abi.LAYOUT_REQUEST)
      if (counted < 0) throw errors.engineFailed(`it refuses the plan of the model, for reason ${-counted}`)
      return end - start + counted
    }
    if (blocks <= MOST_PAGES) return bytes(blocks)
    // Far beyond any memory: each block takes what those before it took.
    return bytes(MOST_PAGES) + ((blocks - MOST_PAGES) / MOST_PAGES) * (bytes(MOST_PAGES) - bytes(0))
  }
}

/** What the memory of an engine is made from, and its pages. Throws TOO_LARGE. */
export function layoutOf(
  compiled: CompiledBuild,
  spec: ModelSpec,
  plan: Plan,
  options: EngineOptions,
): { layout: MemoryLayout; pages: PageCounts } {
  const end = memoryCounter(compiled, spec, plan)(options)
  if (end > MAX_MEMORY)
    throw errors.tooLarge('the model', end, MAX_MEMORY, 'that is the address space of one engine; use a smaller -c')
  const pages = countPages(spec, options)
  const request = requestOf(abi.WEIGHTS + plan.bytes, plan.bytes, options, pages)
  return { layout: { planWords: plan.words, request, end }, pages }
}

/** Blocks that one conversation may have. */
export const tablePages = ({ context }: EngineOptions) => Math.ceil(context / PAGE_TOKENS)

/** Words of the LayoutRequest; `weights` 0: it is only counted. */
function requestOf(
  start: number,
  weights: number,
  options: EngineOptions,
  { blocks, kinds, streamPages }: PageCounts,
): number[] {
  const words = wordsOf(new abi.LayoutRequest(), {
    plan: abi.WEIGHTS,
    weights,
    start,
    maxRows: options.maxRows,
    maxLogits: options.maxLogits,
    ...{ blocks, streamPages },
    conversations: options.conversations,
    tableBlocks: tablePages(options),
    isCacheInt8: options.cache === 'int8' ? 1 : 0,
    maxRanks: maxThreads(options),
  })
  return [...words, ...kinds.map(({ pages }) => pages)]
}

/** An instance over a memory with the plan at `WEIGHTS`. */
function openPlan(module: WebAssembly.Module, plan: Plan, memory: WebAssembly.Memory): EngineExports {
  new Uint32Array(memory.buffer, abi.WEIGHTS, plan.words.length).set(plan.words)
  const exports = instantiate(module, memory)
  if (exports.planVersion() !== plan.words[0] || exports.pageTokens() !== PAGE_TOKENS)
    throw errors.engineFailed('its build is not of this version')
  return exports
}

function countingMemory(pages: number, isShared: boolean): WebAssembly.Memory {
  try {
    return createMemory(pages, isShared, pages)
  } catch {
    throw errors.noMemory(pages * WASM_PAGE)
  }
}
