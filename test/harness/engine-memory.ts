/** An engine's memory on this thread, where a test can look at it: engines keep theirs in their workers. */

import { WEIGHTS } from '../../assembly/abi.ts'
import type { EngineOptions, Weights } from '../../host/engine/engine.ts'
import { placeEngine } from '../../host/engine/wasm/hold.ts'
import type { EngineExports } from '../../host/engine/wasm/instance.ts'
import { layoutOf, type PageCounts, tablePages } from '../../host/engine/wasm/memory.ts'
import type { ModelSpec, Plan } from '../../models/index.ts'
import { relaxed, relaxedSingle } from './engines.ts'

export interface EngineMemory extends PageCounts {
  memory: WebAssembly.Memory
  exports: EngineExports
  tablePages: number
  bytes: number
}

/** Memory with the plan in place and everything laid out; the weights are still to be loaded at `WEIGHTS`. */
export function layoutMemory(
  module: WebAssembly.Module,
  spec: ModelSpec,
  plan: Plan,
  options: EngineOptions,
  isShared = true,
): EngineMemory {
  const compiled = { build: isShared ? relaxed : relaxedSingle, module }
  const { layout, pages } = layoutOf(compiled, spec, plan, options)
  const { memory, exports } = placeEngine(module, layout, isShared)
  const places = new Uint32Array(memory.buffer, exports.places() >>> 0, pages.blocks * pages.kinds.length)
  for (let i = 0; i < places.length; i++) places[i] = i % pages.blocks
  return { memory, exports, tablePages: tablePages(options), ...pages, bytes: layout.end }
}

/** Bytes on this thread as what weights are loaded into. */
export function weightsInto(target: Uint8Array, pieceBytes = 1000): Weights {
  return {
    ...{ bytes: target.length, pieceBytes },
    fill: async (offset, bytes, read) => read(target.subarray(offset, offset + bytes)),
    write: async (offset, bytes) => target.set(bytes, offset),
  }
}

/** The part of it that takes a plan's packed tensors. */
export function weightsOf({ memory }: Pick<EngineMemory, 'memory'>, plan: Plan): Uint8Array {
  return new Uint8Array(memory.buffer, WEIGHTS, plan.bytes)
}
