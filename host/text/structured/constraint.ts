/**
 * What a generation may write: which tokens can come next, told after every token. The sampler drops what is not allowed.
 * Made anew for each generation; whoever makes one has compiled its grammar before (see compile.ts).
 */
export interface Constraint {
  /**
   * Bit t & 31 of word t >> 5: token t may come next, over the whole vocabulary; undefined: all may. Valid until the next
   * push, and not to be changed. Ids of end tokens are among the bits where the value may end.
   */
  allowed(): Uint32Array | undefined
  /** A token was sampled that ends nothing. */
  push(token: number): void
  /** Nothing but an end can follow: the generation ends, with finish 'stop'. */
  readonly isComplete: boolean
}
