/** The engine's team of threads: how host and workers talk, and what happens when one of them dies, traps or is closed. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Worker } from 'node:worker_threads'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KvCache } from '../host/cache/cache.ts'
import { greedy } from '../host/engine/engine.ts'
import { debugBuild } from '../host/engine/wasm/builds.ts'
import * as protocol from '../host/engine/wasm/protocol.ts'
import { GtaError } from '../host/index.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { feed, openEngine } from './harness/engines.ts'
import { runNode } from './harness/programs.ts'

/** What the engine keeps to itself. */
interface Insides {
  team: { words: Int32Array; workers: Worker[] }
  pages: { tables: Uint32Array; tablePages: number }
}
const inside = ({ engine }: KvCache) => engine as unknown as Insides
const workersOf = (engine: KvCache) => [...inside(engine).team.workers]

/** A worker that has ended has no id any more. */
const running = (workers: Worker[]) => workers.filter(({ threadId }) => threadId !== -1).length

/** What a promise is rejected with; one that stays open fails the test instead of holding it up. */
async function reason(promise: Promise<unknown>): Promise<GtaError> {
  const limit = new AbortController()
  const late = wait(20_000, new Error('nothing within 20 seconds'), { signal: limit.signal })
  const error = await Promise.race([failure(promise), late])
  limit.abort()
  late.catch(() => undefined)
  assert.instance(error, GtaError, `${error}`)
  return error as GtaError
}

/** One step after the other until one fails. */
function endless(engine: KvCache, tokens: number[]): Promise<void> {
  const steps = (async () => {
    for (;;) await feed(engine, tokens)
  })()
  steps.catch(() => undefined)
  return steps
}

const ids = Array.from({ length: 40 }, (_, i) => i)
const many = Array.from({ length: 500 }, (_, i) => i)
const row = { conversation: 0, position: 0, token: 1, sampling: greedy }

test('a notification that comes late, or for nothing, does not end a step', async () => {
  const engine = await openEngine(golden('gta'))
  const expected = await feed(engine, ids)
  const { words } = inside(engine).team
  const rows = ids.map((token, position) => ({ conversation: 0, position, token }))
  engine.rewind(0, 0)
  const before = Atomics.load(words, protocol.DONE)
  const step = engine.step(rows.map((one, i) => (i === 39 ? { ...one, sampling: greedy } : one)))
  // What the worker still does after a request that the host has seen to be done.
  Atomics.notify(words, protocol.DONE)
  await step
  assert.is(Atomics.load(words, protocol.DONE), before + 1, 'the step is done when its promise resolves')
  assert.equal((await engine.logits(0)).slice(), expected)
  await engine.close()
})

test('a worker that is woken for nothing does not run the last request again', async () => {
  const engine = await openEngine(golden('gta'))
  const expected = await feed(engine, ids)
  const { words } = inside(engine).team
  const done = Atomics.load(words, protocol.DONE)
  // A host that is held up between a request and its notification wakes a worker that has finished it already.
  for (let woken = 0, i = 0; woken < 2 && i < 1000; i++) {
    woken += Atomics.notify(words, protocol.REQUEST)
    await wait(1)
  }
  assert.is(Atomics.load(words, protocol.DONE), done)
  assert.equal(await feed(engine, ids), expected)
  await engine.close()
})

test('the hash of logits is their SHA-256, first 16 digits', async () => {
  const engine = await openEngine(golden('gta'), { maxLogits: 3 })
  await engine.step([1, 2, 3].map((token, position) => ({ conversation: 0, position, token, sampling: greedy })))
  for (const k of [2, 0, 1]) {
    const digest = createHash('sha256')
      .update((await engine.logits(k)).slice())
      .digest('hex')
    assert.is(await engine.logitsHash(k), digest.slice(0, 16))
  }
  await engine.close()
})

test('steps leave nothing behind in the memory of the app', async () => {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  const engine = await openEngine(golden('gta'))
  const used = async (steps: number) => {
    for (let i = 0; i < steps; i++) await engine.step([row])
    collect()
    return process.memoryUsage().heapUsed
  }
  const before = await used(1000)
  const growth = (await used(5000)) - before
  // A single promise that is remembered for each step would be 1.5 MB.
  assert.ok(growth < 5e5, `${growth} bytes by 5000 steps`)
  await engine.close()
})

for (const rank of [0, 1, 2])
  test(`rank ${rank} of 3 dies in the middle of a step: ENGINE_FAILED, now and later, and no thread is left`, async () => {
    for (const delay of [0, 20]) {
      const engine = await openEngine(golden('stories'), { threads: 3, context: 512, maxRows: 512 })
      const workers = workersOf(engine)
      assert.is(running(workers), 3)
      const steps = endless(engine, many)
      if (delay) await wait(delay)
      workers[rank]?.terminate()
      assert.is((await reason(steps)).code, 'ENGINE_FAILED')
      assert.is((await reason(engine.step([row]))).code, 'ENGINE_FAILED')
      await engine.close()
      assert.is(running(workers), 0)
      assert.is((await reason(engine.step([row]))).code, 'CLOSED')
    }
  })

