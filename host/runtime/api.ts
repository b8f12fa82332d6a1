/** What users give to the runtime and get from it; only types. */
import type { CacheType } from '../../models/index.ts'
import type { Sampling } from '../engine/engine.ts'
import type { busyChoices, contextPolicies, gpuModes } from '../settings.ts'
import type { Constraint } from '../text/structured/constraint.ts'
import type { Issue, StandardSchema } from '../text/structured/standard-schema.ts'
import type { Tokenizer } from '../text/tokenizer.ts'

/** How far a load, or the reading of a prompt, is: in bytes, or in tokens. */
export interface Progress {
  done: number
  total: number
}

/** What a GPU computes. */
export type GpuMode = (typeof gpuModes)[number]

/** Options of `load()` wherever the weights come from. */
export interface OpenOptions {
  /** Element type of the KV cache; default f32 with f32 weights, else int8. */
  cache?: CacheType
  /** Positions per conversation; default: the model's own, at most 4096. */
  context?: number
  /** Bytes of the cache, which all conversations share; default: enough for one that fills its context. */
  cacheMemory?: number
  /** Rows of one step that may have logits; more make `evaluate` faster and take vocabSize · 4 bytes each. Default 32. */
  maxLogits?: number
  /** Rows of one step at most: prompts are read in slices of so many tokens. Default 64. */
  batch?: number
  /** Threads of decode; default: what was measured to be fastest when the model was first loaded on this machine. */
  threads?: number
  /** Threads of prefill; default: as many as `threads` if those are given, else measured too. */
  batchThreads?: number
  /**
   * What a GPU computes: nothing (off, the default), everything (on), prompts only (prefill), or what was measured to be
   * fastest when the model was first loaded here (auto). In Node it takes the package `webgpu`.
   */
  gpu?: GpuMode
  /** Uses a GPU even if it is computed by the CPU, or known to be slower than the CPU; default false. */
  gpuForce?: boolean
  /**
   * When the engine is lost, a GPU or a thread, opens another one on the CPU and computes again what conversations had; one
   * at which that is lost too fails alone. Default false: everything fails with GPU_LOST or ENGINE_FAILED.
   */
  recover?: boolean
  signal?: AbortSignal
  /** Told while the weights are loaded; in bytes. */
  onProgress?: (progress: Progress) => void
}

/** How far the reading of a prompt is. */
export interface PrefillProgress extends Progress {
  /** Tokens that lay in the cache: the first of those that are done. */
  cached: number
}

/** A text, or token ids that are taken as they are. */
export type Prompt = string | ArrayLike<number>

/**
 * What happens when a conversation has filled its context.
 * error: it ends. window: the oldest page of tokens behind the kept ones is forgotten, page by page. shift: half of the
 * tokens behind the kept ones are forgotten at once.
 */
export type ContextPolicy = (typeof contextPolicies)[number]

export interface ConversationOptions {
  /** What happens when the context is full: it ends (error, the default), or what is old is forgotten. */
  contextPolicy?: ContextPolicy | undefined
  /** Tokens at the beginning that are never forgotten, rounded up to whole pages of 64; default 64. */
  keep?: number | undefined
  /**
   * When 32 conversations are open: this one waits, when it is first used, until one of them is closed (wait, the default), or
   * TOO_MANY is thrown as it is opened. The `signal` of what waits ends the waiting.
   */
  busy?: (typeof busyChoices)[number] | undefined
}

export interface SavedConversation {
  /** Through all links. */
  path: string
  tokens: number
  /** Of the whole file, and what this save wrote of it. */
  bytes: number
  bytesWritten: number
  /** Was it added to what the file held? */
  isIncremental: boolean
}

/** What a constraint is made for. @internal */
export interface ConstraintParts {
  tokenizer: Tokenizer | undefined
  vocabSize: number
  /** Tokens that end the text. */
  ends: ReadonlySet<number>
}

export interface GenerateOptions<T = unknown> extends Partial<Sampling> {
  /** Tokens to generate at most, 0: only read the prompt; default: until the text ends or the context is full. */
  maxTokens?: number
  /** End at a token that ends a text; default: true for a text prompt, false for ids or a model that knows only ids. */
  stopAtEos?: boolean
  /** Texts that end the generation; they are not part of it. */
  stop?: string[]
  /** Further tokens that end a text, whatever `stopAtEos` says. */
  stopTokens?: number[]
  /**
   * Tokens to guess at most, and check in one step with the one that is computed anyway; 0, the default: none. A guess is
   * what followed when the text last said the same three, or two, tokens. The text stays the same, it may come faster.
   */
  speculate?: number
  /** Numbers from −100 to 100 that are added to the logits of tokens, by their ids; at most 1024. */
  logitBias?: Readonly<Record<number, number>>
  /** Log probabilities of the generated tokens, and of so many of the most likely ones in their place, 0 to 20. */
  logprobs?: number
  /** The same of the prompt's tokens: then all of it is computed, whatever the cache has. */
  promptLogprobs?: number
  /**
   * The text is JSON of this schema, and `value` of the result what it says: a JSON Schema (draft 2020-12; see docs/library.md
   * for what it may hold), or a schema of zod or valibot, whose type the value has. What is not enforced is refused by name.
   */
  schema?: StandardSchema<T> | object | boolean
  /** The whole text matches this regular expression (ECMAScript, flag "u"; no looking around, no back references). */
  pattern?: string
  /** The text is a JSON object. */
  json?: boolean
  /** Control tokens that are a part of the text. @internal */
  shownTokens?: number[]
  /** What may be written, token by token; made once the prompt is known to be good. `speculate` is off with it. @internal */
  constraint?: (parts: ConstraintParts) => Constraint | undefined | Promise<Constraint | undefined>
  signal?: AbortSignal
  /** Told of every token as it is generated. */
  onToken?: (id: number) => void
  /** Told while the prompt is read. */
  onPrefill?: (progress: PrefillProgress) => void
}

