/** What a model is, from the beginning of its file: before the rest of it is there. */
import { describe, type ModelDescription, type WeightType, weightTypes } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { openGguf } from '../gguf/model.ts'
import { FORMAT } from '../packed.ts'
import { readSafetensors } from '../safetensors.ts'
import { storedTensor } from '../shards.ts'
import type { ByteSource } from '../source.ts'
import type { StoredTensor } from '../store.ts'

export interface Header {
  model: ModelDescription
  /** That of a packed file, which has no other. */
  packed: WeightType | undefined
  /** The type of most of its numbers, as its format calls it: 'Q4_K', 'BF16', 'q8'. */
  type: string | null
}

/** What the weights of a Hugging Face directory are; of shards only the names are known. */
export interface WeightsHeader {
  tensors: ReadonlyMap<string, StoredTensor | undefined>
  type: string | null
}

/** Of a .gguf or .gta file. Throws what opening the file would. The source stays open. */
export async function readHeader(path: string, source: ByteSource): Promise<Header> {
  const shared = sharedSource(source)
  if (/\.gguf$/i.test(path)) {
    const { files, store } = await openGguf(path, shared)
    return { model: describe(files.config, store.tensors.keys()), packed: undefined, type: mainType(store.tensors) }
  }
  const { metadata } = await readSafetensors(path, shared)
  const type = weightTypes.find((name) => name === metadata.type)
  if (metadata.format !== FORMAT || !type || metadata.config === undefined)
    throw errors.notAModel(path, 'a packed model', 'a file that "gta convert" did not write')
  return { model: describe(parseJson(new TextEncoder().encode(metadata.config))), packed: type, type }
}

/** Of a Hugging Face directory with one file of weights. */
export async function readWeightsHeader(path: string, source: ByteSource): Promise<WeightsHeader> {
  const { tensors } = await readSafetensors(path, sharedSource(source))
  const stored = new Map(Array.from(tensors, ([name, info]) => [name, storedTensor(info)]))
  return { tensors: stored, type: mainType(stored) }
}

/** Whoever reads it does not close it. */
function sharedSource(source: ByteSource): ByteSource {
  return {
    size: source.size,
    readers: source.readers,
    readBytes: source.readBytes,
    read: (target, position) => source.read(target, position),
    close: async () => undefined,
  }
}

function mainType(tensors: ReadonlyMap<string, { shape: readonly number[]; type: string }>): string | null {
  const counts = new Map<string, number>()
  for (const { shape, type } of tensors.values())
    counts.set(type, (counts.get(type) ?? 0) + shape.reduce((product, n) => product * n, 1))
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? null
}
