/**
 * The WebAssembly engine behind the Engine interface: owns its memory, the page tables and a team of workers.
 *
 *     0 … 4095 ┃ weights (plan first) ┃ rows, tables, scratch ┃ KV cache pages
 */
import {
  type CacheType,
  keyDim,
  type ModelSpec,
  PAGE_TOKENS,
  type Plan,
  pageBytes,
  projectionWidths,
  queryDim,
} from '../../models/index.ts'
import {
  type Engine,
  type EngineOptions,
  type Row,
  type Sampling,
  type StepProfile,
  stepParts,
  type ThreadCounts,
} from '../engine.ts'
import { checkTokens, errors } from '../errors.ts'
import { MAX_MEMORY } from '../limits.ts'
import { type Build, type CompiledBuild, chooseBuild } from './builds.ts'
import { type EngineExports, instantiate } from './instance.ts'
import { PageTables } from './pages.ts'
import * as protocol from './protocol.ts'
import { Team } from './team.ts'

/** First address of the weights; below it the engine keeps its table and constants. */
const WEIGHTS = 4096
const WASM_PAGE = 65536
const ROW_WORDS = 12
/** As in assembly/arena.ts: pages of a row that threads share between two barriers, and what goes before a page's sums. */
const WAVE = 64
const PARTIAL_BYTES = 64
/** Threads that one engine may have. */
export const MAX_THREADS = protocol.MAX_RANKS

/** Workers that an engine starts: enough for either kind of step. */
function maxThreads({ threads = 1, batchThreads = threads }: EngineOptions): number {
  return Math.max(threads, batchThreads)
}

export interface EngineMemory {
  memory: WebAssembly.Memory
  exports: EngineExports
  tablePages: number
  bytes: number
}

/** A page of the cache, its entry in a page table, and its part of the history. */
export function pageMemory(spec: ModelSpec, cache: CacheType): number {
  return pageBytes(spec, cache) + 4 + 4 * PAGE_TOKENS
}

/** What an engine will reserve: exact for weights and cache; scratch and logits with a little to spare. */
export function estimateMemory(spec: ModelSpec, plan: Plan, options: EngineOptions): number {
  const { context, cache, maxRows, maxLogits, conversations } = options
  const pagesPerConversation = Math.ceil(context / PAGE_TOKENS)
  const { attention, hiddenDim, ffnDim, vocabSize } = spec
  const { q, row, gate } = projectionWidths(attention)
  const { maps, value } = attention
  const heads = maps * (queryDim(attention) + keyDim(attention) + value.dim + attention.outDim)
  const scratchPerRow = 4 * (3 * hiddenDim + 4 * ffnDim + q + row + gate + 3 * heads)
  const partials = Math.min(pagesPerConversation, WAVE) * maps * (PARTIAL_BYTES + 4 * value.dim)
  const scratchPerRank = 8 * vocabSize + 4 * heads
  return (
    WEIGHTS +
    plan.bytes +
    pagesPerConversation * conversations * pageMemory(spec, cache) +
    maxRows * scratchPerRow +
    partials +
    maxThreads(options) * scratchPerRank +
    4 * maxLogits * vocabSize
  )
}

/** Memory with the plan in place and everything laid out; the weights are still to be loaded at `WEIGHTS`. */
export function layoutMemory(module: WebAssembly.Module, plan: Plan, options: EngineOptions): EngineMemory {
  const pagesFor = (bytes: number) => Math.ceil(bytes / WASM_PAGE)
  const start = WEIGHTS + plan.bytes
  const memory = createMemory(pagesFor(start))
  new Uint32Array(memory.buffer, WEIGHTS, plan.words.length).set(plan.words)
  const exports = instantiate(module, memory)
  if (exports.planVersion() !== plan.words[0] || exports.pageTokens() !== PAGE_TOKENS)
    throw errors.engineFailed('its build is not of this version')

  const tablePages = Math.ceil(options.context / PAGE_TOKENS)
  const pages = tablePages * options.conversations
  const end = exports.layout(
    WEIGHTS,
    start,
    options.maxRows,
    options.maxLogits,
    pages,
    options.conversations,
    tablePages,
    options.cache === 'int8' ? 1 : 0,
    maxThreads(options),
  )
  if (end > MAX_MEMORY)
    throw errors.tooLarge('the model', end, MAX_MEMORY, 'that is the address space of one engine; use a smaller -c')
  try {
    memory.grow(Math.max(0, pagesFor(end) - pagesFor(start)))
  } catch {
    throw errors.noMemory(end)
  }
  return { memory, exports, tablePages, bytes: end }
}

function createMemory(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true })
  } catch {
    throw errors.noMemory(pages * WASM_PAGE)
  }
}

