/** The debug build on this thread, and seeded random numbers: what tests of single parts of the engine share. */
import { readFile } from 'node:fs/promises'
import type { EngineOptions } from '../../host/engine/engine.ts'
import { type EngineExports, instantiate } from '../../host/engine/wasm/instance.ts'
import { distUrl } from '../../host/platform/dist.ts'
import {
  derivedBytes,
  type KeptTypes,
  type ModelDescription,
  type PackingType,
  type Plan,
  planModel,
} from '../../models/index.ts'
import { layoutMemory, weightsOf } from './engine-memory.ts'

/** What assembly/debug.ts adds. */
export interface DebugExports extends EngineExports {
  normed(): number
  hidden(): number
  hiddenStrideBytes(): number
  history(): number
  cache(pageKind?: number): number
  counted(rank: number): number
  attentionLayer(index: number, count: number): void
  matmul(
    matrix: number,
    bias: number,
    x: number,
    xStride: number,
    count: number,
    y: number,
    yStride: number,
    adds: number,
  ): void
  matmulBlocks(
    matrix: number,
    blocks: number,
    x: number,
    blockStride: number,
    xStride: number,
    count: number,
    y: number,
    yStride: number,
  ): void
  rowOfBlocks(matrix: number, row: number, factor: number, target: number): void
  norm(x: number, w: number, n: number, eps: number, y: number): void
  rope(head: number, position: number, invFreq: number, pairs: number, angles: number): void
  gatedProduct(gate: number, up: number, n: number, y: number): void
  gate(gates: number, n: number, y: number): void
  activate(code: number, x: number, n: number, y: number): void
  cap(x: number, n: number, at: number): void
  normLayer(x: number, w: number, b: number, n: number, eps: number, y: number): void
  spread(x: number, n: number): void
  quantizeRow(x: number, dim: number, target: number): number
  prepareQuery(x: number, dim: number, target: number): number
  queryBytes(dim: number): number
  pageScratchBytes(dim: number): number
  scores(
    head: number,
    headDim: number,
    dim: number,
    tokens: number,
    q: number,
    queries: number,
    scales: number,
    target: number,
    view: number,
    scratch: number,
  ): void
  scoresF32(
    head: number,
    headDim: number,
    dim: number,
    tokens: number,
    q: number,
    scale: number,
    target: number,
    view: number,
  ): void
  weigh(tokens: number, scores: number, state: number): void
  values(
    head: number,
    headDim: number,
    dim: number,
    tokens: number,
    scores: number,
    partial: number,
    scratch: number,
  ): void
  valuePair(
    head: number,
    headDim: number,
    dim: number,
    tokens0: number,
    tokens1: number,
    scores: number,
    partial: number,
    stride: number,
    scratch: number,
  ): void
  valuesF32(head: number, headDim: number, dim: number, tokens: number, scores: number, partial: number): void
  sampleRow(index: number, logits: number): number
  exp(x: number): number
  sin(x: number): number
  cos(x: number): number
}

/** `debug-relaxed` for files that run another test file again on the other instructions. */
export const debugName = process.env.GTA_TEST_BUILD ?? 'debug'
export const debugNames = ['debug', 'debug-relaxed']
const modules = new Map<string, WebAssembly.Module>()
for (const name of debugNames)
  modules.set(name, new WebAssembly.Module(new Uint8Array(await readFile(new URL(`engine-${name}.wasm`, distUrl)))))

export interface DebugEngine {
  exports: DebugExports
  plan: Plan
  /** The packed tensors; plan and frequencies are in place. */
  weights: Uint8Array
  /** Address of the first packed tensor. */
  weightsAt: number
  /** First address behind the layout. */
  end: number
  memory: WebAssembly.Memory
  floats(at: number, length: number): Float32Array
  doubles(at: number, length: number): Float64Array
  words(at: number, length: number): Uint32Array
  bytes(at: number, length: number): Uint8Array
}

export function openDebug(
  model: ModelDescription,
  type: PackingType,
  options: Partial<EngineOptions> = {},
  extraBytes = 0,
  build = debugName,
  kept?: KeptTypes,
): DebugEngine {
  const module = modules.get(build)
  if (!module) throw new RangeError(`there is no debug build ${build}`)
  const plan = planModel(model, type, kept)
  const all: EngineOptions = { context: 64, cache: 'f32', maxRows: 1, maxLogits: 1, conversations: 1, ...options }
  const engine = layoutMemory(module, model.spec, plan, all)
  const weights = weightsOf(engine, plan)
  for (const tensor of plan.tensors) weights.set(derivedBytes(plan, tensor) ?? [], tensor.offset)
  const { memory } = engine
  memory.grow(Math.ceil(extraBytes / 65536))
  return {
    exports: instantiate<DebugExports>(module, memory),
    plan,
    weights,
    weightsAt: weights.byteOffset,
    end: engine.bytes,
    memory,
    floats: (at, length) => new Float32Array(memory.buffer, at >>> 0, length),
    doubles: (at, length) => new Float64Array(memory.buffer, at >>> 0, length),
    words: (at, length) => new Uint32Array(memory.buffer, at >>> 0, length),
    bytes: (at, length) => new Uint8Array(memory.buffer, at >>> 0, length),
  }
}

/** Addresses one after the other, on multiples of 64. */
export class Room {
  private next: number

  constructor(start: number) {
    this.next = start
  }

  take(bytes: number): number {
    const at = this.next
    this.next = Math.ceil((at + bytes) / 64) * 64
    return at
  }
}

/** Marsaglia's xorshift32: the same numbers in every run. */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = (seed * 2654435761 + 1) >>> 0 || 1
    for (let i = 0; i < 8; i++) this.next()
  }

  /** In [0, 1). */
  next(): number {
    let x = this.state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.state = x >>> 0
    return this.state / 2 ** 32
  }

  /** A whole number below n. */
  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  /** Between −1 and 1. */
  signed(): number {
    return this.next() * 2 - 1
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }
}
