/**
 * What a GPU is asked beyond the ordinary: limits lower than a tensor, more conversations than a model opens, prompts that are
 * aborted, models that are closed while they generate, embeddings.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { greedy, type Row } from '../host/engine/engine.ts'
import { GtaError, type LoadOptions, load, type Model } from '../host/index.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden, worst } from './fixtures/goldens.ts'
import { openEngine } from './harness/engines.ts'
import { gpuTest as onAdapters, type TestAdapter } from './harness/gpu.ts'
import { openGpu } from './harness/gpu-engines.ts'
import { useAdapter } from './harness/gpu-models.ts'

const gpuTest = (what: string, run: (adapter: TestAdapter) => Promise<void>) =>
  onAdapters(what, run, { on: ['lavapipe'] })

const cpu: LoadOptions = { type: 'f32', threads: 1, cacheMemory: 2 ** 21, maxLogits: 2 }
const onGpu: LoadOptions = { ...cpu, gpu: 'on', gpuForce: true }
const open = (options: LoadOptions) => load(golden('gta'), options)
const text = Array.from({ length: 100 }, (_, i) => (i * 7) % 250)

const codeAndText = async (promise: Promise<unknown>) => {
  const error = (await failure(promise)) as unknown as GtaError
  assert.instance(error, GtaError, String(error))
  return `${error.code}: ${error.message}`
}

gpuTest('a GPU that binds less than a tensor has: matrices are computed in bands', async (adapter) => {
  await using alone = await open(cpu)
  const expected = await alone.logits(text)
  const limits = { maxStorageBufferBindingSize: 2 ** 16 }
  const devices = useAdapter(adapter, { limits })
  await using model = await open({ ...onGpu, cacheMemory: 2 ** 17, batch: 16 })
  const largest = model.spec.vocabSize * model.spec.hiddenDim * 4
  assert.ok(largest > limits.maxStorageBufferBindingSize, `${largest}`)
  assert.is(devices.length, 1)
  assert.ok(worst(await model.logits(text), expected) < 1e-4)
})

gpuTest('limits that do not do are told with numbers, before a weight is read', async (adapter) => {
  let isRead = false
  const onProgress = () => {
    isRead = true
  }
  for (const [limits, message] of [
    [
      { maxStorageBufferBindingSize: 4096 },
      /^TOO_LARGE: .+ must be at most 4096 on this GPU \(maxStorageBufferBindingSize\), found \d+: use a smaller -c/,
    ],
    [
      { maxBufferSize: 2 ** 14 },
      /^TOO_LARGE: tensor \S+ must be at most 16384 on this GPU \(maxBufferSize\), found \d+:/,
    ],
  ] as const)
    for (const gpu of ['on', 'prefill'] as const) {
      useAdapter(adapter, { limits })
      assert.match(await codeAndText(open({ ...onGpu, gpu, onProgress })), message)
      assert.not.ok(isRead)
    }
})

gpuTest('64 conversations, one token of each in a step', async (adapter) => {
  const options = { type: 'f32', conversations: 64, maxLogits: 64, pages: 64, context: 64 } as const
  const [one, { cache: other }] = await Promise.all([
    openEngine(golden('gta'), options),
    openGpu(adapter, golden('gta'), options),
  ])
  for (let position = 0; position < 3; position++) {
    const rows: Row[] = Array.from({ length: 64 }, (_, conversation) => ({
      ...{ conversation, position, token: (conversation * 5 + position) % 250, sampling: greedy },
    }))
    const [expected, found] = await Promise.all([one.step(rows), other.step(rows)])
    assert.equal(found, expected)
  }
  for (const k of [0, 31, 63]) assert.ok(worst(await other.logits(k), await one.logits(k)) < 1e-4)
  await Promise.all([one.close(), other.close()])
})

gpuTest('a prompt that is aborted between two steps leaves what was read, and another one goes on', async (adapter) => {
  useAdapter(adapter)
  await using alone = await open(cpu)
  const expected = await alone.logits(text)
  for (const gpu of ['on', 'prefill'] as const) {
    await using model = await open({ ...onGpu, gpu, batch: 40 })
    using conversation = model.open()
    const controller = new AbortController()
    const stop = () => controller.abort(new Error('enough'))
    const stream = conversation.generate(text, { maxTokens: 2, signal: controller.signal, onPrefill: stop })
    const said = (async () => {
      for await (const _ of stream);
    })()
    assert.match(String(await failure(said)), /enough/)
    const { length } = conversation
    assert.ok(length === 0 || length === 40, `${gpu}: ${length}`)
    assert.ok(worst(await conversation.logits(text.slice(length)), expected) < 1e-4, gpu)
  }
})

/** What a generation ends with, if its model is closed after so many tokens. */
async function closeAfter(model: Model, tokens: number): Promise<string> {
  let count = 0
  let closed: Promise<void> | undefined
  const onToken = () => {
    if (++count === tokens) closed = model.close()
  }
  const stream = model.generate(text, { maxTokens: 20, temperature: 0, stopAtEos: false, onToken })
  const found = await codeAndText(
    (async () => {
      for await (const _ of stream);
    })(),
  )
  await closed
  return found
}

gpuTest(
  'a model that is closed while it generates ends that, typed, and nothing stays on the device',
  async (adapter) => {
    for (const gpu of ['on', 'prefill'] as const) {
      const devices = useAdapter(adapter)
      const model = await open({ ...onGpu, gpu })
      assert.match(await closeAfter(model, 3), /^CLOSED: /)
      assert.is((await (devices[0] as GPUDevice).lost).reason, 'destroyed')
      assert.match(await codeAndText(model.logits([1])), /^CLOSED: /)
    }
  },
)

gpuTest('embeddings are those of the CPU', async (adapter) => {
  useAdapter(adapter)
  const texts = [text, [1, 2, 3], text.slice(50)]
  await using alone = await open(cpu)
  const expected = await alone.embed(texts)
  for (const gpu of ['on', 'prefill'] as const) {
    await using model = await open({ ...onGpu, gpu })
    const found = await model.embed(texts)
    assert.is(found.promptTokens, expected.promptTokens)
    for (const [i, vector] of found.vectors.entries())
      assert.ok(worst(vector, expected.vectors[i] as Float32Array) < 1e-5, `${gpu} ${i}`)
  }
})

test.run()
