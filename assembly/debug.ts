/** The debug build: the whole ABI with its asserts, and single parts for tests. */
import { GELU, GELU_TANH, Matrix, Plan, RELU2, SILU } from './abi'
import { arena, rowAt } from './arena'
import { counters } from './count'
import { begin } from './forward'
import { gelu, geluTanh, relu2, sigmoidGate, silu, softcap, swiglu } from './kernels/activation'
import { decodeRow } from './kernels/blocks'
import { cos1, exp1, sin1 } from './kernels/exp'
import { hadamard } from './kernels/hadamard'
import { layerNorm, rmsNorm } from './kernels/norm'
import { quantizeHead, quantizeQuery } from './kernels/quantize'
import { rotate, writeAngles } from './kernels/rope'
import {
  exponentials,
  pageScratch,
  prepareKeys_int8,
  prepareValues_int8,
  queryStream,
  scores_f32,
  scores_int8,
  valuePair_int8,
  values_f32,
  values_int8,
} from './kernels/sweep'
import { linear, linearBlocks, productOf } from './linear'
import { attend } from './mixers/attention'
import { layerAt } from './plan'
import { sample } from './sample'
import { hiddenStride, sweepQueryBytes } from './sizes'

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
  attend(plan, layerAt(plan, index), index, count, a.normed, a.x, false)
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

/** y = W x for a matrix record at `matrix`, offsets from the plan's address; bias an address or 0; y += … if `adds`. */
export function matmul(
  matrix: usize,
  bias: usize,
  x: usize,
  xStride: usize,
  count: u32,
  y: usize,
  yStride: usize,
  adds: u32,
): void {
  const p = productOf(changetype<Matrix>(matrix), count)
  p.bias = bias
  p.from(x, xStride)
  p.into(y, yStride)
  p.adds = adds
  linear(p)
}

/** `blocks` matrices stored one below the other, each applied to a vector of its own. */
export function matmulBlocks(
  matrix: usize,
  blocks: u32,
  x: usize,
  blockStride: usize,
  xStride: usize,
  count: u32,
  y: usize,
  yStride: usize,
): void {
  const p = productOf(changetype<Matrix>(matrix), count)
  p.from(x, xStride)
  p.into(y, yStride)
  linearBlocks(p, blocks, blockStride)
}

/** One row of a matrix in blocks as f32. */
export function rowOfBlocks(matrix: usize, row: u32, factor: f32, target: usize): void {
  const m = changetype<Matrix>(matrix)
  decodeRow(m, arena().plan + m.data, row, factor, target)
}

export function norm(x: usize, w: usize, n: u32, eps: f32, y: usize): void {
  rmsNorm(x, w, n, eps, y)
}

/** Rotates a head at a position; `angles` is room for 2 · pairs f32. */
export function rope(head: usize, position: u32, invFreq: usize, pairs: u32, angles: usize): void {
  writeAngles(angles, position, invFreq, pairs, 1)
  rotate(head, angles, pairs)
}

export function gatedProduct(gate: usize, up: usize, n: u32, y: usize): void {
  swiglu(gate, up, n, y)
}
/** y = f(x), f by its code in abi.ts. */
export function activate(code: u32, x: usize, n: u32, y: usize): void {
  if (code == SILU) silu(x, n, y)
  else if (code == GELU) gelu(x, n, y)
  else if (code == GELU_TANH) geluTanh(x, n, y)
  else if (code == RELU2) relu2(x, n, y)
}
export function cap(x: usize, n: u32, at: f32): void {
  softcap(x, n, at)
}
export function normLayer(x: usize, w: usize, b: usize, n: u32, eps: f32, y: usize): void {
  layerNorm(x, w, b, n, eps, y)
}
export function gate(gates: usize, n: u32, y: usize): void {
  sigmoidGate(gates, n, y)
}

/** Rotates n numbers in place. */
export function spread(x: usize, n: u32): void {
  hadamard(x, n)
}

/** A head of a cache row, 4 bytes at each multiple of 16 of `target`; its scale. */
export function quantizeRow(x: usize, dim: u32, target: usize): f32 {
  return quantizeHead(x, dim, target)
}

/** One page of one or several queries, part by part; the contracts are those of kernels/sweep.ts. Returns the scale of the query. */
export function prepareQuery(x: usize, dim: u32, target: usize): f32 {
  return quantizeQuery(x, dim, target, queryStream(dim))
}
export function queryBytes(dim: u32): usize {
  return sweepQueryBytes(dim)
}
export function pageScratchBytes(dim: u32): usize {
  return pageScratch(dim)
}
export function scores(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  q: usize,
  queries: u32,
  scales: usize,
  target: usize,
  view: u32,
  scratch: usize,
): void {
  prepareKeys_int8(head, headDim, dim, tokens, queries, view, scratch)
  scores_int8(head, headDim, dim, tokens, q, queries, scales, target, view, scratch)
}
export function scoresF32(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  q: usize,
  scale: f32,
  target: usize,
  view: u32,
): void {
  scores_f32(head, headDim, dim, tokens, q, scale, target, view)
}
export function weigh(tokens: u32, scores: usize, state: usize): void {
  exponentials(tokens, scores, state)
}
export function values(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens: u32,
  scores: usize,
  partial: usize,
  scratch: usize,
): void {
  values_int8(head, headDim, dim, tokens, scores, partial, scratch)
}
export function valuePair(
  head: usize,
  headDim: u32,
  dim: u32,
  tokens0: u32,
  tokens1: u32,
  scores: usize,
  partial: usize,
  stride: usize,
  scratch: usize,
): void {
  prepareValues_int8(head, headDim, dim, max(tokens0, tokens1), u32.MAX_VALUE, scratch)
  valuePair_int8(head, dim, tokens0, tokens1, scores, partial, stride, scratch)
}
export function valuesF32(head: usize, headDim: u32, dim: u32, tokens: u32, scores: usize, partial: usize): void {
  values_f32(head, headDim, dim, tokens, scores, partial)
}

/** Samples from logits with the settings of a row; u32.MAX_VALUE if one is not finite. */
export function sampleRow(index: u32, logits: usize): u32 {
  return sample(changetype<Plan>(arena().plan), rowAt(index), logits)
}

/** Address of the Counts of a rank since profile() was called. */
export function counted(which: u32): usize {
  return counters(which)
}
