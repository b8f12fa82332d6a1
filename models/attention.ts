/**
 * What attention is, as data. Start reading here.
 *
 * Every kind of attention does the same thing. A token leaves one *row* in the KV cache. A row is two *slots*, each
 * `heads × dim`. A *map* (query head) scores a *key view* (one slot, or both) and averages a *value view* (one slot).
 * Everything else is optional: a low-rank query, an encoder before scoring, a value decoder after averaging, a gate.
 *
 *     x ──▶ [ q | row | gate ]                                    one fused projection
 *             │     └──▶ cache     ┃ slot ┃ slot ┃                normed and rotated, one row per token
 *             ▼
 *     o_j = Σ_t softmax_t(scale · q_j · key(t)) · value(t)        for each map j
 *     u_j = [o_j, o_j, …] + P_j · o_j + b_j                       value decoder: `repeat` copies and a matrix
 *     x  += W_o (u ⊙ σ(gate))
 *
 * The kinds differ in what the row holds and in who shares it:
 *
 *     kind          maps   row                        key      value    besides
 *     MHA MQA GQA   n_h    ┃ k n_kv×d ┃ v n_kv×d ┃    k        v
 *     GVA           n_q    ┃ k n_k×d  ┃ v n_q×g·d ┃   k        v        a map averages g = n_h/n_q heads at once
 *     GHA           n_q    ┃ k n_k×d  ┃ v n_v×d ┃     k        v        which map needs which value is folded into W_o
 *     GTA           n_q    ┃ k n_k×d  ┃ latent ┃      k        latent   value decoder with copies, sigmoid gate
 *     grouped-tied  n_h    ┃ kv n_kv×d ┃ r 1×d_r ┃    kv[:], r  kv      the value is the key, but for its rotated part
 *     MLA           n_h    ┃ c 1×d_c  ┃ r 1×d_r ┃     c, r     c        encoder and decoder absorb W_uk and W_uv
 *     GLA           n_h    ┃ c 2×d_c  ┃ r 1×d_r ┃     c, r     c        the same with two latents
 *
 * Grouped-head latenT Attention (GTA, arXiv 2506.17286) has few maps, one key head and one *latent* value: GTA-1B keeps
 * 64 + 128 numbers per token and layer where GQA keeps 640. The engine sees these numbers only; the names of the kinds
 * live in this folder and nowhere else. The mathematics of each is in its family, with its source.
 */

/** Part of a cache row: `heads` vectors of `dim` numbers. */
export interface Slot {
  heads: number
  dim: number
  /** Rotated width: RoPE in half layout over the first `rope` entries of each head; absent: none. */
  rope?: number
  /** RMSNorm of each head before it is rotated and cached. */
  norm?: { eps: number }
}

/** A slot as seen by the maps: the first `dim` entries of one of its heads. */
export interface View {
  slot: string
  dim: number
  /** Slot head of each map; default floor(map · heads / maps). */
  heads?: number[]
}

export interface AttentionSpec {
  /** Attention maps per token, that is query heads after sharing. */
  maps: number
  /** What one token leaves in the cache, in row order. */
  slots: Record<string, Slot>
  /** One or two views, concatenated. */
  key: View[]
  /** May overlap the key: that is "tied" and "latent". */
  value: View
  /** Low-rank query: project to `rank`, norm, project up. */
  query?: { rank: number; eps: number; bias: boolean }
  /** One matrix per map on the un-rotated part of its query, inDim → key[0].dim. */
  encoder?: { inDim: number }
  /** After the weighted sum: `repeat` copies of it plus one matrix per map, value.dim → outDim. */
  decoder?: { repeat: number; bias: boolean }
  /** From the current token; multiplies what enters W_o. Nothing about it is cached. */
  gate?: 'sigmoid'
  /** Biases of the fused projection [q | row | gate] and of W_o. */
  bias: { in: boolean; out: boolean }
  /** Width per map entering W_o. */
  outDim: number
  /** Factor of the scores. */
  scale: number
  /** Multiply-adds per token pair of the value product as the papers count them, where the engine does not do the same. */
  valuePairMacs?: number
}

interface Biases {
  in: boolean
  out: boolean
}

/** Keys and values in heads of their own: MHA, MQA, GQA, GVA and GHA (SPEC §3). */
export function grouped(shape: {
  maps: number
  keyHeads: number
  keyDim: number
  valueHeads: number
  valueDim: number
  /** Value head of each map; default: neighbouring maps share. */
  valueHeadOfMap?: number[]
  bias: Biases
}): AttentionSpec {
  const { maps, keyHeads, keyDim, valueHeads, valueDim, valueHeadOfMap, bias } = shape
  return {
    maps,
    slots: { k: { heads: keyHeads, dim: keyDim, rope: keyDim }, v: { heads: valueHeads, dim: valueDim } },
    key: [{ slot: 'k', dim: keyDim }],
    value: { slot: 'v', dim: valueDim, heads: valueHeadOfMap },
    bias,
    outDim: valueDim,
    scale: keyDim ** -0.5,
  }
}

