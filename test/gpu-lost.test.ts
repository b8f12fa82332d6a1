/**
 * GPUs that go away: while a model is opened, in the middle of a step, while something is read back. What fails is typed and leaves
 * conversations where they were; with `recover` they go on on the CPU, with its text.
 */
import { spawn } from 'node:child_process'
import { text as textOf } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Conversation, GtaError, type LoadOptions, load, type Model } from '../host/index.ts'
import { ask, startServer, untilReady } from './fixtures/api-server.ts'
import { chatModel } from './fixtures/chats.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { gpuTest as onAdapters, type TestAdapter } from './harness/gpu.ts'
import { useAdapter } from './harness/gpu-models.ts'
import { limit } from './harness/limits.ts'

const gpuTest = (what: string, run: (adapter: TestAdapter) => Promise<void>) =>
  onAdapters(what, run, { on: ['lavapipe'] })

const cpu: LoadOptions = { type: 'f32', threads: 1, cacheMemory: 2 ** 21 }
const onGpu: LoadOptions = { ...cpu, gpu: 'on', gpuForce: true }
const open = (options: LoadOptions) => load(golden('gta'), options)
const ids = (length: number, which: number) => Array.from({ length }, (_, i) => (i * (3 + which) + which) % 250)

async function generate(conversation: Conversation, prompt: number[], onToken?: () => void): Promise<number[]> {
  const options = { maxTokens: 8, temperature: 0, stopAtEos: false, ...(onToken ? { onToken } : {}) }
  const stream = conversation.generate(prompt, options)
  for await (const _ of stream);
  return (await stream.result).tokens
}

/** Three conversations at once, one of which was there before and is forked. */
async function talk(model: Model, onToken?: (count: number) => void): Promise<number[][]> {
  using one = model.open()
  const first = await generate(one, ids(40, 1))
  using fork = one.fork()
  let count = 0
  const told = onToken && (() => onToken(++count))
  const others = [
    generate(one, ids(5, 2), told),
    generate(fork, ids(36, 3), told),
    generate(model.open(), ids(50, 4), told),
  ]
  return [first, ...(await Promise.all(others))]
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await failure(promise)
  assert.instance(error, GtaError, String(error))
  return (error as unknown as GtaError).code
}

/** Takes a device away at its next submission, before it or behind it, or while that is read back. */
function loseAt(device: GPUDevice, moment: 'before' | 'behind' | 'reading'): void {
  const { queue } = device
  const submit = queue.submit.bind(queue)
  queue.submit = (buffers) => {
    queue.submit = submit
    if (moment === 'before') device.destroy()
    submit(buffers)
    if (moment === 'behind') device.destroy()
    else queue.onSubmittedWorkDone().then(() => device.destroy())
  }
}

gpuTest('lost with recover: the text of the CPU, whenever it was', async (adapter) => {
  await using alone = await open(cpu)
  const expected = await talk(alone)
  for (const [gpu, moment, at] of [
    ['on', 'before', 7],
    ['on', 'behind', 3],
    ['on', 'reading', 12],
    ['prefill', 'behind', 0],
  ] as const) {
    const devices = useAdapter(adapter)
    await using model = await open({ ...onGpu, gpu, recover: true })
    assert.is(devices.length, 1)
    const device = devices[0] as GPUDevice
    if (at === 0) loseAt(device, moment)
    const said = await talk(model, (count) => {
      if (count === at) loseAt(device, moment)
    })
    assert.equal(said, expected, `${gpu}, ${moment}`)
    assert.match(model.engineName, /^wasm /)
    assert.is((await device.lost).reason, 'destroyed')
    assert.is(devices.length, 1, 'no other one is asked for')
  }
})

gpuTest('lost without recover: typed, and conversations are where they were', async (adapter) => {
  for (const gpu of ['on', 'prefill'] as const) {
    const devices = useAdapter(adapter)
    await using model = await open({ ...onGpu, gpu })
    using conversation = model.open()
    await generate(conversation, ids(50, 1))
    const { tokens } = conversation
    loseAt(devices[0] as GPUDevice, 'behind')
    assert.is(await codeOf(conversation.logits(ids(40, 2))), 'GPU_LOST', gpu)
    assert.equal(conversation.tokens, tokens)
    assert.is(await codeOf(conversation.logits(ids(40, 2))), 'GPU_LOST', gpu)
    assert.equal(conversation.tokens, tokens)
  }
})

gpuTest('lost while its weights are loaded: load() says so, and auto takes the CPU', async (adapter) => {
  for (const gpu of ['on', 'prefill'] as const) {
    const devices = useAdapter(adapter)
    const onProgress = () => devices.at(-1)?.destroy()
    assert.is(await codeOf(open({ ...onGpu, gpu, onProgress })), 'GPU_LOST', gpu)
    assert.is(devices.length, 1)
  }
  const devices = useAdapter(adapter)
  await using model = await open({ ...onGpu, gpu: 'auto', onProgress: () => devices.at(-1)?.destroy() })
  assert.match(model.engineName, /^wasm /)
})

