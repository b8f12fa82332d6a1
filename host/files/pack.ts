/**
 * Writes the packed `.gta` file:
 *
 *     ┌ safetensors header, padded so that data starts at a multiple of 64
 *     │   __metadata__: format "gta-edge", version, type q8|q4|f32, config, generation, tokenizer_config (JSON texts)
 *     ├ command                    U8, where everything is for gta.wasm: tables.ts; not loaded into the engine
 *     ├ plan                       u32 words, models/plan.ts
 *     ├ inv_freq                   f64
 *     ├ embed, embed.scale, layers.0.attn_norm, layers.0.in, …    in the order in which a step reads them
 *     ├ tokenizer.json             U8, padded with spaces; not loaded into the engine
 *     └ tokenizer.tables           U8, the same for gta.wasm: tokenizer-tables.ts
 *
 * From the plan to the tokenizer it is one range of bytes that is read straight into the engine's memory.
 */
import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type ModelSpec, PLAN_VERSION, type Plan, roundUp } from '../../models/index.ts'
import { errors, GtaError } from '../errors.ts'
import type { Checkpoint } from './checkpoint.ts'
import { FORMAT, TOKENIZER_TENSOR } from './packed.ts'
import { type Dtype, encodeHeader } from './safetensors.ts'
import type { ModelFiles } from './source.ts'
import { commandHeader, type Part, TABLES_TENSOR } from './tables.ts'
import { type PackOptions, packTensors } from './tensors.ts'
import { tokenizerTables } from './tokenizer-tables.ts'

/** Writes the packed file: under a temporary name, synced, then renamed. On any failure nothing is left behind. */
export async function writePacked(
  path: string,
  checkpoint: Checkpoint,
  plan: Plan,
  options: PackOptions = {},
): Promise<{ bytes: number }> {
  const temporary = `${path}.tmp-${randomUUID().slice(0, 8)}`
  try {
    const bytes = await writeTo(temporary, checkpoint, plan, options)
    options.signal?.throwIfAborted()
    await rename(temporary, path)
    await syncDirectory(dirname(path))
    return { bytes }
  } catch (error) {
    // The reason of the failure is what counts, not that there is nothing to remove.
    await rm(temporary, { force: true }).catch(() => undefined)
    if (error instanceof GtaError || options.signal?.aborted) throw error
    throw (error as NodeJS.ErrnoException)?.code ? errors.writeFailed(path, error) : error
  }
}

async function writeTo(path: string, checkpoint: Checkpoint, plan: Plan, options: PackOptions): Promise<number> {
  const { files } = checkpoint
  const more = [
    ...(files.tokenizer ? [{ name: TOKENIZER_TENSOR, bytes: padTokenizer(files.tokenizer) }] : []),
    ...(files.tokenizer
      ? [{ name: TABLES_TENSOR, bytes: tokenizerTables(files.tokenizer, files.tokenizerConfig) }]
      : []),
  ]
  const header = packedHeader(checkpoint.model.spec, files, plan, more)
  const file = await open(path, 'wx')
  try {
    const write = async (position: number, bytes: Uint8Array) => {
      let done = 0
      while (done < bytes.length)
        done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
    }
    await write(0, header)
    await packTensors(checkpoint, plan, (offset, bytes) => write(header.length + offset, bytes), options)
    let end = header.length + plan.bytes
    for (const { bytes } of more) {
      await write(end, bytes)
      end += bytes.length
    }
    await file.sync()
    return end
  } finally {
    await file.close()
  }
}

/** What stands before the packed tensors of a file, the one for the command included; `more` follow behind them. */
export function packedHeader(spec: ModelSpec, files: ModelFiles, plan: Plan, more: readonly Part[] = []): Uint8Array {
  const command = commandHeader(spec, files, plan, more)
  const tensors: { name: string; dtype: Dtype; shape: number[]; offset: number; bytes: number }[] = []
  let offset = 0
  const add = (tensor: Omit<(typeof tensors)[number], 'offset'>) => {
    tensors.push({ ...tensor, offset })
    offset += tensor.bytes
  }
  const addBytes = ({ name, bytes }: Part) => add({ name, dtype: 'U8', shape: [bytes.length], bytes: bytes.length })
  addBytes(command)
  plan.tensors.forEach(add)
  more.forEach(addBytes)
  return concatBytes(encodeHeader(packedMetadata(files, plan), tensors), command.bytes)
}

function concatBytes(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
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
