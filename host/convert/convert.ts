/** Converting a Hugging Face directory to a packed file, and telling what a model is without loading it. */
import { stat } from 'node:fs/promises'
import { cost, describe, type ModelDescription, type Plan, planModel, type WeightType } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { checkFit } from '../fit.ts'
import { Checkpoint, readJson, readModelFiles } from './checkpoint.ts'
import { writePacked } from './pack.ts'
import { openPacked } from './packed.ts'

export interface ConvertOptions {
  /** Default q8. */
  type?: WeightType
  signal?: AbortSignal
  onProgress?: (progress: { done: number; total: number }) => void
}

export interface Conversion {
  path: string
  type: WeightType
  bytes: number
  parameters: number
  /** Tensors of the checkpoint that the model does not use. */
  unused: string[]
}

/** Converts `directory` to the packed file `path`, complete or not at all. */
export async function convert(directory: string, path: string, options: ConvertOptions = {}): Promise<Conversion> {
  const found = await stat(directory).catch(() => undefined)
  if (!found) throw errors.notFound(directory)
  if (!found.isDirectory()) throw errors.notAModel(directory, 'a Hugging Face directory to convert', 'a file')
  const type = options.type ?? 'q8'
  const files = await readModelFiles(directory)
  const checkpoint = await Checkpoint.open(directory, files)
  try {
    refuseUnusable(checkpoint.model, type)
    const plan = planModel(checkpoint.model, type)
    const { bytes } = await writePacked(path, checkpoint, plan, options)
    return { path, type, bytes, parameters: cost(checkpoint.model).parameters, unused: checkpoint.unused }
  } finally {
    await checkpoint.close()
  }
}

/** A packed file that no engine could hold is not worth the time and the disk. */
function refuseUnusable(model: ModelDescription, type: WeightType): void {
  const options = { context: 1, cache: 'int8' as const, maxRows: 1, maxLogits: 1, conversations: 1 }
  checkFit(model.spec, planModel(model, type), options, Number.POSITIVE_INFINITY)
}

export interface ModelFacts {
  path: string
  model: ModelDescription
  /** Set for a packed file: the plan that it holds. */
  plan?: Plan
}

/** What a model is, from a config.json, a directory or a packed file; reads no weights. */
export async function describeModel(path: string): Promise<ModelFacts> {
  const found = await stat(path).catch(() => undefined)
  if (!found) throw errors.notFound(path)
  if (found.isDirectory()) return { path, model: describe((await readModelFiles(path)).config) }
  if (path.endsWith('.json')) return { path, model: describe(await readJson(path)) }
  const { model, plan, close } = await openPacked(path)
  await close()
  return { path, model, plan }
}
