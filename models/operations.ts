/**
 * The operations of one pass, as a list: what the engine's plan does, split where people and papers split it (the plan
 * projects query, row and gate with one matrix; here they are q_proj, k_proj, v_proj, g_proj). Read by whoever counts:
 * the analyzer walks this list with one cost convention or another, and draws the layer from it.
 *
 * Names are those of LLM-Viewer where it has one. Sizes are per token, bytes are those of the plan. Order is that of
 * execution; `inputs` make a graph of it.
 */
import {
  type AttentionSpec,
  cacheElements,
  cacheHeads,
  keyDim,
  projectionWidths,
  queryDim,
  slotOf,
} from './attention.ts'
import { matrixBytes, type PackedTensor, type Plan, type WeightType } from './plan.ts'
import type { ModelSpec } from './spec.ts'

/** Parts of a step as the engine's account has them, but for the time at barriers. */
export const operationParts = ['linear', 'attention', 'valueDecoder', 'rest'] as const
export type OperationPart = (typeof operationParts)[number]

export interface Operation {
  name: string
  part: OperationPart
  /** Once in every layer; else once per pass. */
  isPerLayer: boolean
  /** For every token, or only for those that want logits. */
  rows: 'tokens' | 'logits'
  /** Operations whose results it takes; 'input' is what the layer before left. */
  inputs: string[]
  work: MatrixWork | SweepWork | ElementwiseWork
}

/** y = W x: `blocks` matrices one below the other, each (outDim / blocks × inDim) and applied to a vector of its own. */
export interface MatrixWork {
  is: 'matrix'
  inDim: number
  outDim: number
  blocks: number
  hasBias: boolean
  /** Of the matrix in the plan: some stay q8 where the others are q4. */
  type: WeightType
  /** Bytes in the plan, with scales, padding of rows, and bias. */
  bytes: number
  /** Where the result goes: 'cache' is a slot of the cache row, with `heads` vectors. */
  result: 'activations' | { slot: string; heads: number }
}

/** What reads the cache: scores of each map with all keys, softmax, average of all values. One of its parts, or all. */
export interface SweepWork {
  is: 'scores' | 'softmax' | 'average' | 'fused'
  maps: number
  /** Width of a map's query and key, and of its average. */
  keyDim: number
  valueDim: number
  /** Numbers of a token's row that the keys view, that the values view, and that there are. */
  keyElements: number
  valueElements: number
  rowElements: number
  /** Vectors in a row: an int8 cache has a scale for each. */
  rowHeads: number
}

/** Numbers in, numbers out. */
export interface ElementwiseWork {
  is: 'elementwise'
  /** Numbers read and written per token, not counting weights. */
  reads: number
  writes: number
  /** Additions, multiplications and the like per token; an exponential counts as one. */
  operations: number
  /** Weights: numbers, and bytes in the plan. */
  weights: number
  bytes: number
  /** The row of a table is looked up: `bytes` per token, not per pass. */
  isLookup?: boolean
}

/** Every operation of the model in the order of execution. `isFused`: scores never leave the processor. */
export function operationsOf(spec: ModelSpec, plan: Plan, isFused = true): Operation[] {
  const { hiddenDim, ffnDim, vocabSize } = spec
  const file = new Packed(plan)
  const embedRow = file.matrixBytes('embed', 0, 1)
  const head = spec.isTied ? 'embed' : 'head'
  return [
    {
      name: 'embed',
      part: 'rest',
      isPerLayer: false,
      rows: 'tokens',
      inputs: [],
      work: { ...elementwise(0, hiddenDim, 0), weights: hiddenDim, bytes: embedRow, isLookup: true },
    },
    rest('attn_norm', ['input'], norm(hiddenDim, file.vectorBytes('attn_norm'))),
    ...attentionOperations(spec, file, isFused),
    rest('attn_add', ['input', 'out_proj'], elementwise(2 * hiddenDim, hiddenDim, hiddenDim)),
    rest('mlp_norm', ['attn_add'], norm(hiddenDim, file.vectorBytes('ffn_norm'))),
    file.linear('gate_proj', 'gate_up', ['mlp_norm'], { inDim: hiddenDim, from: 0, outDim: ffnDim }),
    file.linear('up_proj', 'gate_up', ['mlp_norm'], { inDim: hiddenDim, from: ffnDim, outDim: ffnDim }),
    rest('mlp_act', ['gate_proj', 'up_proj'], elementwise(2 * ffnDim, ffnDim, 5 * ffnDim)),
    file.linear('down_proj', 'down', ['mlp_act'], { inDim: ffnDim, from: 0, outDim: hiddenDim }),
    rest('mlp_add', ['attn_add', 'down_proj'], elementwise(2 * hiddenDim, hiddenDim, hiddenDim)),
    {
      name: 'final_norm',
      part: 'rest',
      isPerLayer: false,
      rows: 'logits',
      inputs: ['mlp_add'],
      work: norm(hiddenDim, 4 * hiddenDim),
    },
    {
      name: 'lm_head',
      part: 'linear',
      isPerLayer: false,
      rows: 'logits',
      inputs: ['final_norm'],
      work: {
        is: 'matrix',
        inDim: hiddenDim,
        outDim: vocabSize,
        blocks: 1,
        hasBias: false,
        type: file.matrixType(head),
        bytes: file.matrixBytes(head, 0, vocabSize),
        result: 'activations',
      },
    },
  ]
}

