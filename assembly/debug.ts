/** The debug build: the whole ABI with its asserts, and single parts for tests. */
import { arena, hiddenStride } from './arena'
import { attend } from './attention'
import { begin } from './forward'
import { cos1, exp1, sin1 } from './kernels/exp'
import { linear } from './kernels/matmul'
import { layerAt, Matrix, Plan } from './plan'

export * from './index'

/** Address of f32 (maxRows, hidden width padded to 16): the input of attentionLayer, already normalised. */
export function normed(): usize {
  return arena().normed
}

/** Address of the output of attentionLayer, in the same layout. */
export function hidden(): usize {
  return arena().x
}

export function hiddenStrideBytes(): usize {
  return hiddenStride(changetype<Plan>(arena().plan))
}

/** Attention of one layer over `count` rows of normalised input; conversation and position are those of the rows. */
export function attentionLayer(index: u32, count: u32): void {
  const a = arena()
  const plan = changetype<Plan>(a.plan)
  begin(plan, count)
  attend(plan, layerAt(a.plan, index), index, count, a.x, false)
}

/** y = W x for a matrix record at `matrix`, offsets counting from the plan's address. */
export function matmul(matrix: usize, x: usize, xStride: usize, count: u32, y: usize, yStride: usize): void {
  linear(changetype<Matrix>(matrix), 0, x, xStride, count, y, yStride, false)
}

export function exp(x: f32): f32 {
  return exp1(x)
}
export function sin(x: f64): f64 {
  return sin1(x)
}
export function cos(x: f64): f64 {
  return cos1(x)
}
