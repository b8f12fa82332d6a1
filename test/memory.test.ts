/** What is promised before a model is loaded is what its engine then takes, to the byte. */
import { readdirSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../assembly/abi.ts'
import type { EngineOptions } from '../host/engine/engine.ts'
import { fit, largestContext } from '../host/engine/fit.ts'
import { chooseBuild } from '../host/engine/wasm/builds.ts'
import { memoryCounter } from '../host/engine/wasm/memory.ts'
import { defaultModel, load, OutOfMemoryError } from '../host/index.ts'
import {
  cacheTypes,
  describe,
  type ModelDescription,
  PAGE_TOKENS,
  type Plan,
  pageBytes,
  planModel,
  weightTypes,
} from '../models/index.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden, kinds, readJson } from './fixtures/goldens.ts'
import { writeRandomModel } from './fixtures/random-model.ts'
import { layoutMemory } from './harness/engine-memory.ts'
import { feed, openEngine, relaxed, relaxedSingle, strict } from './harness/engines.ts'

const configs = new URL('../models/configs/', import.meta.url).pathname
const papers = readdirSync(configs).map((file) => describe(readJson(`${configs}${file}`)))
const small = kinds.map((kind) =>
  describe({ ...readJson(golden(`${kind}/config.json`)), attention_kind: kind.split('-')[0] }),
)
const common: EngineOptions = { context: 2048, cache: 'int8', maxRows: 64, maxLogits: 1, conversations: 1 }

/** Options that take memory in different ways. */
const variants: Partial<EngineOptions>[] = [
  {},
  { threads: 4 },
  { threads: 1, batchThreads: 64 },
  { conversations: 3, maxRows: 3, maxLogits: 3 },
  { context: 1, maxRows: 1 },
  { context: 100, pages: 7, conversations: 32, maxLogits: 32 },
]

function checkAll(module: WebAssembly.Module, build: typeof relaxed, model: ModelDescription, plan: Plan): void {
  const { spec } = model
  const count = memoryCounter({ build, module }, spec, plan)
  for (const cache of cacheTypes)
    for (const variant of variants) {
      const options = { ...common, ...variant, cache }
      // The layout is counted in untouched memory: only the weights' pages are reserved for a moment.
      const { bytes } = layoutMemory(module, spec, plan, options, build.isShared)
      assert.is(count(options), bytes, `${spec.kind} ${plan.type} ${cache} ${JSON.stringify(variant)}`)
    }
}

for (const build of [relaxed, strict, relaxedSingle])
  test(`${build.name}: an engine takes what was counted for it`, async () => {
    const { module } = await chooseBuild(build)
    for (const model of small) for (const type of weightTypes) checkAll(module, build, model, planModel(model, type))
    const [paper] = papers as [ModelDescription]
    checkAll(module, build, paper, planModel(paper, 'q8'))
  })

test('with offload, an engine takes what was counted for it, whatever its weights end at', async () => {
  const compiled = await chooseBuild(relaxed)
  const ends = new Set<number>()
  for (const model of papers)
    for (const type of ['q8', 'q4'] as const) {
      const plan = planModel(model, type)
      ends.add(plan.bytes % 4096)
      const bytes = (pageBytes(model.spec, 'int8') * common.context) / PAGE_TOKENS
      const options = { ...common, offload: { bytes: Math.floor(bytes / 2), directory: '' } }
      const layout = layoutMemory(compiled.module, model.spec, plan, options)
      assert.ok(layout.streamPages > 0)
      assert.is(memoryCounter(compiled, model.spec, plan)(options), layout.bytes)
    }
  assert.ok(ends.size > 3, 'the stream begins at another distance from the weights')
})

test('what no engine can address is counted too', async () => {
  const model = describe(readJson(`${configs}gqa-1b.json`))
  const count = memoryCounter(await chooseBuild(), model.spec, planModel(model, 'q8'))
  const each = pageBytes(model.spec, 'int8') + 4 + 4 * PAGE_TOKENS
  const [some, more] = [2 ** 20, 2 ** 20 + 16].map((pages) => count({ ...common, pages })) as [number, number]
  assert.is(more - some, 16 * each)
  // Beyond what 32 bits count.
  const vast = 2 ** 33
  const rest = count({ ...common, pages: 0 })
  assert.is(count({ ...common, pages: vast }), rest + vast * each)
})

test('weights larger than an address do not change what lies behind them', async () => {
  const at = (layers: number) => describe({ ...readJson(`${configs}gqa-1b.json`), num_hidden_layers: layers })
  const behind = async (model: ModelDescription) => {
    const plan = planModel(model, 'f32')
    const bytes = memoryCounter(await chooseBuild(), model.spec, plan)({ ...common, pages: 0 })
    return { weights: plan.bytes, rest: bytes - plan.bytes - abi.WEIGHTS }
  }
  const [little, much] = [await behind(at(2)), await behind(at(200))]
  assert.ok(little.weights < 2 ** 32 && much.weights > 2 ** 32)
  assert.is(much.rest, little.rest)
})

test('fit and largestContext say what an engine takes', async () => {
  const model = describe(readJson(`${configs}gta-1b.json`))
  const { module } = await chooseBuild()
  const plan = planModel(model, 'q8')
  const options = { ...common, threads: 4, context: 4096 }
  const { bytes } = layoutMemory(module, model.spec, plan, options)
  const memoryBytes = bytes + 400e6
  const found = await fit(model, 'q8', { memoryBytes, context: 4096, conversations: 1, cache: 'int8' })
  assert.is(found.neededBytes, bytes)
  assert.ok(found.fits && found.largestContext >= 4096)
  assert.is(await largestContext(model, 'q8', 'int8', memoryBytes), 4096)
  assert.is(await largestContext(model, 'q8', 'int8', memoryBytes - 1), 4096 - PAGE_TOKENS)
  assert.not.ok(
    (await fit(model, 'q8', { memoryBytes: memoryBytes - 1, context: 4096, conversations: 1, cache: 'int8' })).fits,
  )
})

/** https://huggingface.co/openbmb/MiniCPM3-4B, what its cache depends on. */
const miniCpm3 = {
  architectures: ['MiniCPM3ForCausalLM'],
  hidden_size: 2560,
  intermediate_size: 6400,
  num_hidden_layers: 62,
  num_attention_heads: 40,
  num_key_value_heads: 40,
  kv_lora_rank: 256,
  q_lora_rank: 768,
  qk_nope_head_dim: 64,
  qk_rope_head_dim: 32,
  v_head_dim: 64,
  vocab_size: 73448,
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-5,
  scale_emb: 12,
  scale_depth: 1.4,
  dim_model_base: 256,
}

test('MiniCPM3-4B: its latent cache takes 1/43 of the keys and values that llama.cpp keeps', async () => {
  const perLayer = 256 + 32 + 2 * 4
  // Two of its layers with their own cache rows, in narrow surroundings, filled with a text.
  const layers = 2
  const narrow = { hidden_size: 64, intermediate_size: 64, q_lora_rank: 24, vocab_size: 64, num_hidden_layers: layers }
  const engine = await openEngine(writeRandomModel({ ...miniCpm3, ...narrow }), { context: 320 })
  await feed(
    engine,
    Array.from({ length: 130 }, (_, i) => i % 64),
  )
  const { pages } = engine.cached(0)
  const taken = engine.kinds.reduce((sum, { pageBytes: bytes }) => sum + pages.length * bytes, 0)
  await engine.close()
  assert.is(taken, 3 * PAGE_TOKENS * layers * perLayer)

  // All 62 layers; what an engine with twice the context takes more, its tables with it.
  const model = describe(miniCpm3)
  assert.is(pageBytes(model.spec, 'int8'), PAGE_TOKENS * 62 * perLayer)
  const count = memoryCounter(await chooseBuild(relaxed), model.spec, planModel(model, 'q4'))
  const perToken = (count({ ...common, context: 8192 }) - count({ ...common, context: 4096 })) / 4096
  // llama.cpp has keys and values of all heads for this architecture, in f16.
  const expanded = 62 * 40 * (64 + 32 + 64) * 2
  assert.is(Math.floor(expanded / perToken), 43)
  // The same without scales and tables.
  assert.is(Math.floor(expanded / (62 * (256 + 32))), 44)
})

test('memory: a limit is held before anything is read, and the error has the numbers', async () => {
  const least = (await failure(load(defaultModel, { threads: 1, memory: 1 }))) as OutOfMemoryError
  assert.instance(least, OutOfMemoryError)
  assert.is(least.code, 'OUT_OF_MEMORY')
  assert.is(least.available, 1)
  assert.match(
    least.message,
    /memory \(--memory\) of 1 B, it needs .* MB \(weights 8\.6 MB, cache .*, scratch .*, host .*\)/,
  )
  for (const memory of [least.needed, '1G', '1GiB']) await (await load(defaultModel, { threads: 1, memory })).close()
  assert.instance(await failure(load(defaultModel, { threads: 1, memory: least.needed - 1 })), OutOfMemoryError)
  assert.instance(await failure(load(defaultModel, { threads: 1, memory: '100M' })), OutOfMemoryError)
  // More threads, rows, logits or cache take more.
  for (const more of [{ threads: 2 }, { batch: 128 }, { maxLogits: 64 }, { cacheMemory: 100e6 }]) {
    const error = (await failure(load(defaultModel, { threads: 1, memory: 1, ...more }))) as OutOfMemoryError
    assert.ok(error.needed > least.needed, JSON.stringify(more))
  }
  for (const memory of ['much', '', 0, -1, Number.NaN, {}])
    assert.is((await failure(load(defaultModel, { memory: memory as never }))).code, 'BAD_OPTION', `${memory}`)
})

test.run()
