/**
 * What a model will do on a device before it runs: the passes of a prompt and of a token walked, memory added up, the time
 * of a generation. Settings are checked here; pure, so that the page of the viewer uses it as the command does.
 */
import {
  type CacheType,
  cacheBytes,
  cost,
  type ModelDescription,
  type ModelSpec,
  PAGE_TOKENS,
  type PackingType,
  type Plan,
  planModel,
  poolBytes,
} from '../../../models/index.ts'
import { MAX_MEMORY } from '../../engine/limits.ts'
import { errors } from '../../errors.ts'
import { defaultCache, settings } from '../../settings.ts'
import { type ExactOptions, enginePrompt, exactConvention, type Formats, widthsOf } from './exact.ts'
import type { Hardware } from './hardware.ts'
import { llmViewerConvention, type Widths } from './llm-viewer.ts'
import type { Operation } from './operation.ts'
import { operationsOf } from './operations.ts'
import { type Convention, type Pass, type PassResult, type Stage, walk } from './walk.ts'

export const analysisModes = ['exact', 'llm-viewer'] as const
export type AnalysisMode = (typeof analysisModes)[number]

export interface AnalyzeSettings extends ExactOptions {
  /** Default exact. */
  mode?: AnalysisMode
  /** The engine's formats (default q8 and int8) … */
  type?: PackingType
  cache?: CacheType
  /** Tokens of a prompt that the engine reads at once; default 64. */
  rowsPerStep?: number | undefined
  /** … or plain widths in bits, together; default in llm-viewer mode 16, 16, 16. */
  widths?: Widths
  /** Scores stay on the chip. The engine always does so. */
  flash?: boolean
}

export interface MemoryUse {
  /** Bytes, together. */
  total: number
  weights: number
  cache: number
  /** Activations that one layer leaves; they are forgotten with it. */
  activations: number
}

/** One model on one device, with formats: everything that can be asked of the pair. */
export class Analysis {
  readonly model: ModelDescription
  readonly hardware: Hardware
  readonly mode: AnalysisMode
  readonly formats: Formats
  readonly isFlash: boolean
  readonly operations: Operation[]
  readonly plan: Plan
  private readonly convention: Convention

  /** Throws BAD_OPTION for settings that contradict each other or the device. */
  constructor(model: ModelDescription, hardware: Hardware, settings: AnalyzeSettings = {}) {
    this.model = model
    this.hardware = hardware
    this.mode = settings.mode ?? 'exact'
    this.formats = formatsOf(settings)
    this.isFlash = this.formats.is === 'engine' || settings.flash === true
    const { spec } = model
    const type = this.formats.is === 'engine' ? this.formats.type : 'q8'
    this.plan = planModel(model, type)
    this.operations = operationsOf(spec, this.plan, this.isFlash)
    this.convention =
      this.mode === 'llm-viewer'
        ? llmViewerConvention(spec, hardware, widthsOf(this.formats))
        : exactConvention(hardware, this.formats, settings)
  }

  pass(stage: Stage, batch: number, seqlen: number): PassResult {
    const pass: Pass = { stage, batch, seqlen }
    return walk(this.operations, this.convention, pass)
  }

  /** What lies in memory while a pass runs. */
  memory(pass: PassResult): MemoryUse {
    return this.mode === 'llm-viewer' ? this.memoryOfLlmViewer(pass) : this.exactMemory(pass)
  }

  /** Seconds to read a prompt and to generate `gen` tokens in each of `batch` conversations. */
  generation(batch: number, prompt: number, gen: number): { seconds: number; prefillSeconds: number } {
    const prefillSeconds = this.pass('prefill', batch, prompt).total.seconds
    // The first token comes from the prompt's logits. The tool generates it once more.
    const passes = this.mode === 'llm-viewer' ? gen : gen - 1
    let seconds = prefillSeconds
    for (let i = 0; i < passes; i++) seconds += this.pass('decode', batch, prompt + i).total.seconds
    return { seconds, prefillSeconds }
  }

  /** Seconds of a pass, nothing else: for sweeps and break-even points. */
  seconds(stage: Stage, batch: number, seqlen: number): number {
    return this.pass(stage, batch, seqlen).total.seconds
  }

  /** Bytes of weights and cache where one engine cannot address them; undefined: it can, or it is another's engine. */
  addressableExcess(batch: number, seqlen: number): number | undefined {
    if (this.formats.is !== 'engine') return undefined
    const bytes = this.plan.bytes + this.pagesBytes(batch, seqlen, this.formats)
    return bytes > MAX_MEMORY ? bytes : undefined
  }

