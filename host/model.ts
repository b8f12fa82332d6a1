/**
 * A loaded model: the public face of the runtime. `load()` takes a packed .gta file or a Hugging Face directory, which
 * it converts in memory; `generate()` streams text.
 */
import { fileURLToPath } from 'node:url'
import {
  type CacheType,
  cacheTypes,
  type ModelDescription,
  type ModelSpec,
  PAGE_TOKENS,
  type Plan,
  pageBytes,
  type WeightType,
  weightBytesPerToken,
  weightTypes,
} from '../models/index.ts'
import { Conversation, type ConversationOptions, checkContext } from './conversation.ts'
import { type ModelFiles, statModel } from './convert/checkpoint.ts'
import { openCheckpoint } from './convert/convert.ts'
import { packTensors } from './convert/pack.ts'
import { openPacked } from './convert/packed.ts'
import type { Engine, EngineOptions, Sampling, ThreadCounts } from './engine.ts'
import { checkChoice, checkNames, errors, GtaError } from './errors.ts'
import { type Evaluation, evaluate, type Predictions, type PredictOptions, predict } from './evaluate.ts'
import { checkFit } from './fit.ts'
import type { GenerateOptions, Generation } from './generate.ts'
import { DEFAULT_CONTEXT, MAX_MEMORY } from './limits.ts'
import { cacheDirectory } from './remember.ts'
import { recommendedSampling } from './sampling.ts'
import { Scheduler } from './scheduler.ts'
import { findSession } from './session/conversation.ts'
import { bosOf, eosOf } from './special-tokens.ts'
import { Tokenizer } from './tokenizer/tokenizer.ts'
import { availableThreads, measureThreads, rememberedThreads, rememberThreads, threadsKey } from './tune.ts'
import { chooseBuild } from './wasm/builds.ts'
import { MAX_THREADS, openWasmEngine } from './wasm/engine.ts'

export interface LoadOptions {
  /** Weight type for a model that is converted while it is loaded; default q8. A packed file has its own. */
  type?: WeightType
  /** Element type of the KV cache; default f32 with f32 weights, else int8. */
  cache?: CacheType
  /** Positions per conversation; default: the model's own, at most 4096. */
  context?: number
  /** Bytes of the cache, which all conversations share; default: enough for one that fills its context. */
  cacheMemory?: number
  /** Keeps no more of the cache in memory than so many bytes; the rest lies in a file. */
  offload?: number
  /** Where that file is, which has no name and leaves nothing behind; default: $XDG_CACHE_HOME/gta-edge. */
  offloadDirectory?: string
  /** Rows of one step that may have logits; more make `evaluate` faster and take vocabSize · 4 bytes each. Default 32. */
  maxLogits?: number
  /** Rows of one step at most: prompts are read in slices of so many tokens. Default 64. */
  batch?: number
  /** Threads of decode; default: what was measured to be fastest when the model was first loaded on this machine. */
  threads?: number
  /** Threads of prefill; default: as many as `threads` if those are given, else measured too. */
  batchThreads?: number
  signal?: AbortSignal
  onProgress?: (progress: { done: number; total: number }) => void
}

const loadOptions = [
  'type',
  'cache',
  'context',
  'cacheMemory',
  'offload',
  'offloadDirectory',
  'maxLogits',
  'batch',
  'threads',
  'batchThreads',
  'signal',
  'onProgress',
]

/** Conversations that a model can have open, and rows of a step that they decode. */
const CONVERSATIONS = 32

/** The embedded stories model. */
export const defaultModel = new URL('../models/stories/stories.gta', import.meta.url)

/** Path of a config of the papers, such as gta-1b. */
export function paperConfig(name: string): string {
  return fileURLToPath(new URL(`../models/configs/${name}.json`, import.meta.url))
}

/** A text, or token ids that are taken as they are. */
export type Prompt = string | ArrayLike<number>

function isIds(value: unknown): value is ArrayLike<number> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))
}

