/**
 * Sessions that nobody saved: damaged files, and files whose checksums are right and whose contents are not. Each is
 * refused with the reason, or is a conversation like any other; in no case do others notice.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  defaultModel,
  GtaError,
  type LoadOptions,
  load,
  type Model,
  OutOfMemoryError,
  SessionStore,
} from '../host/index.ts'
import { sequenceOf } from '../host/runtime/conversation.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { findSession } from '../host/sessions/conversation.ts'
import {
  failure,
  gqaConfig,
  random,
  randomTensors,
  type Tensors,
  temporary,
  writeCheckpoint,
} from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { goOnAlike, hashOf, type OpenedSession, putTogether, say, takeApart, trace } from './fixtures/session-talks.ts'

const folder = temporary()
const good = join(folder, 'good')
const bad = join(folder, 'bad')

const model = await load(golden('gta'), { threads: 1, cacheMemory: 2 ** 21 })
const { vocabSize } = model.spec
const next = random(5)
const below = (n: number) => Math.floor(next() * n)
const words = (length: number) => Array.from({ length }, () => below(vocabSize))

const saved = model.open()
await say(saved, 3, words(90))
await saved.save(good)
const whole = await takeApart(good)

/** Somebody else's conversation, whose pages must stay as they are. */
const witness = model.open()
await say(witness, 5, words(70))

test.after(() => model.close())

/** What others could notice: their pages, their tokens, and what there is to be had. */
async function seen(it = model): Promise<unknown> {
  const pages = await Promise.all(
    runtimeOf(it)
      .cache.cached(witness.id as number)
      .pages.map(({ id }) => runtimeOf(it).cache.fetchPage(id)),
  )
  return [
    pages.map(hashOf),
    witness.tokens,
    runtimeOf(it).cache.use.usedBytes,
    runtimeOf(it).cache.pagesAvailable,
    open(),
  ]
}

/** Conversations that can be opened. */
function open(): number {
  return (runtimeOf(model) as unknown as { free: number[] }).free.length
}

const refusals = ['BAD_SESSION', 'OTHER_MODEL', 'OTHER_VERSION', 'CONTEXT_FULL']

/** Fails unless a session is refused in one readable line. */
async function refused(what: string, codes = refusals, path = bad): Promise<string> {
  const error = await failure(model.restore(path).then(() => Promise.reject(new Error('it was restored'))))
  assert.instance(error, GtaError, `${what}: ${error?.stack}`)
  assert.ok(codes.includes(error.code ?? ''), `${what}: ${error.code} ${error.message}`)
  assert.ok(error.message.length < 500 + path.length, `${what}: a message of ${error.message.length} characters`)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal would obey them
  assert.not.match(error.message, /[\x00-\x1f]/, what)
  return error.message
}

test('damaged files: flipped bits, cut ends, swapped and shifted bytes', async () => {
  const before = await seen()
  const original = readFileSync(good)
  const pageBytes = whole.pages[0]?.length as number
  let count = 0
  const expectRefused = async (what: string, bytes: Uint8Array) => {
    if (original.equals(bytes)) return
    writeFileSync(bad, bytes)
    await refused(what)
    count++
  }
  while (count < 8500) {
    // What is not looked at is none of the session: the rest of the first blocks.
    const place = below(original.length - 8192 + 128)
    const at = place < 128 ? place : place - 128 + 8192
    const bytes = Buffer.from(original)
    bytes[at] = (bytes[at] as number) ^ (1 << below(8))
    await expectRefused(`a bit of byte ${at}`, bytes)
  }
  for (let i = 0; i < 1000; i++) {
    const end = i < 140 ? i : below(original.length)
    await expectRefused(`cut at ${end}`, original.subarray(0, end))
  }
  while (count < 10_000) {
    const [from, to, length] = [8192 + below(2 * pageBytes), 8192 + below(2 * pageBytes), 1 + below(pageBytes)]
    await expectRefused(
      `${length} bytes at ${from} copied to ${to}`,
      Buffer.from(original).copyWithin(to, from, from + length),
    )
  }
  const [first, second] = whole.pages as [Uint8Array, Uint8Array]
  const swapped = Buffer.from(original)
  swapped.set(second, 8192)
  swapped.set(first, 8192 + pageBytes)
  await expectRefused('two pages swapped', swapped)
  console.log(`${count} damaged files`)
  assert.equal(await seen(), before)
})

