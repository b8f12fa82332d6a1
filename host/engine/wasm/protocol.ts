/**
 * How the host and the engine's workers talk: a few shared words, each with one writer at a time.
 *
 *     word      writer          meaning
 *     COMMAND   host            what to do, valid while a request runs
 *     ARGUMENT  host            rows of a step; address of a probe; page that is turned
 *     SECOND    host            bytes of a probe; target of a turn
 *     THIRD     host            positions of a turn
 *     DONE      rank 0          counts finished requests; the host waits on it
 *     STATUS    rank 0          result of the last request
 *     FAILED    the first rank that fails, by exchange; its error's text lies at TEXT as UTF-8, TEXT_LENGTH is written last
 *     REQUEST   host            one word per rank: counts the requests for it; the rank waits on it
 *
 * Every word is read and written with Atomics, which order the plain memory around them on ARM too.
 */
export const COMMAND = 0
export const ARGUMENT = 1
export const SECOND = 2
export const DONE = 3
export const STATUS = 4
export const FAILED = 5
export const TEXT_LENGTH = 6
export const THIRD = 7
export const REQUEST = 8
/** More ranks than any board has cores. */
export const MAX_RANKS = 64
/** Index of the first word of the error text. */
export const TEXT = REQUEST + MAX_RANKS
export const TEXT_BYTES = 2048

export const STEP = 1
export const PROBE = 2
export const CHECK = 3
export const MEET = 4
export const TURN = 5

/** 0 or more: what the engine's step, the check, the probe (MB/s) or the meetings (ns each) returned. */
export const STATUS_FAILED = -1

/** Who runs an engine's requests. */
export interface Ranks {
  /** Runs a command on the first `ranks` ranks; resolves to what rank 0 returned. One at a time. */
  request(command: number, argument: number, ranks: number, second?: number, third?: number): Promise<number>
  /** Whatever waits, and every later request, fails with the first error. */
  fail(error: Error): Error
  close(): Promise<void>
}

export interface WorkerInput {
  module: WebAssembly.Module
  memory: WebAssembly.Memory
  control: SharedArrayBuffer
  rank: number
}

export function createControl(): SharedArrayBuffer {
  return new SharedArrayBuffer(TEXT * 4 + TEXT_BYTES)
}
