/**
 * Layers that keep a state: LFM 2's convolutions and Qwen 3.5's delta nets. Whatever happened before, a conversation goes on as
 * one that computed the same tokens from the first, bit for bit; what is held is what the spec says; and what a state cannot do
 * is refused by name. How they compute is in test/conformance.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { greedy } from '../host/engine/engine.ts'
import { debugBuild } from '../host/engine/wasm/builds.ts'
import { type Conversation, convert, load, OutOfMemoryError } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { cost, describe, layerPageBytes, PAGE_TOKENS, pageBytes, poolBytes } from '../models/index.ts'
import { failure, random, randomTensors, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { feed, logitsOf, openEngine, relaxed, strict } from './harness/engines.ts'
import { runOnNode } from './harness/wasi-engines.ts'

const CONTEXT = 512
const names = ['lfm2', 'qwen3_5_text'] as const
type Name = (typeof names)[number]
const configOf = (name: Name) => ({
  ...readJson(golden(`families/${name}/config.json`)),
  max_position_embeddings: 2 * CONTEXT,
})
const folders = new Map<Name, string>()
function checkpoint(name: Name): string {
  const found = folders.get(name)
  if (found !== undefined) return found
  const folder = writeCheckpoint(configOf(name), randomTensors(configOf(name), 'F32', name.length))
  folders.set(name, folder)
  return folder
}
const modelOf = (name: Name) => describe(configOf(name))
const words = (length: number, seed: number) => {
  const next = random(seed)
  return Array.from({ length }, () => Math.floor(next() * 128))
}
const options = { context: CONTEXT, maxRows: 32, maxLogits: 32 }
/** As many rows as the context has: all states are kept then. */
const roomy = (name: Name) => openEngine(checkpoint(name), { ...options, maxRows: CONTEXT })

for (const [name, slice, build, threads] of [
  ['lfm2', 1, strict, 1],
  ['lfm2', 7, relaxed, 3],
  ['qwen3_5_text', 29, debugBuild, 2],
  ['qwen3_5_text', 1, relaxed, 1],
] as const)
  test(`${name}: the logits of ${slice} tokens a step by ${threads} threads are those of all at once`, async () => {
    const ids = words(200, slice)
    const all = await openEngine(checkpoint(name), { ...options, maxRows: 200, maxLogits: 200 })
    const few = await openEngine(checkpoint(name), { ...options, build, threads })
    assert.equal(await logitsOf(few, ids, slice), await logitsOf(all, ids, 200))
    await all.close()
    await few.close()
  })

test('conversations that step together keep apart', async () => {
  for (const name of names) {
    const cache = await openEngine(checkpoint(name), { ...options, conversations: 3, pages: 24 })
    const texts = [words(70, 1), words(70, 2), words(70, 3)]
    const logits: Float32Array[] = []
    for (let at = 0; at < 70; at += 10) {
      const rows = texts.flatMap((ids, conversation) =>
        ids.slice(at, at + 10).map((token, i) => ({
          ...{ conversation, position: at + i, token },
          ...(at + i === 69 ? { sampling: greedy } : {}),
        })),
      )
      await cache.step(rows)
    }
    for (let i = 0; i < 3; i++) logits.push((await cache.logits(i)).slice())
    const alone = await roomy(name)
    for (const [i, ids] of texts.entries()) {
      alone.rewind(0, 0)
      assert.equal(logits[i], await feed(alone, ids), `${name} ${i}`)
    }
    await cache.close()
    await alone.close()
  }
})

