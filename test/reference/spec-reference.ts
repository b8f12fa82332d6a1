/**
 * A ModelSpec evaluated as it reads, in f64: every layer from its fields, whole texts at once, no cache, no folding. Its
 * weights go by the plan's names ('layers.0.in'). Nothing of models/ but the types, so that what a field means is said twice.
 */
import type {
  AttentionSpec,
  FeedForward,
  LayerSpec,
  ModelSpec,
  Norm,
  QueryNorm,
  Rope,
  StateSpec,
} from '../../models/index.ts'
import {
  activations,
  addRows,
  at,
  attend,
  join,
  layerNorm,
  part,
  type Rows,
  rmsNorm,
  rope,
  rowsTimes,
  type Weights,
} from './reference.ts'
import { causalConvolution, deltaNet, shortConvolution } from './state.ts'

/** Logits (tokens, vocabSize) of a whole text. */
export function specLogits(spec: ModelSpec, weights: Weights, ids: number[]): Rows {
  const row = (name: string, index: number) => {
    const { data } = tensor(weights, name)
    return Float64Array.from(data.subarray(index * spec.hiddenDim, (index + 1) * spec.hiddenDim))
  }
  const x = ids.map((id) => row('embed', id).map((value) => value * spec.embedding.scale))
  if (spec.embedding.positions !== undefined)
    addRows(
      x,
      ids.map((_, position) => row('positions', position)),
    )
  for (const [index, kind] of spec.order.entries())
    addLayer(spec.layers[kind] as LayerSpec, weights, `layers.${index}`, x)
  const { head } = spec
  const logits = matrix(weights, head.isTied ? 'embed' : 'head', normed(head.norm, weights, 'norm', x), 'head_bias')
  return head.softcap === undefined ? logits : logits.map((list) => list.map(capped(head.softcap as number)))
}

const capped = (cap: number) => (value: number) => cap * Math.tanh(value / cap)

function addLayer({ mixer, ffn, norms, isParallel }: LayerSpec, weights: Weights, name: string, x: Rows): void {
  const before = x.map((row) => row.slice())
  const entering = normed(norms.mixerIn, weights, `${name}.mixer_in_norm`, before)
  const mixed =
    mixer.is === 'attention' ? attention(mixer, weights, name, entering) : stateMixer(mixer, weights, name, entering)
  addRows(x, normed(norms.mixerOut, weights, `${name}.mixer_out_norm`, mixed))
  const input = isParallel ? before : x.map((row) => row.slice())
  const fed = feedForward(ffn, weights, name, normed(norms.ffnIn, weights, `${name}.ffn_in_norm`, input))
  addRows(x, normed(norms.ffnOut, weights, `${name}.ffn_out_norm`, fed))
}

function normed(norm: Norm | undefined, weights: Weights, name: string, rows: Rows): Rows {
  if (!norm) return rows
  const { data } = tensor(weights, name)
  if (norm.kind === 'rms') return rows.map((row) => rmsNorm(row, data, norm.eps))
  const bias = tensor(weights, `${name}_bias`).data
  return rows.map((row) => layerNorm(row, data, bias, norm.eps))
}

function feedForward(ffn: FeedForward, weights: Weights, name: string, z: Rows): Rows {
  const { width, isGated } = ffn
  const f = activations[ffn.activation]
  const projected = matrix(weights, `${name}.gate_up`, z)
  const entering = projected.map((row) =>
    Float64Array.from({ length: width }, (_, i) => f(at(row, i)) * (isGated ? at(row, width + i) : 1)),
  )
  return matrix(weights, `${name}.down`, entering)
}

