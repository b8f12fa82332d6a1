/**
 * Where the tensors of a plan must lie. There is one order (models/plan.ts), and each begins where the one before it ended, so
 * an offset can be right or wrong; no address of a good plan leads out of its weights.
 */
import {
  Layer,
  LayerKind,
  LayerMatrices,
  Matrix,
  MIXER_ATTENTION,
  MIXER_CONV,
  NORM_LAYER,
  Plan,
  Q4_ROWS,
  StateLayer,
  TYPE_F32,
  TYPE_Q4,
  TYPE_Q4K,
  TYPE_Q4M,
  TYPE_Q8,
  TYPE_Q8K,
  TYPE_Q8M,
} from './abi'
import { isInBlocks, stripeBytes } from './kernels/blocks'
import { embedding, head, kindOf, layerAt, matrixOf, positions, recurrenceOf, rotationAt, rotationOffset } from './plan'
import { queryDim, queryWidth, rowWidth, stateInWidth, stateOutWidth } from './sizes'

/** Bytes of the numbers of vectors, and of RoPE's frequencies. */
const F32: u64 = 4
const F64: u64 = 8

// Sets of types, a bit for each. Either all matrices are f32 or none is: only then are there buffers for quantised inputs.

const ONLY_F32: u32 = 1 << TYPE_F32
/** A matrix per map. */
const PER_MAP: u32 = 1 << TYPE_Q8
/** One of which rows are gathered, or the output head. */
const OUTER: u32 = (1 << TYPE_Q8) | (1 << TYPE_Q4M) | (1 << TYPE_Q4K) | (1 << TYPE_Q8M) | (1 << TYPE_Q8K)
const INNER: u32 = OUTER | (1 << TYPE_Q4)

@unmanaged
export class Walk {
  /** Where the next tensor begins. */
  end: u64
  /** 0: something lies where it should not. */
  isGood: u32
}

/** Walks through all tensors of a plan whose sizes are possible; `planBytes` is the first of them. */
export function walkTensors(w: Walk, p: Plan, planBytes: u64): void {
  w.end = planBytes
  w.isGood = 1
  for (let r: u32 = 0; r < p.nRotations; r++) {
    const rotation = rotationAt(p, rotationOffset(p, r))
    expectTensor(w, F64 * roundUp(rotation.dim >> 1, 8), rotation.invFreq)
  }
  const isF32 = embedding(p).type == TYPE_F32
  const outer = isF32 ? ONLY_F32 : OUTER
  matrix(w, embedding(p), outer, p.vocabSize, p.hiddenDim)
  if (positions(p).type) matrix(w, positions(p), outer, positions(p).rows, p.hiddenDim)
  else absent(w, positions(p))
  for (let i: u32 = 0; i < p.nLayers; i++) walkLayer(w, p, layerAt(p, i), isF32)
  vector(w, p.hiddenDim, p.headNorm)
  optional(w, p.hiddenDim, p.headNormBias, p.headNormKind == NORM_LAYER)
  const isTied = memory.compare(changetype<usize>(embedding(p)), changetype<usize>(head(p)), offsetof<Matrix>()) == 0
  if (!isTied) matrix(w, head(p), outer, p.vocabSize, p.hiddenDim)
  optional(w, p.vocabSize, p.headBias, p.headBias != 0)
}

/** In the order of layerTensors() in models/layer.ts. */
function walkLayer(w: Walk, p: Plan, layer: Layer, isF32: bool): void {
  const inner = isF32 ? ONLY_F32 : INNER
  const k = kindOf(p, layer)
  norm(w, p, layer, offsetof<Layer>('mixerInNorm'), k.mixerInKind)
  if (k.mixer == MIXER_ATTENTION) walkAttention(w, p, layer, k, isF32)
  else walkState(w, p, layer, k, isF32)
  norm(w, p, layer, offsetof<Layer>('mixerOutNorm'), k.mixerOutKind)
  norm(w, p, layer, offsetof<Layer>('ffnInNorm'), k.ffnInKind)
  const gateUp = (k.isGated ? 2 : 1) * (k.ffnDim as u64)
  own(w, layer, offsetof<LayerMatrices>('gateUp'), inner, gateUp, p.hiddenDim, true)
  ownVector(w, layer, offsetof<Layer>('gateUpBias'), gateUp, layer.gateUpBias != 0)
  own(w, layer, offsetof<LayerMatrices>('down'), inner, p.hiddenDim, k.ffnDim, true)
  ownVector(w, layer, offsetof<Layer>('downBias'), p.hiddenDim, layer.downBias != 0)
  norm(w, p, layer, offsetof<Layer>('ffnOutNorm'), k.ffnOutKind)
}

