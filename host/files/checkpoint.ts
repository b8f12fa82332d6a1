/**
 * A Hugging Face model directory: config.json, weights in one safetensors file or in shards named by an index, and,
 * if they are there, tokenizer and generation settings.
 */
import { readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  checkpointTensors,
  describe,
  type ModelDescription,
  planModel,
  show,
  type WeightType,
} from '../../models/index.ts'
import { refuseUnusable } from '../engine/fit.ts'
import { errors } from '../errors.ts'
import { openSafetensors } from './files.ts'
import { f16 } from './half.ts'
import { refuseOtherKind } from './other-kinds.ts'
import { dtypeBytes, type SafetensorsFile, type TensorInfo } from './safetensors.ts'
import type { ModelFiles } from './source.ts'

export async function readModelFiles(directory: string): Promise<ModelFiles> {
  const config = await readJson(join(directory, 'config.json'))
  if (config === undefined) throw errors.notAModel(directory, 'a directory with a config.json', 'none in it')
  const [generation, named, specialTokens, template, tokenizer] = await Promise.all([
    readJson(join(directory, 'generation_config.json')),
    readJson(join(directory, 'tokenizer_config.json')),
    readJson(join(directory, 'special_tokens_map.json')),
    readText(join(directory, 'chat_template.jinja')),
    readOptional(join(directory, 'tokenizer.json')),
  ])
  if (tokenizer) refuseOtherKind(join(directory, 'tokenizer.json'), tokenizer, 'a JSON file')
  const tokenizerConfig = withTokens(named, specialTokens)
  // Newer checkpoints have the template in a file of its own, which counts more.
  const more = template === undefined ? undefined : { chat_template: template }
  return {
    config,
    generation,
    tokenizerConfig: more ? { ...(tokenizerConfig as object), ...more } : tokenizerConfig,
    tokenizer,
  }
}

/** tokenizer_config.json, with the special tokens that only special_tokens_map.json names. */
function withTokens(config: unknown, specialTokens: unknown): unknown {
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isObject(specialTokens) || (config !== undefined && !isObject(config))) return config
  const missing = Object.entries(specialTokens).filter(([name]) => /^\w+_token$/.test(name) && !config?.[name])
  return { ...config, ...Object.fromEntries(missing) }
}

async function readText(path: string): Promise<string | undefined> {
  const bytes = await readOptional(path)
  try {
    return bytes && new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw errors.badFile(path, 'the content', 'UTF-8 text', 'other bytes')
  }
}

/** A file's bytes; undefined if there is no such file. */
async function readOptional(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw errors.unreadable(path, cause)
  }
}

/** A parsed JSON file; undefined if there is no such file. */
export async function readJson(path: string): Promise<unknown> {
  const bytes = await readOptional(path)
  if (!bytes) return undefined
  refuseOtherKind(path, bytes, 'a JSON file')
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw errors.badJson(path, cause)
  }
}

/**
 * A directory's weights and the plan for them. Weights that no engine can hold are refused before they are looked at, if
 * the config alone says what they are, else as soon as the tensor names have.
 */
export async function openCheckpoint(directory: string, type: WeightType) {
  const files = await readModelFiles(directory)
  const early = describeOrNot(files.config)
  if (early) await refuseUnusable(early, planModel(early, type))
  const checkpoint = await Checkpoint.open(directory, files)
  try {
    const plan = planModel(checkpoint.model, type)
    await refuseUnusable(checkpoint.model, plan)
    return { checkpoint, plan }
  } catch (error) {
    await checkpoint.close()
    throw error
  }
}

/** The weights of a directory: checked against the model before a byte of them is read. */
export class Checkpoint {
  readonly directory: string
  readonly files: ModelFiles
  readonly model: ModelDescription
  /** Tensors that the model does not use. */
  readonly unused: string[]
  private readonly shards: SafetensorsFile[]
  private readonly tensors: Map<string, { shard: SafetensorsFile; info: TensorInfo }>

  private constructor(directory: string, files: ModelFiles, model: ModelDescription, shards: SafetensorsFile[]) {
    this.directory = directory
    this.files = files
    this.model = model
    this.shards = shards
    this.tensors = new Map(
      shards.flatMap((shard) => [...shard.tensors.values()].map((info) => [info.name, { shard, info }] as const)),
    )
    const used = this.check()
    this.unused = [...this.tensors.keys()].filter((name) => !used.has(name) && !model.sources.isRedundant(name))
  }

