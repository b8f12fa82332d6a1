/**
 * The plan as the engine sees it: views straight over the words that models/plan.ts lays out, same fields, same order
 * (a test compares them). Offsets count from the first byte of the weights, which is the plan's own address.
 */

export const PLAN_VERSION: u32 = 1

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
  keyHeads: u32
  keyDim: u32
  valueHeads: u32
  valueDim: u32
  ropeDim: u32
  scale: f32
  outDim: u32
  repeat: u32
  hasGate: u32
  invFreq: u32
  norm: u32
}

/** Weights (rows × cols); a row takes `stride` bytes, its padding is zero. */
@unmanaged
export class Matrix {
  type: u32
  rows: u32
  cols: u32
  stride: u32
  data: u32
  scales: u32
}

export const TYPE_NONE: u32 = 0
export const TYPE_F32: u32 = 1
export const TYPE_Q8: u32 = 2

const WORD: usize = 4
const MATRIX: usize = 6 * WORD
const HEADER: usize = 19 * WORD
// attnNorm in inBias decoder out outBias ffnNorm gateUp down
const LAYER: usize = 4 * WORD + 5 * MATRIX

export function embedding(plan: usize): Matrix {
  return changetype<Matrix>(plan + HEADER)
}

export function head(plan: usize): Matrix {
  return changetype<Matrix>(plan + HEADER + MATRIX)
}

/** Address of a layer's words. */
export function layerAt(plan: usize, index: u32): usize {
  return plan + HEADER + 2 * MATRIX + index * LAYER
}

export function attnNorm(layer: usize): u32 {
  return load<u32>(layer)
}
export function inMatrix(layer: usize): Matrix {
  return changetype<Matrix>(layer + WORD)
}
export function inBias(layer: usize): u32 {
  return load<u32>(layer + WORD + MATRIX)
}
export function decoderMatrix(layer: usize): Matrix {
  return changetype<Matrix>(layer + 2 * WORD + MATRIX)
}
export function outMatrix(layer: usize): Matrix {
  return changetype<Matrix>(layer + 2 * WORD + 2 * MATRIX)
}
export function outBias(layer: usize): u32 {
  return load<u32>(layer + 2 * WORD + 3 * MATRIX)
}
export function ffnNorm(layer: usize): u32 {
  return load<u32>(layer + 3 * WORD + 3 * MATRIX)
}
export function gateUpMatrix(layer: usize): Matrix {
  return changetype<Matrix>(layer + 4 * WORD + 3 * MATRIX)
}
export function downMatrix(layer: usize): Matrix {
  return changetype<Matrix>(layer + 4 * WORD + 4 * MATRIX)
}
