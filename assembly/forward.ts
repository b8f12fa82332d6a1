/**
 * One step, as every rank runs it: rows of tokens in, sampled tokens out. A row is any token of any conversation; prompt
 * rows and generated rows are the same call. Only rows that want logits pay for the output head.
 */
import { Matrix, NO_TOKEN, PAGE_TOKENS, Plan, TYPE_Q8 } from './abi'
import { arena, rowAt } from './arena'
import { tokenAt } from './cache'
import { countGathered, countNorm } from './count'
import { feedForward } from './ffn'
import { rmsNorm } from './kernels/norm'
import { writeAngles } from './kernels/rope'
import { linear, productOf } from './linear'
import { attend } from './mixers/attention'
import { embedding, head, layerAt } from './plan'
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
  for (let index: u32 = 0; index < plan.nLayers; index++) {
    const layer = layerAt(plan, index)
    normalise(plan, layer.attnNorm, count)
    attend(plan, layer, index, count, a.x, true)
    normalise(plan, layer.ffnNorm, count)
    feedForward(plan, layer, count)
  }
  const status = finish(plan, count)
  enter(REST)
  return status
}

/** Gathers embeddings, notes each token in its conversation's history, and prepares the rotation angles. */
export function begin(plan: Plan, count: u32): void {
  const a = arena()
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    const row = rowAt(i)
    assert(row.token < plan.vocabSize && row.conversation < a.conversations)
    assert(row.position < a.tablePages * PAGE_TOKENS)
    store<u32>(tokenAt(row.conversation, row.position), row.token)
    gather(embedding(plan), row.token, a.x + i * hiddenStride(plan))
    writeAngles(
      a.angles + i * (plan.ropeDim << 2),
      row.dropped + row.position,
      a.plan + plan.invFreq,
      plan.ropeDim >> 1,
      plan.ropeMagnitude,
    )
  }
}

/** One row of a matrix as f32. */
function gather(m: Matrix, row: u32, target: usize): void {
  const base = arena().plan
  const source = base + m.data + (row as usize) * m.stride
  countGathered(m)
  if (m.type != TYPE_Q8) {
    memory.copy(target, source, m.cols << 2)
    return
  }
  const scale = load<f32>(base + m.scales + (row << 2))
  for (let i: u32 = 0; i < m.cols; i++)
    store<f32>(target + (i << 2), (((load<u8>(source + i) as i32) - 64) as f32) * scale)
}

function normalise(plan: Plan, weight: u32, count: u32): void {
  const a = arena()
  const stride = hiddenStride(plan)
  countNorm(plan)
  for (let i: u32 = 0; i < count; i++)
    if (isMine(i)) rmsNorm(a.x + i * stride, a.plan + weight, plan.hiddenDim, plan.normEps, a.normed + i * stride)
}

/** Logits and samples of the rows that want them, in their order. */
function finish(plan: Plan, count: u32): u32 {
  const a = arena()
  const stride = hiddenStride(plan)
  let wanted: u32 = 0
  for (let i: u32 = 0; i < count; i++) {
    if (!rowAt(i).wantsLogits) continue
    if (isMine(wanted))
      rmsNorm(a.x + i * stride, a.plan + plan.norm, plan.hiddenDim, plan.normEps, a.normed + wanted * stride)
    wanted++
  }
  assert(wanted <= a.maxLogits)
  // A slice of a prompt that is not its last has no use for the head.
  if (wanted) {
    countNorm(plan)
    const p = productOf(head(plan), wanted)
    p.from(a.normed, stride)
    p.into(a.logits, logitsStride(plan))
    linear(p)
  }
  let k: u32 = 0
  for (let i: u32 = 0; i < count; i++) {
    if (!rowAt(i).wantsLogits) continue
    if (isMine(k)) store<u32>(a.sampled + (k << 2), sample(plan, rowAt(i), a.logits + k * logitsStride(plan)))
    k++
  }
  barrier()
  for (k = 0; k < wanted; k++) if (load<u32>(a.sampled + (k << 2)) == NO_TOKEN) return STEP_NOT_FINITE
  return STEP_OK
}
