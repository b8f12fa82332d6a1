/**
 * What a model costs, counted from its spec and its plan: parameters, bytes, multiply-adds. Nothing is typed in by hand;
 * the paper's Table 5 is reproduced in test/cost.test.ts.
 */
import * as abi from '../assembly/abi.ts'
import { cacheElements, cacheHeads, keyDim } from './attention.ts'
import { type Plan, planModel, roundUp, type WeightType, weightTypes } from './plan.ts'
import { checkpointTensors, type ModelDescription, type ModelSpec, tensorsOf } from './spec.ts'

export const cacheTypes = ['f32', 'int8'] as const
export type CacheType = (typeof cacheTypes)[number]

/** Tokens per page of the KV cache. */
export const PAGE_TOKENS: number = abi.PAGE_TOKENS

export interface Cost {
  /** Trained numbers, counted from the tensors of a checkpoint. */
  parameters: number
  /** Numbers in the KV cache per token and layer. */
  cacheElements: number
  /** Packed weights, by weight type, in bytes. */
  weightBytes: Record<WeightType, number>
  /** Multiply-adds per token and layer in linear maps of the attention (SPEC §4.4, §3.4). */
  attentionLinearMacs: number
  /** Multiply-adds per (query, key) pair and layer. */
  attentionPairMacs: number
  /** Multiply-adds per token and layer in the feed-forward block. */
  ffnMacs: number
  /** Multiply-adds per token in the output head. */
  headMacs: number
  /** What the engine does where a conversion folds (GHA's output) and maps share: else the same two numbers. */
  executed: { linearMacs: number; pairMacs: number }
}

export function cost(model: ModelDescription): Cost {
  const { spec, sources } = model
  const { attention, hiddenDim, ffnDim, vocabSize } = spec
  const { attnNorm, ffnNorm, gateUp, down, ...attentionSources } = sources.layer(0)
  const matrices = tensorsOf(Object.values(attentionSources)).filter(({ shape }) => shape.length === 2)
  return {
    parameters: count(checkpointTensors(model)),
    cacheElements: cacheElements(attention),
    weightBytes: Object.fromEntries(
      weightTypes.map((type) => [type, planModel(model, type).bytes]),
    ) as Cost['weightBytes'],
    attentionLinearMacs: count(matrices),
    attentionPairMacs:
      attention.maps * keyDim(attention) + (attention.valuePairMacs ?? attention.maps * attention.value.dim),
    ffnMacs: 3 * hiddenDim * ffnDim,
    headMacs: hiddenDim * vocabSize,
    executed: {
      linearMacs: packedLinearMacs(model),
      pairMacs: attention.maps * (keyDim(attention) + attention.value.dim),
    },
  }
}

/** Weights of a layer's packed matrices, each of which multiplies once per token. */
function packedLinearMacs(model: ModelDescription): number {
  const ofAttention = /^layers\.0\.(in|query|encoder|decoder|out)$/
  return planModel(model, 'q8').tensors.reduce(
    (sum, { name, content }) =>
      content.is === 'matrix' && ofAttention.test(name) ? sum + content.rows * content.cols : sum,
    0,
  )
}

/** Numbers in tensors of a checkpoint. */
function count(tensors: { shape: number[] }[]): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0)
}

/** Bytes of the KV cache for `context` tokens: the elements, and the scales that int8 adds (one f32 per slot head). */
export function cacheBytes(spec: ModelSpec, type: CacheType, context: number): { elements: number; scales: number } {
  const tokens = spec.nLayers * context
  const elements = cacheElements(spec.attention) * tokens * (type === 'f32' ? 4 : 1)
  return { elements, scales: type === 'int8' ? cacheHeads(spec.attention) * tokens * 4 : 0 }
}

/** Bytes of one page, all layers, as the engine allocates it: dims padded to 4, layers to 64 bytes. */
export function pageBytes(spec: ModelSpec, type: CacheType): number {
  const layer = Object.values(spec.attention.slots).reduce((sum, { heads, dim }) => {
    const element = type === 'f32' ? 4 : 1
    const scale = type === 'f32' ? 0 : 4
    return sum + heads * PAGE_TOKENS * (roundUp(dim, 4) * element + scale)
  }, 0)
  return roundUp(layer, 64) * spec.nLayers
}

/** Weight bytes that decoding one token reads: all but the embedding, of which one row is gathered. */
export function weightBytesPerToken(plan: Plan, spec: ModelSpec): number {
  const embedding = plan.tensors.filter(({ name }) => name === 'embed' || name === 'embed.scale')
  const skipped = spec.isTied ? 0 : embedding.reduce((sum, { bytes }) => sum + bytes, 0)
  return plan.bytes - skipped
}

/** Bytes of the output head, which only rows with logits read; part of `weightBytesPerToken`. */
export function headBytes(plan: Plan, spec: ModelSpec): number {
  const name = spec.isTied ? 'embed' : 'head'
  const head = plan.tensors.filter((tensor) => tensor.name === name || tensor.name === `${name}.scale`)
  return head.reduce((sum, { bytes }) => sum + bytes, 0)
}
