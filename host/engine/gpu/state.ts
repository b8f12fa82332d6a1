/**
 * Mixers that keep a state on a GPU, between the products of `in` and `out`: a short convolution, alone or before a gated delta net.
 * assembly/mixers/state.ts is the same of the other engine; models/state.ts has the picture.
 */
import { type Layer, MIXER_CONV, type Recurrence } from '../../../assembly/abi.ts'
import type { AttentionLayer } from './attention.ts'
import { padded } from './attention-kind.ts'
import { headText } from './attention-texts.ts'
import type { Gpu } from './gpu.ts'
import { functionsText } from './math.ts'
import type { GpuWeights, Operation, RowsAt, StepBuffers } from './operations.ts'
import { convText, deltaText, stateNormText, statePagesText } from './state-texts.ts'
import { stepText } from './texts.ts'

/** The vectors of a layer with a state: StateLayer of assembly/abi.ts has them where Layer has others. */
const vectorsOf = ({ lowNorm, queryBias, queryNorm, slotNorm }: Layer) => ({
  ...{ conv: lowNorm, convBias: queryBias, decay: queryNorm, stateNorm: slotNorm },
})

/** Operations between the products of `in` and `out`, and where what enters the latter is. */
export async function stateOperations(
  gpu: Gpu,
  weights: GpuWeights,
  step: StepBuffers,
  parts: AttentionLayer,
): Promise<{ operations: Operation[]; result: RowsAt }> {
  const { shared, layer, projection, cache } = parts
  const { is: kind } = layer
  const r = kind.recurrence as Recurrence
  const vectors = vectorsOf(layer)
  const { strides, averages, query, nothing, options } = shared
  const bind = (offset: number, numbers: number) =>
    offset ? weights.bind(offset, 4 * numbers) : { resource: nothing, word: 0 }
  const isAlone = kind.mixer === MIXER_CONV
  const common = [step.sizes, step.rows, step.tables, step.places, projection.buffer]
  const make = async (
    name: string,
    text: string,
    constants: Record<string, number>,
    words: number[],
    entries: (GPUBuffer | GPUBufferBinding)[],
    workgroups: Operation['workgroups'],
  ): Promise<Operation> => {
    const pipeline = await gpu.pipeline({ name: `${name}.wgsl`, text }, constants)
    const parameters = gpu.parameters(name, new Uint32Array(words))
    return { name, pipeline, bindings: gpu.bind(name, pipeline, [parameters, ...entries]), workgroups }
  }
  const pages = [layer.pageKind * options.blocks, options.tableBlocks]
  const conv = bind(vectors.conv, r.taps * r.channels)
  const bias = bind(vectors.convBias, r.channels)
  const convolve = await make(
    'state-conv',
    stepText + functionsText + statePagesText + convText,
    {
      ...{ LAYER_WORDS: cache.layerStride / 4, TAPS: r.taps, CHANNELS: r.channels },
      ...{ ALONE: Number(isAlone), HAS_BIAS: Number(vectors.convBias !== 0) },
    },
    [
      ...[projection.offset, projection.stride, isAlone ? strides.averages : strides.query, conv.word, bias.word],
      ...[...pages, 0],
    ],
    [...common, conv.resource, bias.resource, cache.buffer, isAlone ? averages : query],
    ({ rows }) => [rows ? Math.ceil(r.channels / 64) : 0, 1],
  )
  const result = { buffer: averages, offset: 0, stride: strides.averages }
  if (isAlone) return { operations: [convolve], result }
  const decay = bind(vectors.decay, r.valueHeads)
  const delta = await make(
    'state-delta',
    stepText + functionsText + statePagesText + deltaText,
    {
      ...{ LAYER_WORDS: cache.layerStride / 4, CHANNELS: r.channels, KEY_HEADS: r.keyHeads, KEY: r.keyDim },
      ...{ VALUE_HEADS: r.valueHeads, VALUE: r.valueDim, IS_TILED: r.isTiled },
      COLUMNS: padded((r.taps - 1) * r.channels),
    },
    [projection.offset, projection.stride, strides.averages, decay.word, 0, ...pages, strides.query],
    [...common, query, decay.resource, cache.buffer, averages],
    ({ rows }) => [rows ? r.valueHeads : 0, 1],
  )
  const norm = bind(vectors.stateNorm, r.valueDim)
  const normed = await make(
    'state-norm',
    functionsText + headText + stateNormText,
    { CHANNELS: r.channels, VALUE: r.valueDim, EPS: r.eps },
    [projection.offset, projection.stride, strides.averages, norm.word],
    [projection.buffer, norm.resource, averages],
    ({ rows }) => [r.valueHeads, rows],
  )
  return { operations: [convolve, delta, normed], result }
}
