/**
 * The WebGPU engine behind the Engine interface. All that does not depend on a step is made when it opens; a step writes its
 * rows, submits one command buffer, and reads back the tokens that it was asked for, once.
 */
import { platform } from '#platform'
import { type ModelSpec, PAGE_TOKENS, type Plan } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import type { Engine, EngineFacts, EngineOptions, Logits, PageStore, Row, ThreadCounts, Weights } from '../engine.ts'
import { fingerprint, type WeightRange } from '../fingerprint.ts'
import { tablePages } from '../wasm/memory.ts'
import { AttentionStep } from './attention-step.ts'
import { areWeightsNarrow } from './check.ts'
import { gpuErrors } from './errors.ts'
import { type Activations, forwardOperations } from './forward.ts'
import { GpuDevice, type GpuSource } from './gpu.ts'
import type { Operation, RowsAt, StepSizes } from './operations.ts'
import { DevicePages } from './pages.ts'
import { type GpuPlan, readPlan } from './plan.ts'
import { productScratch } from './products.ts'
import { Readback } from './readback.ts'
import { chooseTokens, makeSamples, partsOf, type Samples, sampleOperations, wantedOf } from './sample.ts'
import { DeviceStep } from './step.ts'
import { Turns } from './turn.ts'
import { DeviceWeights } from './weights.ts'

export interface GpuEngineInput {
  spec: ModelSpec
  plan: Plan
  options: EngineOptions
  adapter: GpuSource
  /** Brings the packed tensors of the plan into the engine. */
  load(weights: Weights): Promise<void>
}

/** Throws TOO_LARGE if the device's limits or memory do not do, BAD_OPTION for what no GPU is used for, ENGINE_FAILED. */
export async function openGpuEngine(input: GpuEngineInput): Promise<Engine> {
  checkInput(input)
  const gpu = await GpuDevice.open(input.adapter.adapter, input.adapter.language)
  try {
    const made = await gpu.scoped(() => make(gpu, input))
    await gpu.scoped(() => input.load(made.weights.loader()))
    const frequencies = made.frequencies.map((bytes) => new Float64Array(bytes.buffer))
    made.step.setFrequencies(frequencies)
    made.shared.setFrequencies(frequencies)
    made.turns.setFrequencies(frequencies)
    const readback = new Readback(gpu)
    const isGood = await gpu.scoped(() => areWeightsNarrow(gpu, made.weights, made.words, readback))
    if (!isGood) throw errors.badWeights()
    return new GpuEngine(gpu, input, made, readback)
  } catch (error) {
    gpu.close()
    throw error
  }
}

function checkInput({ plan, options }: GpuEngineInput): void {
  // Offsets of the plan are words.
  if (plan.bytes > 2 ** 32) throw gpuErrors.limit('the model', plan.bytes, 'offsets of 32 bits', 2 ** 32)
  if (options.offload) throw errors.badOption('offload (--offload)', 'left out with a GPU', options.offload.bytes)
}

/** What an engine is made of on its device. */
interface Made {
  words: GpuPlan
  weights: DeviceWeights
  step: DeviceStep
  shared: AttentionStep
  pages: DevicePages
  turns: Turns
  rows: Activations
  samples: Samples
  operations: Operation[]
  /** Of each rotation: filled while the weights are loaded. */
  frequencies: Uint8Array<ArrayBuffer>[]
}

async function make(gpu: GpuDevice, { spec, plan, options }: GpuEngineInput): Promise<Made> {
  const { maxRows, maxLogits, conversations } = options
  const words = readPlan(plan.words)
  const weights = new DeviceWeights(gpu, plan)
  const frequencies = words.rotations.map(({ invFreq, dim }) => weights.keep(invFreq, 4 * dim))
  const pages = new DevicePages(gpu, spec, words, options)
  const { blocks, isInt8 } = pages
  const shape = { maxRows, maxLogits, conversations, tableBlocks: tablePages(options), blocks }
  const step = new DeviceStep(gpu, words, shape)
  const { anglesStride } = step
  const shared = new AttentionStep(gpu, words, { isInt8, anglesStride, ...shape })
  const rows = makeRows(gpu, words, options)
  const turns = await Turns.make(gpu, words, pages)
  const samples = makeSamples(gpu, maxLogits)
  const scratch = productScratch(gpu, words, maxRows)
  const parts = { gpu, weights, step, shared, plan: words, pages, rows, scratch, maxRows, maxLogits }
  const operations = [
    ...(await forwardOperations(parts)),
    ...(await sampleOperations(gpu, step, words, rows.logits, samples)),
  ]
  return { words, weights, step, shared, pages, turns, rows, samples, operations, frequencies }
}

