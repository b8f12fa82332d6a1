/**
 * Prompts on a GPU and everything else on the CPU, on a real adapter: whatever happens to conversations, they have what the CPU
 * alone would have computed, but for the last digits of what the GPU did.
 */
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvCache } from '../host/cache/cache.ts'
import type { Engine } from '../host/engine/engine.ts'
import { openPaired } from '../host/engine/paired.ts'
import { type Conversation, type LoadOptions, load } from '../host/index.ts'
import type { CacheType, WeightType } from '../models/index.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { golden, worst } from './fixtures/goldens.ts'
import { openBare } from './harness/engines.ts'
import { gpuTest, type TestAdapter } from './harness/gpu.ts'
import { openGpu } from './harness/gpu-engines.ts'
import { useAdapter } from './harness/gpu-models.ts'
import { Histories, say } from './harness/histories.ts'

const where = { on: ['lavapipe'] } as const
const options = { context: 256, maxRows: 60, maxLogits: 4, conversations: 4, pages: 14 }

/** An engine on the CPU, and another one with a GPU for its prompts. */
async function openBoth(adapter: TestAdapter, type: WeightType, cache: CacheType, promptRows?: number) {
  const own = { ...options, type, cache }
  const [alone, cpu, gpu] = await Promise.all([
    openBare(golden('gta'), own),
    openBare(golden('gta'), own),
    openGpu(adapter, golden('gta'), own),
  ])
  const first = gpu.cache.engine
  const counts = countPages(first, cpu)
  return { caches: [new KvCache(alone), new KvCache(await openPaired(first, cpu, promptRows))] as const, counts }
}

/** Pages that left the GPU, and that came to it, and steps of it. */
function countPages(gpu: Engine, cpu: Engine) {
  const counts = { fromGpu: 0, toGpu: 0, steps: 0 }
  const { read } = gpu.pages
  gpu.pages.read = (place, kind) => {
    counts.fromGpu++
    return read(place, kind)
  }
  const fromCpu = cpu.pages.read.bind(cpu.pages)
  cpu.pages.read = (place, kind) => {
    counts.toGpu++
    return fromCpu(place, kind)
  }
  const step = gpu.step.bind(gpu)
  gpu.step = (rows) => {
    counts.steps++
    return step(rows)
  }
  return counts
}

/** Histories that are the same but for rounding: `far` is how far logits may be apart, in relation to the largest. */
class NearHistories extends Histories {
  far = 0
  /** The largest distance that there was. */
  seen = 0

  protected override compare(found: unknown, expected: unknown): void {
    if (expected instanceof Float32Array) {
      const apart = worst(found as Float32Array, expected) / Math.max(...expected.map(Math.abs))
      this.seen = Math.max(this.seen, apart)
      assert.ok(apart <= this.far, `logits are ${apart} apart`)
    } else if (Array.isArray(expected)) {
      assert.is((found as unknown[]).length, expected.length)
      for (const [i, one] of expected.entries()) this.compare((found as unknown[])[i], one)
    } else if (expected !== null && typeof expected === 'object') {
      for (const [key, one] of Object.entries(expected)) this.compare((found as Record<string, unknown>)[key], one)
    } else assert.ok(typeof expected !== 'string' || found === expected, `${found}`)
  }
}

for (const [type, cache, far] of [
  ['f32', 'f32', 1e-4],
  ['q8', 'int8', 1e-3],
] as const)
  gpuTest(
    `prefill: a random history of conversations, ${type} with a cache of ${cache}`,
    async (adapter) => {
      const { caches, counts } = await openBoth(adapter, type, cache, 5)
      const both = new NearHistories(caches, 5)
      both.far = far
      await say(both, 0, 120, 60)
      for (let i = 0; i < 60; i++) await both.act()
      console.log(`${adapter.name}, ${type}: logits at most ${both.seen} apart, ${JSON.stringify(counts)}`)
      assert.ok(counts.steps > 1 && counts.fromGpu > 3, JSON.stringify(counts))
      for (const one of both.caches) await one.close()
    },
    where,
  )

gpuTest(
  'prefill: a page crosses once, when it is first read, and back only if the CPU wrote it since',
  async (adapter) => {
    const { caches, counts } = await openBoth(adapter, 'f32', 'f32')
    const both = new NearHistories(caches, 1)
    both.far = 1e-4
    const crossed = () => [counts.fromGpu, counts.toGpu, counts.steps]
    await say(both, 0, 180, 60)
    assert.equal(crossed(), [0, 0, 3])
    await say(both, 0, 10, 1)
    assert.equal(crossed(), [3, 0, 3], 'three pages of 64 tokens')
    await both.each((cache) => cache.fork(0, 1))
    await say(both, 1, 2, 1)
    await say(both, 0, 2, 1)
    assert.equal(crossed(), [3, 0, 3], 'what is shared is there')
    // 192 tokens: the last page begins anew, and the one before it was written by the CPU.
    await say(both, 0, 60)
    assert.equal(crossed(), [3, 1, 4])
    for (const one of both.caches) await one.close()
  },
  where,
)

const text = (length: number, which = 1) => Array.from({ length }, (_, i) => (i * (3 + which) + which) % 250)

async function generate(conversation: Conversation, ids: number[]): Promise<number[]> {
  const stream = conversation.generate(ids, { maxTokens: 6, temperature: 0, stopAtEos: false })
  for await (const _ of stream);
  return (await stream.result).tokens
}

/** A conversation that is read, forked, cut, saved, brought back by another model, and goes on. */
async function talk(one: LoadOptions, other: LoadOptions): Promise<number[][]> {
  const path = join(temporary(), 'talk.gta-session')
  const said: number[][] = []
  await using model = await load(golden('gta'), one)
  {
    using conversation = model.open()
    said.push(await generate(conversation, text(70)))
    using fork = conversation.fork()
    said.push(...(await Promise.all([generate(conversation, text(5, 2)), generate(fork, text(40, 3))])))
    conversation.rewind(66)
    said.push(await generate(conversation, text(36, 4)))
    await conversation.save(path)
  }
  await using second = await load(golden('gta'), other)
  using restored = await second.restore(path)
  said.push(await generate(restored, [9]))
  return said
}

gpuTest(
  'prefill: conversations of the library, and sessions from one engine to another',
  async (adapter) => {
    useAdapter(adapter)
    const cpu: LoadOptions = { type: 'f32', threads: 1, cacheMemory: 2 ** 21 }
    const prefill: LoadOptions = { ...cpu, gpu: 'prefill', gpuForce: true }
    const expected = await talk(cpu, cpu)
    assert.equal(await talk(prefill, cpu), expected)
    assert.equal(await talk(cpu, { ...prefill, gpu: 'on' }), expected)
    assert.equal(await talk({ ...prefill, gpu: 'on' }, prefill), expected)
  },
  where,
)

test.run()
