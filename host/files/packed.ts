/**
 * Opens a packed `.gta` file (layout: pack.ts). Its plan is a program with addresses, and the file is hostile until
 * checked: the plan is built again from the config, and a file whose tensors or plan differ in anything is refused.
 */
import {
  derivedBytes,
  describe,
  isKeptType,
  type KeptType,
  type KeptTypes,
  keptTypes,
  type ModelDescription,
  PLAN_VERSION,
  type Plan,
  packingTypes,
  planModel,
  show,
} from '../../models/index.ts'
import type { Weights } from '../engine/engine.ts'
import { errors } from '../errors.ts'
import { parseJson } from '../json.ts'
import { type About, aboutOf } from './about.ts'
import { countHashes } from './hash-table.ts'
import type { SafetensorsFile } from './safetensors.ts'
import type { ModelFiles, ReadOptions } from './source.ts'

/** Largest tokenizer.json that is read, and largest tables. */
const MAX_TOKENIZER = 256e6

/** Of the container: pack.ts. */
export const FORMAT = 'gta-edge'
export const COMMAND_TENSOR = 'command'
export const TOKENIZER_TENSOR = 'tokenizer.json'
export const TABLES_TENSOR = 'tokenizer.tables'

export interface PackedModel {
  path: string
  files: ModelFiles
  model: ModelDescription
  plan: Plan
  /** Reads all weights of the plan into an engine. */
  readWeights(weights: Weights, options?: ReadOptions): Promise<void>
  /** tokenizer.json and its tables, which lie behind the weights in this order; nothing if there are none. */
  readTokenizer(): Promise<Pick<ModelFiles, 'tokenizer' | 'tokenizerTables'>>
  /** Tensors that have a hash in the file; 0: none was written. */
  hashes: number
  /** Reads the whole file; throws BAD_FILE with the names of tensors that are not as they were written. */
  verify(options?: ReadOptions): Promise<void>
  close(): Promise<void>
}

/** Everything but the weights themselves; reads from the beginning on, and the tokenizer only when it is asked for. */
export async function checkPacked(opened: SafetensorsFile): Promise<PackedModel> {
  const { path, file, metadata, tensors } = opened
  if (metadata.format !== FORMAT)
    throw errors.notAModel(path, 'a packed model', 'a safetensors file that "gta convert" did not write')
  if (metadata.version !== String(PLAN_VERSION)) throw errors.otherVersion(path, metadata.version, PLAN_VERSION)
  const type = packingTypes.find((name) => name === metadata.type)
  if (!type) throw errors.badFile(path, 'the weight type', `one of ${packingTypes.join(', ')}`, metadata.type)

  const config = parseMetadata(path, metadata, 'config')
  const model = describe(config)
  const plan = planModel(model, type, type === 'keep' ? parseTypes(path, metadata) : undefined)
  for (const name of plan.kept.keys())
    if (
      !plan.tensors.some(
        (tensor) => tensor.name === name && tensor.content.is === 'matrix' && isKeptType(tensor.content.type),
      )
    )
      throw errors.badFile(path, 'the types of kept matrices', 'those of matrices of the model', show(name))
  // gta.wasm's record stands before the weights.
  const command = tensors.get(COMMAND_TENSOR)
  const start = opened.dataStart + (command?.begin === opened.dataStart ? command.bytes : 0)
  for (const expected of plan.tensors) {
    const found = tensors.get(expected.name)
    const matches =
      found &&
      found.dtype === expected.dtype &&
      found.shape.join() === expected.shape.join() &&
      found.begin === start + expected.offset
    if (!matches)
      throw errors.badFile(
        path,
        `tensor "${expected.name}"`,
        `${expected.dtype} [${expected.shape}] at offset ${expected.offset}`,
        found ? `${found.dtype} [${found.shape}] at ${found.begin - start}` : 'nothing',
      )
  }
  await checkDerived(opened, start, plan)
  return {
    path,
    files: {
      config,
      generation: parseMetadata(path, metadata, 'generation'),
      tokenizerConfig: parseMetadata(path, metadata, 'tokenizer_config'),
      about: aboutOf((parseMetadata(path, metadata, 'about') ?? {}) as About),
    },
    model,
    plan,
    async readWeights(weights, { signal, onProgress } = {}) {
      file.forgetUpTo?.(start)
      let next = 0
      let done = 0
      const readOn = async () => {
        while (next < plan.bytes) {
          signal?.throwIfAborted()
          const from = next
          const bytes = Math.min(plan.bytes - from, file.readBytes, weights.pieceBytes)
          next = from + bytes
          await weights.fill(from, bytes, (piece) => file.read(piece, start + from))
          done += bytes
          onProgress?.({ done, total: plan.bytes })
        }
      }
      await Promise.all(Array.from({ length: file.readers }, readOn))
    },
    readTokenizer: () => readTokenizer(opened),
    hashes: countHashes(opened),
    verify: async (options) => (await import('./hashes.ts')).verifyHashes(opened, options),
    close: () => file.close(),
  }
}

function parseMetadata(path: string, metadata: Record<string, string>, name: string): unknown {
  const text = metadata[name]
  if (text === undefined) return undefined
  try {
    return parseJson(new TextEncoder().encode(text))
  } catch (cause) {
    throw errors.badJson(`${path}, ${name}`, cause)
  }
}

/** The types of the matrices that are kept, by their names. */
function parseTypes(path: string, metadata: Record<string, string>): KeptTypes {
  const found = parseMetadata(path, metadata, 'types')
  const entries = typeof found === 'object' && found !== null && !Array.isArray(found) ? Object.entries(found) : []
  const isGood = ([, type]: [string, unknown]) => typeof type === 'string' && isKeptType(type)
  if (entries.length === 0 || !entries.every(isGood))
    throw errors.badFile(
      path,
      'the types of kept matrices',
      `names with one of ${keptTypes.join(', ')} each`,
      show(found),
    )
  return new Map(entries as [string, KeptType][])
}

/** The tensors that follow from the config must be what this version computes, bit for bit. */
async function checkDerived({ path, file }: SafetensorsFile, start: number, plan: Plan): Promise<void> {
  for (const tensor of plan.tensors) {
    const expected = derivedBytes(plan, tensor)
    if (!expected) continue
    const found = new Uint8Array(tensor.bytes)
    await file.read(found, start + tensor.offset)
    if (!isEqual(expected, found))
      throw errors.badFile(path, `tensor "${tensor.name}"`, 'what its config asks for', 'other values')
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

async function readTokenizer(opened: SafetensorsFile): Promise<Pick<ModelFiles, 'tokenizer' | 'tokenizerTables'>> {
  const tokenizer = await readBytes(opened, TOKENIZER_TENSOR)
  const tokenizerTables = await readBytes(opened, TABLES_TENSOR)
  return { ...(tokenizer && { tokenizer }), ...(tokenizerTables && { tokenizerTables }) }
}

async function readBytes({ path, file, tensors }: SafetensorsFile, name: string): Promise<Uint8Array | undefined> {
  const tensor = tensors.get(name)
  if (!tensor) return undefined
  if (tensor.bytes > MAX_TOKENIZER)
    throw errors.badFile(path, 'the tokenizer', `at most ${MAX_TOKENIZER} bytes`, tensor.bytes)
  const bytes = new Uint8Array(tensor.bytes)
  await file.read(bytes, tensor.begin)
  return bytes
}
