/**
 * The plan: a model as the engine executes it. Flat 32-bit words say where each weight lies and how wide it is;
 * `planModel()` also lists the packed tensors, which are the same thing seen from the file.
 *
 *     words   ┃ header ┃ slot head per map: key 0, key 1, value ┃ embed ┃ head ┃ layer 0 ┃ layer 1 ┃ …
 *               u32, or f32 bits where noted
 *     matrix  = type rows cols stride data scales                    stride in bytes; data and scales are offsets
 *     layer   = offsets of vectors, then matrices
 *     offset  = from the first byte of the packed tensors, the plan itself being the first; 0 = absent
 *
 * The records are those of assembly/abi.ts, which the engine reads them with. A change of one is a new PLAN_VERSION.
 *
 * Number formats (decision 002). f32: rows padded with zeros to 16 numbers. q8: one byte per weight, w + 64 with w in
 * −63..63, rows padded to 64 bytes, one f32 scale per row. q4: w + 8 with w in −8..7, in blocks of 8 rows × 32 columns,
 * each followed by its 8 scales in bf16; embedding, output head and the matrices per map stay q8, and all of the attention
 * in a model as small as abi.SMALL_HIDDEN.
 *
 *     q4 block   ┃ columns 0..3 of 8 rows ┃ columns 4..7 ┃ … ┃ columns 28..31 ┃ scales of rows 0..7 ┃     144 bytes
 *     16 bytes     byte 4·r + c: row r in the low nibble, row r + 4 in the high one; r, c in 0..3
 */
import * as abi from '../assembly/abi.ts'
import { type AttentionSpec, projectionWidths, queryDim, ropeDim, type View, viewHeads } from './attention.ts'
import { fieldsOf, isFloat, placesOf, wordsOf } from './records.ts'
import { invFreq } from './rope.ts'
import type { LayerSources, ModelDescription, ModelSpec, Source } from './spec.ts'

/** Version of plan words, number formats and packed file together. A file of another version is refused. */
export const PLAN_VERSION: number = abi.PLAN_VERSION

export const weightTypes = ['f32', 'q8', 'q4'] as const
export type WeightType = (typeof weightTypes)[number]

/** Fields of the plan's records, in order: its head, a matrix, a layer's vectors (offsets, 0 if absent) and matrices. */
export const planHeader: readonly string[] = fieldsOf(new abi.Plan())
const planMatrix = fieldsOf(new abi.Matrix())
const planVectors = fieldsOf(new abi.Layer())
const planMatrices = fieldsOf(new abi.LayerMatrices())

/** One tensor of the packed file. Its bytes are a multiple of 64, padding being part of the shape. */
export interface PackedTensor {
  name: string
  dtype: 'U8' | 'F32' | 'F64' | 'U32'
  shape: number[]
  /** From the first byte of the packed tensors. */
  offset: number
  bytes: number
  content:
    | { is: 'plan' }
    | { is: 'invFreq' }
    | { is: 'vector'; sources: Source[] }
    | { is: 'matrix'; type: WeightType; rows: number; cols: number; sources: Source[]; scales?: PackedTensor }
    | { is: 'scales' }
}

export interface Plan {
  type: WeightType
  words: Uint32Array
  tensors: PackedTensor[]
  /** Size of all packed tensors. */
  bytes: number
}

const ALIGN = 64
const matrixType: Record<WeightType, number> = { f32: abi.TYPE_F32, q8: abi.TYPE_Q8, q4: abi.TYPE_Q4 }

/** A block of q4 weights. */
export const Q4_ROWS: number = abi.Q4_ROWS
export const Q4_COLS: number = abi.Q4_COLS
export const Q4_BYTES: number = abi.Q4_BYTES

/** Lays out a model's weights in the order in which one step reads them. */
export function planModel(model: ModelDescription, type: WeightType): Plan {
  const { spec, sources } = model
  const { attention } = spec
  const layerWords = planVectors.length + planMatrices.length * planMatrix.length
  const wordCount = planHeader.length + 3 * attention.maps + 2 * planMatrix.length + spec.nLayers * layerWords
  const file = new Layout()
  file.add('plan', 'U32', [roundUp(wordCount, ALIGN / 4)], { is: 'plan' })
  const freqs = file.add('inv_freq', 'F64', [roundUp(ropeDim(attention) / 2, ALIGN / 8)], { is: 'invFreq' })
  // What every token passes and what its row is gathered from keeps its eight bits.
  const outer = type === 'q4' ? 'q8' : type
  const embed = file.matrix('embed', outer, spec.vocabSize, spec.hiddenDim, sources.embed)
  const layers = Array.from({ length: spec.nLayers }, (_, index) =>
    layoutLayer(file, spec, type, index, sources.layer(index)),
  )
  const norm = file.vector('norm', spec.hiddenDim, sources.norm)
  const head = spec.isTied ? embed : file.matrix('head', outer, spec.vocabSize, spec.hiddenDim, sources.head)

  const words = new Uint32Array(roundUp(wordCount, ALIGN / 4))
  words.set([...headerWords(spec, freqs.offset, norm), ...headTables(attention), ...embed, ...head, ...layers.flat()])
  return { type, words, tensors: file.tensors, bytes: file.bytes }
}

