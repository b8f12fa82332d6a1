/**
 * Pages of the cache on the device. Each layer has a buffer with its part of every page of its kind, one place after the
 * other, laid out as assembly/cache.ts has it; a page as the host knows it is these parts in the order of the layers. So what
 * one binding can be limits a layer, not the whole cache, and pages are the same bytes in every engine.
 */
import { layerPageBytes, pageKinds } from '../../../models/cache.ts'
import type { CacheType, ModelSpec } from '../../../models/index.ts'
import type { EngineOptions, StoredKind } from '../engine.ts'
import { countPages } from '../wasm/memory.ts'
import { gpuErrors } from './errors.ts'
import type { GpuDevice } from './gpu.ts'
import type { GpuPlan } from './plan.ts'
import type { Part } from './readback.ts'

/** Layers whose pages are laid out alike, in their order. */
interface DeviceKind extends StoredKind {
  layers: GPUBuffer[]
  layerBytes: number
}

export class DevicePages {
  readonly blocks: number
  readonly kinds: readonly DeviceKind[]
  readonly isInt8: boolean
  private readonly byLayer: GPUBuffer[]
  /** A layer's part of a page on its way: one buffer cannot be copied to itself. */
  private readonly moved: GPUBuffer
  private moves: { kind: number; to: number; from: number | undefined }[] = []

  /** Throws TOO_LARGE if a layer's pages exceed what can be bound. */
  constructor(gpu: GpuDevice, spec: ModelSpec, plan: GpuPlan, options: EngineOptions) {
    const { blocks, kinds } = countPages(spec, options)
    const most = gpu.device.limits.maxStorageBufferBindingSize
    this.blocks = blocks
    this.isInt8 = options.cache === 'int8'
    const described = pageKinds(spec).kinds
    this.kinds = kinds.map((kind, index) => {
      const layerBytes = layerBytesOf(described[index]?.layer, options.cache)
      const bytes = kind.pages * layerBytes
      if (bytes > most) throw gpuErrors.limit('the cache of a layer', bytes, 'maxStorageBufferBindingSize', most)
      const own = plan.layersInOrder.filter(({ pageKind }) => pageKind === index)
      const layers = own.map((layer) => gpu.buffer(`cache of layer ${layer.index}`, bytes))
      return { ...kind, layers, layerBytes, pageBytes: layerBytes * layers.length }
    })
    this.byLayer = plan.layersInOrder.map(
      ({ pageKind, pageLayer }) => this.kinds[pageKind]?.layers[pageLayer] as GPUBuffer,
    )
    this.moved = gpu.buffer('moved page', Math.max(...this.kinds.map(({ layerBytes }) => layerBytes)))
  }

  get pageBytes(): number {
    return this.kinds.reduce((sum, { pageBytes }) => sum + pageBytes, 0)
  }

  /** What the operations of a layer read and write. */
  ofLayer(index: number): GPUBuffer {
    return this.byLayer[index] as GPUBuffer
  }

  kind(index = 0): DeviceKind {
    const kind = this.kinds[index]
    if (!kind) throw new RangeError(`no page kind ${index}`)
    return kind
  }

  /** Notes that a place is to be a copy of another one, or zeros: before the next submission. */
  move(kind: number, to: number, from?: number): void {
    this.moves.push({ kind, to, from })
  }

  get hasMoves(): boolean {
    return this.moves.length > 0
  }

  /** Records what was noted. */
  recordMoves(encoder: GPUCommandEncoder): void {
    for (const { kind, to, from } of this.moves) {
      const { layers, layerBytes } = this.kind(kind)
      for (const layer of layers) {
        if (from === undefined) encoder.clearBuffer(layer, to * layerBytes, layerBytes)
        else {
          encoder.copyBufferToBuffer(layer, from * layerBytes, this.moved, 0, layerBytes)
          encoder.copyBufferToBuffer(this.moved, 0, layer, to * layerBytes, layerBytes)
        }
      }
    }
    this.moves = []
  }

  /** The page at a place, layer by layer. */
  partsOf(kind: number, place: number): Part[] {
    const { layers, layerBytes } = this.kind(kind)
    return layers.map((buffer) => ({ buffer, offset: place * layerBytes, bytes: layerBytes }))
  }

  /** Writes bytes from `start` of a page on; behind moves that were submitted. */
  write(queue: GPUQueue, kind: number, place: number, bytes: Uint8Array, start: number): void {
    const { layers, layerBytes } = this.kind(kind)
    for (let at = 0; at < bytes.length; ) {
      const within = (start + at) % layerBytes
      const layer = layers[Math.floor((start + at) / layerBytes)]
      if (!layer) throw new RangeError(`a page has ${layers.length * layerBytes} bytes, found more`)
      const length = Math.min(bytes.length - at, layerBytes - within)
      queue.writeBuffer(layer, place * layerBytes + within, bytes as Uint8Array<ArrayBuffer>, at, length)
      at += length
    }
  }
}

function layerBytesOf(layer: ModelSpec['layers'][number] | undefined, type: CacheType): number {
  if (!layer) throw new RangeError('a page kind must have a layer')
  return layerPageBytes(layer, type)
}