test('what is laid out and what is held is what the spec says', async () => {
  for (const name of names) {
    const { spec } = modelOf(name)
    const cache = await openEngine(checkpoint(name), { ...options, type: 'q8' })
    const sizes = { rows: 32, tableBlocks: 8, conversations: 1 }
    assert.is(cache.use.totalBytes, poolBytes(spec, 'int8', 8, sizes))
    const bytesOf = (isState: boolean) =>
      spec.order.reduce((sum, index) => {
        const layer = spec.layers[index] as (typeof spec.layers)[number]
        return sum + ((layer.mixer.is !== 'attention') === isState ? layerPageBytes(layer, 'int8') : 0)
      }, 0)
    assert.is(bytesOf(true) + bytesOf(false), pageBytes(spec, 'int8'))
    // The states of these are no multiple of 64 bytes each, but all their parts are.
    assert.is(bytesOf(true), cost(modelOf(name)).stateBytes * spec.order.length)
    assert.equal(
      cache.kinds.map(({ pageBytes: bytes, isState }) => [bytes, isState]),
      [
        [bytesOf(true), true],
        [bytesOf(false), false],
      ],
    )
    for (let length = 0; length < CONTEXT; length += 32) {
      await feed(cache, words(32, length), { from: length })
      // A conversation needs the state before its last step, and one a page before that where each block has a place.
      const first = Math.floor(Math.max(0, length - 1 - PAGE_TOKENS) / PAGE_TOKENS)
      const blocks = Math.ceil((length + 32) / PAGE_TOKENS)
      assert.is(cache.use.usedBytes, blocks * bytesOf(false) + (blocks - first) * bytesOf(true), `${name} ${length}`)
    }
    cache.rewind(0, 0)
    assert.is(cache.use.usedBytes, 0)
    await cache.close()
  }
})

test('a text that begins like an earlier one goes on from the last snapshot that is left', async () => {
  for (const name of names) {
    const cache = await openEngine(checkpoint(name), { ...options, conversations: 3, pages: 17 })
    const fresh = await roomy(name)
    const ids = words(300, 4)
    await feed(cache, ids)
    cache.rewind(0, 0)
    const found = cache.reuse(1, [...ids.slice(0, 200), 1])
    assert.is(found.reused % PAGE_TOKENS, 0)
    // Every page has its snapshot, as far as a budget allows: here, for all of LFM 2's small states.
    if (name === 'lfm2') assert.is(found.reused, 192)
    else assert.ok(found.reused > 0, `${found.reused}`)
    const rest = [...ids.slice(0, 200), 1].slice(found.reused)
    assert.equal(
      await feed(cache, rest, { from: found.reused, conversation: 1 }),
      await feed(fresh, [...ids.slice(0, 200), 1]),
      name,
    )
    // A conversation goes back to a page's end, and is told.
    assert.is(cache.rewind(1, 150), 128)
    assert.is(cache.lengthOf(1), 128)
    fresh.rewind(0, 0)
    assert.equal(
      await feed(cache, [9, 8], { from: 128, conversation: 1 }),
      await feed(fresh, [...ids.slice(0, 128), 9, 8]),
      name,
    )
    await cache.close()
    await fresh.close()
  }
})

test('where not every snapshot has a place, those stay whose distances double', async () => {
  const large = { linear_key_head_dim: 32, linear_value_head_dim: 32 }
  const config = { ...configOf('qwen3_5_text'), ...large, max_position_embeddings: 4096 }
  const folder = writeCheckpoint(config, randomTensors(config, 'F32', 3))
  const cache = await openEngine(folder, { context: 2048, maxRows: 64 })
  const fresh = await openEngine(folder, { context: 2048, maxRows: 2048 })
  // A step takes two, one is for a copy, one to spare; and snapshots of as many bytes as the rows have.
  assert.equal(
    cache.kinds.map(({ pages }) => pages),
    [6, 32],
  )
  const ids = words(1990, 8)
  await feed(cache, ids)
  // The state, and the one that the last step went on from.
  const [states = 0, rows = 0] = cache.kinds.map(({ pageBytes: bytes }) => bytes)
  assert.is(cache.use.usedBytes, 32 * rows + 2 * states)
  const found: number[] = []
  for (let wanted = 1980; wanted > 0; wanted = (found.at(-1) as number) - 1) found.push(cache.rewind(0, wanted))
  assert.equal(found, [1920, 1792, 1536, 1024, 0])
  await feed(cache, ids.slice(0, 500))
  const left = cache.rewind(0, 400)
  assert.ok(left >= 256, `${left}`)
  assert.equal(await feed(cache, [5], { from: left }), await feed(fresh, [...ids.slice(0, left), 5]))
  await cache.close()
  await fresh.close()
})