/**
 * How likely a token was, by the model's own distribution: before masks, biases, penalties and temperature. `bytes` are what
 * it is in the text, perhaps a part of a character; none of a token that is not shown.
 */
export interface TokenLogprob {
  id: number
  bytes: Uint8Array
  /** Natural logarithm of its probability. */
  logprob: number
}

/** With the most likely tokens in its place, best first; it need not be one of them. */
export interface ScoredToken extends TokenLogprob {
  top: TokenLogprob[]
}

/** What a generation tells as it goes; `end` is the last. What a token's text holds back, as half a character, comes with a later one. */
export type GenerationEvent<T = unknown> =
  | ({ type: 'prefill' } & PrefillProgress)
  | ({ type: 'token'; id: number; text: string } & Partial<ScoredToken>)
  | { type: 'end'; result: Generation<T> }

/** What a request is billed by. */
export interface Usage {
  promptTokens: number
  /** Those of the prompt that were not computed again. */
  cachedTokens: number
  completionTokens: number
}

/** How well guessing went. */
export interface Speculation {
  /** Steps of the engine behind the prompt: without guesses, one for each token. */
  steps: number
  drafted: number
  accepted: number
}

/** Why a generation ended. */
export type Finish = 'length' | 'eos' | 'stop' | 'context'

export interface Generation<T = unknown> {
  /** Generated ids, an ending token included. */
  tokens: number[]
  text: string
  /** Tokens of the prompt, with the one that the conversation ended with before. */
  promptTokens: number
  /** Those that lay in the cache: they were not computed again. */
  cachedTokens: number
  /** Those that the cached text most like the prompt has too: where it differs, the next one was computed again. */
  matchedTokens: number
  finish: Finish
  usage: Usage
  /** Of each generated token, with `logprobs`. */
  logprobs?: ScoredToken[]
  /** Of each of the `promptTokens`, with `promptLogprobs`; of the first one there is nothing. */
  promptLogprobs?: (ScoredToken | undefined)[]
  /** With `schema` or `json`, if the text is whole: what it says. */
  value?: T
  /** What a library's schema finds wrong with it by checks that JSON Schema does not know; there is no value then. */
  issues?: readonly Issue[]
  /** The settings used, with the seed that repeats this text. */
  sampling: Sampling
  prefillSeconds: number
  /** Time of the tokens after the first, which prefill brings. */
  decodeSeconds: number
  /** With `speculate`. */
  speculation?: Speculation
  /** SHA-256 of the last logits, first 16 hex digits: a change of any bit shows. */
  logitsHash: string
}

export interface TemplateOptions {
  /** A built-in template (chatml, llama2, llama3) or a Jinja template; default: the model's own. */
  template?: string | undefined
}

export interface ChatOptions extends TemplateOptions, ConversationOptions {
  /** Instructions before all messages; not every template has a place for them. */
  system?: string | undefined
  signal?: AbortSignal | undefined
}

export interface Embeddings {
  /** f32 (hiddenDim) of each text, of length 1: their products are cosines. */
  vectors: Float32Array[]
  /** Tokens of all texts. */
  promptTokens: number
  /** Was the model made for this? No model that is read here says so: the mean of a language model is a makeshift. */
  isEmbeddingModel: boolean
}

export interface Evaluation {
  /** Tokens of the text, and how many of them were predicted. */
  tokens: number
  predicted: number
  /** Mean loss in nats per predicted token, its standard error, and e to it. */
  nll: number
  nllError: number
  perplexity: number
  /** Loss of each predicted token: the second token of the text is the first. */
  losses: Float32Array
  /** The most likely token at each predicted place. */
  top: Uint32Array
}

/** What a model expects after some consecutive tokens of a text. */
export interface Predictions {
  /** The first of them stands after ids[from]: it is about ids[from + 1]. */
  from: number
  count: number
  /** The most likely token at each of the `count` places. */
  top: Uint32Array
  /** Logits (vocabSize) of place i, 0 … count − 1; valid until the next predictions are asked for. */
  logits(i: number): Float32Array
}

export interface PredictOptions {
  /** Tokens that are read before the positions restart at 0; default: the model's context. */
  window?: number
  /** Places that come together; default: as many as the engine gives. */
  batch?: number
  signal?: AbortSignal | undefined
}
