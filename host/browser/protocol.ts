/**
 * How a page and the worker that holds its model talk. The page asks, with a number; the worker answers with the same
 * number, and may tell something before that. Everything is cloned.
 *
 *     page → worker   { id, method, args }      { abort: id }
 *     worker → page   { id, result }   { id, error }   { id, progress }
 */
import type { CacheType, ModelSpec, PackingType } from '../../models/index.ts'
import type { Sampling, ThreadCounts } from '../engine/engine.ts'
import { type ErrorCode, GtaError, OutOfMemoryError } from '../errors.ts'
import type {
  ConversationOptions,
  Embeddings,
  GenerateOptions,
  GenerationEvent,
  OpenOptions,
  Progress,
  Prompt,
} from '../runtime/api.ts'

/** Functions and signals stay in the page. */
export type SentGenerateOptions = Omit<GenerateOptions, 'signal' | 'onToken' | 'onPrefill' | 'constraint'>
export type SentOpenOptions = Omit<OpenOptions, 'signal' | 'onProgress'>

/** The engine that a model got. */
export interface EngineFacts {
  /** "wasm relaxed-simd, 2 threads" */
  name: string
  build: string
  threads: ThreadCounts
  /** Bytes of its memory: weights, cache, and what a step needs. */
  memoryBytes: number
  /** Why it has one thread only; undefined if it may have more. */
  singleBecause: string | undefined
}

export interface SentModel {
  spec: ModelSpec
  weightType: PackingType
  cacheType: CacheType
  context: number
  recommended: Partial<Sampling>
  bytesPerToken: number
  eos: ReadonlySet<number>
  hasTokenizer: boolean
  engine: EngineFacts
}

/** What the page may ask for. Conversations and generations are numbers; conversation 0 is one of its own, for once. */
export interface Methods {
  load(url: string, options: SentOpenOptions): SentModel
  open(options: ConversationOptions): number
  fork(conversation: number): number
  rewind(conversation: number, length: number): void
  tokens(conversation: number): number[]
  close(conversation: number): void
  logits(conversation: number, prompt: Prompt): Float32Array
  embed(texts: readonly Prompt[]): Embeddings
  generate(conversation: number, prompt: Prompt | undefined, options: SentGenerateOptions & ConversationOptions): number
  next(generation: number): GenerationEvent
  end(generation: number): void
}

export interface Request<M extends keyof Methods = keyof Methods> {
  id: number
  method: M
  args: Parameters<Methods[M]>
}

export type Message = Request | { abort: number }
export type Answer =
  | { id: number; result: unknown }
  | { id: number; error: SentError }
  | { id: number; progress: Progress }

/** An error's class does not survive cloning. */
export interface SentError {
  name: string
  message: string
  stack: string | undefined
  code?: ErrorCode
  needed?: number
  available?: number
}

export function sendError(error: unknown): SentError {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
  const { code, needed, available } = error as Partial<OutOfMemoryError>
  return typeof code === 'string' ? { name, message, stack, code, needed, available } : { name, message, stack }
}

export function receiveError({ name, message, stack, code, needed = 0, available = 0 }: SentError): Error {
  // A DOMException cannot be written to.
  if (name === 'AbortError') return new DOMException(message, name)
  const error = revive()
  error.message = message
  if (stack) error.stack = stack
  return error

  function revive(): Error {
    if (name === 'OutOfMemoryError') return new OutOfMemoryError(needed, available)
    if (code) return Object.assign(new GtaError(code, message), { name })
    return name === 'RangeError' ? new RangeError(message) : new Error(message)
  }
}
