/** From a source of weights to a model: options are checked, memory counted, the engine opened, threads chosen. */
import {
  type CacheType,
  longestContext,
  type ModelSpec,
  PAGE_TOKENS,
  type Plan,
  pageBytes,
  pageKinds,
  poolBytes,
  windowOf,
} from '../../models/index.ts'
import { KvCache } from '../cache/cache.ts'
import { checkFit, largest } from '../engine/check-fit.ts'
import type { Engine, EngineOptions, ThreadCounts } from '../engine/engine.ts'
import { MAX_MEMORY } from '../engine/limits.ts'
import { chooseBuild } from '../engine/wasm/builds.ts'
import { openWasmEngine } from '../engine/wasm/engine.ts'
import { countPages } from '../engine/wasm/memory.ts'
import { checkSetting, errors, GtaError } from '../errors.ts'
import type { TokenizerFiles } from '../files/tokenizer.ts'
import { defaultCache, defaultContext, settings, titleOf } from '../settings.ts'
import type { OpenOptions } from './api.ts'
import type { Extensions } from './extensions.ts'
import { sourceFor } from './long-context.ts'
import { type Model, modelOf } from './model.ts'
import { Runtime } from './runtime.ts'
import type { ModelSource, WeightSource } from './source.ts'
import { availableThreads, chooseThreads, rememberedThreads, threadsKey } from './tune.ts'

/** Conversations that a model can have open. */
const CONVERSATIONS = 32

/** Throws GtaError before the weights are read if the model cannot run. */
export async function openModel(
  name: string,
  given: ModelSource,
  options: OpenOptions,
  offload?: EngineOptions['offload'],
  extensions: Extensions = {},
): Promise<Model> {
  const engineOptions = { ...optionsFor(given.model.spec, given.plan, options), offload }
  for (const name of ['gpu', 'recover'] as const)
    if (offload && (options[name] ?? 'off') !== 'off' && options[name] !== false)
      throw errors.badOption(titleOf('offload'), `absent with ${titleOf(name)}`, offload.bytes)
  const source = sourceFor(given, engineOptions.context)
  const { model, plan } = source
  // A GPU has memory of its own, and says itself what does not fit.
  if (engineOptions.gpu !== 'on')
    await checkFit(model.spec, plan, { ...engineOptions, threads: engineOptions.threads ?? availableThreads() })
  // The tokenizer first, where it is there: it fails faster than the weights load.
  const read = async (more: TokenizerFiles = {}) => {
    const files = { ...source.files, ...more }
    // A model that knows only ids needs no tokenizer.
    if (!files.tokenizer) return undefined
    const { openTokenizer } = await import('../files/tokenizer.ts')
    return openTokenizer(name, files, extensions.makeTables)
  }
  const early = await read()
  const cache = await openCache(source, engineOptions)
  try {
    const late = early ?? (await read(await source.readTokenizer?.()))
    return modelOf(new Runtime(name, source, engineOptions, cache, late, extensions))
  } catch (error) {
    await cache.close()
    throw error
  }
}

/** An engine and its cache: on the CPU, on a GPU or on both, as is asked for, remembered or measured. */
export async function openCache(source: WeightSource, options: EngineOptions): Promise<KvCache> {
  if (options.gpu === undefined || options.gpu === 'off') return openOnCpu(source, options)
  const { chooseMode } = await import('./tune-gpu.ts')
  const gpu = await chooseMode(source.plan, options, (gpu) => openCache(source, { ...options, gpu }))
  const chosen = { ...options, gpu }
  if (gpu !== 'on') return openOnCpu(source, chosen)
  const { openOnGpu } = await import('./gpu.ts')
  return attachCache(await openOnGpu(source, chosen), source, chosen)
}

/** With the threads that are asked for, remembered or measured; prompts on a GPU with `gpu: 'prefill'`. */
async function openOnCpu(source: WeightSource, options: EngineOptions): Promise<KvCache> {
  const { model, plan, load } = source
  const compiled = await chooseBuild()
  // Fails faster than the weights load.
  if (options.offload && countPages(model.spec, options).streamPages > 0) {
    const { prepareOffload } = await import('../cache/pager.ts')
    prepareOffload(options.offload.directory)
  }
  const open = async ({ decode, prefill }: Partial<ThreadCounts>) => {
    const own = { ...options, threads: decode, batchThreads: prefill }
    const onCpu = (from: typeof load) => openWasmEngine({ spec: model.spec, plan, options: own, compiled, load: from })
    if (options.gpu !== 'prefill') return attachCache(await onCpu(load), source, options)
    const { openForPrompts } = await import('./gpu.ts')
    return attachCache(await openForPrompts(source, own, onCpu), source, options)
  }
  if (!compiled.build.isShared) return open({ decode: 1, prefill: 1 })
  if (options.threads !== undefined) return open({ decode: options.threads, prefill: options.batchThreads })
  const key = threadsKey(plan, compiled.build.name)
  const remembered = await rememberedThreads(key)
  if (remembered) return open({ decode: remembered.decode, prefill: options.batchThreads ?? remembered.prefill })
  const most = availableThreads()
  const cache = await open({ decode: most, prefill: Math.max(most, options.batchThreads ?? 1) })
  try {
    const chosen = await chooseThreads(key, cache)
    cache.threads = { decode: chosen.decode, prefill: options.batchThreads ?? chosen.prefill }
    return cache
  } catch (error) {
    // Weights that give no finite logits say so when they are used.
    if (error instanceof GtaError && error.code === 'NOT_FINITE') {
      cache.threads = { decode: most, prefill: options.batchThreads ?? most }
      cache.rewind(0, 0)
      return cache
    }
    await cache.close()
    throw error
  }
}