  static async open(directory: string, files: ModelFiles): Promise<Checkpoint> {
    const shards = await openShards(directory).catch((error) => {
      // Where config and weights are both wrong, the config's error says more.
      describe(files.config)
      throw error
    })
    try {
      const names = shards.flatMap((shard) => [...shard.tensors.keys()])
      const model = describe(files.config, names)
      // A kind that only tensor names told must be in the config from here on: a packed file has other names.
      const { kind } = model.spec
      const isTold = describeOrNot(files.config)?.spec.kind === kind
      const config = isTold ? files.config : { ...(files.config as object), attention_kind: kind }
      return new Checkpoint(directory, { ...files, config }, model, shards)
    } catch (error) {
      await Promise.all(shards.map((shard) => shard.file.close()))
      throw error
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.shards.map((shard) => shard.file.close()))
  }

  /** All tensors that the model needs, there and of the right shape and type; returns their names. */
  private check(): Set<string> {
    const needed = checkpointTensors(this.model)
    const missing = needed.filter(({ tensor }) => !this.tensors.has(tensor)).map(({ tensor }) => tensor)
    if (missing.length > 0) throw errors.missingTensors(this.directory, missing)
    for (const { tensor, shape } of needed) {
      const { info } = this.find(tensor)
      if (info.dtype !== 'F32' && info.dtype !== 'F16' && info.dtype !== 'BF16')
        throw errors.wrongTensor(tensor, 'F32, F16 or BF16', `${info.dtype}, a type that cannot be converted`)
      if (info.shape.length !== shape.length || info.shape.some((n, i) => n !== shape[i]))
        throw errors.wrongTensor(tensor, `(${shape.join(', ')})`, `(${info.shape.join(', ')})`)
    }
    return new Set(needed.map(({ tensor }) => tensor))
  }

  private find(tensor: string) {
    const found = this.tensors.get(tensor)
    if (!found) throw errors.missingTensors(this.directory, [tensor])
    return found
  }

  /** Numbers `from` … `from + count` of a tensor, as f32; refuses NaN and infinity. */
  async read(tensor: string, from: number, count: number): Promise<Float32Array> {
    const { shard, info } = this.find(tensor)
    const width = dtypeBytes[info.dtype]
    const bytes = new Uint8Array(count * width)
    await shard.file.read(bytes, info.begin + from * width)
    const values = widen(bytes, info.dtype)
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

/** Names of the tensors in a directory; none if it has no weights, or none that can be read. */
export async function tensorNames(directory: string): Promise<string[]> {
  const shards = await openShards(directory).catch(() => [])
  await Promise.all(shards.map((shard) => shard.file.close()))
  return shards.flatMap((shard) => [...shard.tensors.keys()])
}

async function openShards(directory: string): Promise<SafetensorsFile[]> {
  // A single file counts more than an index, which may be left over from other weights: transformers looks for it first.
  const single = join(directory, 'model.safetensors')
  const exists = await stat(single).then(
    () => true,
    () => false,
  )
  if (exists) return [await openSafetensors(single)]
  const index = (await readJson(join(directory, 'model.safetensors.index.json'))) as
    | { weight_map?: unknown }
    | undefined
  if (index === undefined) throw errors.notAModel(directory, 'a directory with model.safetensors', 'none in it')
  const shards: SafetensorsFile[] = []
  try {
    for (const name of shardNames(directory, index)) shards.push(await openSafetensors(join(directory, name)))
    const owner = new Map<string, string>()
    for (const shard of shards)
      for (const name of shard.tensors.keys()) {
        const other = owner.get(name)
        if (other) throw errors.wrongTensor(name, 'in one shard', `it in ${other} and ${basename(shard.path)}`)
        owner.set(name, basename(shard.path))
      }
    return shards
  } catch (error) {
    await Promise.all(shards.map((shard) => shard.file.close()))
    throw error
  }
}

function shardNames(directory: string, index: { weight_map?: unknown }): string[] {
  const path = join(directory, 'model.safetensors.index.json')
  const map = index?.weight_map
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw errors.badFile(path, '"weight_map"', 'an object of file names', typeof map)
  const names = [...new Set(Object.values(map))]
  // A shard lies beside its index: a name with a folder in it would read files that the user did not point at.
  for (const name of names)
    if (typeof name !== 'string' || name !== basename(name) || name.includes('\\') || !name.endsWith('.safetensors'))
      throw errors.badFile(path, 'a shard name', 'a .safetensors file beside it', show(name))
  return names
}

/**
 * Little-endian numbers as f32; BF16 is the upper half of an f32, F16 is rebuilt from its fields. Plain loops:
 * `Float32Array.from` with a function took 20 times as long (measured).
 */
function widen(bytes: Uint8Array, dtype: string): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer)
  const half = new Uint16Array(bytes.buffer)
  const wide = new Float32Array(half.length)
  if (dtype === 'BF16') {
    const bits = new Uint32Array(wide.buffer)
    for (let i = 0; i < half.length; i++) bits[i] = (half[i] as number) << 16
  } else for (let i = 0; i < half.length; i++) wide[i] = f16(half[i] as number)
  return wide
}
