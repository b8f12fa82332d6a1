/** Rows of a step that a rank sweeps together, and where in the sweep they are: mixers/sweep.ts fills it in. */
import { Layer, LayerKind, Plan } from './abi'

@unmanaged
export class RowTile {
  plan: Plan
  layer: Layer
  kind: LayerKind
  /** Index of the first row; the others follow, `step` apart: of one conversation, with the same first and last page. */
  first: u32
  step: u32
  rows: u32
  /** First and last page that they see. */
  start: u32
  last: u32
  /** The page that they meet, where its part for the layer lies, and how many tokens of it one of them sees at most. */
  page: u32
  address: usize
  tokens: u32

  /** Index of the n-th row. */
  row(n: u32): u32 {
    return this.first + n * this.step
  }
}
