/**
 * The engine's memory: what lies where is the module's own decision (assembly/arena.ts), which is asked here, to make an
 * engine or only to count what one would take.
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
} from '../../../models/index.ts'
import { wordsOf } from '../../../models/records.ts'
import { errors } from '../../errors.ts'
import type { EngineOptions } from '../engine.ts'
import { MAX_MEMORY } from '../limits.ts'
import type { CompiledBuild } from './builds.ts'
import { type EngineExports, instantiate } from './instance.ts'

export const WASM_PAGE = 65536
/** Pages in memory without which a step could not write its rows. */
const LEAST_RESIDENT = 4
/** Pages that are laid out at most; a multiple of 16, so that the tables of so many end at 64 bytes. */
const MOST_PAGES = 2 ** 24

/** Pages of an engine. */
export interface PageCounts {
  /** Blocks of PAGE_TOKENS tokens that there can be. */
  blocks: number
  /** Pages in memory, of each page kind, and its window: then there may be fewer of them than blocks. */
  kinds: { pages: number; window: number | undefined }[]
  /** Pages of a buffer for those that are not in memory. */
  streamPages: number
}

export interface EngineMemory extends PageCounts {
  memory: WebAssembly.Memory
  exports: EngineExports
  tablePages: number
  bytes: number
}

/** Workers that an engine starts: enough for either kind of step. */
function maxThreads({ threads = 1, batchThreads = threads }: EngineOptions): number {
  return Math.max(threads, batchThreads)
}

/** Pages of an engine that is opened with these options. */
export function countPages(spec: ModelSpec, options: EngineOptions): PageCounts {
  const { context, conversations, cache, offload, maxRows } = options
  const pages = options.pages ?? Math.ceil(context / PAGE_TOKENS) * conversations
  const sizes = { rows: maxRows, tableBlocks: tablePages(options), conversations }
  const kinds = pageKinds(spec).kinds.map((kind) => {
    return { pages: pagesOfKind(kind, pages, sizes), window: kind.layer.mixer.window }
  })
  const bytes = pageBytes(spec, cache)
  if (!offload || poolBytes(spec, cache, pages, sizes) <= offload.bytes) return { blocks: pages, kinds, streamPages: 0 }
  // Layers are streamed one after the other, each as long as the others.
  if (pageKinds(spec).kinds.length > 1)
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
  return { blocks: pages, kinds: [{ pages: residentPages, window: undefined }], streamPages: pages - residentPages }
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
  const memory = createMemory(count, build.isShared, count)
  const exports = openPlan(module, plan, memory)
  const end = abi.WEIGHTS + plan.bytes
  // Weights may be larger than an address. What follows them is as long wherever it begins, but for its alignment.
  const start = abi.WEIGHTS + (end % abi.STREAM_ALIGNMENT)
  return (options) => {
    const pages = countPages(spec, options)
    const { blocks } = pages
    const bytes = (most: number) => {
      const kinds = pages.kinds.map((kind) => ({ ...kind, pages: Math.min(kind.pages, most) }))
      return end - start + layOut({ memory, exports }, start, 0, options, { ...pages, blocks: most, kinds })
    }
    if (blocks <= MOST_PAGES) return bytes(blocks)
    // Far beyond any memory: each block takes what those before it took.
    return bytes(MOST_PAGES) + ((blocks - MOST_PAGES) / MOST_PAGES) * (bytes(MOST_PAGES) - bytes(0))
  }
}

/** Memory with the plan in place and everything laid out; the weights are still to be loaded at `WEIGHTS`. */
export function layoutMemory(
  module: WebAssembly.Module,
  spec: ModelSpec,
  plan: Plan,
  options: EngineOptions,
  isShared = true,
): EngineMemory {
  const wasmPages = (bytes: number) => Math.ceil(bytes / WASM_PAGE)
  const start = abi.WEIGHTS + plan.bytes
  const memory = createMemory(wasmPages(start), isShared)
  const exports = openPlan(module, plan, memory)
  const pages = countPages(spec, options)
  const end = layOut({ memory, exports }, start, plan.bytes, options, pages)
  if (end > MAX_MEMORY)
    throw errors.tooLarge('the model', end, MAX_MEMORY, 'that is the address space of one engine; use a smaller -c')
  try {
    memory.grow(Math.max(0, wasmPages(end) - wasmPages(start)))
  } catch {
    throw errors.noMemory(end)
  }
  const places = new Uint32Array(memory.buffer, exports.places() >>> 0, pages.blocks * pages.kinds.length)
  for (let i = 0; i < places.length; i++) places[i] = i % pages.blocks
  return { memory, exports, tablePages: tablePages(options), ...pages, bytes: end }
}

const tablePages = ({ context }: EngineOptions) => Math.ceil(context / PAGE_TOKENS)

/** Returns the first address behind all that is laid out from `start` on; `weights` 0: it is only counted. */
function layOut(
  { memory, exports }: Pick<EngineMemory, 'memory' | 'exports'>,
  start: number,
  weights: number,
  options: EngineOptions,
  { blocks, kinds, streamPages }: PageCounts,
): number {
  const request = wordsOf(new abi.LayoutRequest(), {
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
  new Uint32Array(memory.buffer, abi.LAYOUT_REQUEST).set([...request, ...kinds.map(({ pages }) => pages)])
  const end = exports.layout(abi.LAYOUT_REQUEST)
  if (end < 0) throw errors.engineFailed(`it refuses the plan of the model, for reason ${-end}`)
  return end
}

/** An instance over a memory with the plan at `WEIGHTS`. */
function openPlan(module: WebAssembly.Module, plan: Plan, memory: WebAssembly.Memory): EngineExports {
  new Uint32Array(memory.buffer, abi.WEIGHTS, plan.words.length).set(plan.words)
  const exports = instantiate(module, memory)
  if (exports.planVersion() !== plan.words[0] || exports.pageTokens() !== PAGE_TOKENS)
    throw errors.engineFailed('its build is not of this version')
  return exports
}

export function createMemory(pages: number, isShared: boolean, maximum = 65536): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum, shared: isShared })
  } catch {
    throw errors.noMemory(pages * WASM_PAGE)
  }
}

/** The part of an engine's memory that takes a plan's packed tensors. */
export function weightsOf({ memory }: Pick<EngineMemory, 'memory'>, plan: Plan): Uint8Array {
  return new Uint8Array(memory.buffer, abi.WEIGHTS, plan.bytes)
}
