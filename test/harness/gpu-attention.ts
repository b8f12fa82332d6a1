/** One layer's attention on a GPU beside the debug build's: the same weights, the same rows, pages that are not in order. */
import * as abi from '../../assembly/abi.ts'
import { writeAngles } from '../../host/engine/gpu/angles.ts'
import { attentionOperations } from '../../host/engine/gpu/attention.ts'
import { layerStride, queryWidth } from '../../host/engine/gpu/attention-kind.ts'
import { AttentionStep } from '../../host/engine/gpu/attention-step.ts'
import { GpuDevice, MAP_READ, usage } from '../../host/engine/gpu/gpu.ts'
import type { Operation, RowsAt, StepBuffers } from '../../host/engine/gpu/operations.ts'
import { type GpuLayer, type GpuPlan, readPlan } from '../../host/engine/gpu/plan.ts'
import { productScratch } from '../../host/engine/gpu/products.ts'
import { DeviceWeights } from '../../host/engine/gpu/weights.ts'
import { ROW_WORDS, writeRow } from '../../host/engine/wasm/rows.ts'
import type { CacheType, ModelDescription, PackedTensor } from '../../models/index.ts'
import { type DebugEngine, openDebug, Random, Room } from './debug-engine.ts'
import type { TestAdapter } from './gpu.ts'

/** Rows of a conversation, pages that it has, and what fills memory that nobody may read. */
export const CONTEXT = 320
const BLOCKS = 7
/** Blocks of conversation 0, then of conversation 1, not in order; block 6 belongs to nobody. */
const TABLES = [2, 0, 4, 1, 3, 5, 5, 5, 5, 5]
const POISON = 0xff

export interface TestRow {
  conversation: number
  position: number
  dropped?: number
}

export interface Case {
  plan: GpuPlan
  engine: DebugEngine
  maxRows: number
  isInt8: boolean
  /** (conversation, position): normalised input. */
  input(row: TestRow): Float32Array
}

function fillTensor(engine: DebugEngine, { content, offset }: PackedTensor, random: Random): void {
  const at = engine.weightsAt + offset
  if (content.is === 'vector') {
    const length = content.sources.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0)
    engine.floats(at, length).set(Float32Array.from({ length }, () => random.signed()))
  }
  if (content.is !== 'matrix') return
  const { rows, cols } = content
  const stride = Math.ceil(cols / 16) * 16
  for (let r = 0; r < rows; r++)
    engine
      .floats(at + r * stride * 4, cols)
      .set(Float32Array.from({ length: cols }, () => (random.signed() * 2.5) / Math.sqrt(cols)))
}

/** Makes some biases of the first slot large. */
function growBiases(engine: DebugEngine, plan: GpuPlan, factor: number): void {
  for (const { inBias, is } of plan.layersInOrder) {
    const biases = engine.floats(abi.WEIGHTS + inBias + 4 * queryWidth(is), is.slot0Heads * is.slot0Dim)
    for (let i = 0; inBias && i < biases.length; i += 5) biases[i] = (biases[i] as number) * factor
  }
}

/** An engine with random f32 weights, memory poisoned. `keyBias`: how large biases of keys may be. */
export function openCase(
  model: ModelDescription,
  cache: CacheType,
  maxRows: number,
  seed = 1,
  keyBias = 0,
  build?: string,
): Case {
  const options = { context: CONTEXT, cache, maxRows, conversations: 2, pages: BLOCKS }
  const projected = 4 * maxRows * 2 ** 14
  const engine = openDebug(model, 'f32', options, projected, build)
  const random = new Random(seed)
  for (const tensor of engine.plan.tensors) fillTensor(engine, tensor, random)
  const plan = readPlan(engine.plan.words)
  if (keyBias > 0) growBiases(engine, plan, keyBias)
  engine.words(engine.exports.tables(), TABLES.length).set(TABLES)
  const at = engine.exports.cache(0) >>> 0
  engine.bytes(at, engine.end - at).fill(POISON)
  const inputs = new Map<string, Float32Array>()
  const input = ({ conversation, position }: TestRow) => {
    const key = `${conversation} ${position}`
    const own = new Random(seed + 1000 * conversation + position)
    const made = inputs.get(key) ?? Float32Array.from({ length: model.spec.hiddenDim }, () => own.signed() * 1.5)
    inputs.set(key, made)
    return made
  }
  return { plan, engine, maxRows, isInt8: cache === 'int8', input }
}