/** Values that no field may have, or that mean something else. */
const strange: unknown[] = [
  undefined,
  null,
  true,
  -1,
  0,
  1.5,
  1e300,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  'NaN',
  '64',
  '',
  '\u001b[2J\n',
  'x'.repeat(100_000),
  [],
  [64],
  [[]],
  [-64, 1e9, 'a', null],
  {},
  { length: 1 },
  { toString: 1 },
  { valueOf: null, toString: {} },
]

test('states with right checksums: every field missing, of another type, out of range', async () => {
  const before = await seen()
  let count = 0
  for (const field of Object.keys(whole.state))
    for (const value of strange) {
      const what = `${field}: ${JSON.stringify(value)?.slice(0, 50)}`
      const state = { ...whole.state, [field]: value }
      await putTogether(bad, { ...whole, state })
      count++
      const isUnchanged = JSON.stringify(state) === JSON.stringify(whole.state)
      const isFine =
        (field === 'dropped' && [0, 2 ** 31].includes(value as number)) ||
        (field === 'next' && [undefined, 0].includes(value as number)) ||
        (field === 'originals' && Array.isArray(value) && value.length === 0) ||
        (field === 'sampling' && value === undefined)
      if (!isUnchanged && !isFine) {
        await refused(what)
        continue
      }
      using restored = await model.restore(bad)
      await say(restored, 3, [1]).catch(({ code }) => assert.is(code, 'NOT_FINITE', what))
    }
  const sampling = whole.state.sampling as Record<string, unknown>
  for (const name of Object.keys(sampling))
    for (const value of [...strange, -0.5, 101, 2 ** 54]) {
      const what = `sampling.${name}: ${JSON.stringify(value)?.slice(0, 50)}`
      await putTogether(bad, { ...whole, state: { ...whole.state, sampling: { ...sampling, [name]: value } } })
      count++
      const found = await model.restore(bad).catch((error) => error)
      if (found instanceof Error) await refused(what, ['BAD_SESSION'])
      else {
        // Sessions of before there were these penalties have none.
        const isOld = value === undefined && /^(presence|frequency)Penalty$/.test(name)
        assert.ok(isOld || typeof value === 'number', what)
        await say(found, 2)
        found.close()
      }
    }
  console.log(`${count} states`)
  assert.equal(await seen(), before)
})

test('numbers of pages, originals and tokens that do not go together', async () => {
  const before = await seen()
  const page = whole.pages[0] as Uint8Array
  const put = (state: object, pages: Uint8Array[]) => putTogether(bad, { state: { ...whole.state, ...state }, pages })
  for (const [length, count] of [
    [92, 1],
    [92, 3],
    [64, 2],
    [65, 1],
    [128, 3],
    [0, 1],
    [1, 0],
  ] as const) {
    await put({ length }, Array(count).fill(page))
    assert.match(await refused(`${length} tokens in ${count} pages`, ['BAD_SESSION']), 'number of pages')
  }
  await put({ length: 0, next: undefined }, [])
  assert.match(await refused('nothing', ['BAD_SESSION']), 'at least one token')
  for (const [length, dropped, originals] of [
    [92, 0, [0]],
    [92, 64, [64]],
    [92, 64, [0, 0]],
    [92, 64, [32]],
    [92, 63, [0]],
    [63, 64, [0]],
    [92, 128, [192]],
    [128, 64, [0, 0, 0]],
  ] as const) {
    await put({ length, dropped, originals }, Array(Math.ceil(length / 64) + originals.length).fill(page))
    await refused(`${originals} kept of ${length} tokens, ${dropped} forgotten`, ['BAD_SESSION'])
  }
  // Half a page, two pages in one.
  await put(
    {},
    whole.pages.map((bytes) => bytes.subarray(0, bytes.length / 2)),
  )
  assert.match(await refused('small pages', ['BAD_SESSION']), 'size of a page')
  await put({ length: 65 }, [Buffer.concat(whole.pages), Buffer.concat(whole.pages)])
  assert.match(await refused('large pages', ['BAD_SESSION']), 'size of a page')
  assert.equal(await seen(), before)
})

