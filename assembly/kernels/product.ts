/**
 * y = W x (+ bias) (+ y) for one vector or many, as the kernels see it: addresses and strides, in memory that nobody else
 * writes. linear.ts fills it in and hands out rows of W; a kernel computes some of them for all vectors.
 */
import { Matrix } from '../abi'

@unmanaged
export class Product {
  matrix: Matrix
  /** Address of the first row of W that takes part, and of its scale (q8); bytes from row to row, or from eight to eight. */
  weights: usize
  scales: usize
  stride: usize
  /** Rows of W, without the padding of the last block. */
  rows: u32
  /** Vectors, `xStride` bytes apart: f32 padded with zeros to 16 numbers, or quantised and padded as rows of W are. */
  count: u32
  x: usize
  xStride: usize
  /** (f32 scale, i32 sum) of each quantised vector, `pairStride` bytes apart. */
  pairs: usize
  pairStride: usize
  /** q4: −8 · Σx of each group of 32 numbers, i32; with minima Σx of 16, i16; `offsetStride` bytes from vector to vector. */
  offsets: usize
  offsetStride: usize
  /** f32 (rows), or 0. */
  bias: usize
  /** f32 (count, rows), `yStride` bytes apart. */
  y: usize
  yStride: usize
  /** 1: what is in y is added to. */
  adds: u32
  /** TILE_BYTES for the results of one tile. */
  tile: usize

  /** The vectors. */
  from(x: usize, stride: usize): void {
    this.x = x
    this.xStride = stride
  }

  /** The results. */
  into(y: usize, stride: usize): void {
    this.y = y
    this.yStride = stride
  }
}

/** Four vectors with eight f32 each. */
export const TILE_BYTES: u64 = 128

/** Bytes of weights and of activations that a block of a product should not exceed: both stay in the first cache. */
export const WEIGHT_BLOCK: usize = 32768
export const VECTOR_BLOCK: usize = 16384

/** How many of `n` things of `bytes` each make a block of at most `most` bytes, in whole units. */
export function blockOf(most: usize, bytes: usize, unit: u32, n: u32): u32 {
  const fit = ((most / bytes) as u32) / unit
  return min<u32>(n, max<u32>(fit, 1) * unit)
}

/** Epilogue of one row. */
export function finish(sum: f32, bias: usize, rowBias: f32, target: usize, adds: bool): void {
  const value = bias ? sum + rowBias : sum
  store<f32>(target, adds ? load<f32>(target) + value : value)
}
