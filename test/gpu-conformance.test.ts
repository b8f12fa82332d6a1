/**
 * The WebGPU engine with f32 weights against the references of every attention kind and family, on a software adapter: logits
 * within 2e-3 of a float64 evaluation, the same greedy tokens; prompts at once, step by step, in threes and together.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy, type Row } from '../host/engine/engine.ts'
import { describe } from '../models/index.ts'
import { type GoldenCase, golden, kinds, readGolden, readJson, worst } from './fixtures/goldens.ts'
import { logitsOf } from './harness/engines.ts'
import { gpuTest } from './harness/gpu.ts'
import { openGpu } from './harness/gpu-engines.ts'

const TOLERANCE = 2e-3

/** SwiftShader takes far longer to compile: gpu-web.test.ts has the kind of the paper there, npm run conformance:gpu all. */
const where = { on: ['lavapipe'] as const }

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
    where,
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
/** Norms of every kind, windows, biases, low-rank queries, states. npm run conformance:gpu has all of them. */
const families = ['gemma2', 'gpt_neox', 'lfm2', 'minicpm3', 'olmo2', 'qwen3_5_text']

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
    where,
  )

test.run()
