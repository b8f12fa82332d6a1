/**
 * ModelSpec: what a decoder-only language model is, in numbers. Made from a Hugging Face config.json by a family
 * (`families/`), read by everybody else: `plan()` turns it into the engine's plan, `cost()` counts it.
 */
import type { AttentionSpec } from './attention.ts'
import { ModelError } from './errors.ts'

export { ModelError } from './errors.ts'

export interface ModelSpec {
  /** Name of the attention kind, for people: 'gta', 'gqa', … No code branches on it. */
  kind: string
  vocabSize: number
  hiddenDim: number
  ffnDim: number
  nLayers: number
  maxContext: number
  normEps: number
  rope: Rope
  /** The output head is the embedding matrix. */
  isTied: boolean
  attention: AttentionSpec
  /** Token that begins a text; absent: none. */
  bos?: number
  /** Tokens that end a text. */
  eos: number[]
}

export interface Rope {
  theta: number
  scaling?:
    | { type: 'linear'; factor: number }
    | { type: 'llama3'; factor: number; lowFreqFactor: number; highFreqFactor: number; originalContext: number }
    | {
        type: 'yarn'
        factor: number
        betaFast: number
        betaSlow: number
        isTruncated: boolean
        originalContext: number
      }
  /** Factor of cos and sin; default 1. */
  magnitude?: number
}

/**
 * Where the numbers of a packed tensor come from: rows of a checkpoint's tensor, in order. A packed tensor is made of
 * one or more sources, one below the other.
 */
export interface Source {
  /** Hugging Face tensor name; absent: as many zeros. */
  tensor?: string
  /** Shape it must have there; a matrix is (rows, cols), or (cols) numbers of a vector. */
  shape: number[]
  /** Rows (of a vector: numbers) to take, in this order; default: all. */
  rows?: number[]
  /** What is taken are this many matrices (a × b) end to end, each to be transposed to (b × a). */
  transposedBlocks?: number
  /** Columns are blocks of `width`; block i is added to block target[i] of the packed matrix. */
  fold?: { width: number; target: number[] }
}

/** Checkpoint tensors of one layer, by the plan's names; an empty list is a tensor that the model does not have. */
export interface LayerSources extends AttentionSources {
  attnNorm: Source[]
  ffnNorm: Source[]
  gateUp: Source[]
  down: Source[]
}

export interface AttentionSources {
  in: Source[]
  inBias?: Source[]
  queryNorm?: Source[]
  query?: Source[]
  queryBias?: Source[]
  /** Norm weights of the normed slots, in row order. */
  slotNorm?: Source[]
  encoder?: Source[]
  decoder?: Source[]
  decoderBias?: Source[]
  out: Source[]
  outBias?: Source[]
}

export interface ModelSources {
  embed: Source[]
  norm: Source[]
  /** Empty when the head is tied to the embedding. */
  head: Source[]
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
  for (const { tensor, shape } of lists.flatMap((list) => list ?? []))
    if (tensor !== undefined) found.set(tensor, shape)
  return Array.from(found, ([tensor, shape]) => ({ tensor, shape }))
}

/** All tensors that a model takes from its checkpoint. */
export function checkpointTensors({ spec, sources }: ModelDescription): { tensor: string; shape: number[] }[] {
  const layers = Array.from({ length: spec.nLayers }, (_, i) =>
    Object.values<Source[] | undefined>({ ...sources.layer(i) }),
  )
  return tensorsOf([sources.embed, ...layers.flat(), sources.norm, sources.head])
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