function headerWords(spec: ModelSpec, invFreqOffset: number, norm: number): Uint32Array {
  const { attention } = spec
  const names = Object.keys(attention.slots)
  const [slot0, slot1] = Object.values(attention.slots)
  const [key0, key1] = attention.key
  if (!slot0 || !slot1 || names.length !== 2 || !key0)
    throw new RangeError('a row has two slots and a key of one or two views')
  const indexOf = (view: View | undefined) => (view ? names.indexOf(view.slot) : 0)
  return wordsOf(new abi.Plan(), {
    version: PLAN_VERSION,
    nLayers: spec.nLayers,
    hiddenDim: spec.hiddenDim,
    ffnDim: spec.ffnDim,
    vocabSize: spec.vocabSize,
    maxContext: spec.maxContext,
    normEps: spec.normEps,
    maps: attention.maps,
    slot0Heads: slot0.heads,
    slot0Dim: slot0.dim,
    slot0Rope: slot0.rope ?? 0,
    slot0HasNorm: slot0.norm ? 1 : 0,
    slot1Heads: slot1.heads,
    slot1Dim: slot1.dim,
    slot1Rope: slot1.rope ?? 0,
    slot1HasNorm: slot1.norm ? 1 : 0,
    slotEps: slot0.norm?.eps ?? slot1.norm?.eps ?? 0,
    key0Slot: indexOf(key0),
    key0Dim: key0.dim,
    key1Slot: indexOf(key1),
    key1Dim: key1?.dim ?? 0,
    valueSlot: indexOf(attention.value),
    valueDim: attention.value.dim,
    queryRank: attention.query?.rank ?? 0,
    queryEps: attention.query?.eps ?? 0,
    encoderDim: attention.encoder?.inDim ?? 0,
    hasDecoder: attention.decoder ? 1 : 0,
    repeat: attention.decoder?.repeat ?? 0,
    hasGate: attention.gate ? 1 : 0,
    outDim: attention.outDim,
    scale: attention.scale,
    ropeDim: ropeDim(attention),
    ropeMagnitude: spec.rope.magnitude ?? 1,
    invFreq: invFreqOffset,
    norm,
  })
}

/** Slot head of every map, for each view. */
function headTables(attention: AttentionSpec): number[] {
  const [key0, key1] = attention.key as [View, View?]
  const none = Array.from({ length: attention.maps }, () => 0)
  return [
    viewHeads(attention, key0),
    key1 ? viewHeads(attention, key1) : none,
    viewHeads(attention, attention.value),
  ].flat()
}

/** Adds the tensors of one layer and returns its words. */
function layoutLayer(file: Layout, spec: ModelSpec, type: WeightType, index: number, sources: LayerSources): number[] {
  const { hiddenDim, ffnDim, attention } = spec
  const name = (part: string) => `layers.${index}.${part}`
  const { q, row, gate } = projectionWidths(attention)
  const queryWidth = attention.maps * queryDim(attention)
  const outWidth = attention.maps * attention.outDim
  const normed = Object.values(attention.slots).reduce((sum, { heads, dim, norm }) => sum + (norm ? heads * dim : 0), 0)
  const inDim = attention.encoder?.inDim ?? 0
  const encoderRows = attention.maps * (attention.key[0]?.dim ?? 0)
  // Small, and the error of a value decoder goes into every head.
  const perMap = type === 'q4' ? 'q8' : type
  const around = hiddenDim <= abi.SMALL_HIDDEN ? perMap : type
  // In the order of use, which is the order in the file.
  const fields: Record<string, number | number[]> = {
    attnNorm: file.vector(name('attn_norm'), hiddenDim, sources.attnNorm),
    in: file.matrix(name('in'), around, q + row + gate, hiddenDim, sources.in),
    inBias: file.vector(name('in_bias'), q + row + gate, sources.inBias),
    queryNorm: file.vector(name('query_norm'), q, sources.queryNorm),
    query: file.matrix(name('query'), around, queryWidth, q, sources.query),
    queryBias: file.vector(name('query_bias'), queryWidth, sources.queryBias),
    slotNorm: file.vector(name('slot_norm'), normed, sources.slotNorm),
    encoder: file.matrix(name('encoder'), perMap, encoderRows, inDim, sources.encoder),
    decoder: file.matrix(name('decoder'), perMap, outWidth, attention.value.dim, sources.decoder),
    decoderBias: file.vector(name('decoder_bias'), outWidth, sources.decoderBias),
    out: file.matrix(name('out'), around, hiddenDim, outWidth, sources.out),
    outBias: file.vector(name('out_bias'), hiddenDim, sources.outBias),
    ffnNorm: file.vector(name('ffn_norm'), hiddenDim, sources.ffnNorm),
    gateUp: file.matrix(name('gate_up'), type, 2 * ffnDim, hiddenDim, sources.gateUp),
    down: file.matrix(name('down'), type, hiddenDim, ffnDim, sources.down),
  }
  return [...planVectors, ...planMatrices].flatMap((field) => fields[field] as number | number[])
}

