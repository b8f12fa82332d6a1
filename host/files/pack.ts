/**
 * Writes the packed `.gta` file:
 *
 *     ┌ safetensors header, padded so that data starts at a multiple of 64
 *     │   __metadata__: format "gta-edge", version, type q8|q4|f32, config, generation, tokenizer_config (JSON texts)
 *     ├ plan                       u32 words, models/plan.ts
 *     ├ rotations.0.inv_freq, …    f64
 *     ├ embed, embed.scale, layers.0.mixer_in_norm, layers.0.in, …    in the order in which a step reads them
 *     ├ tokenizer.json             U8, padded with spaces; not loaded into the engine
 *     ├ generation.table, tokenizer.tables    U8, for the command without JavaScript: tables.ts
 *     └ sha256                     U8, of the header and of each tensor before it: hashes.ts
 *
 * Everything before the tokenizer is one range of bytes that is read straight into the engine's memory.
 */
import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PLAN_VERSION, type Plan, roundUp } from '../../models/index.ts'
import { errors, GtaError } from '../errors.ts'
import type { Checkpoint } from './checkpoint.ts'
import { HASH_TENSOR, hashTableBytes, TensorHashes } from './hashes.ts'
import { FORMAT, TOKENIZER_TENSOR } from './packed.ts'
import { type Dtype, encodeHeader } from './safetensors.ts'
import type { ModelFiles } from './source.ts'
import { commandTables } from './tables.ts'
import { type PackOptions, packTensors } from './tensors.ts'

/**
 * Writes the packed file: under a temporary name, synced, then renamed. On any failure nothing is left behind. `check`
 * has the last word before a file of that name would be replaced.
 */
export async function writePacked(
  path: string,
  checkpoint: Checkpoint,
  plan: Plan,
  options: PackOptions = {},
  check = async () => {},
): Promise<{ bytes: number }> {
  const temporary = `${path}.tmp-${randomUUID().slice(0, 8)}`
  try {
    const bytes = await writeTo(temporary, checkpoint, plan, options)
    options.signal?.throwIfAborted()
    await check()
    await rename(temporary, path)
    await syncDirectory(dirname(path))
    return { bytes }
  } catch (error) {
    // An error of removing must not hide why the work failed.
    await rm(temporary, { force: true }).catch(() => undefined)
    if (error instanceof GtaError || options.signal?.aborted) throw error
    throw (error as NodeJS.ErrnoException)?.code ? errors.writeFailed(path, error) : error
  }
}

async function writeTo(path: string, checkpoint: Checkpoint, plan: Plan, options: PackOptions): Promise<number> {
  const { files } = checkpoint
  const more = [
    ...(files.tokenizer ? [{ name: TOKENIZER_TENSOR, bytes: padTokenizer(files.tokenizer) }] : []),
    ...commandTables(checkpoint.model.spec, files),
  ]
  // What it holds is known when all the others are written, how much that is before.
  more.push({ name: HASH_TENSOR, bytes: new Uint8Array(hashTableBytes(plan.tensors.length + more.length)) })
  const behind = layBehind(plan, more)
  const header = packedHeader(files, plan, more)
  const hashes = new TensorHashes([...plan.tensors, ...behind.slice(0, -1)])
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
    await packTensors(checkpoint, plan, writeTensor, options)
    for (const [i, { offset }] of behind.slice(0, -1).entries())
      await writeTensor(offset, (more[i] as (typeof more)[number]).bytes)
    const { offset, bytes } = behind.at(-1) as (typeof behind)[number]
    await write(header.length + offset, hashes.table(header))
    await file.sync()
    return header.length + offset + bytes
  } finally {
    await file.close()
  }
}

/** Tensors of bytes behind those of the plan. */
function layBehind(plan: Plan, more: readonly { name: string; bytes: Uint8Array }[]) {
  let offset = plan.bytes
  return more.map(({ name, bytes: { length } }) => {
    const tensor = { name, dtype: 'U8' as Dtype, shape: [length], offset, bytes: length }
    offset += length
    return tensor
  })
}

/** What stands before the packed tensors of a file; `more` tensors of bytes follow them. */
export function packedHeader(
  files: ModelFiles,
  plan: Plan,
  more: readonly { name: string; bytes: Uint8Array }[] = [],
): Uint8Array {
  return encodeHeader(packedMetadata(files, plan), [...plan.tensors, ...layBehind(plan, more)])
}

function packedMetadata(files: ModelFiles, plan: Plan): Record<string, string> {
  const metadata: Record<string, string> = {
    format: FORMAT,
    version: String(PLAN_VERSION),
    type: plan.type,
    config: asText(files.config, 'config.json'),
  }
  if (files.generation !== undefined) metadata.generation = asText(files.generation, 'generation_config.json')
  if (files.tokenizerConfig !== undefined)
    metadata.tokenizer_config = asText(files.tokenizerConfig, 'tokenizer_config.json')
  return metadata
}

/** JSON that was read may still be nested too deep to be written. */
function asText(value: unknown, name: string): string {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    throw errors.badJson(name, cause)
  }
}

/** Spaces behind JSON are no part of it, so the padding needs no length field. */
function padTokenizer(json: Uint8Array): Uint8Array {
  const padded = new Uint8Array(roundUp(json.length, 64)).fill(0x20)
  padded.set(json)
  return padded
}

/** Makes a rename durable. Not every file system can sync a directory; then the rename is as safe as it gets. */
async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, 'r')
    await directory.sync().finally(() => directory.close())
  } catch {}
}
