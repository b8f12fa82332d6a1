/** Weights of a Hugging Face directory: one safetensors file, or shards named by an index. */
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { show } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { openSafetensors } from './files.ts'
import { f16 } from './half.ts'
import { readJson } from './json.ts'
import { dtypeBytes, type SafetensorsFile, type TensorInfo } from './safetensors.ts'
import type { StoredTensor, TensorStore } from './store.ts'

const floats = ['F32', 'F16', 'BF16']

/** What a header says of a tensor. */
export const storedTensor = ({ shape, dtype }: TensorInfo): StoredTensor => ({
  shape,
  type: dtype,
  isReadable: floats.includes(dtype),
})

/** Opens all shards and checks their headers. Throws NOT_A_MODEL, NOT_FOUND, BAD_FILE or BAD_TENSOR. */
export async function openWeights(directory: string): Promise<TensorStore> {
  const shards = await openShards(directory)
  const places = new Map<string, { shard: SafetensorsFile; info: TensorInfo }>()
  for (const shard of shards) for (const info of shard.tensors.values()) places.set(info.name, { shard, info })
  const tensors = new Map<string, StoredTensor>(Array.from(places, ([name, { info }]) => [name, storedTensor(info)]))
  return {
    tensors,
    async read(tensor, from, count) {
      const place = places.get(tensor)
      if (!place) throw errors.missingTensors(directory, [tensor])
      const { shard, info } = place
      const width = dtypeBytes[info.dtype]
      const bytes = new Uint8Array(count * width)
      await shard.file.read(bytes, info.begin + from * width)
      return widen(bytes, info.dtype)
    },
    async close() {
      await Promise.all(shards.map((shard) => shard.file.close()))
    },
  }
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
