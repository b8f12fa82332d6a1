/** What every engine can do: rows in, sampled tokens out. Implemented by host/wasm. */

import * as abi from '../../assembly/abi.ts'
import type { CacheType } from '../../models/index.ts'
import { fieldsOf } from '../../models/records.ts'
import { errors } from '../errors.ts'

/** How the next token is chosen; the engine's order is repetition penalty, top-k, top-p, min-p, temperature. */
export interface Sampling {
  /** 0: the most likely token, always. */
  temperature: number
  /** Only the k most likely tokens; 0: all. */
  topK: number
  /** The most likely tokens that hold this share of the probability; 1: all. */
  topP: number
  /** Tokens at least this likely in relation to the most likely one; 0: all. */
  minP: number
  /** Divides the logits of tokens seen lately; 1: off. */
  repeatPenalty: number
  /** How many of the latest tokens the penalty looks at. */
  repeatLastN: number
  /** Same seed, same text. 0 … 2^53 − 1. */
  seed: number
}

export const greedy: Sampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repeatPenalty: 1,
  repeatLastN: 64,
  seed: 0,
}

/** One token of one conversation. Rows of a conversation come in the order of their positions. */
export interface Row {
  conversation: number
  position: number
  token: number
  /** Sample a next token from this row with these settings. */
  sampling?: Sampling
}

/** Threads for steps of one row and for those of more. */
export interface ThreadCounts {
  decode: number
  prefill: number
}

/** A part of a step, as in Times of assembly/abi.ts. */
export type StepPart = 'rest' | 'linear' | 'attention' | 'valueDecoder' | 'barrier' | 'stream'

/** Seconds that a thread spent in each part. */
export type StepProfile = Record<StepPart, number>

/** Parts of a step, in the order of the engine's account. */
export const stepParts: readonly StepPart[] = fieldsOf(new abi.Times())

/** All parts together. */
export const secondsOf = (parts: StepProfile) => stepParts.reduce((sum, part) => sum + parts[part], 0)

/** What is sampled from logits that are not finite: the weights, or what the cache holds, are broken. */
export const NO_TOKEN: number = abi.NO_TOKEN

/** Throws NOT_FINITE unless every row has a token. */
export function finite(sampled: Uint32Array): Uint32Array {
  if (sampled.includes(NO_TOKEN)) throw errors.notFinite()
  return sampled
}

/** What a conversation found in the cache. */
export interface Reuse {
  /** Tokens that need not be computed: whole pages. */
  reused: number
  /** Tokens at the beginning that the cached text most like it has too. */
  matched: number
}

/** What offload has cost so far. */
export interface OffloadUse {
  /** Bytes of the cache that may be in memory, buffers included. */
  memoryBytes: number
  bytesRead: number
  bytesWritten: number
  readSeconds: number
  /** Does it read past the system's own cache? Then what it reads comes from the disk. */
  isDirect: boolean
}

/** A conversation as it lies in the cache, for reading and writing. */
export interface CachedPages {
  /** Tokens in the cache, and those that it has no more. */
  length: number
  dropped: number
  /** The pages of its tokens, the last one perhaps partial. */
  pages: CachedPage[]
  /** Kept pages as they were computed, if there was a drop, and how much was dropped when they were. */
  originals: (CachedPage & { dropped: number })[]
}

export interface CachedPage {
  id: number
  /** Another number whenever what the page holds changes. */
  stamp: number
  /** The token of each row: a view. */
  tokens: Uint32Array
}