gpuTest('one of two models loses its GPU, the other one does not notice', async (adapter) => {
  const devices = useAdapter(adapter)
  await using one = await open(onGpu)
  await using other = await open(onGpu)
  const expected = await talk(other)
  const [lost, said] = await Promise.all([
    codeOf(talk(one, (count) => count === 3 && loseAt(devices[0] as GPUDevice, 'behind'))),
    talk(other),
  ])
  assert.is(lost, 'GPU_LOST')
  assert.equal(said, expected)
})

const completion = (which: number) => ({ prompt: ids(20, which), max_tokens: 12, temperature: 0 })

/** What a server answers to three requests at once, behind `act`, and then to two more. */
async function serve(load: LoadOptions, act: () => void = () => undefined) {
  const server = await startServer({ models: [{ name: 'gta', path: golden('gta') }], load, slots: 3 })
  await untilReady(server)
  act()
  const together = await Promise.all([1, 2, 3].map((which) => ask(server, '/v1/completions', completion(which))))
  const later = [
    await ask(server, '/v1/completions', completion(1)),
    await ask(server, '/v1/embeddings', { input: [ids(9, 1)] }),
  ]
  await server.close()
  const answers = [...together, ...later]
  assert.ok(server.errors.every((error) => (error as GtaError).code === 'GPU_LOST'))
  assert.is(server.errors.length, answers.filter(({ status }) => status !== 200).length)
  return answers.map(({ status, body }) => [status, body.choices?.[0]?.text ?? body.data?.length ?? body.error.message])
}

gpuTest(
  'gta serve: requests under way go on on the CPU; without recover later ones have a new GPU',
  async (adapter) => {
    const devices = useAdapter(adapter)
    const expected = await serve(cpu)
    assert.ok(expected.every(([status]) => status === 200))
    const lose = () => loseAt(devices.at(-1) as GPUDevice, 'behind')
    assert.equal(await serve({ ...onGpu, recover: true }, lose), expected)
    assert.is(devices.length, 1)
    const answers = await serve(onGpu, lose)
    const failed = answers.filter(([status]) => status !== 200)
    // Who came behind the loss may have had the new one already.
    assert.ok(failed.length > 0 && failed.length <= 3)
    for (const [status, message] of failed) {
      assert.is(status, 500)
      assert.match(message, /GPU must stay there while a model is open/)
    }
    assert.equal(
      answers.filter(([status]) => status === 200),
      expected.filter((_, i) => answers[i]?.[0] === 200),
    )
    assert.equal(answers.slice(3), expected.slice(3))
    assert.is(devices.length, 3)
  },
)

/** `gta chat` in a process whose GPU goes away at a submission. */
async function chat(adapter: TestAdapter, at: number, ...flags: string[]) {
  const fixture = new URL('fixtures/lose-gpu.ts', import.meta.url).href
  const command = fileURLToPath(new URL('../host/cli/gta.ts', import.meta.url))
  const args = ['--disable-warning=ExperimentalWarning', '--import', fixture, command, 'chat', chatModel(), '--json']
  const child = spawn(process.execPath, [...args, '--temp', '0', '-n', '6', '-t', '1', ...flags], {
    env: { ...process.env, ...adapter.env, GTA_TEST_LOSE_AT: String(at) },
    timeout: limit(120),
  })
  child.stdin.end('one\ntwo\nthree\n')
  const [stdout, stderr, code] = await Promise.all([
    textOf(child.stdout),
    textOf(child.stderr),
    new Promise((resolve) => child.on('close', resolve)),
  ])
  const lines = stdout.split('\n').filter((line) => line !== '')
  return { code, stderr, lines: lines.map((line) => JSON.parse(line)) }
}

gpuTest('gta chat: goes on on the CPU with --recover, and without it says what happened', async (adapter) => {
  const textsOf = ({ lines }: Awaited<ReturnType<typeof chat>>) => lines.map(({ text }) => text)
  const expected = await chat(adapter, 0, '--type', 'f32')
  assert.is(expected.code, 0, expected.stderr)
  assert.is(expected.lines.length, 3)
  const flags = ['--type', 'f32', '--gpu', 'on', '--gpu-force']
  const recovered = await chat(adapter, 12, ...flags, '--recover')
  assert.is(recovered.code, 0, recovered.stderr)
  assert.match(recovered.stderr, 'the GPU was taken away')
  assert.equal(textsOf(recovered), textsOf(expected))
  const lost = await chat(adapter, 12, ...flags)
  assert.equal(
    lost.lines.map(({ type, code }) => [type, code]),
    [
      ['answer', undefined],
      ['error', 'GPU_LOST'],
    ],
  )
  assert.is(lost.code, 1)
})

test.run()
