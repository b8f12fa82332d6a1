/** The plan as the engine sees it: views straight over the words that models/plan-words.ts lays out. The records are in abi.ts. */
import {
  Buffers,
  Layer,
  LayerKind,
  LayerMatrices,
  Matrix,
  MIXER_ATTENTION,
  PageKind,
  Plan,
  Recurrence,
  Rotation,
} from './abi'

const MATRIX: usize = offsetof<Matrix>()
/** Matrices of a layer. */
export const MATRICES: usize = offsetof<LayerMatrices>() >> 2
export const LAYER_BYTES: usize = offsetof<Layer>() + MATRICES * MATRIX
/** Plan, buffers, and the matrices of the model. */
export const HEAD_BYTES: usize = offsetof<Plan>() + offsetof<Buffers>() + 3 * MATRIX

function at(plan: Plan, offset: usize): usize {
  return changetype<usize>(plan) + offset
}

export function buffersOf(plan: Plan): Buffers {
  return changetype<Buffers>(at(plan, offsetof<Plan>()))
}

function matrixAt(plan: Plan, index: usize): Matrix {
  return changetype<Matrix>(at(plan, offsetof<Plan>() + offsetof<Buffers>() + index * MATRIX))
}
export function embedding(plan: Plan): Matrix {
  return matrixAt(plan, 0)
}
/** Learned positions; type 0 if there are none. */
export function positions(plan: Plan): Matrix {
  return matrixAt(plan, 1)
}
export function head(plan: Plan): Matrix {
  return matrixAt(plan, 2)
}

export function pageKindAt(plan: Plan, index: u32): PageKind {
  return changetype<PageKind>(at(plan, HEAD_BYTES + index * offsetof<PageKind>()))
}

/** Offset of a rotation. */
export function rotationOffset(plan: Plan, index: u32): usize {
  return HEAD_BYTES + plan.nPageKinds * offsetof<PageKind>() + index * offsetof<Rotation>()
}
export function rotationAt(plan: Plan, offset: usize): Rotation {
  return changetype<Rotation>(at(plan, offset))
}

export function kindAt(plan: Plan, offset: usize): LayerKind {
  return changetype<LayerKind>(at(plan, offset))
}
/** How wide the state is that a layer keeps: of one without attention only. */
export function recurrenceOf(kind: LayerKind): Recurrence {
  return changetype<Recurrence>(changetype<usize>(kind) + offsetof<LayerKind>())
}

/** Bytes of a layer kind with its tables, or with its state's widths. */
export function kindBytes(kind: LayerKind): usize {
  if (kind.mixer != MIXER_ATTENTION) return offsetof<LayerKind>() + offsetof<Recurrence>()
  return offsetof<LayerKind>() + ((3 * (kind.maps as usize)) << 2)
}

/** Slot head that map `j` reads through view 0 (key), 1 (second key) or 2 (value). */
export function viewHead(kind: LayerKind, view: u32, j: u32): u32 {
  return load<u32>(changetype<usize>(kind) + offsetof<LayerKind>() + ((view * kind.maps + j) << 2))
}

export function layerAt(plan: Plan, index: u32): Layer {
  return changetype<Layer>(at(plan, plan.layers + index * LAYER_BYTES))
}
export function kindOf(plan: Plan, layer: Layer): LayerKind {
  return kindAt(plan, layer.kind)
}

export function matrixOf(layer: Layer, index: usize): Matrix {
  return changetype<Matrix>(changetype<usize>(layer) + offsetof<Layer>() + index * MATRIX)
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
  return offset ? at(plan, offset) : 0
}
