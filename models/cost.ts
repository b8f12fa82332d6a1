/**
 * What a model costs, counted from its spec and its plan: parameters, bytes, multiply-adds. Nothing is typed in by hand;
 * the paper's Table 5 is reproduced in test/cost.test.ts.
 */
import { cacheElements, cacheHeads, keyDim } from './attention.ts'
import { type CacheType, keptTokens } from './cache.ts'
import { type LayerSpec, layerTensors } from './layer.ts'
import { type WeightType, weightTypes } from './packed.ts'
import { type Plan, planModel } from './plan.ts'
import {
  checkpointTensors,
  countedLayers,
  type LayerSources,
  type ModelDescription,
  type ModelSpec,
  tensorsOf,
} from './spec.ts'
import { stateBytes, stateMacs } from './state.ts'

/** What one layer costs. */
export interface LayerCost {
  /** Numbers in the KV cache per token; 0 where a state is kept instead. */
  cacheElements: number
  /** Bytes of that state, for a conversation of any length. */
  stateBytes: number
  /** Multiply-adds per token in linear maps of the attention (SPEC §4.4, §3.4), or of a mixer with a state, which has no other. */
  attentionLinearMacs: number
  /** Multiply-adds per (query, key) pair. */
  attentionPairMacs: number
  /** Multiply-adds per token in the feed-forward block. */
  ffnMacs: number
  /** What the engine does where a conversion folds (GHA's output) and maps share: else the same two numbers. */
  executed: { linearMacs: number; pairMacs: number }
}

/** A model; where its layers differ, what is per layer is their mean, and `layers` has each. */
export interface Cost extends LayerCost {
  /** Trained numbers, counted from the tensors of a checkpoint. */
  parameters: number
  /** Packed weights, by weight type, in bytes. */
  weightBytes: Record<WeightType, number>
  /** Multiply-adds per token in the output head. */
  headMacs: number
  /** The distinct layers, in the order of `ModelSpec.layers`, and how many there are of each. */
  layers: (LayerCost & { count: number })[]
}

export function cost(model: ModelDescription): Cost {
  const { spec, sources } = model
  const layers = countedLayers(spec).map(({ layer, count }, index) => ({
    ...layerCost(layer, spec.hiddenDim, sources.layer(spec.order.indexOf(index))),
    count,
  }))
  const mean = (value: (layer: LayerCost) => number) =>
    layers.reduce((sum, layer) => sum + layer.count * value(layer), 0) / spec.order.length
  const bytes = weightTypes.map((type) => [type, planModel(model, type).bytes])
  return {
    parameters: numbersIn(checkpointTensors(model)),
    cacheElements: mean((layer) => layer.cacheElements),
    stateBytes: mean((layer) => layer.stateBytes),
    weightBytes: Object.fromEntries(bytes) as Cost['weightBytes'],
    attentionLinearMacs: mean((layer) => layer.attentionLinearMacs),
    attentionPairMacs: mean((layer) => layer.attentionPairMacs),
    ffnMacs: mean((layer) => layer.ffnMacs),
    headMacs: spec.hiddenDim * spec.vocabSize,
    executed: {
      linearMacs: mean(({ executed }) => executed.linearMacs),
      pairMacs: mean(({ executed }) => executed.pairMacs),
    },
    layers,
  }
}

function layerCost(layer: LayerSpec, hiddenDim: number, sources: LayerSources): LayerCost {
  const { mixer } = layer
  const packed = layerTensors(layer, hiddenDim).filter((tensor) => tensor.is === 'matrix')
  const ofMixer = packed.filter(({ of }) => of === 'mixer')
  const macs = (tensors: typeof packed) => tensors.reduce((sum, { rows, cols }) => sum + rows * cols, 0)
  const stored = tensorsOf(ofMixer.map(({ name }) => sources[name])).filter(({ shape }) => shape.length === 2)
  const ffnMacs = macs(packed.filter(({ of }) => of === 'ffn'))
  if (mixer.is !== 'attention') {
    const linearMacs = macs(ofMixer) + stateMacs(mixer)
    return {
      cacheElements: 0,
      stateBytes: stateBytes(mixer),
      attentionLinearMacs: linearMacs,
      attentionPairMacs: 0,
      ffnMacs,
      executed: { linearMacs, pairMacs: 0 },
    }
  }
  const scores = mixer.maps * keyDim(mixer)
  // Columns of W_o that read the same average are added up at conversion; as the papers count, each has its own.
  const foldedFrom = sources.out?.find(({ fold }) => fold)?.shape[1]
  return {
    cacheElements: cacheElements(mixer),
    stateBytes: 0,
    attentionLinearMacs: numbersIn(stored),
    attentionPairMacs: scores + (foldedFrom ?? mixer.maps * mixer.value.dim),
    ffnMacs,
    executed: { linearMacs: macs(ofMixer), pairMacs: scores + mixer.maps * mixer.value.dim },
  }
}

/** Numbers in tensors of a checkpoint. */
function numbersIn(tensors: { shape: number[] }[]): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0)
}

/**
 * Bytes of the KV cache for `context` tokens of one conversation: the elements, and the scales that int8 adds (one f32 per
 * slot head). A layer with a window keeps what it sees, and little more. `states`: of the layers that keep one instead.
 */
export function cacheBytes(
  spec: ModelSpec,
  type: CacheType,
  context: number,
): { elements: number; scales: number; states: number } {
  let [elements, heads, states] = [0, 0, 0]
  for (const { layer, count } of countedLayers(spec)) {
    const tokens = count * keptTokens(layer, context)
    if (layer.mixer.is !== 'attention') states += tokens * stateBytes(layer.mixer)
    else {
      elements += tokens * cacheElements(layer.mixer)
      heads += tokens * cacheHeads(layer.mixer)
    }
  }
  return { elements: elements * (type === 'f32' ? 4 : 1), scales: type === 'int8' ? heads * 4 : 0, states }
}

/** Weight bytes that decoding one token reads: all but the embedding, of which one row is gathered. */
export function weightBytesPerToken(plan: Plan, spec: ModelSpec): number {
  const looked = spec.head.isTied ? ['positions'] : ['embed', 'positions']
  return plan.bytes - bytesOf(plan, looked)
}

/** Bytes of the output head, which only rows with logits read; part of `weightBytesPerToken`. */
export function headBytes(plan: Plan, spec: ModelSpec): number {
  return bytesOf(plan, [spec.head.isTied ? 'embed' : 'head'])
}

/** Bytes of matrices of a plan, with their scales. */
function bytesOf({ tensors }: Plan, matrices: string[]): number {
  const names = new Set(matrices.flatMap((name) => [name, `${name}.scale`]))
  return tensors.reduce((sum, { name, bytes }) => sum + (names.has(name) ? bytes : 0), 0)
}
