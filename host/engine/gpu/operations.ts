/**
 * What a step on a GPU is made of. All of it is made when the engine opens: operations in their order, each a pipeline, the
 * buffers it reads and writes, and how many workgroups a step of some size needs. A step writes its rows, records every
 * operation in one command buffer, and submits that once.
 */

import type { TileSizes } from './attention-tiles.ts'

/** How much there is in a step, and how the sweep shares out its rows. */
export interface StepSizes extends TileSizes {
  rows: number
  /** Rows that want logits. */
  logits: number
  /** Pages that the row with the most of them has in its conversation. */
  pages: number
  /** Rows that want their hidden state behind the last norm, and no logits. */
  states?: number
  /** Rows that draw from their best candidates: all that want logits take part, or none. */
  drawn?: number
}

/** A dispatch; one with a count of 0 is left out. */
export interface Operation {
  name: string
  pipeline: GPUComputePipeline
  bindings: GPUBindGroup
  workgroups(sizes: StepSizes): readonly [x: number, y: number, z?: number]
}

/**
 * f32 (rows, stride) in a buffer, from number `offset` on; both in numbers, multiples of 4. What is behind the width of a row
 * is zeros up to a multiple of 16, as in assembly/sizes.ts, wherever a product reads it.
 */
export interface RowsAt {
  buffer: GPUBuffer
  offset: number
  stride: number
}

/** What the operations of a step may read of it. step.wgsl has the structures. */
export interface StepBuffers {
  /** Uniform Sizes: u32 rows, logits, pages, 0. */
  sizes: GPUBuffer
  /** Storage, Row[maxRows] of assembly/abi.ts. */
  rows: GPUBuffer
  /** Storage, u32 (maxRows): the rows that want logits, in their order, then those that want their hidden state. */
  wanted: GPUBuffer
  /** Storage, u32 (conversations, tableBlocks): the blocks of each conversation. */
  tables: GPUBuffer
  /** Storage, u32 (page kinds, blocks): where the pages of each block lie; abi.NO_PAGE: nowhere. */
  places: GPUBuffer
  /** Storage, f32 (maxRows, anglesStride numbers): of each Rotation of the plan cos of each pair, then sin, from byte `Rotation.angles` on. */
  angles: GPUBuffer
  anglesStride: number
}

/** The packed bytes of a model on the device: weights.ts. */
export interface GpuWeights {
  /**
   * Where the bytes [offset, offset + bytes) lie, as offsets of the plan count: a binding that begins a little before them, as
   * the device's alignment wants it, and u32 words of it before the first of them. They are within one tensor, and no more
   * than `mostBytes`.
   */
  bind(offset: number, bytes: number): { resource: GPUBufferBinding; word: number }
  /** Bytes that one binding can have at most, whatever it begins with. */
  readonly mostBytes: number
}
