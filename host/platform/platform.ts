/**
 * What the engine and the model need of the program that they run in. Two files implement it, node.ts and browser.ts;
 * `#platform` in package.json is the one that is built for. Everything else is the same code.
 */

import type { MachineLoad } from './load.ts'

export type { MachineLoad }

/** SHA-256, fed piece by piece. */
export interface Hash {
  update(data: string | Uint8Array): Hash
  digest(encoding: 'hex'): string
}

/** What a thread runs: a rank of the team, or the reader of pages in a file. */
export type ThreadKind = 'rank' | 'reader'

export interface Thread {
  /** Holds the program until the thread ends, or does not; where nothing is held, both do nothing. */
  ref(): void
  unref(): void
  terminate(): Promise<unknown>
}

export interface ThreadStart {
  kind: ThreadKind
  name: string
  /** Cloned; memory that is shared stays shared, and ports go along that `transfer` lists. */
  data: unknown
  transfer?: InstanceType<typeof MessagePort>[]
  /** The thread failed. */
  onError(error: Error): void
  /** The thread is gone, for whatever reason; not every platform tells. */
  onExit(): void
}

export interface Platform {
  /** Why threads cannot share memory here, in a clause; undefined: they can. */
  readonly unshared: string | undefined
  /** Where an engine would run, in the words of an error's advice. */
  readonly advice: string
  createHash(): Hash
  /** Bytes of memory of the machine, or fewer if a control group gives this process less; infinity where nobody tells. */
  machineMemory(): number
  /** Threads that run at a time. */
  availableParallelism(): number
  /** Tells machines apart for what is measured once. */
  processorName(): string
  /** Is relaxed SIMD, where it is accepted, computed as it should be? */
  isRelaxedRight(): boolean
  /** Does what a file of strangers decides about. Throws Error if it takes longer, where it can be stopped; a page's worker can be ended. */
  within<T>(milliseconds: number, work: () => T): T
  /** The module of an engine's build, by the name of its file. */
  readKernel(file: string): Promise<Uint8Array<ArrayBuffer>>
  startThread(start: ThreadStart): Thread
  /** A GPU of WebGPU's types, which not every program has; nothing of it is read before. Throws NO_GPU. */
  openGpu(): Promise<unknown>
  /** The path of a file for pages, in a folder that is there then. */
  prepareOffload(directory: string): string
  /** What was measured before, by its key; nothing where nothing is kept. */
  cacheFile(name: string): string
  readEntries(file: string): Promise<Record<string, unknown>>
  writeEntry(file: string, key: string, value: unknown): Promise<void>
  removeEntries(file: string): Promise<void>
  /** Watches what else runs on the machine from now on; what is returned tells what was seen. */
  watchLoad(): () => MachineLoad
}