test('a token that is none, at any place of any page', async () => {
  for (const index of whole.pages.keys())
    for (const at of [0, 1, 27, 28, 63])
      for (const token of [vocabSize, 2 ** 31, 2 ** 32 - 1]) {
        const pages = whole.pages.map((bytes) => Uint8Array.from(bytes))
        new DataView((pages[index] as Uint8Array).buffer).setUint32(4 * at, token, true)
        await putTogether(bad, { ...whole, pages })
        assert.match(await refused(`${token} at ${at}`, ['BAD_SESSION']), `found ${token}`)
      }
})

/** A session with a cache of random bytes: 128 everywhere, scales that are no numbers, or anything. */
function withNoise(session: OpenedSession, fill: (bytes: Buffer) => void): OpenedSession {
  const pages = session.pages.map((bytes) => {
    const copy = Buffer.from(bytes)
    fill(copy.subarray(256))
    return copy
  })
  return { ...session, pages }
}

const noises: Record<string, (bytes: Buffer) => void> = {
  '−128': (bytes) => bytes.fill(0x80),
  NaN: (bytes) => bytes.fill(0xff),
  infinity: (bytes) => {
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(0x7f800000, at)
  },
  'large numbers': (bytes) => {
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(0x7f7fffff, at)
  },
  anything: (bytes) => {
    for (let at = 0; at < bytes.length; at++) bytes[at] = below(256)
  },
}

for (const [kind, options] of [
  ['gta', {}],
  ['mla', { type: 'f32' }],
  ['stories', { context: 192, cacheMemory: 2 ** 24 }],
] as [string, LoadOptions][])
  test(`a cache of noise (${kind}): NOT_FINITE at worst, and nobody else notices`, async () => {
    await using it = await load(kind === 'stories' ? defaultModel : golden(kind), {
      threads: 2,
      cacheMemory: 2 ** 21,
      ...options,
    })
    const path = join(folder, kind)
    const [first, other, twin] = [it.open(), it.open(), it.open()]
    await say(first, 3, words(110))
    await first.save(path)
    const prompt = words(30)
    const expected = trace(await say(twin, 40, prompt))
    twin.close()
    const session = await takeApart(path)
    const beside = say(other, 40, prompt)
    for (const [name, fill] of Object.entries(noises)) {
      await putTogether(bad, withNoise(session, fill))
      for (const context of [{}, { contextPolicy: 'window', keep: 0 }] as const) {
        using restored = await it.restore(bad, context)
        const found = await say(restored, 15).catch((error) => error)
        if (found instanceof Error) assert.is((found as GtaError).code, 'NOT_FINITE', `${name}: ${found.stack}`)
        using fork = restored.fork()
        fork.rewind(70)
        await say(fork, 3, [1]).catch(({ code, stack }) => assert.is(code, 'NOT_FINITE', `${name}: ${stack}`))
      }
    }
    // Kept pages of noise that are turned, behind as much as can be forgotten.
    if (it.context === 192) {
      const [page] = withNoise(session, noises.anything as (bytes: Buffer) => void).pages
      const state = { ...session.state, length: 192, dropped: 2 ** 31, originals: [0] }
      await putTogether(bad, { state, pages: Array(4).fill(page) })
      using turned = await it.restore(bad, { contextPolicy: 'window', keep: 64 })
      const found = await say(turned, 80).catch((error) => error)
      if (found instanceof Error) assert.is((found as GtaError).code, 'NOT_FINITE', found.stack)
      assert.ok(turned.dropped > 2 ** 31)
    }
    assert.equal(trace(await beside), expected)
    using again = it.open()
    assert.equal(trace(await say(again, 40, prompt)), expected)
    using sound = await it.restore(path)
    await goOnAlike(sound, first, 'the sound one')
  })