function makeRows(gpu: GpuDevice, plan: GpuPlan, { maxRows, maxLogits }: EngineOptions): Activations {
  const { buffers } = plan
  const rows = (name: string, bytes: number, count = maxRows): RowsAt => {
    const stride = Math.max(4, bytes / 4)
    return { buffer: gpu.buffer(name, 4 * stride * count), offset: 0, stride }
  }
  const padded = (n: number) => 64 * Math.ceil(n / 16)
  const hidden = padded(plan.hiddenDim)
  return {
    x: rows('x', hidden),
    normed: rows('normed', hidden),
    projection: rows('projection', buffers.projection),
    gateUp: rows('gate and up', buffers.gateUp),
    activation: rows('activation', buffers.activation),
    branch: rows('branch', buffers.branch),
    ffnInput: rows('feed-forward input', buffers.ffnInput),
    last: rows('last', hidden),
    logits: rows('logits', padded(plan.vocabSize), maxLogits),
  }
}

class GpuEngine implements Engine {
  readonly facts: EngineFacts
  readonly pages: PageStore
  readonly probe = undefined
  /** A GPU has threads of its own. */
  threads: ThreadCounts = { decode: 1, prefill: 1 }
  private readonly gpu: GpuDevice
  private readonly made: Made
  private readonly readback: Readback
  /** Ends with what was asked for last: one thing at a time. */
  private last: Promise<unknown> = Promise.resolve()
  private fetched: { k: number; values: Float32Array<ArrayBuffer> } | undefined
  /** Hidden states lie behind the rows of the last step that wanted logits. */
  private firstState = 0
  private hash: Promise<string> | undefined

  constructor(gpu: GpuDevice, { spec, plan, options, adapter }: GpuEngineInput, made: Made, readback: Readback) {
    const { maxRows, maxLogits, context, conversations } = options
    const { description, device, vendor, architecture } = adapter.adapter.info
    // Browsers tell of a make and a family, no more.
    const build = description || device || [vendor, architecture].filter(Boolean).join(' ') || 'GPU'
    this.gpu = gpu
    this.made = made
    this.readback = readback
    this.facts = {
      ...{ name: `webgpu ${build}`, build, maxThreads: 1, maxRows, maxLogits, context, conversations },
      vocabSize: spec.vocabSize,
      memoryBytes: gpu.bytes,
    }
    this.pages = this.pageStore(plan, options)
  }

  step(rows: readonly Row[]): Promise<Uint32Array> {
    return this.alone(async () => {
      const { words, step, shared, rows: activations, samples } = this.made
      this.fetched = undefined
      const sampled = rows.filter(({ sampling }) => sampling)
      const wanted = sampled.map((row) => wantedOf(row, words.vocabSize))
      const sizes: StepSizes = { ...step.write(rows), ...shared.begin(rows) }
      if (wanted.some(({ is }) => is === 'candidates')) sizes.drawn = sizes.logits
      this.firstState = sizes.logits
      const parts = partsOf(wanted, samples, activations.logits, words.vocabSize)
      const read = await this.readback.submit(parts, (encoder) => this.record(encoder, sizes))
      return parts.length === 0
        ? new Uint32Array()
        : chooseTokens(sampled, wanted, read, (row, at) => step.tokenAt(row, at))
    })
  }