function stateMixer(mixer: StateSpec, weights: Weights, name: string, x: Rows): Rows {
  const projected = matrix(weights, `${name}.in`, x)
  const w = tensor(weights, `${name}.conv`).data
  const convolve = (rows: Rows) => {
    const channels = rows[0]?.length ?? 0
    const bias = weights.get(`${name}.conv_bias`)?.data
    return causalConvolution(
      rows,
      mixer.taps,
      (tap, channel) => at(w, tap * channels + channel),
      (channel) => (bias ? at(bias, channel) : 0),
    )
  }
  if (mixer.is === 'conv') return matrix(weights, `${name}.out`, shortConvolution(projected, convolve))
  const { keyHeads, keyDim, valueHeads, valueDim, isTiled, eps } = mixer
  const width = valueHeads * valueDim
  const channels = 2 * keyHeads * keyDim + width
  const heads = {
    ...{ keyHeads, keyDim, valueHeads, valueDim, eps },
    keyHeadOf: (head: number) => (isTiled ? head % keyHeads : Math.floor((head * keyHeads) / valueHeads)),
    decay: tensor(weights, `${name}.decay`).data,
    norm: tensor(weights, `${name}.state_norm`).data,
  }
  const qkv = convolve(part(projected, 0, channels)).map((row) => row.map(activations.silu))
  const after = (from: number, length: number) => part(projected, channels + from, length)
  const y = deltaNet(heads, qkv, after(0, width), after(width, valueHeads), after(width + valueHeads, valueHeads))
  return matrix(weights, `${name}.out`, y)
}

/** Keys and values in two slots, and what may be around them; no encoder, decoder or gate, which reference.ts has. */
function attention(spec: AttentionSpec, weights: Weights, name: string, x: Rows): Rows {
  const { maps, slots, rope: rotation, window, softcap, queryNorm, scale } = spec
  const { k, v } = slots
  if (!k || !v) throw new Error('only attention with slots k and v is written down here')
  const projected = matrix(weights, `${name}.in`, x)
  const queryWidth = maps * k.dim
  const isTurned = queryNorm?.spans === 'turned'
  const plain = part(projected, 0, queryWidth)
  const queries = isTurned ? plain : headNormed(queryNorm, weights, `${name}.query_norm`, plain, k.dim)
  const keys = headNormed(k.norm, weights, `${name}.slot_norm`, part(projected, queryWidth, k.heads * k.dim), k.dim)
  const values = part(projected, queryWidth + k.heads * k.dim, v.heads * v.dim)
  const heads = Array.from({ length: maps }, (_, map) => {
    const [keyHead, valueHead] = [Math.floor((map * k.heads) / maps), Math.floor((map * v.heads) / maps)]
    const turned = rotated(rotation, part(queries, map * k.dim, k.dim))
    const own = tensorPart(weights, `${name}.query_norm`, map * k.dim, k.dim)
    const q = isTurned ? turned.map((row) => rmsNorm(row, own, queryNorm.eps)) : turned
    const key = k.isRotated ? rotated(rotation, part(keys, keyHead * k.dim, k.dim)) : part(keys, keyHead * k.dim, k.dim)
    return attend(q, key, part(values, valueHead * v.dim, v.dim), scale, { window, softcap })
  })
  return matrix(weights, `${name}.out`, join(heads))
}

function tensorPart(weights: Weights, name: string, from: number, length: number): ArrayLike<number> {
  return weights.get(name)?.data.subarray(from, from + length) ?? []
}

function headNormed(norm: QueryNorm | undefined, weights: Weights, name: string, rows: Rows, dim: number): Rows {
  if (!norm) return rows
  const { data } = tensor(weights, name)
  return rows.map((row) => {
    if (norm.spans === 'all') return rmsNorm(row, data, norm.eps)
    const heads = Array.from({ length: row.length / dim }, (_, h) =>
      rmsNorm(row.slice(h * dim, (h + 1) * dim), data.subarray(h * dim, (h + 1) * dim), norm.eps),
    )
    return Float64Array.from(heads.flatMap((head) => [...head]))
  })
}

/** The first `dim` entries are rotated, the others pass. */
function rotated(rotation: Rope | undefined, rows: Rows): Rows {
  if (!rotation) return rows
  const { dim, theta, scaling, magnitude = 1 } = rotation
  if (scaling) throw new Error('scalings are tested elsewhere')
  const width = rows[0]?.length ?? 0
  const turned = rope(part(rows, 0, dim), theta).map((row) => row.map((value) => value * magnitude))
  return dim === width ? turned : join([turned, part(rows, dim, width - dim)])
}

function tensor(weights: Weights, name: string) {
  const found = weights.get(name)
  if (!found) throw new Error(`the reference needs ${name}`)
  return found
}

/** y = W x, and a bias where there is one. */
function matrix(weights: Weights, name: string, rows: Rows, bias = `${name}_bias`): Rows {
  return rowsTimes(tensor(weights, name), rows, weights.get(bias)?.data)
}
