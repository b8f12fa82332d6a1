/**
 * y = W x (+ bias) (+ y), for one vector or many. By far the most time is spent inside this file.
 *
 *     q8    y = (s_w · s_x) · (Σ w'·x − 64·Σx),  w' = w + 64 as stored          integers exact, one epilogue
 *     f32   y = Σ w·x                                                            one fixed order of additions
 *
 * One vector: rows of W are one sequential stream. Many: four rows stay in L1 while the vectors pass in pairs. An
 * output element has the same bits in each case, so prefill and decode agree.
 */
import { arena } from '../arena'
import { Matrix, TYPE_Q8 } from '../plan'
import { dot_f32, dot1x2_f32, dot4x1_q8, dot4x2_q8, dotRow_q8, sumLanes_i32 } from './dot'
import { quantizeActivation } from './quantize'

/** Scratch for the second result of a two-vector tile; the arena table ends well below, weights begin above. */
const SECOND: usize = 3072

/**
 * Applies W (rows × cols) to `count` vectors at `x`, `xStride` bytes apart and zero-padded to 16 numbers, giving
 * `count` vectors at `y`. `bias` is an address or 0; `adds` adds to what is in y.
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
  if (w.type == TYPE_Q8) {
    const a = arena()
    quantizeAll(w, x, xStride, count)
    product_q8(w, 0, w.rows, a.quantised, w.stride << 1, a.quantPairs, 8, count, bias, y, yStride, adds)
  } else {
    product_f32(w, 0, w.rows, x, xStride, count, bias, y, yStride, adds)
  }
}

/**
 * `blocks` matrices stored one below the other, each applied to a vector of its own: block j to x[i][j], giving
 * y[i][j·rows/blocks …]. Vectors of one row lie `blockStride` bytes apart.
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
  const vector = (w.stride << 1) as usize
  if (w.type == TYPE_Q8) {
    for (let i: u32 = 0; i < count; i++)
      for (let j: u32 = 0; j < blocks; j++) {
        const at = i * blocks + j
        quantizeActivation(
          x + i * xStride + j * blockStride,
          w.cols,
          w.stride,
          a.quantised + at * vector,
          a.quantPairs + (at << 3),
        )
      }
  }
  for (let j: u32 = 0; j < blocks; j++) {
    const target = y + ((j * rows) << 2)
    if (w.type == TYPE_Q8) {
      const inputs = a.quantised + j * vector
      const pairs = a.quantPairs + (j << 3)
      product_q8(w, j * rows, rows, inputs, blocks * vector, pairs, blocks << 3, count, 0, target, yStride, false)
    } else {
      product_f32(w, j * rows, rows, x + j * blockStride, xStride, count, 0, target, yStride, false)
    }
  }
}

function quantizeAll(w: Matrix, x: usize, xStride: usize, count: u32): void {
  const a = arena()
  for (let i: u32 = 0; i < count; i++)
    quantizeActivation(x + i * xStride, w.cols, w.stride, a.quantised + i * (w.stride << 1), a.quantPairs + (i << 3))
}

/** Rows first … first + rows of W times `count` quantised vectors; y, bias and rows count from `first`. */
function product_q8(
  w: Matrix,
  first: u32,
  rows: u32,
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
  const quads = rows & ~3
  const twos = count & ~1
  for (let r: u32 = 0; r < quads; r += 4) {
    const weights = data + r * stride
    const rowScales = v128.load(scales + (r << 2))
    const rowBias = bias ? v128.load(bias + (r << 2)) : f32x4.splat(0)
    let i: u32 = 0
    for (; i < twos; i += 2) {
      const inputs = x + i * xStride
      const sums = dot4x2_q8(weights, stride, inputs, inputs + xStride, SECOND)
      const pair = pairs + i * pairStride
      const target = y + i * yStride + (r << 2)
      finish4(sums, pair, rowScales, bias, rowBias, target, adds)
      finish4(v128.load(SECOND), pair + pairStride, rowScales, bias, rowBias, target + yStride, adds)
    }
    for (; i < count; i++) {
      const sums = dot4x1_q8(weights, stride, x + i * xStride)
      finish4(sums, pairs + i * pairStride, rowScales, bias, rowBias, y + i * yStride + (r << 2), adds)
    }
  }
  for (let r = quads; r < rows; r++) {
    for (let i: u32 = 0; i < count; i++) {
      const sums = dotRow_q8(data + r * stride, x + i * xStride, stride)
      const acc = sumLanes_i32(sums)
      const pair = pairs + i * pairStride
      let value = ((acc - (load<i32>(pair + 4) << 6)) as f32) * (load<f32>(pair) * load<f32>(scales + (r << 2)))
      if (bias) value += load<f32>(bias + (r << 2))
      const target = y + i * yStride + (r << 2)
      store<f32>(target, adds ? load<f32>(target) + value : value)
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

function product_f32(
  w: Matrix,
  first: u32,
  rows: u32,
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
  const twos = count & ~1
  for (let r: u32 = 0; r < rows; r++) {
    const weights = data + r * stride
    const rowBias: f32 = bias ? load<f32>(bias + (r << 2)) : 0
    let i: u32 = 0
    for (; i < twos; i += 2) {
      const inputs = x + i * xStride
      const target = y + i * yStride + (r << 2)
      finish(dot1x2_f32(weights, inputs, inputs + xStride, stride, SECOND), bias, rowBias, target, adds)
      finish(load<f32>(SECOND), bias, rowBias, target + yStride, adds)
    }
    for (; i < count; i++)
      finish(dot_f32(weights, x + i * xStride, stride), bias, rowBias, y + i * yStride + (r << 2), adds)
  }
}

function finish(sum: f32, bias: usize, rowBias: f32, target: usize, adds: bool): void {
  const value = bias ? sum + rowBias : sum
  store<f32>(target, adds ? load<f32>(target) + value : value)
}
