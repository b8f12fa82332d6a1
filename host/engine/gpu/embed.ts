/** Embeddings of the tokens of a step, and learned positions: embed.wgsl. */
import * as abi from '../../../assembly/abi.ts'
import type { Gpu } from './gpu.ts'
import type { GpuWeights, Operation, RowsAt, StepBuffers } from './operations.ts'
import type { GpuPlan } from './plan.ts'
import { bandsOf, bytesOf } from './products-forms.ts'
import { blocksText, embedText, preciseText, stepText } from './texts.ts'

interface Input {
  gpu: Gpu
  weights: GpuWeights
  step: StepBuffers
  plan: GpuPlan
}

export async function embedOperations(input: Input, into: RowsAt): Promise<Operation[]> {
  const { plan } = input
  const embedded = await gather(input, plan.embed, into, false)
  if (plan.positions.type === 0) return embedded
  return [...embedded, ...(await gather(input, plan.positions, into, true))]
}

async function gather(
  { gpu, weights, step, plan }: Input,
  matrix: abi.Matrix,
  into: RowsAt,
  isPositions: boolean,
): Promise<Operation[]> {
  const { type, cols, stride, data, scales, rows } = matrix
  const name = isPositions ? 'positions' : 'embed'
  const constants = {
    TYPE: type,
    COLS: cols,
    ROW_WORDS: stride / 4,
    STRIDE: into.stride,
    IS_POSITIONS: Number(isPositions),
  }
  const pipeline = await gpu.pipeline(
    { name: 'embed', text: stepText + preciseText + blocksText + embedText },
    constants,
  )
  return bandsOf(matrix, 1, weights.mostBytes).map(({ firstRow: first, rows: count }) => {
    const bound = weights.bind(data + bytesOf(matrix, first), bytesOf(matrix, count))
    const scale = type === abi.TYPE_Q8 ? weights.bind(scales + 4 * first, 4 * count) : bound
    const words = Uint32Array.of(bound.word, scale.word, first, count, rows - 1, 0, 0, 0)
    new Float32Array(words.buffer)[5] = isPositions ? 1 : plan.embeddingScale
    const entries = [gpu.parameters(name, words), step.rows, bound.resource, scale.resource, into.buffer]
    const bindings = gpu.bind(name, pipeline, entries)
    return { name, pipeline, bindings, workgroups: (sizes) => [Math.ceil(into.stride / 64), sizes.rows] }
  })
}
