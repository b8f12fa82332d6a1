/**
 * The WebGPU engine with q8 and q4 weights and an int8 cache beside the WebAssembly engine, on a software adapter: logits within
 * 1e-3 of its own, in relation to the largest, but where a number at the edge of two integers was rounded otherwise.
 */
import { readdirSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy } from '../host/engine/engine.ts'
import { PAGE_TOKENS } from '../models/index.ts'
import { golden, kinds, readGolden, readJson, worst } from './fixtures/goldens.ts'
import { logitsOf, openEngine } from './harness/engines.ts'
import { gpuTest, isWhole } from './harness/gpu.ts'
import { openGpu } from './harness/gpu-engines.ts'

const RELATIVE = 1e-3

/** Each model on one adapter, the kind of the paper on both; GTA_TEST_ADAPTER: all on that one. */
const on = (name: string) => (name === 'gta' ? {} : { on: ['lavapipe'] as const })
/** Products with q4 weights are the same in all models. */
const withQ4 = isWhole ? ['gta', 'mla', 'gemma2'] : ['gta']

const folderOf = (family: string) => golden(`families/${family}`)
const families = isWhole ? readdirSync(golden('families')) : ['gemma2', 'lfm2', 'qwen3_5_text']
const kindsHere = isWhole ? kinds : (['gta', 'mla', 'tied'] as const)

/** Largest difference in relation to the largest number. */
function relative(found: Float32Array, expected: Float32Array): number {
  return worst(found, expected) / Math.max(...expected.map(Math.abs))
}

const longest = (texts: number[][]) => texts.reduce((long, text) => (text.length > long.length ? text : long))

const rounded = [
  ...kindsHere.map((kind) => ({
    name: kind,
    folder: golden(kind),
    prompt: longest(readGolden(kind).cases.map(({ prompt_ids }) => prompt_ids)),
  })),
  ...families.map((name) => ({
    name,
    folder: folderOf(name),
    prompt: readJson(`${folderOf(name)}/golden.json`).prompt as number[],
  })),
]

/** Gives a GPU's cache what the other engine's has of the page of a position. */
async function copyPage(from: KvCache, to: KvCache, position: number): Promise<void> {
  const index = Math.floor(position / PAGE_TOKENS)
  for (const kind of from.kinds.keys()) {
    const [source, target] = [from, to].map((cache) => cache.cached(0).pages[index]?.id as number) as [number, number]
    await to.storePage(target, await from.fetchPage(source, kind), { kind })
  }
}

/**
 * Logits of each position, from the same cache: a number at the edge of two integers may be rounded otherwise where a sum had
 * another order, and then what is left in the cache is another number too. It must not count against what comes after it.
 */
async function compareSteps(cpu: KvCache, cache: KvCache, prompt: readonly number[]): Promise<number[]> {
  const differences: number[] = []
  cpu.rewind(0, 0)
  cache.rewind(0, 0)
  for (const [position, token] of prompt.entries()) {
    const row = { conversation: 0, position, token, sampling: greedy }
    await Promise.all([cpu.step([row]), cache.step([row])])
    differences.push(relative(await cache.logits(0), await cpu.logits(0)))
    await copyPage(cpu, cache, position)
  }
  return differences
}

for (const { name, folder, prompt } of rounded)
  for (const type of withQ4.includes(name) ? (['q8', 'q4'] as const) : (['q8'] as const))
    gpuTest(
      `${name}, ${type} with an int8 cache: the logits of the WebAssembly engine`,
      async (adapter) => {
        const options = { type, context: 64, maxLogits: 64 }
        const text = prompt.slice(0, 56)
        const cpu = await openEngine(folder, options)
        const { cache } = await openGpu(adapter, folder, options)
        try {
          const whole = await logitsOf(cache, text)
          cache.rewind(0, 0)
          for (const [i, logits] of (await logitsOf(cache, text, 5)).entries())
            assert.ok(
              relative(logits, whole[i] as Float32Array) <= RELATIVE,
              `${name}, ${type}: prefill and steps at ${i}`,
            )
          const differences = await compareSteps(cpu, cache, text)
          const rounded = differences.filter((difference) => difference > RELATIVE)
          const said = `${name}, ${type}: ${rounded.length} of ${text.length} positions differ by up to ${Math.max(...differences)}`
          console.log(said)
          assert.ok(rounded.length <= 1 + text.length / 10 && Math.max(...differences) < 0.15, said)
        } finally {
          await cpu.close()
          await cache.close()
        }
      },
      on(name),
    )

test.run()
