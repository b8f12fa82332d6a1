/** What a model is, without loading it. */
import { describe, type ModelDescription, type Plan } from '../../models/index.ts'
import { errors } from '../errors.ts'
import type { About } from './about.ts'
import { isCheckpoint, readConfig } from './checkpoint.ts'
import { openPacked } from './files.ts'
import { readJson } from './json.ts'
import type { ReadOptions } from './source.ts'

export interface ModelFacts {
  path: string
  model: ModelDescription
  /** Its name, licence and source, as its files say them. */
  about?: About | undefined
  /** Set for a packed file: the plan that it holds. */
  plan?: Plan
  /** Tensors of a packed file that have a hash; 0: none was written. */
  hashes?: number
}

export interface DescribeOptions extends ReadOptions {
  /** Reads a packed file to its end; throws BAD_FILE with the names of tensors that are not as they were written. */
  verify?: boolean
}

/** What a model is, from a config.json, a directory or a packed file; reads no weights unless it is to verify them. */
export async function describeModel(path: string, options: DescribeOptions = {}): Promise<ModelFacts> {
  const isOriginal = await isCheckpoint(path)
  if (options.verify && (isOriginal || path.endsWith('.json'))) throw errors.notVerifiable(path)
  if (isOriginal) {
    const { config, about, tensors } = await readConfig(path)
    return { path, about, model: describe(config, tensors) }
  }
  if (path.endsWith('.json')) return { path, model: describe(await readJson(path)) }
  const { files, model, plan, hashes, verify, close } = await openPacked(path)
  try {
    if (options.verify) await verify(options)
    return { path, about: files.about, model, plan, hashes }
  } finally {
    await close()
  }
}
