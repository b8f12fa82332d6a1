/**
 * Long contexts on a GPU, which sweeps them in chunks from 1,024 tokens on: steps of every size behind 2,000 tokens, conversations
 * of all lengths in one step, windows; beside the WebAssembly engine, which reads the same.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy, type Row } from '../host/engine/engine.ts'
import type { CacheType, WeightType } from '../models/index.ts'
import { random, randomTensors, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden, readJson, worst } from './fixtures/goldens.ts'
import { openEngine } from './harness/engines.ts'
import { gpuTest, isWhole, type TestAdapter } from './harness/gpu.ts'
import { openGpu } from './harness/gpu-engines.ts'

const where = { on: ['lavapipe'] } as const
const CONTEXT = 2560
const ROWS = 128

const long = (path: string, fields: object = {}) => {
  const config = { ...readJson(golden(`${path}/config.json`)), max_position_embeddings: CONTEXT, ...fields }
  return writeCheckpoint(config, randomTensors(config, 'F32', 11))
}

const next = random(3)
const text = Array.from({ length: CONTEXT }, () => Math.floor(next() * 140))

/** Rows of a conversation from a position on, of which the last one wants a token. */
const rowsOf = (conversation: number, from: number, count: number): Row[] =>
  Array.from({ length: count }, (_, i) => {
    const position = from + i
    const row = { conversation, position, token: text[position] as number }
    return i === count - 1 ? { ...row, sampling: greedy } : row
  })

/** Both engines, in all that they do. */
class Both {
  far = 0
  private readonly caches: readonly KvCache[]

  constructor(caches: readonly KvCache[]) {
    this.caches = caches
  }

  async feed(conversation: number, to: number, from = 0): Promise<void> {
    for (let at = from; at < to; at += ROWS) await this.step(rowsOf(conversation, at, Math.min(ROWS, to - at)))
  }

  /** Notes how far the logits of all rows that want some are apart, in relation to the largest. */
  async step(rows: readonly Row[]): Promise<Float32Array[]> {
    await Promise.all(this.caches.map((cache) => cache.step(rows)))
    const count = rows.filter(({ sampling }) => sampling).length
    const found: Float32Array[] = []
    for (let k = 0; k < count; k++) {
      const [mine, expected] = (await Promise.all(this.caches.map(async (one) => (await one.logits(k)).slice()))) as [
        Float32Array,
        Float32Array,
      ]
      this.far = Math.max(this.far, worst(mine, expected) / Math.max(...expected.map(Math.abs)))
      found.push(mine)
    }
    return found
  }

  rewind(conversation: number, length: number): void {
    for (const cache of this.caches) cache.rewind(conversation, length)
  }

  async close(): Promise<void> {
    await Promise.all(this.caches.map((cache) => cache.close()))
  }
}

async function open(adapter: TestAdapter, directory: string, type: WeightType, cache: CacheType): Promise<Both> {
  const options = { context: CONTEXT, maxRows: ROWS, maxLogits: 8, conversations: 8, type, cache, pages: 200 }
  const [gpu, cpu] = await Promise.all([openGpu(adapter, directory, options), openEngine(directory, options)])
  return new Both([gpu.cache, cpu])
}

const gta = long('gta')
const types = [
  ['q8', 'int8'],
  ['q8', 'f32'],
  ['f32', 'f32'],
] as const

for (const [type, cache] of isWhole ? types : types.slice(0, 1))
  gpuTest(
    `behind 2,000 tokens: steps of all sizes, ${type} with a cache of ${cache}`,
    async (adapter) => {
      const both = await open(adapter, gta, type, cache)
      await both.feed(0, 2000)
      const prompt = both.far
      let at = 2000
      for (const count of [1, 7, 8, 9, 63, 64, 65]) {
        await both.step(rowsOf(0, at, count))
        at += count
      }
      // Prefill is as many steps.
      const [once] = await both.step(rowsOf(0, at, 20))
      both.rewind(0, at)
      let last: Float32Array | undefined
      for (let i = 0; i < 20; i++) [last] = await both.step(rowsOf(0, at + i, 1))
      const steps =
        worst(last as Float32Array, once as Float32Array) / Math.max(...(once as Float32Array).map(Math.abs))
      console.log(
        `${adapter.name}, ${type}, ${cache}: ${prompt}, ${both.far} from the CPU; prefill ${steps} from steps`,
      )
      assert.ok(both.far < 1e-3, `${both.far}`)
      assert.ok(steps < 1e-3, `${steps}`)
      await both.close()
    },
    where,
  )

gpuTest(
  'conversations of all lengths in one step',
  async (adapter) => {
    const lengths = [0, 1, 63, 64, 500, 1023, 1024, 1500]
    const both = await open(adapter, gta, 'q8', 'int8')
    for (const [conversation, length] of lengths.entries()) await both.feed(conversation, length)
    const at = [...lengths]
    for (const counts of [
      [1, 1, 1, 1, 1, 1, 1, 1],
      [3, 1, 64, 1, 2, 1, 20, 1],
      [1, 1, 1, 1, 1, 1, 1, 1],
    ]) {
      await both.step(lengths.flatMap((_, i) => rowsOf(i, at[i] as number, counts[i] as number)))
      for (const [i, count] of counts.entries()) at[i] = (at[i] as number) + count
    }
    console.log(`${adapter.name}: conversations of all lengths ${both.far} from the CPU`)
    assert.ok(both.far < 1e-3, `${both.far}`)
    await both.close()
  },
  where,
)

gpuTest(
  'windows, shorter and longer than a chunk',
  async (adapter) => {
    for (const window of isWhole ? [70, 700, 1500] : [1100]) {
      const both = await open(adapter, long('families/gemma3_text', { sliding_window: window }), 'f32', 'f32')
      const length = window + 500
      await both.feed(0, length)
      await both.feed(1, 200)
      await both.step([...rowsOf(0, length, 7), ...rowsOf(1, 200, 30)])
      await both.step([...rowsOf(0, length + 7, 1), ...rowsOf(1, 230, 1)])
      console.log(`${adapter.name}: a window of ${window} ${both.far} from the CPU`)
      assert.ok(both.far < 1e-3, `${window}: ${both.far}`)
      await both.close()
    }
  },
  where,
)

test.run()
