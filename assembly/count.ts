/**
 * What a debug build counts while it runs: multiply-adds and bytes, where they happen, to hold the analyzer against. All of
 * it is here: whoever does something says so in one call, and what it costs is looked up in this file. In the other builds
 * the calls do nothing and take nothing that would have to be loaded first, so nothing is left of them.
 *
 * Counters lie behind a rank's account (profile.ts), and begin at zero with it.
 */
import { Counts, Layer, LayerKind, Matrix, NORM_LAYER, Plan, Recurrence, StateLayer, TYPE_Q8 } from './abi'
import { arena } from './arena'
import { rank } from './host'
import { isInBlocks } from './kernels/blocks'
import { Product } from './kernels/product'
import { ACCOUNT_BYTES, ACCOUNT_COUNTS } from './sizes'

const IS_COUNTING: bool = !ASC_NO_ASSERT

const PRODUCTS: usize = offsetof<Counts>('products')
const SCORES: usize = offsetof<Counts>('scores')
const VALUES: usize = offsetof<Counts>('values')
const WEIGHTS: usize = offsetof<Counts>('weights')
const CACHE_READ: usize = offsetof<Counts>('cacheRead')
const CACHE_WRITTEN: usize = offsetof<Counts>('cacheWritten')
/** u64[2]: heads of slot 0 and of slot 1 that were read of the page that is swept. */
const SEEN: usize = offsetof<Counts>()

/** Address of the Counts of a rank. */
export function counters(which: u32): usize {
  return arena().accounts + which * ACCOUNT_BYTES + ACCOUNT_COUNTS
}

function count(counter: usize, amount: u64): void {
  const at = counters(rank) + counter
  store<f64>(at, load<f64>(at) + (amount as f64))
}

/** Rows of W are read once and multiplied with all vectors. */
export function countProduct(p: Product, rows: u32): void {
  if (!IS_COUNTING) return
  const w = p.matrix
  count(PRODUCTS, (rows as u64) * w.cols * p.count)
  if (isInBlocks(w.type)) count(WEIGHTS, (((rows + 7) >> 3) as u64) * w.stride)
  else count(WEIGHTS, (rows as u64) * (w.stride + (w.type == TYPE_Q8 ? 4 : 0)))
}

/** The bias of a product, which the ranks read together. */
export function countBias(p: Product): void {
  if (!IS_COUNTING) return
  if (p.bias && rank == 0) count(WEIGHTS, p.matrix.rows << 2)
}

/** One row of the embedding, or of the learned positions. */
export function countGathered(m: Matrix): void {
  if (!IS_COUNTING) return
  if (isInBlocks(m.type)) count(WEIGHTS, m.stride >> 3)
  else count(WEIGHTS, m.stride + (m.type == TYPE_Q8 ? 4 : 0))
}

/** The weight of a norm of the hidden width, and its bias, once for all rows. */
export function countNorm(plan: Plan, kind: u32): void {
  if (!IS_COUNTING) return
  if (rank == 0) count(WEIGHTS, (kind == NORM_LAYER ? 2 : 1) * (plan.hiddenDim << 2))
}

/** That of `n` numbers of a query or a cache row, once for all rows: with row 0. */
export function countHeadNorm(n: u32, i: u32): void {
  if (!IS_COUNTING) return
  if (i == 0) count(WEIGHTS, n << 2)
}

export function countDecoderBias(kind: LayerKind, bias: usize): void {
  if (!IS_COUNTING) return
  if (bias && rank == 0) count(WEIGHTS, (kind.maps * kind.outDim) << 2)
}

/**
 * Products of one query with `tokens` keys, and of its weights with their values. What a window leaves out of the page where
 * it begins is computed too, but not counted: less than a page of a row.
 */
export function countScores(dim: u32, tokens: u32): void {
  if (!IS_COUNTING) return
  count(SCORES, (dim as u64) * tokens)
}
export function countValues(dim: u32, tokens: u32): void {
  if (!IS_COUNTING) return
  count(VALUES, (dim as u64) * tokens)
}

/** A head of a cache row is written. */
export function countWritten(dim: u32): void {
  if (!IS_COUNTING) return
  count(CACHE_WRITTEN, headRowBytes(dim))
}

/**
 * Rows that take a state on: the vectors of the mixer are read once, the state once for each row, and written as often. The
 * multiply-adds are the convolution's, and three with each number of the matrices.
 */
export function countState(r: Recurrence, layer: Layer, rows: u32): void {
  if (!IS_COUNTING) return
  if (rank != 0) return
  const matrices = (r.valueHeads as u64) * r.keyDim * r.valueDim
  const state = (((r.taps - 1) as u64) * r.channels + matrices) << 2
  const hasBias = changetype<StateLayer>(layer).convBias != 0
  const vectors = ((r.taps + (hasBias ? 1 : 0)) as u64) * r.channels + r.valueHeads + r.valueDim
  count(PRODUCTS, rows * ((r.taps as u64) * r.channels + 3 * matrices))
  count(WEIGHTS, vectors << 2)
  count(CACHE_READ, rows * state)
  count(CACHE_WRITTEN, rows * state)
}

/** Another page is swept, or the same one for another row. */
export function forgetHeads(): void {
  if (!IS_COUNTING) return
  memory.fill(counters(rank) + SEEN, 0, 16)
}

/**
 * The rows of `tokens` tokens in a head of that page, with their scales. A key that is also a value is read whole; maps that
 * share a head find it in the processor's cache, so it counts once.
 */
export function countHead(kind: LayerKind, slot: u32, head: u32, tokens: u32): void {
  if (!IS_COUNTING) return
  assert(head < 64)
  const at = counters(rank) + SEEN + (slot << 3)
  const seen = load<u64>(at)
  const bit = (1 as u64) << head
  if (seen & bit) return
  store<u64>(at, seen | bit)
  count(CACHE_READ, tokens * headRowBytes(slot ? kind.slot1Dim : kind.slot0Dim))
}

function headRowBytes(dim: u32): u64 {
  return arena().isCacheInt8 ? (dim as u64) + 4 : (dim as u64) << 2
}
