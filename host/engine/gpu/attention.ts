/**
 * Attention on a GPU, from the fused projection to what enters W_o: what assembly/mixers is between those two products for
 * the other engine. models/attention.ts has the picture.
 *
 *     low        norm of the low side, then the product up               where queries are of low rank
 *     rows       cache rows: normed, rotated, rounded, into their pages
 *     queries    normed, rotated, as the sweep reads them
 *     encoder    a matrix for each map on the un-rotated part of its query, then as the sweep reads it
 *     sweep      over the pages (attention-sweep.ts)
 *     decoder    a matrix for each map, copies, bias; the gate
 *
 * All rows of a step are in the cache before the first sweep: a row sees those before it in the same step.
 */
import {
  averageStride,
  biasPairs,
  isBiasApart,
  isSpread,
  keySlots,
  padded,
  queryDim,
  queryFours,
  queryWidth,
  rowWidth,
  slotsOf,
} from './attention-kind.ts'
import type { AttentionStep } from './attention-step.ts'
import { type LayerCache, sweepOperations } from './attention-sweep.ts'
import {
  cacheText,
  encodedText,
  finishText,
  headNormText,
  headText,
  lowText,
  preparedText,
  queriesText,
  rotateText,
  rowsText,
} from './attention-texts.ts'
import type { Gpu } from './gpu.ts'
import { functionsText, roundingText } from './math.ts'
import type { GpuWeights, Operation, RowsAt, StepBuffers } from './operations.ts'
import type { GpuLayer } from './plan.ts'
import { type ProductScratch, productOperations } from './products.ts'
import { divideText, stepText } from './texts.ts'

export interface AttentionLayer {
  shared: AttentionStep
  layer: GpuLayer
  /** What the product of `in` leaves: q, or its low-rank side, ┃ row ┃ gate. */
  projection: RowsAt
  cache: LayerCache
  scratch: ProductScratch
}

/** All that the parts of a layer's attention are made from. */
interface Parts extends AttentionLayer {
  gpu: Gpu
  weights: GpuWeights
  step: StepBuffers
}

type Entry = GPUBuffer | GPUBufferBinding

/** Operations between the products of `in` and `out`, and where what enters the latter is. */
export async function attentionOperations(
  gpu: Gpu,
  weights: GpuWeights,
  step: StepBuffers,
  layer: AttentionLayer,
): Promise<{ operations: Operation[]; result: RowsAt }> {
  const parts: Parts = { ...layer, gpu, weights, step }
  const { is } = layer.layer
  const { shared, cache } = layer
  const lists = [
    is.queryRank ? await lowOperations(parts) : [],
    await rowOperations(parts),
    await queryOperations(parts),
    is.encoderDim ? await encoderOperations(parts) : [],
    await sweepOperations(gpu, step, {
      ...{ shared, kind: is, cache, places: layer.layer.pageKind * shared.options.blocks },
      ...{ pairs: biasPairs(layer.layer, is, cache.isInt8), turns: shared.turnsOf(layer.layer) },
    }),
    await finishOperations(parts),
  ]
  const { averages, entering, strides } = shared
  const result = hasFinish(parts)
    ? { buffer: entering, offset: 0, stride: strides.entering }
    : { buffer: averages, offset: 0, stride: strides.averages }
  return { operations: lists.flat(), result }
}

const hasFinish = ({ layer: { is } }: Parts) => is.hasDecoder !== 0 || is.hasGate !== 0

/** One dispatch: pipeline, parameters of the layer, buffers. */
async function operation(
  { gpu }: Parts,
  name: string,
  texts: readonly string[],
  constants: Record<string, number>,
  words: readonly number[],
  entries: readonly Entry[],
  workgroups: Operation['workgroups'],
): Promise<Operation> {
  const pipeline = await gpu.pipeline({ name: `${name}.wgsl`, text: texts.join('\n') }, constants)
  const parameters = gpu.parameters(name, new Uint32Array(words))
  return { name, pipeline, bindings: gpu.bind(name, pipeline, [parameters, ...entries]), workgroups }
}

/** A vector of the weights; where a layer has none, a buffer that nobody reads. */
function vectorOf({ weights, shared }: Parts, offset: number, numbers: number): { resource: Entry; word: number } {
  return offset ? weights.bind(offset, 4 * numbers) : { resource: shared.nothing, word: 0 }
}