/** Where the system promises no more than it has, there is none: then the garbage collector comes when it comes. */
function createBallast(bytes: number): ArrayBuffer | undefined {
  try {
    return new ArrayBuffer(bytes)
  } catch {
    return undefined
  }
}

/** The part of an engine's memory that takes a plan's packed tensors. */
export function weightsOf({ memory }: EngineMemory, plan: Plan): Uint8Array {
  return new Uint8Array(memory.buffer, WEIGHTS, plan.bytes)
}

/** Writes a row where the engine reads it; the fields are those of assembly/rows.ts, in order. */
export function writeRow(words: Uint32Array, floats: Float32Array, index: number, row: Row): void {
  const at = index * ROW_WORDS
  words[at] = row.conversation
  words[at + 1] = row.position
  words[at + 2] = row.token
  words[at + 3] = row.sampling ? 1 : 0
  if (!row.sampling) return
  const { temperature, topK, topP, minP, repeatPenalty, repeatLastN, seed }: Sampling = row.sampling
  floats[at + 4] = temperature
  words[at + 5] = topK
  floats[at + 6] = topP
  floats[at + 7] = minP
  floats[at + 8] = repeatPenalty
  words[at + 9] = repeatLastN
  words[at + 10] = seed >>> 0
  words[at + 11] = Math.floor(seed / 2 ** 32)
}

export interface WasmEngineInput {
  spec: ModelSpec
  plan: Plan
  options: EngineOptions
  /** Default: the best that runs here. */
  build?: Build
  /** A build that is compiled already. */
  compiled?: CompiledBuild
  /** Fills the engine's memory with the packed tensors of the plan. */
  load(target: Uint8Array): Promise<void>
}

export async function openWasmEngine({
  spec,
  plan,
  options,
  build: wanted,
  compiled,
  load,
}: WasmEngineInput): Promise<Engine> {
  const { build, module } = compiled ?? (await chooseBuild(wanted))
  const engineMemory = layoutMemory(module, plan, options)
  // The threads start while the weights are read.
  const engine = new WasmEngine(build, module, engineMemory, spec, plan, options)
  try {
    await load(weightsOf(engineMemory, plan))
    await engine.checkWeights()
    return engine
  } catch (error) {
    await engine.close()
    throw error
  }
}

/** Read for the bandwidth: weights if there are so many, else memory of its own; less would sit in a cache. */
const PROBE_BYTES = 2 ** 26

interface EngineViews {
  rowWords: Uint32Array
  rowFloats: Float32Array
  sampled: Uint32Array
}

class WasmEngine implements Engine {
  readonly build: string
  readonly maxRows: number
  readonly maxLogits: number
  readonly maxThreads: number
  readonly context: number
  readonly memoryBytes: number
  private counts: ThreadCounts
  private readonly spec: ModelSpec
  private readonly module: WebAssembly.Module
  private readonly weightBytes: number
  private readonly team: Team
  private readonly pages: PageTables
  /** Undefined once closed: nothing may hold on to the memory. */
  private engine: (EngineMemory & EngineViews) | undefined
  /**
   * V8 does not count shared memory, so it would let closed engines pile up until the machine has none left: measured,
   * 25 engines of 130 MB took 3.3 GB. An array of the same size, never touched and so without a page of its own, is
   * counted and brings the garbage collector in time.
   */
  // biome-ignore lint/correctness/noUnusedPrivateClassMembers: being there is its use
  private ballast: ArrayBuffer | undefined
  private isBusy = false

  constructor(
    build: Build,
    module: WebAssembly.Module,
    engine: EngineMemory,
    spec: ModelSpec,
    plan: Plan,
    options: EngineOptions,
  ) {
    this.build = build.name
    this.spec = spec
    this.module = module
    this.maxRows = options.maxRows
    this.maxLogits = options.maxLogits
    this.maxThreads = maxThreads(options)
    const { threads: decode = 1, batchThreads: prefill = decode } = options
    this.counts = { decode, prefill }
    this.context = options.context
    this.memoryBytes = engine.bytes
    this.weightBytes = plan.bytes
    const { memory, exports, tablePages } = engine
    const { buffer } = memory
    const rows = exports.rows() >>> 0
    this.engine = {
      ...engine,
      rowWords: new Uint32Array(buffer, rows, options.maxRows * ROW_WORDS),
      rowFloats: new Float32Array(buffer, rows, options.maxRows * ROW_WORDS),
      sampled: new Uint32Array(buffer, exports.sampled() >>> 0, options.maxLogits),
    }
    const tables = new Uint32Array(buffer, exports.tables() >>> 0, tablePages * options.conversations)
    this.pages = new PageTables(tables, options.conversations, tablePages)
    this.ballast = createBallast(engine.bytes)
    this.team = new Team(module, memory, this.maxThreads)
  }

