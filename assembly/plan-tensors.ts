/**
 * Where the tensors of a plan must lie. There is one order (models/plan.ts), and each begins where the one before it ended, so
 * an offset can be right or wrong; no address of a good plan leads out of its weights. Whoever has a table of a file's
 * tensors gets a list of those that are expected.
 */
import {
  Layer,
  LayerKind,
  LayerMatrices,
  Matrix,
  NORM_LAYER,
  Plan,
  Q4_BYTES,
  Q4_COLS,
  Q4_ROWS,
  TYPE_F32,
  TYPE_Q4,
  TYPE_Q8,
} from './abi'
import { embedding, head, kindOf, layerAt, matrixOf, positions, rotationAt, rotationOffset } from './plan'
import { queryDim, queryWidth, rowWidth } from './sizes'

/** Types of numbers in a packed file. */
export const U8: u32 = 1
export const F32: u32 = 2
export const U32: u32 = 3
export const F64: u32 = 4

/** Tensor.name: index of a field of Layer, of LayerMatrices behind MATRIX_NAMES, or one of the model's. */
export const MATRIX_NAMES: u32 = 64
export const NAME_PLAN: u32 = 128
export const NAME_INV_FREQ: u32 = 129
export const NAME_EMBED: u32 = 130
export const NAME_POSITIONS: u32 = 131
export const NAME_NORM: u32 = 132
export const NAME_NORM_BIAS: u32 = 133
export const NAME_HEAD: u32 = 134
export const NAME_HEAD_BIAS: u32 = 135
/** Added to the name of a matrix: its scales. */
export const SCALES: u32 = 256

@unmanaged
export class ExpectedTensor {
  name: u32
  /** Layer or rotation that it is of. */
  owner: u32
  dtype: u32
  /** 1 or 2 dimensions. */
  dims: u32
  rows: u32
  cols: u32
  offset: u64
}

/** The walk: what is expected next. */
@unmanaged
export class Walk {
  /** Where the next tensor begins. */
  end: u64
  count: u32
  isGood: u32
  /** ExpectedTensor[room], or 0. */
  list: usize
  room: u32
  owner: u32
}

/** Walks through all tensors of a plan whose sizes are possible; `planBytes` is the first of them. */
export function walkTensors(w: Walk, p: Plan, planBytes: u64): void {
  w.end = 0
  w.count = 0
  w.isGood = 1
  w.owner = 0
  expectTensor(w, NAME_PLAN, U32, 1, planBytes >> 2, 1, 0)
  for (let r: u32 = 0; r < p.nRotations; r++) {
    w.owner = r
    const rotation = rotationAt(p, rotationOffset(p, r))
    expectTensor(w, NAME_INV_FREQ, F64, 1, roundUp(rotation.dim >> 1, 8), 1, rotation.invFreq)
  }
  const outer = embedding(p).type == TYPE_F32 ? TYPE_F32 : TYPE_Q8
  matrix(w, embedding(p), NAME_EMBED, outer, p.vocabSize, p.hiddenDim)
  if (positions(p).type) matrix(w, positions(p), NAME_POSITIONS, outer, positions(p).rows, p.hiddenDim)
  else absent(w, positions(p))
  for (let i: u32 = 0; i < p.nLayers; i++) {
    w.owner = i
    walkLayer(w, p, layerAt(p, i), outer)
  }
  w.owner = 0
  vector(w, NAME_NORM, p.hiddenDim, p.headNorm)
  optional(w, NAME_NORM_BIAS, p.hiddenDim, p.headNormBias, p.headNormKind == NORM_LAYER)
  const isTied = memory.compare(changetype<usize>(embedding(p)), changetype<usize>(head(p)), offsetof<Matrix>()) == 0
  if (!isTied) matrix(w, head(p), NAME_HEAD, outer, p.vocabSize, p.hiddenDim)
  optional(w, NAME_HEAD_BIAS, p.vocabSize, p.headBias, p.headBias != 0)
}

/** In the order of layerTensors() in models/layer.ts. */
function walkLayer(w: Walk, p: Plan, layer: Layer, outer: u32): void {
  const k = kindOf(p, layer)
  norm(w, p, layer, offsetof<Layer>('mixerInNorm'), k.mixerInKind)
  walkAttention(w, p, layer, k, outer)
  norm(w, p, layer, offsetof<Layer>('mixerOutNorm'), k.mixerOutKind)
  norm(w, p, layer, offsetof<Layer>('ffnInNorm'), k.ffnInKind)
  const gateUp = (k.isGated ? 2 : 1) * (k.ffnDim as u64)
  own(w, layer, offsetof<LayerMatrices>('gateUp'), 0, gateUp, p.hiddenDim, true)
  ownVector(w, layer, offsetof<Layer>('gateUpBias'), gateUp, layer.gateUpBias != 0)
  own(w, layer, offsetof<LayerMatrices>('down'), 0, p.hiddenDim, k.ffnDim, true)
  ownVector(w, layer, offsetof<Layer>('downBias'), p.hiddenDim, layer.downBias != 0)
  norm(w, p, layer, offsetof<Layer>('ffnOutNorm'), k.ffnOutKind)
}

