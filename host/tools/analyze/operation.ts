/** One operation of a pass: what it reads, computes and writes. Sizes are per token, bytes are those of the plan. */
import {
  isKeptType,
  type LayerSpec,
  matrixBytes,
  type PackedTensor,
  type Plan,
  type WeightType,
} from '../../../models/index.ts'

/** Parts of a step as the engine's account has them, but for the time at barriers. */
export const operationParts = ['linear', 'attention', 'valueDecoder', 'rest'] as const
export type OperationPart = (typeof operationParts)[number]

export interface Operation {
  name: string
  part: OperationPart
  /** How often a pass does it: once in each layer that is alike, or once. */
  count: number
  /** For every token, or only for those that want logits. */
  rows: 'tokens' | 'logits'
  /** Operations whose results it takes; 'input' is what the layer before left. */
  inputs: string[]
  work: MatrixWork | SweepWork | StateWork | ElementwiseWork
}

/** y = W x: `blocks` matrices one below the other, each (outDim / blocks × inDim) and applied to a vector of its own. */
export interface MatrixWork {
  is: 'matrix'
  inDim: number
  outDim: number
  blocks: number
  hasBias: boolean
  /** Of the matrix in the plan: some stay q8 where the others are q4. */
  type: WeightType
  /** Bytes in the plan, with scales, padding of rows, and bias. */
  bytes: number
  /** Where the result goes: 'cache' is a slot of the cache row, with `heads` vectors. */
  result: 'activations' | { slot: string; heads: number }
}

/** What reads the cache: scores of each map with all keys, softmax, average of all values. One of its parts, or all. */
export interface SweepWork {
  is: 'scores' | 'softmax' | 'average' | 'fused'
  maps: number
  /** Width of a map's query and key, and of its average. */
  keyDim: number
  valueDim: number
  /** Numbers of a token's row that the keys view, that the values view, and that there are. */
  keyElements: number
  valueElements: number
  rowElements: number
  /** Vectors in a row: an int8 cache has a scale for each. */
  rowHeads: number
  /** The layer that it is in: its window limits what is seen. */
  layer: LayerSpec
  /** Operations per score beside the products: the softmax, and a cap. */
  operationsPerScore: number
}

/** What takes the state of a layer one token on: it is read and written whole, and nothing else is looked back to. */
export interface StateWork {
  is: 'state'
  /** Multiply-adds per token, and operations besides. */
  macs: number
  operations: number
  /** Numbers of the state. */
  numbers: number
  /** Numbers read and written per token, not counting weights and the state. */
  reads: number
  writes: number
  weights: number
  bytes: number
}

/** Numbers in, numbers out. */
export interface ElementwiseWork {
  is: 'elementwise'
  /** Numbers read and written per token, not counting weights. */
  reads: number
  writes: number
  /** Additions, multiplications and the like per token; an exponential counts as one. */
  operations: number
  /** Weights: numbers, and bytes in the plan. */
  weights: number
  bytes: number
  /** The row of a table is looked up: `bytes` per token, not per pass. */
  isLookup?: boolean
}

export function elementwise(reads: number, writes: number, operations: number): ElementwiseWork {
  return { is: 'elementwise', reads, writes, operations, weights: 0, bytes: 0 }
}

/** Square, sum, mean, root, divide, multiply: seven operations a number, as LLM-Viewer counts them; a mean and a bias more. */
export function norm(width: number, kind: 'rms' | 'layer'): ElementwiseWork {
  const [each, vectors] = kind === 'rms' ? [7, 1] : [9, 2]
  const weights = vectors * width
  return { ...elementwise(width, width, each * width), weights, bytes: 4 * weights }
}

/** Sizes of a plan's tensors by their names. */
export class PackedSizes {
  private readonly tensors: Map<string, PackedTensor>

  constructor(plan: Plan) {
    this.tensors = new Map(plan.tensors.map((tensor) => [tensor.name, tensor]))
  }

  has(name: string): boolean {
    return this.tensors.has(name)
  }

  /** Bytes of rows from … to of a matrix. */
  matrixBytes(name: string, from: number, to: number): number {
    const tensor = this.tensors.get(name)
    return tensor?.content.is === 'matrix' ? matrixBytes(tensor, to) - matrixBytes(tensor, from) : 0
  }

  matrixType(name: string): WeightType {
    const content = this.tensors.get(name)?.content
    if (content?.is !== 'matrix' || isKeptType(content.type))
      throw new RangeError(`the plan has no matrix ${name} of a type that is counted`)
    return content.type
  }
}