const slotProjections: Record<string, string> = { k: 'k_proj', v: 'v_proj', latent: 'v_proj', c: 'latent_proj' }

function attentionOperations(spec: ModelSpec, file: Packed, isFused: boolean): Operation[] {
  const { hiddenDim, attention } = spec
  const { maps, key, value, query, encoder, decoder, gate, outDim } = attention
  const { q, row, gate: gateWidth } = projectionWidths(attention)
  const list: Operation[] = []
  const fromIn = (name: string, from: number, width: number, result: MatrixWork['result'] = 'activations') =>
    file.linear(name, 'in', ['attn_norm'], { inDim: hiddenDim, from, outDim: width, result }, 'in_bias')
  let at = q
  const rotating: string[] = []
  const cached: string[] = []
  list.push(fromIn(query ? 'q_down_proj' : 'q_proj', 0, q))
  for (const [slot, { heads, dim, rope, norm: slotNorm }] of Object.entries(attention.slots)) {
    const projection = fromIn(slotProjections[slot] ?? `${slot}_proj`, at, heads * dim, { slot, heads })
    list.push(projection)
    const slotRope = rope ? rotating : cached
    slotRope.push(slotNorm ? `${slot}_norm` : projection.name)
    // Between the projection and the cache: the row is on its way, so only the weights are read.
    if (slotNorm)
      list.push(
        rest(`${slot}_norm`, [projection.name], {
          ...elementwise(0, 0, 7 * heads * dim),
          weights: heads * dim,
          bytes: 4 * heads * dim,
        }),
      )
    at += heads * dim
  }
  if (gate) list.push(fromIn('g_proj', q + row, gateWidth))
  let queries = 'q_proj'
  if (query) {
    list.push(rest('q_norm', ['q_down_proj'], norm(query.rank, 4 * query.rank)))
    const width = maps * queryDim(attention)
    list.push(
      file.linear('q_up_proj', 'query', ['q_norm'], { inDim: query.rank, from: 0, outDim: width }, 'query_bias'),
    )
    queries = 'q_up_proj'
  }
  const rotated = rotatedWidth(attention)
  if (rotated > 0) {
    list.push(rest('rope', [queries, ...rotating], elementwise(rotated, rotated, 3 * rotated)))
    queries = 'rope'
    cached.unshift('rope')
  }
  if (encoder) {
    const keyWidth = key[0]?.dim ?? 0
    const shape = { inDim: encoder.inDim, from: 0, outDim: maps * keyWidth, blocks: maps }
    list.push({ ...file.linear('q_encode', 'encoder', [queries], shape), part: 'rest' })
    queries = 'q_encode'
  }
  list.push(...sweepOperations(attention, isFused, queries, cached))
  let averages = isFused ? 'fused_attention' : 'sv_matmul'
  if (decoder) {
    const shape = { inDim: value.dim, from: 0, outDim: maps * outDim, blocks: maps }
    list.push({ ...file.linear('v2o_proj', 'decoder', [averages], shape, 'decoder_bias'), part: 'valueDecoder' })
    const width = maps * outDim
    if (decoder.repeat > 0)
      list.push({
        ...rest('output_add', [averages, 'v2o_proj'], elementwise(width + maps * value.dim, width, width)),
        part: 'valueDecoder',
      })
    averages = decoder.repeat > 0 ? 'output_add' : 'v2o_proj'
  }
  if (gate) {
    const width = maps * outDim
    list.push({
      ...rest('gate_act', [averages, 'g_proj'], elementwise(2 * width, width, 5 * width)),
      part: 'valueDecoder',
    })
    averages = 'gate_act'
  }
  list.push(
    file.linear('out_proj', 'out', [averages], { inDim: maps * outDim, from: 0, outDim: hiddenDim }, 'out_bias'),
  )
  return list
}

