/**
 * Attention of one layer as its plan reads, in f64, no cache: from normalised input to what enters W_o. All that the GPU and the
 * other engine do in their own ways is here in the plainest: every score of every token, every number of every weight as f32.
 */
import * as abi from '../../assembly/abi.ts'
import type { GpuLayer, GpuLayerKind } from '../../host/engine/gpu/plan.ts'

export interface PlanWeights {
  /** f32 numbers at an offset of the plan. */
  floats(offset: number, length: number): Float32Array
  /** f64 frequencies of the layer's rotation. */
  frequencies: Float64Array
}

type Vector = number[]

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0
  for (let i = 0; i < b.length; i++) sum += (a[i] as number) * (b[i] as number)
  return sum
}
const range = (length: number) => Array.from({ length }, (_, i) => i)

function rowsOf({ floats }: PlanWeights, matrix: abi.Matrix): Float32Array[] {
  return range(matrix.rows).map((r) => floats(matrix.data + r * matrix.stride, matrix.cols))
}

function rmsNormed(x: Vector, weight: ArrayLike<number>, eps: number): Vector {
  const factor = 1 / Math.sqrt(dot(x, x) / x.length + eps)
  return x.map((value, i) => value * factor * (weight[i] as number))
}

/** Heads of `dim`, each normed by itself or all at once. */
function headNormed(x: Vector, weight: ArrayLike<number>, dim: number, span: number, eps: number): Vector {
  if (!span) return x
  if (span === abi.SPAN_ALL) return rmsNormed(x, weight, eps)
  return range(x.length / dim).flatMap((h) =>
    rmsNormed(x.slice(h * dim, (h + 1) * dim), Array.from(weight).slice(h * dim, (h + 1) * dim), eps),
  )
}

function rotated(head: Vector, width: number, position: number, frequencies: Float64Array, magnitude: number): Vector {
  const half = width / 2
  const result = [...head]
  for (let i = 0; i < half; i++) {
    const angle = position * (frequencies[i] as number)
    const [c, s] = [Math.cos(angle) * magnitude, Math.sin(angle) * magnitude]
    const [u, v] = [head[i] as number, head[i + half] as number]
    result[i] = u * c - v * s
    result[i + half] = v * c + u * s
  }
  return result
}

interface Token {
  position: number
  /** Of each map: what meets the first key view, and the second. */
  queries: [Vector, Vector][]
  slots: Vector[][]
  gate: Vector
}

function tokenOf(layer: GpuLayer, weights: PlanWeights, x: ArrayLike<number>, position: number): Token {
  const { is: kind, matrices, rotation } = layer
  const magnitude = rotation?.magnitude ?? 1
  const product = (matrix: abi.Matrix, v: ArrayLike<number>, bias: number): Vector => {
    const biases = bias ? weights.floats(bias, matrix.rows) : undefined
    return rowsOf(weights, matrix).map((row, r) => dot(v, row) + (biases?.[r] ?? 0))
  }
  const turn = (head: Vector, width: number) =>
    width ? rotated(head, width, position, weights.frequencies, magnitude) : head
  const projected = product(matrices.in, x, layer.inBias)
  const slotFacts = [
    [kind.slot0Heads, kind.slot0Dim, kind.slot0Rope, kind.slot0Norm, kind.slot0Eps],
    [kind.slot1Heads, kind.slot1Dim, kind.slot1Rope, kind.slot1Norm, kind.slot1Eps],
  ] as const
  const plain = kind.encoderDim || kind.key0Dim
  const dim = plain + kind.key1Dim
  let at = kind.queryRank || kind.maps * dim
  let queries = projected.slice(0, at)
  if (kind.queryRank) {
    const low = rmsNormed(queries, weights.floats(layer.lowNorm, kind.queryRank), kind.lowEps)
    queries = product(matrices.query, low, layer.queryBias)
  }
  const queryWeight = kind.queryNorm ? weights.floats(layer.queryNorm, kind.maps * dim) : []
  const isTurned = kind.queryNorm === abi.SPAN_TURNED
  if (!isTurned) queries = headNormed(queries, queryWeight, dim, kind.queryNorm, kind.queryEps)
  const ropeOf = (slot: number) => slotFacts[slot]?.[2] ?? 0
  const heads = range(kind.maps).map((j): [Vector, Vector] => {
    const q = queries.slice(j * dim, (j + 1) * dim)
    const both = [
      ...turn(q.slice(0, plain), kind.encoderDim ? 0 : ropeOf(kind.key0Slot)),
      ...turn(q.slice(plain), kind.key1Dim ? ropeOf(kind.key1Slot) : 0),
    ]
    const own = Array.from(queryWeight).slice(j * dim, (j + 1) * dim)
    const normed = isTurned ? rmsNormed(both, own, kind.queryEps) : both
    const encoder = kind.encoderDim
      ? rowsOf(weights, matrices.encoder).slice(j * kind.key0Dim, (j + 1) * kind.key0Dim)
      : []
    const first = normed.slice(0, plain)
    return [kind.encoderDim ? encoder.map((row) => dot(first, row)) : first, normed.slice(plain)]
  })
  let norm = layer.slotNorm
  const slots = slotFacts.map(([count, width, rope, span, eps]) => {
    const weight = span ? weights.floats(norm, count * width) : []
    if (span) norm += 4 * count * width
    const normed = headNormed(projected.slice(at, at + count * width), weight, width, span, eps)
    at += count * width
    return range(count).map((h) => turn(normed.slice(h * width, (h + 1) * width), rope))
  })
  return { position, queries: heads, slots, gate: projected.slice(at) }
}

