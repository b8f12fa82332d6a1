/**
 * The packed tensors of a plan on the device, byte for byte as the file has them. A buffer is one tensor after the other, cut
 * between two of them, and no larger than one binding can be, unless a single tensor is.
 */
import type { Plan } from '../../../models/index.ts'
import type { Weights } from '../engine.ts'
import { gpuErrors } from './errors.ts'
import { type GpuDevice, usage } from './gpu.ts'
import type { GpuWeights } from './operations.ts'
import type { Part } from './readback.ts'

/** What comes at once from a file. */
const PIECE_BYTES = 2 ** 22
/** Bytes on their way to the device at most: the driver has a copy of them. */
const UNDER_WAY_BYTES = 2 ** 25

/** Offsets of the bytes in one buffer. */
interface Span {
  from: number
  to: number
}

/** Where the tensors are cut: spans of at most `most` bytes each, but for tensors that are larger. */
export function cutTensors(tensors: readonly { offset: number; bytes: number }[], most: number): Span[] {
  const spans: Span[] = []
  for (const { offset, bytes } of tensors) {
    const last = spans.at(-1)
    if (last && offset + bytes - last.from <= most) last.to = offset + bytes
    else spans.push({ from: offset, to: offset + bytes })
  }
  return spans
}

export class DeviceWeights implements GpuWeights {
  readonly mostBytes: number
  private readonly gpu: GpuDevice
  private readonly plan: Plan
  private readonly alignment: number
  private readonly parts: (Span & { buffer: GPUBuffer })[]
  private readonly kept: { offset: number; bytes: Uint8Array }[] = []
  private underWay = 0

  /** Throws TOO_LARGE if a tensor is larger than a buffer can be. */
  constructor(gpu: GpuDevice, plan: Plan) {
    const { maxBufferSize, maxStorageBufferBindingSize, minStorageBufferOffsetAlignment } = gpu.device.limits
    this.gpu = gpu
    this.plan = plan
    this.alignment = minStorageBufferOffsetAlignment
    this.mostBytes = Math.floor(maxStorageBufferBindingSize / 4) * 4 - this.alignment
    for (const { name, bytes } of plan.tensors)
      if (bytes > maxBufferSize) throw gpuErrors.limit(`tensor ${name}`, bytes, 'maxBufferSize', maxBufferSize)
    const spans = cutTensors(plan.tensors, Math.min(maxBufferSize, maxStorageBufferBindingSize))
    const flags = usage.STORAGE | usage.COPY_SRC | usage.COPY_DST
    this.parts = spans.map(({ from, to }, i) => ({ from, to, buffer: gpu.make(`weights ${i}`, to - from, flags) }))
  }

  bind(offset: number, bytes: number): { resource: GPUBufferBinding; word: number } {
    const part = this.partOf(offset)
    const at = offset - part.from
    const start = Math.floor(at / this.alignment) * this.alignment
    if (at % 4 || bytes > this.mostBytes || offset + bytes > part.to)
      throw new RangeError(
        `weights must be bound within one tensor, at most ${this.mostBytes} bytes, found ${bytes} at ${offset}`,
      )
    const size = Math.ceil((at - start + bytes) / 4) * 4
    return { resource: { buffer: part.buffer, offset: start, size }, word: (at - start) / 4 }
  }

  /** A part of a tensor, to be read back. */
  partAt(offset: number, bytes: number): Part {
    const { buffer, from } = this.partOf(offset)
    return { buffer, offset: offset - from, bytes }
  }

  /** A copy of some of what will be loaded, for the host. */
  keep(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length)
    this.kept.push({ offset, bytes })
    return bytes
  }

  /** What the model is loaded through. */
  loader(): Weights {
    const { bytes } = this.plan
    const check = (offset: number, length: number) => {
      // Tensors are padded to 64 bytes, and rows to 16.
      if (offset < 0 || length < 0 || offset + length > bytes || (offset | length) & 3)
        throw new RangeError(
          `a piece of weights must be whole words within ${bytes} bytes, found ${length} at ${offset}`,
        )
    }
    const write = async (offset: number, piece: Uint8Array) => {
      check(offset, piece.length)
      await this.write(offset, piece)
    }
    const fill: Weights['fill'] = async (offset, length, read) => {
      check(offset, length)
      const piece = new Uint8Array(length)
      await read(piece)
      await this.write(offset, piece)
    }
    return { bytes, pieceBytes: PIECE_BYTES, fill, write }
  }

  private async write(offset: number, piece: Uint8Array): Promise<void> {
    const { queue } = this.gpu.device
    for (const { offset: start, bytes } of this.kept) {
      const from = Math.max(start, offset)
      const to = Math.min(start + bytes.length, offset + piece.length)
      if (from < to) bytes.set(piece.subarray(from - offset, to - offset), from - start)
    }
    for (let at = 0; at < piece.length; ) {
      const part = this.partOf(offset + at)
      const length = Math.min(piece.length - at, part.to - offset - at)
      queue.writeBuffer(part.buffer, offset + at - part.from, piece as Uint8Array<ArrayBuffer>, at, length)
      at += length
    }
    this.underWay += piece.length
    if (this.underWay < UNDER_WAY_BYTES) return
    this.underWay = 0
    queue.submit([])
    await queue.onSubmittedWorkDone()
  }

  private partOf(offset: number): Span & { buffer: GPUBuffer } {
    const part = this.parts.find(({ from, to }) => offset >= from && offset < to)
    if (!part) throw new RangeError(`no weights at ${offset}`)
    return part
  }
}
