/** A conversation as it lies in the cache, for reading and writing. */
export interface CachedPages {
  /** Tokens in the cache, and those that it has no more. */
  length: number
  dropped: number
  /** The pages of its tokens, the last one perhaps partial. */
  pages: CachedPage[]
  /** Kept pages as they were computed, if there was a drop, and how much was dropped when they were. */
  originals: (CachedPage & { dropped: number })[]
  /** For each kind of layers, the first page of which there is what they keep; that of originals is there where it is 0. */
  from: number[]
}

export interface CachedPage {
  id: number
  /** Another number whenever what the page holds changes. */
  stamp: number
  /** The token of each row: a view. */
  tokens: Uint32Array
}
