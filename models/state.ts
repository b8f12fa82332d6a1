/**
 * Mixers that keep a state of a conversation, as data: what a token needs to know of those before it is in a fixed number of
 * numbers, which the token changes. No row is left in the cache, and nothing is read twice.
 *
 * Both begin with a short convolution: of each of `channels` numbers, the last `taps` tokens are weighed and added up.
 *
 *     conv     [ B | C | x ] = W_in z                 y = W_out ( C ⊙ conv(B ⊙ x) )
 *     delta    [ q | k | v | z | b | a ] = W_in z     q, k, v are silu(conv(·)), q and k of length 1
 *              S ← e^g S + k ⊗ β (v − (e^g S)ᵀ k)     y = W_out ( norm(Sᵀ q / √d_k) ⊙ silu(z) )
 *              g = −e^decay · softplus(a), β = σ(b)   for each value head
 *
 * Short convolution: LFM2. Gated delta net: arXiv 2412.06464, as Qwen 3.5 has it. What is kept of a token for the next is
 * `taps` − 1 columns of what enters the convolution, and the matrices S (keyDim × valueDim) of the value heads, all in f32:
 * S is a sum over the whole text, in which rounding would add up.
 *
 * In the cache a state is the page of a layer: that of a block is the state behind the last token that was computed in it.
 * So a full page is a snapshot at its end, and pages of a block are shared, copied, given back and saved as they are
 * (host/cache/windows.ts). A row needs the state of the row before it, which is to look back by a window of two.
 */

export interface ConvSpec {
  is: 'conv'
  /** Tokens that an output depends on. */
  taps: number
  channels: number
  /** Of W_in, the convolution and W_out. */
  bias: boolean
}

export interface DeltaSpec {
  is: 'delta'
  taps: number
  keyHeads: number
  keyDim: number
  /** Each reads key head floor(head · keyHeads / valueHeads), or, if `isTiled`, head mod keyHeads. */
  valueHeads: number
  valueDim: number
  isTiled?: boolean
  /** Of the norm behind the average. */
  eps: number
}

export type StateSpec = ConvSpec | DeltaSpec

/** Tokens that a row looks back: itself, and the one whose state it goes on from. */
export const STATE_WINDOW = 2

/** Names of the vectors that only these mixers have. */
export type StateTensor = 'conv' | 'convBias' | 'decay' | 'stateNorm'

/** Numbers that pass the convolution. */
export function convChannels(mixer: StateSpec): number {
  return mixer.is === 'conv' ? mixer.channels : 2 * mixer.keyHeads * mixer.keyDim + mixer.valueHeads * mixer.valueDim
}

/** Width of what W_in makes. */
export function stateInWidth(mixer: StateSpec): number {
  if (mixer.is === 'conv') return 3 * mixer.channels
  return convChannels(mixer) + mixer.valueHeads * (mixer.valueDim + 2)
}

/** Width of what enters W_out. */
export function stateOutWidth(mixer: StateSpec): number {
  return mixer.is === 'conv' ? mixer.channels : mixer.valueHeads * mixer.valueDim
}

/** Numbers of the state, in its two parts: columns of the convolution, and matrices. */
export function stateNumbers(mixer: StateSpec): { columns: number; matrices: number } {
  return {
    columns: (mixer.taps - 1) * convChannels(mixer),
    matrices: mixer.is === 'conv' ? 0 : mixer.valueHeads * mixer.keyDim * mixer.valueDim,
  }
}

/** Bytes of the state. */
export function stateBytes(mixer: StateSpec): number {
  const { columns, matrices } = stateNumbers(mixer)
  return 4 * (columns + matrices)
}

/** Multiply-adds per token besides those of W_in and W_out: the convolution, and three products with S. */
export function stateMacs(mixer: StateSpec): number {
  return mixer.taps * convChannels(mixer) + 3 * stateNumbers(mixer).matrices
}
