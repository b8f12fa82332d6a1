/** The plan as the engine sees it: views straight over the words that models/plan.ts lays out. The records are in abi.ts. */
import { Layer, LayerMatrices, Matrix, Plan } from './abi'

const HEADER: usize = offsetof<Plan>()
const MATRIX: usize = offsetof<Matrix>()
const VECTORS: usize = offsetof<Layer>()
/** Matrices of a layer. */
export const MATRICES: usize = offsetof<LayerMatrices>() >> 2

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
  return matrixOf(layer, offsetof<LayerMatrices>('in') >> 2)
}
export function queryMatrix(layer: Layer): Matrix {
  return matrixOf(layer, offsetof<LayerMatrices>('query') >> 2)
}
export function encoderMatrix(layer: Layer): Matrix {
  return matrixOf(layer, offsetof<LayerMatrices>('encoder') >> 2)
}
export function decoderMatrix(layer: Layer): Matrix {
  return matrixOf(layer, offsetof<LayerMatrices>('decoder') >> 2)
}
export function outMatrix(layer: Layer): Matrix {
  return matrixOf(layer, offsetof<LayerMatrices>('out') >> 2)
}
export function gateUpMatrix(layer: Layer): Matrix {
  return matrixOf(layer, offsetof<LayerMatrices>('gateUp') >> 2)
}
export function downMatrix(layer: Layer): Matrix {
  return matrixOf(layer, offsetof<LayerMatrices>('down') >> 2)
}

/** Address of a vector; 0 if absent. */
export function vectorAt(plan: Plan, offset: u32): usize {
  return offset ? changetype<usize>(plan) + offset : 0
}