  private record(encoder: GPUCommandEncoder, sizes: StepSizes): void {
    this.made.pages.recordMoves(encoder)
    const pass = encoder.beginComputePass()
    for (const { pipeline, bindings, workgroups } of this.made.operations) {
      const [x, y, z = 1] = workgroups(sizes)
      if (x * y * z === 0) continue
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, bindings)
      pass.dispatchWorkgroups(x, y, z)
    }
    pass.end()
  }

  async logits(k: number): Promise<Logits> {
    const { rows, words } = this.made
    const part = { buffer: rows.logits.buffer, offset: 4 * k * rows.logits.stride, bytes: 4 * words.vocabSize }
    if (this.fetched?.k !== k) {
      const [read] = await this.alone(() => this.readback.submit([part]))
      this.fetched = { k, values: new Float32Array(read as ArrayBuffer) }
    }
    const { values } = this.fetched
    const hash = () => platform.createHash().update(new Uint8Array(values.buffer)).digest('hex').slice(0, 16)
    return { values, hash }
  }

  async state(k: number): Promise<Float32Array> {
    const { rows, words } = this.made
    const { buffer, stride } = rows.last
    const part = { buffer, offset: 4 * (this.firstState + k) * stride, bytes: 4 * words.hiddenDim }
    const [read] = await this.alone(() => this.readback.submit([part]))
    return new Float32Array(read as ArrayBuffer)
  }

  turn(from: number, to: number, delta: number): Promise<void> {
    const { step, turns } = this.made
    return this.alone(async () => {
      await this.readback.submit([], (encoder) =>
        turns.record(encoder, (block) => step.placesOf(block), from, to, delta),
      )
      step.history.copyWithin(to * PAGE_TOKENS, from * PAGE_TOKENS, (from + 1) * PAGE_TOKENS)
    })
  }

  /** What is under way ends with CLOSED. */
  async close(): Promise<void> {
    this.gpu.close()
    await this.last
  }

  /** One thing at a time, in the order in which they are asked for. */
  private alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.last.then(() => {
      this.gpu.check()
      return run()
    })
    this.last = result.catch(() => undefined)
    return result
  }

  private pageStore(plan: Plan, options: EngineOptions): PageStore {
    const { pages, step } = this.made
    const { queue } = this.gpu.device
    return {
      ...{ pages: pages.blocks, residentPages: pages.blocks, tablePages: tablePages(options), stream: undefined },
      kinds: pages.kinds.map(({ pages: places, pageBytes, window, isState }) => ({
        pages: places,
        pageBytes,
        window,
        isState,
      })),
      pageBytes: pages.pageBytes,
      ...{ tables: step.hostTables, places: step.hostPlaces, history: step.history },
      copy: (from, to, kind = 0) => pages.move(kind, to, from),
      clear: (place, kind = 0) => pages.move(kind, place),
      read: (place, kind = 0) =>
        this.alone(async () => {
          const read = await this.readback.submit(pages.partsOf(kind, place), (encoder) => pages.recordMoves(encoder))
          return joinBytes(read.map((part) => new Uint8Array(part)))
        }),
      write: (place, bytes, kind = 0, start = 0) =>
        this.alone(async () => {
          if (pages.hasMoves) await this.readback.submit([], (encoder) => pages.recordMoves(encoder))
          pages.write(queue, kind, place, bytes, start)
        }),
      fingerprint: () => {
        this.hash ??= fingerprint(plan, options.cache, {
          most: 2 ** 20,
          read: (ranges, use) => this.readWeights(ranges, use),
        })
        return this.hash
      },
    }
  }

  private async readWeights(ranges: readonly WeightRange[], use: (bytes: Uint8Array) => void): Promise<void> {
    const { weights } = this.made
    // Copies are of whole words.
    const words = ranges.map(({ offset, bytes }) => {
      const from = 4 * Math.floor(offset / 4)
      return { from, bytes: 4 * Math.ceil((offset + bytes) / 4) - from }
    })
    const parts = words.map(({ from, bytes }) => weights.partAt(from, bytes))
    const read = await this.alone(() => this.readback.submit(parts))
    use(joinBytes(read.map((part, i) => sliceOf(part, ranges[i] as WeightRange))))
  }
}

/** A range from the words that it lies in. */
function sliceOf(words: ArrayBuffer, { offset, bytes }: WeightRange): Uint8Array<ArrayBuffer> {
  return new Uint8Array(words, offset % 4, bytes)
}

function joinBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.byteLength
  }
  return joined
}
