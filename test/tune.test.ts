/** How many threads a model runs on: what is asked for, else what is remembered, else what is measured. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { builds, chooseBuild } from '../host/engine/wasm/builds.ts'
import { Checkpoint } from '../host/files/checkpoint.ts'
import { GtaError, type LoadOptions, load } from '../host/index.ts'
import { platform } from '../host/platform/node.ts'
import { measurementsFile, remember } from '../host/runtime/measurements.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { rememberedThreads, threadsKey } from '../host/runtime/tune.ts'
import { planModel, type WeightType } from '../models/index.ts'
import { type Config, failure, gqaConfig, randomTensors, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { limit, limitNote } from './harness/limits.ts'

const cores = availableParallelism()
const gta = golden('gta')
const folder = temporary()
process.env.XDG_CACHE_HOME = folder

async function keyOf(directory: string, type: WeightType = 'q8', build?: string): Promise<string> {
  const checkpoint = await Checkpoint.open(directory)
  await checkpoint.close()
  return threadsKey(planModel(checkpoint.model, type), build ?? (await chooseBuild()).build.name)
}
const key = await keyOf(gta)

function write(content: string | object): void {
  mkdirSync(dirname(measurementsFile()), { recursive: true })
  writeFileSync(measurementsFile(), typeof content === 'string' ? content : JSON.stringify(content))
}
/** A measurement of a quiet machine, as it stands in the file. */
const entry = (value: unknown, more: object = {}) => ({ value, date: '2026-11-01T00:00:00.000Z', ...more })
const name = `threads ${key}`
const read = () => JSON.parse(readFileSync(measurementsFile(), 'utf8'))

/** Loads the model, and tells on what threads it would run. */
async function threadsOf(options: LoadOptions = {}) {
  const model = await load(gta, options)
  const { threads } = runtimeOf(model).engine
  const { maxThreads } = runtimeOf(model).engine.facts
  await model.close()
  return { ...threads, maxThreads }
}

const isCount = (n: unknown) => Number.isInteger(n) && (n as number) >= 1 && (n as number) <= cores

test('the first load measures and remembers, the next one takes what it finds', async () => {
  rmSync(folder, { recursive: true, force: true })
  assert.is(measurementsFile(), join(folder, 'gta-edge', 'measurements.json'))
  const measured = await threadsOf()
  assert.ok(isCount(measured.decode) && isCount(measured.prefill), JSON.stringify(measured))
  const { [name]: found, ...others } = read()
  assert.equal(found.value, { decode: measured.decode, prefill: measured.prefill })
  assert.ok(Date.now() - Date.parse(found.date) < 60_000 && found.load >= 0, JSON.stringify(found))
  assert.equal(others, {})
  assert.equal(readdirSync(dirname(measurementsFile())), ['measurements.json'], 'nothing temporary is left')
  assert.equal(await rememberedThreads(key), { decode: measured.decode, prefill: measured.prefill })
})

test('what is remembered is used as it is, without more threads than it needs', async () => {
  const counts = { decode: 1, prefill: cores }
  write({ [name]: entry(counts) })
  const before = readFileSync(measurementsFile(), 'utf8')
  assert.equal(await threadsOf(), { ...counts, maxThreads: cores })
  write({ [name]: entry({ decode: 1, prefill: 1 }) })
  assert.equal(await threadsOf(), { decode: 1, prefill: 1, maxThreads: 1 })
  assert.is(before, JSON.stringify({ [name]: entry(counts) }))
  // Batch threads alone are asked for: those of decode are still the remembered ones.
  assert.equal(await threadsOf({ batchThreads: 3 }), { decode: 1, prefill: 3, maxThreads: 3 })
})

test('what a busy machine spoilt is believed while it is busy, and measured again when it is quiet', async () => {
  const counts = { decode: 1, prefill: 1 }
  const loads = { busy: 5, quiet: 0.1 }
  const real = platform.watchLoad
  try {
    for (const [state, load] of Object.entries(loads)) {
      platform.watchLoad = () => () => ({ load, foreignShare: state === 'busy' ? 0.9 : 0.01 })
      write({ [name]: entry(counts, { foreignShare: 0.6 }) })
      await threadsOf()
      const { foreignShare, date } = read()[name]
      assert.equal([foreignShare, date === entry(1).date], state === 'busy' ? [0.6, true] : [0.01, false], state)
    }
    // Of two disturbed ones the less disturbed counts.
    platform.watchLoad = () => () => ({ load: 0, foreignShare: 0.8 })
    write({ [name]: entry(counts, { foreignShare: 0.6 }) })
    assert.equal(await threadsOf(), { ...counts, maxThreads: cores })
    assert.is(read()[name].foreignShare, 0.6)
    // What others took at rest is no reason to measure.
    write({ [name]: entry(counts, { foreignShare: 0.05 }) })
    assert.equal(await rememberedThreads(key), counts)
  } finally {
    platform.watchLoad = real
  }
})