/** Runs rows through the debug build's attention of a layer; returns what it adds to the residual stream. */
export function runWasm(
  { engine, plan, input, maxRows }: Case,
  layer: number,
  rows: readonly TestRow[],
): Float32Array[] {
  const { exports, words, floats } = engine
  const stride = exports.hiddenStrideBytes()
  for (const [i, row] of rows.entries()) {
    const into = words(exports.rows(), maxRows * ROW_WORDS)
    writeRow(into, floats(exports.rows(), maxRows * ROW_WORDS), i, { ...row, token: i % plan.vocabSize })
    floats(exports.normed() + i * stride, stride / 4).fill(0)
    floats(exports.normed() + i * stride, plan.hiddenDim).set(input(row))
  }
  exports.attentionLayer(layer, rows.length)
  return rows.map((_, i) => floats(exports.hidden() + i * stride, plan.hiddenDim).slice())
}

/** The part of a layer of every page of its kind. */
export function wasmPages({ engine, plan, isInt8 }: Case, layer: GpuLayer): Uint8Array[] {
  const bytes = layerStride(layer.is, isInt8)
  const pages = engine.exports.cache(layer.pageKind) >>> 0
  const page = (plan.pageKinds[layer.pageKind] as abi.PageKind).layers * bytes
  return Array.from({ length: BLOCKS }, (_, i) =>
    engine.bytes(pages + i * page + layer.pageLayer * bytes, bytes).slice(),
  )
}

/** What the product of `in` leaves of each row, by the debug build: f32 (rows, stride). */
function projected({ engine, input, plan }: Case, layer: GpuLayer, rows: readonly TestRow[], stride: number) {
  const room = new Room(engine.end)
  const matrix = room.take(24)
  const padded = Math.ceil(plan.hiddenDim / 16) * 64
  const x = room.take(padded * rows.length)
  const y = room.take(4 * stride * rows.length)
  engine.words(matrix, 6).set(Object.values(layer.matrices.in))
  engine.bytes(x, padded * rows.length).fill(0)
  for (const [i, row] of rows.entries()) engine.floats(x + i * padded, plan.hiddenDim).set(input(row))
  engine.exports.matmul(matrix, layer.inBias ? abi.WEIGHTS + layer.inBias : 0, x, padded, rows.length, y, 4 * stride, 0)
  return engine.floats(y, stride * rows.length).slice()
}

const devices = new Map<string, Promise<GpuDevice>>()
export function deviceOf({ name, gpu, request }: TestAdapter): Promise<GpuDevice> {
  const open = async () => GpuDevice.open(await request(), (await gpu()).wgslLanguageFeatures)
  const made = devices.get(name) ?? open()
  devices.set(name, made)
  return made
}

/** The attention of one layer on a device. */
export class GpuAttention {
  readonly one: Case
  readonly gpu: GpuDevice
  readonly layer: GpuLayer
  readonly cache: GPUBuffer
  private readonly step: StepBuffers
  private readonly shared: AttentionStep
  private readonly projection: RowsAt
  private readonly frequencies: Float64Array[]
  private operations: Operation[] = []
  private result: RowsAt | undefined

  private constructor(gpu: GpuDevice, one: Case, layer: GpuLayer) {
    const { plan, maxRows, isInt8 } = one
    this.one = one
    this.gpu = gpu
    this.layer = layer
    const anglesStride = Math.max(4, plan.buffers.angles / 4)
    const tableBlocks = CONTEXT / abi.PAGE_TOKENS
    this.step = {
      sizes: gpu.make('sizes', 16, usage.UNIFORM | usage.COPY_DST),
      rows: gpu.buffer('rows', 4 * ROW_WORDS * maxRows),
      wanted: gpu.buffer('wanted', 16),
      tables: gpu.buffer('tables', 4 * TABLES.length),
      places: gpu.buffer('places', 4 * plan.nPageKinds * BLOCKS),
      angles: gpu.buffer('angles', 4 * anglesStride * maxRows),
      anglesStride,
    }
    this.shared = new AttentionStep(gpu, plan, { isInt8, maxRows, blocks: BLOCKS, tableBlocks, anglesStride })
    const stride = Math.max(4, plan.buffers.projection / 4)
    this.projection = { buffer: gpu.buffer('projection', 4 * stride * maxRows), offset: 0, stride }
    this.cache = gpu.buffer('cache', BLOCKS * layerStride(layer.is, isInt8))
    const bytes = one.engine.memory.buffer
    this.frequencies = plan.rotations.map(
      ({ invFreq, dim }) => new Float64Array(bytes.slice(abi.WEIGHTS + invFreq, abi.WEIGHTS + invFreq + 4 * dim)),
    )
  }

