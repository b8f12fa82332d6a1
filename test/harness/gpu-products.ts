/**
 * A product on a GPU against that of the other engine: quantised inputs and sums of integers to the last bit, what is f32
 * within its rounding. What is not to be read is NaN before, and what is not to be written stays so.
 */
import * as assert from 'uvu/assert'
import { GpuDevice, usage } from '../../host/engine/gpu/gpu.ts'
import type { GpuWeights, Operation, StepBuffers } from '../../host/engine/gpu/operations.ts'
import { type ProductScratch, productOperations } from '../../host/engine/gpu/products.ts'
import { Readback } from '../../host/engine/gpu/readback.ts'
import { DeviceWeights } from '../../host/engine/gpu/weights.ts'
import type { Plan } from '../../models/index.ts'
import { Random } from './debug-engine.ts'
import type { TestAdapter } from './gpu.ts'
import { type Matrix, product, quantised, type Type, types, vector } from './products.ts'

/** Bits that no computation leaves: a NaN. */
const POISON = 0x7fc12345
/** Rows of a step at most. */
const MOST_ROWS = 70
const codes = { f32: 1, q8: 2, q4: 3, q4m: 4, q4k: 5, q8m: 6, q8k: 7 }

interface Device {
  gpu: GpuDevice
  step: StepBuffers
  scratch: ProductScratch
}

const devices = new Map<string, Promise<Device>>()

export function deviceOf({ name, gpu, request }: TestAdapter, canDot: boolean): Promise<Device> {
  const key = `${name} ${canDot}`
  const made = devices.get(key) ?? open()
  devices.set(key, made)
  return made

  async function open(): Promise<Device> {
    const language = canDot ? (await gpu()).wgslLanguageFeatures : new Set<string>()
    const device = await GpuDevice.open(await request(), language)
    assert.is(device.canDot, canDot)
    const sizes = device.make('sizes', 16, usage.UNIFORM | usage.COPY_DST)
    const scratch = { words: device.buffer('words', 2 ** 19), pairs: device.buffer('pairs', 2 ** 14) }
    return { gpu: device, step: { sizes } as StepBuffers, scratch }
  }
}

function poisoned(length: number): Uint32Array<ArrayBuffer> {
  return new Uint32Array(length).fill(POISON)
}

function upload(gpu: GpuDevice, words: Uint32Array<ArrayBuffer>): GPUBuffer {
  const buffer = gpu.buffer('test', words.byteLength)
  gpu.device.queue.writeBuffer(buffer, 0, words)
  return buffer
}

/** Runs operations as a step does, and reads buffers. */
function run(device: Device, operations: Operation[], rows: number, results: GPUBuffer[]): Promise<ArrayBuffer[]> {
  const { gpu, step } = device
  // No row wants logits: nobody may count the wrong ones.
  gpu.device.queue.writeBuffer(step.sizes, 0, new Uint32Array([rows, 0, 0, 0]))
  return new Readback(gpu).submit(
    results.map((buffer) => ({ buffer, offset: 0, bytes: buffer.size })),
    (encoder) => {
      const pass = encoder.beginComputePass()
      for (const { pipeline, bindings, workgroups } of operations) {
        const [x, y] = workgroups({ rows, logits: 0, pages: 0, tiles: 0, tileRows: 0, chunks: 0 })
        if (x * y === 0) continue
        pass.setPipeline(pipeline)
        pass.setBindGroup(0, bindings)
        // In two dimensions, and too many, as where there are more than one dimension takes.
        if (x > 1) pass.dispatchWorkgroups(Math.ceil((x * y) / 2) + 1, 2)
        else pass.dispatchWorkgroups(x, y)
      }
      pass.end()
    },
  )
}

/** A matrix, its scales and a bias as packed tensors: offsets as a plan has them. */
async function weightsOf(gpu: GpuDevice, m: Matrix, bias: Float32Array | undefined, mostBytes: number) {
  const tensors: { name: string; offset: number; bytes: number }[] = []
  let end = 64
  const place = (name: string, bytes: number) => {
    const offset = end
    if (bytes === 0) return 0
    end += Math.ceil(bytes / 64) * 64
    tensors.push({ name, offset, bytes: end - offset })
    return offset
  }
  const data = place('data', m.bytes.length)
  const scales = place('scales', m.scales.byteLength)
  const biasAt = place('bias', bias?.byteLength ?? 0)
  const weights = new DeviceWeights(gpu, { tensors, bytes: end } as unknown as Plan)
  const loader = weights.loader()
  const bytesOf = (floats: Float32Array) => new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength)
  await loader.write(data, m.bytes)
  if (scales) await loader.write(scales, bytesOf(m.scales))
  if (bias) await loader.write(biasAt, bytesOf(bias))
  const bound: GpuWeights = { bind: (...span) => weights.bind(...span), mostBytes }
  return { weights: bound, bias: biasAt, data, scales }
}

