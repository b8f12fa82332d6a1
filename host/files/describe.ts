/** What a model is, without loading it. */
import { describe, type ModelDescription, type PackingType, type Plan } from '../../models/index.ts'
import { errors } from '../errors.ts'
import type { About } from './about.ts'
import { isCheckpoint, openCheckpoint, readConfig, unusedTensors } from './checkpoint.ts'
import { openPacked } from './files.ts'
import { readJson } from './json.ts'
import { locateModel } from './locate.ts'
import type { ReadOptions } from './source.ts'

export interface ModelFacts {
  path: string
  model: ModelDescription
  /** Its name, licence and source, as its files say them. */
  about?: About | undefined
  /** Set for a packed file: the plan that it holds; and where a GGUF file is to be kept. */
  plan?: Plan
  /** Tensors of a packed file that have a hash; 0: none was written. */
  hashes?: number
  /** What the checkpoint has besides the model: its tensors, or, where only a config is at hand, parts of that. */
  leftOut: string[]
}

export interface DescribeOptions extends ReadOptions {
  /** Reads a packed file to its end; throws BAD_FILE with the names of tensors that are not as they were written. */
  verify?: boolean
  /** keep: the plan follows from the tensors of a GGUF file. */
  type?: PackingType | undefined
}

/** Parts of a config beside the one that writes text: `vision_config`. */
function otherParts(config: unknown): string[] {
  return Object.keys(config as object).filter((name) => /^(?!text|quantization|generation)\w+_config$/.test(name))
}

/** What a model is, from a config.json, a directory or a packed file; reads no weights unless it is to verify them. */
export async function describeModel(name: string, options: DescribeOptions = {}): Promise<ModelFacts> {
  const path = await locateModel(name)
  const isOriginal = await isCheckpoint(path)
  if (options.verify && (isOriginal || path.endsWith('.json'))) throw errors.notVerifiable(path)
  if (isOriginal && options.type === 'keep') {
    const { checkpoint, plan } = await openCheckpoint(path, 'keep')
    await checkpoint.close()
    const { files, model, unused } = checkpoint
    return { path, about: files.about, model, plan, leftOut: unused }
  }
  if (isOriginal) {
    const { config, about, tensors } = await readConfig(path)
    const model = describe(config, tensors)
    return { path, about, model, leftOut: tensors.length > 0 ? unusedTensors(model, tensors) : otherParts(config) }
  }
  if (path.endsWith('.json')) {
    const config = await readJson(path)
    return { path, model: describe(config), leftOut: otherParts(config) }
  }
  const { files, model, plan, hashes, verify, close } = await openPacked(path)
  try {
    if (options.verify) await verify(options)
    return { path, about: files.about, model, plan, hashes, leftOut: [] }
  } finally {
    await close()
  }
}
