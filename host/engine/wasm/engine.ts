/**
 * The WebAssembly engine behind the Engine interface: owns its memory, the page tables and a team of workers.
 *
 *     0 … 4095 ┃ weights (plan first) ┃ rows, tables, scratch ┃ KV cache pages
 */
import { platform } from '#platform'
import * as abi from '../../../assembly/abi.ts'
import {
  type CacheType,
  keyDim,
  type ModelSpec,
  PAGE_TOKENS,
  type Plan,
  pageBytes,
  projectionWidths,
  queryDim,
  roundUp,
} from '../../../models/index.ts'
import { placesOf, wordsOf } from '../../../models/records.ts'
import { PageCache } from '../../cache/pages.ts'
import { checkTokens, errors } from '../../errors.ts'
import {
  type CachedPages,
  type Engine,
  type EngineOptions,
  type OffloadUse,
  type Reuse,
  type Row,
  type Sampling,
  type StepProfile,
  stepParts,
  type ThreadCounts,
} from '../engine.ts'
import { MAX_MEMORY } from '../limits.ts'
import { type Build, type CompiledBuild, chooseBuild } from './builds.ts'
import { type EngineExports, instantiate } from './instance.ts'
import { Pager } from './pager.ts'
import * as protocol from './protocol.ts'
import { Single } from './single.ts'
import { type Ranks, Team } from './team.ts'

const WASM_PAGE = 65536
/** Pages in memory without which a step could not write its rows. */
const LEAST_RESIDENT = 4
/** Changes with what the cache holds for the same tokens: then pages of another version are of no use. */
const CACHE_VERSION = 1
/** Of a large tensor, sixteen pieces of so many bytes are looked at. */
const SAMPLE_BYTES = 1024

/** Where the fields of a row are, in words. */
const ROW = placesOf(new abi.Row())
export const ROW_WORDS = Object.keys(ROW).length

/** Workers that an engine starts: enough for either kind of step. */
function maxThreads({ threads = 1, batchThreads = threads }: EngineOptions): number {
  return Math.max(threads, batchThreads)
}

export interface EngineMemory {
  memory: WebAssembly.Memory
  exports: EngineExports
  tablePages: number
  pages: number
  residentPages: number
  streamPages: number
  bytes: number
}

/** A page of the cache, its place, and its part of the history. */
export function pageMemory(spec: ModelSpec, cache: CacheType): number {
  return pageBytes(spec, cache) + 4 + 4 * PAGE_TOKENS
}

/** Pages of an engine that is opened with these options: all, those in memory, and those of a buffer for the others. */
export function countPages(spec: ModelSpec, options: EngineOptions) {
  const { context, conversations, cache, offload } = options
  const pages = options.pages ?? Math.ceil(context / PAGE_TOKENS) * conversations
  const bytes = pageBytes(spec, cache)
  if (!offload || pages * bytes <= offload.bytes) return { pages, residentPages: pages, streamPages: 0 }
  // Two layers of every page that is not in memory: residentPages · bytes + 2 · (pages − residentPages) · layer.
  const layer = roundUp(bytes / spec.nLayers, abi.STREAM_ALIGNMENT)
  const residentPages = Math.floor((offload.bytes - 2 * pages * layer) / (bytes - 2 * layer))
  if (bytes <= 2 * layer || residentPages < LEAST_RESIDENT) {
    const least = LEAST_RESIDENT * bytes + 2 * (pages - LEAST_RESIDENT) * layer
    throw errors.badOption(
      'offload (--offload)',
      `at least ${Math.ceil(least)} bytes for ${pages * PAGE_TOKENS} tokens: two layers of all of them, and all layers of ${LEAST_RESIDENT * PAGE_TOKENS}`,
      offload.bytes,
    )
  }
  return { pages, residentPages, streamPages: pages - residentPages }
}

