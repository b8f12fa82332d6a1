/** A packed file of any shape with synthetic weights, for programs that take files. */
import { open, readFile } from 'node:fs/promises'
import { layOut, tokenizerParts } from '../host/files/pack.ts'
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
  const behind = tokenizer === undefined ? [] : await tokenizerParts(await readFile(tokenizer), undefined)
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
