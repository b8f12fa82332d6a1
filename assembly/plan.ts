/**
 * The plan as the engine sees it: views straight over the words that models/plan.ts lays out, same fields, same order
 * (a test compares them). Offsets count from the first byte of the weights, which is the plan's own address.
 *
 *     header ┃ slot head of each map: key 0, key 1, value ┃ embed ┃ head ┃ layer: vectors, matrices ┃ …
 */

export const PLAN_VERSION: u32 = 2

@unmanaged
export class Plan {
  version: u32
  nLayers: u32
  hiddenDim: u32
  ffnDim: u32
  vocabSize: u32
  maxContext: u32
  normEps: f32
  maps: u32
  slot0Heads: u32
  slot0Dim: u32
  slot0Rope: u32
  slot0HasNorm: u32
  slot1Heads: u32
  slot1Dim: u32
  slot1Rope: u32
  slot1HasNorm: u32
  slotEps: f32
  key0Slot: u32
  key0Dim: u32
  key1Slot: u32
  key1Dim: u32
  valueSlot: u32
  valueDim: u32
  queryRank: u32
  queryEps: f32
  encoderDim: u32
  hasDecoder: u32
  repeat: u32
  hasGate: u32
  outDim: u32
  scale: f32
  ropeDim: u32
  ropeMagnitude: f32
  invFreq: u32
  norm: u32
}

/** Weights (rows × cols); a row, or a block of eight rows of q4, takes `stride` bytes, padded. */
@unmanaged
export class Matrix {
  type: u32
  rows: u32
  cols: u32
  stride: u32
  data: u32
  scales: u32
}

/** Offsets of a layer's vectors, 0 if absent; its matrices follow. */
@unmanaged
export class Layer {
  attnNorm: u32
  inBias: u32
  queryNorm: u32
  queryBias: u32
  slotNorm: u32
  decoderBias: u32
  outBias: u32
  ffnNorm: u32
}

/** Matrix.type; 0: absent. */
export const TYPE_F32: u32 = 1
export const TYPE_Q8: u32 = 2
export const TYPE_Q4: u32 = 3

const HEADER: usize = offsetof<Plan>()
const MATRIX: usize = offsetof<Matrix>()
const VECTORS: usize = offsetof<Layer>()
/** Matrices of a layer. */
export const MATRICES: usize = 7

/** Slot head that map `j` reads through view 0 (key), 1 (second key) or 2 (value). */
export function viewHead(plan: Plan, view: u32, j: u32): u32 {
  return load<u32>(changetype<usize>(plan) + HEADER + ((view * plan.maps + j) << 2))
}

function matrices(plan: Plan): usize {
  return changetype<usize>(plan) + HEADER + ((3 * plan.maps) << 2)
}

export function embedding(plan: Plan): Matrix {
  return changetype<Matrix>(matrices(plan))
}

export function head(plan: Plan): Matrix {
  return changetype<Matrix>(matrices(plan) + MATRIX)
}

export function layerAt(plan: Plan, index: u32): Layer {
  return changetype<Layer>(matrices(plan) + 2 * MATRIX + index * (VECTORS + MATRICES * MATRIX))
}

export function matrixOf(layer: Layer, index: usize): Matrix {
  return changetype<Matrix>(changetype<usize>(layer) + VECTORS + index * MATRIX)
}
export function inMatrix(layer: Layer): Matrix {
  return matrixOf(layer, 0)
}
export function queryMatrix(layer: Layer): Matrix {
  return matrixOf(layer, 1)
}
export function encoderMatrix(layer: Layer): Matrix {
  return matrixOf(layer, 2)
}
export function decoderMatrix(layer: Layer): Matrix {
  return matrixOf(layer, 3)
}
export function outMatrix(layer: Layer): Matrix {
  return matrixOf(layer, 4)
}
export function gateUpMatrix(layer: Layer): Matrix {
  return matrixOf(layer, 5)
}
export function downMatrix(layer: Layer): Matrix {
  return matrixOf(layer, 6)
}

/** Address of a vector; 0 if absent. */
export function vectorAt(plan: Plan, offset: u32): usize {
  return offset ? changetype<usize>(plan) + offset : 0
}