test('a fork and its source go on from the same state, each by itself', async () => {
  for (const name of names) {
    const model = await load(checkpoint(name), { threads: 1, context: CONTEXT, type: 'q8' })
    const ids = words(100, 5)
    const one = model.open()
    const tokens: number[] = [...ids]
    const onToken = (id: number) => tokens.push(id)
    // The state stands in the middle of a page then.
    for await (const _ of one.generate(ids, { maxTokens: 5, temperature: 0, stopAtEos: false, onToken }));
    assert.is(one.length, 104)
    const fork = one.fork()
    const [first, second] = [await one.logits([1, 2]), await fork.logits([3])]
    assert.equal(first, await model.open().logits([...tokens, 1, 2]))
    assert.equal(second, await model.open().logits([...tokens, 3]))
    one.close()
    assert.equal(await fork.logits([4]), await model.open().logits([...tokens, 3, 4]))
    await model.close()
  }
})

test('a saved conversation brings its state along, and one that is damaged is refused', async () => {
  const { writeFileSync } = await import('node:fs')
  for (const name of names) {
    const model = await load(checkpoint(name), { threads: 1, context: CONTEXT, type: 'q8' })
    const away = await load(checkpoint(name), { threads: 2, context: CONTEXT, type: 'q8', batch: 7 })
    for (const length of [1, 63, 64, 65, 190]) {
      const ids = words(length, length)
      const path = join(temporary(), 'talk')
      const it = model.open()
      const tokens: number[] = []
      const onToken = (id: number) => tokens.push(id)
      for await (const _ of it.generate(ids, { maxTokens: 3, temperature: 0, stopAtEos: false, onToken }));
      await it.save(path)
      const again = await away.restore(path)
      const expected = await model.open().logits([...ids, ...tokens, 5])
      assert.equal(await again.logits([5]), expected, `${name} ${length}`)
      assert.equal(await it.logits([5]), expected, `${name} ${length}`)
      const bytes = readFileSync(path)
      const last = bytes.length - 300
      bytes[last] = (bytes[last] as number) ^ 1
      writeFileSync(path, bytes)
      assert.match((await failure(away.restore(path))).message, /checksum|must be/)
      for (const open of [it, again]) open.close()
    }
    await model.close()
    await away.close()
  }
})

test('what a state cannot do is refused by name', async () => {
  for (const name of names) {
    const model = await load(checkpoint(name), { threads: 1, context: CONTEXT, type: 'q8' })
    for (const contextPolicy of ['window', 'shift'] as const) {
      const error = await failure((async () => model.open({ contextPolicy }))())
      assert.match(error.message, /^contextPolicy .* must be error for a model with layers that keep a state/)
    }
    await model.close()
    const offload = { bytes: 1000, directory: temporary() }
    const error = await failure(openEngine(checkpoint(name), { ...options, offload }))
    assert.match(error.message, /--offload\) must be left out for a model whose layers keep different things/)
  }
})

test('a guess at what follows is not made where going back is dear, and the tokens are the same', async () => {
  const model = await load(checkpoint('lfm2'), { threads: 1, context: CONTEXT, type: 'q8' })
  const runs: number[][] = []
  for (const speculate of [0, 8]) {
    const tokens: number[] = []
    const onToken = (id: number) => tokens.push(id)
    const stream = model.generate([1, 2, 7], { maxTokens: 200, temperature: 0, stopAtEos: false, speculate, onToken })
    for await (const _ of stream);
    runs.push(tokens)
    if (speculate > 0) assert.is((await stream.result).speculation?.drafted, 0)
  }
  assert.is(runs[0]?.length, 200)
  assert.equal(runs[1], runs[0])
  await model.close()
})

