/**
 * What every engine can do: rows in, sampled tokens out. Whoever is above it does not know which one it is. An engine knows
 * blocks and pages by their numbers; whose they are is the business of host/cache, which is also the one that calls it.
 */

import * as abi from '../../assembly/abi.ts'
import type { CacheType } from '../../models/index.ts'
import { fieldsOf } from '../../models/records.ts'
import { errors, GtaError } from '../errors.ts'
import type { gpuModes } from '../settings.ts'

/** How the next token is chosen; the engine's order is penalties, top-k, top-p, min-p, temperature. */
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
  /** Lowers the logits of tokens that were generated, once; 0: off. */
  presencePenalty: number
  /** And again for each time that they were. */
  frequencyPenalty: number
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
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 0,
}

/** What is added to the logits of some tokens. */
export interface LogitBias {
  /** At most MAX_BIASES of assembly/abi.ts, each once. */
  tokens: Uint32Array
  values: Float32Array
}

/** One token of one conversation. Rows of a conversation come in the order of their positions. */
export interface Row {
  conversation: number
  position: number
  token: number
  /** Sample a next token from this row with these settings. */
  sampling?: Sampling
  /** Tokens that its conversation had and the cache has no more; default 0. Filled in by host/cache. */
  dropped?: number
  /**
   * Bit t & 31 of word t >> 5: token t may be sampled; those behind its end may not. Default: all. One, and one list of
   * biases, for all rows of a conversation in a step.
   */
  mask?: Uint32Array
  bias?: LogitBias
  /** Keep its hidden state behind the last norm; nothing is sampled then. */
  wantsState?: boolean
  /** Position of the first token that was generated: what presence and frequency penalty count; default: none was. */
  generatedFrom?: number
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

/** What does not change while an engine lives. */
export interface EngineFacts {
  /** What it is, for people: 'wasm relaxed-simd'. The name of its build alone. */
  name: string
  build: string
  /** Threads that there are; `threads` says how many work. */
  maxThreads: number
  /** Rows that one step takes at most. */
  maxRows: number
  /** Rows of one step that may want a next token. */
  maxLogits: number
  /** Positions that a conversation can have. */
  context: number
  /** Conversations that there are, from 0 on. */
  conversations: number
  vocabSize: number
  /** Bytes reserved for weights, cache and scratch. */
  memoryBytes: number
}

/** Layers whose pages are laid out, and given back, alike. */
export interface StoredKind {
  /** Places in memory for pages, and bytes of each. */
  pages: number
  pageBytes: number
  /** Tokens that a token sees; absent: all. With a window a block's page may be missing, and there may be fewer places. */
  window?: number | undefined
  /** A page is the state behind the last token of its block, not a row for each: there is none within a block. */
  isState?: boolean
}

/**
 * The pages of an engine's cache. A block is PAGE_TOKENS tokens of a conversation; it is a number. Of each kind of layers it
 * has a page, which holds their rows and lies at a place, another number. Most models have one kind: then block and page
 * are one. Tables, places and history are read by steps: they are written between two of them.
 */
export interface PageStore {
  /** Blocks that there can be, how many have a place in memory, and bytes of the pages of one. */
  readonly pages: number
  readonly residentPages: number
  readonly pageBytes: number
  /** Default: one, of which every block has a page. */
  readonly kinds?: readonly StoredKind[]
  /** u32 (conversations, tablePages): the blocks of each conversation, in order. */
  readonly tables: Uint32Array
  readonly tablePages: number
  /** u32 (kinds, blocks): where each page lies. At first that of block n at place n. */
  readonly places: Uint32Array
  /** u32 (blocks, PAGE_TOKENS): the token of each row. */
  readonly history: Uint32Array
  /** Makes the page at place `to` a copy of that at `from`. */
  copy(from: number, to: number, kind?: number): void
  /** Fills a place with zeros. */
  clear(place: number, kind?: number): void
  /** What lies at a place: a view or a copy. Between two steps. */
  read(place: number, kind?: number): Promise<Uint8Array>
  write(place: number, bytes: Uint8Array, kind?: number, start?: number): Promise<void>
  /** What the contents of pages depend on besides the tokens: weights, their type, RoPE, the cache's own format. Hex. */
  fingerprint(): Promise<string>
  /** How to read pages that have no place in memory; without it there is no offload. */
  readonly stream: PageStream | undefined
}

/** Buffers that a thread of the host fills with pages from a file, layer by layer, while a step computes. */
export interface PageStream {
  /** Where that thread is sent the engine's memory, as SharedMemory of wasm/protocol.ts; what follows are addresses in it. */
  readonly port: InstanceType<typeof MessagePort>
  /** The first place of the pages in memory. */
  readonly cache: number
  /** u8 (2, pages, stride): two layers. */
  readonly at: number
  readonly pages: number
  readonly stride: number
  /** Indices among the i32 of `buffer`: layers that were read, and layers that nobody needs any more. */
  readonly ready: number
  readonly swept: number
  /** Layers of a page, and bytes of each in memory. */
  readonly nLayers: number
  readonly layerBytes: number
  /** Wakes the thread where it waits for a word of that memory. */
  wake(word: number): Promise<void>
  /** The next step begins at so many streamed layers, or streams nothing. */
  begin(isOn: boolean, layers: number): void
  /** The thread is gone: the engine must not wait for it. */
  fail(error: Error): void
}

/**
 * The weights of an engine while they are loaded. They belong to its threads, so bytes come to them through pieces of memory
 * that the host has too.
 */
export interface Weights {
  /** All of them, and those of a piece. */
  readonly bytes: number
  readonly pieceBytes: number
  /** Has `read` fill a piece of `bytes`, no more than there are in one, for `offset`. Several may be under way. */
  fill(offset: number, bytes: number, read: (piece: Uint8Array) => Promise<void> | void): Promise<void>
  /** Copies any number of bytes to `offset`. */
  write(offset: number, bytes: Uint8Array): Promise<void>
}

/** Measurements, for engines that offer them. Only between two steps. */
export interface Probe {
  /** Reads memory for a moment and tells how fast, in bytes per second; default: with the threads of decode. */
  measureBandwidth(threads?: number): Promise<number>
  /** Seconds that threads need to meet when all come at once. */
  measureBarrier(threads?: number): Promise<number>
  /** Starts an account of where time goes, from zero, or ends it. */
  profile(isOn: boolean): Promise<void>
  /** The account, thread by thread. */
  profiled(): Promise<StepProfile[]>
}

export interface Logits {
  /** (vocabSize) */
  values: Float32Array
  /** SHA-256 of the same, first 16 hex digits: a change of any bit shows. */
  hash(): string
}

/** One thing at a time, by rows that were checked, of pages that are there: see host/cache/cache.ts. */
export interface Engine {
  readonly facts: EngineFacts
  threads: ThreadCounts
  readonly pages: PageStore
  /** Runs the rows; resolves to one sampled id for every row with `sampling`, in their order, or NO_TOKEN. */
  step(rows: readonly Row[]): Promise<Uint32Array>
  /** Of the k-th row with `sampling` of the last step; valid until the next one. Where they lie elsewhere, they are fetched. */
  logits(k: number): Promise<Logits>
  /** f32 (hiddenDim): that of the k-th row with `wantsState` of the last step; valid until the next one. */
  state(k: number): Promise<Float32Array>
  /** Writes block `to` with block `from`, its keys rotated on by `delta` positions. */
  turn(from: number, to: number, delta: number): Promise<void>
  readonly probe: Probe | undefined
  /** Opens another engine in the place of one that was lost: its pages hold nothing. Absent: it cannot. */
  revive?(): Promise<void>
  close(): Promise<void>
}

/** Is the engine gone, with all that its pages held? */
export function isLoss(error: unknown): boolean {
  return error instanceof GtaError && (error.code === 'ENGINE_FAILED' || error.code === 'GPU_LOST')
}

/** For people: 'wasm relaxed-simd, 2 threads'. */
export function nameOf({ facts, threads: { decode, prefill } }: Pick<Engine, 'facts' | 'threads'>): string {
  const count = decode === prefill ? `${decode}` : `${decode} and ${prefill}`
  return `${facts.name}, ${count} thread${count === '1' ? '' : 's'}`
}

export interface EngineOptions {
  /** Positions per conversation. */
  context: number
  cache: CacheType
  maxRows: number
  maxLogits: number
  conversations: number
  /** Blocks of the cache, PAGE_TOKENS tokens each; default: enough for the whole context of every conversation. */
  pages?: number | undefined
  /** Keeps no more of the cache in memory than `bytes`, the rest in a file in `directory`. */
  offload?: { bytes: number; directory: string } | undefined
  /** Threads for steps of one row; default 1. */
  threads?: number | undefined
  /** Threads for steps of more rows; default: as many. */
  batchThreads?: number | undefined
  /** What a GPU computes; default: nothing. */
  gpu?: (typeof gpuModes)[number] | undefined
  /** Uses one that is not fit for it. */
  gpuForce?: boolean | undefined
  /** Goes on with another engine, on the CPU, when it is lost. */
  recover?: boolean | undefined
}
