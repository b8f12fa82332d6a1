/** Submissions, and what is read back behind each of them: once, through a buffer that grows as it must. */

import type { GpuDevice } from './gpu.ts'
import { MAP_READ, usage } from './gpu.ts'

/** A part of a buffer; offset and bytes are multiples of 4. */
export interface Part {
  buffer: GPUBuffer
  offset: number
  bytes: number
}

export class Readback {
  private readonly gpu: GpuDevice
  private staging: GPUBuffer | undefined

  constructor(gpu: GpuDevice) {
    this.gpu = gpu
  }

  /** Submits what `record` records, and resolves to copies of the parts as it leaves them. Throws what ended the engine. */
  async submit(
    parts: readonly Part[],
    record: (encoder: GPUCommandEncoder) => void = () => undefined,
  ): Promise<ArrayBuffer[]> {
    const { device } = this.gpu
    const size = parts.reduce((sum, { bytes }) => sum + bytes, 0)
    const staging = size > 0 ? this.stagingOf(size) : undefined
    const encoder = device.createCommandEncoder()
    record(encoder)
    let at = 0
    for (const { buffer, offset, bytes } of staging ? parts : []) {
      encoder.copyBufferToBuffer(buffer, offset, staging as GPUBuffer, at, bytes)
      at += bytes
    }
    device.queue.submit([encoder.finish()])
    if (!staging) {
      await this.gpu.until(device.queue.onSubmittedWorkDone())
      return []
    }
    // A device that is lost when the map is there already takes it away: what then throws is a loss too.
    return await this.gpu.until(staging.mapAsync(MAP_READ, 0, size).then(() => copyParts(staging, parts)))
  }

  private stagingOf(size: number): GPUBuffer {
    if (this.staging && this.staging.size >= size) return this.staging
    if (this.staging) this.gpu.free(this.staging)
    this.staging = this.gpu.make(
      'read back',
      Math.max(4096, 2 ** Math.ceil(Math.log2(size))),
      usage.MAP_READ | usage.COPY_DST,
    )
    return this.staging
  }
}

/** What is mapped, part by part; unmaps it. */
function copyParts(staging: GPUBuffer, parts: readonly Part[]): ArrayBuffer[] {
  const mapped = staging.getMappedRange(
    0,
    parts.reduce((sum, { bytes }) => sum + bytes, 0),
  )
  let at = 0
  const read = parts.map(({ bytes }) => {
    at += bytes
    return mapped.slice(at - bytes, at)
  })
  staging.unmap()
  return read
}
