/** What a model is, without loading it. */
import { describe, type ModelDescription, type Plan } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { readJson, readModelFiles, tensorNames } from './checkpoint.ts'
import { openPacked, statModel } from './files.ts'
import type { ReadOptions } from './source.ts'

export interface ModelFacts {
  path: string
  model: ModelDescription
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
  const isPacked = (await statModel(path)).isFile() && !path.endsWith('.json')
  if (options.verify && !isPacked) throw errors.notVerifiable(path)
  if ((await statModel(path)).isDirectory()) {
    const { config } = await readModelFiles(path)
    return { path, model: describe(config, await tensorNames(path)) }
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
