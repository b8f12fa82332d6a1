/**
 * A step as a list of operations, from the plan alone: what assembly/forward.ts and ffn.ts are for the other engine, in the
 * same order. It is made once, when the engine opens.
 */
import * as abi from '../../../assembly/abi.ts'
import { attentionOperations } from './attention.ts'
import type { AttentionStep } from './attention-step.ts'
import { embedOperations } from './embed.ts'
import type { Gpu } from './gpu.ts'
import { functionsText } from './math.ts'
import { NORM_NONE, type Norm, normOperation } from './norm.ts'
import type { GpuWeights, Operation, RowsAt, StepBuffers } from './operations.ts'
import type { DevicePages } from './pages.ts'
import type { GpuLayer, GpuPlan } from './plan.ts'
import { type ProductScratch, productOperations } from './products.ts'
import { stateOperations } from './state.ts'
import { activateText, softcapText } from './texts.ts'

/** What passes from one operation to the next, f32 (maxRows, stride). */
export interface Activations {
  /** The residual stream, and what a block reads of it. */
  x: RowsAt
  normed: RowsAt
  projection: RowsAt
  gateUp: RowsAt
  activation: RowsAt
  /** What a norm is applied to before it is added to x. */
  branch: RowsAt
  /** What the feed-forward block of a parallel layer reads. */
  ffnInput: RowsAt
  /** Normed rows that want logits, then those that want their hidden state alone. */
  last: RowsAt
  /** (maxLogits, stride) */
  logits: RowsAt
}

export interface Parts {
  gpu: Gpu
  weights: GpuWeights
  step: StepBuffers
  plan: GpuPlan
  pages: DevicePages
  rows: Activations
  scratch: ProductScratch
  /** What the attention of all layers shares. */
  shared: AttentionStep
  maxRows: number
  maxLogits: number
}

/** From tokens to logits. */
export async function forwardOperations(parts: Parts): Promise<Operation[]> {
  const { plan, rows } = parts
  const made = [
    embedOperations(parts, rows.x),
    ...plan.layersInOrder.map((layer) => layerOperations(parts, layer)),
    headOperations(parts),
  ]
  return (await Promise.all(made)).flat()
}

/** What a layer adds to the residual stream (models/layer.ts has the picture). */
async function layerOperations(parts: Parts, layer: GpuLayer): Promise<Operation[]> {
  const { rows } = parts
  const { is: kind } = layer
  const norms = normsOf(layer)
  const operations: Operation[] = []
  let input = rows.x
  if (kind.mixerInKind) {
    input = rows.normed
    operations.push(await normOperation(parts, norms.mixerIn, rows.x, input))
  }
  // In a parallel layer both blocks read what was there before either of them added anything.
  if (kind.isParallel) operations.push(await normOperation(parts, norms.ffnIn, rows.x, rows.ffnInput))
  operations.push(...(await attend(parts, layer, input, kind.mixerOutKind ? rows.branch : rows.x)))
  if (kind.mixerOutKind)
    operations.push(await normOperation(parts, norms.mixerOut, rows.branch, rows.x, { adds: true }))
  input = kind.isParallel ? rows.ffnInput : kind.ffnInKind ? rows.normed : rows.x
  if (!kind.isParallel && kind.ffnInKind) operations.push(await normOperation(parts, norms.ffnIn, rows.x, input))
  operations.push(...(await feedForward(parts, layer, input, kind.ffnOutKind ? rows.branch : rows.x)))
  if (kind.ffnOutKind) operations.push(await normOperation(parts, norms.ffnOut, rows.branch, rows.x, { adds: true }))
  return operations
}

function normsOf(layer: GpuLayer): Record<'mixerIn' | 'mixerOut' | 'ffnIn' | 'ffnOut', Norm> {
  const { is: kind } = layer
  const norm = (is: number, eps: number, weight: number, bias: number): Norm =>
    is === 0 ? NORM_NONE : { kind: is, eps, weight, bias }
  return {
    mixerIn: norm(kind.mixerInKind, kind.mixerInEps, layer.mixerInNorm, layer.mixerInNormBias),
    mixerOut: norm(kind.mixerOutKind, kind.mixerOutEps, layer.mixerOutNorm, layer.mixerOutNormBias),
    ffnIn: norm(kind.ffnInKind, kind.ffnInEps, layer.ffnInNorm, layer.ffnInNormBias),
    ffnOut: norm(kind.ffnOutKind, kind.ffnOutEps, layer.ffnOutNorm, layer.ffnOutNormBias),
  }
}

