/**
 * ModelSpec: what a decoder-only language model is, in numbers. Made from a Hugging Face config.json by a kind (`kinds/`) or
 * a family (`families/`), read by everybody else: `planModel()` turns it into the engine's plan, `cost()` counts it.
 */
import { ModelError } from './errors.ts'
import type { LayerSpec, Norm, TensorName } from './layer.ts'

export { ModelError } from './errors.ts'

export interface ModelSpec {
  /** Name of the attention kind, for people: 'gta', 'gqa', … No code branches on it. */
  kind: string
  vocabSize: number
  hiddenDim: number
  maxContext: number
  /** A longer context that may be asked for, with other frequencies from the first token on (long-context.ts). */
  longContext?: number
  embedding: {
    /** Factor of what is looked up. A tied head uses the matrix as it is, so this cannot be folded into it. */
    scale: number
    /** Learned positions: so many rows of a second matrix, one of which is added to each token. */
    positions?: number
  }
  /** The distinct layers. */
  layers: LayerSpec[]
  /** Layer i of the model is layers[order[i]]. */
  order: number[]
  head: {
    norm: Norm
    /** The output head is the embedding matrix. */
    isTied: boolean
    bias: boolean
    /** Logits become softcap · tanh(logit / softcap). */
    softcap?: number
  }
  /** What config.json names so. What begins a text is the tokenizer's word (host/text/special-tokens.ts). */
  bos?: number
  /** Tokens that end a text. */
  eos: number[]
}

/** How many layers a model has. */
export function nLayers({ order }: ModelSpec): number {
  return order.length
}

/** Layer `index` of the model. */
export function layerOf({ layers, order }: ModelSpec, index: number): LayerSpec {
  const layer = layers[order[index] ?? -1]
  if (!layer) throw new RangeError(`the model has no layer ${index}`)
  return layer
}

/** The distinct layers of a model, each with how many there are of it. */
export function countedLayers({ layers, order }: ModelSpec): { layer: LayerSpec; count: number }[] {
  return layers.map((layer, index) => ({ layer, count: order.filter((one) => one === index).length }))
}

/** Layers one after the other as the distinct ones, in the order of their first, and their order. */
export function arrange(all: LayerSpec[]): Pick<ModelSpec, 'layers' | 'order'> {
  const found = new Map<string, number>()
  const layers: LayerSpec[] = []
  const order = all.map((layer) => {
    const text = JSON.stringify(layer)
    const index = found.get(text) ?? layers.push(layer) - 1
    found.set(text, index)
    return index
  })
  return { layers, order }
}

/**
 * Where the numbers of a packed tensor come from: rows of a checkpoint's tensor, in order. A packed tensor is made of
 * one or more sources, one below the other. What can be folded into weights is said here, and no engine knows of it.
 */
export interface Source {
  /** Hugging Face tensor name; absent: as many zeros. */
  tensor?: string
  /** Shape it must have there; a matrix is (rows, cols), or (cols) numbers of a vector. */
  shape: number[]
  /** Rows (of a vector: numbers) to take, in this order, some more than once if so; default: all. */
  rows?: number[]
  /** What is taken are this many matrices (a × b) end to end, each to be transposed to (b × a). */
  transposedBlocks?: number
  /** Columns are blocks of `width`; block i is added to block target[i] of the packed matrix. */
  fold?: { width: number; target: number[] }
  /** Added to each number: some norms keep w − 1. */
  plus?: number
  /** Factor of each number, after `plus`: of a residual branch, or of the logits. */
  times?: number
  /** Of a vector: another of the same shape, whose numbers are factors of these. */
  timesTensor?: string
}

/** Checkpoint tensors of one layer: exactly those that `layerTensors()` names; an empty list is none. */
export type LayerSources = Partial<Record<TensorName, Source[]>>

export interface ModelSources {
  embed: Source[]
  /** Learned positions (positions × hiddenDim). */
  positions?: Source[]
  norm: Source[]
  normBias?: Source[]
  /** Empty when the head is tied to the embedding. */
  head: Source[]
  headBias?: Source[]
  layer(index: number): LayerSources
  /** Tensors that a checkpoint may carry and that carry no information (recomputed or tied). */
  isRedundant(tensor: string): boolean
}

/** A config.json as a model: its numbers, and where a checkpoint keeps its weights. */
export interface ModelDescription {
  spec: ModelSpec
  sources: ModelSources
}

/** The checkpoint tensors behind packed ones, each once: one may be packed in two parts, and zeros are none. */
export function tensorsOf(lists: (Source[] | undefined)[]): { tensor: string; shape: number[] }[] {
  const found = new Map<string, number[]>()
  for (const { tensor, timesTensor, shape } of lists.flatMap((list) => list ?? []))
    for (const name of [tensor, timesTensor]) if (name !== undefined) found.set(name, shape)
  return Array.from(found, ([tensor, shape]) => ({ tensor, shape }))
}

/** All tensors that a model takes from its checkpoint. */
export function checkpointTensors({ spec, sources }: ModelDescription): { tensor: string; shape: number[] }[] {
  const { embed, positions, norm, normBias, head, headBias } = sources
  const layers = spec.order.flatMap((_, index) => Object.values<Source[] | undefined>(sources.layer(index)))
  return tensorsOf([embed, positions, ...layers, norm, normBias, head, headBias])
}

/** The message formula of this project: what, expected, found, what to do. */
export function mismatch(what: string, expected: string, found: unknown, advice: string): ModelError {
  return new ModelError(`${what} must be ${expected}, found ${show(found)}: ${advice}`)
}

/** A value as JSON, shortened: what is shown may come from a hostile file. */
export function show(value: unknown): string {
  const text = value === undefined ? 'nothing' : asJson(value)
  return text.length > 120 ? `${text.slice(0, 117)}…` : text
}

/** Values nested deeper than the stack are as good as any other damage. */
function asJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return `a ${typeof value} too deep to show`
  }
}
