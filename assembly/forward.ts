/**
 * One step, as every rank runs it: rows of tokens in, sampled tokens out. A row is any token of any conversation; prompt
 * rows and generated rows are the same call. Only rows that want logits pay for the output head.
 */
import { Layer, Matrix, MIXER_ATTENTION, NO_TOKEN, NORM_LAYER, PAGE_TOKENS, Plan, TYPE_Q8 } from './abi'
import { arena, rowAt } from './arena'
import { tokenAt } from './cache'
import { countGathered, countNorm } from './count'
import { feedForward } from './ffn'
import { softcap } from './kernels/activation'
import { decodeRow, isInBlocks } from './kernels/blocks'
import { addTo } from './kernels/elementwise'
import { layerNorm, rmsNorm } from './kernels/norm'
import { writeAngles } from './kernels/rope'
import { linear, productOf } from './linear'
import { attend } from './mixers/attention'
import { writeTurns } from './mixers/key-bias'
import { mixStates } from './mixers/state'
import { buffersOf, embedding, head, kindOf, layerAt, positions, rotationAt, rotationOffset, vectorAt } from './plan'
import { begin as beginProfile, enter, REST } from './profile'
import { sample } from './sample'
import { hiddenStride, logitsStride } from './sizes'
import { barrier, isMine } from './team'

export const STEP_OK: u32 = 0
/** A logit is NaN or infinite: the weights are broken. */
export const STEP_NOT_FINITE: u32 = 1

export function forward(count: u32): u32 {
  const a = arena()
  const plan = changetype<Plan>(a.plan)
  beginProfile()
  begin(plan, count)
  for (let index: u32 = 0; index < plan.nLayers; index++) runLayer(plan, layerAt(plan, index), index, count)
  const status = finish(plan, count)
  enter(REST)
  return status
}

/** What a layer adds to the residual stream (models/layer.ts has the picture). */
function runLayer(plan: Plan, layer: Layer, index: u32, count: u32): void {
  const a = arena()
  const kind = kindOf(plan, layer)
  let input = a.x
  if (kind.mixerInKind) {
    input = a.normed
    normalise(plan, kind.mixerInKind, kind.mixerInEps, layer.mixerInNorm, layer.mixerInNormBias, count, a.x, input)
  }
  // In a parallel layer both blocks read what was there before either of them added anything.
  if (kind.isParallel) prepareFeedForward(plan, layer, count, a.ffnInput)
  const mixed = kind.mixerOutKind ? a.branch : a.x
  const adds = kind.mixerOutKind == 0
  if (kind.mixer == MIXER_ATTENTION) attend(plan, layer, index, count, input, mixed, adds)
  else mixStates(plan, layer, count, input, mixed, adds)
  if (kind.mixerOutKind) {
    normalise(
      plan,
      kind.mixerOutKind,
      kind.mixerOutEps,
      layer.mixerOutNorm,
      layer.mixerOutNormBias,
      count,
      mixed,
      mixed,
    )
    addBranch(plan, count)
  }
  input = kind.isParallel ? a.ffnInput : kind.ffnInKind ? a.normed : a.x
  if (!kind.isParallel && kind.ffnInKind) prepareFeedForward(plan, layer, count, input)
  const fed = kind.ffnOutKind ? a.branch : a.x
  feedForward(plan, layer, count, input, fed, kind.ffnOutKind == 0)
  if (kind.ffnOutKind) {
    normalise(plan, kind.ffnOutKind, kind.ffnOutEps, layer.ffnOutNorm, layer.ffnOutNormBias, count, fed, fed)
    addBranch(plan, count)
  }
}

/** What the feed-forward block reads, normed if it is to be. */
function prepareFeedForward(plan: Plan, layer: Layer, count: u32, target: usize): void {
  const a = arena()
  const kind = kindOf(plan, layer)
  if (kind.ffnInKind) {
    normalise(plan, kind.ffnInKind, kind.ffnInEps, layer.ffnInNorm, layer.ffnInNormBias, count, a.x, target)
    return
  }
  const stride = hiddenStride(plan)
  for (let i: u32 = 0; i < count; i++) if (isMine(i)) memory.copy(target + i * stride, a.x + i * stride, stride)
}

function addBranch(plan: Plan, count: u32): void {
  const a = arena()
  const stride = hiddenStride(plan)
  for (let i: u32 = 0; i < count; i++) if (isMine(i)) addTo(a.x + i * stride, a.branch + i * stride, plan.hiddenDim)
}

