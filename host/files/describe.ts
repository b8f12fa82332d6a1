/** What a model is, without loading it. */
import { describe, type ModelDescription, type PackingType, type Plan } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { isCheckpoint, openCheckpoint, readConfig } from './checkpoint.ts'
import { openPacked } from './files.ts'
import { readJson } from './json.ts'
import type { ReadOptions } from './source.ts'

export interface ModelFacts {
  path: string
  model: ModelDescription
  /** Set for a packed file: the plan that it holds; and where a GGUF file is to be kept. */
  plan?: Plan
  /** Tensors of a packed file that have a hash; 0: none was written. */
  hashes?: number
}

export interface DescribeOptions extends ReadOptions {
  /** Reads a packed file to its end; throws BAD_FILE with the names of tensors that are not as they were written. */
  verify?: boolean
  /** keep: the plan follows from the tensors of a GGUF file. */
  type?: PackingType | undefined
}

/** What a model is, from a config.json, a directory or a packed file; reads no weights unless it is to verify them. */
export async function describeModel(path: string, options: DescribeOptions = {}): Promise<ModelFacts> {
  const isOriginal = await isCheckpoint(path)
  if (options.verify && (isOriginal || path.endsWith('.json'))) throw errors.notVerifiable(path)
  if (isOriginal && options.type === 'keep') {
    const { checkpoint, plan } = await openCheckpoint(path, 'keep')
    await checkpoint.close()
    return { path, model: checkpoint.model, plan }
  }
  if (isOriginal) {
    const { config, tensors } = await readConfig(path)
    return { path, model: describe(config, tensors) }
  }
  if (path.endsWith('.json')) return { path, model: describe(await readJson(path)) }
  const { model, plan, hashes, verify, close } = await openPacked(path)
  try {
    if (options.verify) await verify(options)
    return { path, model, plan, hashes }
  } finally {
    await close()
  }
}
