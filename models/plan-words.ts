/** The words of a plan: a spec and the places of its tensors as records of assembly/abi.ts, and back into text. */
import * as abi from '../assembly/abi.ts'
import { type AttentionSpec, type QueryNorm, type Rope, ropeDim, type View, viewHeads } from './attention.ts'
import { pageKinds } from './cache.ts'
import {
  type Activation,
  attentionOf,
  type LayerBuffer,
  type LayerSpec,
  layerBuffers,
  type Mixer,
  type Norm,
  type TensorName,
} from './layer.ts'
import { absentMatrix, type MatrixWords } from './packed.ts'
import { fieldsOf, wordsOf } from './records.ts'
import type { ModelSpec } from './spec.ts'
import { convChannels, STATE_WINDOW, type StateSpec } from './state.ts'

/** Offsets of a layer's vectors, and its matrices. */
export interface PlacedLayer {
  vectors: Partial<Record<TensorName, number>>
  matrices: Partial<Record<TensorName, MatrixWords>>
}

export interface PlacedModel {
  /** Offsets of the frequencies of `rotationsOf()`. */
  rotations: number[]
  embed: MatrixWords
  positions: MatrixWords | undefined
  layers: PlacedLayer[]
  norm: number
  normBias: number
  head: MatrixWords
  headBias: number
}

type Per = LayerBuffer['per']

const sizeOf = (record: object) => fieldsOf(record).length
const MATRIX = sizeOf(new abi.Matrix())
const LAYER = sizeOf(new abi.Layer()) + MATRIX * sizeOf(new abi.LayerMatrices())
const HEAD = sizeOf(new abi.Plan()) + sizeOf(new abi.Buffers()) + 3 * MATRIX

/** The distinct ways in which the layers of a model rotate. */
export function rotationsOf({ layers }: ModelSpec): Rope[] {
  const found = new Map<string, Rope>()
  for (const layer of layers) {
    const rope = attentionOf(layer)?.rope
    if (rope) found.set(JSON.stringify(rope), rope)
  }
  return [...found.values()]
}

/** First words of the parts of a plan, in its order. */
function partsOf(spec: ModelSpec) {
  const pages = HEAD
  const rotations = pages + pageKinds(spec).kinds.length * sizeOf(new abi.PageKind())
  let end = rotations + rotationsOf(spec).length * sizeOf(new abi.Rotation())
  const kinds = spec.layers.map(({ mixer }) => {
    const start = end
    end += sizeOf(new abi.LayerKind()) + tailOf(mixer).length
    return start
  })
  return { rotations, kinds, layers: end, end: end + spec.order.length * LAYER }
}

/** What follows a layer kind: the slot heads of its maps, or how wide the state of its mixer is. */
function tailOf(mixer: Mixer): ArrayLike<number> & Iterable<number> {
  return mixer.is === 'attention' ? headTables(mixer) : recurrenceWords(mixer)
}

/** Words of a plan without padding. */
export function countWords(spec: ModelSpec): number {
  return partsOf(spec).end
}

/** `isF32`: of all weights. */
export function buildWords(spec: ModelSpec, placed: PlacedModel, isF32: boolean): Uint32Array {
  const parts = partsOf(spec)
  const { kinds: pages } = pageKinds(spec)
  const rotations = rotationsOf(spec)
  let angles = 0
  const words = [
    headWords(spec, placed, 4 * parts.layers),
    bufferWords(spec, isF32),
    placed.embed,
    placed.positions ?? absentMatrix,
    placed.head,
    ...pages.map(({ layerIndex, count }) =>
      wordsOf(new abi.PageKind(), { kind: 4 * (parts.kinds[layerIndex] as number), layers: count }),
    ),
    ...rotations.map(({ dim, magnitude = 1 }, i) => {
      angles += 4 * dim
      const fields = { dim, magnitude, invFreq: placed.rotations[i] as number, angles: angles - 4 * dim }
      return wordsOf(new abi.Rotation(), fields)
    }),
    ...spec.layers.flatMap((layer) => [kindWords(layer, spec, parts.rotations), tailOf(layer.mixer)]),
    ...layerWords(spec, placed, parts.kinds),
  ]
  return Uint32Array.from(words.flatMap((part) => [...part]))
}

