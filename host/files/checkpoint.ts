/**
 * A checkpoint: a Hugging Face directory with config.json, weights and, if they are there, tokenizer and generation
 * settings, or a GGUF file, which holds all of this.
 */
import { join } from 'node:path'
import { checkpointTensors, describe, type ModelDescription, type PackingType, planModel } from '../../models/index.ts'
import { refuseUnusable } from '../engine/fit.ts'
import { errors } from '../errors.ts'
import type { About } from './about.ts'
import { readChatTemplate } from './chat-template-files.ts'
import { isGguf, statModel } from './files.ts'
import { readJson } from './json.ts'
import { keptTypesOf } from './kept-types.ts'
import { aboutDirectory } from './readme.ts'
import { openWeights } from './shards.ts'
import type { ModelFiles } from './source.ts'
import type { KeptRows, StoredTensor, TensorStore } from './store.ts'
import { readTokenizer } from './tokenizer-files.ts'

export async function readModelFiles(directory: string): Promise<ModelFiles> {
  const config = await readJson(join(directory, 'config.json'))
  if (config === undefined) throw errors.notAModel(directory, 'a directory with a config.json', 'none in it')
  const [generation, { tokenizer, tokenizerConfig }, about] = await Promise.all([
    readJson(join(directory, 'generation_config.json')),
    readTokenizer(directory, config),
    aboutDirectory(directory, config),
  ])
  const template = await readChatTemplate(directory, tokenizerConfig)
  const more = template === undefined ? undefined : { chat_template: template }
  return {
    config,
    generation,
    tokenizerConfig: more ? { ...(tokenizerConfig as object), ...more } : tokenizerConfig,
    tokenizer,
    about,
  }
}

/**
 * A directory's weights and the plan for them. Weights that no engine can hold are refused before they are looked at, if
 * the config alone says what they are, else as soon as the tensor names have.
 */
export async function openCheckpoint(path: string, type: PackingType) {
  if (type === 'keep' && !(await isGguf(path))) throw errors.nothingToKeep(path)
  // Which types are kept is known from the tensors; none is smaller than q4.
  const least = type === 'keep' ? 'q4' : type
  const checkpoint = await Checkpoint.open(path, (early) => refuseUnusable(early, planModel(early, least)))
  try {
    const kept = type === 'keep' ? keptTypesOf(checkpoint.model, checkpoint.tensors) : undefined
    if (kept?.size === 0) throw errors.nothingToKeep(path)
    const plan = planModel(checkpoint.model, type, kept)
    await refuseUnusable(checkpoint.model, plan)
    return { checkpoint, plan }
  } catch (error) {
    await checkpoint.close()
    throw error
  }
}

/** What stands beside the weights of a checkpoint, and how to open these. */
async function openFiles(path: string): Promise<OpenedFiles> {
  if (!(await isGguf(path)))
    return { files: await readModelFiles(path), openStore: () => openWeights(path), close: async () => {} }
  const { openGguf } = await import('./gguf/model.ts')
  const { files, store } = await openGguf(path)
  return { files, openStore: async () => store, close: () => store.close() }
}

interface OpenedFiles {
  files: ModelFiles
  openStore: () => Promise<TensorStore>
  /** In place of `openStore`. */
  close: () => Promise<void>
}

/** The weights of a checkpoint: checked against the model before a byte of them is read. */
export class Checkpoint {
  /** The directory, or the file. */
  readonly path: string
  readonly files: ModelFiles
  readonly model: ModelDescription
  /** Tensors that the model does not use. */
  readonly unused: string[]
  private readonly store: TensorStore

  private constructor(path: string, files: ModelFiles, model: ModelDescription, store: TensorStore) {
    this.path = path
    this.files = files
    this.model = model
    this.store = store
    checkTensors(path, model, store.tensors)
    this.unused = unusedTensors(model, [...store.tensors.keys()])
    const [other] = store.refusesOthers ? this.unused.filter((name) => isOfLayer(name, model)) : []
    if (other) throw errors.wrongTensor(other, 'one that this model has', 'one that it would be computed without')
  }

