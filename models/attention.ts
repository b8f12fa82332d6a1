/**
 * What attention is, as data. Start reading here.
 *
 * Every kind of attention does the same thing. A token leaves one *row* in the KV cache. A row is two *slots*, each
 * `heads × dim`. A *map* (query head) scores a *key view* (one slot, or both) and averages a *value view* (one slot).
 * Everything else is optional: a low-rank query, norms, a rotation, an encoder before scoring, a window and a cap of the
 * scores, a value decoder after averaging, a gate.
 *
 *     x ──▶ [ q | row | gate ]                                    one fused projection
 *             │     └──▶ cache     ┃ slot ┃ slot ┃                normed and rotated, one row per token
 *             ▼
 *     o_j = Σ_t softmax_t(scale · q_j · key(t)) · value(t)        for each map j, over the tokens t that it sees
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
 * live in this folder and nowhere else. The mathematics of each is in its file under kinds/, with its source, and what is
 * around the attention is in layer.ts.
 */

/** RMSNorm of heads: of each by itself, or of all of a token's together. */
export interface HeadNorm {
  eps: number
  spans: 'head' | 'all'
}

/** RMSNorm of queries; `turned`: of each head, behind its rotation, with one weight for query and key (kept in the query). */
export interface QueryNorm {
  eps: number
  spans: HeadNorm['spans'] | 'turned'
}

/** Part of a cache row: `heads` vectors of `dim` numbers. */
export interface Slot {
  heads: number
  dim: number
  /** The first `rope.dim` entries of each head are rotated before they are cached. */
  isRotated?: boolean
  /** Before the rotation and the cache. */
  norm?: HeadNorm
}

/** A slot as seen by the maps: the first `dim` entries of one of its heads. */
export interface View {
  slot: string
  dim: number
  /** Slot head of each map; default floor(map · heads / maps). */
  heads?: number[]
}

/** RoPE in half layout (SPEC §1): entries i and i + dim/2 of the first `dim` entries of a head are a pair. */
export interface Rope {
  /** Rotated width. */
  dim: number
  theta: number
  scaling?:
    | { type: 'linear'; factor: number }
    /** A factor for each pair; `longFactors` where a context may be longer than the original one (long-context.ts). */
    | { type: 'longrope'; factors: number[]; longFactors: number[]; originalContext: number }
    | { type: 'llama3'; factor: number; lowFreqFactor: number; highFreqFactor: number; originalContext: number }
    | {
        type: 'yarn'
        factor: number
        betaFast: number
        betaSlow: number
        isTruncated: boolean
        originalContext: number
      }
  /** Factor of cos and sin; default 1. */
  magnitude?: number
}

export interface AttentionSpec {
  is: 'attention'
  /** Attention maps per token, that is query heads after sharing. */
  maps: number
  /** What one token leaves in the cache, in row order. */
  slots: Record<string, Slot>
  /** One or two views, concatenated. */
  key: View[]
  /** May overlap the key: that is "tied" and "latent". */
  value: View
  /** How rotated slots, and the queries that meet them, are rotated; absent: not at all. */
  rope?: Rope
  /** A token sees itself and the `window` − 1 before it; absent: all. */
  window?: number
  /** Low-rank query: project to `rank`, norm, project up. */
  query?: { rank: number; eps: number; bias: boolean }
  /** Of the projected queries, before they are rotated unless it says otherwise. */
  queryNorm?: QueryNorm
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
  /** Scores become softcap · tanh(score / softcap). */
  softcap?: number
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

/** Rotated entries of a slot's heads: 0 without a rotation. */
export function ropeDim({ rope }: AttentionSpec, slot: Slot): number {
  return slot.isRotated && rope ? rope.dim : 0
}

/** Widths of the parts of the fused projection [q | row | gate]; a low-rank query has its low side there. */
export function projectionWidths(attention: AttentionSpec): { q: number; row: number; gate: number } {
  return {
    q: attention.query?.rank ?? attention.maps * queryDim(attention),
    row: cacheElements(attention),
    gate: attention.gate ? attention.maps * attention.outDim : 0,
  }
}