function headWords(spec: ModelSpec, placed: PlacedModel, layers: number): Uint32Array {
  const { norm, softcap } = spec.head
  return wordsOf(new abi.Plan(), {
    version: abi.PLAN_VERSION,
    nLayers: spec.order.length,
    nLayerKinds: spec.layers.length,
    nPageKinds: pageKinds(spec).kinds.length,
    nRotations: rotationsOf(spec).length,
    layers,
    hiddenDim: spec.hiddenDim,
    vocabSize: spec.vocabSize,
    maxContext: spec.maxContext,
    embeddingScale: spec.embedding.scale,
    headNormKind: normKind(norm),
    headNormEps: norm.eps,
    headNorm: placed.norm,
    headNormBias: placed.normBias,
    headBias: placed.headBias,
    headSoftcap: softcap ?? 0,
  })
}

/** The buffers of a model: the most that one of its layers needs, and the angles of all ways to rotate. `isF32`: of all weights. */
function modelBuffers(spec: ModelSpec, isF32: boolean): { name: keyof abi.Buffers; per: Per; bytes: number }[] {
  const angles = 4 * rotationsOf(spec).reduce((sum, { dim }) => sum + dim, 0)
  const found = new Map<keyof abi.Buffers, { per: Per; bytes: number }>([['angles', { per: 'row', bytes: angles }]])
  for (const layer of spec.layers)
    for (const { name, per, bytes } of layerBuffers(layer, spec.hiddenDim, isF32))
      found.set(name, { per, bytes: Math.max(bytes, found.get(name)?.bytes ?? 0) })
  return Array.from(found, ([name, buffer]) => ({ name, ...buffer }))
}

function bufferWords(spec: ModelSpec, isF32: boolean): Uint32Array {
  const record = new abi.Buffers()
  const buffers = modelBuffers(spec, isF32)
  const bytesOf = (name: string) => buffers.find((buffer) => buffer.name === name)?.bytes ?? 0
  const fields = Object.fromEntries(fieldsOf(record).map((name) => [name, bytesOf(name)]))
  return wordsOf(record, fields as Record<keyof abi.Buffers, number>)
}

const activationCodes: Record<Activation, number> = {
  silu: abi.SILU,
  gelu: abi.GELU,
  'gelu-tanh': abi.GELU_TANH,
  relu2: abi.RELU2,
}
const normKind = (norm?: Norm) => (norm ? { rms: abi.NORM_RMS, layer: abi.NORM_LAYER }[norm.kind] : 0)
const spans = { head: abi.SPAN_HEAD, all: abi.SPAN_ALL, turned: abi.SPAN_TURNED }
const span = (norm?: QueryNorm) => (norm ? spans[norm.spans] : 0)

function kindWords(layer: LayerSpec, spec: ModelSpec, rotations: number): Uint32Array {
  const { mixer, ffn, norms, isParallel } = layer
  const own = JSON.stringify(attentionOf(layer)?.rope)
  const rotation = rotationsOf(spec).findIndex((rope) => JSON.stringify(rope) === own)
  const { mixerIn, mixerOut, ffnIn, ffnOut } = norms
  return wordsOf(new abi.LayerKind(), {
    ...(mixer.is === 'attention' ? attentionFields(mixer) : stateFields(mixer)),
    rotation: rotation < 0 ? 0 : 4 * (rotations + rotation * sizeOf(new abi.Rotation())),
    ffnDim: ffn.width,
    activation: activationCodes[ffn.activation],
    isGated: Number(ffn.isGated),
    isParallel: Number(isParallel),
    mixerInKind: normKind(mixerIn),
    mixerInEps: mixerIn?.eps ?? 0,
    mixerOutKind: normKind(mixerOut),
    mixerOutEps: mixerOut?.eps ?? 0,
    ffnInKind: normKind(ffnIn),
    ffnInEps: ffnIn?.eps ?? 0,
    ffnOutKind: normKind(ffnOut),
    ffnOutEps: ffnOut?.eps ?? 0,
  })
}

const noAttention = Object.fromEntries(fieldsOf(new abi.LayerKind()).map((name) => [name, 0])) as Record<
  keyof abi.LayerKind,
  number
>

/** A state is as if a row looked back to the one before it; nothing else of attention is there. */
function stateFields({ is }: StateSpec) {
  return { ...noAttention, mixer: is === 'conv' ? abi.MIXER_CONV : abi.MIXER_DELTA, window: STATE_WINDOW }
}

