/**
 * Small Hugging Face directories for tests: a config, and seeded random tensors with the shapes that its family asks
 * for. All values are k / 64 with |k| ≤ 127, exact in F32, F16 and BF16, so the type of a checkpoint must not show in
 * what it is converted to.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Dtype, encodeHeader } from '../host/files/safetensors.ts'
import { checkpointTensors, describe } from '../models/index.ts'

export interface Tensor {
  dtype: Dtype
  shape: number[]
  data: Uint8Array
}
export type Tensors = Map<string, Tensor>
export type Config = Record<string, unknown>

export const gqaConfig: Config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 96,
  hidden_size: 32,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: false,
}

/** Expand rate 2, widths that are no multiples of 16 or 64. */
export const gtaConfig: Config = {
  architectures: ['GTAForCausalLM'],
  model_type: 'llama',
  vocab_size: 96,
  hidden_size: 48,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  head_dim: 8,
  num_query_heads: 2,
  query_dim: 8,
  num_key_heads: 1,
  key_dim: 8,
  num_value_heads: 1,
  value_dim: 12,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
}

/** Numbers in [0, 1) that a seed repeats (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Little-endian bytes of numbers; F16 and BF16 only for normal numbers that they hold exactly. */
export function encode(values: ArrayLike<number>, dtype: 'F32' | 'F16' | 'BF16'): Uint8Array {
  const floats = Float32Array.from(values)
  if (dtype === 'F32') return new Uint8Array(floats.buffer)
  const halves = Uint16Array.from(new Uint32Array(floats.buffer), (bits) => {
    if (dtype === 'BF16') return bits >>> 16
    const sign = (bits >>> 16) & 0x8000
    return bits << 1 === 0 ? sign : sign | ((((bits >>> 23) & 255) - 112) << 10) | ((bits >>> 13) & 1023)
  })
  return new Uint8Array(halves.buffer)
}

/** All tensors that a config asks for, each once. */
export const sourcesOf = (config: Config) => checkpointTensors(describe(config))

export function randomTensors(config: Config, dtype: 'F32' | 'F16' | 'BF16' = 'F32', seed = 1): Tensors {
  const next = random(seed)
  const tensors: Tensors = new Map()
  for (const { tensor, shape } of sourcesOf(config)) {
    const count = shape.reduce((product, n) => product * n, 1)
    const values = Array.from({ length: count }, () => (Math.floor(next() * 255) - 127) / 64)
    tensors.set(tensor, { dtype, shape, data: encode(values, dtype) })
  }
  return tensors
}

/** A safetensors file, as bytes. */
export function safetensors(tensors: Tensors, metadata: Record<string, string> = {}): Uint8Array {
  let offset = 0
  const entries = [...tensors].map(([name, { dtype, shape, data }]) => {
    const entry = { name, dtype, shape, offset, bytes: data.length }
    offset += data.length
    return entry
  })
  return Buffer.concat([encodeHeader(metadata, entries), ...[...tensors.values()].map(({ data }) => data)])
}

/** Writes a directory: one file, or `shards` of them with an index. Tensors are dealt out in turn. */
export function writeCheckpoint(config: Config, tensors: Tensors, options: { shards?: number } = {}): string {
  const directory = temporary()
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config))
  const { shards } = options
  if (!shards) {
    writeFileSync(join(directory, 'model.safetensors'), safetensors(tensors))
    return directory
  }
  const names = Array.from({ length: shards }, (_, i) => `model-0000${i + 1}-of-0000${shards}.safetensors`)
  const owner = new Map([...tensors.keys()].map((tensor, i) => [tensor, names[i % shards] as string]))
  for (const name of names) {
    const own = new Map([...tensors].filter(([tensor]) => owner.get(tensor) === name))
    writeFileSync(join(directory, name), safetensors(own))
  }
  writeIndex(directory, Object.fromEntries(owner))
  return directory
}

export function writeIndex(directory: string, weightMap: unknown): void {
  writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }))
}

let root: string | undefined
let count = 0

/** A new folder that goes away with the process. */
export function temporary(): string {
  if (!root) {
    const made = mkdtempSync(join(tmpdir(), 'gta-test-'))
    process.once('exit', () => rmSync(made, { recursive: true, force: true }))
    root = made
  }
  const folder = join(root, String(count++))
  mkdirSync(folder)
  return folder
}

/** The error that a promise ends with; fails if it ends well. */
export async function failure(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('an error was expected, all went well')
}

/** Files under `folder` that this process has open; undefined where the system does not tell. */
export function openFiles(folder: string): string[] | undefined {
  if (!existsSync('/proc/self/fd')) return undefined
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`)
      } catch {
        return ''
      }
    })
    .filter((path) => path.startsWith(folder))
}

/** The F32 tensors of a well-formed safetensors file. */
export function parseSafetensors(file: Uint8Array): Map<string, { shape: number[]; data: Float32Array }> {
  // A Buffer's slice is a view, a Uint8Array's a copy with alignment of its own.
  const bytes = new Uint8Array(file)
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))
  const { __metadata__, ...entries } = header as Record<string, { shape: number[]; data_offsets: [number, number] }>
  return new Map(
    Object.entries(entries).map(([name, { shape, data_offsets }]) => {
      const [begin, end] = data_offsets.map((offset) => 8 + length + offset) as [number, number]
      return [name, { shape, data: new Float32Array(bytes.slice(begin, end).buffer) }]
    }),
  )
}
