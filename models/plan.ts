/**
 * The plan: a model as the engine executes it. Flat 32-bit words say what each layer is, where each weight lies and how wide
 * it is; `planModel()` also lists the packed tensors, which are the same thing seen from the file. The words are the records
 * of assembly/abi.ts, which has the picture; a change of one is a new PLAN_VERSION.
 *
 * In a q4 file some matrices stay q8: embedding, output head and the matrices per map, and all of the mixer in a model as
 * small as SMALL_HIDDEN. Where types are kept, the caller says which matrix has which; no config does.
 */
import * as abi from '../assembly/abi.ts'
import type { Rope } from './attention.ts'
import { type LayerTensor, layerTensors, type TensorName } from './layer.ts'
import {
  ALIGN,
  type KeptType,
  Layout,
  type MatrixType,
  type PackedTensor,
  type PackingType,
  roundUp,
} from './packed.ts'
import { buildWords, countWords, type PlacedLayer, rotationsOf } from './plan-words.ts'
import { invFreq } from './rope.ts'
import { layerOf, type ModelDescription, type ModelSpec, type Source } from './spec.ts'

/** Version of plan words, number formats and packed file together. A file of another version is refused. */
export const PLAN_VERSION: number = abi.PLAN_VERSION

/** Types of matrices by their names in the packed file, where a model is packed as `keep`. */
export type KeptTypes = ReadonlyMap<string, KeptType>

export interface Plan {
  type: PackingType
  /** Of `keep`; a matrix that is not there is q8. */
  kept: KeptTypes
  words: Uint32Array
  tensors: PackedTensor[]
  /** Size of all packed tensors. */
  bytes: number
}

/**
 * Widest model whose attention stays q8 when the rest is q4: a weight of `in` or `out` costs small models two to four
 * times what one of the feed-forward costs, and there is little to save (decision 013).
 */
const SMALL_HIDDEN = 512

/** Lays out a model's weights in the order in which one step reads them. */
export function planModel(model: ModelDescription, type: PackingType, kept: KeptTypes = new Map()): Plan {
  const { spec, sources } = model
  const { vocabSize, hiddenDim, embedding, head } = spec
  const file = new Layout()
  const wordCount = roundUp(countWords(spec), ALIGN / 4)
  file.add('plan', 'U32', [wordCount], { is: 'plan' })
  const rotations = rotationsOf(spec).map((rope, index) => placeRotation(file, rope, index))
  const typeOf = typesOf(spec, type, kept)
  const outer = (name: string, rows: number, list: Source[]) => file.matrix(name, typeOf(name), rows, hiddenDim, list)
  const embed = outer('embed', vocabSize, sources.embed)
  const positions =
    embedding.positions === undefined
      ? undefined
      : outer('positions', embedding.positions, needed(sources.positions, 'positions'))
  const layers = spec.order.map((_, index) => placeLayer(file, model, typeOf, index))
  const isLayerNorm = head.norm.kind === 'layer'
  const placed = {
    rotations,
    embed,
    positions,
    layers,
    norm: file.vector('norm', hiddenDim, sources.norm),
    normBias: isLayerNorm ? file.vector('norm_bias', hiddenDim, needed(sources.normBias, 'normBias')) : 0,
    head: head.isTied ? embed : outer('head', vocabSize, sources.head),
    headBias: head.bias ? file.vector('head_bias', vocabSize, needed(sources.headBias, 'headBias')) : 0,
  }
  const words = new Uint32Array(wordCount)
  words.set(buildWords(spec, placed, type === 'f32'))
  return { type, kept, words, tensors: file.tensors, bytes: file.bytes }
}

function placeRotation(file: Layout, rope: Rope, index: number): number {
  const numbers = roundUp(rope.dim / 2, ALIGN / 8)
  return file.add(`rotations.${index}.inv_freq`, 'F64', [numbers], { is: 'invFreq', rope }).offset
}

/** Adds the tensors of one layer, in the order of use. The table says which there are; a family must give just those. */
function placeLayer(file: Layout, { spec, sources }: ModelDescription, typeOf: TypeOf, index: number): PlacedLayer {
  const given = new Map(Object.entries(sources.layer(index)).filter(([, list]) => list.length > 0))
  const vectors: PlacedLayer['vectors'] = {}
  const matrices: PlacedLayer['matrices'] = {}
  for (const tensor of layerTensors(layerOf(spec, index), spec.hiddenDim)) {
    const name = `layers.${index}.${snakeCase(tensor.name)}`
    const list = needed(given.get(tensor.name), name)
    given.delete(tensor.name)
    if (tensor.is === 'vector') vectors[tensor.name] = file.vector(name, tensor.rows, list)
    else matrices[tensor.name] = file.matrix(name, typeOf(name, tensor), tensor.rows, tensor.cols, list)
  }
  for (const name of given.keys()) throw new RangeError(`layer ${index} has no tensor "${name}", but a source of it`)
  return { vectors, matrices }
}

/** The type of a matrix of a layer, or of one that every token passes or has its row from. */
type TypeOf = (name: string, tensor?: Extract<LayerTensor, { is: 'matrix' }>) => MatrixType

function typesOf({ hiddenDim }: ModelSpec, type: PackingType, kept: KeptTypes): TypeOf {
  return (name, tensor) => {
    if (type === 'f32' || type === 'q8') return type
    // A matrix per map is small, and its error goes into every head.
    if (tensor && tensor.blocks > 1) return 'q8'
    if (type === 'keep') return kept.get(name) ?? 'q8'
    return !tensor || (tensor.of === 'mixer' && hiddenDim <= SMALL_HIDDEN) ? 'q8' : 'q4'
  }
}

function needed(sources: Source[] | undefined, name: string): Source[] {
  if (!sources || sources.length === 0) throw new RangeError(`no source of ${name}, which the spec asks for`)
  return sources
}

/** 'mixerInNorm' → 'mixer_in_norm'. */
export function snakeCase(name: TensorName): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** The bytes of a tensor that comes from the spec and not from a checkpoint. */
export function derivedBytes(plan: Plan, { bytes, content }: PackedTensor): Uint8Array | undefined {
  if (content.is === 'plan') return new Uint8Array(plan.words.buffer)
  if (content.is !== 'invFreq') return undefined
  const padded = new Float64Array(bytes / 8)
  padded.set(invFreq(content.rope))
  return new Uint8Array(padded.buffer)
}
