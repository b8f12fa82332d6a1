/**
 * y = W x (+ bias) (+ y), for one vector or many. By far the most time is spent inside this file.
 *
 *     q8    y = (s_w · s_x) · (Σ w'·x − 64·Σx),  w' = w + 64 as stored          integers exact, one epilogue
 *     q4    y = s_x · Σ_groups s_g · (Σ w'·x − 8·Σx),  w' = w + 8               integers exact, groups in order
 *     f32   y = Σ w·x                                                            one fixed order of additions
 *
 * A rank of the team computes whole rows of W, a piece after the other, a block that fits the cache at a time: brought
 * there at once, then read as one sequential stream for one vector, or tile by tile while blocks of many vectors pass.
 * An output element has the same bits in each case, so prefill and decode agree, on any number of threads.
 */
import { arena, mine } from '../arena'
import { count as countUp, IS_COUNTING, PRODUCTS, WEIGHTS } from '../count'
import { Matrix, TYPE_F32, TYPE_Q4, TYPE_Q8 } from '../plan'
import { enter, LINEAR } from '../profile'
import { barrier, isMine, next, pieceOf } from '../team'
import {
  ACTIVATION_SHIFT,
  dot_f32,
  dot1x2_f32,
  dot4x1_q8,
  dot8x1_q4,
  dotRow_q8,
  dotTile_q4,
  dotTile_q8,
  sumLanes_i32,
  TILE,
} from './dot'
import { groupOffsets, quantizeActivation } from './quantize'
import { touch } from './touch'

/** Bytes of weights and of activations that a block of a product should not exceed: both stay in the first cache. */
const WEIGHT_BLOCK: usize = 32768
const VECTOR_BLOCK: usize = 16384

/** Numbers of a quantised vector: padded as the rows of W are. */
function paddedCols(w: Matrix): u32 {
  return w.type == TYPE_Q4 ? (w.cols + 31) & ~31 : w.stride
}

/**
 * Applies W (rows × cols) to `count` vectors at `x`, `xStride` bytes apart and zero-padded to 16 numbers, giving
 * `count` vectors at `y`. `bias` is an address or 0; `adds` adds to what is in y. The rank that owns a row has written its
 * vector; when this returns, all of y is visible to all.
 */
export function linear(
  w: Matrix,
  bias: usize,
  x: usize,
  xStride: usize,
  count: u32,
  y: usize,
  yStride: usize,
  adds: bool,
): void {
  const part = enter(LINEAR)
  const a = arena()
  const padded = paddedCols(w)
  const vector = (padded as usize) << ACTIVATION_SHIFT
  if (w.type != TYPE_F32) {
    for (let i: u32 = 0; i < count; i++) {
      if (!isMine(i)) continue
      const target = a.quantised + i * vector
      quantizeActivation(x + i * xStride, w.cols, padded, target, a.quantPairs + (i << 3))
      if (w.type == TYPE_Q4) groupOffsets(target, padded, a.groupOffsets + i * groupStride(padded))
    }
  }
  if (IS_COUNTING && bias && isMine(0)) countUp(WEIGHTS, w.rows << 2)
  barrier()
  if (w.type == TYPE_Q8) {
    const piece = pieceOf(w.rows, 4)
    for (let from = next() * piece; from < w.rows; from = next() * piece) {
      const to = min(from + piece, w.rows)
      product_q8(w, 0, from, to, a.quantised, vector, a.quantPairs, 8, count, bias, y, yStride, adds)
    }
  } else if (w.type == TYPE_Q4) {
    const piece = pieceOf(w.rows, 8)
    for (let from = next() * piece; from < w.rows; from = next() * piece) {
      const to = min(from + piece, w.rows)
      product_q4(w, from, to, vector, groupStride(padded), count, bias, y, yStride, adds)
    }
  } else {
    const piece = pieceOf(w.rows, 1)
    for (let from = next() * piece; from < w.rows; from = next() * piece)
      product_f32(w, 0, from, min(from + piece, w.rows), x, xStride, count, bias, y, yStride, adds)
  }
  barrier()
  enter(part)
}

function groupStride(padded: u32): usize {
  return (padded >> 5) << 2
}

/**
 * `blocks` matrices stored one below the other, each applied to a vector of its own: block j to x[i][j], giving
 * y[i][j·rows/blocks …]. Vectors of one row lie `blockStride` bytes apart. Never q4.
 */