function recurrenceWords(mixer: StateSpec): Uint32Array {
  const heads = mixer.is === 'conv' ? { keyHeads: 0, keyDim: 0, valueHeads: 0, valueDim: 0, eps: 0 } : mixer
  return wordsOf(new abi.Recurrence(), {
    taps: mixer.taps,
    channels: convChannels(mixer),
    keyHeads: heads.keyHeads,
    keyDim: heads.keyDim,
    valueHeads: heads.valueHeads,
    valueDim: heads.valueDim,
    isTiled: Number(mixer.is === 'delta' && mixer.isTiled === true),
    eps: heads.eps,
  })
}

function attentionFields(attention: AttentionSpec) {
  const { query, queryNorm, encoder, decoder, gate } = attention
  const names = Object.keys(attention.slots)
  const [slot0, slot1] = Object.values(attention.slots)
  const [key0, key1] = attention.key
  if (!slot0 || !slot1 || names.length !== 2 || !key0)
    throw new RangeError('a row has two slots and a key of one or two views')
  const indexOf = (view: View | undefined) => (view ? names.indexOf(view.slot) : 0)
  return {
    mixer: abi.MIXER_ATTENTION,
    maps: attention.maps,
    slot0Heads: slot0.heads,
    slot0Dim: slot0.dim,
    slot0Rope: ropeDim(attention, slot0),
    slot0Norm: span(slot0.norm),
    slot0Eps: slot0.norm?.eps ?? 0,
    slot1Heads: slot1.heads,
    slot1Dim: slot1.dim,
    slot1Rope: ropeDim(attention, slot1),
    slot1Norm: span(slot1.norm),
    slot1Eps: slot1.norm?.eps ?? 0,
    key0Slot: indexOf(key0),
    key0Dim: key0.dim,
    key1Slot: indexOf(key1),
    key1Dim: key1?.dim ?? 0,
    valueSlot: indexOf(attention.value),
    valueDim: attention.value.dim,
    window: attention.window ?? 0,
    queryRank: query?.rank ?? 0,
    lowEps: query?.eps ?? 0,
    queryNorm: span(queryNorm),
    queryEps: queryNorm?.eps ?? 0,
    encoderDim: encoder?.inDim ?? 0,
    hasDecoder: Number(decoder !== undefined),
    repeat: decoder?.repeat ?? 0,
    hasGate: Number(gate !== undefined),
    outDim: attention.outDim,
    scale: attention.scale,
    softcap: attention.softcap ?? 0,
  }
}

/** Slot head of every map, for each view. */
function headTables(attention: AttentionSpec): number[] {
  const [key0, key1] = attention.key as [View, View?]
  const none = Array.from({ length: attention.maps }, () => 0)
  return [
    viewHeads(attention, key0),
    key1 ? viewHeads(attention, key1) : none,
    viewHeads(attention, attention.value),
  ].flat()
}

function* layerWords(spec: ModelSpec, placed: PlacedModel, kinds: number[]): Generator<Iterable<number>> {
  const { kindOf } = pageKinds(spec)
  const used = new Map<number, number>()
  for (const [index, kind] of spec.order.entries()) {
    const { vectors, matrices } = placed.layers[index] as PlacedLayer
    const pageKind = kindOf[kind] as number
    const pageLayer = used.get(pageKind) ?? 0
    used.set(pageKind, pageLayer + 1)
    const record = spec.layers[kind]?.mixer.is === 'attention' ? new abi.Layer() : new abi.StateLayer()
    const names: string[] = fieldsOf<object>(record)
    const own = { kind: 4 * (kinds[kind] as number), pageKind, pageLayer }
    const offsets = Object.fromEntries(names.map((name) => [name, vectors[name as TensorName] ?? 0]))
    refuseUnknown(vectors, names)
    yield wordsOf<object>(record, { ...offsets, ...own })
    const order = fieldsOf(new abi.LayerMatrices())
    refuseUnknown(matrices, order)
    for (const name of order) yield matrices[name] ?? absentMatrix
  }
}

/** A tensor that no record has a word for would lie in the file and never be read. */
function refuseUnknown(placed: object, names: readonly string[]): void {
  for (const name of Object.keys(placed))
    if (!names.includes(name)) throw new RangeError(`assembly/abi.ts has no word for "${name}"`)
}