async function attachCache(engine: Engine, source: WeightSource, options: EngineOptions): Promise<KvCache> {
  try {
    if (!options.recover) return await KvCache.open(engine, options.offload?.directory)
    const { openReviving } = await import('../engine/reviving.ts')
    return new KvCache(await openReviving(engine, (counts) => reopen(source, options, counts)))
  } catch (error) {
    await engine.close()
    throw error
  }
}

/** Another engine in the place of one that was lost, on the CPU. A GPU has no threads to go by. */
async function reopen(source: WeightSource, options: EngineOptions, lost: ThreadCounts): Promise<Engine> {
  const again = await source.reopen?.()
  if (!again) throw errors.closed()
  try {
    const { model, plan, load } = again
    const compiled = await chooseBuild()
    const counts = options.gpu === 'on' ? await rememberedThreads(threadsKey(plan, compiled.build.name)) : lost
    const { decode, prefill } = counts ?? { decode: availableThreads(), prefill: availableThreads() }
    const { threads = decode, batchThreads = options.threads ?? prefill } = options
    return await openWasmEngine({
      spec: model.spec,
      plan,
      compiled,
      load,
      options: { ...options, threads, batchThreads },
    })
  } finally {
    await again.close()
  }
}

/** The options of an engine that has this model. Throws BAD_OPTION. @internal */
export function optionsFor(spec: ModelSpec, plan: Plan, options: OpenOptions): EngineOptions {
  checkSetting('context', options.context, longestContext(spec))
  for (const name of ['batch', 'maxLogits', 'threads', 'batchThreads', 'gpu'] as const)
    checkSetting(name, options[name])
  const { gpu = settings.gpu.default, gpuForce = false, recover = false } = options
  if (gpuForce && gpu === 'off') throw errors.badOption(titleOf('gpuForce'), `absent without ${titleOf('gpu')}`, true)
  const { context = defaultContext(spec.maxContext), cache = defaultCache(plan.type) } = options
  const { batch = settings.batch.default, maxLogits = settings.maxLogits.default, threads, batchThreads } = options
  if (recover && !isRecoverable(spec))
    throw errors.badOption(
      titleOf('recover'),
      'absent for a model with layers that look back a window or keep a state: what they had is given back',
      true,
    )
  return {
    context,
    cache,
    maxRows: Math.min(batch, context),
    maxLogits,
    conversations: CONVERSATIONS,
    pages: countBlocks(spec, cache, { context, rows: Math.min(batch, context) }, options.cacheMemory),
    threads,
    batchThreads,
    gpu,
    gpuForce,
    recover,
  }
}

/** Can what its conversations had be computed again? @internal */
export function isRecoverable(spec: ModelSpec): boolean {
  return pageKinds(spec).kinds.every((kind) => windowOf(kind.layer) === undefined)
}

/** Blocks for so many bytes, or for one conversation with a block to spare for what it shares. */
function countBlocks(
  spec: ModelSpec,
  cache: CacheType,
  { context, rows }: { context: number; rows: number },
  cacheMemory: number | undefined,
): number {
  const tableBlocks = Math.ceil(context / PAGE_TOKENS)
  if (cacheMemory === undefined) return tableBlocks + 1
  const each = pageBytes(spec, cache)
  const most = MAX_MEMORY
  if (!Number.isInteger(cacheMemory) || cacheMemory < each || cacheMemory > most)
    throw errors.badOption(
      titleOf('cacheMemory'),
      `from ${each} bytes, which ${PAGE_TOKENS} tokens take, to ${most}`,
      cacheMemory,
    )
  const sizes = { rows, tableBlocks, conversations: CONVERSATIONS }
  // Where all layers have a window, more blocks than conversations can have take no more memory.
  const useful = Math.max(CONVERSATIONS * (tableBlocks + 1), Math.floor(cacheMemory / each))
  return largest((blocks) => blocks <= useful && poolBytes(spec, cache, blocks, sizes) <= cacheMemory)
}