/** A model whose weights are still to be loaded. */
export interface Source {
  model: ModelDescription
  files: ModelFiles
  plan: Plan
  /** Tensors of the checkpoint that the model does not use. */
  unused: string[]
  load(target: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** Loads a model; throws GtaError or ModelError before anything large is read if it cannot run. */
export async function load(path: string | URL, options: LoadOptions = {}): Promise<Model> {
  checkNames('load()', options, loadOptions)
  checkChoice('type', options.type, weightTypes)
  checkChoice('cache', options.cache, cacheTypes)
  const name = path instanceof URL ? fileURLToPath(path) : path
  const source = await openSource(name, options)
  try {
    const { model, plan } = source
    const engineOptions = checkOptions(model.spec, plan, options)
    checkFit(model.spec, plan, { ...engineOptions, threads: engineOptions.threads ?? availableThreads() })
    // The tokenizer first: it fails faster than the weights load.
    const { tokenizer, tokenizerConfig } = source.files
    const text = tokenizer && new Tokenizer(name, tokenizer, tokenizerConfig)
    const engine = await openEngine(source, engineOptions)
    return new Model(name, source, engineOptions, engine, text)
  } finally {
    await source.close()
  }
}

/** Refuses a path with nothing behind it; undefined stands for the embedded model. */
export async function checkModelPath(path: string | undefined): Promise<void> {
  if (path !== undefined) await statModel(path)
}

export async function openSource(path: string, options: LoadOptions): Promise<Source> {
  const { type, signal, onProgress } = options
  if ((await statModel(path)).isDirectory()) {
    const { checkpoint, plan } = await openCheckpoint(path, type ?? 'q8')
    const load = (target: Uint8Array) =>
      packTensors(checkpoint, plan, (offset, bytes) => target.set(bytes, offset), { signal, onProgress })
    const { model, files, unused } = checkpoint
    return { model, files, plan, unused, load, close: () => checkpoint.close() }
  }
  if (path.endsWith('.json')) throw errors.notAModel(path, 'a .gta file or a model directory', 'a .json file')
  const packed = await openPacked(path)
  const { model, files, plan } = packed
  if (type && type !== plan.type) {
    await packed.close()
    throw errors.badOption(
      '--type',
      `${plan.type}, the type of the packed file "${path}"; convert the original model again`,
      type,
    )
  }
  const load = (target: Uint8Array) => packed.readWeights(target, { signal, onProgress })
  return { model, files, plan, unused: [], load, close: packed.close }
}

/** An engine with the threads that are asked for, remembered or measured. */
export async function openEngine(
  { model, plan, load }: Pick<Source, 'model' | 'plan' | 'load'>,
  options: EngineOptions,
): Promise<Engine> {
  const compiled = await chooseBuild()
  const open = (threads: Partial<ThreadCounts>) =>
    openWasmEngine({
      spec: model.spec,
      plan,
      options: { ...options, threads: threads.decode, batchThreads: threads.prefill },
      compiled,
      load,
    })
  if (options.threads !== undefined) return open({ decode: options.threads, prefill: options.batchThreads })
  const key = threadsKey(plan, compiled.build.name)
  const remembered = await rememberedThreads(key)
  if (remembered) return open({ decode: remembered.decode, prefill: options.batchThreads ?? remembered.prefill })
  const most = availableThreads()
  const engine = await open({ decode: most, prefill: Math.max(most, options.batchThreads ?? 1) })
  try {
    const measured = await measureThreads(engine)
    engine.threads = { decode: measured.decode, prefill: options.batchThreads ?? measured.prefill }
    await rememberThreads(key, measured)
    return engine
  } catch (error) {
    // Weights that give no finite logits say so when they are used.
    if (error instanceof GtaError && error.code === 'NOT_FINITE') {
      engine.threads = { decode: most, prefill: options.batchThreads ?? most }
      engine.rewind(0, 0)
      return engine
    }
    await engine.close()
    throw error
  }
}

function checkOptions(spec: ModelSpec, plan: Plan, options: LoadOptions): EngineOptions {
  const count = (name: string, value: number, max: number) => {
    if (!Number.isInteger(value) || value < 1 || value > max)
      throw errors.badOption(name, `a whole number from 1 to ${max}`, value)
    return value
  }
  const context = count(
    'the context (-c)',
    options.context ?? Math.min(spec.maxContext, DEFAULT_CONTEXT),
    spec.maxContext,
  )
  const cache = options.cache ?? (plan.type === 'f32' ? 'f32' : 'int8')
  return {
    context,
    cache,
    maxRows: Math.min(count('batch', options.batch ?? 64, 4096), context),
    maxLogits: count('maxLogits', options.maxLogits ?? CONVERSATIONS, 4096),
    conversations: CONVERSATIONS,
    pages: countPages(spec, cache, context, options.cacheMemory),
    offload: checkOffload(options),
    threads: options.threads === undefined ? undefined : count('threads (-t)', options.threads, MAX_THREADS),
    batchThreads:
      options.batchThreads === undefined ? undefined : count('batchThreads (-tb)', options.batchThreads, MAX_THREADS),
  }
}

/** Pages for so many bytes, or for one conversation with a page to spare for what it shares. */
function countPages(spec: ModelSpec, cache: CacheType, context: number, cacheMemory: number | undefined): number {
  if (cacheMemory === undefined) return Math.ceil(context / PAGE_TOKENS) + 1
  const each = pageBytes(spec, cache)
  const most = MAX_MEMORY
  if (!Number.isInteger(cacheMemory) || cacheMemory < each || cacheMemory > most)
    throw errors.badOption(
      'cacheMemory (--cache-memory)',
      `from ${each} bytes, which ${PAGE_TOKENS} tokens take, to ${most}`,
      cacheMemory,
    )
  return Math.floor(cacheMemory / each)
}

function checkOffload({ offload, offloadDirectory }: LoadOptions): EngineOptions['offload'] {
  if (offload === undefined) {
    if (offloadDirectory === undefined) return undefined
    throw errors.badOption('offloadDirectory (--offload-dir)', 'absent without offload (--offload)', offloadDirectory)
  }
  if (!Number.isInteger(offload) || offload < 1)
    throw errors.badOption('offload (--offload)', 'a number of bytes', offload)
  return { bytes: offload, directory: offloadDirectory ?? cacheDirectory() }
}

export class Model {
  readonly path: string
  readonly spec: ModelSpec
  readonly weightType: WeightType
  readonly cacheType: CacheType
  /** Positions per conversation. */
  readonly context: number
  /** What generation_config.json recommends. */
  readonly recommended: Partial<Sampling>
  readonly tokenizer: Tokenizer | undefined
  /** Tensors of the checkpoint that the model does not use: harmless, or a sign of the wrong config.json. */
  readonly unusedTensors: string[]
  /** Weight bytes that one decoded token reads. */
  readonly bytesPerToken: number
  readonly engine: Engine
  /** Tokens that end a text: those of config.json and of generation_config.json. */
  readonly eos: ReadonlySet<number>
  private readonly bos: number | undefined
  readonly scheduler: Scheduler
  /** Numbers of conversations that are not open. */
  private readonly free: number[]

  /** Use `load()`. */
  constructor(
    path: string,
    { model, files, plan, unused }: Pick<Source, 'model' | 'files' | 'plan' | 'unused'>,
    options: EngineOptions,
    engine: Engine,
    tokenizer: Tokenizer | undefined,
  ) {
    this.path = path
    this.unusedTensors = unused
    this.spec = model.spec
    this.weightType = plan.type
    this.cacheType = options.cache
    this.context = options.context
    this.recommended = recommendedSampling(files.generation)
    this.tokenizer = tokenizer
    this.bytesPerToken = weightBytesPerToken(plan, model.spec)
    this.engine = engine
    this.scheduler = new Scheduler(engine)
    this.free = Array.from({ length: engine.conversations }, (_, id) => id)
    this.eos = eosOf(model.spec, files.generation)
    this.bos = bosOf(model.spec, files.tokenizerConfig)
  }

  /**
   * Ids of a prompt: text with the model's begin token before it unless something precedes it, or ids as they are. Throws
   * when there are none.
   */
  promptIds(prompt: Prompt, isContinued = false): number[] {
    if (typeof prompt !== 'string' && !isIds(prompt))
      throw errors.badOption('the prompt', 'a text or a list of token ids', prompt)
    // An empty text is refused even where a begin token would make it one: nobody means it.
    if (prompt.length === 0) throw errors.emptyPrompt()
    if (typeof prompt !== 'string') return Array.from(prompt)
    const ids = this.requireTokenizer().encode(prompt)
    if (this.bos !== undefined && !isContinued) ids.unshift(this.bos)
    if (ids.length === 0) throw errors.emptyPrompt()
    return ids
  }

  /** Ids of a corpus for `evaluate`: special tokens in the text are themselves; begins with the begin token. */
  corpusIds(text: string): number[] {
    const ids = this.requireTokenizer().encodeCorpus(text)
    return this.bos === undefined || ids[0] === this.bos ? ids : [this.bos, ...ids]
  }

  /** A new conversation; close it, or it keeps its part of the cache. Throws BUSY if all are taken. */
  open(options: ConversationOptions = {}): Conversation {
    const id = this.free[0]
    if (id === undefined) throw errors.tooManyConversations(this.engine.conversations)
    const conversation = new Conversation(this, id, options, () => {
      this.engine.rewind(id, 0)
      this.free.push(id)
    })
    this.free.shift()
    return conversation
  }

  /**
   * Brings back a conversation that was saved. All of it is checked before anything of this model is touched. Throws
   * NOT_FOUND, BAD_SESSION, OTHER_VERSION, OTHER_MODEL, CONTEXT_FULL or OutOfMemoryError.
   */
  async restore(path: string, options: ConversationOptions & { signal?: AbortSignal } = {}): Promise<Conversation> {
    const { signal, ...rest } = options
    const { engine, spec } = this
    checkContext(rest, this)
    const found = await findSession(engine, path, spec.vocabSize, spec.maxContext, signal)
    try {
      const conversation = this.open(rest)
      try {
        await conversation.restore(found)
        return conversation
      } catch (error) {
        conversation.close()
        throw error
      }
    } finally {
      await found.reader.close()
    }
  }

  /**
   * Streams the continuation of a prompt, piece by piece; the iterator's return value tells how it went. A conversation
   * of its own, which is forgotten; what earlier prompts have in common with it need not be computed again.
   */
  async *generate(
    prompt: Prompt,
    options: GenerateOptions & ConversationOptions = {},
  ): AsyncGenerator<string, Generation> {
    if (prompt === undefined) throw errors.badOption('the prompt', 'a text or a list of token ids', prompt)
    const { contextPolicy, keep, ...rest } = options
    const conversation = this.open({ contextPolicy, keep })
    try {
      return yield* conversation.generate(prompt, rest)
    } finally {
      conversation.close()
    }
  }

  /** Logits (vocabSize) after the last token of a prompt. */
  async logits(prompt: Prompt): Promise<Float32Array> {
    using conversation = this.open()
    return await conversation.logits(prompt)
  }

  /** Loss of every token of a text given those before it, in windows of the context. */
  async evaluate(
    ids: number[],
    options: { signal?: AbortSignal; onProgress?: (done: number) => void } = {},
  ): Promise<Evaluation> {
    return await evaluate(this, ids, options)
  }

  /** Logits at every place of a text, a few at a time, in windows of the context; in a conversation of its own. */
  predict(ids: number[], options: PredictOptions = {}): AsyncGenerator<Predictions, void> {
    return predict(this, ids, options)
  }

  async close(): Promise<void> {
    await this.engine.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  private requireTokenizer(): Tokenizer {
    if (!this.tokenizer) throw errors.badTokenizer(this.path, 'is missing (no tokenizer.json)')
    return this.tokenizer
  }
}
