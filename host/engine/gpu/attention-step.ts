/** What the layers of a model share of their mixers: tiles of a step, and buffers for what is between operations. */
import { PAGE_TOKENS } from '../../../assembly/abi.ts'
import type { Row } from '../engine.ts'
import { writeAngles } from './angles.ts'
import {
  averageStride,
  biasPairs,
  convolvedWidth,
  foursOf,
  isAttention,
  padded,
  queryDim,
  queryFours,
  stateWidth,
} from './attention-kind.ts'
import { chunkOf, type TileSizes, tileWords, writeTiles } from './attention-tiles.ts'
import type { Gpu } from './gpu.ts'
import type { GpuLayer, GpuLayerKind, GpuPlan } from './plan.ts'

/** Bytes of partial results at most, as long as one chunk for each row needs no more. */
const PARTIAL_BYTES = 2 ** 26

export interface AttentionOptions {
  isInt8: boolean
  maxRows: number
  /** Blocks that there can be, and that a conversation may have. */
  blocks: number
  tableBlocks: number
  /** Numbers of a row of the step's angles. */
  anglesStride: number
}

/** vec4 of what one chunk leaves of a row: attention-sweep.wgsl. */
const partialFours = (kind: GpuLayerKind): number => kind.maps * (1 + foursOf(kind.valueDim))

export class AttentionStep {
  readonly options: AttentionOptions
  /** Numbers of a row of each buffer. Layers that keep a state use those of queries and averages, too. */
  readonly strides: { low: number; query: number; plain: number; encoded: number; averages: number; entering: number }
  readonly low: GPUBuffer
  readonly query: GPUBuffer
  readonly plain: GPUBuffer
  readonly encoded: GPUBuffer
  readonly averages: GPUBuffer
  readonly entering: GPUBuffer
  readonly prepared: GPUBuffer
  readonly partials: GPUBuffer
  readonly tiles: GPUBuffer
  /** f32 (rows, anglesStride): cos and sin of the angles of the tokens that a row's conversation has dropped. */
  readonly dropped: GPUBuffer
  /** What large biases of keys are added by: of each rotation cos of each pair at the tokens of a page, then sin; then of each page. */
  readonly turns: GPUBuffer
  /** What stands where a shader reads something that a layer has not. */
  readonly nothing: GPUBuffer
  private readonly gpu: Gpu
  private readonly words: Uint32Array<ArrayBuffer>
  private readonly partialBytes: number
  private readonly plan: GpuPlan
  /** Is there a layer that keeps biases of keys apart? */
  private readonly hasBias: boolean
  private readonly hostDropped: Float32Array<ArrayBuffer>
  private readonly heads = new Map<GpuLayerKind, GPUBuffer>()
  private frequencies: readonly Float64Array[] = []

  constructor(gpu: Gpu, plan: GpuPlan, options: AttentionOptions) {
    this.gpu = gpu
    this.plan = plan
    this.options = options
    const { maxRows, isInt8, tableBlocks } = options
    const layers = plan.layersInOrder.filter(({ is }) => isAttention(is))
    const mostOf = (some: readonly GpuLayer[], of: (kind: GpuLayerKind, layer: GpuLayer) => number) =>
      some.reduce((largest, layer) => Math.max(largest, of(layer.is, layer)), 0)
    const most = (of: (kind: GpuLayerKind, layer: GpuLayer) => number) => mostOf(layers, of)
    this.strides = {
      low: padded(most(({ queryRank }) => queryRank)),
      query: padded(
        Math.max(
          most((kind) => (kind.queryRank ? kind.maps * queryDim(kind) : 0)),
          mostOf(plan.layersInOrder, convolvedWidth),
        ),
      ),
      plain: most(({ encoderDim, maps }) => maps * padded(encoderDim)),
      encoded: padded(most(({ encoderDim, maps, key0Dim }) => (encoderDim ? maps * key0Dim : 0))),
      averages: padded(
        Math.max(
          most((kind) => kind.maps * averageStride(kind)),
          mostOf(plan.layersInOrder, stateWidth),
        ),
      ),
      entering: padded(most(({ hasDecoder, hasGate, maps, outDim }) => (hasDecoder || hasGate ? maps * outDim : 0))),
    }
    const rowsOf = (name: keyof AttentionStep['strides']) =>
      gpu.buffer(`attention ${name}`, 4 * maxRows * this.strides[name])
    this.low = rowsOf('low')
    this.query = rowsOf('query')
    this.plain = rowsOf('plain')
    this.encoded = rowsOf('encoded')
    this.averages = rowsOf('averages')
    this.entering = rowsOf('entering')
    const fours = most((kind, layer) => kind.maps * queryFours(kind, isInt8, biasPairs(layer, kind, isInt8)))
    this.prepared = gpu.buffer('attention prepared', 16 * maxRows * fours)
    this.partialBytes = 16 * most(partialFours)
    const binding = gpu.device.limits.maxStorageBufferBindingSize
    const all = maxRows * (1 + chunkOf(tableBlocks - 1)) * this.partialBytes
    this.partials = gpu.buffer(
      'attention partials',
      Math.max(maxRows * this.partialBytes, Math.min(all, PARTIAL_BYTES, binding)),
    )
    this.words = new Uint32Array(tileWords(maxRows))
    this.tiles = gpu.buffer('attention tiles', this.words.byteLength)
    this.nothing = gpu.buffer('nothing', 16)
    this.hasBias = layers.some((layer) => biasPairs(layer, layer.is, isInt8).some((pairs) => pairs > 0))
    const { anglesStride } = options
    this.hostDropped = new Float32Array(this.hasBias ? maxRows * anglesStride : 0)
    this.dropped = gpu.buffer('attention dropped', this.hostDropped.byteLength)
    this.turns = gpu.buffer('attention turns', this.hasBias ? 4 * anglesStride * (PAGE_TOKENS + tableBlocks) : 0)
    for (const kind of new Set(layers.map(({ is }) => is))) this.heads.set(kind, this.headBuffer(kind))
  }

