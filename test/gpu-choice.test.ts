/**
 * Which engine a model gets with `gpu`: what is refused, and what `auto` measures and remembers. Adapters and engines are not
 * real here, so that a clock can be that of the test; gpu-auto.test.ts has real ones.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { type LoadOptions, load } from '../host/index.ts'
import { platform } from '../host/platform/node.ts'
import { type Measurement, measurementsFile } from '../host/runtime/measurements.ts'
import { type Comparison, chooseMode, fastestMode } from '../host/runtime/tune-gpu.ts'
import { failure, temporary } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { packedOf, testOptions } from './harness/engines.ts'

process.env.XDG_CACHE_HOME = temporary()

const compare = (cpu: [number, number], gpu: [number, number]) => {
  const speed = ([prompt, decode]: [number, number]) => ({ prompt, decode })
  return fastestMode({ cpu: speed(cpu), gpu: speed(gpu) })
}

test('a GPU is chosen for what it does clearly faster', () => {
  assert.is(compare([1, 1], [0.5, 0.5]), 'on')
  assert.is(compare([1, 1], [0.5, 1.5]), 'prefill')
  assert.is(compare([1, 1], [1.5, 1.5]), 'off')
  assert.is(compare([1, 1], [0.95, 0.95]), 'off', 'not by so little')
  assert.is(compare([1, 1], [1.2, 0.5]), 'on', 'most time goes into generating')
})

const refused: [string, LoadOptions | object, RegExp][] = [
  ['another mode', { gpu: 'yes' }, /gpu \(--gpu\) must be one of off, on, prefill, auto, found "yes"/],
  ['force without a GPU', { gpuForce: true }, /gpuForce \(--gpu-force\) must be absent without gpu/],
  ['offload', { gpu: 'on', offload: 1e6 }, /offload \(--offload\) must be absent with gpu/],
]
for (const [name, options, message] of refused)
  test(`refused: ${name}`, async () => {
    const error = await failure(load(golden('gta'), options as LoadOptions))
    assert.is((error as { code?: string }).code, 'BAD_OPTION')
    assert.match(String(error), message)
  })

test('without a GPU that is fit, auto is the CPU, and remembers nothing', async () => {
  const model = await load(golden('gta'), { gpu: 'auto', threads: 1 })
  assert.match(model.engineName, /^wasm /)
  await model.close()
  assert.throws(() => readFileSync(measurementsFile()), /ENOENT/)
})

const { now } = performance
const { openGpu, processorName, watchLoad } = platform

/** A machine with a GPU of that name, on which a step on it takes so many milliseconds, and one on the CPU ten. */
class Machine {
  /** Engines that were opened to be timed. */
  opened: string[] = []
  info = { vendor: 'acme', architecture: 'one', device: 'card', description: 'driver 1' }
  type: 'f32' | 'q8' = 'q8'
  options: object = {}
  milliseconds = 100

  async choose(): Promise<string> {
    let time = 0
    // Looking at it takes time too, or nobody would ever stop.
    performance.now = () => (time += 0.001)
    platform.watchLoad = () => () => ({ load: 0, foreignShare: 0 })
    const adapter = { info: { ...this.info }, limits: {}, features: new Set() }
    platform.openGpu = async () => ({ requestAdapter: async () => adapter, wgslLanguageFeatures: new Set() })
    const { plan } = await packedOf(golden('gta'), this.type)
    this.opened = []
    const open = async (mode: string) => {
      this.opened.push(mode)
      const step = async () => {
        time += mode === 'on' ? this.milliseconds : 10
        return new Uint32Array()
      }
      const facts = { maxRows: 64, context: 128 }
      return { facts, step, rewind: () => undefined, close: async () => undefined } as unknown as KvCache
    }
    try {
      return await chooseMode(plan, { ...testOptions('q8'), gpu: 'auto', ...this.options }, open)
    } finally {
      performance.now = now
      Object.assign(platform, { openGpu, processorName, watchLoad })
    }
  }
}

/** Of what is remembered of a machine at which nothing was, and the only entry. */
function readOne(): [string, Measurement<Comparison>] {
  const entries = Object.entries<Measurement<Comparison>>(JSON.parse(readFileSync(measurementsFile(), 'utf8')))
  assert.is(entries.length, 1)
  return entries[0] as (typeof entries)[number]
}

test('auto: timed once, whoever wins', async () => {
  for (const [milliseconds, mode] of [
    [5, 'on'],
    [20, 'off'],
  ] as const) {
    rmSync(measurementsFile(), { force: true })
    const machine = new Machine()
    machine.milliseconds = milliseconds
    assert.is(await machine.choose(), mode)
    assert.equal(machine.opened, ['on', 'off'])
    assert.ok(readOne()[0].startsWith('gpu '))
    // Had it been timed again, the other one had won.
    machine.milliseconds = 25 - milliseconds
    assert.is(await machine.choose(), mode)
    assert.equal(machine.opened, [])
  }
})

const changes: [string, (machine: Machine) => void][] = [
  ['another GPU with the same driver', (machine) => Object.assign(machine.info, { device: 'larger card' })],
  ['another driver', (machine) => Object.assign(machine.info, { description: 'driver 2' })],
  ['another model', (machine) => Object.assign(machine, { type: 'f32' })],
  ['another cache', (machine) => Object.assign(machine, { options: { cache: 'f32' } })],
  ['other threads', (machine) => Object.assign(machine, { options: { threads: 3 } })],
  ['another processor', () => Object.assign(platform, { processorName: () => 'another' })],
]
for (const [what, change] of changes)
  test(`auto: timed again for ${what}`, async () => {
    rmSync(measurementsFile(), { force: true })
    await new Machine().choose()
    const machine = new Machine()
    change(machine)
    machine.milliseconds = 5
    assert.is(await machine.choose(), 'on')
    assert.equal(machine.opened, ['on', 'off'])
    assert.is(await new Machine().choose(), 'off', 'the other one is still known')
  })

test('auto: what a damaged file says is not believed', async () => {
  rmSync(measurementsFile(), { force: true })
  const machine = new Machine()
  await machine.choose()
  const [name, entry] = readOne()
  const { cpu } = entry.value
  const values = [
    null,
    7,
    {},
    { cpu },
    { cpu, gpu: { prompt: -1, decode: 1 } },
    { cpu, gpu: { prompt: '1', decode: 1 } },
  ]
  const files = [
    ...['', '{', '[]', 'null', `{"${name}":`],
    ...[...values.map((value) => ({ ...entry, value })), { ...entry, date: 'yesterday' }, null, 'x'].map((other) =>
      JSON.stringify({ [name]: other }),
    ),
  ]
  mkdirSync(dirname(measurementsFile()), { recursive: true })
  for (const file of files) {
    writeFileSync(measurementsFile(), file)
    assert.is(await machine.choose(), 'off', file)
    assert.equal(machine.opened, ['on', 'off'], file)
    assert.equal(Object.keys(readOne()[1].value), ['cpu', 'gpu'], file)
  }
})

test.run()