/** What an engine will reserve: exact for weights and cache; scratch and logits with a little to spare. */
export function estimateMemory(spec: ModelSpec, plan: Plan, options: EngineOptions): number {
  const { context, cache, maxRows, maxLogits, conversations } = options
  const pagesPerConversation = Math.ceil(context / PAGE_TOKENS)
  const { pages, residentPages, streamPages } = countPages(spec, options)
  const { attention, hiddenDim, ffnDim, vocabSize } = spec
  const { q, row, gate } = projectionWidths(attention)
  const { maps, value } = attention
  const heads = maps * (queryDim(attention) + keyDim(attention) + value.dim + attention.outDim)
  const scratchPerRow = 4 * (3 * hiddenDim + 4 * ffnDim + q + row + gate + 3 * heads)
  const partials = Math.min(pagesPerConversation, abi.WAVE) * maps * (abi.PARTIAL_SUMS + 4 * roundUp(value.dim, 16))
  const scratchPerRank = 8 * vocabSize + 4 * heads + 4 * (2 * row + 64)
  return (
    abi.WEIGHTS +
    plan.bytes +
    pages * (pageMemory(spec, cache) - pageBytes(spec, cache)) +
    residentPages * pageBytes(spec, cache) +
    2 * streamPages * (pageBytes(spec, cache) / spec.nLayers + abi.STREAM_ALIGNMENT) +
    4 * pagesPerConversation * conversations +
    maxRows * scratchPerRow +
    partials +
    maxThreads(options) * scratchPerRank +
    4 * maxLogits * vocabSize
  )
}

/** Memory with the plan in place and everything laid out; the weights are still to be loaded at `WEIGHTS`. */
export function layoutMemory(
  module: WebAssembly.Module,
  spec: ModelSpec,
  plan: Plan,
  options: EngineOptions,
  isShared = true,
): EngineMemory {
  const pagesFor = (bytes: number) => Math.ceil(bytes / WASM_PAGE)
  const start = abi.WEIGHTS + plan.bytes
  const memory = createMemory(pagesFor(start), isShared)
  new Uint32Array(memory.buffer, abi.WEIGHTS, plan.words.length).set(plan.words)
  const exports = instantiate(module, memory)
  if (exports.planVersion() !== plan.words[0] || exports.pageTokens() !== PAGE_TOKENS)
    throw errors.engineFailed('its build is not of this version')

  const tablePages = Math.ceil(options.context / PAGE_TOKENS)
  const { pages, residentPages, streamPages } = countPages(spec, options)
  const request = wordsOf(new abi.LayoutRequest(), {
    plan: abi.WEIGHTS,
    start,
    maxRows: options.maxRows,
    maxLogits: options.maxLogits,
    pages,
    residentPages,
    streamPages,
    conversations: options.conversations,
    tablePages,
    isCacheInt8: options.cache === 'int8' ? 1 : 0,
    maxRanks: maxThreads(options),
  })
  new Uint32Array(memory.buffer, abi.LAYOUT_REQUEST, request.length).set(request)
  const end = exports.layout(abi.LAYOUT_REQUEST)
  if (end > MAX_MEMORY)
    throw errors.tooLarge('the model', end, MAX_MEMORY, 'that is the address space of one engine; use a smaller -c')
  try {
    memory.grow(Math.max(0, pagesFor(end) - pagesFor(start)))
  } catch {
    throw errors.noMemory(end)
  }
  const places = new Uint32Array(memory.buffer, exports.places() >>> 0, pages)
  for (let page = 0; page < pages; page++) places[page] = page
  return { memory, exports, tablePages, pages, residentPages, streamPages, bytes: end }
}

function createMemory(pages: number, isShared: boolean): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: isShared })
  } catch {
    throw errors.noMemory(pages * WASM_PAGE)
  }
}

/** The part of an engine's memory that takes a plan's packed tensors. */
export function weightsOf({ memory }: EngineMemory, plan: Plan): Uint8Array {
  return new Uint8Array(memory.buffer, abi.WEIGHTS, plan.bytes)
}