/** Scores, softmax and average, or all of it at once. */
function sweepOperations(attention: AttentionSpec, isFused: boolean, queries: string, cached: string[]): Operation[] {
  const { maps, key, value } = attention
  const work = {
    maps,
    keyDim: keyDim(attention),
    valueDim: value.dim,
    keyElements: key.reduce((sum, view) => sum + slotOf(attention, view).heads * view.dim, 0),
    valueElements: slotOf(attention, value).heads * value.dim,
    rowElements: cacheElements(attention),
    rowHeads: cacheHeads(attention),
  }
  const operation = (name: string, is: SweepWork['is'], inputs: string[]): Operation => ({
    name,
    part: 'attention',
    isPerLayer: true,
    rows: 'tokens',
    inputs: [...new Set(inputs)],
    work: { is, ...work },
  })
  if (isFused) return [operation('fused_attention', 'fused', [queries, ...cached])]
  return [
    operation('qk_matmul', 'scores', [queries, ...cached]),
    operation('softmax', 'softmax', ['qk_matmul']),
    operation('sv_matmul', 'average', ['softmax', ...cached]),
  ]
}

/** Numbers of a query and a row that RoPE turns. */
function rotatedWidth(attention: AttentionSpec): number {
  const { maps, key, encoder, slots } = attention
  const ropeOf = (index: number) => {
    const view = key[index]
    return view ? (slotOf(attention, view).rope ?? 0) : 0
  }
  const query = maps * ((encoder ? 0 : ropeOf(0)) + ropeOf(1))
  return query + Object.values(slots).reduce((sum, { heads, rope = 0 }) => sum + heads * rope, 0)
}

function rest(name: string, inputs: string[], work: ElementwiseWork): Operation {
  return { name, part: 'rest', isPerLayer: true, rows: 'tokens', inputs, work }
}

function elementwise(reads: number, writes: number, operations: number): ElementwiseWork {
  return { is: 'elementwise', reads, writes, operations, weights: 0, bytes: 0 }
}

/** Square, sum, mean, root, divide, multiply: seven operations a number, as LLM-Viewer counts them. */
function norm(width: number, bytes: number): ElementwiseWork {
  return { is: 'elementwise', reads: width, writes: width, operations: 7 * width, weights: width, bytes }
}

/** The plan's tensors of layer 0 and of the model, by their short names. */
class Packed {
  private readonly tensors = new Map<string, PackedTensor>()

  constructor(plan: Plan) {
    for (const tensor of plan.tensors) this.tensors.set(tensor.name.replace(/^layers\.0\./, ''), tensor)
  }

  /** Bytes of rows from … to of a matrix. */
  matrixBytes(name: string, from: number, to: number): number {
    const tensor = this.tensors.get(name)
    return tensor?.content.is === 'matrix' ? matrixBytes(tensor, to) - matrixBytes(tensor, from) : 0
  }

  matrixType(name: string): WeightType {
    const content = this.tensors.get(name)?.content
    if (content?.is !== 'matrix') throw new RangeError(`the plan has no matrix ${name}`)
    return content.type
  }

  vectorBytes(name: string): number {
    const tensor = this.tensors.get(name)
    return tensor?.content.is === 'vector' ? 4 * vectorLength(tensor.content.sources) : 0
  }

  /** Rows `from` … of a packed matrix as an operation; a bias belongs to as many rows. */
  linear(
    name: string,
    tensor: string,
    inputs: string[],
    shape: { inDim: number; from: number; outDim: number; blocks?: number; result?: MatrixWork['result'] },
    bias?: string,
  ): Operation {
    const { inDim, from, outDim, blocks = 1, result = 'activations' } = shape
    const hasBias = bias !== undefined && this.tensors.has(bias)
    const type = this.matrixType(tensor)
    const bytes = this.matrixBytes(tensor, from, from + outDim) + (hasBias ? 4 * outDim : 0)
    return {
      name,
      part: 'linear',
      isPerLayer: true,
      rows: 'tokens',
      inputs,
      work: { is: 'matrix', inDim, outDim, blocks, hasBias, type, bytes, result },
    }
  }
}

function vectorLength(sources: { shape: number[]; rows?: number[] }[]): number {
  return sources.reduce((sum, { shape, rows }) => sum + (rows?.length ?? shape[0] ?? 0), 0)
}
