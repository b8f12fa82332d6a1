/** Blocks whose keys are rotated on by some positions, so that a conversation goes on without its first tokens: turn.wgsl. */
import { NO_PAGE, PAGE_TOKENS } from '../../../assembly/abi.ts'
import { writeAngles } from './angles.ts'
import { isSpread, slotsOf } from './attention-kind.ts'
import { cacheText, headText, rotateText } from './attention-texts.ts'
import { type GpuDevice, usage } from './gpu.ts'
import { roundingText } from './math.ts'
import type { DevicePages } from './pages.ts'
import type { GpuLayer, GpuPlan } from './plan.ts'
import { turnText } from './texts.ts'

/** One layer's part. */
interface LayerTurn {
  pageKind: number
  pipeline: GPUComputePipeline
  bindings: GPUBindGroup
  heads: number
}

interface MadeTurns {
  places: GPUBuffer[]
  angles: GPUBuffer
  layers: readonly LayerTurn[]
}

export class Turns {
  private readonly device: GPUDevice
  private readonly plan: GpuPlan
  private readonly pages: DevicePages
  /** Of each page kind, vec4u: the place that is turned. */
  private readonly places: GPUBuffer[]
  /** f32: of each rotation cos of each pair, then sin. */
  private readonly angles: GPUBuffer
  private readonly layers: readonly LayerTurn[]
  private frequencies: readonly Float64Array[] = []

  private constructor(gpu: GpuDevice, plan: GpuPlan, pages: DevicePages, made: MadeTurns) {
    this.device = gpu.device
    this.plan = plan
    this.pages = pages
    this.places = made.places
    this.angles = made.angles
    this.layers = made.layers
  }

  static async make(gpu: GpuDevice, plan: GpuPlan, pages: DevicePages): Promise<Turns> {
    const places = plan.pageKinds.map(() => gpu.make('turned place', 16, usage.UNIFORM | usage.COPY_DST))
    const angles = gpu.buffer('turned angles', plan.buffers.angles)
    const rotated = plan.layersInOrder.filter(
      ({ rotation, is }) => rotation && slotsOf(is).some(({ rope }) => rope > 0),
    )
    const layers = await Promise.all(
      rotated.map(async (layer) => {
        const pipeline = await gpu.pipeline(shader, constantsOf(layer, pages))
        const entries = [places[layer.pageKind] as GPUBuffer, angles, pages.ofLayer(layer.index)]
        const heads = slotsOf(layer.is).reduce((sum, slot) => sum + slot.heads, 0)
        return { pageKind: layer.pageKind, pipeline, bindings: gpu.bind('turn', pipeline, entries), heads }
      }),
    )
    return new Turns(gpu, plan, pages, { places, angles, layers })
  }

  setFrequencies(frequencies: readonly Float64Array[]): void {
    this.frequencies = frequencies
  }

  /** Records what makes the pages of block `to` those of block `from`, `delta` positions later. Pages that are not there are left out. */
  record(
    encoder: GPUCommandEncoder,
    placesOf: (block: number) => number[],
    from: number,
    to: number,
    delta: number,
  ): void {
    const [sources, targets] = [placesOf(from), placesOf(to)]
    const isThere = (kind: number) => sources[kind] !== NO_PAGE && targets[kind] !== NO_PAGE
    for (const kind of this.plan.pageKinds.keys()) {
      if (!isThere(kind)) continue
      this.pages.move(kind, targets[kind] as number, sources[kind])
      this.device.queue.writeBuffer(this.places[kind] as GPUBuffer, 0, Uint32Array.of(targets[kind] as number, 0, 0, 0))
    }
    this.pages.recordMoves(encoder)
    this.writeAngles(delta)
    const pass = encoder.beginComputePass()
    for (const { pageKind, pipeline, bindings, heads } of this.layers) {
      if (!isThere(pageKind)) continue
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, bindings)
      pass.dispatchWorkgroups(heads, PAGE_TOKENS)
    }
    pass.end()
  }

  private writeAngles(delta: number): void {
    const words = new Float32Array(this.plan.buffers.angles / 4)
    // The magnitude is in the keys already.
    for (const [i, { angles }] of this.plan.rotations.entries())
      writeAngles(words, angles / 4, delta, this.frequencies[i] as Float64Array, 1)
    this.device.queue.writeBuffer(this.angles, 0, words)
  }
}

const shader = { name: 'turn', text: [roundingText, headText, rotateText, cacheText, turnText].join('\n') }

function constantsOf({ is, rotation, pageKind }: GpuLayer, pages: DevicePages): Record<string, number> {
  const { isInt8 } = pages
  const [first, second] = slotsOf(is)
  return {
    HEAD: 4 * Math.ceil(Math.max(first.dim, second.dim) / 4),
    IS_INT8: Number(isInt8),
    LAYER_WORDS: pages.kind(pageKind).layerBytes / 4,
    ...{ HEADS0: first.heads, DIM0: first.dim, ROPE0: first.rope, SPREAD0: Number(isSpread(is, 0, isInt8)) },
    ...{ DIM1: second.dim, ROPE1: second.rope, SPREAD1: Number(isSpread(is, 1, isInt8)) },
    ROTATION: (rotation?.angles ?? 0) / 4,
  }
}