  static async open(gpu: GpuDevice, one: Case, layer: GpuLayer): Promise<GpuAttention> {
    const made = new GpuAttention(gpu, one, layer)
    await gpu.scoped(() => made.make())
    return made
  }

  private async make(): Promise<void> {
    const { gpu, one, layer, step, shared, projection } = this
    const { queue } = gpu.device
    const weights = new DeviceWeights(gpu, one.engine.plan)
    const all = new Uint8Array(one.engine.memory.buffer)
    for (const { offset, bytes } of one.engine.plan.tensors)
      await weights.loader().write(offset, all.slice(abi.WEIGHTS + offset, abi.WEIGHTS + offset + bytes))
    shared.setFrequencies(this.frequencies)
    queue.writeBuffer(step.tables, 0, Uint32Array.from(TABLES))
    queue.writeBuffer(
      step.places,
      0,
      Uint32Array.from({ length: one.plan.nPageKinds * BLOCKS }, (_, i) => i % BLOCKS),
    )
    // Every buffer between operations holds somebody else's numbers.
    const { low, query, plain, encoded, averages, entering, prepared, partials } = shared
    for (const buffer of [low, query, plain, encoded, averages, entering, prepared, partials, this.cache])
      queue.writeBuffer(buffer, 0, new Uint8Array(buffer.size).fill(POISON))
    const cache = { buffer: this.cache, isInt8: one.isInt8, layerStride: layerStride(layer.is, one.isInt8) }
    const scratch = productScratch(gpu, one.plan, one.maxRows)
    const made = await attentionOperations(gpu, weights, step, { shared, layer, projection, cache, scratch })
    this.operations = made.operations
    this.result = made.result
  }

  /** What enters W_o of each row. */
  async run(rows: readonly TestRow[]): Promise<Float32Array[]> {
    const { gpu, one, layer, step, shared, projection } = this
    const { queue } = gpu.device
    const words = new Uint32Array(rows.length * ROW_WORDS)
    const angles = new Float32Array(rows.length * step.anglesStride)
    const full = rows.map((row, i) => ({ ...row, token: i }))
    for (const [i, row] of full.entries()) {
      writeRow(words, new Float32Array(words.buffer), i, row)
      for (const [r, rotation] of one.plan.rotations.entries()) {
        const at = i * step.anglesStride + rotation.angles / 4
        const position = (row.dropped ?? 0) + row.position
        writeAngles(angles, at, position, this.frequencies[r] as Float64Array, rotation.magnitude)
      }
    }
    queue.writeBuffer(step.rows, 0, words)
    queue.writeBuffer(step.angles, 0, angles)
    queue.writeBuffer(step.sizes, 0, Uint32Array.of(rows.length, 0, 1, 0))
    queue.writeBuffer(projection.buffer, 0, projected(one, layer, rows, projection.stride))
    const last = full.reduce((most, { position }) => Math.max(most, position), 0)
    const sizes = { rows: rows.length, logits: 0, pages: 1 + Math.floor(last / 64), ...shared.begin(full) }
    const encoder = gpu.device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    for (const { pipeline, bindings, workgroups } of this.operations) {
      const [x, y, z = 1] = workgroups(sizes)
      if (x * y * z === 0) continue
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, bindings)
      pass.dispatchWorkgroups(x, y, z)
    }
    pass.end()
    queue.submit([encoder.finish()])
    const { buffer, stride } = this.result as RowsAt
    const found = new Float32Array(await this.read(buffer))
    const width = layer.is.maps * layer.is.outDim
    return rows.map((_, i) => found.slice(i * stride, i * stride + width))
  }

  async pages(): Promise<Uint8Array[]> {
    const bytes = await this.read(this.cache)
    const size = layerStride(this.layer.is, this.one.isInt8)
    return Array.from({ length: BLOCKS }, (_, i) => new Uint8Array(bytes, i * size, size))
  }

  private async read(buffer: GPUBuffer): Promise<ArrayBuffer> {
    const { gpu } = this
    const copy = gpu.make('read', buffer.size, usage.MAP_READ | usage.COPY_DST)
    const encoder = gpu.device.createCommandEncoder()
    encoder.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size)
    gpu.device.queue.submit([encoder.finish()])
    await copy.mapAsync(MAP_READ)
    const bytes = copy.getMappedRange().slice(0)
    copy.destroy()
    return bytes
  }
}
