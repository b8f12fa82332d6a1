/**
 * Instances of the engine over a shared memory; the only file that knows @assemblyscript/loader, which its authors call
 * deprecated. All state is in the memory, so any number of instances are one engine.
 */
import { instantiateSync } from '@assemblyscript/loader'

/**
 * What assembly/index.ts exports; its records are in assembly/abi.ts. Addresses come back signed: `>>> 0` makes them
 * addresses again above 2 GiB.
 */
export interface EngineExports extends Record<string, unknown> {
  planVersion(): number
  pageTokens(): number
  /** Of the LayoutRequest at this address. */
  layout(request: number): number
  rows(): number
  tables(): number
  places(): number
  history(): number
  cache(pageKind: number): number
  pageBytes(pageKind: number): number
  layerBytes(): number
  stream(): number
  streamBytes(): number
  setStream(isOn: number, layers: number): void
  turn(from: number, to: number, delta: number): void
  masks(): number
  biases(): number
  sampled(): number
  logits(k: number): number
  state(k: number): number
  setTeam(count: number): void
  check(): number
  step(count: number): number
  meet(count: number): void
  abandon(): void
  profile(isOn: number): void
  profiled(which: number): number
  readMemory(from: number, bytes: number): number
}

export const WASM_PAGE = 65536

/** Throws RangeError if the system does not give so much, or so many addresses. */
export function createMemory(pages: number, isShared: boolean, maximum = 65536): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: pages, maximum, shared: isShared })
}

/** One rank of the engine. */
export function instantiate<T extends EngineExports = EngineExports>(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  rank = 0,
): T {
  return instantiateSync<T>(module, { env: { memory }, host: { rank, now: () => performance.now() } }).exports
}
