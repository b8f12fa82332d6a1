/**
 * Attention, from normalised rows to what is added to the residual stream (models/attention.ts has the picture): queries
 * and cache rows (queries.ts), the sweep over the cache (sweep.ts), and here what the averages of values become.
 */
import { Layer, Plan } from '../abi'
import { arena } from '../arena'
import { countDecoderBias } from '../count'
import { sigmoidGate } from '../kernels/activation'
import { addTo } from '../kernels/elementwise'
import { linear, linearBlocks, productOf } from '../linear'
import { decoderMatrix, inMatrix, outMatrix, vectorAt } from '../plan'
import { ATTENTION, enter, REST, VALUE_DECODER } from '../profile'
import {
  averageStride,
  averagesStride,
  decodedStride,
  hiddenStride,
  projectionStride,
  queryWidth,
  rowWidth,
} from '../sizes'
import { awaitLayer, leaveLayer } from '../stream'
import { barrier, isMine } from '../team'
import { encodeQueries, place, raiseQueries } from './queries'
import { sweep } from './sweep'

/** Attention of layer `index` over `count` rows: arena.normed → y (rows of the hidden width), added to it if `adds`. */
export function attend(plan: Plan, layer: Layer, index: u32, count: u32, y: usize, adds: bool): void {
  const a = arena()
  const projected = productOf(inMatrix(layer), count)
  projected.bias = vectorAt(plan, layer.inBias)
  projected.from(a.normed, hiddenStride(plan))
  projected.into(a.projection, projectionStride(plan))
  linear(projected)
  if (plan.queryRank) raiseQueries(plan, layer, count)
  for (let i: u32 = 0; i < count; i++) if (isMine(i)) place(plan, layer, index, i)
  if (plan.encoderDim) encodeQueries(plan, layer, count)
  // All rows are in the cache before the first sweep: a row sees those before it in the same batch.
  barrier()
  enter(ATTENTION)
  awaitLayer(index)
  sweep(plan, index, count)
  barrier()
  leaveLayer(index)
  enter(VALUE_DECODER)
  if (plan.hasDecoder) decodeValues(plan, layer, count)
  if (plan.hasGate) gateOutput(plan, count)
  enter(REST)
  const out = productOf(outMatrix(layer), count)
  out.bias = vectorAt(plan, layer.outBias)
  out.from(a.decoded, decodedStride(plan))
  out.into(y, hiddenStride(plan))
  out.adds = adds ? 1 : 0
  linear(out)
}

/** u_j = [o_j, o_j, …] + P_j · o_j + b_j. Folded into P, the copies would cost int8 its precision: they stay apart. */
function decodeValues(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const from = averagesStride(plan)
  const to = decodedStride(plan)
  const p = productOf(decoderMatrix(layer), count)
  p.from(a.averages, from)
  p.into(a.decoded, to)
  linearBlocks(p, plan.maps, averageStride(plan))
  const bias = vectorAt(plan, layer.decoderBias)
  countDecoderBias(plan, bias)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    let u = a.decoded + i * to
    if (bias) addTo(u, bias, plan.maps * plan.outDim)
    for (let j: u32 = 0; j < plan.maps; j++)
      for (let copy: u32 = 0; copy < plan.repeat; copy++) {
        addTo(u, a.averages + i * from + j * averageStride(plan), plan.valueDim)
        u += plan.valueDim << 2
      }
  }
}

function gateOutput(plan: Plan, count: u32): void {
  const a = arena()
  const width = plan.maps * plan.outDim
  const before = queryWidth(plan) + rowWidth(plan)
  for (let i: u32 = 0; i < count; i++)
    if (isMine(i))
      sigmoidGate(a.projection + i * projectionStride(plan) + (before << 2), width, a.decoded + i * decodedStride(plan))
}
