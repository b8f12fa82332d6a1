/** What a model is, without loading it. */
import { describe, type ModelDescription, type Plan } from '../../models/index.ts'
import { readJson, readModelFiles, tensorNames } from './checkpoint.ts'
import { openPacked, statModel } from './files.ts'

export interface ModelFacts {
  path: string
  model: ModelDescription
  /** Set for a packed file: the plan that it holds. */
  plan?: Plan
}

/** What a model is, from a config.json, a directory or a packed file; reads no weights. */
export async function describeModel(path: string): Promise<ModelFacts> {
  if ((await statModel(path)).isDirectory()) {
    const { config } = await readModelFiles(path)
    return { path, model: describe(config, await tensorNames(path)) }
  }
  if (path.endsWith('.json')) return { path, model: describe(await readJson(path)) }
  const { model, plan, close } = await openPacked(path)
  await close()
  return { path, model, plan }
}
