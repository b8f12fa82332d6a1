/**
 * Mixers that keep a state (models/state.ts has the picture): a short convolution, alone or before a gated delta net. The state
 * of a row lies in the page of its block, in place of the cache rows of other layers: it is that behind the last token of the
 * block so far. So a row takes the state of the row before it one token on, where it lies; the first of a block takes it from
 * the page before, which stays as it is, and the first of all begins with zeros.
 *
 *     page of a layer   f32 (taps − 1, channels), padded ┃ f32 (value heads, keyDim, valueDim)
 *
 * Rows of a conversation come in the order of their positions. Ranks share channels, then heads, each through all rows.
 */
import { Layer, MIXER_CONV, Plan, Recurrence, StateLayer } from '../abi'
import { arena, mine, rowAt } from '../arena'
import { pageAt } from '../cache'
import { countState } from '../count'
import { rank } from '../host'
import { silu } from '../kernels/activation'
import { clearPadding, multiply } from '../kernels/elementwise'
import { exp1 } from '../kernels/exp'
import { headNorm } from '../kernels/norm'
import { convolve, Delta, deltaStep, inverseLength, softplus } from '../kernels/recurrence'
import { linear, productOf } from '../linear'
import { buffersOf, inMatrix, kindOf, outMatrix, recurrenceOf, vectorAt } from '../plan'
import { ATTENTION, enter, REST } from '../profile'
import { columnBytes, hiddenStride, stateOutWidth } from '../sizes'
import { barrier, isMine, next, spanStart } from '../team'

/** Channels that a rank takes at least. */
const UNIT: u32 = 16
/** Under the root, where queries and keys are made as long as 1. */
const LENGTH_EPS: f32 = 1e-6

/** A layer over `count` rows: x → y (rows of the hidden width), added to it if `adds`. */
export function mixStates(plan: Plan, layer: Layer, count: u32, x: usize, y: usize, adds: bool): void {
  const a = arena()
  const b = buffersOf(plan)
  const kind = kindOf(plan, layer)
  const r = recurrenceOf(kind)
  const projected = productOf(inMatrix(layer), count)
  projected.bias = vectorAt(plan, layer.inBias)
  projected.from(x, hiddenStride(plan))
  projected.into(a.projection, b.projection)
  linear(projected)
  enter(ATTENTION)
  countState(r, layer, count)
  convolveRows(plan, layer, r, kind.mixer == MIXER_CONV, count)
  barrier()
  if (kind.mixer != MIXER_CONV) {
    for (let head = next(); head < r.valueHeads; head = next()) runHead(plan, layer, r, head, count)
    barrier()
  }
  enter(REST)
  const width = stateOutWidth(kind)
  for (let i: u32 = 0; i < count; i++) if (isMine(i)) clearPadding(a.averages + i * b.averages, width)
  const out = productOf(outMatrix(layer), count)
  out.bias = vectorAt(plan, layer.outBias)
  out.from(a.averages, b.averages)
  out.into(y, hiddenStride(plan))
  out.adds = adds ? 1 : 0
  linear(out)
}

/** The layer's part of the page in which the state before row i lies. */
function before(plan: Plan, layer: Layer, i: u32): usize {
  const row = rowAt(i)
  return pageAt(plan, layer, row.conversation, row.position ? row.position - 1 : 0)
}
/** That in which the state behind it is to lie. */
function behind(plan: Plan, layer: Layer, i: u32): usize {
  const row = rowAt(i)
  return pageAt(plan, layer, row.conversation, row.position)
}

/** This rank's channels of all rows: C ⊙ conv(B ⊙ x), or silu(conv(·)) of all that a delta net reads. */
function convolveRows(plan: Plan, layer: Layer, r: Recurrence, isAlone: bool, count: u32): void {
  const a = arena()
  const b = buffersOf(plan)
  const own = changetype<StateLayer>(layer)
  const first = spanStart(r.channels, UNIT, rank)
  const n = spanStart(r.channels, UNIT, rank + 1) - first
  if (!n) return
  const stride = (r.channels as usize) << 2
  const at = (first as usize) << 2
  const weights = vectorAt(plan, own.conv) + at
  const bias = own.convBias ? vectorAt(plan, own.convBias) + at : 0
  for (let i: u32 = 0; i < count; i++) {
    const from = before(plan, layer, i) + at
    if (rowAt(i).position == 0) clearColumns(from, stride, r.taps - 1, n)
    const input = a.projection + i * b.projection + at
    const output = (isAlone ? a.averages + i * b.averages : a.query + i * b.query) + at
    if (isAlone) multiply(input, input + 2 * stride, n)
    convolve(input, from, behind(plan, layer, i) + at, weights, bias, stride, r.taps, n, output)
    if (isAlone) multiply(output, input + stride, n)
    else silu(output, n, output)
  }
}

function clearColumns(at: usize, stride: usize, count: u32, n: u32): void {
  for (let k: u32 = 0; k < count; k++) memory.fill(at + k * stride, 0, n << 2)
}

/** One value head of all rows. */
function runHead(plan: Plan, layer: Layer, r: Recurrence, head: u32, count: u32): void {
  const a = arena()
  const b = buffersOf(plan)
  const own = changetype<StateLayer>(layer)
  // Between two products nothing is in it.
  const d = changetype<Delta>(mine(a.tile))
  const keyDim = r.keyDim
  const valueDim = r.valueDim
  const valueHeads = r.valueHeads
  d.keyDim = keyDim
  d.valueDim = valueDim
  const keyHead = r.isTiled ? head % r.keyHeads : (head * r.keyHeads) / valueHeads
  const keys = r.keyHeads * keyDim
  const matrix = columnBytes(r) + ((head * keyDim * valueDim) << 2)
  const fades = exp1(load<f32>(vectorAt(plan, own.decay) + (head << 2)))
  const weight = vectorAt(plan, own.stateNorm)
  const scale: f32 = (1 as f32) / sqrt<f32>(keyDim as f32)
  for (let i: u32 = 0; i < count; i++) {
    const projected = a.projection + i * b.projection + (r.channels << 2)
    const convolved = a.query + i * b.query
    const z = projected + ((head * valueDim) << 2)
    const gates = projected + ((valueHeads * valueDim + head) << 2)
    d.q = convolved + ((keyHead * keyDim) << 2)
    d.k = d.q + (keys << 2)
    d.v = convolved + ((2 * keys + head * valueDim) << 2)
    d.qFactor = inverseLength(d.q, keyDim, LENGTH_EPS) * scale
    d.kFactor = inverseLength(d.k, keyDim, LENGTH_EPS)
    d.beta = (1 as f32) / ((1 as f32) + exp1(-load<f32>(gates)))
    d.keep = exp1(-fades * (softplus(load<f32>(gates + (valueHeads << 2))) as f32))
    d.from = before(plan, layer, i) + matrix
    d.to = behind(plan, layer, i) + matrix
    d.o = a.averages + i * b.averages + ((head * valueDim) << 2)
    if (rowAt(i).position == 0) memory.fill(d.from, 0, (keyDim * valueDim) << 2)
    deltaStep(d)
    headNorm(d.o, weight, valueDim, r.eps)
    silu(z, valueDim, z)
    multiply(d.o, z, valueDim)
  }
}
