/** `gpu: 'auto'` on an adapter: both engines are timed once, by a clock that the test moves, and what was found is believed. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type LoadOptions, load } from '../host/index.ts'
import { platform } from '../host/platform/node.ts'
import { type Measurement, measurementsFile } from '../host/runtime/measurements.ts'
import type { Comparison } from '../host/runtime/tune-gpu.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { gpuTest, type TestAdapter } from './harness/gpu.ts'
import { type Guise, useAdapter } from './harness/gpu-models.ts'

process.env.XDG_CACHE_HOME = temporary()
const { now } = performance
const { watchLoad } = platform
test.before.each(() => {
  // A quiet machine: what is measured on a busy one is measured again.
  platform.watchLoad = () => () => ({ load: 0, foreignShare: 0 })
  write({})
})
test.after.each(() => {
  performance.now = now
  platform.watchLoad = watchLoad
})

function write(content: object): void {
  mkdirSync(dirname(measurementsFile()), { recursive: true })
  writeFileSync(measurementsFile(), JSON.stringify(content))
}
const text = () => readFileSync(measurementsFile(), 'utf8')
/** What is remembered of GPUs. */
const entries = () =>
  Object.entries<Measurement<Comparison>>(JSON.parse(text())).filter(([name]) => name.startsWith('gpu '))
type OneEntry = [[string, Measurement<Comparison>]]

/** A clock that each reading moves on, behind a step on a GPU by so many times as much as behind others. */
function moveClock(devices: readonly GPUDevice[], factor: number): void {
  let time = 0
  let isWatched = 0
  let isOnGpu = false
  performance.now = () => {
    // A device that was opened since: its steps are submissions.
    for (; isWatched < devices.length; isWatched++) {
      const { queue } = devices[isWatched] as GPUDevice
      const submit = queue.submit.bind(queue)
      queue.submit = (buffers) => {
        isOnGpu = true
        submit(buffers)
      }
    }
    time += isOnGpu ? 10 * factor : 10
    isOnGpu = false
    return time
  }
}

interface Opened {
  /** Which engines the model has. */
  mode: string
  /** Devices that were opened to that end. */
  devices: number
}

async function openAuto(adapter: TestAdapter, { factor = 1, ...rest }: LoadOptions & Guise & { factor?: number } = {}) {
  const { info, limits, ...options } = rest
  const devices = useAdapter(adapter, { ...(info ? { info } : {}), ...(limits ? { limits } : {}) })
  moveClock(devices, factor)
  await using model = await load(golden('gta'), { gpu: 'auto', gpuForce: true, threads: 1, ...options })
  performance.now = now
  const stream = model.generate([5, 6, 7], { maxTokens: 3, temperature: 0, stopAtEos: false })
  for await (const _ of stream);
  assert.is((await stream.result).tokens.length, 3)
  const { engineName } = model
  const mode = engineName.startsWith('wasm') ? 'off' : engineName.includes('for prompts') ? 'prefill' : 'on'
  return { mode, devices: devices.length } satisfies Opened
}

const where = { on: ['lavapipe'] } as const

gpuTest(
  'auto: the GPU wins; it is timed once, and then opened at once',
  async (adapter) => {
    assert.equal(await openAuto(adapter, { factor: 0.1 }), { mode: 'on', devices: 2 })
    const [[, found]] = entries() as OneEntry
    assert.ok(found.value.gpu.decode < found.value.cpu.decode && found.value.gpu.prompt < found.value.cpu.prompt)
    const before = text()
    // A clock by which it loses is not asked.
    assert.equal(await openAuto(adapter, { factor: 10 }), { mode: 'on', devices: 1 })
    assert.is(text(), before)
  },
  where,
)

gpuTest(
  'auto: the CPU wins; from then on no device is opened',
  async (adapter) => {
    assert.equal(await openAuto(adapter, { factor: 10 }), { mode: 'off', devices: 1 })
    assert.is(entries().length, 1)
    const before = text()
    assert.equal(await openAuto(adapter, { factor: 0.1 }), { mode: 'off', devices: 0 })
    assert.is(text(), before)
  },
  where,
)

gpuTest(
  'auto: prompts alone',
  async (adapter) => {
    await openAuto(adapter, { factor: 10 })
    const [[name, found]] = entries() as OneEntry
    write({ [name]: { ...found, value: { ...found.value, gpu: { prompt: found.value.cpu.prompt / 2, decode: 1 } } } })
    assert.equal(await openAuto(adapter), { mode: 'prefill', devices: 1 })
  },
  where,
)

gpuTest(
  'auto: what does not fit in the GPU is left to the CPU, and nothing is timed',
  async (adapter) => {
    const options = { limits: { maxStorageBufferBindingSize: 4096 }, factor: 0.1 }
    assert.equal(await openAuto(adapter, options), { mode: 'off', devices: 1 })
    assert.is(entries().length, 0)
  },
  where,
)

test.run()