/** Gathers embeddings, notes each token in its conversation's history, and prepares the rotation angles. */
export function begin(plan: Plan, count: u32): void {
  const a = arena()
  if (isMine(0)) writeTurns(plan)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    const row = rowAt(i)
    assert(row.token < plan.vocabSize && row.conversation < a.conversations)
    assert(row.position < a.tableBlocks * PAGE_TOKENS)
    store<u32>(tokenAt(row.conversation, row.position), row.token)
    const x = a.x + i * hiddenStride(plan)
    const position = row.dropped + row.position
    gather(embedding(plan), row.token, plan.embeddingScale, x)
    if (positions(plan).type) addPosition(plan, position, i, x)
    const angles = a.angles + i * buffersOf(plan).angles
    for (let r: u32 = 0; r < plan.nRotations; r++) {
      const rotation = rotationAt(plan, rotationOffset(plan, r))
      const pairs = rotation.dim >> 1
      writeAngles(angles + rotation.angles, position, a.plan + rotation.invFreq, pairs, rotation.magnitude)
    }
  }
}

/** One row of a matrix as f32, times `factor`. */
function gather(m: Matrix, row: u32, factor: f32, target: usize): void {
  const base = arena().plan
  countGathered(m)
  if (isInBlocks(m.type)) {
    decodeRow(m, base + m.data, row, factor, target)
    return
  }
  const source = base + m.data + (row as usize) * m.stride
  if (m.type != TYPE_Q8) {
    for (let i: usize = 0; i < m.stride; i += 16)
      v128.store(target + i, f32x4.mul(v128.load(source + i), f32x4.splat(factor)))
    return
  }
  const scale = load<f32>(base + m.scales + (row << 2)) * factor
  for (let i: u32 = 0; i < m.cols; i++)
    store<f32>(target + (i << 2), (((load<u8>(source + i) as i32) - 64) as f32) * scale)
}

/** Learned positions: the last one is that of all behind it. */
function addPosition(plan: Plan, position: u32, i: u32, x: usize): void {
  const m = positions(plan)
  const row = arena().normed + i * hiddenStride(plan)
  gather(m, min(position, m.rows - 1), 1, row)
  addTo(x, row, plan.hiddenDim)
}

/** Norms `count` rows of the hidden width; `from` and `to` may be the same. */
function normalise(plan: Plan, kind: u32, eps: f32, weight: u32, bias: u32, count: u32, from: usize, to: usize): void {
  const stride = hiddenStride(plan)
  countNorm(plan, kind)
  for (let i: u32 = 0; i < count; i++)
    if (isMine(i)) normaliseRow(plan, kind, eps, weight, bias, from + i * stride, to + i * stride)
}

function normaliseRow(plan: Plan, kind: u32, eps: f32, weight: u32, bias: u32, from: usize, to: usize): void {
  const base = arena().plan
  if (kind == NORM_LAYER) layerNorm(from, base + weight, base + bias, plan.hiddenDim, eps, to)
  else rmsNorm(from, base + weight, plan.hiddenDim, eps, to)
}

/** Hidden states behind the last norm: of the rows that want logits, then of those that want nothing else; how many the former are. */
function normaliseLast(plan: Plan, count: u32): u32 {
  const a = arena()
  const stride = hiddenStride(plan)
  let wanted: u32 = 0
  for (let i: u32 = 0; i < count; i++) if (rowAt(i).wantsLogits) wanted++
  let next: u32 = 0
  let nextState = wanted
  for (let i: u32 = 0; i < count; i++) {
    const row = rowAt(i)
    if (!row.wantsLogits && !row.wantsState) continue
    const place = row.wantsLogits ? next++ : nextState++
    if (!isMine(place)) continue
    const target = a.normed + place * stride
    const from = a.x + i * stride
    normaliseRow(plan, plan.headNormKind, plan.headNormEps, plan.headNorm, plan.headNormBias, from, target)
  }
  if (nextState) countNorm(plan, plan.headNormKind)
  return wanted
}

/** Logits and samples of the rows that want them, in their order. */
function finish(plan: Plan, count: u32): u32 {
  const a = arena()
  const stride = hiddenStride(plan)
  const wanted = normaliseLast(plan, count)
  assert(wanted <= a.maxLogits)
  // A slice of a prompt that is not its last has no use for the head.
  if (wanted) {
    const p = productOf(head(plan), wanted)
    p.bias = vectorAt(plan, plan.headBias)
    p.from(a.normed, stride)
    p.into(a.logits, logitsStride(plan))
    linear(p)
  }
  let k: u32 = 0
  for (let i: u32 = 0; i < count; i++) {
    if (!rowAt(i).wantsLogits) continue
    if (isMine(k)) {
      const logits = a.logits + k * logitsStride(plan)
      if (plan.headSoftcap) softcap(logits, plan.vocabSize, plan.headSoftcap)
      store<u32>(a.sampled + (k << 2), sample(plan, rowAt(i), logits))
    }
    k++
  }
  barrier()
  for (k = 0; k < wanted; k++) if (load<u32>(a.sampled + (k << 2)) == NO_TOKEN) return STEP_NOT_FINITE
  return STEP_OK
}
