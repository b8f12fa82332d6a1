/**
 * What a layer is, as data. A model is a list of layers, most of them alike: `ModelSpec.layers` has the distinct ones,
 * `order` says which of them comes when.
 *
 * Every layer does the same thing twice: something is added to the residual stream x. The *mixer* looks at other tokens,
 * the feed-forward block at its own token alone:
 *
 *     x += mixerOut( mixer( mixerIn(x) ) )
 *     x += ffnOut( W_down ( f(W_gate z) ⊙ W_up z ) ),   z = ffnIn(x)          not gated: W_down f(W_up z)
 *
 * Each of the four norms may be absent. In a parallel layer both read the same x, and both results are added at once:
 *
 *     x += mixer( mixerIn(x) ) + ffn( ffnIn(x) )
 *
 * Families differ in little else than which of this there is:
 *
 *     family           mixer                  norms              feed-forward
 *     Llama, GTA, …    attention              mixerIn, ffnIn     silu, gated
 *     Qwen 3           q, k normed by head    mixerIn, ffnIn     silu, gated
 *     Gemma 3          q, k normed by head,   all four           gelu-tanh, gated
 *                      5 of 6 with a window
 *     OLMo 2           q, k normed as one     mixerOut, ffnOut   silu, gated
 *     GPT-2            no rotation            both In, layer     gelu-tanh, biases
 *     Pythia           a part is rotated      both In, layer     gelu, biases, parallel
 *     LFM2             5 of 8 convolve        mixerIn, ffnIn     silu, gated
 *     Qwen 3.5         3 of 4 a delta net     mixerIn, ffnIn     silu, gated
 *
 * What can be folded exactly into weights is not here: the 1 + w of Gemma's norms, factors of a residual branch or of the
 * logits, fused or transposed tensors, the order of rotated pairs. Those are fields of `Source` (spec.ts).
 *
 * Two tables describe a layer completely: `layerTensors()` its weights, `layerBuffers()` the scratch memory that computing
 * it takes. Plan, packed file, costs and the engine's memory all come from them.
 */
import { type AttentionSpec, projectionWidths, queryDim } from './attention.ts'
import { convChannels, type StateSpec, type StateTensor, stateInWidth, stateOutWidth } from './state.ts'

export interface LayerSpec {
  mixer: Mixer
  ffn: FeedForward
  norms: { mixerIn?: Norm; mixerOut?: Norm; ffnIn?: Norm; ffnOut?: Norm }
  isParallel: boolean
}

/** What looks at other tokens. A new kind of mixer is a new member, told apart by `is`. */
export type Mixer = AttentionSpec | StateSpec

/** The attention of a layer; undefined where its mixer keeps a state. */
export function attentionOf({ mixer }: Pick<LayerSpec, 'mixer'>): AttentionSpec | undefined {
  return mixer.is === 'attention' ? mixer : undefined
}

export interface FeedForward {
  width: number
  activation: Activation
  /** The activation multiplies a second projection. */
  isGated: boolean
  bias: boolean
}

/** gelu is x · Φ(x), gelu-tanh its approximation by tanh, relu2 is max(x, 0)². */
export const activations = ['silu', 'gelu', 'gelu-tanh', 'relu2'] as const
export type Activation = (typeof activations)[number]

/** rms: w ⊙ x / sqrt(mean(x²) + eps). layer: mean and variance are taken out, w ⊙ (x − μ) / sqrt(σ² + eps) + b. */
export interface Norm {
  kind: 'rms' | 'layer'
  eps: number
}

export const normPlaces = ['mixerIn', 'mixerOut', 'ffnIn', 'ffnOut'] as const
export type NormPlace = (typeof normPlaces)[number]

/** Names of the tensors of a layer: in the plan, among the sources of a checkpoint, and in snake case in a packed file. */
export type TensorName = NormTensor | AttentionTensor | StateTensor | 'gateUp' | 'gateUpBias' | 'down' | 'downBias'
export type NormTensor = `${NormPlace}Norm` | `${NormPlace}NormBias`
export type AttentionTensor =
  | ('in' | 'inBias' | 'lowNorm' | 'query' | 'queryBias' | 'queryNorm' | 'slotNorm')
  | ('encoder' | 'decoder' | 'decoderBias' | 'out' | 'outBias')

/** A vector of `rows` numbers, or a matrix (rows × cols). */
export type LayerTensor =
  | { name: TensorName; is: 'vector'; rows: number }
  | {
      name: TensorName
      is: 'matrix'
      rows: number
      cols: number
      /** Matrices one below the other, each of which is applied to a vector of its own: one per map; else 1. */
      blocks: number
      /** The block that it belongs to: of the mixer's, some keep eight bits where the others have four (plan.ts). */
      of: 'mixer' | 'ffn'
    }

