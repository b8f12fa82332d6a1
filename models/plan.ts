/**
 * The plan: a model as the engine executes it. Flat 32-bit words say where each weight lies and how wide it is;
 * `planModel()` also lists the packed tensors, which are the same thing seen from the file.
 *
 *     words   ┃ header ┃ embed ┃ head ┃ layer 0 ┃ layer 1 ┃ …        u32, or f32 bits where noted
 *     matrix  = type rows cols stride data scales                    bytes; data and scales are offsets
 *     offset  = from the first byte of the packed tensors, the plan itself being the first; 0 = absent
 *
 * The field lists below are the layout: assembly/plan.ts declares the same fields in the same order, and a test
 * compares the two. A change of either is a new PLAN_VERSION.
 *
 * Number formats (decision 002). f32: rows padded with zeros to 16 numbers. q8: one byte per weight, w + 64 with w in
 * −63..63, rows padded to 64 bytes, one f32 scale per row.
 */
import { projectionWidths, slotOf } from './attention.ts'
import { invFreq } from './rope.ts'
import type { LayerSources, ModelDescription, ModelSpec, Source } from './spec.ts'

/** Version of plan words, number formats and packed file together. A file of another version is refused. */
export const PLAN_VERSION = 1

export const weightTypes = ['f32', 'q8'] as const
export type WeightType = (typeof weightTypes)[number]

export const planHeader = [
  'version',
  'nLayers',
  'hiddenDim',
  'ffnDim',
  'vocabSize',
  'maxContext',
  'normEps', // f32
  'maps',
  'keyHeads',
  'keyDim',
  'valueHeads',
  'valueDim',
  'ropeDim',
  'scale', // f32
  'outDim',
  'repeat', // 0: no value decoder
  'hasGate',
  'invFreq', // offset of f64 (ropeDim / 2)
  'norm', // offset of f32 (hiddenDim)
] as const

export const planMatrix = ['type', 'rows', 'cols', 'stride', 'data', 'scales'] as const

/** A layer: offsets of vectors, and matrices. */
export const planLayer = ['attnNorm', 'in', 'inBias', 'decoder', 'out', 'outBias', 'ffnNorm', 'gateUp', 'down'] as const

const matrixNames = new Set<string>(['in', 'decoder', 'out', 'gateUp', 'down'])

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
const matrixType: Record<WeightType, number> = { f32: 1, q8: 2 }

/** Lays out a model's weights in the order in which one step reads them. */
export function planModel(model: ModelDescription, type: WeightType): Plan {
  const { spec, sources } = model
  const wordCount = planHeader.length + (2 + spec.nLayers * 5) * planMatrix.length + spec.nLayers * 4
  const file = new Layout()
  file.add('plan', 'U32', [roundUp(wordCount, ALIGN / 4)], { is: 'plan' })
  const freqs = file.add('inv_freq', 'F64', [roundUp(ropeDim(spec) / 2, ALIGN / 8)], { is: 'invFreq' })
  const embed = file.matrix('embed', type, spec.vocabSize, spec.hiddenDim, sources.embed)
  const layers = Array.from({ length: spec.nLayers }, (_, index) =>
    layoutLayer(file, spec, type, index, sources.layer(index)),
  )
  const norm = file.vector('norm', spec.hiddenDim, sources.norm)
  const head = spec.isTied ? embed : file.matrix('head', type, spec.vocabSize, spec.hiddenDim, sources.head)

  const header = headerWords(spec, freqs.offset, norm)
  const words = new Uint32Array(roundUp(wordCount, ALIGN / 4))
  words.set([...header, ...embed, ...head, ...layers.flat()])
  return { type, words, tensors: file.tensors, bytes: file.bytes }
}

function headerWords(spec: ModelSpec, invFreqOffset: number, norm: number): number[] {
  const { attention } = spec
  const key = slotOf(attention, attention.key)
  const value = slotOf(attention, attention.value)
  const fields: Record<(typeof planHeader)[number], number> = {
    version: PLAN_VERSION,
    nLayers: spec.nLayers,
    hiddenDim: spec.hiddenDim,
    ffnDim: spec.ffnDim,
    vocabSize: spec.vocabSize,
    maxContext: spec.maxContext,
    normEps: floatBits(spec.normEps),
    maps: attention.maps,
    keyHeads: key.heads,
    keyDim: key.dim,
    valueHeads: value.heads,
    valueDim: value.dim,
    ropeDim: ropeDim(spec),
    scale: floatBits(attention.scale),
    outDim: attention.outDim,
    repeat: attention.decoder?.repeat ?? 0,
    hasGate: attention.gate ? 1 : 0,
    invFreq: invFreqOffset,
    norm,
  }
  return planHeader.map((name) => fields[name])
}