/** Numbers before the angles of the layer's rotation. */
const rotationAt = ({ layer }: Parts) => (layer.rotation?.angles ?? 0) / 4

/** The norm of the low side, and the product that makes queries of it. */
async function lowOperations(parts: Parts): Promise<Operation[]> {
  const { gpu, weights, step, shared, layer, projection, scratch } = parts
  const { is } = layer
  const norm = vectorOf(parts, layer.lowNorm, is.queryRank)
  const normed = await operation(
    parts,
    'attention-low',
    [roundingText, headText, lowText],
    { RANK: is.queryRank, EPS: is.lowEps },
    [projection.offset, projection.stride, shared.strides.low, norm.word],
    [projection.buffer, norm.resource, shared.low],
    ({ rows }) => [rows, 1],
  )
  const product = await productOperations(gpu, weights, step, {
    ...{ matrix: layer.matrices.query, bias: layer.queryBias, count: 'rows', most: shared.options.maxRows, scratch },
    from: { buffer: shared.low, offset: 0, stride: shared.strides.low },
    into: { buffer: shared.query, offset: 0, stride: shared.strides.query },
  })
  return [normed, ...product]
}

/** Cache rows into their pages. */
async function rowOperations(parts: Parts): Promise<Operation[]> {
  const { step, shared, layer, projection, cache } = parts
  const { is } = layer
  const slots = slotsOf(is)
  const [first, second] = slots
  const width = rowWidth(is)
  const norms = vectorOf(
    parts,
    layer.slotNorm,
    slots.reduce((sum, { norm, heads, dim }) => sum + (norm ? heads * dim : 0), 0),
  )
  const biases = vectorOf(parts, layer.inBias, queryWidth(is) + width)
  const constantsOf = (slot: 0 | 1) => {
    const { heads, dim, rope, norm, eps } = slots[slot]
    const facts = {
      ...{ HEADS: heads, DIM: dim, ROPE: rope, NORM: norm, EPS: eps },
      ...{ SPREAD: Number(isSpread(is, slot, cache.isInt8)), BIAS: Number(isBiasApart(layer, is, slot, cache.isInt8)) },
    }
    return Object.fromEntries(Object.entries(facts).map(([name, value]) => [`${name}${slot}`, value]))
  }
  const constants = {
    ...{ HEAD: 4 * Math.ceil(Math.max(first.dim, second.dim) / 4), IS_INT8: Number(cache.isInt8) },
    ...{ LAYER_WORDS: cache.layerStride / 4, ...constantsOf(0), ...constantsOf(1) },
  }
  const words = [
    ...[projection.offset + queryWidth(is), projection.stride, step.anglesStride, rotationAt(parts)],
    ...[norms.word, biases.word + queryWidth(is)],
    ...[layer.pageKind * shared.options.blocks, shared.options.tableBlocks],
  ]
  const texts = [stepText, roundingText, headText, headNormText, rotateText, cacheText, rowsText]
  const entries = [
    ...[step.rows, step.tables, step.places, step.angles, projection.buffer],
    ...[norms.resource, biases.resource, cache.buffer],
  ]
  return [
    await operation(parts, 'attention-rows', texts, constants, words, entries, ({ rows }) => [
      first.heads + second.heads,
      rows,
    ]),
  ]
}

/** Constants of what writes prepared queries. */
function preparedConstants({ layer, cache }: Parts): Record<string, number> {
  const { is } = layer
  const { isInt8 } = cache
  const fours = queryFours(is, isInt8, biasPairs(layer, is, isInt8))
  return {
    ...{ IS_INT8: Number(isInt8), QUERY: fours, MAPS: is.maps, KEY0: is.key0Dim, KEY1: is.key1Dim, SCALE: is.scale },
  }
}

