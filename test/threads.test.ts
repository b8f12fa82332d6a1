/**
 * Bit identity across threads: how many there are, what the build is, and how rows are dealt out to steps must not
 * change a bit of any logit. More threads than most boards have cores, on purpose.
 */
import { spawn } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy, nameOf } from '../host/engine/engine.ts'
import { defaultModel, load, type WeightType } from '../host/index.ts'
import { type Config, randomTensors, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden, kinds } from './fixtures/goldens.ts'
import { feed, openEngine, relaxedSingle, strict, strictSingle } from './harness/engines.ts'

const LENGTH = 150
const DECODED = 10
/** Three pages of a prompt and the tokens after it. */
const ids = Array.from({ length: LENGTH + DECODED }, (_, i) => (i * 37 + 11) % 320)
const conversationsOf = (count: number) => Array.from({ length: count }, (_, c) => ids.map((id) => (id + 50 * c) % 320))

/** Logits after the prompt, and after each token that follows it. */
async function trace(engine: KvCache, slice: number, decode: number, prefill: number): Promise<Float32Array[]> {
  engine.rewind(0, 0)
  engine.threads = { decode, prefill }
  const logits = [await feed(engine, ids.slice(0, LENGTH), { slice })]
  for (let at = LENGTH; at < ids.length; at++) logits.push(await feed(engine, [ids[at] as number], { from: at }))
  return logits
}

/** Slice, threads of decode, threads of prefill. */
const ways = (most: number): [number, number, number][] => [
  [64, most, most],
  [7, 2, most],
  [1, 3, 1],
]
const most = (kind: string) => (kind === 'gta' ? 4 : 3)

/** Every type for every way in which attention differs, but not all of their pairs: each costs several threads. */
const several: [string, WeightType[]][] = [
  ['gta', ['f32', 'q8', 'q4']],
  ['gqa', ['f32', 'q4']],
  ['mla', ['f32', 'q8']],
  ['gta-multi', ['q8', 'q4']],
  ['tied', ['f32', 'q8']],
]

for (const [kind, types] of several)
  for (const type of types)
    test(`${kind} ${type}: threads and slices do not change a bit`, async () => {
      const engine = await openEngine(golden(kind), { type, threads: most(kind) })
      const expected = await trace(engine, 64, 1, 1)
      for (const [slice, decode, prefill] of ways(most(kind))) {
        const found = await trace(engine, slice, decode, prefill)
        assert.equal(found, expected, `slices of ${slice}, ${decode} and ${prefill} threads`)
      }
      await engine.close()
    })

for (const type of ['f32', 'q8', 'q4'] as const)
  test(`gta ${type}: the strict build, on any number of threads, computes what the relaxed one does`, async () => {
    const [engine, other] = await Promise.all([
      openEngine(golden('gta'), { type }),
      openEngine(golden('gta'), { type, build: strict, threads: 3 }),
    ])
    const expected = await trace(engine, 64, 1, 1)
    for (const [slice, decode, prefill] of [[7, 1, 1], ...ways(3)] as const)
      assert.equal(await trace(other, slice, decode, prefill), expected, `${decode} and ${prefill} threads`)
    await Promise.all([engine.close(), other.close()])
  })

for (const type of ['f32', 'q8', 'q4'] as const)
  test(`gta ${type}: the builds without threads or shared memory compute what the others do`, async () => {
    const engine = await openEngine(golden('gta'), { type })
    const expected = await trace(engine, 64, 1, 1)
    await engine.close()
    for (const build of [relaxedSingle, strictSingle]) {
      const single = await openEngine(golden('gta'), { type, build, threads: 4 })
      assert.is(single.facts.maxThreads, 1)
      assert.is(nameOf(single), `wasm ${build.name}, 1 thread`)
      assert.equal(await trace(single, 64, 1, 1), expected, build.name)
      assert.ok((await single.measure((probe) => probe.measureBandwidth())) > 0)
      await single.close()
      assert.is((await single.step([]).catch((error) => error)).code, 'CLOSED')
    }
  })

test('the build without threads gives the host a turn between two steps', async () => {
  const single = await openEngine(golden('gta'), { build: relaxedSingle })
  let turns = 0
  let isDone = false
  const count = () => {
    turns++
    if (!isDone) setImmediate(count)
  }
  setImmediate(count)
  await feed(single, ids.slice(0, 60), { slice: 1 })
  isDone = true
  assert.ok(turns >= 60, `${turns} turns`)
  await single.close()
})

for (const kind of kinds.filter((kind) => !several.some(([name]) => name === kind)))
  test(`${kind} q4: three threads compute what one does`, async () => {
    const engine = await openEngine(golden(kind), { type: 'q4', threads: 3 })
    const expected = await trace(engine, 64, 1, 1)
    assert.equal(await trace(engine, 50, 3, 3), expected)
    await engine.close()
  })

