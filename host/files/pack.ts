/**
 * Writes the packed `.gta` file:
 *
 *     ┌ safetensors header, padded so that data starts at a multiple of 64
 *     │   __metadata__: format "gta-edge", version, type q8|q4|f32|keep, [types,] config, …, about (JSON texts)
 *     ├ command                    U8, where everything is for gta.wasm: tables.ts; not loaded into the engine
 *     ├ plan                       u32 words, models/plan.ts
 *     ├ rotations.0.inv_freq, …    f64
 *     ├ embed, embed.scale, layers.0.mixer_in_norm, layers.0.in, …    in the order in which a step reads them
 *     ├ tokenizer.json             U8, padded with spaces; not loaded into the engine
 *     ├ tokenizer.tables           U8, the same for gta.wasm: tokenizer-tables.ts
 *     └ sha256                     U8, of the header and of each tensor before it: hash-table.ts
 *
 * From the plan to the tokenizer it is one range of bytes that is read straight into the engine's memory.
 */
import { open } from 'node:fs/promises'
import { isKeptType, type KeptType, type ModelSpec, PLAN_VERSION, type Plan, roundUp } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { writeWhole } from './atomic.ts'
import type { Checkpoint } from './checkpoint.ts'
import { HASH_TENSOR, hashTableBytes } from './hash-table.ts'
import { TensorHashes } from './hashes.ts'
import { FORMAT, TABLES_TENSOR, TOKENIZER_TENSOR } from './packed.ts'
import { type Dtype, encodeHeader } from './safetensors.ts'
import type { ModelFiles } from './source.ts'
import { commandHeader, type Part } from './tables.ts'
import { type PackOptions, packTensors } from './tensors.ts'
import { tokenizerTables } from './tokenizer-tables.ts'

/** Writes the packed file, complete or not at all. `check` has the last word before a file of that name would be replaced. */
export async function writePacked(
  path: string,
  checkpoint: Checkpoint,
  plan: Plan,
  options: PackOptions = {},
  check = async () => {},
): Promise<{ bytes: number }> {
  const write = (temporary: string) => writeTo(temporary, checkpoint, plan, options)
  return { bytes: await writeWhole(path, write, options.signal, check) }
}

async function writeTo(path: string, checkpoint: Checkpoint, plan: Plan, options: PackOptions): Promise<number> {
  const { files } = checkpoint
  const behind = files.tokenizer ? await tokenizerParts(files.tokenizer, files.tokenizerConfig) : []
  // What it holds is known when all the others are written, how much that is before.
  const others = 1 + plan.tensors.length + behind.length
  behind.push({ name: HASH_TENSOR, bytes: new Uint8Array(hashTableBytes(others)) })
  const { header, command, tensors } = layOut(checkpoint.model.spec, files, plan, behind)
  const hashes = new TensorHashes(tensors.slice(0, -1))
  const file = await open(path, 'wx')
  try {
    const write = async (position: number, bytes: Uint8Array) => {
      let done = 0
      while (done < bytes.length)
        done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
    }
    const writeTensor = (offset: number, bytes: Uint8Array) => {
      hashes.update(offset, bytes)
      return write(header.length + offset, bytes)
    }
    await write(0, header)
    await writeTensor(0, command.bytes)
    const weights = command.bytes.length
    await packTensors(checkpoint, plan, (offset, bytes) => writeTensor(weights + offset, bytes), options)
    let end = weights + plan.bytes
    for (const { bytes } of behind.slice(0, -1)) {
      await writeTensor(end, bytes)
      end += bytes.length
    }
    const table = hashes.table(header)
    await write(header.length + end, table)
    await file.sync()
    return header.length + end + table.length
  } finally {
    await file.close()
  }
}

/** A tensor of the file; its offset counts from the first one. */
export interface PackedPart {
  name: string
  dtype: Dtype
  shape: number[]
  offset: number
  bytes: number
}

/** What stands before the packed tensors of a file: its header and the tensor of the command; and where each tensor is. */
export function layOut(spec: ModelSpec, files: ModelFiles, plan: Plan, behind: readonly Part[] = []) {
  const command = commandHeader(spec, files, plan, behind)
  const tensors: PackedPart[] = []
  let offset = 0
  const add = ({ name, dtype, shape, bytes }: Omit<PackedPart, 'offset'>) => {
    tensors.push({ name, dtype, shape, offset, bytes })
    offset += bytes
  }
  const addBytes = ({ name, bytes: { length } }: Part) => add({ name, dtype: 'U8', shape: [length], bytes: length })
  addBytes(command)
  plan.tensors.forEach(add)
  behind.forEach(addBytes)
  return { header: encodeHeader(packedMetadata(files, plan), tensors), command, tensors }
}

function packedMetadata(files: ModelFiles, plan: Plan): Record<string, string> {
  const metadata: Record<string, string> = {
    format: FORMAT,
    version: String(PLAN_VERSION),
    type: plan.type,
    config: asText(files.config, 'config.json'),
  }
  if (plan.type === 'keep') metadata.types = JSON.stringify(Object.fromEntries(typesOf(plan)))
  if (files.generation !== undefined) metadata.generation = asText(files.generation, 'generation_config.json')
  if (files.tokenizerConfig !== undefined)
    metadata.tokenizer_config = asText(files.tokenizerConfig, 'tokenizer_config.json')
  if (files.about !== undefined) metadata.about = asText(files.about, 'README.md')
  return metadata
}

/** Of the matrices that are kept: no config says them. */
function typesOf({ tensors }: Plan): [name: string, type: KeptType][] {
  return tensors.flatMap(({ name, content }): [string, KeptType][] =>
    content.is === 'matrix' && isKeptType(content.type) ? [[name, content.type]] : [],
  )
}

/** JSON that was read may still be nested too deep to be written. */
function asText(value: unknown, name: string): string {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    throw errors.badJson(name, cause)
  }
}

/** What stands behind the weights of a model with words. */
export async function tokenizerParts(json: Uint8Array, config: ModelFiles['tokenizerConfig']): Promise<Part[]> {
  return [
    { name: TOKENIZER_TENSOR, bytes: padTokenizer(json) },
    { name: TABLES_TENSOR, bytes: await tokenizerTables(json, config) },
  ]
}

/** Spaces behind JSON are no part of it, so the padding needs no length field. */
function padTokenizer(json: Uint8Array): Uint8Array {
  const padded = new Uint8Array(roundUp(json.length, 64)).fill(0x20)
  padded.set(json)
  return padded
}