test('the stand-alone command computes the same tokens, pages beyond a page', async () => {
  for (const name of names) {
    const folder = temporary()
    await convert(checkpoint(name), join(folder, 'model.gta'), { type: 'q8' })
    const model = await load(join(folder, 'model.gta'), { threads: 1, context: CONTEXT })
    const ids = words(200, 9)
    const tokens: number[] = []
    const settings = { maxTokens: 60, temperature: 0, stopAtEos: false, onToken: (id: number) => tokens.push(id) }
    for await (const _ of model.generate(ids, settings));
    await model.close()
    const given = ['model.gta', '--tokens', ids.join(), '-n', '60', '--temp', '0', '-c', `${CONTEXT}`, '--ignore-eos']
    const { status, stdout, stderr } = runOnNode(given, { '.': folder }, { build: 'strict' })
    assert.is(status, 0, stderr)
    assert.is(stdout, `${tokens.join(' ')} \n`, name)
  }
})

for (const name of names)
  test(`${name}: any history of conversations gives what the tokens alone give`, async () => {
    const next = random(11)
    const below = (n: number) => Math.floor(next() * n)
    const fresh = await roomy(name)
    const expected = async (tokens: readonly number[]) => {
      fresh.rewind(0, 0)
      return feed(fresh, tokens)
    }
    const sizes = { rows: 16, tableBlocks: 8, conversations: 32 }
    const cacheMemory = poolBytes(modelOf(name).spec, 'int8', 20, sizes)
    const common = { threads: 1, context: CONTEXT, batch: 16, maxLogits: 16, type: 'q8' as const }
    const model = await load(checkpoint(name), { ...common, cacheMemory })
    const texts = [words(CONTEXT, 1), words(CONTEXT, 2)]
    const open: { it: Conversation; tokens: number[] }[] = []
    const counts: Record<string, number> = {}
    const count = (what: string) => {
      counts[what] = (counts[what] ?? 0) + 1
    }
    const begin = (it = model.open()) => open.push({ it, tokens: it.tokens })
    const operations: Record<string, (one: (typeof open)[number]) => Promise<unknown> | unknown> = {
      async extend(one) {
        const text = texts.find(([first]) => first === one.tokens[0]) ?? (texts[below(2)] as number[])
        const most = CONTEXT - 12 - one.tokens.length
        const ids = text.slice(one.tokens.length).slice(0, Math.min(most, 1 + below(below(3) === 0 ? 200 : 30)))
        if (ids.length === 0) return
        if (below(2)) {
          const heard: number[] = []
          const onToken = (id: number) => heard.push(id)
          const settings = { maxTokens: 1 + below(8), temperature: 0, stopAtEos: false, onToken }
          try {
            for await (const _ of one.it.generate(ids, settings));
          } finally {
            if (heard.length > 0) one.tokens.push(...ids, ...heard)
          }
          return
        }
        const logits = await one.it.logits(ids)
        one.tokens.push(...ids)
        assert.equal(logits, await expected(one.tokens))
      },
      rewind(one) {
        const length = below(3) === 0 ? below(one.tokens.length + 1) : Math.max(0, one.tokens.length - below(90))
        one.it.rewind(length)
        if (length > 0 && one.it.length < length - 1) count('computed again')
        one.tokens.length = length
      },
      fork: (one) => open.length < 5 && begin(one.it.fork()),
      close(one) {
        one.it.close()
        open.splice(open.indexOf(one), 1)
      },
      async session(one) {
        if (one.tokens.length === 0) return
        const path = join(temporary(), 'talk')
        await one.it.save(path)
        one.it.close()
        open.splice(open.indexOf(one), 1)
        begin(await model.restore(path))
        assert.equal(open.at(-1)?.tokens, one.tokens)
      },
    }
    const kinds = ['extend', 'extend', 'extend', 'rewind', 'fork', 'close', 'session']
    for (let i = 0; i < 80; i++) {
      if (open.length === 0 || (open.length < 3 && below(4) === 0)) begin()
      const what = kinds[below(kinds.length)] as string
      try {
        await operations[what]?.(open[below(open.length)] as (typeof open)[number])
        count(what)
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error
        count('out of memory')
      }
      for (const { it, tokens } of open) assert.equal(it.tokens, tokens, `${i} ${what}`)
    }
    for (const what of [...new Set(kinds), 'computed again']) assert.ok((counts[what] ?? 0) > 2, JSON.stringify(counts))
    for (const { it } of open) it.close()
    assert.is(runtimeOf(model).cache.use.usedBytes, 0)
    await model.close()
    await fresh.close()
  })

test.run()