export function linearBlocks(
  w: Matrix,
  blocks: u32,
  x: usize,
  blockStride: usize,
  xStride: usize,
  count: u32,
  y: usize,
  yStride: usize,
): void {
  const a = arena()
  const rows = w.rows / blocks
  const vector = (w.stride as usize) << ACTIVATION_SHIFT
  if (w.type == TYPE_Q8) {
    for (let at: u32 = 0; at < count * blocks; at++) {
      if (!isMine(at)) continue
      const source = x + (at / blocks) * xStride + (at % blocks) * blockStride
      quantizeActivation(source, w.cols, w.stride, a.quantised + at * vector, a.quantPairs + (at << 3))
    }
  }
  barrier()
  for (let j = next(); j < blocks; j = next()) {
    const target = y + ((j * rows) << 2)
    if (w.type == TYPE_Q8) {
      const inputs = a.quantised + j * vector
      const pairs = a.quantPairs + (j << 3)
      product_q8(w, j * rows, 0, rows, inputs, blocks * vector, pairs, blocks << 3, count, 0, target, yStride, false)
    } else {
      product_f32(w, j * rows, 0, rows, x + j * blockStride, xStride, count, 0, target, yStride, false)
    }
  }
  barrier()
}

/** For tests: rows of W that are read once and multiplied with `count` vectors. */
function countProduct(w: Matrix, rows: u32, count: u32, bytes: usize): void {
  countUp(PRODUCTS, (rows as u64) * w.cols * count)
  countUp(WEIGHTS, bytes)
}

/** How many of `n` things of `bytes` each make a block of at most `most` bytes, in whole units. */
function blockOf(most: usize, bytes: usize, unit: u32, n: u32): u32 {
  const fit = ((most / bytes) as u32) / unit
  return min<u32>(n, max<u32>(fit, 1) * unit)
}

/** Rows from … to of W, counted from `first` as y and bias are, times `count` quantised vectors. */
function product_q8(
  w: Matrix,
  first: u32,
  from: u32,
  to: u32,
  x: usize,
  xStride: usize,
  pairs: usize,
  pairStride: usize,
  count: u32,
  bias: usize,
  y: usize,
  yStride: usize,
  adds: bool,
): void {
  const stride = w.stride as usize
  const data = arena().plan + w.data + first * stride
  const used = mine(arena().tile)
  const rowBlock = blockOf(WEIGHT_BLOCK, stride, 4, to - from)
  const vectorBlock = blockOf(VECTOR_BLOCK, stride << ACTIVATION_SHIFT, TILE, count)
  for (; from < to; from += rowBlock) {
    const end = min<u32>(to, from + rowBlock)
    store<u32>(used, touch(data + from * stride, (end - from) * stride))
    if (IS_COUNTING) countProduct(w, end - from, count, (end - from) * (stride + 4))
    for (let i: u32 = 0; i < count; i += vectorBlock) {
      const inputs = x + i * xStride
      const n = min<u32>(vectorBlock, count - i)
      const target = y + i * yStride
      block_q8(w, first, from, end, inputs, xStride, pairs + i * pairStride, pairStride, n, bias, target, yStride, adds)
    }
  }
}

/** The same of what fits the cache. */
function block_q8(
  w: Matrix,
  first: u32,
  from: u32,
  to: u32,
  x: usize,
  xStride: usize,
  pairs: usize,
  pairStride: usize,
  count: u32,
  bias: usize,
  y: usize,
  yStride: usize,
  adds: bool,
): void {
  const plan = arena().plan
  const stride = w.stride as usize
  const data = plan + w.data + first * stride
  const scales = plan + w.scales + (first << 2)
  const sums = mine(arena().tile)
  const quads = from + ((to - from) & ~3)
  const tiled = count - (count % TILE)
  for (let r = from; r < quads; r += 4) {
    const weights = data + r * stride
    const rowScales = v128.load(scales + (r << 2))
    const rowBias = bias ? v128.load(bias + (r << 2)) : f32x4.splat(0)
    let pair = pairs
    let target = y + (r << 2)
    let i: u32 = 0
    for (; i < tiled; i += TILE) {
      dotTile_q8(weights, stride, x + i * xStride, xStride, sums)
      for (let j: u32 = 0; j < TILE; j++) {
        finish4(v128.load(sums + (j << 4)), pair, rowScales, bias, rowBias, target, adds)
        pair += pairStride
        target += yStride
      }
    }
    for (; i < count; i++) {
      finish4(dot4x1_q8(weights, stride, x + i * xStride), pair, rowScales, bias, rowBias, target, adds)
      pair += pairStride
      target += yStride
    }
  }
  for (let r = quads; r < to; r++) {
    for (let i: u32 = 0; i < count; i++) {
      const acc = sumLanes_i32(dotRow_q8(data + r * stride, x + i * xStride, stride))
      const pair = pairs + i * pairStride
      const value = ((acc - (load<i32>(pair + 4) << 6)) as f32) * (load<f32>(pair) * load<f32>(scales + (r << 2)))
      finish(value, bias, bias ? load<f32>(bias + (r << 2)) : 0, y + i * yStride + (r << 2), adds)
    }
  }
}