test('what was restored never becomes a prefix that others find', async () => {
  await putTogether(bad, withNoise(whole, noises.anything as (bytes: Buffer) => void))
  const ids = words(64)
  const pages = whole.pages.map((bytes) => Uint8Array.from(bytes))
  new Uint32Array((pages[0] as Uint8Array).buffer).set(ids)
  await putTogether(bad, { ...whole, pages })
  using restored = await model.restore(bad)
  await say(restored, 30)
  using other = model.open()
  const { cachedTokens } = await say(other, 1, [...ids, 1])
  assert.is(cachedTokens, 0)
})

test('another model, weight type or cache, and weights that differ a little: OTHER_MODEL', async () => {
  const tensors = randomTensors(gqaConfig)
  const changed = (change: (tensors: Tensors) => void, config = gqaConfig) => {
    const copy: Tensors = new Map([...tensors].map(([name, it]) => [name, { ...it, data: it.data.slice() }]))
    change(copy)
    return writeCheckpoint(config, copy)
  }
  const path = join(folder, 'random')
  const directory = writeCheckpoint(gqaConfig, tensors)
  const restoreWith = async (directory: string, options: LoadOptions = {}) => {
    await using it = await load(directory, { threads: 1, ...options })
    return await it.restore(path).then(
      () => 'restored',
      (error) => error.code,
    )
  }
  {
    await using home = await load(directory, { threads: 1 })
    await say(home.open(), 3, [1, 2, 3]).catch(() => undefined)
    using it = home.open()
    await it.logits([1, 2, 3])
    await it.save(path)
  }
  const bytesOf = (copy: Tensors, name: string) => (copy.get(name) as { data: Uint8Array }).data
  assert.is(await restoreWith(directory), 'restored')
  assert.is(await restoreWith(directory, { threads: 3, context: 33 }), 'restored')
  assert.is(await restoreWith(directory, { cache: 'f32' }), 'OTHER_MODEL')
  for (const type of ['f32', 'q4'] as const) assert.is(await restoreWith(directory, { type }), 'OTHER_MODEL', type)
  assert.is(await restoreWith(golden('gqa')), 'OTHER_MODEL')
  for (const name of tensors.keys()) {
    const other = changed((copy) => {
      const floats = new Float32Array(bytesOf(copy, name).buffer)
      floats[floats.length - 2] = (floats[floats.length - 2] as number) + 1
    })
    assert.is(await restoreWith(other), 'OTHER_MODEL', name)
  }
  for (const more of [
    { rope_theta: 20000 },
    { rms_norm_eps: 1e-6 },
    { num_attention_heads: 2, head_dim: 16, num_key_value_heads: 1 },
  ])
    assert.is(
      await restoreWith(changed(() => undefined, { ...gqaConfig, ...more })).catch(({ code }) => code),
      'OTHER_MODEL',
      JSON.stringify(more),
    )
})

test('no memory for it: OutOfMemoryError with what is needed and there, and nothing changed', async () => {
  const { pageBytes } = runtimeOf(model).cache.use
  await using small = await load(golden('gta'), { threads: 1, cacheMemory: 3 * pageBytes })
  using it = small.open()
  await say(it, 3, words(80))
  const pages = () =>
    runtimeOf(small)
      .cache.cached(it.id as number)
      .pages.map(({ id, stamp }) => [id, stamp])
  const before = [it.tokens, runtimeOf(small).cache.use, pages()]
  const error = await failure(small.restore(good))
  assert.instance(error, OutOfMemoryError)
  // More often than there are conversations: each is given back.
  for (let i = 0; i < 40; i++) assert.instance(await failure(small.restore(good)), OutOfMemoryError)
  const { needed, available } = error as OutOfMemoryError
  assert.equal([needed, available], [2 * pageBytes, pageBytes])
  assert.equal([it.tokens, runtimeOf(small).cache.use, pages()], before)
  await say(it, 5)
  it.close()
  using restored = await small.restore(good)
  await goOnAlike(restored, saved.fork(), 'once there is memory')
})