test('a trap in any one rank ends the step for all, with its reason', async () => {
  for (const rank of [0, 1, 2]) {
    const engine = await openEngine(golden('gta'), { build: debugBuild, threads: 3, conversations: 3 })
    const workers = workersOf(engine)
    const rows = (position: number) => [0, 1, 2].map((conversation) => ({ ...row, conversation, position }))
    await engine.step(rows(0))
    // Row i is rank i's: only that one sees that there is no such page.
    const { tables, tablePages } = inside(engine).pages
    tables[rank * tablePages] = 1e6
    const error = await reason(engine.step(rows(1)))
    assert.is(error.code, 'ENGINE_FAILED')
    assert.match(error.message, 'unreachable')
    assert.is((await reason(engine.step(rows(1)))).code, 'ENGINE_FAILED')
    await engine.close()
    assert.is(running(workers), 0)
  }
})

test('close() in the middle of steps with 4 threads ends them with CLOSED, and every thread', async () => {
  for (const delay of [0, 2, 20]) {
    const engine = await openEngine(golden('stories'), { threads: 4, context: 512 })
    const workers = workersOf(engine)
    const steps = endless(engine, ids)
    if (delay) await wait(delay)
    await Promise.all([engine.close(), engine.close()])
    assert.is(running(workers), 0)
    assert.is((await reason(steps)).code, 'CLOSED')
  }
})

test('more threads than an emitter may have listeners start and end without a warning', async () => {
  const warnings: Error[] = []
  process.on('warning', (warning) => warnings.push(warning))
  const engine = await openEngine(golden('gta'), { threads: 16 })
  assert.is(engine.facts.maxThreads, 16)
  await feed(engine, ids)
  await engine.close()
  await wait(0)
  assert.equal(warnings, [])
})

test('a step that was done before close() was called has no result either', async () => {
  const engine = await openEngine(golden('gta'))
  await engine.step([row])
  const { words } = inside(engine).team
  const step = engine.step([row])
  const requests = Atomics.load(words, protocol.REQUEST)
  while (Atomics.load(words, protocol.DONE) !== requests);
  const closed = engine.close()
  assert.is((await reason(step)).code, 'CLOSED')
  await closed
})

test('threads that an engine does not have are refused', async () => {
  const engine = await openEngine(golden('gta'), { threads: 2, batchThreads: 3 })
  assert.is(engine.facts.maxThreads, 3)
  for (const count of [0, -1, 1.5, 4, Number.NaN]) {
    for (const threads of [
      { decode: count, prefill: 1 },
      { decode: 1, prefill: count },
    ])
      assert.throws(
        () => {
          engine.threads = threads
        },
        (error: unknown) => error instanceof RangeError,
      )
    assert.instance(await failure(engine.measure((probe) => probe.measureBandwidth(count))), RangeError)
  }
  assert.equal(engine.threads, { decode: 2, prefill: 3 })
  await engine.close()
})

/** Runs a program against the built package; it must end by itself. */
function runProgram(source: string, library = '../dist/index.mjs') {
  const index = new URL(library, import.meta.url).href
  const code = `import { defaultModel, load } from ${JSON.stringify(index)}\nconst path = ${JSON.stringify(golden('gta'))}\n${source}`
  return runNode('--input-type=module', '-e', code)
}

test('engines with 4 threads that are opened and closed leave neither threads nor memory', async () => {
  if (!existsSync('/proc/self/task')) return
  // Threads end a little after their workers do.
  const program = `import { readdirSync } from 'node:fs'
const cycle = async () => (await load(path, { threads: 4 })).close()
const threads = () => readdirSync('/proc/self/task').length
await cycle()
const before = { threads: threads(), rss: process.memoryUsage().rss }
for (let i = 0; i < 8; i++) await cycle()
for (let i = 0; i < 100 && threads() > before.threads; i++) await new Promise((resolve) => setTimeout(resolve, 50))
console.log(threads() - before.threads, process.memoryUsage().rss - before.rss)`
  const { status, output } = await runProgram(program)
  assert.is(status, 0, output)
  const [threads, growth] = output.split(' ').map(Number) as [number, number]
  assert.ok(threads <= 0, `${threads} threads more`)
  // One isolate that stays is some 5 MB, and there were 32.
  assert.ok(growth < 8e7, `${growth} bytes more`)
})

test('a program ends by itself after a worker died, whether it closes the model or not', async () => {
  for (const end of ['', 'await model.close()']) {
    // A step of some hundred milliseconds: the worker dies within it.
    const inside = new URL('../host/runtime/model.ts', import.meta.url).href
    const program = `import { runtimeOf } from ${JSON.stringify(inside)}
const model = await load(defaultModel, { threads: 3, batch: 512 })
const step = model.logits(Array.from({ length: 500 }, (_, i) => i))
runtimeOf(model).engine.team.workers[1].terminate()
console.log(await step.catch((error) => error.code))
${end}`
    assert.equal(await runProgram(program, '../host/index.ts'), { status: 0, output: 'ENGINE_FAILED' })
  }
})

test.run()
