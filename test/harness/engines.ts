/** Engines of the golden and of other checkpoints in every build, opened without the detour over `load()`. */

import { KvCache } from '../../host/cache/cache.ts'
import { type Engine, type EngineOptions, greedy, type Row } from '../../host/engine/engine.ts'
import { type Build, builds, singleBuilds } from '../../host/engine/wasm/builds.ts'
import { openWasmEngine } from '../../host/engine/wasm/engine.ts'
import { Checkpoint } from '../../host/files/checkpoint.ts'
import { packTensors } from '../../host/files/tensors.ts'
import { type ModelSpec, type Plan, planModel, type WeightType } from '../../models/index.ts'

export const [relaxed, strict] = builds as [Build, Build]
export const [relaxedSingle, strictSingle] = singleBuilds as [Build, Build]

interface Packed {
  spec: ModelSpec
  plan: Plan
  weights: Uint8Array
}

const packed = new Map<string, Promise<Packed>>()

async function pack(directory: string, type: WeightType): Promise<Packed> {
  const checkpoint = await Checkpoint.open(directory)
  const plan = planModel(checkpoint.model, type)
  const weights = new Uint8Array(plan.bytes)
  await packTensors(checkpoint, plan, (offset, bytes) => weights.set(bytes, offset))
  await checkpoint.close()
  return { spec: checkpoint.model.spec, plan, weights }
}

function once<T>(map: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const found = map.get(key) ?? make()
  map.set(key, found)
  return found
}

/** A checkpoint's packed tensors; each is packed once per type. */
export const packedOf = (directory: string, type: WeightType): Promise<Packed> =>
  once(packed, `${directory} ${type}`, () => pack(directory, type))

/** What an engine of a test is opened with, unless the test says otherwise. The cache is int8 unless the weights are f32. */
export const testOptions = (type: WeightType): EngineOptions => ({
  ...{ context: 192, cache: type === 'f32' ? 'f32' : 'int8', maxRows: 64, maxLogits: 4, conversations: 1 },
})

export interface OpenOptions extends Partial<EngineOptions> {
  type?: WeightType
  build?: Build
}

/** An engine of a checkpoint. */
export async function openBare(
  directory: string,
  { type = 'q8', build = relaxed, ...options }: OpenOptions = {},
): Promise<Engine> {
  const { spec, plan, weights } = await packedOf(directory, type)
  return await openWasmEngine({
    spec,
    plan,
    options: { ...testOptions(type), ...options },
    build,
    load: (target) => target.write(0, weights),
  })
}

/** The same behind its cache. */
export async function openEngine(directory: string, options: OpenOptions = {}): Promise<KvCache> {
  return await KvCache.open(await openBare(directory, options), options.offload?.directory)
}

/** Feeds tokens from a position on, `slice` at a time; resolves to the logits of the last one. */
export async function feed(
  engine: KvCache,
  tokens: readonly number[],
  { from = 0, slice = engine.facts.maxRows, conversation = 0 } = {},
): Promise<Float32Array> {
  const rows: Row[] = tokens.map((token, i) => ({ conversation, position: from + i, token }))
  rows[rows.length - 1] = { ...(rows.at(-1) as Row), sampling: greedy }
  for (let at = 0; at < rows.length; at += slice) await engine.step(rows.slice(at, at + slice))
  return (await engine.logits(0)).slice()
}

/** Logits at every position of a text, fed from position `from` on; the engine has `maxLogits` of at least `slice`. */
export async function logitsOf(engine: KvCache, tokens: number[], slice = 64, from = 0): Promise<Float32Array[]> {
  const logits: Float32Array[] = []
  for (let at = 0; at < tokens.length; at += slice) {
    const part = tokens.slice(at, at + slice)
    await engine.step(part.map((token, i) => ({ conversation: 0, position: from + at + i, token, sampling: greedy })))
    for (let i = 0; i < part.length; i++) logits.push((await engine.logits(i)).slice())
  }
  return logits
}
