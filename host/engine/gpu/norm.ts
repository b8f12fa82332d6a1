/** Norms of rows of the residual stream: norm.wgsl. */
import { NORM_LAYER } from '../../../assembly/abi.ts'
import type { Gpu } from './gpu.ts'
import { roundingText } from './math.ts'
import type { GpuWeights, Operation, RowsAt, StepBuffers } from './operations.ts'
import type { GpuPlan } from './plan.ts'
import { normText } from './texts.ts'

export interface Norm {
  /** abi.NORM_…; 0: rows are copied. */
  kind: number
  eps: number
  /** Offsets of f32 (hiddenDim). */
  weight: number
  bias: number
}

export const NORM_NONE: Norm = { kind: 0, eps: 0, weight: 0, bias: 0 }

interface Input {
  gpu: Gpu
  weights: GpuWeights
  step: StepBuffers
  plan: GpuPlan
}

/** Rows of `from`, normed, → `into`, another buffer; `count` last: only those whose last norm is kept. */
export async function normOperation(
  { gpu, weights, step, plan }: Input,
  { kind, eps, weight, bias }: Norm,
  from: RowsAt,
  into: RowsAt,
  { adds = false, count = 'rows' }: { adds?: boolean; count?: 'rows' | 'last' } = {},
): Promise<Operation> {
  const gathers = count === 'last'
  const constants = {
    KIND: kind,
    ADDS: Number(adds),
    GATHERS: Number(gathers),
    WIDTH: plan.hiddenDim,
    STRIDE: from.stride,
    EPS: eps,
  }
  const pipeline = await gpu.pipeline({ name: 'norm', text: roundingText + normText }, constants)
  const bytes = 4 * plan.hiddenDim
  // What a kind has no use for is bound to something that is there.
  const scale = weights.bind(weight, bytes)
  const shift = kind === NORM_LAYER ? weights.bind(bias, bytes) : scale
  const parameters = gpu.parameters('norm', Uint32Array.of(scale.word, shift.word, 0, 0))
  const entries = [parameters, step.wanted, scale.resource, shift.resource, from.buffer, into.buffer]
  const bindings = gpu.bind('norm', pipeline, entries)
  return {
    name: 'norm',
    pipeline,
    bindings,
    workgroups: ({ rows, logits, states = 0 }) => [gathers ? logits + states : rows, 1],
  }
}
