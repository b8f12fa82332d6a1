/**
 * One walk over one list of operations (operations.ts), under one of two cost conventions: `exact`, which counts
 * what the engine's plan does, and `llm-viewer`, which reproduces a published tool. The walk itself knows neither.
 *
 * Roofline: an operation takes as long as its arithmetic at the device's peak, or as its bytes at the memory's bandwidth,
 * whichever is longer. Pure: used by the command, by the report and by the page of the viewer.
 */
import type { Operation, OperationPart } from './operation.ts'

export const stages = ['prefill', 'decode'] as const
export type Stage = (typeof stages)[number]

/** What is run: `batch` prompts of `seqlen` tokens read, or a token for each of `batch` conversations of that length. */
export interface Pass {
  stage: Stage
  batch: number
  seqlen: number
}

/** What an operation takes in one pass, per layer. Bytes, but for the first two. */
export interface Traffic {
  /** As the roofline counts them: two for a multiply-add, and those of everything else. */
  operations: number
  /** Multiply-adds alone; cost() counts the same. */
  macs: number
  weights: number
  loads: number
  stores: number
  cacheReads: number
  cacheWrites: number
}

export interface OperationResult extends Traffic {
  name: string
  part: OperationPart
  /** How often it is done: once in each layer that is alike, or once. */
  count: number
  bytes: number
  /** Operations per byte. */
  intensity: number
  /** Operations per second that the roofline allows. */
  performance: number
  bound: 'memory' | 'compute'
  /** Of one of `count`. */
  seconds: number
}

export interface PassResult extends Pass {
  operations: OperationResult[]
  /** All operations, all layers. */
  total: Traffic & { bytes: number; seconds: number }
}

export interface Convention {
  mode: 'exact' | 'llm-viewer'
  /** Operations in the order in which totals are summed: floating-point sums depend on it. */
  order(operations: Operation[]): Operation[]
  /** Undefined: this convention does not know the operation. */
  count(operation: Operation, pass: Pass): Traffic | undefined
  /** Operations per second at best, and bytes per second. */
  limits(operation: Operation, pass: Pass): { peak: number; bandwidth: number }
}

export const noTraffic: Traffic = {
  operations: 0,
  macs: 0,
  weights: 0,
  loads: 0,
  stores: 0,
  cacheReads: 0,
  cacheWrites: 0,
}
const trafficKeys = Object.keys(noTraffic) as (keyof Traffic)[]

/** Counts and times every operation of a pass. */
export function walk(operations: Operation[], convention: Convention, pass: Pass): PassResult {
  const total = { ...noTraffic, bytes: 0, seconds: 0 }
  const results: OperationResult[] = []
  for (const operation of convention.order(operations)) {
    const traffic = convention.count(operation, pass)
    if (!traffic) continue
    const { peak, bandwidth } = convention.limits(operation, pass)
    const { count } = operation
    const result = {
      name: operation.name,
      part: operation.part,
      count,
      ...traffic,
      ...roofline(traffic, peak, bandwidth),
    }
    results.push(result)
    for (const key of [...trafficKeys, 'bytes', 'seconds'] as const) total[key] += result[key] * count
  }
  return { ...pass, operations: results, total }
}

/** Evaluated in the order in which LLM-Viewer does, so that its results come out to the bit. */
export function roofline(traffic: Traffic, peak: number, bandwidth: number) {
  const { operations, weights, loads, stores, cacheReads, cacheWrites } = traffic
  const bytes = weights + loads + stores + cacheReads + cacheWrites
  const intensity = operations / bytes
  // What moves bytes and computes nothing takes the time of its bytes.
  if (operations === 0)
    return { bytes, intensity: 0, performance: 0, bound: 'memory' as const, seconds: bytes / bandwidth }
  const isMemoryBound = intensity < peak / bandwidth
  const performance = isMemoryBound ? intensity * bandwidth : peak
  const bound = isMemoryBound ? ('memory' as const) : ('compute' as const)
  return { bytes, intensity, performance, bound, seconds: operations / performance }
}