  /** Bytes of the cache that `batch` conversations of so many positions take in the engine. */
  private pagesBytes(
    batch: number,
    positions: number,
    { cache, rowsPerStep }: Extract<Formats, { is: 'engine' }>,
  ): number {
    const tableBlocks = Math.ceil(positions / PAGE_TOKENS)
    const sizes = { rows: rowsPerStep, tableBlocks, conversations: batch }
    return poolBytes(this.model.spec, cache, batch * tableBlocks, sizes)
  }

  private memoryOfLlmViewer(pass: PassResult): MemoryUse {
    const [prefill, decode] = (['prefill', 'decode'] as const).map((stage) =>
      stage === pass.stage ? pass : this.pass(stage, pass.batch, pass.seqlen),
    ) as [PassResult, PassResult]
    const weights = prefill.total.weights
    const activations = pass.operations.reduce((sum, { stores }) => sum + stores, 0)
    const footprint = weights + prefill.total.cacheWrites + decode.total.cacheWrites
    return {
      total: activations + footprint,
      weights,
      cache:
        pass.stage === 'prefill' ? prefill.total.cacheWrites : prefill.total.cacheWrites + decode.total.cacheWrites,
      activations,
    }
  }

  /** Weights as they are packed, the cache in whole pages, activations of the rows of one step. */
  private exactMemory({ stage, batch, seqlen, operations }: PassResult): MemoryUse {
    const { spec } = this.model
    const positions = seqlen + (stage === 'decode' ? 1 : 0)
    const { formats } = this
    const tokens = stage === 'prefill' ? batch * seqlen : batch
    const share = formats.is === 'engine' ? Math.min(1, formats.rowsPerStep / tokens) : 1
    const activations = share * operations.reduce((sum, { stores }) => sum + stores, 0)
    const [weights, cache] =
      formats.is === 'engine'
        ? [this.plan.bytes, this.pagesBytes(batch, positions, formats)]
        : [
            (cost(this.model).parameters * formats.widths.weights) / 8,
            batch * plainCacheBytes(spec, positions, formats.widths.cache),
          ]
    return { total: weights + cache + activations, weights, cache, activations }
  }
}

/** Rows of so many bits a number; states are f32. */
function plainCacheBytes(spec: ModelSpec, positions: number, bits: number): number {
  const { elements, states } = cacheBytes(spec, 'int8', positions)
  return (elements * bits) / 8 + states
}

/** Bytes that one more token of a conversation takes. */
export function cacheBytesPerToken({ model, formats }: Analysis): number {
  const { spec } = model
  if (formats.is === 'plain') return (cacheBytes(spec, 'int8', 1).elements * formats.widths.cache) / 8
  const { elements, scales } = cacheBytes(spec, formats.cache, 1)
  return elements + scales
}

/** Throws BAD_OPTION for settings that contradict each other. */
function formatsOf({
  mode,
  type,
  cache,
  widths,
  flash,
  threads,
  bandwidth,
  rowsPerStep = enginePrompt,
}: AnalyzeSettings): Formats {
  const isReference = mode === 'llm-viewer'
  if (isReference && (type !== undefined || cache !== undefined))
    throw errors.badOption(
      '--type and --cache',
      'left out with --mode llm-viewer, which takes --w-bit, --a-bit and --kv-bit',
      type ?? cache,
    )
  if (isReference && (threads !== undefined || bandwidth === 'sustained'))
    throw errors.badOption(
      '--threads and --bandwidth sustained',
      'left out with --mode llm-viewer, which knows peaks only',
      threads ?? bandwidth,
    )
  if (widths !== undefined && (type !== undefined || cache !== undefined))
    throw errors.badOption(
      '--type and --cache',
      "left out with --w-bit, --a-bit and --kv-bit: they are the engine's formats, those are another's",
      type ?? cache,
    )
  for (const [name, bits] of Object.entries(widths ?? {}))
    if (!(bits > 0 && bits <= 32)) throw errors.badOption(`width of ${name}`, 'more than 0 and at most 32 bits', bits)
  if (isReference) return { is: 'plain', widths: widths ?? { weights: 16, activations: 16, cache: 16 } }
  if (widths) {
    if (threads !== undefined)
      throw errors.badOption('--threads', "left out with --w-bit, --a-bit and --kv-bit: it is the engine's", threads)
    return { is: 'plain', widths }
  }
  if (flash === false)
    throw errors.badOption('flash', "left out with the engine's formats: it never keeps scores", flash)
  if (type === 'keep')
    throw errors.badOption('--type', 'q8, q4 or f32: what is kept of a GGUF file is not analyzed', type)
  return {
    is: 'engine',
    type: type ?? settings.type.default,
    cache: cache ?? defaultCache(type ?? settings.type.default),
    rowsPerStep,
  }
}
