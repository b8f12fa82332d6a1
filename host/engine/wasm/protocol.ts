/**
 * How the host and the engine's workers talk: a few shared words, each with one writer at a time, and for all that is longer
 * the mailbox.
 *
 *     word      writer          meaning
 *     COMMAND   host            what to do, valid while a request runs
 *     ARGUMENT  host            rows of a step; address of a probe or of a piece; page that is turned; ranges to read
 *     SECOND    host            bytes of a probe; target of a turn; number of a piece; does a step stream pages
 *     THIRD     host            positions of a turn; bytes of a piece; layers that were streamed
 *     RANKS     host            ranks of the request
 *     NUMBER    host            counts requests
 *     BEGUN     rank 0          NUMBER of the request that it has prepared; the other ranks wait for it
 *     DONE      rank 0          counts finished requests; the host waits on it
 *     STATUS    rank 0          result of the last request
 *     FAILED    the first rank that fails, by exchange; its error's text lies at TEXT as UTF-8, TEXT_LENGTH is written last
 *     REQUEST   host            one word per rank: counts the requests for it; the rank waits on it
 *
 * Every word is read and written with Atomics, which order the plain memory around them on ARM too.
 */
import type { MailboxSizes } from './mailbox.ts'

export const COMMAND = 0
export const ARGUMENT = 1
export const SECOND = 2
export const DONE = 3
export const STATUS = 4
export const FAILED = 5
export const TEXT_LENGTH = 6
export const THIRD = 7
export const RANKS = 8
export const NUMBER = 9
export const BEGUN = 10
export const REQUEST = 11
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
/** Is the memory there? The first request. 1: yes; 0: the system gives none. */
export const OPEN = 6
/** A piece to where it belongs in memory. */
export const WRITE = 7
/** Ranges of memory to piece 0. */
export const READ = 8
/** Nothing but the moves. */
export const MOVE = 9
export const PROFILE = 10
export const PROFILED = 11
/** Whoever waits on a word of the engine's memory. */
export const WAKE = 12

/** 0 or more: what the engine's step, the check, the probe (MB/s) or the meetings (ns each) returned. */
export const STATUS_FAILED = -1

export interface Request {
  command: number
  argument: number
  second: number
  third: number
  ranks: number
}

/** Who runs an engine's requests. */
export interface Ranks {
  /** Runs a command on the first `ranks` ranks; resolves to what rank 0 returned. One at a time. */
  request(command: number, argument: number, ranks: number, second?: number, third?: number): Promise<number>
  /** Whatever waits, and every later request, fails with the first error. */
  fail(error: Error): Error
  close(): Promise<void>
}

/** An engine as the host describes it. Plain data: it crosses to a worker. */
export interface MemoryLayout {
  planWords: Uint32Array
  /** Words of the LayoutRequest, and of the pages of each kind behind it. */
  request: number[]
  /** First address behind everything. */
  end: number
}

/** What a memory is made of: an engine, or bytes to read as fast as can be. */
export type MemoryInput = { layout: MemoryLayout; sizes: MailboxSizes; buffer: ArrayBufferLike } | { bytes: number }

/** What rank 0 hands to the others, and to the reader of pages in a file: the host never sees it. */
export interface SharedMemory {
  memory: WebAssembly.Memory
  mailbox?: { sizes: MailboxSizes; buffer: ArrayBufferLike }
}

interface WorkerInputOf<R extends number> {
  module: WebAssembly.Module
  control: SharedArrayBuffer
  rank: R
}

/** Rank 0 makes the memory and sends it through the ports. */
export type FirstInput = WorkerInputOf<0> & { input: MemoryInput; ports: MessagePort[] }
/** The others wait for it at theirs. */
export type WorkerInput = FirstInput | (WorkerInputOf<number> & { port: MessagePort })

export function createControl(): SharedArrayBuffer {
  return new SharedArrayBuffer(TEXT * 4 + TEXT_BYTES)
}
