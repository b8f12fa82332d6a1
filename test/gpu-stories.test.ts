/**
 * The stories model on a GPU: 20 texts that go on for 64 tokens, both engines given the WebAssembly engine's choices. With f32
 * weights each token is the same wherever the choice was not a close one. With q8 and an int8 cache a number at the edge of two
 * integers is rounded otherwise now and then, which changes what follows: by less than rounding to q8 does itself.
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
import { gpuTest, isWhole, type TestAdapter } from './harness/gpu.ts'
import { openGpu } from './harness/gpu-engines.ts'

interface Size {
  prompts: number
  tokens: number
}
const whole: Size = { prompts: 20, tokens: 64 }
const part: Size = { prompts: 20, tokens: 8 }
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

/** Root of the mean square of what two have differently. */
const distance = (a: Float32Array, b: Float32Array) =>
  Math.sqrt(a.reduce((sum, one, i) => sum + (one - (b[i] as number)) ** 2, 0) / a.length)

const largest = (logits: Float32Array) => logits.reduce((most, one) => Math.max(most, Math.abs(one)), 0)

interface Compared {
  /** Margin of the choice, the other engine's choice, and how far its logits are, in relation to the largest. */
  margin: number
  isSame: boolean
  distance: number
  /** How far f32 weights are from these, on the CPU. */
  rounded: number
}

/** Every choice of both engines. */
async function compare(
  adapter: TestAdapter,
  type: 'f32' | 'q8',
  { prompts, tokens: count }: Size,
): Promise<Compared[]> {
  const texts = await readPrompts(prompts)
  assert.is(texts.length, prompts)
  const [cpu, exact, { cache }] = await Promise.all([
    openEngine(golden('stories'), { ...options, type }),
    openEngine(golden('stories'), { ...options, type: 'f32' }),
    openGpu(adapter, golden('stories'), { ...options, type }),
  ])
  const compared: Compared[] = []
  await Promise.all([cpu, exact, cache].map((engine) => feed(engine, texts)))
  let tokens = texts.map((ids) => ids.at(-1) as number)
  for (let i = 0; i < count; i++) {
    const rows: Row[] = tokens.map((token, conversation) => ({
      ...{ conversation, position: 11 + i, token, sampling: greedy },
    }))
    const [expected, found] = await Promise.all([cpu.step(rows), cache.step(rows), exact.step(rows)])
    for (let k = 0; k < prompts; k++) {
      const [own, other, f32] = await Promise.all([cpu.logits(k), cache.logits(k), exact.logits(k)])
      compared.push({
        margin: marginOf(own),
        isSame: found[k] === expected[k],
        distance: distance(own, other) / largest(own),
        rounded: distance(own, f32) / largest(own),
      })
    }
    tokens = [...expected]
  }
  await Promise.all([cpu.close(), exact.close(), cache.close()])
  return compared
}

const mean = (numbers: number[]) => numbers.reduce((sum, one) => sum + one, 0) / numbers.length

function say(what: string, compared: readonly Compared[]): void {
  const others = compared.filter(({ isSame }) => !isSame)
  const far = mean(compared.map((one) => one.distance))
  const margin = Math.max(0, ...others.map((one) => one.margin))
  console.log(
    `${what}: ${others.length} of ${compared.length} tokens are others, margin up to ${margin}; logits ${far} apart`,
  )
}

const where = { on: ['lavapipe'] } as const

gpuTest(
  'stories, f32: the tokens of the WebAssembly engine',
  async (adapter) => {
    const compared = await compare(adapter, 'f32', size)
    say(`${adapter.name}, f32`, compared)
    assert.ok(compared.every(({ distance: far }) => far < 1e-3))
    assert.ok(compared.every(({ isSame, margin }) => isSame || margin < 1e-2))
  },
  where,
)

gpuTest(
  'stories, q8 with an int8 cache: other tokens only where the choice was close',
  async (adapter) => {
    const compared = await compare(adapter, 'q8', size)
    say(`${adapter.name}, q8`, compared)
    assert.ok(compared.filter(({ isSame }) => !isSame).length < compared.length / 20)
    assert.ok(compared.every(({ isSame, margin }) => isSame || margin < 0.5))
    assert.ok(mean(compared.map((one) => one.distance)) < mean(compared.map((one) => one.rounded)))
  },
  where,
)

gpuTest(
  'stories, q8 with an int8 cache: where no product is fused with a sum, the logits of the WebAssembly engine',
  async (adapter) => {
    const compared = await compare(adapter, 'q8', isWhole ? whole : { prompts: 4, tokens: 12 })
    say(`${adapter.name}, q8`, compared)
    assert.ok(compared.every(({ isSame, distance: far }) => isSame && far < 1e-6))
  },
  { on: ['swiftshader'] },
)

test.run()