/** Writes a row where the engine reads it. */
export function writeRow(words: Uint32Array, floats: Float32Array, index: number, row: Row, dropped = 0): void {
  const at = index * ROW_WORDS
  words[at + ROW.conversation] = row.conversation
  words[at + ROW.position] = row.position
  words[at + ROW.token] = row.token
  words[at + ROW.wantsLogits] = row.sampling ? 1 : 0
  words[at + ROW.dropped] = dropped
  if (!row.sampling) return
  const { temperature, topK, topP, minP, repeatPenalty, repeatLastN, seed }: Sampling = row.sampling
  floats[at + ROW.temperature] = temperature
  words[at + ROW.topK] = topK
  floats[at + ROW.topP] = topP
  floats[at + ROW.minP] = minP
  floats[at + ROW.repeatPenalty] = repeatPenalty
  words[at + ROW.penaltyWindow] = repeatLastN
  words[at + ROW.seedLow] = seed >>> 0
  words[at + ROW.seedHigh] = Math.floor(seed / 2 ** 32)
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
  const engineMemory = layoutMemory(module, spec, plan, options, build.isShared)
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

function startRanks(
  { isShared }: Pick<Build, 'isShared'>,
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  count: number,
): Ranks {
  return isShared ? new Team(module, memory, count) : new Single(module, memory)
}

interface EngineViews {
  rowWords: Uint32Array
  rowFloats: Float32Array
  sampled: Uint32Array
}

class WasmEngine implements Engine {
  readonly build: string
  readonly isShared: boolean
  readonly maxRows: number
  readonly maxLogits: number
  readonly maxThreads: number
  readonly context: number
  readonly conversations: number
  readonly memoryBytes: number
  private counts: ThreadCounts
  private readonly spec: ModelSpec
  private readonly module: WebAssembly.Module
  private readonly plan: Plan
  private readonly cacheType: CacheType
  private readonly team: Ranks
  private readonly pages: PageCache
  /** Where some pages lie in a file. */
  private readonly pager: Pager | undefined
  private readonly pageBytes: number
  private readonly totalPages: number
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
  /** Conversations of the step that runs. */
  private running = new Set<number>()

  constructor(
    build: Build,
    module: WebAssembly.Module,
    engine: EngineMemory,
    spec: ModelSpec,
    plan: Plan,
    options: EngineOptions,
  ) {
    this.build = build.name
    this.isShared = build.isShared
    this.spec = spec
    this.module = module
    this.maxRows = options.maxRows
    this.maxLogits = options.maxLogits
    const { threads: decode = 1, batchThreads: prefill = decode } = build.isShared ? options : {}
    this.maxThreads = Math.max(decode, prefill)
    this.counts = { decode, prefill }
    this.context = options.context
    this.conversations = options.conversations
    this.memoryBytes = engine.bytes
    this.plan = plan
    this.cacheType = options.cache
    const { memory, exports, tablePages, pages } = engine
    const { buffer } = memory
    const rows = exports.rows() >>> 0
    this.engine = {
      ...engine,
      rowWords: new Uint32Array(buffer, rows, options.maxRows * ROW_WORDS),
      rowFloats: new Float32Array(buffer, rows, options.maxRows * ROW_WORDS),
      sampled: new Uint32Array(buffer, exports.sampled() >>> 0, options.maxLogits),
    }
    this.pageBytes = exports.pageBytes() >>> 0
    this.totalPages = pages
    this.pages = new PageCache({
      tables: new Uint32Array(buffer, exports.tables() >>> 0, tablePages * options.conversations),
      tablePages,
      conversations: options.conversations,
      pages,
      history: new Uint32Array(buffer, exports.history() >>> 0, pages * PAGE_TOKENS),
      pageBytes: this.pageBytes,
      copy: (from, to) => (this.pageAt(to) as Uint8Array).set(this.pageAt(from) as Uint8Array),
      clear: (page) => {
        this.pager?.admit(page)
        // A session that is saved must hold nothing of another conversation.
        this.pageAt(page)?.fill(0)
      },
      release: (page) => this.pager?.release(page),
    })
    if (build.isShared) this.ballast = platform.createBallast(engine.bytes)
    if (options.offload && engine.streamPages > 0)
      this.pager = new Pager({
        ...engine,
        nLayers: spec.nLayers,
        directory: options.offload.directory,
        onFailure: (error) => this.team.fail(error),
      })
    this.team = startRanks(build, module, memory, this.maxThreads)
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
      let { fresh, written } = this.check(rows)
      const conversations = new Set(rows.map(({ conversation }) => conversation))
      this.running = conversations
      try {
        while (this.pager && !this.pager.hasRoom(written, fresh)) {
          await this.pager.makeRoom(written, fresh)
          ;({ fresh, written } = this.check(rows))
        }
        this.pages.extend(rows)
        rows.forEach((row, index) => {
          writeRow(rowWords, rowFloats, index, row, this.pages.droppedOf(row.conversation))
        })
        const { decode, prefill } = this.counts
        await this.pager?.begin([...conversations].flatMap((conversation) => [...this.pages.pagesOf(conversation)]))
        await this.team.request(protocol.STEP, rows.length, rows.length === 1 ? decode : prefill)
        this.pager?.end()
      } finally {
        this.running = new Set()
      }
      for (const conversation of conversations) this.pages.publish(conversation)
      return sampled.slice(0, rows.filter((row) => row.sampling).length)
    })
  }

  logits(k: number): Float32Array {
    if (!this.engine) throw errors.closed()
    const { memory, exports } = this.engine
    return new Float32Array(memory.buffer, exports.logits(k) >>> 0, this.spec.vocabSize)
  }

  logitsHash(k: number): string {
    if (!this.engine) throw errors.closed()
    return BigInt.asUintN(64, this.engine.exports.logitsHash(k)).toString(16).padStart(16, '0')
  }

  lengthOf(conversation: number): number {
    return this.pages.lengthOf(conversation)
  }

  droppedOf(conversation: number): number {
    return this.pages.droppedOf(conversation)
  }

  tokensOf(conversation: number): Uint32Array {
    return this.pages.tokensOf(conversation)
  }

  pagesNeeded(conversation: number, count: number): number {
    return this.pages.needOf(conversation, count)
  }

  pagesWritten(conversation: number, count: number): number {
    return this.pages.writtenBy(conversation, count)
  }

  get pagesWritable(): number {
    return this.engine?.residentPages ?? 0
  }

  get pagesAvailable(): number {
    return this.pages.available
  }

  checkRoom(conversation: number, count: number): void {
    this.pages.checkRoom(conversation, count)
  }

  rewind(conversation: number, length: number): void {
    this.checkIdle(conversation)
    this.pages.rewind(conversation, length)
  }

  fork(from: number, to: number): void {
    this.checkIdle(from, to)
    this.pages.fork(from, to)
  }

  reuse(conversation: number, ids: ArrayLike<number>): Reuse {
    this.checkIdle(conversation)
    return this.pages.reuse(conversation, ids)
  }

  async drop(conversation: number, keep: number, count: number): Promise<void> {
    return this.alone(async () => {
      while (this.pager && !this.pager.hasRoom([], keep)) await this.pager.makeRoom([], keep)
      for (const { from, to, delta } of this.pages.dropPages(conversation, keep, count)) {
        await this.pager?.makeRoom([from, to], 0)
        await this.team.request(protocol.TURN, from, this.counts.prefill, to, delta)
      }
    })
  }

  cached(conversation: number): CachedPages {
    const view = (id: number) => ({ id, stamp: this.pages.stampOf(id), tokens: this.pages.historyOf(id) })
    return {
      length: this.pages.lengthOf(conversation),
      dropped: this.pages.droppedOf(conversation),
      pages: this.pages.pagesOf(conversation).map(view),
      originals: this.pages.originalsOf(conversation).map(({ page, dropped }) => ({ ...view(page), dropped })),
    }
  }

  adopt(conversation: number, length: number, dropped: number, originals: readonly number[]): CachedPages {
    this.checkIdle(conversation)
    this.pages.adopt(conversation, length, dropped, originals)
    return this.cached(conversation)
  }

  get cacheUse() {
    const { pageBytes, totalPages } = this
    return { pageBytes, usedBytes: this.pages.used * pageBytes, totalBytes: totalPages * pageBytes }
  }

  /** Of each tensor what tells it from another one; all of the small ones, among them the frequencies of RoPE. */
  async fingerprint(): Promise<string> {
    if (!this.engine) throw errors.closed()
    const weights = weightsOf(this.engine, this.plan)
    const hash = platform.createHash().update(`gta-edge cache ${CACHE_VERSION} ${PAGE_TOKENS} ${this.cacheType}`)
    for (const { offset, bytes } of this.plan.tensors) {
      const tensor = weights.subarray(offset, offset + bytes)
      const pieces = bytes <= 16 * SAMPLE_BYTES ? 1 : 16
      const size = pieces === 1 ? bytes : SAMPLE_BYTES
      for (let i = 0; i < pieces; i++) {
        const from = Math.floor((i * (bytes - size)) / Math.max(1, pieces - 1))
        hash.update(tensor.subarray(from, from + size))
      }
    }
    return hash.digest('hex')
  }

  async fetchPage(id: number): Promise<Uint8Array> {
    const view = this.pageAt(id)
    return view ?? this.alone(async () => (await this.pager?.fetch(id)) as Uint8Array)
  }

  async storePage(id: number, bytes: Uint8Array): Promise<void> {
    if (this.pager) await this.alone(async () => this.pager?.store(id, bytes))
    else this.pageAt(id)?.set(bytes)
  }

  get offloadUse(): OffloadUse | undefined {
    return this.pager?.use
  }

  async measureOffload(): Promise<number> {
    return this.alone(async () => (await this.pager?.measure()) ?? 0)
  }

  /** The bytes of a page; undefined if it lies in a file. */
  private pageAt(page: number): Uint8Array | undefined {
    if (!this.engine) throw errors.closed()
    const { memory, exports } = this.engine
    const at = this.pager ? this.pager.addressOf(page) : (exports.cache() >>> 0) + page * this.pageBytes
    return at === undefined ? undefined : new Uint8Array(memory.buffer, at, this.pageBytes)
  }

  /** The pages of a conversation stay as they are while a step reads them. */
  private checkIdle(...conversations: number[]): void {
    if (conversations.some((conversation) => this.running.has(conversation))) throw errors.busy()
  }

  async measureBandwidth(threads = this.counts.decode): Promise<number> {
    this.checkThreads(threads)
    return this.alone(async () => {
      if (this.plan.bytes >= PROBE_BYTES) return (await probe(this.team, abi.WEIGHTS, threads)) * 1e6
      const memory = createMemory(Math.ceil((abi.WEIGHTS + PROBE_BYTES) / WASM_PAGE), this.isShared)
      new Uint8Array(memory.buffer).fill(1, abi.WEIGHTS)
      const team = startRanks(this, this.module, memory, threads)
      try {
        return (await probe(team, abi.WEIGHTS, threads)) * 1e6
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
    await Promise.all([this.team.close(), this.pager?.close()])
  }

  /** The engine trusts its rows, so they are checked here: counts, ids and positions. */
  private check(rows: Row[]): ReturnType<PageCache['check']> {
    if (rows.length < 1 || rows.length > this.maxRows) throw new RangeError(`a step takes 1 to ${this.maxRows} rows`)
    if (rows.filter((row) => row.sampling).length > this.maxLogits)
      throw new RangeError(`a step samples ${this.maxLogits} rows at most`)
    const ids = rows.map(({ token }) => token)
    checkTokens(ids, this.spec.vocabSize)
    return this.pages.check(rows, this.context)
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
function probe(team: Ranks, from: number, threads: number): Promise<number> {
  return team.request(protocol.PROBE, from, threads, PROBE_BYTES)
}
