/**
 * Attention, from normalised rows to what is added to the residual stream (models/attention.ts has the picture).
 *
 * Bit identity: the unit of the sweep is one page. Each page gives (max, sum, o) per map, and pages are combined in
 * page order, so neither the batch nor the number of threads can change a bit.
 */
import {
  arena,
  averageStride,
  averagesStride,
  decodedStride,
  hiddenStride,
  projectionStride,
  queryStride,
} from './arena'
import { headBytes, PAGE_TOKENS, pageAt, writeRow } from './cache'
import { sigmoidGate } from './kernels/activation'
import { exp1 } from './kernels/exp'
import { linear, linearBlocks } from './kernels/matmul'
import { quantizeQuery } from './kernels/quantize'
import { rotate } from './kernels/rope'
import { exponentials, headAt, scores_f32, scores_int8, values_f32, values_int8 } from './kernels/sweep'
import { decoderMatrix, inBias, inMatrix, outBias, outMatrix, Plan } from './plan'
import { rowAt } from './rows'

/** Attention of layer `index` over `count` rows: arena.normed → y (rows of the hidden width), added to it if `adds`. */
export function attend(plan: Plan, layer: usize, index: u32, count: u32, y: usize, adds: bool): void {
  const a = arena()
  const base = a.plan
  const inB = inBias(layer) ? base + inBias(layer) : 0
  linear(inMatrix(layer), inB, a.normed, hiddenStride(plan), count, a.projection, projectionStride(plan), false)
  // All rows are in the cache before the first sweep: a row sees those before it in the same batch.
  for (let i: u32 = 0; i < count; i++) place(plan, index, i)
  for (let i: u32 = 0; i < count; i++) sweepRow(plan, index, i)
  if (plan.repeat) decodeValues(plan, layer, count)
  if (plan.hasGate) gateOutput(plan, count)
  const outB = outBias(layer) ? base + outBias(layer) : 0
  linear(outMatrix(layer), outB, a.decoded, decodedStride(plan), count, y, hiddenStride(plan), adds)
}

/** Rotates queries and keys of row i and writes its cache row. */
function place(plan: Plan, layer: u32, i: u32): void {
  const a = arena()
  const row = rowAt(i)
  const pairs = plan.ropeDim >> 1
  const angles = a.angles + i * (plan.ropeDim << 2)
  let head = a.projection + i * projectionStride(plan)
  for (let h: u32 = 0; h < plan.maps + plan.keyHeads; h++) {
    rotate(head, angles, pairs)
    head += plan.keyDim << 2
  }
  writeRow(plan, layer, row.conversation, row.position, i)
}

/** o_j = Σ softmax(scale · q_j · key(t)) · value(t) over all tokens up to the row's own, for every map j. */
function sweepRow(plan: Plan, layer: u32, i: u32): void {
  const a = arena()
  const row = rowAt(i)
  const averages = a.averages + i * averagesStride(plan)
  prepareQueries(plan, a.projection + i * projectionStride(plan))
  for (let first: u32 = 0; first <= row.position; first += PAGE_TOKENS) {
    const page = pageAt(plan, layer, row.conversation, first)
    const tokens = min<u32>(PAGE_TOKENS, row.position + 1 - first)
    for (let j: u32 = 0; j < plan.maps; j++) {
      sweepPage(plan, page, tokens, j)
      combine(averages + j * averageStride(plan), plan.valueDim, a.softmax + (j << 3), first == 0)
    }
  }
  for (let j: u32 = 0; j < plan.maps; j++) {
    const sum = load<f32>(a.softmax + (j << 3), 4)
    const average = averages + j * averageStride(plan)
    for (let d: u32 = 0; d < plan.valueDim; d++) {
      const at = average + (d << 2)
      store<f32>(at, load<f32>(at) / sum)
    }
  }
}