/** The tensors that a layer has, in the order in which a step reads them. */
export function layerTensors(layer: LayerSpec, hiddenDim: number): LayerTensor[] {
  const { ffn } = layer
  const norm = (place: NormPlace): LayerTensor[] => normTensors(`${place}Norm`, layer.norms[place], hiddenDim)
  const gateUp = ffn.isGated ? 2 * ffn.width : ffn.width
  return [
    ...norm('mixerIn'),
    ...(layer.mixer.is === 'attention'
      ? attentionTensors(layer.mixer, hiddenDim)
      : stateTensors(layer.mixer, hiddenDim)),
    ...norm('mixerOut'),
    ...norm('ffnIn'),
    { name: 'gateUp', is: 'matrix', rows: gateUp, cols: hiddenDim, blocks: 1, of: 'ffn' },
    ...vector('gateUpBias', gateUp, ffn.bias),
    { name: 'down', is: 'matrix', rows: hiddenDim, cols: ffn.width, blocks: 1, of: 'ffn' },
    ...vector('downBias', hiddenDim, ffn.bias),
    ...norm('ffnOut'),
  ]
}

function normTensors(name: `${NormPlace}Norm`, norm: Norm | undefined, length: number): LayerTensor[] {
  return [...vector(name, length, norm !== undefined), ...vector(`${name}Bias`, length, norm?.kind === 'layer')]
}

function vector(name: TensorName, rows: number, isPresent: boolean): LayerTensor[] {
  return isPresent ? [{ name, is: 'vector', rows }] : []
}

function mixerMatrix(name: AttentionTensor, rows: number, cols: number, blocks = 1): LayerTensor {
  return { name, is: 'matrix', rows, cols, blocks, of: 'mixer' }
}

function stateTensors(mixer: StateSpec, hiddenDim: number): LayerTensor[] {
  const isConv = mixer.is === 'conv'
  const channels = convChannels(mixer)
  const inWidth = stateInWidth(mixer)
  const hasBias = isConv && mixer.bias
  return [
    mixerMatrix('in', inWidth, hiddenDim),
    // A delta net's is that of a, and zeros.
    ...vector('inBias', inWidth, hasBias || !isConv),
    // (taps, channels), the current token last.
    ...vector('conv', mixer.taps * channels, true),
    ...vector('convBias', channels, hasBias),
    ...(isConv ? [] : [...vector('decay', mixer.valueHeads, true), ...vector('stateNorm', mixer.valueDim, true)]),
    mixerMatrix('out', hiddenDim, stateOutWidth(mixer)),
    ...vector('outBias', hiddenDim, hasBias),
  ]
}

function attentionTensors(attention: AttentionSpec, hiddenDim: number): LayerTensor[] {
  const { maps, query, encoder, decoder, value, key, bias, outDim } = attention
  const { q, row, gate } = projectionWidths(attention)
  const queryWidth = maps * queryDim(attention)
  const outWidth = maps * outDim
  const normed = Object.values(attention.slots).reduce((sum, { heads, dim, norm }) => sum + (norm ? heads * dim : 0), 0)
  return [
    mixerMatrix('in', q + row + gate, hiddenDim),
    ...vector('inBias', q + row + gate, bias.in),
    ...(query
      ? [
          ...vector('lowNorm', query.rank, true),
          mixerMatrix('query', queryWidth, query.rank),
          ...vector('queryBias', queryWidth, query.bias),
        ]
      : []),
    ...vector('queryNorm', queryWidth, attention.queryNorm !== undefined),
    ...vector('slotNorm', normed, normed > 0),
    ...(encoder ? [mixerMatrix('encoder', maps * (key[0]?.dim ?? 0), encoder.inDim, maps)] : []),
    ...(decoder
      ? [mixerMatrix('decoder', outWidth, value.dim, maps), ...vector('decoderBias', outWidth, decoder.bias)]
      : []),
    mixerMatrix('out', hiddenDim, outWidth),
    ...vector('outBias', hiddenDim, bias.out),
  ]
}

/** Scratch memory: so many bytes for each row of a step, for each rank of the team, or for each page of a wave. */
export interface LayerBuffer {
  name: BufferName
  per: 'row' | 'rank' | 'page'
  bytes: number
}

export type BufferName =
  | ('projection' | 'low' | 'query' | 'plain' | 'encoded' | 'averages' | 'decoded' | 'gateUp' | 'activation')
  | ('branch' | 'ffnInput' | 'quantised' | 'quantPairs' | 'groupOffsets' | 'pagePartials')
  | ('sweepQueries' | 'queryScales' | 'softmax' | 'partial' | 'turned')

/** f32 numbers, padded to 64 bytes: inputs of matrices are read so. */
const floats = (n: number) => Math.ceil(n / 16) * 64
/** A query or a weighted sum in the sweep takes 16 bytes for every four numbers. */
const fours = (n: number) => Math.ceil(n / 4) * 16
/** What one page leaves for one map: (f32 maximum, f32 sum), padded, then the weighted sum of values. */
const partialBytes = (valueDim: number) => 16 + floats(valueDim)