export interface Engine {
  /** For people: 'wasm relaxed-simd, 2 threads'. */
  readonly name: string
  /** The name of its build alone. */
  readonly build: string
  /** Threads that there are; `threads` says how many work. */
  readonly maxThreads: number
  threads: ThreadCounts
  /** Rows that one step takes at most. */
  readonly maxRows: number
  /** Rows of one step that may want a next token. */
  readonly maxLogits: number
  /** Positions that a conversation can have. */
  readonly context: number
  /** Bytes reserved for weights, cache and scratch. */
  readonly memoryBytes: number
  /** Conversations that there are, from 0 on; an empty one is a new one. */
  readonly conversations: number
  /**
   * Runs the rows; resolves to one sampled id for every row with `sampling`, in their order, or NO_TOKEN. Throws
   * OutOfMemoryError before anything is done.
   */
  step(rows: Row[]): Promise<Uint32Array>
  /** Logits (vocabSize) of the k-th row with `sampling` of the last step; valid until the next one. */
  logits(k: number): Float32Array
  /** SHA-256 of the same logits, first 16 hex digits: a change of any bit shows. */
  logitsHash(k: number): string
  /** Positions that are filled. */
  lengthOf(conversation: number): number
  /** Tokens that the conversation had and the cache has no more. */
  droppedOf(conversation: number): number
  /** The tokens at them. */
  tokensOf(conversation: number): Uint32Array
  /** Pages of the cache that `count` more positions take, and that can be had. */
  pagesNeeded(conversation: number, count: number): number
  readonly pagesAvailable: number
  /** Pages that `count` more positions are written to, and that one step may write to: those that are in memory. */
  pagesWritten(conversation: number, count: number): number
  readonly pagesWritable: number
  /** Throws OutOfMemoryError unless there is room for `count` more positions. */
  checkRoom(conversation: number, count: number): void
  /** Forgets all positions from `length` on; with 0 it is a new conversation. */
  rewind(conversation: number, length: number): void
  /** Makes an empty conversation a copy of another one; they share what they have in common. */
  fork(from: number, to: number): void
  /** Fills an empty conversation with as much of a prompt as lies in the cache, but for its last token. */
  reuse(conversation: number, ids: ArrayLike<number>): Reuse
  /**
   * Forgets `count` pages of tokens behind the first `keep` pages. What follows sees the rest as if it were all that there
   * was: keys of the kept pages are rotated on to where they would be.
   */
  drop(conversation: number, keep: number, count: number): Promise<void>
  /** The conversation as it lies in the cache; valid until it changes. */
  cached(conversation: number): CachedPages
  /** Gives an empty conversation pages, for whoever reads it from a file to fill. Throws OutOfMemoryError. */
  adopt(conversation: number, length: number, dropped: number, originals: readonly number[]): CachedPages
  /** What the cache's contents depend on besides the tokens: weights, their type, RoPE, the cache's own format. Hex. */
  fingerprint(): Promise<string>
  /** A page's bytes, for whoever has it: a view, or a copy of what is in a file. Not while a step runs. */
  fetchPage(id: number): Promise<Uint8Array>
  /** Writes the bytes of a page that was adopted. Not while a step runs. */
  storePage(id: number, bytes: Uint8Array): Promise<void>
  /** Undefined without offload. */
  readonly offloadUse: OffloadUse | undefined
  /** Bytes per second at which the disk gives what the last step wanted of it; 0 if that was nothing. */
  measureOffload(): Promise<number>
  /** Bytes of the cache: a page, all that conversations hold, all that there may be. */
  readonly cacheUse: { pageBytes: number; usedBytes: number; totalBytes: number }
  /** Reads memory for a moment and tells how fast, in bytes per second; default: with the threads of decode. */
  measureBandwidth(threads?: number): Promise<number>
  /** Seconds that threads need to meet when all come at once. */
  measureBarrier(threads?: number): Promise<number>
  /** Starts an account of where time goes, from zero, or ends it. Not while a step runs. */
  profile(isOn: boolean): void
  /** The account, thread by thread. */
  profiled(): StepProfile[]
  close(): Promise<void>
}

export interface EngineOptions {
  /** Positions per conversation. */
  context: number
  cache: CacheType
  maxRows: number
  maxLogits: number
  conversations: number
  /** Pages of the cache; default: enough for the whole context of every conversation. */
  pages?: number | undefined
  /** Keeps no more of the cache in memory than `bytes`, the rest in a file in `directory`. */
  offload?: { bytes: number; directory: string } | undefined
  /** Threads for steps of one row; default 1. */
  threads?: number | undefined
  /** Threads for steps of more rows; default: as many. */
  batchThreads?: number | undefined
}
