/**
 * Attention, from normalised rows to what is added to the residual stream (models/attention.ts has the picture): queries
 * and cache rows (queries.ts), the sweep over the cache (sweep.ts), and here what the averages of values become.
 */
import { Layer, LayerKind, Plan } from '../abi'
import { arena, entering, enteringStride } from '../arena'
import { countDecoderBias } from '../count'
import { sigmoidGate } from '../kernels/activation'
import { addTo, clearPadding } from '../kernels/elementwise'
import { linear, linearBlocks, productOf } from '../linear'
import { buffersOf, decoderMatrix, inMatrix, kindOf, outMatrix, vectorAt } from '../plan'
import { ATTENTION, enter, REST, VALUE_DECODER } from '../profile'
import { averageStride, hiddenStride, queryWidth, rowWidth } from '../sizes'
import { awaitLayer, leaveLayer } from '../stream'
import { barrier, isMine } from '../team'
import { encodeQueries, place, raiseQueries } from './queries'
import { sweep } from './sweep'

/** Attention of layer `index` over `count` rows: x → y (rows of the hidden width), added to it if `adds`. */
export function attend(plan: Plan, layer: Layer, index: u32, count: u32, x: usize, y: usize, adds: bool): void {
  const a = arena()
  const kind = kindOf(plan, layer)
  const projected = productOf(inMatrix(layer), count)
  projected.bias = vectorAt(plan, layer.inBias)
  projected.from(x, hiddenStride(plan))
  projected.into(a.projection, buffersOf(plan).projection)
  linear(projected)
  if (kind.queryRank) raiseQueries(plan, layer, count)
  for (let i: u32 = 0; i < count; i++) if (isMine(i)) place(plan, layer, i)
  if (kind.encoderDim) encodeQueries(plan, layer, count)
  // All rows are in the cache before the first sweep: a row sees those before it in the same batch.
  barrier()
  enter(ATTENTION)
  awaitLayer(index)
  sweep(plan, layer, count)
  barrier()
  leaveLayer(index)
  enter(VALUE_DECODER)
  if (kind.hasDecoder) decodeValues(plan, layer, kind, count)
  if (kind.hasGate) gateOutput(plan, kind, count)
  enter(REST)
  const source = entering(kind)
  const stride = enteringStride(plan, kind)
  if (plan.nLayerKinds > 1)
    for (let i: u32 = 0; i < count; i++) if (isMine(i)) clearPadding(source + i * stride, kind.maps * kind.outDim)
  const out = productOf(outMatrix(layer), count)
  out.bias = vectorAt(plan, layer.outBias)
  out.from(source, stride)
  out.into(y, hiddenStride(plan))
  out.adds = adds ? 1 : 0
  linear(out)
}

/** u_j = [o_j, o_j, …] + P_j · o_j + b_j. Folded into P, the copies would cost int8 its precision: they stay apart. */
function decodeValues(plan: Plan, layer: Layer, kind: LayerKind, count: u32): void {
  const a = arena()
  const from = buffersOf(plan).averages
  const to = buffersOf(plan).decoded
  const p = productOf(decoderMatrix(layer), count)
  p.from(a.averages, from)
  p.into(a.decoded, to)
  linearBlocks(p, kind.maps, averageStride(kind))
  const bias = vectorAt(plan, layer.decoderBias)
  countDecoderBias(kind, bias)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    let u = a.decoded + i * to
    if (bias) addTo(u, bias, kind.maps * kind.outDim)
    for (let j: u32 = 0; j < kind.maps; j++)
      for (let copy: u32 = 0; copy < kind.repeat; copy++) {
        addTo(u, a.averages + i * from + j * averageStride(kind), kind.valueDim)
        u += kind.valueDim << 2
      }
  }
}

function gateOutput(plan: Plan, kind: LayerKind, count: u32): void {
  const a = arena()
  const width = kind.maps * kind.outDim
  const before = queryWidth(kind) + rowWidth(kind)
  const projection = buffersOf(plan).projection
  const source = entering(kind)
  const stride = enteringStride(plan, kind)
  for (let i: u32 = 0; i < count; i++)
    if (isMine(i)) sigmoidGate(a.projection + i * projection + (before << 2), width, source + i * stride)
}
