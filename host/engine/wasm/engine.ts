/** The WebAssembly engine behind the Engine interface: owns its memory and a team of workers. */
import { platform } from '#platform'
import * as abi from '../../../assembly/abi.ts'
import { type ModelSpec, nLayers, PAGE_TOKENS, type Plan } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import type { Engine, EngineFacts, EngineOptions, Logits, PageStore, PageStream, Row, ThreadCounts } from '../engine.ts'
import { type Build, type CompiledBuild, chooseBuild } from './builds.ts'
import { fingerprint } from './fingerprint.ts'
import { type EngineMemory, layoutMemory, weightsOf } from './memory.ts'
import { type Probed, WasmProbe } from './probe.ts'
import * as protocol from './protocol.ts'
import { ROW_WORDS, writeRow } from './rows.ts'
import { startRanks } from './team.ts'

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

interface EngineViews {
  rowWords: Uint32Array
  rowFloats: Float32Array
  sampled: Uint32Array
}

class WasmEngine implements Engine, Probed {
  readonly facts: EngineFacts
  readonly pages: PageStore
  readonly probe: WasmProbe
  readonly module: WebAssembly.Module
  readonly isShared: boolean
  readonly weightBytes: number
  readonly team: protocol.Ranks
  private counts: ThreadCounts
  /** Undefined once closed: nothing may hold on to the memory. */
  private engine: (EngineMemory & EngineViews) | undefined
  /**
   * V8 does not count shared memory, so it would let closed engines pile up until the machine has none left: measured,
   * 25 engines of 130 MB took 3.3 GB. An array of the same size, never touched and so without a page of its own, is
   * counted and brings the garbage collector in time.
   */
  // biome-ignore lint/correctness/noUnusedPrivateClassMembers: being there is its use
  private ballast: ArrayBuffer | undefined

  constructor(
    build: Build,
    module: WebAssembly.Module,
    engine: EngineMemory,
    spec: ModelSpec,
    plan: Plan,
    options: EngineOptions,
  ) {
    const { isShared } = build
    this.module = module
    this.isShared = isShared
    this.weightBytes = plan.bytes
    const { maxRows, maxLogits, context, conversations } = options
    const { threads: decode = 1, batchThreads: prefill = decode } = isShared ? options : {}
    const maxThreads = Math.max(decode, prefill)
    this.counts = { decode, prefill }
    this.facts = {
      name: `wasm ${build.name}`,
      build: build.name,
      ...{ maxThreads, maxRows, maxLogits, context, conversations },
      vocabSize: spec.vocabSize,
      memoryBytes: engine.bytes,
    }
    const { memory, exports } = engine
    const rows = exports.rows() >>> 0
    this.engine = {
      ...engine,
      rowWords: new Uint32Array(memory.buffer, rows, maxRows * ROW_WORDS),
      rowFloats: new Float32Array(memory.buffer, rows, maxRows * ROW_WORDS),
      sampled: new Uint32Array(memory.buffer, exports.sampled() >>> 0, maxLogits),
    }
    if (isShared) this.ballast = platform.createBallast(engine.bytes)
    this.team = startRanks(isShared, module, memory, maxThreads)
    this.pages = this.pageStore(engine, spec, plan, options)
    this.probe = new WasmProbe(this)
  }

  get threads(): ThreadCounts {
    return this.counts
  }

  set threads({ decode, prefill }: ThreadCounts) {
    for (const count of [decode, prefill]) this.checkThreads(count)
    this.counts = { decode, prefill }
  }

  async step(rows: readonly Row[]): Promise<Uint32Array> {
    const { rowWords, rowFloats } = this.open
    rows.forEach((row, index) => {
      writeRow(rowWords, rowFloats, index, row)
    })
    const { decode, prefill } = this.counts
    await this.team.request(protocol.STEP, rows.length, rows.length === 1 ? decode : prefill)
    // The step may have been done before close() was called, its result is not read any more.
    return this.open.sampled.slice(0, rows.filter((row) => row.sampling).length)
  }

  logits(k: number): Logits {
    const { memory, exports } = this.open
    return {
      values: new Float32Array(memory.buffer, exports.logits(k) >>> 0, this.facts.vocabSize),
      hash: () => BigInt.asUintN(64, this.open.exports.logitsHash(k)).toString(16).padStart(16, '0'),
    }
  }

  async turn(from: number, to: number, delta: number): Promise<void> {
    await this.team.request(protocol.TURN, from, this.counts.prefill, to, delta)
  }

  /** Refuses weights that no conversion wrote. */
  async checkWeights(): Promise<void> {
    const isGood = await this.team.request(protocol.CHECK, 0, this.facts.maxThreads)
    if (!isGood) throw errors.badWeights()
  }

  async close(): Promise<void> {
    this.engine = undefined
    this.ballast = undefined
    await this.team.close()
  }

  /** Throws once it is closed. */
  get open(): EngineMemory & EngineViews {
    if (!this.engine) throw errors.closed()
    return this.engine
  }

  checkThreads(count: number): void {
    const { maxThreads } = this.facts
    if (!Number.isInteger(count) || count < 1 || count > maxThreads)
      throw new RangeError(`this engine has 1 to ${maxThreads} threads, found ${count}`)
  }

  private pageStore(engine: EngineMemory, spec: ModelSpec, plan: Plan, options: EngineOptions): PageStore {
    const { memory, exports, tablePages, blocks, streamPages } = engine
    const words = (at: number, length: number) => new Uint32Array(memory.buffer, at >>> 0, length)
    const kinds = engine.kinds.map((kind, index) => ({
      ...kind,
      pageBytes: exports.pageBytes(index) >>> 0,
      address: exports.cache(index) >>> 0,
    }))
    const at = (place: number, index = 0) => {
      const { address, pageBytes } = kinds[index] as (typeof kinds)[number]
      return new Uint8Array(this.open.memory.buffer, address + place * pageBytes, pageBytes)
    }
    return {
      ...{ pages: blocks, residentPages: blocks - streamPages, tablePages, kinds },
      pageBytes: kinds.reduce((sum, { pageBytes }) => sum + pageBytes, 0),
      tables: words(exports.tables(), tablePages * options.conversations),
      places: words(exports.places(), blocks * kinds.length),
      history: words(exports.history(), blocks * PAGE_TOKENS),
      copy: (from, to, kind) => at(to, kind).set(at(from, kind)),
      clear: (place, kind) => at(place, kind).fill(0),
      read: async (place, kind) => at(place, kind),
      write: async (place, bytes, kind, start) => at(place, kind).set(bytes, start),
      fingerprint: async () => fingerprint(weightsOf(this.open, plan), plan, options.cache),
      stream: engine.streamPages > 0 ? this.pageStream(engine, spec) : undefined,
    }
  }

  private pageStream({ memory, exports, streamPages }: EngineMemory, spec: ModelSpec): PageStream {
    return {
      buffer: memory.buffer,
      cache: exports.cache(0) >>> 0,
      at: exports.stream() >>> 0,
      pages: streamPages,
      stride: exports.streamBytes() >>> 0,
      ready: abi.STREAM_READY / 4,
      swept: abi.STREAM_SWEPT / 4,
      nLayers: nLayers(spec),
      layerBytes: exports.layerBytes() >>> 0,
      begin: (isOn, layers) => exports.setStream(isOn ? 1 : 0, layers),
      fail: (error) => {
        this.team.fail(error)
      },
    }
  }
}
