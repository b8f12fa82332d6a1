/**
 * The stories model on a GPU: texts that go on, 4 for 12 tokens or, with GTA_GPU_WHOLE=1, 20 for 64, both engines given the WebAssembly
 * engine's choices. With q8 and q4 weights the logits have that engine's bits; with f32 weights, whose products are summed in
 * another order, each token is the same wherever the choice was not a close one.
 */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy, type Row } from '../host/engine/engine.ts'
import { load } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import type { CacheType, WeightType } from '../models/index.ts'
import { golden, worst } from './fixtures/goldens.ts'
import { openEngine } from './harness/engines.ts'
import { gpuTest, isWhole, type TestAdapter } from './harness/gpu.ts'
import { openGpu } from './harness/gpu-engines.ts'

interface Size {
  prompts: number
  tokens: number
}
const whole: Size = { prompts: 20, tokens: 64 }
const part: Size = { prompts: 4, tokens: 12 }
const size = isWhole ? whole : part

/** The beginnings of stories that the model was not trained on. */
async function readPrompts(count: number): Promise<number[][]> {
  const model = await load(golden('stories'))
  const stories = readFileSync(`${golden('stories')}/valid_slice.txt`, 'utf8')
    .split('<|endoftext|>')
    .slice(1)
  const ids = stories.map((story) => runtimeOf(model).promptIds(story.trim()).slice(0, 12))
  await model.close()
  return ids.filter((list) => list.length === 12).slice(0, count)
}

const options = { context: 128, maxRows: 64, maxLogits: 20, conversations: 20 } as const

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

/** Largest difference in relation to the largest number. */
function relative(found: Float32Array, expected: Float32Array): number {
  return worst(found, expected) / Math.max(...expected.map(Math.abs))
}

interface Compared {
  /** Margin of the choice, whether the other engine's is the same, and how far its logits are. */
  margin: number
  isSame: boolean
  distance: number
}

/** Every choice of both engines. */
async function compare(
  adapter: TestAdapter,
  { type, cache }: { type: WeightType; cache: CacheType },
  { prompts, tokens: count }: Size,
): Promise<Compared[]> {
  const texts = await readPrompts(prompts)
  assert.is(texts.length, prompts)
  const own = await openEngine(golden('stories'), { ...options, type, cache })
  const { cache: other } = await openGpu(adapter, golden('stories'), { ...options, type, cache })
  const compared: Compared[] = []
  await Promise.all([own, other].map((engine) => feed(engine, texts)))
  let tokens = texts.map((ids) => ids.at(-1) as number)
  for (let i = 0; i < count; i++) {
    const rows: Row[] = tokens.map((token, conversation) => ({
      ...{ conversation, position: 11 + i, token, sampling: greedy },
    }))
    const [expected, found] = await Promise.all([own.step(rows), other.step(rows)])
    for (let k = 0; k < prompts; k++) {
      const [logits, others] = await Promise.all([own.logits(k), other.logits(k)])
      const isSame = found[k] === expected[k]
      compared.push({ margin: marginOf(logits), isSame, distance: relative(others, logits) })
    }
    tokens = [...expected]
  }
  await Promise.all([own.close(), other.close()])
  return compared
}

function say(what: string, compared: readonly Compared[]): void {
  const others = compared.filter(({ isSame }) => !isSame)
  const far = Math.max(...compared.map(({ distance }) => distance))
  const margin = Math.max(0, ...others.map((one) => one.margin))
  console.log(
    `${what}: ${others.length} of ${compared.length} tokens are others, margin up to ${margin}; logits up to ${far} apart`,
  )
}

gpuTest(
  'stories, f32: the tokens of the WebAssembly engine',
  async (adapter) => {
    const compared = await compare(adapter, { type: 'f32', cache: 'f32' }, size)
    say(`${adapter.name}, f32`, compared)
    assert.ok(compared.every(({ distance }) => distance < 1e-3))
    assert.ok(compared.every(({ isSame, margin }) => isSame || margin < 1e-2))
  },
  { on: ['lavapipe'] },
)

/** Of q4 the sums of a row's groups are f32, in another order up to eight rows a step; so few of them, with scales in bf16, are exact. */
const exact = [
  { type: 'q8', cache: 'int8' },
  { type: 'q8', cache: 'f32', on: ['lavapipe'] },
  { type: 'q4', cache: 'int8', on: ['lavapipe'] },
] as const

for (const { type, cache, ...only } of exact)
  gpuTest(
    `stories, ${type} with an ${cache} cache: the logits of the WebAssembly engine`,
    async (adapter) => {
      const compared = await compare(adapter, { type, cache }, size)
      say(`${adapter.name}, ${type}, ${cache} cache`, compared)
      assert.ok(compared.every(({ isSame, distance }) => isSame && distance === 0))
    },
    only,
  )

test.run()
