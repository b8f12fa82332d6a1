/**
 * Products y = W x (+ bias) (+ y) on a GPU, from the packed weights as they lie: what assembly/linear.ts is for the other
 * engine. Vectors that meet quantised weights are quantised first, to the same integers as there.
 *
 * How a product is computed depends on how many vectors a step has, which is known when it is recorded: there is an operation
 * for each form, and all but one have no workgroups then. A matrix larger than one binding is cut into bands of rows.
 */
import { type Matrix, TYPE_F32, TYPE_Q8 } from '../../../assembly/abi.ts'
import type { Gpu } from './gpu.ts'
import type { GpuWeights, Operation, RowsAt, StepBuffers } from './operations.ts'
import type { GpuPlan } from './plan.ts'
import { type Band, bandsOf, bytesOf, formsOf, gridOf, lanesOf, shaderOf } from './products-forms.ts'
import { quantiseText } from './products-texts.ts'
import { stepText } from './texts.ts'

/** Quantised vectors on their way to a product; all products of a step share it. */
export interface ProductScratch {
  /** Integers, four in a word. */
  words: GPUBuffer
  /** (f32 scale, i32 sum) of each vector. */
  pairs: GPUBuffer
}

export interface Product {
  matrix: Matrix
  /** Its vectors; only `matrix.cols` numbers of each are read. */
  from: RowsAt
  /** Not in the buffer of `from`. */
  into: RowsAt
  /** Offset of f32 (rows) in the weights; 0: none. */
  bias?: number
  /** What is in `into` is added to. */
  adds?: boolean
  /** Rows of the step that take part: all, or as many as want logits. */
  count: 'rows' | 'logits'
  /** So many are there at most. */
  most: number
  /** Matrices one below the other, each for a vector of its own, `fromBlockStride` numbers after the one before. */
  blocks?: number
  fromBlockStride?: number
  scratch: ProductScratch
}

/** Room for the inputs of the widest product of a model. */
export function productScratch(gpu: Gpu, plan: GpuPlan, maxRows: number): ProductScratch {
  const { quantised, quantPairs } = plan.buffers
  return {
    words: gpu.buffer('quantised', maxRows * quantised),
    pairs: gpu.buffer('quantised pairs', maxRows * quantPairs),
  }
}

/** Operations of one product, in their order. Throws RangeError where rows are cut as no plan cuts them. */
export async function productOperations(
  gpu: Gpu,
  weights: GpuWeights,
  step: StepBuffers,
  product: Product,
): Promise<Operation[]> {
  const { matrix, from, count, most, fromBlockStride = 0, blocks = 1 } = product
  if ((from.offset | from.stride | fromBlockStride) & 3)
    throw new RangeError(
      `vectors of a product must begin at multiples of 4 numbers, found ${from.offset} + ${from.stride}, ${fromBlockStride}`,
    )
  const operations = matrix.type === TYPE_F32 ? [] : [await quantiseOperation(gpu, step, product)]
  for (const band of bandsOf(matrix, blocks, weights.mostBytes)) {
    const parameters = parametersOf(weights, product, band)
    const uniform = gpu.parameters('product', parameters.words)
    for (const form of formsOf(matrix, most)) {
      const pipeline = await gpu.pipeline(shaderOf(matrix.type, form.name, gpu.canDot), form.constants)
      const bindings = gpu.bind(form.name, pipeline, [step.sizes, uniform, ...parameters.bindings])
      const workgroups: Operation['workgroups'] = (sizes) => {
        const vectors = sizes[count]
        return vectors > form.above && vectors <= form.upTo ? form.workgroups(band, vectors) : [0, 0]
      }
      operations.push({ name: `product ${form.name}`, pipeline, bindings, workgroups })
    }
  }
  return operations
}

/** Words of a quantised vector: as many as a row of W has columns with its padding. */
function wordsOf({ type, stride, cols }: Matrix): number {
  return type === TYPE_Q8 ? stride / 4 : 8 * Math.ceil(cols / 32)
}

/** struct Product of products.wgsl, and what is bound behind it. */
function parametersOf(
  weights: GpuWeights,
  { matrix, from, into, bias = 0, adds = false, count, blocks = 1, fromBlockStride = 0, scratch }: Product,
  band: Band,
): { words: Uint32Array<ArrayBuffer>; bindings: (GPUBuffer | GPUBufferBinding)[] } {
  const isF32 = matrix.type === TYPE_F32
  const data = weights.bind(matrix.data + bytesOf(matrix, band.firstRow), bytesOf(matrix, band.rows * band.matrices))
  const biases = bias ? weights.bind(bias + 4 * band.firstRow, 4 * band.rows * band.matrices) : data
  const hasScales = matrix.type === TYPE_Q8
  const scales = hasScales ? weights.bind(matrix.scales + 4 * band.firstRow, 4 * band.rows * band.matrices) : data
  const vector = wordsOf(matrix) / 4
  const words = [
    ...[data.word / 4, matrix.stride / 16, matrix.cols, band.rows, band.matrices, band.firstRow],
    ...[blocks, band.firstMatrix],
    ...(isF32 ? [from.offset / 4, from.stride / 4, fromBlockStride / 4] : [0, blocks * vector, vector]),
    ...[into.offset, into.stride, biases.word, scales.word],
    ...[Number(bias !== 0), Number(adds), Number(count === 'logits'), lanesOf(matrix)],
  ]
  const inputs = isF32 ? [from.buffer] : [scratch.words, scratch.pairs]
  return {
    words: new Uint32Array(words),
    bindings: [data.resource, biases.resource, into.buffer, ...inputs, ...(hasScales ? [scales.resource] : [])],
  }
}

async function quantiseOperation(gpu: Gpu, step: StepBuffers, product: Product): Promise<Operation> {
  const { matrix, from, count, blocks = 1, fromBlockStride = 0, scratch } = product
  const words = wordsOf(matrix)
  // Wide vectors are few, in steps of one row; narrow ones many, and fewer invocations leave fewer idle.
  const size = words > 64 ? 256 : 64
  const pipeline = await gpu.pipeline({ name: 'quantise', text: stepText + quantiseText }, { SIZE: size })
  const { offset, stride } = from
  const fields = [offset, stride, fromBlockStride, blocks, matrix.cols, words, Number(count === 'logits')]
  const parameters = gpu.parameters('quantise', new Uint32Array(fields))
  const bindings = gpu.bind('quantise', pipeline, [step.sizes, parameters, from.buffer, scratch.words, scratch.pairs])
  return { name: 'quantise', pipeline, bindings, workgroups: (sizes) => gridOf(sizes[count] * blocks) }
}