  private headBuffer({ heads }: GpuLayerKind): GPUBuffer {
    const words = Uint32Array.from(heads.flat())
    const buffer = this.gpu.buffer('attention heads', words.byteLength)
    this.gpu.device.queue.writeBuffer(buffer, 0, words)
    return buffer
  }

  /** u32: slot head of each map of key 0, then of key 1 and of the value. */
  headsOf(kind: GpuLayerKind): GPUBuffer {
    return this.heads.get(kind) as GPUBuffer
  }

  /** Where the turns of a layer's rotation begin: numbers. */
  turnsOf({ rotation }: GpuLayer) {
    const { anglesStride } = this.options
    const angles = (rotation?.angles ?? 0) / 4
    return {
      ...{ buffer: this.turns, tokens: PAGE_TOKENS * angles, pages: PAGE_TOKENS * anglesStride + angles },
      ...{ pageStride: anglesStride, pairs: (rotation?.dim ?? 0) / 2 },
    }
  }

  /** Of each rotation, when the weights are there. */
  setFrequencies(frequencies: readonly Float64Array[]): void {
    this.frequencies = frequencies
    if (!this.hasBias) return
    const { anglesStride, tableBlocks } = this.options
    const words = new Float32Array(anglesStride * (PAGE_TOKENS + tableBlocks))
    const pages = words.subarray(anglesStride * PAGE_TOKENS)
    for (const [r, { angles, dim }] of this.plan.rotations.entries()) {
      const own = frequencies[r] as Float64Array
      const one = new Float32Array(dim)
      for (let token = 0; token < PAGE_TOKENS; token++) {
        writeAngles(one, 0, token, own, 1)
        for (const [i, turn] of one.entries()) {
          const line = i < dim / 2 ? 2 * i : 2 * (i - dim / 2) + 1
          words[(angles / 4 + line) * PAGE_TOKENS + token] = turn
        }
      }
      for (let page = 0; page < tableBlocks; page++)
        writeAngles(pages, page * anglesStride + angles / 4, page * PAGE_TOKENS, own, 1)
    }
    this.gpu.device.queue.writeBuffer(this.turns, 0, words)
  }

  /** Before each step: tells the device how its rows are shared out. */
  begin(rows: readonly Row[]): TileSizes {
    const sizes = writeTiles(rows, Math.floor(this.partials.size / this.partialBytes), this.words)
    this.gpu.device.queue.writeBuffer(this.tiles, 0, this.words, 0, 2 * (1 + sizes.tiles))
    if (this.hasBias) this.sendDropped(rows)
    return sizes
  }

  private sendDropped(rows: readonly Row[]): void {
    const { anglesStride } = this.options
    for (const [i, { dropped = 0 }] of rows.entries())
      for (const [r, { angles }] of this.plan.rotations.entries())
        writeAngles(this.hostDropped, i * anglesStride + angles / 4, dropped, this.frequencies[r] as Float64Array, 1)
    this.gpu.device.queue.writeBuffer(this.dropped, 0, this.hostDropped, 0, rows.length * anglesStride)
  }
}
