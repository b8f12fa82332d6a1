/**
 * Products, shared among the ranks: y = W x (+ bias) (+ y) for one vector or many. By far the most time is spent in what
 * this file calls.
 *
 *     const p = productOf(w, count)      this rank's record of it: no bias, y is overwritten
 *     p.from(x, xStride)                 vectors, f32, zero-padded to 16 numbers
 *     p.into(y, yStride)                 results
 *     linear(p)                          by all ranks; uses the record up
 *
 * A rank computes whole rows of W, a piece after the other. An element of y has the same bits whoever computes it, and
 * however many vectors there are, so prefill and decode agree, on any number of threads.
 */
import { Matrix, TYPE_F32, TYPE_Q4, TYPE_Q8 } from './abi'
import { arena, mine } from './arena'
import { countBias, countProduct } from './count'
import { hasMinima, isInBlocks } from './kernels/blocks'
import { ACTIVATION_SHIFT } from './kernels/lanes'
import { Product } from './kernels/product'
import { product_blocks } from './kernels/products-blocks'
import { product_f32 } from './kernels/products-f32'
import { product_q8 } from './kernels/products-q8'
import { groupOffsets, groupSums, quantizeActivation } from './kernels/quantize'
import { enter, LINEAR } from './profile'
import { barrier, isMine, next, pieceOf } from './team'

/** A product of W with `count` vectors, for this rank to fill in; there is one at a time. */
export function productOf(w: Matrix, count: u32): Product {
  const a = arena()
  const p = changetype<Product>(mine(a.product))
  p.matrix = w
  p.weights = a.plan + w.data
  p.scales = a.plan + w.scales
  p.stride = w.stride
  p.rows = w.rows
  p.count = count
  p.bias = 0
  p.adds = 0
  p.tile = mine(a.tile)
  return p
}

/**
 * Computes all of y. The rank that owns a row has written its vector; when this returns, all of y is visible to all.
 */
export function linear(p: Product): void {
  const part = enter(LINEAR)
  const type = p.matrix.type
  quantise(p, 1, 0)
  countBias(p)
  barrier()
  const rows = p.rows
  const piece = pieceOf(rows, type == TYPE_Q8 ? 4 : isInBlocks(type) ? 8 : 1)
  for (let from = next() * piece; from < rows; from = next() * piece) multiply(p, from, min(from + piece, rows))
  barrier()
  enter(part)
}

/**
 * The same for `blocks` matrices stored one below the other, each applied to a vector of its own: block j to x[i][j],
 * `blockStride` bytes from one to the next, giving y[i][j·rows/blocks …]. Never in blocks of rows, no bias.
 */
export function linearBlocks(p: Product, blocks: u32, blockStride: usize): void {
  const rows = p.rows / blocks
  const x = p.x
  const y = p.y
  const isF32 = p.matrix.type == TYPE_F32
  quantise(p, blocks, blockStride)
  barrier()
  const inputs = p.x
  const pairs = p.pairs
  const weights = p.weights
  const scales = p.scales
  const vector = isF32 ? blockStride : p.xStride
  if (!isF32) {
    p.xStride = blocks * vector
    p.pairStride = blocks << 3
  }
  for (let j = next(); j < blocks; j = next()) {
    p.weights = weights + j * rows * p.stride
    p.scales = scales + ((j * rows) << 2)
    p.x = (isF32 ? x : inputs) + j * vector
    p.pairs = pairs + (j << 3)
    p.y = y + ((j * rows) << 2)
    multiply(p, 0, rows)
  }
  barrier()
}

/** Rows from … to of y. */
function multiply(p: Product, from: u32, to: u32): void {
  countProduct(p, to - from)
  const type = p.matrix.type
  if (type == TYPE_Q8) product_q8(p, from, to)
  else if (isInBlocks(type)) product_blocks(p, from, to)
  else product_f32(p, from, to)
}

/** Where W is quantised its vectors are too, each by one rank; from then on the product reads those, one behind the other. */
function quantise(p: Product, blocks: u32, blockStride: usize): void {
  const a = arena()
  const w = p.matrix
  if (w.type == TYPE_F32) return
  const isGrouped = isInBlocks(w.type)
  // As the rows of W are.
  const padded = isGrouped ? (w.cols + 31) & ~31 : w.stride
  const vector = (padded as usize) << ACTIVATION_SHIFT
  const groups = (padded >> 5) << 2
  for (let at: u32 = 0; at < p.count * blocks; at++) {
    if (!isMine(at)) continue
    const source = p.x + (at / blocks) * p.xStride + (at % blocks) * blockStride
    const target = a.quantised + at * vector
    quantizeActivation(source, w.cols, padded, target, a.quantPairs + (at << 3))
    if (w.type == TYPE_Q4) groupOffsets(target, padded, a.groupOffsets + at * groups)
    else if (hasMinima(w.type)) groupSums(target, padded, a.groupOffsets + at * groups)
  }
  p.x = a.quantised
  p.xStride = vector
  p.pairs = a.quantPairs
  p.pairStride = 8
  p.offsets = a.groupOffsets
  p.offsetStride = groups
}
