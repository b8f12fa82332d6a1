/**
 * The plan of a file is a program with addresses. The hosts build it again from the config; this command cannot, so it
 * looks at every word: sizes must be possible and fit each other, and each offset must be where the tensor begins in the
 * order in which models/plan.ts lays tensors out, one right behind the other, up to the end of the weights. What passes cannot make the
 * engine read or write outside of what it was given.
 */
import {
  Layer,
  MAX_WIDTH,
  Matrix,
  PLAN_VERSION,
  Plan,
  Q4_BYTES,
  Q4_COLS,
  Q4_ROWS,
  SMALL_HIDDEN,
  TYPE_F32,
  TYPE_Q4,
  TYPE_Q8,
} from '../abi'
import { embedding, head, layerAt, MATRICES, matrixOf, viewHead } from '../plan'
import { reserve } from './memory'
import { beginBadFile, endBadFile, expected, header, unitBytes } from './model-file'
import { count, text } from './output'

const MAX_COUNT: u32 = 1 << 24
const MAX_LAYERS: u32 = 1024

const HEADER_WORDS: u64 = offsetof<Plan>() >> 2
const LAYER_WORDS: u64 = (offsetof<Layer>() + MATRICES * offsetof<Matrix>()) >> 2
const MATRIX_WORDS: u64 = offsetof<Matrix>() >> 2

/** Bytes of the plan; ends the command if they cannot be one. */
export function planBytes(): u64 {
  const bytes = unitBytes(header().planEnd - header().planBegin)
  if (bytes < HEADER_WORDS << 2) refuse('too few words')
  return bytes
}

/** Checks the plan at `plan`, and returns the bytes of all tensors that it names: those that are to be loaded. */
export function checkPlan(plan: Plan): u64 {
  checkSizes(plan)
  const words = HEADER_WORDS + 3 * (plan.maps as u64) + 2 * MATRIX_WORDS + plan.nLayers * LAYER_WORDS
  if (planBytes() != ((words + 15) & ~15) << 2) failAt('its length')
  checkHeads(plan)
  return checkTensors(plan)
}

/** A size of the plan is impossible. */
function refuse(what: string): void {
  beginBadFile('the plan')
  expected('one that its sizes allow, found ')
  text(what)
  endBadFile()
}

function failAt(what: string): void {
  beginBadFile('the plan')
  expected('that of its tensors, found another one in ')
  text(what)
  endBadFile()
}

function isCount(value: u32, max: u32): bool {
  return value >= 1 && value <= max
}

function isFinite32(value: f32): bool {
  return value - value == 0
}

function checkSizes(p: Plan): void {
  if (p.version != PLAN_VERSION) refuse('another version')
  if (!isCount(p.nLayers, MAX_LAYERS)) refuse('too many or no layers')
  if (!isCount(p.hiddenDim, MAX_WIDTH) || !isCount(p.ffnDim, MAX_WIDTH)) refuse('an impossible width')
  if (!isCount(p.vocabSize, MAX_COUNT) || !isCount(p.maxContext, MAX_COUNT))
    refuse('an impossible vocabulary or context')
  if (!isCount(p.maps, MAX_WIDTH) || !isCount(p.outDim, MAX_WIDTH) || (p.maps as u64) * p.outDim > MAX_WIDTH)
    refuse('impossible attention maps')
  if (!isCount(p.slot0Heads, MAX_WIDTH) || !isCount(p.slot1Heads, MAX_WIDTH)) refuse('impossible slots')
  if (!isCount(p.slot0Dim, MAX_WIDTH) || !isCount(p.slot1Dim, MAX_WIDTH)) refuse('impossible slots')
  if ((p.slot0Heads as u64) * p.slot0Dim > MAX_COUNT || (p.slot1Heads as u64) * p.slot1Dim > MAX_COUNT)
    refuse('impossible slots')
  if (p.ropeDim & 1 || p.ropeDim != max(p.slot0Rope, p.slot1Rope)) refuse('an impossible rotation')
  checkRotation(p, p.slot0Rope, p.slot0Dim)
  checkRotation(p, p.slot1Rope, p.slot1Dim)
  if ((p.slot0HasNorm | p.slot1HasNorm | p.hasDecoder | p.hasGate) > 1) refuse('a flag that is neither 0 nor 1')
  checkViews(p)
  if (p.queryRank > MAX_WIDTH || p.encoderDim > MAX_WIDTH || p.repeat > MAX_WIDTH) refuse('an impossible width')
  if ((p.repeat as u64) * p.valueDim > p.outDim) refuse('more copies than fit')
  if (!p.hasDecoder && (p.repeat || p.outDim != p.valueDim)) refuse('an impossible output width')
  const areFinite = isFinite32(p.normEps) && isFinite32(p.slotEps) && isFinite32(p.queryEps)
  if (!areFinite || !isFinite32(p.scale) || !isFinite32(p.ropeMagnitude)) refuse('a number that is not finite')
}