/** GTA: shared maps, a latent value, a nonlinear decoder (SPEC §4). */
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
    key: [{ slot: 'k', dim: keyDim }],
    value: { slot: 'latent', dim: latentDim },
    decoder: { repeat, bias: false },
    gate: 'sigmoid',
    bias: { in: true, out: false },
    outDim: repeat * latentDim,
    scale: keyDim ** -0.5,
  }
}

/** Grouped-tied attention: one state is key and value; a shared rotated key replaces the end of each key (SPEC §6.1). */
export function tied(shape: {
  maps: number
  kvHeads: number
  headDim: number
  ropeDim: number
  bias: Biases
}): AttentionSpec {
  const { maps, kvHeads, headDim, ropeDim, bias } = shape
  return {
    maps,
    slots: { kv: { heads: kvHeads, dim: headDim }, r: { heads: 1, dim: ropeDim, rope: ropeDim } },
    key: [
      { slot: 'kv', dim: headDim - ropeDim },
      { slot: 'r', dim: ropeDim },
    ],
    value: { slot: 'kv', dim: headDim },
    bias,
    outDim: headDim,
    scale: headDim ** -0.5,
  }
}

/**
 * MLA and GLA, absorbed: what is cached is a normed latent and one rotated key. A head's key matrix moves to its query
 * (encoder) and its value matrix behind the average (decoder), so the cache is read as it is (SPEC §5, §6.2).
 */
export function latent(shape: {
  maps: number
  latents: number
  latentDim: number
  latentEps: number
  /** Width of the un-rotated and of the rotated part of a query. */
  plainDim: number
  ropeDim: number
  /** Width of a head's value. */
  valueDim: number
  query?: { rank: number; eps: number; bias: boolean }
  decoderBias: boolean
  bias: Biases
  scale: number
}): AttentionSpec {
  const { maps, latents, latentDim, latentEps, plainDim, ropeDim, valueDim, query, decoderBias, bias, scale } = shape
  return {
    maps,
    slots: {
      c: { heads: latents, dim: latentDim, norm: { eps: latentEps } },
      r: { heads: 1, dim: ropeDim, rope: ropeDim },
    },
    key: [
      { slot: 'c', dim: latentDim },
      { slot: 'r', dim: ropeDim },
    ],
    value: { slot: 'c', dim: latentDim },
    query,
    encoder: { inDim: plainDim },
    decoder: { repeat: 0, bias: decoderBias },
    bias,
    outDim: valueDim,
    scale,
  }
}

/** The slot behind a view. */
export function slotOf(attention: AttentionSpec, view: View): Slot {
  const slot = attention.slots[view.slot]
  if (!slot) throw new RangeError(`view of slot "${view.slot}", which the row does not have`)
  return slot
}

/** Slot head that each map reads through a view. */
export function viewHeads(attention: AttentionSpec, view: View): number[] {
  const { heads } = slotOf(attention, view)
  return view.heads ?? Array.from({ length: attention.maps }, (_, map) => Math.floor((map * heads) / attention.maps))
}

/** Width of one map's query as it is projected: the un-rotated and the rotated part. */
export function queryDim({ key, encoder }: AttentionSpec): number {
  return (encoder?.inDim ?? key[0]?.dim ?? 0) + (key[1]?.dim ?? 0)
}

/** Width of a map's key. */
export function keyDim({ key }: AttentionSpec): number {
  return key.reduce((sum, { dim }) => sum + dim, 0)
}

/** Numbers that one token leaves in the cache of one layer. */
export function cacheElements(attention: AttentionSpec): number {
  return Object.values(attention.slots).reduce((sum, slot) => sum + slot.heads * slot.dim, 0)
}

/** Vectors in one row; an int8 cache keeps one scale for each. */
export function cacheHeads(attention: AttentionSpec): number {
  return Object.values(attention.slots).reduce((sum, slot) => sum + slot.heads, 0)
}

/** Rotated width; every rotated slot of a row has the same. */
export function ropeDim(attention: AttentionSpec): number {
  return Math.max(0, ...Object.values(attention.slots).map(({ rope }) => rope ?? 0))
}

/** Widths of the parts of the fused projection [q | row | gate]; a low-rank query has its low side there. */
export function projectionWidths(attention: AttentionSpec): { q: number; row: number; gate: number } {
  return {
    q: attention.query?.rank ?? attention.maps * queryDim(attention),
    row: cacheElements(attention),
    gate: attention.gate ? attention.maps * attention.outDim : 0,
  }
}