/**
 * The buffers that a layer needs beyond the residual stream, and how large; a model takes the largest of each. `isF32`: of
 * all weights, else inputs of matrices are quantised first.
 */
export function layerBuffers(layer: LayerSpec, hiddenDim: number, isF32: boolean): LayerBuffer[] {
  const { mixer, ffn, norms } = layer
  const row = (name: BufferName, bytes: number): LayerBuffer[] => (bytes > 0 ? [{ name, per: 'row', bytes }] : [])
  const hasOutNorm = norms.mixerOut !== undefined || norms.ffnOut !== undefined
  return [
    ...(mixer.is === 'attention' ? attentionBuffers(mixer) : stateBuffers(mixer)),
    ...row('gateUp', floats(ffn.isGated ? 2 * ffn.width : ffn.width)),
    ...row('activation', floats(ffn.width)),
    ...row('branch', hasOutNorm ? floats(hiddenDim) : 0),
    ...row('ffnInput', layer.isParallel ? floats(hiddenDim) : 0),
    ...(isF32 ? [] : quantisedBuffers(layer, hiddenDim)),
  ]
}

function stateBuffers(mixer: StateSpec): LayerBuffer[] {
  return [
    { name: 'projection', per: 'row', bytes: floats(stateInWidth(mixer)) },
    // q, k and v behind the convolution.
    ...(mixer.is === 'conv' ? [] : [{ name: 'query', per: 'row', bytes: floats(convChannels(mixer)) } as const]),
    // What enters W_out.
    { name: 'averages', per: 'row', bytes: floats(stateOutWidth(mixer)) },
  ]
}

function attentionBuffers(attention: AttentionSpec): LayerBuffer[] {
  const { maps, query, encoder, decoder, value, key, slots } = attention
  const widths = projectionWidths(attention)
  const row = (name: BufferName, bytes: number): LayerBuffer[] => (bytes > 0 ? [{ name, per: 'row', bytes }] : [])
  const widest = Math.max(...Object.values(slots).map(({ dim }) => dim))
  return [
    // q, or its low side, | row | gate
    ...row('projection', floats(widths.q + widths.row + widths.gate)),
    // The normed low side, and q of every map, where it is not part of the projection.
    ...row('low', query ? floats(query.rank) : 0),
    ...row('query', query ? floats(maps * queryDim(attention)) : 0),
    // Un-rotated parts of q, padded one by one, and what the encoder makes of them.
    ...row('plain', encoder ? maps * floats(encoder.inDim) : 0),
    ...row('encoded', encoder ? floats(maps * (key[0]?.dim ?? 0)) : 0),
    // Weighted sums of values; padded one by one where each is the input of a matrix of its own.
    ...row('averages', decoder ? maps * floats(value.dim) : floats(maps * value.dim)),
    ...row('decoded', decoder ? floats(maps * attention.outDim) : 0),
    { name: 'pagePartials', per: 'page', bytes: maps * partialBytes(value.dim) },
    { name: 'sweepQueries', per: 'rank', bytes: maps * key.reduce((sum, { dim }) => sum + fours(dim), 0) },
    // Of each map and key view.
    { name: 'queryScales', per: 'rank', bytes: maps * 8 },
    // Running maximum and sum of exponentials of each map.
    { name: 'softmax', per: 'rank', bytes: maps * 8 },
    { name: 'partial', per: 'rank', bytes: partialBytes(value.dim) },
    // Angles, then a slot head: for turning a page.
    { name: 'turned', per: 'rank', bytes: ((attention.rope?.dim ?? 0) + widest) * 4 },
  ]
}

/** Quantised inputs, in numbers: rows of weights are padded to 64. `quantPairs`: (f32 scale, i32 sum) of each vector. */
function quantisedBuffers(layer: LayerSpec, hiddenDim: number): LayerBuffer[] {
  let [numbers, vectors, groups] = [0, 1, 0]
  for (const tensor of layerTensors(layer, hiddenDim)) {
    if (tensor.is !== 'matrix') continue
    numbers = Math.max(numbers, tensor.blocks * Math.ceil(tensor.cols / 64) * 64)
    vectors = Math.max(vectors, tensor.blocks)
    // Only q4 asks for sums of groups of 32, and no matrix per map is q4.
    if (tensor.blocks === 1) groups = Math.max(groups, Math.ceil(tensor.cols / 32))
  }
  return [
    { name: 'quantised', per: 'row', bytes: numbers },
    { name: 'quantPairs', per: 'row', bytes: vectors * 8 },
    { name: 'groupOffsets', per: 'row', bytes: groups * 4 },
  ]
}