/** Queries as the sweep reads them, and what an encoder takes. */
async function queryOperations(parts: Parts): Promise<Operation[]> {
  const { step, shared, layer, projection, cache } = parts
  const { is } = layer
  const dim = queryDim(is)
  const slots = slotsOf(is)
  const [slot0, slot1] = keySlots(is)
  const pairs = biasPairs(layer, is, cache.isInt8)
  const norms = vectorOf(parts, is.queryNorm ? layer.queryNorm : 0, is.maps * dim)
  const biases = vectorOf(parts, layer.inBias, queryWidth(is) + rowWidth(is))
  const biasAt = (slot: 0 | 1) => biases.word + queryWidth(is) + (slot ? slots[0].heads * slots[0].dim : 0)
  const source: RowsAt = is.queryRank ? { buffer: shared.query, offset: 0, stride: shared.strides.query } : projection
  const constants = {
    ...preparedConstants(parts),
    ...{ HEAD: 4 * Math.ceil(dim / 4), ENCODER: is.encoderDim },
    ...{ ROPE0: is.encoderDim ? 0 : slots[slot0].rope, ROPE1: is.key1Dim ? slots[slot1].rope : 0 },
    SPREAD0: Number(isSpread(is, slot0, cache.isInt8)),
    SPREAD1: Number(is.key1Dim > 0 && isSpread(is, slot1, cache.isInt8)),
    ...{ NORM: is.queryNorm, EPS: is.queryEps, BIAS0: 2 * pairs[0], BIAS1: 2 * pairs[1] },
    BIAS_SCALE: is.scale * (layer.rotation?.magnitude ?? 1),
  }
  const words = [
    ...[source.offset, source.stride, step.anglesStride, rotationAt(parts)],
    ...[norms.word, biasAt(slot0), biasAt(slot1), shared.strides.plain],
  ]
  const entries = [
    ...[step.angles, source.buffer, norms.resource, biases.resource, shared.dropped, shared.headsOf(is)],
    ...[shared.prepared, shared.plain],
  ]
  const texts = [stepText, roundingText, headText, headNormText, rotateText, preparedText, queriesText]
  return [await operation(parts, 'attention-queries', texts, constants, words, entries, ({ rows }) => [is.maps, rows])]
}

/** One matrix per map on the un-rotated part of its query. */
async function encoderOperations(parts: Parts): Promise<Operation[]> {
  const { gpu, weights, step, shared, layer, scratch } = parts
  const { is, matrices } = layer
  const { plain, encoded } = shared.strides
  const encoder = await productOperations(gpu, weights, step, {
    ...{ matrix: matrices.encoder, blocks: is.maps, fromBlockStride: padded(is.encoderDim) },
    ...{ count: 'rows', most: shared.options.maxRows, scratch },
    from: { buffer: shared.plain, offset: 0, stride: plain },
    into: { buffer: shared.encoded, offset: 0, stride: encoded },
  })
  const constants = { ...preparedConstants(parts), HEAD: 4 * Math.ceil(is.key0Dim / 4) }
  const prepared = await operation(
    parts,
    'attention-encoded',
    [divideText, headText, preparedText, encodedText],
    constants,
    [0, encoded],
    [shared.encoded, shared.prepared],
    ({ rows }) => [is.maps, rows],
  )
  return [...encoder, prepared]
}

/** What a value decoder and a gate make of the averages. */
async function finishOperations(parts: Parts): Promise<Operation[]> {
  if (!hasFinish(parts)) return []
  const { gpu, weights, step, shared, layer, projection, scratch } = parts
  const { is } = layer
  const { averages, entering } = shared.strides
  const width = is.maps * is.outDim
  const average = averageStride(is)
  const decoder = is.hasDecoder
    ? await productOperations(gpu, weights, step, {
        ...{ matrix: layer.matrices.decoder, blocks: is.maps, fromBlockStride: average },
        ...{ count: 'rows', most: shared.options.maxRows, scratch },
        from: { buffer: shared.averages, offset: 0, stride: averages },
        into: { buffer: shared.entering, offset: 0, stride: entering },
      })
    : []
  const biases = vectorOf(parts, is.hasDecoder ? layer.decoderBias : 0, width)
  const constants = {
    ...{ WIDTH: width, OUT: is.outDim, VALUE: is.valueDim, AVERAGE: average },
    ...{ HAS_DECODER: is.hasDecoder, HAS_BIAS: Number(layer.decoderBias !== 0), HAS_GATE: is.hasGate },
    COPIES: is.repeat * is.valueDim,
  }
  const gate = projection.offset + queryWidth(is) + rowWidth(is)
  const finish = await operation(
    parts,
    'attention-finish',
    [functionsText, finishText],
    constants,
    [averages, entering, gate, projection.stride, biases.word],
    [projection.buffer, biases.resource, shared.averages, shared.entering],
    ({ rows }) => [Math.ceil(width / 64), rows],
  )
  return [...decoder, finish]
}