test('threads that are asked for win, and nothing is read or written for them', async () => {
  write({ [name]: entry({ decode: cores, prefill: cores }) })
  assert.equal(await threadsOf({ threads: 1 }), { decode: 1, prefill: 1, maxThreads: 1 })
  assert.equal(await threadsOf({ threads: 1, batchThreads: 3 }), { decode: 1, prefill: 3, maxThreads: 3 })
  assert.equal(await threadsOf({ threads: 3, batchThreads: 1 }), { decode: 3, prefill: 1, maxThreads: 3 })
  rmSync(folder, { recursive: true, force: true })
  await threadsOf({ threads: 2 })
  assert.not.ok(existsSync(folder))
})

test('a file that holds nothing usable is measured over, and the rest of it kept if there is any', async () => {
  const good = { decode: 1, prefill: 1 }
  const useless: (string | object)[] = [
    '',
    'not JSON',
    '{"',
    'null',
    '7',
    [good],
    { [name]: entry(null) },
    { [name]: entry(2) },
    { [name]: entry([1, 1]) },
    { [name]: entry({}) },
    { [name]: entry({ decode: 1 }) },
    { [name]: entry({ decode: '1', prefill: '1' }) },
    { [name]: entry({ decode: 0, prefill: 1 }) },
    { [name]: entry({ decode: 1, prefill: -1 }) },
    { [name]: entry({ decode: 1e9, prefill: 1 }) },
    { [name]: entry({ decode: 1, prefill: 1.5 }) },
    { [name]: entry({ decode: true, prefill: 1 }) },
    { [name]: good },
    { [name]: null },
    { [name]: { ...entry(good), date: 7 } },
    { [name]: { ...entry(good), date: 'never' } },
    { [name]: entry(good, { foreignShare: 'much' }) },
    { [name]: entry(good, { load: -1 }) },
    `{"__proto__": {"${name}": ${JSON.stringify(entry(good))}}}`,
  ]
  for (const content of useless) {
    write(content)
    assert.is(await rememberedThreads(key), undefined, JSON.stringify(content))
  }
  write({ [name]: entry({ decode: 1e9, prefill: 1 }), other: good, broken: 'x' })
  const measured = await threadsOf()
  assert.ok(isCount(measured.decode) && measured.maxThreads === cores)
  const { [name]: found, ...others } = read()
  assert.equal(found.value, { decode: measured.decode, prefill: measured.prefill })
  assert.equal(others, { other: good, broken: 'x' })
})

test('a file of gigabytes, a folder, or a pipe that nobody writes to costs no more than a measurement', async () => {
  write({ [name]: entry({ decode: 1, prefill: 1 }) })
  truncateSync(measurementsFile(), 2 ** 32)
  const measured = await threadsOf()
  assert.ok(isCount(measured.decode))
  rmSync(measurementsFile(), { force: true })
  mkdirSync(measurementsFile(), { recursive: true })
  assert.ok(isCount((await threadsOf()).decode))
  assert.equal(readdirSync(dirname(measurementsFile())), ['measurements.json'], 'nothing temporary is left')
  rmSync(measurementsFile(), { recursive: true })
  execFileSync('mkfifo', [measurementsFile()])
  assert.is(await rememberedThreads(key), undefined)
  rmSync(folder, { recursive: true, force: true })
})

test('a hundred models are remembered, the oldest is forgotten first', async () => {
  rmSync(folder, { recursive: true, force: true })
  const one = entry({ decode: 1, prefill: 1 })
  for (let i = 0; i < 103; i++) await remember('threads', `model ${i}`, one)
  const names = Object.keys(read())
  assert.is(names.length, 100)
  assert.is(names[0], 'threads model 3')
  // What is remembered again is the youngest.
  await remember('threads', 'model 3', one)
  assert.is(Object.keys(read()).at(-1), 'threads model 3')
  assert.is(Object.keys(read()).length, 100)
})

test('a place that cannot be written does not matter', async () => {
  const file = join(temporary(), 'file')
  writeFileSync(file, '')
  const closed = temporary()
  chmodSync(closed, 0o500)
  try {
    for (const place of [file, '/dev/null', closed, '/proc/nowhere']) {
      process.env.XDG_CACHE_HOME = place
      assert.ok(isCount((await threadsOf()).decode), place)
    }
  } finally {
    chmodSync(closed, 0o700)
    process.env.XDG_CACHE_HOME = folder
  }
})

