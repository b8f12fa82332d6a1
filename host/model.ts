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
  type Plan,
  type WeightType,
  weightBytesPerToken,
  weightTypes,
} from '../models/index.ts'
import { type ModelFiles, statModel } from './convert/checkpoint.ts'
import { openCheckpoint } from './convert/convert.ts'
import { packTensors } from './convert/pack.ts'
import { openPacked } from './convert/packed.ts'
import { type Engine, type EngineOptions, greedy, type Sampling, type ThreadCounts } from './engine.ts'
import { checkChoice, checkNames, checkTokens, errors, GtaError } from './errors.ts'
import { type Evaluation, evaluate } from './evaluate.ts'
import { checkFit } from './fit.ts'
import { type GenerateOptions, type Generation, generate } from './generate.ts'
import { DEFAULT_CONTEXT } from './limits.ts'
import { recommendedSampling } from './sampling.ts'
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
  /** Rows of one step that may have logits; more make `evaluate` faster and take vocabSize · 4 bytes each. Default 1. */
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
  'maxLogits',
  'batch',
  'threads',
  'batchThreads',
  'signal',
  'onProgress',
]

/** The embedded stories model. */
export const defaultModel = new URL('../models/stories/stories.gta', import.meta.url)

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
  return {
    context,
    cache: options.cache ?? (plan.type === 'f32' ? 'f32' : 'int8'),
    maxRows: Math.min(count('batch', options.batch ?? 64, 4096), context),
    maxLogits: count('maxLogits', options.maxLogits ?? 1, 4096),
    conversations: 1,
    threads: options.threads === undefined ? undefined : count('threads (-t)', options.threads, MAX_THREADS),
    batchThreads:
      options.batchThreads === undefined ? undefined : count('batchThreads (-tb)', options.batchThreads, MAX_THREADS),
  }
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
  private isGenerating = false

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
    this.eos = eosOf(model.spec, files.generation)
    this.bos = bosOf(model.spec, files.tokenizerConfig)
  }

  /** Ids of a prompt: text with the model's begin token before it, or ids as they are. Throws when there are none. */
  promptIds(prompt: Prompt): number[] {
    if (typeof prompt !== 'string' && !isIds(prompt))
      throw errors.badOption('the prompt', 'a text or a list of token ids', prompt)
    // An empty text is refused even where a begin token would make it one: nobody means it.
    if (prompt.length === 0) throw errors.emptyPrompt()
    if (typeof prompt !== 'string') return Array.from(prompt)
    const ids = this.requireTokenizer().encode(prompt)
    if (this.bos !== undefined) ids.unshift(this.bos)
    if (ids.length === 0) throw errors.emptyPrompt()
    return ids
  }

  /** Ids of a corpus for `evaluate`: special tokens in the text are themselves; begins with the begin token. */
  corpusIds(text: string): number[] {
    const ids = this.requireTokenizer().encodeCorpus(text)
    return this.bos === undefined || ids[0] === this.bos ? ids : [this.bos, ...ids]
  }

  /** Streams the continuation of a prompt, piece by piece; the iterator's return value tells how it went. */
  async *generate(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<string, Generation> {
    const release = this.acquire()
    try {
      return yield* generate(this, prompt, options)
    } finally {
      release()
    }
  }

  /** Logits (vocabSize) after the last token of a prompt. */
  async logits(prompt: Prompt): Promise<Float32Array> {
    const release = this.acquire()
    try {
      await this.prefill(this.promptIds(prompt), greedy)
      return this.engine.logits(0).slice()
    } finally {
      release()
    }
  }

  /** Loss of every token of a text given those before it, in windows of the context. */
  async evaluate(
    ids: number[],
    options: { signal?: AbortSignal; onProgress?: (done: number) => void } = {},
  ): Promise<Evaluation> {
    const release = this.acquire()
    try {
      return await evaluate(this, ids, options)
    } finally {
      release()
    }
  }

  /** Reads a prompt from position 0 and resolves to the first sampled token. */
  async prefill(
    ids: number[],
    sampling: Sampling,
    options: { signal?: AbortSignal; onProgress?: (done: number) => void } = {},
  ): Promise<number> {
    const { engine, context, spec } = this
    // A prompt may fill the context: the first token after it needs no row of its own.
    if (ids.length > context) throw errors.contextFull(ids.length, context, spec.maxContext)
    checkTokens(ids, spec.vocabSize)
    engine.rewind(0, 0)
    for (let from = 0; ; from += engine.maxRows) {
      options.signal?.throwIfAborted()
      const slice = ids.slice(from, from + engine.maxRows)
      const isLast = from + slice.length === ids.length
      const rows = slice.map((token, i) => ({ conversation: 0, position: from + i, token }))
      const [next] = await engine.step(
        rows.map((row, i) => (isLast && i === rows.length - 1 ? { ...row, sampling } : row)),
      )
      options.onProgress?.(from + slice.length)
      if (isLast) return next as number
    }
  }

  async close(): Promise<void> {
    await this.engine.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  private acquire(): () => void {
    if (this.isGenerating) throw errors.busy()
    this.isGenerating = true
    return () => {
      this.isGenerating = false
    }
  }

  private requireTokenizer(): Tokenizer {
    if (!this.tokenizer) throw errors.badTokenizer(this.path, 'is missing (no tokenizer.json)')
    return this.tokenizer
  }
}

function eosOf({ eos, vocabSize }: ModelSpec, generation: unknown): Set<number> {
  const more = (generation as { eos_token_id?: unknown } | undefined)?.eos_token_id
  const isId = (id: unknown): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize
  return new Set([...eos, ...[more].flat().filter(isId)])
}

/**
 * The token before every text. A tokenizer_config that says add_bos_token: false is obeyed, unless begin and end are one
 * token: that is a separator between documents, and the model has never seen a text without it.
 */
function bosOf({ bos, eos }: ModelSpec, tokenizerConfig: unknown): number | undefined {
  const isOff = (tokenizerConfig as { add_bos_token?: unknown } | undefined)?.add_bos_token === false
  return bos !== undefined && isOff && !eos.includes(bos) ? undefined : bos
}