/** The head of a slot, as far as a view goes. */
const viewOf = ({ slots }: Token, slot: number, head: number, dim: number): Vector =>
  (slots[slot]?.[head] ?? []).slice(0, dim)

function average(kind: GpuLayerKind, own: Token, seen: readonly Token[], j: number): Vector {
  const [key0, key1, value] = kind.heads.map((heads) => heads[j] ?? 0) as [number, number, number]
  const [first, second] = own.queries[j] as [Vector, Vector]
  const scores = seen.map((token) => {
    const k = viewOf(token, kind.key0Slot, key0, kind.key0Dim)
    const r = viewOf(token, kind.key1Slot, key1, kind.key1Dim)
    const score = kind.scale * (dot(first, k) + dot(second, r))
    return kind.softcap ? kind.softcap * Math.tanh(score / kind.softcap) : score
  })
  const peak = Math.max(...scores)
  const weights = scores.map((score) => Math.exp(score - peak))
  const sum = weights.reduce((total, weight) => total + weight, 0)
  return range(kind.valueDim).map(
    (d) =>
      seen.reduce(
        (total, { slots }, t) => total + (weights[t] as number) * (slots[kind.valueSlot]?.[value]?.[d] as number),
        0,
      ) / sum,
  )
}

/** What enters W_o of every row of a text, given its rows of normalised input in order. */
export function enteringRows(layer: GpuLayer, weights: PlanWeights, input: readonly ArrayLike<number>[]): Vector[] {
  const { is: kind, matrices } = layer
  const tokens = input.map((x, position) => tokenOf(layer, weights, x, position))
  const decoder = kind.hasDecoder ? rowsOf(weights, matrices.decoder) : []
  const bias = layer.decoderBias ? weights.floats(layer.decoderBias, kind.maps * kind.outDim) : undefined
  return tokens.map((own, t) => {
    const seen = tokens.slice(kind.window ? Math.max(0, t + 1 - kind.window) : 0, t + 1)
    return range(kind.maps).flatMap((j) => {
      const o = average(kind, own, seen, j)
      return range(kind.outDim).map((d) => {
        const i = j * kind.outDim + d
        const copy = d < kind.repeat * kind.valueDim ? (o[d % kind.valueDim] as number) : 0
        const u = kind.hasDecoder ? dot(o, decoder[i] as Float32Array) + copy + (bias?.[i] ?? 0) : (o[d] as number)
        return kind.hasGate ? u / (1 + Math.exp(-(own.gate[i] as number))) : u
      })
    })
  })
}
