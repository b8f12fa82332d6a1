/** A packed file of any shape with synthetic weights, for programs that take files. */
import { open, readFile } from 'node:fs/promises'
import { layOut } from '../host/files/pack.ts'
import { TABLES_TENSOR, TOKENIZER_TENSOR } from '../host/files/packed.ts'
import { tokenizerTables } from '../host/files/tokenizer-tables.ts'
import { fillSynthetic } from '../host/tools/bench/synthetic.ts'
import { describe, planModel, type WeightType } from '../models/index.ts'

/** Writes `path`, which must not be there; returns its bytes. With `tokenizer`, a tokenizer.json, it has that one's words. */
export async function writeSynthetic(
  path: string,
  config: object,
  type: WeightType,
  tokenizer?: string,
): Promise<number> {
  const model = describe(config)
  const plan = planModel(model, type)
  const behind = tokenizer === undefined ? [] : await wordsOf(tokenizer)
  const { header, command } = layOut(model.spec, { config }, plan, behind)
  const start = Buffer.concat([header, command.bytes])
  const weights = new Uint8Array(plan.bytes)
  await fillSynthetic(model, plan, (offset, bytes) => weights.set(bytes, offset))
  const target = await open(path, 'wx')
  let at = 0
  const step = 2 ** 28
  for (const bytes of [start, weights, ...behind.map((part) => part.bytes)]) {
    for (let from = 0; from < bytes.length; from += step)
      await target.write(bytes, from, Math.min(step, bytes.length - from), at + from)
    at += bytes.length
  }
  await target.close()
  return at
}

async function wordsOf(path: string) {
  const json = await readFile(path)
  // Tensors begin at multiples of 16, and spaces behind JSON are no part of it.
  const padded = new Uint8Array(Math.ceil(json.length / 16) * 16).fill(0x20)
  padded.set(json)
  return [
    { name: TOKENIZER_TENSOR, bytes: padded },
    { name: TABLES_TENSOR, bytes: await tokenizerTables(json, undefined) },
  ]
}