/** Collects packed tensors one after the other. Absent tensors (no sources) take no place. */
class Layout {
  tensors: PackedTensor[] = []
  bytes = 0

  add(name: string, dtype: PackedTensor['dtype'], shape: number[], content: PackedTensor['content']): PackedTensor {
    const width = { U8: 1, F32: 4, U32: 4, F64: 8 }[dtype]
    const bytes = shape.reduce((product, n) => product * n, width)
    if (bytes % ALIGN !== 0) throw new RangeError(`packed tensor ${name} is not padded to ${ALIGN} bytes`)
    const tensor: PackedTensor = { name, dtype, shape, offset: this.bytes, bytes, content }
    this.tensors.push(tensor)
    this.bytes += bytes
    return tensor
  }

  vector(name: string, length: number, sources: Source[] = []): number {
    if (sources.length === 0) return 0
    return this.add(name, 'F32', [roundUp(length, ALIGN / 4)], { is: 'vector', sources }).offset
  }

  /** Words of a matrix. */
  matrix(name: string, type: WeightType, rows: number, cols: number, sources: Source[] = []): number[] {
    if (sources.length === 0) return planMatrix.map(() => 0)
    if (type === 'f32') {
      const padded = roundUp(cols, ALIGN / 4)
      const data = this.add(name, 'F32', [rows, padded], { is: 'matrix', type, rows, cols, sources })
      return [matrixType.f32, rows, cols, padded * 4, data.offset, 0]
    }
    if (type === 'q4') {
      const stride = Math.ceil(cols / Q4_COLS) * Q4_BYTES
      // Four rows of blocks are a multiple of 64 bytes.
      const blocks = roundUp(Math.ceil(rows / Q4_ROWS), 4)
      const data = this.add(name, 'U8', [blocks, stride], { is: 'matrix', type, rows, cols, sources })
      return [matrixType.q4, rows, cols, stride, data.offset, 0]
    }
    const stride = roundUp(cols, ALIGN)
    const content: PackedTensor['content'] = { is: 'matrix', type, rows, cols, sources }
    const data = this.add(name, 'U8', [rows, stride], content)
    content.scales = this.add(`${name}.scale`, 'F32', [roundUp(rows, ALIGN / 4)], { is: 'scales' })
    return [matrixType.q8, rows, cols, stride, data.offset, content.scales.offset]
  }
}

/** Bytes of the first `rows` rows of a packed matrix, their scales with them: what a product with them reads. */
export function matrixBytes({ shape, content }: PackedTensor, rows: number): number {
  if (content.is !== 'matrix') throw new RangeError('only a matrix has rows')
  const width = shape[1] as number
  if (content.type === 'q4') return Math.ceil(rows / Q4_ROWS) * width
  return content.type === 'f32' ? rows * width * 4 : rows * (width + 4)
}

/** The bytes of a tensor that comes from the spec and not from a checkpoint. */
export function derivedBytes(plan: Plan, spec: ModelSpec, tensor: PackedTensor): Uint8Array | undefined {
  if (tensor.content.is === 'plan') return new Uint8Array(plan.words.buffer)
  if (tensor.content.is === 'invFreq') {
    const padded = new Float64Array(tensor.bytes / 8)
    padded.set(invFreq(spec.rope, ropeDim(spec.attention)))
    return new Uint8Array(padded.buffer)
  }
  return undefined
}

/** The plan in words that a person can read: one line per field. For `gta inspect --plan`. */
export function disassemble(plan: Plan): string[] {
  const { words } = plan
  const floats = new Float32Array(words.buffer)
  let at = 0
  const take = (count: number) => {
    at += count
    return words.subarray(at - count, at)
  }
  const field = <T extends object>(record: T, name: keyof T & string) => {
    const value = isFloat(record, name) ? floats[at] : words[at]
    at++
    return `${name} ${value}`
  }
  const matrix = (name: string) => {
    const [type, rows, cols, stride, data, scales] = take(planMatrix.length)
    if (type === 0) return `${name} –`
    const typeName = weightTypes.find((candidate) => matrixType[candidate] === type)
    return `${name} ${typeName} (${rows}, ${cols}) stride ${stride} at ${data} scales ${scales || '–'}`
  }
  const header = new abi.Plan()
  const lines = fieldsOf(header).map((name) => field(header, name))
  if (plan.bytes > 2 ** 32)
    lines.unshift('beyond 4 GiB: no engine can execute this plan, and its offsets are cut to 32 bits')
  const { maps: mapsAt, nLayers: layersAt } = placesOf(header)
  const maps = words[mapsAt] ?? 0
  for (const view of ['key 0', 'key 1', 'value']) lines.push(`${view} heads ${take(maps).join(' ')}`)
  lines.push(matrix('embed'), matrix('head'))
  for (let layer = 0; layer < (words[layersAt] ?? 0); layer++) {
    for (const name of planVectors) lines.push(`layer ${layer} ${field(new abi.Layer(), name)}`)
    for (const name of planMatrices) lines.push(`layer ${layer} ${matrix(name)}`)
  }
  return lines
}

export function roundUp(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple
}
