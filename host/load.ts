/**
 * Loading a model in Node: a packed .gta file, or a Hugging Face directory, which is converted in memory. Here all rooms
 * come together that a model in Node has; those that not every model needs are read when one does.
 */
import { fileURLToPath } from 'node:url'
import type { PackingType } from '../models/index.ts'
import type { EngineOptions, Weights } from './engine/engine.ts'
import { checkNames, checkSetting, errors } from './errors.ts'
import type { Conversion, ConvertOptions } from './files/convert.ts'
import { isGguf, openPacked, statModel } from './files/files.ts'
import { locateModel } from './files/locate.ts'
import { distUrl } from './platform/dist.ts'
import { cacheDirectory } from './platform/remember.ts'
import type { OpenOptions } from './runtime/api.ts'
import type { Extensions } from './runtime/extensions.ts'
import type { Model } from './runtime/model.ts'
import { openModel, optionsFor } from './runtime/open.ts'
import type { ModelSource } from './runtime/source.ts'
import { modelSettings, settings, titleOf } from './settings.ts'

export interface LoadOptions extends OpenOptions {
  /** Weight type for a model that is converted while it is loaded; default q8; keep: what a GGUF file has. A packed file has its own. */
  type?: PackingType
  /**
   * Bytes, or a text such as '600M', that the model may take at most: weights, cache, scratch, Node itself and its threads.
   * Counted before anything is allocated: what takes more is an `OutOfMemoryError`. Processes of chat templates are not counted.
   */
  memory?: number | string
  /** Keeps no more of the cache in memory than so many bytes; the rest lies in a file. */
  offload?: number
  /** Where that file is, which has no name and leaves nothing behind; default: $XDG_CACHE_HOME/gta-edge. */
  offloadDirectory?: string
  /** Checks first that every tensor of a packed file is as it was written, which reads it once more; default false. */
  verify?: boolean
}

const loadOptions = [...Object.keys(modelSettings), 'signal', 'onProgress']

/** Makes tables of a tokenizer.json, for openTokenizer(). @internal */
export const makeTables = () => import('./files/tokenizer-tables.ts')

const extensions: Extensions = {
  renderTemplate: async (path, request) => (await import('./text/template/render.ts')).renderTemplate(path, request),
  makeTables,
  sessions: () => import('./sessions/conversation.ts'),
}

/** The embedded stories model. */
export const defaultModel = new URL('../models/stories/stories.gta', distUrl)

/** Path of a config of the papers, such as gta-1b. */
export function paperConfig(name: string): string {
  return fileURLToPath(new URL(`../models/configs/${name}.json`, distUrl))
}

/** Loads a model, by its path or by the name under which it was pulled; throws GtaError before anything large is read if it cannot run. */
export async function load(path: string | URL, options: LoadOptions = {}): Promise<Model> {
  checkNames('load()', options, loadOptions)
  checkSetting('type', options.type)
  checkSetting('cache', options.cache)
  const name = path instanceof URL ? pathOf(path) : await locateModel(path)
  const source = await openSource(name, options)
  try {
    if (options.memory !== undefined) await checkMemoryOf(source, options, options.memory)
    return await openModel(name, source, options, checkOffload(options), extensions)
  } finally {
    await source.close()
  }
}

function pathOf(url: URL): string {
  try {
    return fileURLToPath(url)
  } catch {
    throw errors.badOption('the path', 'a path, or a URL of file:', url.href)
  }
}

/** Throws OutOfMemoryError before the weights are read. */
async function checkMemoryOf(
  { model: { spec }, plan, files: { tokenizerTables }, isConverted = false }: ModelSource,
  options: LoadOptions,
  limit: number | string,
) {
  const [{ checkMemory }, { hasTables }] = await Promise.all([
    import('./runtime/memory.ts'),
    import('./text/table-encoder.ts'),
  ])
  await checkMemory(
    { spec, plan, isConverted, hasTables: tokenizerTables !== undefined && hasTables(tokenizerTables) },
    { ...optionsFor(spec, plan, options), offload: checkOffload(options) },
    limit,
  )
}

/** Converts the Hugging Face directory to a packed file, complete or not at all. */
export async function convert(directory: string, path: string, options: ConvertOptions = {}): Promise<Conversion> {
  const rooms = await import('./files/convert.ts')
  return await rooms.convert(directory, path, options)
}

/** Refuses a path with nothing behind it, and returns where its model lies; undefined stands for the embedded model. */
export async function checkModelPath(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : locateModel(path)
}

/** Opens a model without reading its weights. The caller closes it. @internal */
export async function openSource(name: string, options: LoadOptions): Promise<ModelSource> {
  const { type, signal, onProgress, verify } = options
  const path = await locateModel(name)
  const reopen = () => openSource(path, { type })
  if ((await statModel(path)).isDirectory() || (await isGguf(path))) {
    if (verify) throw errors.notVerifiable(path)
    const [{ openCheckpoint }, { packTensors }] = await Promise.all([
      import('./files/checkpoint.ts'),
      import('./files/tensors.ts'),
    ])
    const { checkpoint, plan } = await openCheckpoint(path, type ?? settings.type.default)
    const load = (weights: Weights) => packTensors(checkpoint, plan, weights.write, { signal, onProgress })
    const { model, files, unused } = checkpoint
    return { model, files, plan, unused, isConverted: true, load, reopen, close: () => checkpoint.close() }
  }
  if (path.endsWith('.json')) throw errors.notAModel(path, 'a .gta file or a model directory', 'a .json file')
  const packed = await openPacked(path)
  const { model, files, plan } = packed
  try {
    if (type && type !== plan.type)
      throw errors.badOption(
        '--type',
        `${plan.type}, the type of the packed file "${path}"; convert the original model again`,
        type,
      )
    if (verify) await packed.verify({ signal })
  } catch (error) {
    await packed.close()
    throw error
  }
  const load = (weights: Weights) => packed.readWeights(weights, { signal, onProgress })
  const verifying = packed.hashes > 0 ? { verify: packed.verify } : {}
  return { model, files, plan, unused: [], load, ...verifying, reopen, close: packed.close }
}

function checkOffload({ offload, offloadDirectory }: LoadOptions): EngineOptions['offload'] {
  if (offload === undefined) {
    if (offloadDirectory === undefined) return undefined
    throw errors.badOption(titleOf('offloadDirectory'), `absent without ${titleOf('offload')}`, offloadDirectory)
  }
  checkSetting('offload', offload)
  return { bytes: offload, directory: offloadDirectory ?? cacheDirectory() }
}