/** Epilogue of four rows; lane by lane the same operations as the single row above. */
function finish4(
  sums: v128,
  pair: usize,
  rowScales: v128,
  bias: usize,
  rowBias: v128,
  target: usize,
  adds: bool,
): void {
  const offset = i32x4.splat(load<i32>(pair + 4) << 6)
  const scale = f32x4.mul(f32x4.splat(load<f32>(pair)), rowScales)
  let value = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(sums, offset)), scale)
  if (bias) value = f32x4.add(value, rowBias)
  v128.store(target, adds ? f32x4.add(v128.load(target), value) : value)
}

/** Rows from … to of W times `count` quantised vectors: blocks of eight rows. */
function product_q4(
  w: Matrix,
  from: u32,
  to: u32,
  xStride: usize,
  offsetStride: usize,
  count: u32,
  bias: usize,
  y: usize,
  yStride: usize,
  adds: bool,
): void {
  const a = arena()
  const data = a.plan + w.data
  const sums = mine(a.tile)
  const vectorBlock = blockOf(VECTOR_BLOCK, xStride, TILE, count)
  const stride = w.stride as usize
  const rowBlock = blockOf(WEIGHT_BLOCK, stride >> 3, 8, to - from)
  for (; from < to; from += rowBlock) {
    const end = min<u32>(to, from + rowBlock)
    store<u32>(sums, touch(data + (from >> 3) * stride, ((end - from + 7) >> 3) * stride))
    if (IS_COUNTING) countProduct(w, end - from, count, ((end - from + 7) >> 3) * stride)
    for (let begin: u32 = 0; begin < count; begin += vectorBlock) {
      const stop = min<u32>(count, begin + vectorBlock)
      for (let r = from; r < end; r += 8) {
        const weights = data + (r >> 3) * stride
        const n = min<u32>(8, w.rows - r)
        let i = begin
        for (; i + TILE <= stop; i += TILE) {
          const offsets = a.groupOffsets + i * offsetStride
          dotTile_q4(weights, w.stride, a.quantised + i * xStride, xStride, offsets, offsetStride, sums)
          for (let j: u32 = 0; j < TILE; j++)
            finish8(sums + (j << 5), n, i + j, bias, r, y + (i + j) * yStride + (r << 2), adds)
        }
        for (; i < stop; i++) {
          dot8x1_q4(weights, w.stride, a.quantised + i * xStride, a.groupOffsets + i * offsetStride, sums)
          finish8(sums, n, i, bias, r, y + i * yStride + (r << 2), adds)
        }
      }
    }
  }
}

/** Epilogue of up to eight rows from `r` on for vector i. */
function finish8(sums: usize, n: u32, i: u32, bias: usize, r: u32, target: usize, adds: bool): void {
  const scale = load<f32>(arena().quantPairs + (i << 3))
  for (let k: u32 = 0; k < n; k++) {
    const rowBias: f32 = bias ? load<f32>(bias + ((r + k) << 2)) : 0
    finish(load<f32>(sums + (k << 2)) * scale, bias, rowBias, target + (k << 2), adds)
  }
}

function product_f32(
  w: Matrix,
  first: u32,
  from: u32,
  to: u32,
  x: usize,
  xStride: usize,
  count: u32,
  bias: usize,
  y: usize,
  yStride: usize,
  adds: bool,
): void {
  const stride = w.stride as usize
  const data = arena().plan + w.data + first * stride
  const second = mine(arena().tile)
  const twos = count & ~1
  if (IS_COUNTING) countProduct(w, to - from, count, (to - from) * stride)
  for (let r = from; r < to; r++) {
    const weights = data + r * stride
    const rowBias: f32 = bias ? load<f32>(bias + (r << 2)) : 0
    let i: u32 = 0
    for (; i < twos; i += 2) {
      const inputs = x + i * xStride
      const target = y + i * yStride + (r << 2)
      finish(dot1x2_f32(weights, inputs, inputs + xStride, stride, second), bias, rowBias, target, adds)
      finish(load<f32>(second), bias, rowBias, target + yStride, adds)
    }
    for (; i < count; i++)
      finish(dot_f32(weights, x + i * xStride, stride), bias, rowBias, y + i * yStride + (r << 2), adds)
  }
}

/** Epilogue of one row. */
function finish(sum: f32, bias: usize, rowBias: f32, target: usize, adds: bool): void {
  const value = bias ? sum + rowBias : sum
  store<f32>(target, adds ? load<f32>(target) + value : value)
}