/** Adds the tensors of one layer and returns its words. */
function layoutLayer(file: Layout, spec: ModelSpec, type: WeightType, index: number, sources: LayerSources): number[] {
  const { hiddenDim, ffnDim, attention } = spec
  const name = (part: string) => `layers.${index}.${part}`
  const { q, row, gate } = projectionWidths(attention)
  const outWidth = attention.maps * attention.outDim
  const fields: Record<(typeof planLayer)[number], number | number[]> = {
    attnNorm: file.vector(name('attn_norm'), hiddenDim, sources.attnNorm),
    in: file.matrix(name('in'), type, q + row + gate, hiddenDim, sources.in),
    inBias: file.vector(name('in_bias'), q + row + gate, sources.inBias),
    decoder: file.matrix(name('decoder'), type, outWidth, attention.value.dim, sources.decoder),
    out: file.matrix(name('out'), type, hiddenDim, outWidth, sources.out),
    outBias: file.vector(name('out_bias'), hiddenDim, sources.outBias),
    ffnNorm: file.vector(name('ffn_norm'), hiddenDim, sources.ffnNorm),
    gateUp: file.matrix(name('gate_up'), type, 2 * ffnDim, hiddenDim, sources.gateUp),
    down: file.matrix(name('down'), type, hiddenDim, ffnDim, sources.down),
  }
  return planLayer.flatMap((field) => fields[field])
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

  vector(name: string, length: number, sources: Source[]): number {
    if (sources.length === 0) return 0
    return this.add(name, 'F32', [roundUp(length, ALIGN / 4)], { is: 'vector', sources }).offset
  }

  /** Words of a matrix. */
  matrix(name: string, type: WeightType, rows: number, cols: number, sources: Source[]): number[] {
    if (sources.length === 0) return planMatrix.map(() => 0)
    if (type === 'f32') {
      const padded = roundUp(cols, ALIGN / 4)
      const data = this.add(name, 'F32', [rows, padded], { is: 'matrix', type, rows, cols, sources })
      return [matrixType.f32, rows, cols, padded * 4, data.offset, 0]
    }
    const stride = roundUp(cols, ALIGN)
    const content: PackedTensor['content'] = { is: 'matrix', type, rows, cols, sources }
    const data = this.add(name, 'U8', [rows, stride], content)
    content.scales = this.add(`${name}.scale`, 'F32', [roundUp(rows, ALIGN / 4)], { is: 'scales' })
    return [matrixType.q8, rows, cols, stride, data.offset, content.scales.offset]
  }
}

export function ropeDim(spec: ModelSpec): number {
  return slotOf(spec.attention, spec.attention.key).rope ?? 0
}

/** The bytes of a tensor that comes from the spec and not from a checkpoint. */
export function derivedBytes(plan: Plan, spec: ModelSpec, tensor: PackedTensor): Uint8Array | undefined {
  if (tensor.content.is === 'plan') return new Uint8Array(plan.words.buffer)
  if (tensor.content.is === 'invFreq') {
    const padded = new Float64Array(tensor.bytes / 8)
    padded.set(invFreq(spec.rope, ropeDim(spec)))
    return new Uint8Array(padded.buffer)
  }
  return undefined
}

/** The plan in words that a person can read: one line per field. For `gta inspect --plan`. */
export function disassemble(plan: Plan): string[] {
  const { words } = plan
  const float = new Float32Array(words.buffer)
  let at = 0
  const field = (name: string) => {
    const value = name === 'normEps' || name === 'scale' ? float[at] : words[at]
    at++
    return `${name} ${value}`
  }
  const matrix = (name: string) => {
    const [type, rows, cols, stride, data, scales] = words.subarray(at, at + planMatrix.length)
    at += planMatrix.length
    return type === 0
      ? `${name} –`
      : `${name} ${type === matrixType.f32 ? 'f32' : 'q8'} (${rows}, ${cols}) stride ${stride} at ${data} scales ${scales || '–'}`
  }
  const lines = planHeader.map((name) => field(name))
  lines.push(matrix('embed'), matrix('head'))
  for (let layer = 0; layer < (words[1] ?? 0); layer++)
    for (const name of planLayer) lines.push(`layer ${layer} ${matrixNames.has(name) ? matrix(name) : field(name)}`)
  return lines
}

export function roundUp(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple
}

function floatBits(value: number): number {
  return new Uint32Array(new Float32Array([value]).buffer)[0] ?? 0
}