  get name(): string {
    const { decode, prefill } = this.counts
    const count = decode === prefill ? `${decode}` : `${decode} and ${prefill}`
    return `wasm ${this.build}, ${count} thread${count === '1' ? '' : 's'}`
  }

  get threads(): ThreadCounts {
    return this.counts
  }

  set threads({ decode, prefill }: ThreadCounts) {
    for (const count of [decode, prefill]) this.checkThreads(count)
    this.counts = { decode, prefill }
  }

  private checkThreads(count: number): void {
    if (!Number.isInteger(count) || count < 1 || count > this.maxThreads)
      throw new RangeError(`this engine has 1 to ${this.maxThreads} threads, found ${count}`)
  }

  async step(rows: Row[]): Promise<Uint32Array> {
    return this.alone(async ({ rowWords, rowFloats, sampled }) => {
      this.check(rows)
      rows.forEach((row, index) => {
        this.pages.extend(row.conversation, row.position)
        writeRow(rowWords, rowFloats, index, row)
      })
      const { decode, prefill } = this.counts
      const status = await this.team.request(protocol.STEP, rows.length, rows.length === 1 ? decode : prefill)
      if (status === protocol.STATUS_NOT_FINITE) throw errors.notFinite()
      return sampled.slice(0, rows.filter((row) => row.sampling).length)
    })
  }

  logits(k: number): Float32Array {
    if (!this.engine) throw errors.closed()
    const { memory, exports } = this.engine
    return new Float32Array(memory.buffer, exports.logits(k) >>> 0, this.spec.vocabSize)
  }

  rewind(conversation: number, length: number): void {
    if (this.isBusy) throw errors.busy()
    this.pages.rewind(conversation, length)
  }

  async measureBandwidth(threads = this.counts.decode): Promise<number> {
    this.checkThreads(threads)
    return this.alone(async () => {
      if (this.weightBytes >= PROBE_BYTES) return (await probe(this.team, WEIGHTS, threads)) * 1e6
      const memory = createMemory(Math.ceil((WEIGHTS + PROBE_BYTES) / WASM_PAGE))
      new Uint8Array(memory.buffer).fill(1, WEIGHTS)
      const team = new Team(this.module, memory, threads)
      try {
        return (await probe(team, WEIGHTS, threads)) * 1e6
      } finally {
        await team.close()
      }
    })
  }

  async measureBarrier(threads = this.counts.decode): Promise<number> {
    this.checkThreads(threads)
    return this.alone(async () => (await this.team.request(protocol.MEET, 0, threads)) / 1e9)
  }

  /** Refuses weights that no conversion wrote. */
  async checkWeights(): Promise<void> {
    const isGood = await this.alone(() => this.team.request(protocol.CHECK, 0, this.maxThreads))
    if (!isGood) throw errors.badWeights()
  }

  profile(isOn: boolean): void {
    if (this.isBusy) throw errors.busy()
    this.engine?.exports.profile(isOn ? 1 : 0)
  }

  profiled(): StepProfile[] {
    if (!this.engine) throw errors.closed()
    const { memory, exports } = this.engine
    return Array.from({ length: this.maxThreads }, (_, rank) => {
      const sums = new Float64Array(memory.buffer, exports.profiled(rank) >>> 0, stepParts.length)
      return Object.fromEntries(stepParts.map((part, i) => [part, (sums[i] as number) / 1000])) as StepProfile
    })
  }

  async close(): Promise<void> {
    this.engine = undefined
    this.ballast = undefined
    await this.team.close()
  }

  /** The engine trusts its rows, so they are checked here: counts, ids and positions. */
  private check(rows: Row[]): void {
    if (rows.length < 1 || rows.length > this.maxRows) throw new RangeError(`a step takes 1 to ${this.maxRows} rows`)
    if (rows.filter((row) => row.sampling).length > this.maxLogits)
      throw new RangeError(`a step samples ${this.maxLogits} rows at most`)
    const ids = rows.map(({ token }) => token)
    checkTokens(ids, this.spec.vocabSize)
    this.pages.check(rows, this.context)
  }

  /** One thing at a time, from the first row written to the last result read: no other may touch what it uses. */
  private async alone<T>(work: (engine: EngineMemory & EngineViews) => Promise<T>): Promise<T> {
    if (!this.engine) throw errors.closed()
    if (this.isBusy) throw errors.busy()
    this.isBusy = true
    try {
      const result = await work(this.engine)
      // The work may have been done before close() was called, its result is not read any more.
      if (!this.engine) throw errors.closed()
      return result
    } finally {
      this.isBusy = false
    }
  }
}

/** MB/s. */
function probe(team: Team, from: number, threads: number): Promise<number> {
  return team.request(protocol.PROBE, from, threads, PROBE_BYTES)
}
