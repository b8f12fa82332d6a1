/**
 * What attention is, as data. Start reading here.
 *
 * Every kind of attention does the same thing. A token leaves one *row* in the KV cache. A row is a few *slots*, each
 * `heads × dim`. A *map* (query head) scores a key view and averages a value view; a view is a slot seen through a map.
 * What follows the average is optional: a value decoder unfolds it into several heads, a gate multiplies them.
 *
 *     x ──▶ [ q | row | gate ]        one fused projection
 *              │    └──▶ cache        one row per token: ┃ k ┃ v ┃  or  ┃ k ┃ latent ┃
 *              ▼
 *     o_j = Σ_t softmax_t(scale · q_j · key(t)) · value(t)        for each map j
 *     u_j = [o_j, o_j, …] + P_j · o_j                             value decoder: `repeat` copies plus a learned part
 *     x  += W_o (u ⊙ σ(gate))
 *
 * Grouped-head latenT Attention (GTA, arXiv 2506.17286) is the case of few maps, one key head and one *latent* value
 * head: GTA-1B keeps 64 + 128 numbers per token and layer where GQA keeps 640. The engine sees these numbers only; the
 * names of the kinds live in this folder and nowhere else.
 */

/** Part of a cache row: `heads` vectors of `dim` numbers. */
export interface Slot {
  heads: number
  dim: number
  /** Rotated width: RoPE in half layout over the first `rope` entries of each head; absent: none. */
  rope?: number
}

/** A slot as seen by the maps: map j reads slot head floor(j · heads / maps). */
export interface View {
  slot: string
  dim: number
}

export interface AttentionSpec {
  /** Attention maps per token, that is query heads after sharing. */
  maps: number
  /** What one token leaves in the cache, in row order. */
  slots: Record<string, Slot>
  key: View
  value: View
  /** After the weighted sum: `repeat` copies of it plus a learned matrix, value.dim → outDim, one per map. */
  decoder?: { repeat: number }
  /** From the current token; multiplies what enters W_O. Nothing about it is cached. */
  gate?: 'sigmoid'
  /** Biases of the fused projection [q | row | gate] and of W_O. */
  bias: { in: boolean; out: boolean }
  /** Width per map entering W_O. */
  outDim: number
  /** Factor of the scores. */
  scale: number
}

/** MHA, MQA and GQA: `maps` query heads share `kvHeads` key and value heads (SPEC §3). */
export function grouped(shape: {
  maps: number
  kvHeads: number
  headDim: number
  bias: { in: boolean; out: boolean }
}): AttentionSpec {
  const { maps, kvHeads, headDim, bias } = shape
  return {
    maps,
    slots: { k: { heads: kvHeads, dim: headDim, rope: headDim }, v: { heads: kvHeads, dim: headDim } },
    key: { slot: 'k', dim: headDim },
    value: { slot: 'v', dim: headDim },
    bias,
    outDim: headDim,
    scale: headDim ** -0.5,
  }
}

/** GTA: shared maps, a latent value, a nonlinear decoder (arXiv 2506.17286 §3; SPEC §4). */
export function latentValue(shape: {
  maps: number
  keyHeads: number
  keyDim: number
  valueHeads: number
  latentDim: number
  /** Heads' worth of output per map: hiddenDim / (maps · latentDim). */
  repeat: number
}): AttentionSpec {
  const { maps, keyHeads, keyDim, valueHeads, latentDim, repeat } = shape
  return {
    maps,
    slots: { k: { heads: keyHeads, dim: keyDim, rope: keyDim }, latent: { heads: valueHeads, dim: latentDim } },
    key: { slot: 'k', dim: keyDim },
    value: { slot: 'latent', dim: latentDim },
    decoder: { repeat },
    gate: 'sigmoid',
    bias: { in: true, out: false },
    outDim: repeat * latentDim,
    scale: keyDim ** -0.5,
  }
}

/** The slot behind a view. */
export function slotOf(attention: AttentionSpec, view: View): Slot {
  const slot = attention.slots[view.slot]
  if (!slot) throw new RangeError(`view of slot "${view.slot}", which the row does not have`)
  return slot
}

/** Numbers that one token leaves in the cache of one layer. */
export function cacheElements(attention: AttentionSpec): number {
  return Object.values(attention.slots).reduce((sum, slot) => sum + slot.heads * slot.dim, 0)
}

/** Vectors in one row; an int8 cache keeps one scale for each. */
export function cacheHeads(attention: AttentionSpec): number {
  return Object.values(attention.slots).reduce((sum, slot) => sum + slot.heads, 0)
}

/** Widths of the parts of the fused projection [q | row | gate]. */
export function projectionWidths(attention: AttentionSpec): { q: number; row: number; gate: number } {
  return {
    q: attention.maps * attention.key.dim,
    row: cacheElements(attention),
    gate: attention.gate ? attention.maps * attention.outDim : 0,
  }
}
