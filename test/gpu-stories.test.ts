/**
 * The stories model on a GPU, q8 with an int8 cache as it is shipped: of 20 texts that go on for 64 tokens, each token is the
 * one of the WebAssembly engine wherever that engine's choice was not a close one. Both are given the WebAssembly engine's.
 */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy, type Row } from '../host/engine/engine.ts'
import { load } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { golden } from './fixtures/goldens.ts'
import { openEngine } from './harness/engines.ts'
import { gpuTest } from './harness/gpu.ts'
import { openGpu } from './harness/gpu-engines.ts'

const PROMPTS = 20
const TOKENS = 64
/** A choice is close if the second best logit is as near as this. */
const MARGIN = 1e-2

/** The beginnings of stories that the model was not trained on. */
async function prompts(): Promise<number[][]> {
  const model = await load(golden('stories'))
  const stories = readFileSync(`${golden('stories')}/valid_slice.txt`, 'utf8').split('<|endoftext|>').slice(1)
  const ids = stories.map((story) => runtimeOf(model).promptIds(story.trim()).slice(0, 12))
  await model.close()
  return ids.filter((list) => list.length === 12).slice(0, PROMPTS)
}

const options = { type: 'q8', context: 128, maxRows: 64, maxLogits: PROMPTS, conversations: PROMPTS } as const

/** All prompts but for their last tokens, which the first step has. */
async function feed(cache: KvCache, texts: readonly number[][]): Promise<void> {
  const rows = texts.flatMap((ids, conversation) =>
    ids.slice(0, -1).map((token, position) => ({ conversation, position, token })),
  )
  for (let at = 0; at < rows.length; at += options.maxRows) await cache.step(rows.slice(at, at + options.maxRows))
}

/** How far the best logit is above the second. */
function marginOf(logits: Float32Array): number {
  const [best = 0, second = 0] = logits.slice().sort().reverse()
  return best - second
}

gpuTest(
  'the stories model chooses the tokens of the WebAssembly engine',
  async (adapter) => {
    const texts = await prompts()
    assert.is(texts.length, PROMPTS)
    const cpu = await openEngine(golden('stories'), options)
    const { cache } = await openGpu(adapter, golden('stories'), options)
    await Promise.all([feed(cpu, texts), feed(cache, texts)])
    let tokens = texts.map((ids) => ids.at(-1) as number)
    let [close, others] = [0, 0]
    for (let i = 0; i < TOKENS; i++) {
      const rows: Row[] = tokens.map((token, conversation) => ({
        ...{ conversation, position: 11 + i, token, sampling: greedy },
      }))
      const [expected, found] = await Promise.all([cpu.step(rows), cache.step(rows)])
      for (let k = 0; k < PROMPTS; k++) {
        if (marginOf(await cpu.logits(k)) > MARGIN) assert.is(found[k], expected[k], `text ${k}, token ${i}`)
        else close++
        others += Number(found[k] !== expected[k])
      }
      tokens = [...expected]
    }
    console.log(`${adapter.name}: ${others} of ${PROMPTS * TOKENS} tokens are others, ${close} choices were close`)
    assert.ok(close < (PROMPTS * TOKENS) / 20, 'most choices are compared')
    await Promise.all([cpu.close(), cache.close()])
  },
  { on: ['lavapipe'] },
)

test.run()