/** Integers, zeros behind them up to whole groups of numbers, scales and sums. */
function checkQuantised(
  xs: Float32Array[],
  words: ArrayBuffer,
  pairs: ArrayBuffer,
  group: number,
  label: string,
): void {
  for (const [at, x] of xs.entries()) {
    const { integers, scale } = quantised(x)
    const padded = Math.ceil(x.length / group) * group
    const found = Array.from(new Int8Array(words, at * padded, padded))
    assert.equal(
      found,
      [...integers.map((i) => i + 0), ...new Array(padded - x.length).fill(0)],
      `${label}, vector ${at}`,
    )
    // The scale of a vector without integers meets nothing but zeros.
    if (integers.some((i) => i !== 0)) assert.is(new Float32Array(pairs, 8 * at, 1)[0], scale, `${label}, scale ${at}`)
    const sum = integers.reduce((total, i) => total + i, 0)
    assert.is(new Int32Array(pairs, 8 * at + 4, 1)[0], sum + 0, `${label}, sum ${at}`)
  }
}

export interface ProductCase {
  seed: number
  type: Type
  rows: number
  cols: number
  count: number
  blocks?: number
  hasBias?: boolean
  adds?: boolean
  /** Rows of a step that forms are made for. */
  most?: number
  /** Bytes of a binding. */
  mostBytes?: number
}

export async function checkProduct(device: Device, options: ProductCase): Promise<void> {
  const { seed, type, rows, cols, count, blocks = 1, hasBias = false, adds = false, mostBytes = 2 ** 24 } = options
  const { gpu, step, scratch } = device
  const random = new Random(seed)
  const m = types[type](random, rows, cols)
  const some = () => Float32Array.from({ length: rows }, () => random.signed())
  const bias = hasBias ? some() : undefined
  const before = adds ? some() : undefined
  // The last one is halves, which a factor of 1 leaves as they are: ties.
  const xs = Array.from({ length: count * blocks }, (_, at) =>
    at + 1 < count * blocks
      ? vector(random, cols)
      : Float32Array.from({ length: cols }, (_, c) => (c ? c % 99 : 126.5) + 0.5),
  )
  const padded = Math.ceil(cols / 4) * 4
  // Rows begin behind others, with room between them, and after the last one.
  const [xOffset, xStride] = [8, blocks * padded + 4]
  const x = poisoned(xOffset + MOST_ROWS * xStride)
  const xFloats = new Float32Array(x.buffer)
  for (const [at, one] of xs.entries())
    xFloats.set(one, xOffset + Math.floor(at / blocks) * xStride + (at % blocks) * padded)
  const [yOffset, yStride] = [4, Math.ceil((rows + 1) / 4) * 4]
  const y = poisoned(yOffset + (count + 1) * yStride)
  if (before) for (let i = 0; i < count; i++) new Float32Array(y.buffer).set(before, yOffset + i * yStride)
  for (const buffer of [scratch.words, scratch.pairs])
    gpu.device.queue.writeBuffer(buffer, 0, poisoned(buffer.size / 4))
  const into = { buffer: upload(gpu, y), offset: yOffset, stride: yStride }
  const from = { buffer: upload(gpu, x), offset: xOffset, stride: xStride }
  const packed = await weightsOf(gpu, m, bias, mostBytes)
  const operations = await gpu.scoped(() =>
    productOperations(gpu, packed.weights, step, {
      matrix: { type: codes[type], rows, cols, stride: m.stride, data: packed.data, scales: packed.scales },
      ...{ from, into, bias: packed.bias, adds, count: 'rows', most: options.most ?? MOST_ROWS, scratch },
      ...(blocks > 1 ? { blocks, fromBlockStride: padded } : {}),
    }),
  )
  const [result, packedWords, pairs] = await run(device, operations, count, [into.buffer, scratch.words, scratch.pairs])
  const found = new Float32Array(result as ArrayBuffer)
  const label = JSON.stringify({ ...options, canDot: gpu.canDot })
  const words = new Uint32Array(found.buffer)
  const isResult = (at: number) => at >= yOffset && at < yOffset + count * yStride && (at - yOffset) % yStride < rows
  for (const [at, word] of words.entries()) if (!isResult(at)) assert.is(word, at < y.length ? POISON : 0, label)
  if (type !== 'f32')
    checkQuantised(xs, packedWords as ArrayBuffer, pairs as ArrayBuffer, type === 'q8' ? 64 : 32, label)
  for (const [at, one] of xs.entries()) {
    const q = quantised(one)
    const [i, j] = [Math.floor(at / blocks), at % blocks]
    for (let r = (j * rows) / blocks; r < ((j + 1) * rows) / blocks; r++) {
      const value = found[yOffset + i * yStride + r] as number
      const { exact, same, bound } = product(m, r, one, q)
      const [more, old] = [bias?.[r] ?? 0, before?.[r] ?? 0]
      const expected = exact + more + old
      // Numbers below 2^−126 may be zeros on a GPU, and so may products of them with integers of up to 2^22.
      const size = Math.abs(exact) + Math.abs(more) + Math.abs(old)
      const tolerance = bound + 2 ** -22 * (bias || before ? size : 0) + 2 ** -104
      const isRight = Math.abs(value - expected) <= tolerance || (same !== undefined && Object.is(value, same))
      assert.ok(isRight, `${label}, row ${i} ${r}: ${value} for ${expected} ± ${tolerance}`)
      if (type === 'q8' && same !== undefined && !bias && !before && Math.abs(exact) > 2 ** -100)
        assert.is(value, same, `${label}, row ${i} ${r}`)
    }
  }
}