test('the number of threads may change before every step', async () => {
  for (const type of ['f32', 'q8'] as const) {
    const engine = await openEngine(golden('mla-qlora'), { type, threads: 3 })
    const expected = await trace(engine, 64, 1, 1)
    engine.rewind(0, 0)
    let last: Float32Array = new Float32Array()
    for (let from = 0, i = 0; from < ids.length; i++) {
      const count = Math.min(ids.length - from, [1, 5, 1, 2, 4][i % 5] as number)
      engine.threads = { decode: 1 + (i % 3), prefill: 1 + ((i >> 1) % 3) }
      last = await feed(engine, ids.slice(from, from + count), { from })
      from += count
    }
    assert.equal(last, expected.at(-1))
    await engine.close()
  }
})

test('conversations that take turns, or share steps, do not disturb each other on any number of threads', async () => {
  const texts = conversationsOf(4)
  for (const [kind, type] of [
    ['gta', 'q8'],
    ['gla', 'q8'],
    ['gqa', 'f32'],
  ] as [string, WeightType][]) {
    const engine = await openEngine(golden(kind), { type, threads: 3, conversations: 4 })
    const expected: Float32Array[] = []
    for (const text of texts) {
      expected.push(await feed(engine, text))
      engine.rewind(0, 0)
    }
    for (const threads of [1, 2, 3]) {
      engine.threads = { decode: threads, prefill: threads }
      for (let c = 0; c < 4; c++) engine.rewind(c, 0)
      // Long slices in turn, so that pages are dealt out crosswise; then one token of each conversation per step.
      const shared = LENGTH - 4
      for (let from = 0; from < shared; from += 50)
        for (const [c, text] of texts.entries())
          await feed(engine, text.slice(from, Math.min(shared, from + 50)), { from, conversation: c })
      for (let position = shared; position < ids.length; position++)
        await engine.step(
          texts.map((text, conversation) => ({
            conversation,
            position,
            token: text[position] as number,
            sampling: greedy,
          })),
        )
      for (const [c, logits] of expected.entries())
        assert.equal((await engine.logits(c)).slice(), logits, `${kind}, conversation ${c}, ${threads} threads`)
    }
    await engine.close()
  }
})

/** One small layer: attention over thousands of tokens is most of its work. */
const shallow: Config = {
  architectures: ['GTAForCausalLM'],
  vocab_size: 16,
  hidden_size: 24,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 6,
  head_dim: 4,
  num_query_heads: 3,
  query_dim: 4,
  num_key_heads: 1,
  key_dim: 4,
  num_value_heads: 1,
  value_dim: 8,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
}

test('more than 64 pages, which ranks share in several waves: three threads compute what one does', async () => {
  const length = 64 * 65 + 10
  const tokens = Array.from({ length: length + 9 }, (_, i) => (i * 7 + (i >> 4)) % 16)
  const directory = writeCheckpoint(shallow, randomTensors(shallow))
  const engine = await openEngine(directory, { context: 4480, maxRows: 256, threads: 3 })
  const traces: Float32Array[][] = []
  for (const threads of [1, 3]) {
    engine.rewind(0, 0)
    engine.threads = { decode: threads, prefill: threads }
    // Steps of 1, 2, 4 and 5 rows are shared by three ranks, page by page.
    const logits = [await feed(engine, tokens.slice(0, length))]
    for (let from = length, count = 1; from < tokens.length; from += count, count = 5 - count)
      logits.push(await feed(engine, tokens.slice(from, from + count), { from }))
    traces.push(logits)
  }
  assert.equal(traces[1], traces[0])
  await engine.close()
})

test('more threads than free cores: the same tokens, and an event loop that turns', async () => {
  const neighbours = Array.from({ length: 2 }, () => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }))
  try {
    const expected = await generated(1)
    const delay = monitorEventLoopDelay({ resolution: 5 })
    delay.enable()
    const found = await generated(4)
    delay.disable()
    assert.equal(found.tokens, expected.tokens)
    assert.is(found.logitsHash, expected.logitsHash)
    const median = delay.percentile(50) / 1e6
    // 5 ms were measured, with load 11 on two cores.
    assert.ok(median <= 200, `half of the turns of the event loop took ${median} ms or more`)
    assert.ok(found.slowest < 2000, `a step took ${found.slowest} ms`)
    if (process.env.GTA_TEST_VERBOSE)
      console.log({ median, highest: delay.max / 1e6, slowest: found.slowest, alone: expected.slowest })
  } finally {
    for (const neighbour of neighbours) neighbour.kill('SIGKILL')
  }
})

/** 20 tokens of a story, and the longest that one took. */
async function generated(threads: number): Promise<{ tokens: number[]; logitsHash: string; slowest: number }> {
  const model = await load(defaultModel, { threads })
  let slowest = 0
  let last = performance.now()
  const generation = model.generate('Once upon a time there was a little', { maxTokens: 20, temperature: 0 })
  for (;;) {
    const { done, value } = await generation.next()
    slowest = Math.max(slowest, performance.now() - last)
    last = performance.now()
    if (done) {
      await model.close()
      return { tokens: value.tokens, logitsHash: value.logitsHash, slowest }
    }
  }
}

test.run()
