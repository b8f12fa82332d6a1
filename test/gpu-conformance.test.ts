/**
 * The WebGPU engine against the references of every attention kind and family, and against the WebAssembly engine, on each
 * software adapter that is here. f32: logits within 2e-3 of a float64 reference, the same greedy tokens. q8 and q4 weights with an
 * int8 cache: within 1e-3 of the other engine's, in relation to the largest logit, but where a number was rounded otherwise.
 */
import { readdirSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy, type Row } from '../host/engine/engine.ts'
import { describe, PAGE_TOKENS } from '../models/index.ts'
import { type GoldenCase, golden, kinds, readGolden, readJson, worst } from './fixtures/goldens.ts'
import { logitsOf, openEngine } from './harness/engines.ts'
import { gpuTest } from './harness/gpu.ts'
import { openGpu } from './harness/gpu-engines.ts'

const TOLERANCE = 2e-3
const RELATIVE = 1e-3

/** Each model on one adapter, the kind of the paper on both; GTA_TEST_ADAPTER: all on that one. */
const on = (name: string) => (name === 'gta' ? {} : { on: ['lavapipe'] as const })
/** Products with q4 weights are the same in all models. */
const withQ4 = ['gta', 'mla', 'gemma2']

const rowsOf = (ids: readonly number[], conversation: number): Row[] =>
  ids.map((token, position) => ({
    ...{ conversation, position, token },
    sampling: position === ids.length - 1 ? greedy : undefined,
  }))

/** Feeds a case in slices, then its greedy tokens one by one; resolves to the logits at both places. */
async function check(cache: KvCache, what: string, one: GoldenCase, slice: number): Promise<Float32Array[]> {
  cache.rewind(0, 0)
  let next: Uint32Array = new Uint32Array()
  const rows = rowsOf(one.prompt_ids, 0)
  for (let from = 0; from < rows.length; from += slice) next = await cache.step(rows.slice(from, from + slice))
  const prefill = (await cache.logits(0)).slice()
  const first = worst(prefill, one.prefill_logits_last)
  assert.ok(first <= TOLERANCE, `${what}: prefill logits differ by ${first}`)
  for (const [i, token] of one.greedy_ids.entries()) {
    assert.is(next[0], token, `${what}: greedy token ${i}`)
    next = await cache.step([{ conversation: 0, position: rows.length + i, token, sampling: greedy }])
  }
  const after = (await cache.logits(0)).slice()
  const last = worst(after, one.logits_after_8)
  assert.ok(last <= TOLERANCE, `${what}: logits after 8 tokens differ by ${last}`)
  return [prefill, after]
}

/** All cases at once, a conversation each: the first step has all prompts, one behind the other. */
async function checkTogether(cache: KvCache, what: string, cases: readonly GoldenCase[]): Promise<void> {
  for (const c of cases.keys()) cache.rewind(c, 0)
  let next = await cache.step(cases.flatMap(({ prompt_ids }, c) => rowsOf(prompt_ids, c)))
  for (const [c, { prefill_logits_last }] of cases.entries())
    assert.ok(worst(await cache.logits(c), prefill_logits_last) <= TOLERANCE, `${what}, conversation ${c}`)
  for (let i = 0; i < 8; i++) {
    assert.equal(
      [...next],
      cases.map(({ greedy_ids }) => greedy_ids[i]),
      `${what}: greedy tokens ${i}`,
    )
    const rows = cases.map(({ prompt_ids, greedy_ids }, conversation) => ({
      ...{ conversation, position: prompt_ids.length + i, token: greedy_ids[i] as number, sampling: greedy },
    }))
    next = await cache.step(rows)
  }
  for (const [c, { logits_after_8 }] of cases.entries())
    assert.ok(worst(await cache.logits(c), logits_after_8) <= TOLERANCE, `${what}, conversation ${c} at its end`)
}

for (const kind of kinds)
  gpuTest(
    `${kind}, f32: its reference at once, step by step, in threes and together`,
    async (adapter) => {
      const { cache } = await openGpu(adapter, golden(kind), { type: 'f32', maxRows: 128, conversations: 3 })
      try {
        const { cases } = readGolden(kind)
        assert.is(cases.length, 3)
        for (const [i, one] of cases.entries()) {
          const whole = await check(cache, `${kind}, case ${i}`, one, 128)
          for (const slice of [1, 3]) {
            const parts = await check(cache, `${kind}, case ${i}, slices of ${slice}`, one, slice)
            for (const [k, logits] of parts.entries())
              assert.ok(worst(logits, whole[k] as Float32Array) <= 1e-3, `${kind}, case ${i}: prefill and steps`)
          }
        }
        await checkTogether(cache, kind, cases)
      } finally {
        await cache.close()
      }
    },
    on(kind),
  )

interface FamilyCase {
  prompt: number[]
  logits: number[]
  argmax: number[]
  greedy: number[]
}

const best = (logits: Float32Array) => logits.indexOf(Math.max(...logits))
const folderOf = (family: string) => golden(`families/${family}`)
const specOf = (family: string) => describe(readJson(`${folderOf(family)}/config.json`)).spec
const families = readdirSync(golden('families'))

for (const family of families)
  gpuTest(
    `${family}, f32: the logits and the tokens of its reference`,
    async (adapter) => {
      const { cases, ...first } = readJson(`${folderOf(family)}/golden.json`)
      const { maxContext } = specOf(family)
      const options = { type: 'f32', context: Math.min(192, maxContext), maxRows: 64, maxLogits: 64 } as const
      const { cache } = await openGpu(adapter, folderOf(family), options)
      try {
        for (const { prompt, logits, argmax, greedy: expected } of [first, ...cases] as FamilyCase[]) {
          if (prompt.length + expected.length - 1 > options.context) continue
          cache.rewind(0, 0)
          const found = await logitsOf(cache, prompt)
          const difference = worst(found.at(-1) as Float32Array, logits)
          assert.ok(difference <= TOLERANCE, `${family}: logits differ by ${difference}`)
          assert.equal(found.map(best), argmax)
          const written = [best(found.at(-1) as Float32Array)]
          for (let i = 0; i + 1 < expected.length; i++) {
            const row = { conversation: 0, position: prompt.length + i, token: written[i] as number, sampling: greedy }
            written.push((await cache.step([row]))[0] as number)
          }
          assert.equal(written, expected)
        }
      } finally {
        await cache.close()
      }
    },
    on(family),
  )

<<<<<<< HEAD
=======
/** Largest difference in relation to the largest number. */
function relative(found: Float32Array, expected: Float32Array): number {
  return worst(found, expected) / Math.max(...expected.map(Math.abs))
}

const longest = (texts: number[][]) => texts.reduce((long, text) => (text.length > long.length ? text : long))

const rounded = [
  ...kinds.map((kind) => ({
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

>>>>>>> gpu-use
test.run()
