/** What the WebGPU engine does besides computing: submissions, faults, limits, memory, pages. On each software adapter that is here. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as Abi from '../assembly/abi.ts'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy, type Row, type Weights } from '../host/engine/engine.ts'
import { openGpuEngine } from '../host/engine/gpu/engine.ts'
import { GpuDevice } from '../host/engine/gpu/gpu.ts'
import { stepText } from '../host/engine/gpu/texts.ts'
import { cutTensors } from '../host/engine/gpu/weights.ts'
import { openWasmEngine } from '../host/engine/wasm/engine.ts'
import { fieldsOf, isFloat } from '../models/records.ts'
import { golden, readGolden, worst } from './fixtures/goldens.ts'
import { logitsOf, openEngine, packedOf, testOptions } from './harness/engines.ts'
import { gpuTest as onAdapters, type TestAdapter } from './harness/gpu.ts'
import { buffersOf, openGpu } from './harness/gpu-engines.ts'

/** What is no matter of arithmetic is seen on one adapter. */
const gpuTest = (what: string, run: (adapter: TestAdapter) => Promise<void>) =>
  onAdapters(what, run, { on: ['lavapipe'] })

const [, second, first] = readGolden('gta').cases
const prompt = first?.prompt_ids as number[]

/** Rows of the prompt, of which the last one wants a token. */
const rows = (ids: readonly number[], conversation = 0): Row[] =>
  ids.map((token, position) => ({
    ...{ conversation, position, token },
    sampling: position === ids.length - 1 ? greedy : undefined,
  }))