/** What is rotated in a slot is all that the angles are for, or nothing. */
function checkRotation(p: Plan, rope: u32, dim: u32): void {
  if (rope && (rope != p.ropeDim || rope > dim)) refuse('an impossible rotation')
}

function slotDim(p: Plan, slot: u32): u32 {
  return slot ? p.slot1Dim : p.slot0Dim
}

function slotRope(p: Plan, slot: u32): u32 {
  return slot ? p.slot1Rope : p.slot0Rope
}

/** A view is the first part of a slot; the query has a rotated part where the slot has one. */
function checkViews(p: Plan): void {
  if (p.key0Slot > 1 || p.key1Slot > 1 || p.valueSlot > 1) refuse('a view of a slot that is not there')
  if (!isCount(p.key0Dim, slotDim(p, p.key0Slot))) refuse('an impossible view')
  if (p.key1Dim > slotDim(p, p.key1Slot) || !isCount(p.valueDim, slotDim(p, p.valueSlot))) refuse('an impossible view')
  if (!p.encoderDim && slotRope(p, p.key0Slot) > p.key0Dim) refuse('an impossible rotation')
  if (p.key1Dim && slotRope(p, p.key1Slot) > p.key1Dim) refuse('an impossible rotation')
}

function checkHeads(p: Plan): void {
  for (let j: u32 = 0; j < p.maps; j++) {
    if (viewHead(p, 0, j) >= (p.key0Slot ? p.slot1Heads : p.slot0Heads)) refuse('a slot head that is not there')
    // Without a second view its table is zeros, and no head is never out of range.
    if (viewHead(p, 1, j) >= (p.key1Slot ? p.slot1Heads : p.slot0Heads)) refuse('a slot head that is not there')
    if (viewHead(p, 2, j) >= (p.valueSlot ? p.slot1Heads : p.slot0Heads)) refuse('a slot head that is not there')
  }
}

/** A walk through the words of the plan. */
@unmanaged
class Walk {
  /** Where the next tensor begins. */
  next: u64
}

function checkTensors(p: Plan): u64 {
  const w = changetype<Walk>(reserve(offsetof<Walk>()))
  const isF32 = header().weights == TYPE_F32
  const inner = isF32 ? TYPE_F32 : header().weights == TYPE_Q4 ? TYPE_Q4 : TYPE_Q8
  // What every token passes, its row is gathered from, or every head's value goes through keeps eight bits.
  const outer = isF32 ? TYPE_F32 : TYPE_Q8
  w.next = planBytes()
  expectTensor(w, 'inv_freq', roundUp(p.ropeDim >> 1, 8) << 3, p.invFreq)
  matrix(w, embedding(p), 'embed', outer, p.vocabSize, p.hiddenDim)
  const isTied = sameMatrix(embedding(p), head(p))
  for (let i: u32 = 0; i < p.nLayers; i++) checkLayer(w, p, layerAt(p, i), inner, outer)
  vector(w, 'norm', p.hiddenDim, p.norm)
  if (!isTied) matrix(w, head(p), 'head', outer, p.vocabSize, p.hiddenDim)
  if (w.next != unitBytes(header().weightsEnd - header().planBegin)) failAt('where they end')
  return w.next
}

function sameMatrix(a: Matrix, b: Matrix): bool {
  return memory.compare(changetype<usize>(a), changetype<usize>(b), offsetof<Matrix>()) == 0
}