test('a file that changes while it is restored: BAD_SESSION, and its pages are given back', async () => {
  const { cache } = runtimeOf(model)
  const before = await seen()
  writeFileSync(bad, readFileSync(good))
  const found = await findSession(cache, bad, vocabSize, model.context)
  writeFileSync(bad, readFileSync(good).fill(0, 8192 + (whole.pages[0] as Uint8Array).length))
  const empty = model.open()
  assert.is((await failure(sequenceOf(empty).fill(found))).code, 'BAD_SESSION')
  await found.close()
  assert.equal([empty.length, sequenceOf(empty).pending], [0, []])
  empty.close()
  assert.equal(await seen(), before)
})

test('longer than the context: CONTEXT_FULL that says what to raise; as long as it: restored', async () => {
  const restoreIn = async (context: number) => {
    await using it = await load(golden('gta'), { threads: 1, context })
    using restored = await it.restore(good, { contextPolicy: context > 128 ? 'window' : 'error' })
    return restored.length
  }
  const error = await failure(restoreIn(91))
  assert.is(error.code, 'CONTEXT_FULL')
  assert.match(error.message, /context of 91 tokens, found 92 tokens: raise -c \(the model allows 128\)/)
  assert.is(await restoreIn(92), 92)
})

test('all conversations taken: it waits, or TOO_MANY, and one is free again after a refusal', async () => {
  const others = Array.from({ length: open() }, () => model.open())
  assert.is((await failure(model.restore(good, { busy: 'throw' }))).code, 'TOO_MANY')
  const waiting = model.restore(good)
  others.pop()?.close()
  ;(await waiting).close()
  writeFileSync(bad, readFileSync(good).fill(1, 9000, 9001))
  for (let i = 0; i < 3; i++) await refused('damaged')
  using restored = await model.restore(good)
  assert.is(open(), 0)
  for (const other of others) other.close()
  assert.is((await failure(model.restore(good, { keep: -1 }))).code, 'BAD_OPTION')
  assert.is((await failure(model.restore(good, { keeps: 1 } as never))).code, 'BAD_OPTION')
  assert.is(restored.length, saved.length)
})

test('sessions by name', async () => {
  const store = new SessionStore(temporary())
  const it = saved.fork()
  const tokens = it.tokens.length
  await it.save(await store.pathOf('a.b'))
  assert.equal(
    (await store.list()).map(({ name, tokens }) => ({ name, tokens })),
    [{ name: 'a.b', tokens }],
  )
  using restored = await model.restore(await store.pathOf('a.b'))
  await goOnAlike(restored, it, 'by name')
  for (const name of ['../a.b', '..', 'a/b', 'a\0b', 'x'.repeat(300), ''])
    assert.is((await failure(store.pathOf(name))).code, 'BAD_OPTION', name)
  await store.remove('a.b')
  assert.is((await failure(store.pathOf('a.b').then((path) => model.restore(path)))).code, 'NOT_FOUND')
  it.close()
})

test('the witness goes on as it would have', async () => {
  await using fresh: Model = await load(golden('gta'), { threads: 1 })
  using it = fresh.open()
  const { tokens } = witness
  await it.logits(tokens)
  const options = { seed: 1, repeatPenalty: 1, temperature: 0 }
  assert.equal(trace(await say(it, 20, undefined, options)), trace(await say(witness, 20, undefined, options)))
})

test.run()