/** Queries as the sweep reads them: integers for an int8 cache, else f32 padded with zeros to 4. */
function prepareQueries(plan: Plan, q: usize): void {
  const a = arena()
  for (let j: u32 = 0; j < plan.maps; j++) {
    const source = q + ((j * plan.keyDim) << 2)
    const target = a.queries + j * queryStride(plan)
    if (a.isCacheInt8) store<f32>(a.queryScales + (j << 2), quantizeQuery(source, plan.keyDim, target) * plan.scale)
    else memory.copy(target, source, plan.keyDim << 2)
  }
}

/** One page, one map: leaves the sum at arena.partial, (max, sum of exponentials) at arena.pageState. */
function sweepPage(plan: Plan, page: usize, tokens: u32, j: u32): void {
  const a = arena()
  const isInt8 = a.isCacheInt8
  const key = headAt(page, (j * plan.keyHeads) / plan.maps, plan.keyDim, isInt8)
  const values = page + plan.keyHeads * headBytes(plan.keyDim, isInt8)
  const value = headAt(values, (j * plan.valueHeads) / plan.maps, plan.valueDim, isInt8)
  const q = a.queries + j * queryStride(plan)
  if (isInt8) {
    scores_int8(key, plan.keyDim, tokens, q, load<f32>(a.queryScales + (j << 2)), a.scores)
    exponentials(tokens, a.scores, a.pageState)
    values_int8(value, plan.valueDim, tokens, a.scores, a.partial)
  } else {
    scores_f32(key, plan.keyDim, tokens, q, plan.scale, a.scores)
    exponentials(tokens, a.scores, a.pageState)
    values_f32(value, plan.valueDim, tokens, a.scores, a.partial)
  }
}

/** Adds a page's (max, sum, o) to the running one of a map. */
function combine(average: usize, dim: u32, state: usize, isFirst: bool): void {
  const a = arena()
  const pagePeak = load<f32>(a.pageState)
  const pageSum = load<f32>(a.pageState, 4)
  if (isFirst) {
    memory.copy(average, a.partial, dim << 2)
    store<f32>(state, pagePeak)
    store<f32>(state, pageSum, 4)
    return
  }
  const peak = max(load<f32>(state), pagePeak)
  const keep = exp1(load<f32>(state) - peak)
  const gain = exp1(pagePeak - peak)
  store<f32>(state, peak)
  store<f32>(state, load<f32>(state, 4) * keep + pageSum * gain, 4)
  for (let d: u32 = 0; d < dim; d++) {
    const at = average + (d << 2)
    store<f32>(at, load<f32>(at) * keep + load<f32>(a.partial + (d << 2)) * gain)
  }
}

/** u_j = [o_j, o_j, …] + P_j · o_j. The copies stay apart from P: folded into it they would cost int8 its precision. */
function decodeValues(plan: Plan, layer: usize, count: u32): void {
  const a = arena()
  const from = averagesStride(plan)
  const to = decodedStride(plan)
  linearBlocks(decoderMatrix(layer), plan.maps, a.averages, averageStride(plan), from, count, a.decoded, to)
  for (let i: u32 = 0; i < count; i++) {
    let u = a.decoded + i * to
    for (let j: u32 = 0; j < plan.maps; j++) {
      const o = a.averages + i * from + j * averageStride(plan)
      for (let copy: u32 = 0; copy < plan.repeat; copy++)
        for (let d: u32 = 0; d < plan.valueDim; d++) {
          store<f32>(u, load<f32>(u) + load<f32>(o + (d << 2)))
          u += 4
        }
    }
  }
}

function gateOutput(plan: Plan, count: u32): void {
  const a = arena()
  const width = plan.maps * plan.outDim
  const before = plan.maps * plan.keyDim + plan.keyHeads * plan.keyDim + plan.valueHeads * plan.valueDim
  for (let i: u32 = 0; i < count; i++)
    sigmoidGate(a.projection + i * projectionStride(plan) + (before << 2), width, a.decoded + i * decodedStride(plan))
}