function walkAttention(w: Walk, p: Plan, layer: Layer, k: LayerKind, isF32: bool): void {
  const inner = isF32 ? ONLY_F32 : INNER
  const perMap = isF32 ? ONLY_F32 : PER_MAP
  const queries = (k.maps as u64) * queryDim(k)
  const outWidth = (k.maps as u64) * k.outDim
  const inWidth = (queryWidth(k) as u64) + rowWidth(k) + (k.hasGate ? outWidth : 0)
  const slot0 = k.slot0Norm ? (k.slot0Heads as u64) * k.slot0Dim : 0
  const normed = slot0 + (k.slot1Norm ? (k.slot1Heads as u64) * k.slot1Dim : 0)
  own(w, layer, offsetof<LayerMatrices>('in'), inner, inWidth, p.hiddenDim, true)
  ownVector(w, layer, offsetof<Layer>('inBias'), inWidth, layer.inBias != 0)
  const isLow = k.queryRank != 0
  ownVector(w, layer, offsetof<Layer>('lowNorm'), k.queryRank, isLow)
  own(w, layer, offsetof<LayerMatrices>('query'), inner, queries, k.queryRank, isLow)
  ownVector(w, layer, offsetof<Layer>('queryBias'), queries, isLow && layer.queryBias != 0)
  ownVector(w, layer, offsetof<Layer>('queryNorm'), queries, k.queryNorm != 0)
  ownVector(w, layer, offsetof<Layer>('slotNorm'), normed, normed != 0)
  own(
    w,
    layer,
    offsetof<LayerMatrices>('encoder'),
    perMap,
    (k.maps as u64) * k.key0Dim,
    k.encoderDim,
    k.encoderDim != 0,
  )
  own(w, layer, offsetof<LayerMatrices>('decoder'), perMap, outWidth, k.valueDim, k.hasDecoder != 0)
  ownVector(w, layer, offsetof<Layer>('decoderBias'), outWidth, k.hasDecoder != 0 && layer.decoderBias != 0)
  own(w, layer, offsetof<LayerMatrices>('out'), inner, p.hiddenDim, outWidth, true)
  ownVector(w, layer, offsetof<Layer>('outBias'), p.hiddenDim, layer.outBias != 0)
}

/** Matrices that only attention has are not there, and the vector that has no meaning is not either. */
function walkState(w: Walk, p: Plan, layer: Layer, k: LayerKind, isF32: bool): void {
  const inner = isF32 ? ONLY_F32 : INNER
  const r = recurrenceOf(k)
  const isConv = k.mixer == MIXER_CONV
  const hasBias = isConv && changetype<StateLayer>(layer).convBias != 0
  const inWidth = stateInWidth(k)
  own(w, layer, offsetof<LayerMatrices>('in'), inner, inWidth, p.hiddenDim, true)
  ownVector(w, layer, offsetof<StateLayer>('inBias'), inWidth, hasBias || !isConv)
  ownVector(w, layer, offsetof<StateLayer>('conv'), (r.taps as u64) * r.channels, true)
  ownVector(w, layer, offsetof<StateLayer>('convBias'), r.channels, hasBias)
  ownVector(w, layer, offsetof<StateLayer>('decay'), r.valueHeads, !isConv)
  ownVector(w, layer, offsetof<StateLayer>('stateNorm'), r.valueDim, !isConv)
  ownVector(w, layer, offsetof<StateLayer>('unused'), 0, false)
  own(w, layer, offsetof<LayerMatrices>('query'), 0, 0, 0, false)
  own(w, layer, offsetof<LayerMatrices>('encoder'), 0, 0, 0, false)
  own(w, layer, offsetof<LayerMatrices>('decoder'), 0, 0, 0, false)
  own(w, layer, offsetof<LayerMatrices>('out'), inner, p.hiddenDim, stateOutWidth(k), true)
  ownVector(w, layer, offsetof<StateLayer>('outBias'), p.hiddenDim, hasBias)
}

/** A norm's weight, and its bias, which is the field behind it. */
function norm(w: Walk, p: Plan, layer: Layer, field: usize, kind: u32): void {
  ownVector(w, layer, field, p.hiddenDim, kind != 0)
  ownVector(w, layer, field + 4, p.hiddenDim, kind == NORM_LAYER)
}

function ownVector(w: Walk, layer: Layer, field: usize, length: u64, isThere: bool): void {
  optional(w, length, load<u32>(changetype<usize>(layer) + field), isThere)
}

/** A matrix of a layer, of one of some types. */
function own(w: Walk, layer: Layer, field: usize, types: u32, rows: u64, cols: u64, isThere: bool): void {
  const m = matrixOf(layer, field >> 2)
  if (isThere) matrix(w, m, types, rows, cols)
  else absent(w, m)
}

function roundUp(n: u64, multiple: u64): u64 {
  return ((n + multiple - 1) / multiple) * multiple
}

function vector(w: Walk, length: u64, offset: u32): void {
  expectTensor(w, F32 * roundUp(length, 16), offset)
}

function optional(w: Walk, length: u64, offset: u32, isThere: bool): void {
  if (isThere) vector(w, length, offset)
  else if (offset) w.isGood = 0
}

function absent(w: Walk, m: Matrix): void {
  if (m.type | m.rows | m.cols | m.stride | m.data | m.scales) w.isGood = 0
}

function matrix(w: Walk, m: Matrix, types: u32, rows: u64, cols: u64): void {
  if (m.rows != rows || m.cols != cols || m.type > TYPE_Q8K || !(types & (1 << m.type))) w.isGood = 0
  if (m.type == TYPE_F32) {
    expectRows(w, m, rows, F32 * roundUp(cols, 16))
    if (m.scales) w.isGood = 0
  } else if (isInBlocks(m.type)) {
    expectRows(w, m, roundUp((rows + Q4_ROWS - 1) / Q4_ROWS, 4), stripeBytes(m.type, cols))
    if (m.scales) w.isGood = 0
  } else if (m.type == TYPE_Q8) {
    expectRows(w, m, rows, roundUp(cols, 64))
    expectTensor(w, F32 * roundUp(rows, 16), m.scales)
  } else w.isGood = 0
}

/** Rows of a matrix, or of its blocks, of so many bytes. */
function expectRows(w: Walk, m: Matrix, rows: u64, stride: u64): void {
  if (m.stride != stride || rows > 0xffff_ffff) w.isGood = 0
  expectTensor(w, rows * m.stride, m.data)
}

/** The next tensor has so many bytes; `at` is where the plan says that it lies. */
function expectTensor(w: Walk, bytes: u64, at: u32): void {
  if (w.end != at) w.isGood = 0
  w.end += bytes
}
