/** What every engine can do: rows in, sampled tokens out. Implemented by host/wasm. */

import type { CacheType } from '../models/index.ts'

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

/** Parts of a step, in the order of the engine's account. */
export const stepParts = ['rest', 'linear', 'attention', 'valueDecoder', 'barrier'] as const

/** Seconds that a thread spent in each part. */
export type StepProfile = Record<(typeof stepParts)[number], number>

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
  /** Runs the rows; resolves to one sampled id for every row with `sampling`, in their order. */
  step(rows: Row[]): Promise<Uint32Array>
  /** Logits (vocabSize) of the k-th row with `sampling` of the last step; valid until the next one. */
  logits(k: number): Float32Array
  /** Forgets all positions from `length` on. */
  rewind(conversation: number, length: number): void
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
  /** Threads for steps of one row; default 1. */
  threads?: number | undefined
  /** Threads for steps of more rows; default: as many. */
  batchThreads?: number | undefined
}
