/**
 * How the host and the engine's worker talk: a few shared words, each with one writer.
 *
 *     word      writer   meaning
 *     REQUEST   host     counts requests; the worker waits on it
 *     COMMAND   host     what to do, valid while REQUEST > DONE
 *     ARGUMENT  host     rows of a step, bytes of a probe
 *     DONE      worker   counts finished requests; the host waits on it
 *     STATUS    worker   result of the last request; FAILED: the error's text follows as UTF-8
 *
 * Every word is read and written with Atomics, which order the plain memory around them on ARM too.
 */
export const REQUEST = 0
export const COMMAND = 1
export const ARGUMENT = 2
export const DONE = 3
export const STATUS = 4
/** Index of the first word of the error text, and its length in bytes just before. */
export const TEXT_LENGTH = 5
export const TEXT = 6
export const TEXT_BYTES = 2048

export const STEP = 1
export const PROBE = 2

/** 0 or more: what the engine's step or the probe returned. */
export const STATUS_NOT_FINITE = 1
export const STATUS_FAILED = -1

export interface WorkerInput {
  module: WebAssembly.Module
  memory: WebAssembly.Memory
  control: SharedArrayBuffer
  /** Address of memory that a bandwidth probe may read; 0: it needs memory of its own. */
  probeFrom: number
}

export function createControl(): SharedArrayBuffer {
  return new SharedArrayBuffer(TEXT * 4 + TEXT_BYTES)
}