/** In the order of models/plan.ts. */
function checkLayer(w: Walk, p: Plan, layer: Layer, inner: u32, outer: u32): void {
  const queryWidth = (p.maps as u64) * ((p.encoderDim ? p.encoderDim : p.key0Dim) + p.key1Dim)
  const q = p.queryRank ? (p.queryRank as u64) : queryWidth
  const slots = (p.slot0Heads as u64) * p.slot0Dim + (p.slot1Heads as u64) * p.slot1Dim
  const outWidth = (p.maps as u64) * p.outDim
  const inWidth = q + slots + (p.hasGate ? outWidth : 0)
  const normed =
    (p.slot0HasNorm ? (p.slot0Heads as u64) * p.slot0Dim : 0) +
    (p.slot1HasNorm ? (p.slot1Heads as u64) * p.slot1Dim : 0)
  const around = p.hiddenDim <= SMALL_HIDDEN ? outer : inner
  vector(w, 'attn_norm', p.hiddenDim, layer.attnNorm)
  matrix(w, matrixOf(layer, 0), 'in', around, inWidth, p.hiddenDim)
  optional(w, 'in_bias', inWidth, layer.inBias)
  if (p.queryRank) {
    vector(w, 'query_norm', q, layer.queryNorm)
    matrix(w, matrixOf(layer, 1), 'query', around, queryWidth, p.queryRank)
    optional(w, 'query_bias', queryWidth, layer.queryBias)
  } else {
    absent(layer.queryNorm | layer.queryBias)
    absentMatrix(matrixOf(layer, 1))
  }
  if (normed) vector(w, 'slot_norm', normed, layer.slotNorm)
  else absent(layer.slotNorm)
  if (p.encoderDim) matrix(w, matrixOf(layer, 2), 'encoder', outer, (p.maps as u64) * p.key0Dim, p.encoderDim)
  else absentMatrix(matrixOf(layer, 2))
  if (p.hasDecoder) {
    matrix(w, matrixOf(layer, 3), 'decoder', outer, outWidth, p.valueDim)
    optional(w, 'decoder_bias', outWidth, layer.decoderBias)
  } else {
    absentMatrix(matrixOf(layer, 3))
    absent(layer.decoderBias)
  }
  matrix(w, matrixOf(layer, 4), 'out', around, p.hiddenDim, outWidth)
  optional(w, 'out_bias', p.hiddenDim, layer.outBias)
  vector(w, 'ffn_norm', p.hiddenDim, layer.ffnNorm)
  matrix(w, matrixOf(layer, 5), 'gate_up', inner, 2 * (p.ffnDim as u64), p.hiddenDim)
  matrix(w, matrixOf(layer, 6), 'down', inner, p.hiddenDim, p.ffnDim)
}

function roundUp(n: u64, multiple: u64): u64 {
  return ((n + multiple - 1) / multiple) * multiple
}

function vector(w: Walk, name: string, length: u64, offset: u32): void {
  expectTensor(w, name, roundUp(length, 16) << 2, offset)
}

/** Present exactly if the plan names it. */
function optional(w: Walk, name: string, length: u64, offset: u32): void {
  if (offset) vector(w, name, length, offset)
}

function absent(offset: u32): void {
  if (offset) failAt('a vector that has no use')
}

function absentMatrix(m: Matrix): void {
  if (m.type | m.rows | m.cols | m.stride | m.data | m.scales) failAt('a matrix that has no use')
}

function matrix(w: Walk, m: Matrix, name: string, type: u32, rows: u64, cols: u64): void {
  if (m.type != type || m.rows != rows || m.cols != cols) failAt(name)
  const isQ4 = type == TYPE_Q4
  const stride =
    type == TYPE_F32 ? roundUp(cols, 16) << 2 : isQ4 ? (roundUp(cols, Q4_COLS) / Q4_COLS) * Q4_BYTES : roundUp(cols, 64)
  if (m.stride != stride || (type != TYPE_Q8 && m.scales)) failAt(name)
  expectTensor(w, name, (isQ4 ? roundUp(roundUp(rows, Q4_ROWS) / Q4_ROWS, 4) : rows) * stride, m.data)
  if (type == TYPE_Q8) expectTensor(w, name, roundUp(rows, 16) << 2, m.scales)
}

/** The next tensor has so many bytes, a multiple of 64, and lies where the plan says. */
function expectTensor(w: Walk, name: string, bytes: u64, at: u32): void {
  if (w.next != at) failAt(name)
  w.next += bytes
}

/** Frequencies whose angles an engine can reduce: a number that is none would trap there. */
export function checkFrequencies(plan: Plan): void {
  const at = changetype<usize>(plan) + plan.invFreq
  for (let i: u32 = 0; i < plan.ropeDim >> 1; i++) {
    const value = load<f64>(at + (i << 3))
    if (!(value >= 0 && value <= 1e6)) {
      beginBadFile('tensor "inv_freq"')
      expected('frequencies from 0 to 1000000, found another number at index ')
      count(i)
      endBadFile()
    }
  }
}