test('a program without a home loads and ends all the same', async () => {
  const index = new URL('../dist/index.mjs', import.meta.url).href
  const source = `import { load } from ${JSON.stringify(index)}
const model = await load(${JSON.stringify(gta)})
console.log(/(\\d+)\\D*$/.exec(model.engineName)[1])
await model.close()`
  for (const env of [{ HOME: '/nowhere/at/all' }, { HOME: '', XDG_CACHE_HOME: '' }]) {
    const cwd = temporary()
    const child = spawn(process.execPath, ['--input-type=module', '-e', source], { cwd, env, timeout: limit(300) })
    let output = ''
    for (const part of [child.stdout, child.stderr])
      part.on('data', (data) => {
        output += data
      })
    const [status, signal] = await once(child, 'close')
    assert.is(status, 0, output + limitNote({ signal }, 300))
    assert.ok(isCount(Number(output)), `${JSON.stringify(env)}: ${output}`)
  }
})

test('many loads at once: each gets threads, the file is whole', async () => {
  rmSync(folder, { recursive: true, force: true })
  const all = await Promise.all(Array.from({ length: 4 }, () => threadsOf()))
  assert.ok(all.every(({ decode, prefill }) => isCount(decode) && isCount(prefill)))
  assert.ok(isCount(read()[name].value.decode))
  assert.equal(readdirSync(dirname(measurementsFile())), ['measurements.json'])
})

test('shape, weight type and build each have their own counts', async () => {
  const keys = [
    key,
    await keyOf(gta, 'f32'),
    await keyOf(gta, 'q4'),
    await keyOf(golden('gqa')),
    await keyOf(gta, 'q8', builds[1]?.name),
  ]
  assert.is(new Set(keys).size, keys.length)
  assert.is(await keyOf(gta), key)
})

test('a model is as it was after its threads were measured', async () => {
  rmSync(folder, { recursive: true, force: true })
  const measured = await load(gta, { context: 100 })
  const beyond = runtimeOf(measured).cache.step([{ conversation: 0, position: 1, token: 0 }])
  assert.match((await failure(beyond)).message, 'conversation 0 has 0 positions')
  const asked = await load(gta, { context: 100, threads: 1 })
  const ids = Array.from({ length: 90 }, (_, i) => (i * 7) % 320)
  assert.equal(await measured.logits(ids), await asked.logits(ids))
  await Promise.all([measured.close(), asked.close()])
  // A context, or a batch, of one leaves no room for a measurement of prefill.
  rmSync(folder, { recursive: true, force: true })
  assert.ok(isCount((await threadsOf({ context: 1 })).decode))
  rmSync(folder, { recursive: true, force: true })
  assert.ok(isCount((await threadsOf({ batch: 1 })).prefill))
})

test('weights that give NaN load, and say so when they are used', async () => {
  rmSync(folder, { recursive: true, force: true })
  // The sum of two of the largest numbers is infinite.
  const config: Config = { ...gqaConfig, tie_word_embeddings: true }
  const tensors = randomTensors(config)
  const norm = tensors.get('model.norm.weight')
  if (norm) norm.data = new Uint8Array(new Float32Array(32).fill(3e38).buffer)
  const model = await load(writeCheckpoint(config, tensors))
  try {
    assert.is((await failure(model.logits([1, 2, 3]))).code, 'NOT_FINITE')
    assert.not.ok(existsSync(measurementsFile()), 'nothing was measured')
  } finally {
    await model.close()
  }
})

test('counts that are none are BAD_OPTION, before anything is read', async () => {
  for (const name of ['threads', 'batchThreads'])
    for (const value of [0, -1, 1.5, 65, '2', Number.NaN, Infinity, null, {}]) {
      const error = await failure(load(gta, { [name]: value } as LoadOptions))
      assert.instance(error, GtaError, `${name} ${value}: ${error}`)
      assert.is(error.code, 'BAD_OPTION')
      assert.ok(error.message.includes(name) && error.message.includes('64'), error.message)
    }
})

test('more threads for prefill than there are cores are no candidates for decode', async () => {
  rmSync(folder, { recursive: true, force: true })
  const measured = await threadsOf({ batchThreads: cores + 3 })
  assert.ok(isCount(measured.decode), JSON.stringify(measured))
  assert.equal([measured.prefill, measured.maxThreads], [cores + 3, cores + 3])
  assert.ok(await rememberedThreads(key))
  rmSync(folder, { recursive: true, force: true })
})

test('a relative cache folder is ignored', () => {
  process.env.XDG_CACHE_HOME = 'relative'
  assert.ok(measurementsFile().startsWith('/') && !measurementsFile().includes('relative'))
  process.env.XDG_CACHE_HOME = folder
})

test.run()