async function code(run: Promise<unknown>): Promise<string> {
  try {
    await run
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`
  }
  return 'nothing was thrown'
}

/** What a device is asked to do. */
function countCalls(gpu: GpuDevice): { submissions: number; readBacks: number; bytes: number } {
  const counts = { submissions: 0, readBacks: 0, bytes: 0 }
  const { queue } = gpu.device
  const submit = queue.submit.bind(queue)
  queue.submit = (buffers) => {
    counts.submissions++
    submit(buffers)
  }
  const until = gpu.until.bind(gpu)
  gpu.until = async (done) => {
    counts.readBacks++
    return until(done)
  }
  return counts
}

gpuTest('a step is one submission, and what waits for it is one read-back', async (adapter) => {
  const { cache, gpu } = await openGpu(adapter, golden('gta'), { conversations: 2 })
  const counts = countCalls(gpu)
  await cache.step(rows(prompt))
  assert.equal([counts.submissions, counts.readBacks], [1, 1])
  const drawn = { ...greedy, temperature: 1, topK: 4 }
  const next = (position: number, conversation: number) => ({ conversation, position, token: 7, sampling: drawn })
  await cache.step([next(prompt.length, 0), next(0, 1)])
  assert.equal([counts.submissions, counts.readBacks], [2, 2])
  await cache.logits(1)
  await cache.logits(1)
  assert.equal([counts.submissions, counts.readBacks], [3, 3], 'logits are fetched once')
  await cache.close()
})

gpuTest('the same bits twice, and whatever its buffers held before', async (adapter) => {
  const { cache, gpu } = await openGpu(adapter, golden('gta'), { maxLogits: 64 })
  const once = await logitsOf(cache, prompt)
  cache.rewind(0, 0)
  const twice = await logitsOf(cache, prompt)
  assert.equal(twice, once)
  const kept = /^(weights|tables|places|read back)/
  const poisoned = [...buffersOf(gpu)].filter(([name, { usage }]) => !kept.test(name) && (usage & 128) !== 0)
  assert.ok(poisoned.length > 10)
  for (const [, buffer] of poisoned)
    gpu.device.queue.writeBuffer(buffer, 0, new Uint32Array(buffer.size / 4).fill(0x7fc0_dead))
  cache.rewind(0, 0)
  assert.equal(await logitsOf(cache, prompt), once)
  await cache.close()
})

gpuTest('two engines in one process, and the memory of a closed one is gone', async (adapter) => {
  const [one, two] = await Promise.all([
    openGpu(adapter, golden('gta'), { type: 'f32' }),
    openGpu(adapter, golden('mha'), { type: 'f32' }),
  ])
  const other = readGolden('mha').cases[2]
  const [a, b] = await Promise.all([one.cache.step(rows(prompt)), two.cache.step(rows(other?.prompt_ids as number[]))])
  assert.is(a[0], first?.greedy_ids[0])
  assert.is(b[0], other?.greedy_ids[0])
  await one.cache.close()
  assert.match(await code(one.cache.step(rows(prompt))), /^CLOSED/)
  const next = {
    conversation: 0,
    position: other?.prompt_ids.length as number,
    token: b[0] as number,
    sampling: greedy,
  }
  assert.is((await two.cache.step([next]))[0], other?.greedy_ids[1])
  await two.cache.close()
})

gpuTest(
  'a device that is lost in mid-step is a typed error, then and later; close() ends what is under way',
  async (adapter) => {
    const { cache, gpu } = await openGpu(adapter, golden('gta'))
    await cache.step(rows(prompt))
    const lost = cache.step([{ conversation: 0, position: prompt.length, token: 1, sampling: greedy }])
    gpu.device.destroy()
    assert.match(await code(lost), /^GPU_LOST/)
    assert.match(await code(cache.step([{ conversation: 0, position: 0, token: 1, sampling: greedy }])), /^GPU_LOST/)
    await cache.close()

    const closed = await openGpu(adapter, golden('gta'))
    const under = closed.cache.step(rows(prompt))
    const [, result] = await Promise.all([closed.cache.close(), code(under)])
    assert.match(result, /^CLOSED|nothing was thrown/)
  },
)

gpuTest('pages are those of the WebAssembly engine, and go from one to the other and back', async (adapter) => {
  for (const type of ['f32', 'q8'] as const) {
    const cpu = await openEngine(golden('gta'), { type })
    const { cache } = await openGpu(adapter, golden('gta'), { type })
    const long = Array.from({ length: 100 }, (_, i) => (prompt[i % prompt.length] as number) + (i % 3))
    for (const engine of [cpu, cache])
      for (let at = 0; at < 100; at += 50)
        await engine.step(long.slice(at, at + 50).map((token, i) => ({ conversation: 0, position: at + i, token })))
    assert.is(await cache.fingerprint(), await cpu.fingerprint())
    const [mine, other] = [cache.cached(0).pages, cpu.cached(0).pages]
    assert.is(mine.length, 2)
    for (const [i, { id }] of mine.entries()) {
      const from = await cpu.fetchPage((other[i] as { id: number }).id)
      const bytes = await cache.fetchPage(id)
      if (type === 'f32') assert.ok(worst(floats(bytes), floats(from)) < 1e-4, 'f32 pages')
      // A scale's last bits, and now and then a number at the edge of two integers with all that comes after it.
      else assert.ok(differing(bytes, from) < from.length / 16, `int8 pages: ${differing(bytes, from)} bytes`)
      await cache.storePage(id, from)
      assert.equal(await cache.fetchPage(id), new Uint8Array(from), 'what was written is read')
    }
    const row = { conversation: 0, position: 100, token: 5, sampling: greedy }
    await Promise.all([cpu.step([row]), cache.step([row])])
    const [a, b] = [await cache.logits(0), await cpu.logits(0)]
    assert.ok(worst(a, b) < 1e-3 * Math.max(...b.map(Math.abs)), 'logits from the same pages')
    await Promise.all([cpu.close(), cache.close()])
  }
})

const floats = (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer)
const differing = (a: Uint8Array, b: Uint8Array) => a.reduce((count, byte, i) => count + Number(byte !== b[i]), 0)

gpuTest('turned pages have the keys of the WebAssembly engine, some positions later', async (adapter) => {
  for (const [kind, type] of [
    ['gta', 'f32'],
    ['gta', 'q8'],
    ['gqa', 'q8'],
    ['mla', 'q8'],
  ] as const) {
    const { spec, plan, weights } = await packedOf(golden(kind), type)
    const load = (target: Weights) => target.write(0, weights)
    const options = testOptions(type)
    const cpu = await openWasmEngine({ spec, plan, options, load })
    const gpu = await openGpuEngine({ spec, plan, options, load, adapter: await sourceOf(adapter) })
    cpu.pages.tables[0] = 0
    const long = Array.from({ length: 64 }, (_, position) => ({ conversation: 0, position, token: position }))
    await cpu.step(long)
    await gpu.pages.write(0, await cpu.pages.read(0))
    for (const engine of [cpu, gpu]) {
      engine.pages.history.set(long.map(({ token }) => token))
      await engine.turn(0, 1, 37)
    }
    const [found, expected, before] = [await gpu.pages.read(1), await cpu.pages.read(1), await cpu.pages.read(0)]
    assert.ok(differing(expected, before) > before.length / 16, 'keys were turned')
    if (type === 'f32') assert.ok(worst(floats(found), floats(expected)) < 1e-5, kind)
    else
      assert.ok(
        differing(found, expected) < found.length / 200,
        `${kind}: ${differing(found, expected)} of ${found.length}`,
      )
    assert.equal(gpu.pages.history.slice(64, 128), cpu.pages.history.slice(64, 128))
    await Promise.all([cpu.close(), gpu.close()])
  }
})

gpuTest('hidden states are those of the WebAssembly engine, beside rows that want logits', async (adapter) => {
  const cpu = await openEngine(golden('gta'), { type: 'f32', conversations: 2 })
  const { cache } = await openGpu(adapter, golden('gta'), { type: 'f32', conversations: 2 })
  const step: Row[] = [
    ...prompt.map((token, position) => ({ conversation: 0, position, token, wantsState: position !== 1 })),
    { conversation: 1, position: 0, token: 9, sampling: greedy },
  ]
  const [expected, found] = await Promise.all([cpu.step(step), cache.step(step)])
  assert.equal(found, expected)
  assert.ok(worst(await cache.logits(0), await cpu.logits(0)) < 1e-4)
  for (let k = 0; k < prompt.length - 1; k++) {
    const [state, other] = [await cache.state(k), await cpu.state(k)]
    assert.is(state.length, other.length)
    assert.ok(worst(state, other) < 1e-4 && Math.max(...other.map(Math.abs)) > 0.1, `state ${k}`)
  }
  await Promise.all([cpu.close(), cache.close()])
})

gpuTest('pages are copied and cleared before the next step', async (adapter) => {
  const { spec, plan, weights } = await packedOf(golden('gta'), 'f32')
  const engine = await openGpuEngine({
    ...{ spec, plan, options: testOptions('f32') },
    adapter: await sourceOf(adapter),
    load: (target) => target.write(0, weights),
  })
  const { pages } = engine
  const bytes = Uint8Array.from({ length: pages.pageBytes }, (_, i) => i % 251)
  await pages.write(0, bytes)
  pages.copy(0, 1)
  pages.clear(0)
  assert.equal(await pages.read(1), bytes)
  assert.ok((await pages.read(0)).every((byte) => byte === 0))
  await pages.write(2, bytes.subarray(64, 512), 0, 64)
  assert.equal((await pages.read(2)).subarray(64, 512), bytes.subarray(64, 512))
  await engine.close()
})

async function sourceOf(adapter: TestAdapter) {
  return { adapter: await adapter.request(), language: (await adapter.gpu()).wgslLanguageFeatures }
}

gpuTest('a shader that does not compile names itself and the line', async (adapter) => {
  const { adapter: given, language } = await sourceOf(adapter)
  const gpu = await GpuDevice.open(given, language)
  const text = '@compute @workgroup_size(1)\nfn main() { nothing(); }'
  assert.match(
    await code(gpu.pipeline({ name: 'broken', text })),
    /ENGINE_FAILED: shader "broken" must compile.*line 2, "fn main/,
  )
  gpu.close()
})

gpuTest('what a device cannot hold is refused before a weight is read, with numbers', async (adapter) => {
  const { spec, plan } = await packedOf(golden('gta'), 'q8')
  const options = { ...testOptions('q8'), context: 128, conversations: 20_000_000 }
  let isRead = false
  const load = async () => {
    isRead = true
  }
  const found = await code(openGpuEngine({ spec, plan, options, adapter: await sourceOf(adapter), load }))
  assert.match(found, /^TOO_LARGE: .* must be at most \d+ on this GPU \(max\w+\), found \d+/)
  assert.not.ok(isRead)
})

gpuTest('weights that no conversion wrote are refused', async (adapter) => {
  const { spec, plan, weights } = await packedOf(golden('gta'), 'q8')
  const matrices = plan.tensors.filter(({ content }) => content.is === 'matrix' && content.type === 'q8')
  for (const { offset, bytes, name } of [matrices[0], matrices.at(-1)].flatMap((one) => one ?? [])) {
    const broken = weights.slice()
    broken[offset + bytes - 1] = 128
    const load = (target: Weights) => target.write(0, broken)
    const input = { spec, plan, options: testOptions('q8'), adapter: await sourceOf(adapter), load }
    assert.match(await code(openGpuEngine(input)), /^BAD_FILE: q8 weights must be bytes below 128/, name)
  }
})

gpuTest('logits that are not finite are no token', async (adapter) => {
  const { spec, plan, weights } = await packedOf(golden('gta'), 'f32')
  const broken = weights.slice()
  const norm = plan.tensors.find(({ name }) => name === 'norm')
  new DataView(broken.buffer).setFloat32(norm?.offset as number, Number.NaN, true)
  const engine = await openGpuEngine({
    ...{ spec, plan, options: testOptions('f32') },
    adapter: await sourceOf(adapter),
    load: (target) => target.write(0, broken),
  })
  assert.equal([...(await engine.step([{ conversation: 0, position: 0, token: 1, sampling: greedy }]))], [0xffff_ffff])
  await engine.close()
})

gpuTest('drawn tokens are those that the WebAssembly engine draws', async (adapter) => {
  const cpu = await openEngine(golden('gta'), { type: 'f32', conversations: 4 })
  const { cache } = await openGpu(adapter, golden('gta'), { type: 'f32', conversations: 4 })
  const settings = [{ topK: 40 }, { topP: 0.9 }, { topK: 10, minP: 0.1, topP: 0.8 }, { repeatPenalty: 1.3 }]
  const both = await Promise.all([cpu, cache].map((engine) => drawMany(engine, settings)))
  assert.equal(both[1], both[0])
  assert.ok(new Set(both[0]).size > 8)
  await Promise.all([cpu.close(), cache.close()])
})

/** Twelve tokens of a conversation for each of the settings. */
async function drawMany(engine: KvCache, settings: readonly object[]): Promise<number[]> {
  const drawn: number[] = []
  let last = settings.map(() => second?.prompt_ids[0] as number)
  for (let position = 0; position < 12; position++) {
    const step = settings.map((setting, conversation) => ({
      ...{ conversation, position, token: last[conversation] as number },
      sampling: { ...greedy, temperature: 0.8, seed: 11, ...setting },
    }))
    last = [...(await engine.step(step))]
    drawn.push(...last)
  }
  return drawn
}

test('shaders know a row as the ABI does', () => {
  const [, body] = /struct Row \{([^}]*)\}/.exec(stepText) as unknown as [string, string]
  const fields = [...body.matchAll(/(\w+): (\w+),/g)].map(([, name, type]) => `${name} ${type}`)
  const row = new Abi.Row()
  assert.equal(
    fields,
    fieldsOf(row).map((name) => `${name} ${isFloat(row, name) ? 'f32' : 'u32'}`),
  )
})

test('weights are cut between tensors, and where one alone is too large it is alone', () => {
  const tensors = [10, 20, 30, 100, 5].map((bytes, i, all) => ({
    bytes,
    offset: all.slice(0, i).reduce((sum, one) => sum + one, 0),
  }))
  assert.equal(cutTensors(tensors, 60), [
    { from: 0, to: 60 },
    { from: 60, to: 160 },
    { from: 160, to: 165 },
  ])
})

test.run()