function walkAttention(w: Walk, p: Plan, layer: Layer, k: LayerKind, outer: u32): void {
  const queries = (k.maps as u64) * queryDim(k)
  const outWidth = (k.maps as u64) * k.outDim
  const inWidth = (queryWidth(k) as u64) + rowWidth(k) + (k.hasGate ? outWidth : 0)
  const slot0 = k.slot0Norm ? (k.slot0Heads as u64) * k.slot0Dim : 0
  const normed = slot0 + (k.slot1Norm ? (k.slot1Heads as u64) * k.slot1Dim : 0)
  own(w, layer, offsetof<LayerMatrices>('in'), 0, inWidth, p.hiddenDim, true)
  ownVector(w, layer, offsetof<Layer>('inBias'), inWidth, layer.inBias != 0)
  const isLow = k.queryRank != 0
  ownVector(w, layer, offsetof<Layer>('lowNorm'), k.queryRank, isLow)
  own(w, layer, offsetof<LayerMatrices>('query'), 0, queries, k.queryRank, isLow)
  ownVector(w, layer, offsetof<Layer>('queryBias'), queries, isLow && layer.queryBias != 0)
  ownVector(w, layer, offsetof<Layer>('queryNorm'), queries, k.queryNorm != 0)
  ownVector(w, layer, offsetof<Layer>('slotNorm'), normed, normed != 0)
  own(w, layer, offsetof<LayerMatrices>('encoder'), outer, (k.maps as u64) * k.key0Dim, k.encoderDim, k.encoderDim != 0)
  own(w, layer, offsetof<LayerMatrices>('decoder'), outer, outWidth, k.valueDim, k.hasDecoder != 0)
  ownVector(w, layer, offsetof<Layer>('decoderBias'), outWidth, k.hasDecoder != 0 && layer.decoderBias != 0)
  own(w, layer, offsetof<LayerMatrices>('out'), 0, p.hiddenDim, outWidth, true)
  ownVector(w, layer, offsetof<Layer>('outBias'), p.hiddenDim, layer.outBias != 0)
}

/** A norm's weight, and its bias, which is the field behind it. */
function norm(w: Walk, p: Plan, layer: Layer, field: usize, kind: u32): void {
  ownVector(w, layer, field, p.hiddenDim, kind != 0)
  ownVector(w, layer, field + 4, p.hiddenDim, kind == NORM_LAYER)
}

function ownVector(w: Walk, layer: Layer, field: usize, length: u64, isThere: bool): void {
  optional(w, (field >> 2) as u32, length, load<u32>(changetype<usize>(layer) + field), isThere)
}

/** A matrix of a layer; `type` 0: whatever the type of the weights allows. */
function own(w: Walk, layer: Layer, field: usize, type: u32, rows: u64, cols: u64, isThere: bool): void {
  const m = matrixOf(layer, field >> 2)
  if (isThere) matrix(w, m, MATRIX_NAMES + ((field >> 2) as u32), type, rows, cols)
  else absent(w, m)
}

function roundUp(n: u64, multiple: u64): u64 {
  return ((n + multiple - 1) / multiple) * multiple
}

function vector(w: Walk, name: u32, length: u64, offset: u32): void {
  expectTensor(w, name, F32, 1, roundUp(length, 16), 1, offset)
}

function optional(w: Walk, name: u32, length: u64, offset: u32, isThere: bool): void {
  if (isThere) vector(w, name, length, offset)
  else if (offset) w.isGood = 0
}

function absent(w: Walk, m: Matrix): void {
  if (m.type | m.rows | m.cols | m.stride | m.data | m.scales) w.isGood = 0
}

function matrix(w: Walk, m: Matrix, name: u32, type: u32, rows: u64, cols: u64): void {
  if (m.rows != rows || m.cols != cols || (type && m.type != type)) w.isGood = 0
  if (m.type == TYPE_F32) {
    const padded = roundUp(cols, 16)
    if (m.stride != padded << 2 || m.scales) w.isGood = 0
    expectTensor(w, name, F32, 2, rows, padded, m.data)
  } else if (m.type == TYPE_Q4) {
    const stride = ((cols + Q4_COLS - 1) / Q4_COLS) * Q4_BYTES
    if (m.stride != stride || m.scales) w.isGood = 0
    expectTensor(w, name, U8, 2, roundUp((rows + Q4_ROWS - 1) / Q4_ROWS, 4), stride, m.data)
  } else if (m.type == TYPE_Q8) {
    const stride = roundUp(cols, 64)
    if (m.stride != stride) w.isGood = 0
    expectTensor(w, name, U8, 2, rows, stride, m.data)
    expectTensor(w, name + SCALES, F32, 1, roundUp(rows, 16), 1, m.scales)
  } else w.isGood = 0
}

/** The next tensor; `at` is where the plan says that it lies. */
function expectTensor(w: Walk, name: u32, dtype: u32, dims: u32, rows: u64, cols: u64, at: u32): void {
  if (w.end != at || rows > 0xffff_ffff || cols > 0xffff_ffff) w.isGood = 0
  if (w.list) {
    if (w.count >= w.room) w.isGood = 0
    else {
      const t = changetype<ExpectedTensor>(w.list + (w.count as usize) * offsetof<ExpectedTensor>())
      t.name = name
      t.owner = w.owner
      t.dtype = dtype
      t.dims = dims
      t.rows = rows as u32
      t.cols = cols as u32
      t.offset = w.end
    }
  }
  const width: u64 = dtype == U8 ? 1 : dtype == F64 ? 8 : 4
  w.count++
  w.end += rows * cols * width
}