  /** `onModel` is told the model before the weights are looked at, if the config alone says what it is. */
  static async open(path: string, onModel?: (model: ModelDescription) => Promise<void>): Promise<Checkpoint> {
    const { files, openStore, close } = await openFiles(path)
    const early = describeOrNot(files.config)
    try {
      if (early) await onModel?.(early)
    } catch (error) {
      await close()
      throw error
    }
    const store = await openStore().catch((error) => {
      // Where config and weights are both wrong, the config's error says more.
      describe(files.config)
      throw error
    })
    try {
      const model = describe(files.config, store.tensors.keys())
      // A kind that only tensor names told must be in the config from here on: a packed file has other names.
      const isTold = early?.spec.kind === model.spec.kind
      const config = isTold ? files.config : { ...(files.config as object), attention_kind: model.spec.kind }
      return new Checkpoint(path, { ...files, config }, model, store)
    } catch (error) {
      await store.close()
      throw error
    }
  }

  close(): Promise<void> {
    return this.store.close()
  }

  get tensors(): ReadonlyMap<string, StoredTensor> {
    return this.store.tensors
  }

  /** Rows of a matrix that has `keptAs`, as they are kept. */
  readKept(tensor: string, rows: readonly number[]): Promise<KeptRows> {
    if (!this.store.readKept) throw new RangeError(`nothing is kept of ${tensor}`)
    return this.store.readKept(tensor, rows)
  }

  /** Numbers `from` … `from + count` of a tensor, as f32; refuses NaN and infinity. */
  async read(tensor: string, from: number, count: number): Promise<Float32Array> {
    const values = await this.store.read(tensor, from, count)
    // The bits say it faster than the numbers: an exponent of all ones is infinity or NaN.
    const bits = new Uint32Array(values.buffer)
    for (let i = 0; i < bits.length; i++)
      if (((bits[i] as number) & 0x7f800000) === 0x7f800000)
        throw errors.notFiniteWeights(tensor, from + i, values[i] as number)
    return values
  }
}

/** The model of a config; undefined where only the names of its tensors can tell, or nothing. */
export function describeOrNot(config: unknown): ModelDescription | undefined {
  try {
    return describe(config)
  } catch {
    return undefined
  }
}

/** What a checkpoint is, and the names of its tensors; none if it has no weights, or none that can be read. */
export async function readConfig(
  path: string,
): Promise<{ config: unknown; about?: About | undefined; tensors: string[] }> {
  const { files, openStore } = await openFiles(path)
  const store = await openStore().catch(() => undefined)
  await store?.close()
  return { config: files.config, about: files.about, tensors: [...(store?.tensors.keys() ?? [])] }
}

/** Are all tensors there that the model needs, and of the right shape and type, where these are known? Throws BAD_TENSOR. */
export function checkTensors(
  path: string,
  model: ModelDescription,
  tensors: ReadonlyMap<string, StoredTensor | undefined>,
): void {
  const needed = checkpointTensors(model)
  const missing = needed.filter(({ tensor }) => !tensors.has(tensor)).map(({ tensor }) => tensor)
  if (missing.length > 0) throw errors.missingTensors(path, missing)
  for (const { tensor, shape } of needed) {
    const found = tensors.get(tensor)
    if (!found) continue
    if (!found.isReadable)
      throw errors.wrongTensor(tensor, 'F32, F16 or BF16', `${found.type}, a type that cannot be converted`)
    if (found.shape.length !== shape.length || found.shape.some((n, i) => n !== shape[i]))
      throw errors.wrongTensor(tensor, `(${shape.join(', ')})`, `(${found.shape.join(', ')})`)
  }
}

/** Is it a tensor of one of the model's layers? Layers behind them predict further tokens; frequencies follow from the config. */
function isOfLayer(name: string, { spec }: ModelDescription): boolean {
  const layer = /(?:^blk|\.layers|\.h)\.(\d+)\./.exec(name)?.[1]
  return layer !== undefined && Number(layer) < spec.order.length && !name.includes('attn_rot_embd')
}

/** Those of a checkpoint's tensors that the model does not use. */
export function unusedTensors(model: ModelDescription, names: string[]): string[] {
  const used = new Set(checkpointTensors(model).map(({ tensor }) => tensor))
  return names.filter((name) => !used.has(name) && !model.sources.isRedundant(name))
}

/** Is there something to convert: a directory, or a GGUF file? */
export async function isCheckpoint(path: string): Promise<boolean> {
  return (await statModel(path)).isDirectory() || (await isGguf(path))
}