/** W · from (+ bias) → into, which is added to if it is the residual stream. */
function product(
  { gpu, weights, step, rows, scratch, maxRows, maxLogits }: Parts,
  matrix: abi.Matrix,
  { from, into, bias }: { from: RowsAt; into: RowsAt; bias: number },
  count: 'rows' | 'logits' = 'rows',
): Promise<Operation[]> {
  const adds = into === rows.x
  const most = count === 'rows' ? maxRows : maxLogits
  return productOperations(gpu, weights, step, { matrix, from, into, bias, adds, count, most, scratch })
}

async function attend(parts: Parts, layer: GpuLayer, from: RowsAt, into: RowsAt): Promise<Operation[]> {
  const { gpu, weights, step, pages, rows, scratch, shared } = parts
  const { matrices, is } = layer
  const projection = rows.projection
  const mix = is.mixer === abi.MIXER_ATTENTION ? attentionOperations : stateOperations
  const cache = {
    buffer: pages.ofLayer(layer.index),
    layerStride: pages.kind(layer.pageKind).layerBytes,
    isInt8: pages.isInt8,
  }
  const [before, mixed] = await Promise.all([
    product(parts, matrices.in, { from, into: projection, bias: layer.inBias }),
    mix(gpu, weights, step, { shared, layer, projection, cache, scratch }),
  ])
  const after = await product(parts, matrices.out, { from: mixed.result, into, bias: layer.outBias })
  return [...before, ...mixed.operations, ...after]
}

/** W_down · (f(W_gate · z) ⊙ W_up · z), or W_down · f(W_up · z). */
async function feedForward(parts: Parts, layer: GpuLayer, from: RowsAt, into: RowsAt): Promise<Operation[]> {
  const { gpu, rows } = parts
  const { matrices, is: kind } = layer
  const { gateUp, activation } = rows
  const constants = {
    ACTIVATION: kind.activation,
    IS_GATED: kind.isGated,
    WIDTH: kind.ffnDim,
    FROM_STRIDE: gateUp.stride,
    INTO_STRIDE: activation.stride,
  }
  const pipeline = await gpu.pipeline({ name: 'activate', text: functionsText + activateText }, constants)
  const activate: Operation = {
    name: `layer ${layer.index} activate`,
    pipeline,
    bindings: gpu.bind('activate', pipeline, [gateUp.buffer, activation.buffer]),
    workgroups: (sizes) => [Math.ceil(kind.ffnDim / 64), sizes.rows],
  }
  const [up, down] = await Promise.all([
    product(parts, matrices.gateUp, { from, into: gateUp, bias: layer.gateUpBias }),
    product(parts, matrices.down, { from: activation, into, bias: layer.downBias }),
  ])
  return [...up, activate, ...down]
}

/** Logits of the rows that want them, in their order. */
async function headOperations(parts: Parts): Promise<Operation[]> {
  const { gpu, plan, rows } = parts
  const norm = { kind: plan.headNormKind, eps: plan.headNormEps, weight: plan.headNorm, bias: plan.headNormBias }
  const { last, logits } = rows
  const operations = [
    await normOperation(parts, norm, rows.x, last, { count: 'last' }),
    ...(await product(parts, plan.head, { from: last, into: logits, bias: plan.headBias }, 'logits')),
  ]
  if (!plan.headSoftcap) return operations
  const constants = { WIDTH: plan.vocabSize, STRIDE: logits.stride, CAP: plan.headSoftcap }
  const pipeline = await gpu.pipeline({ name: 'softcap', text: functionsText + softcapText }, constants)
  const bindings = gpu.bind('softcap', pipeline, [logits.buffer])
  const across = Math.ceil(plan.vocabSize / 64)
  return [...operations, { name: 'softcap', pipeline, bindings, workgroups: (sizes) => [across, sizes.logits] }]
}
