/** Hidden states behind the last norm, in every build, and what `embed()` makes of them. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { greedy, type Row } from '../host/engine/engine.ts'
import { builds, singleBuilds } from '../host/engine/wasm/builds.ts'
import { type Generation, type GtaError, load, OutOfMemoryError } from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import { failure } from './fixtures/checkpoints.ts'
import { golden } from './fixtures/goldens.ts'
import { openEngine } from './harness/engines.ts'

const TEXTS = ['The cat saw the dog.', 'A dog saw a cat.', 'Once upon a time', 'x', 'The cat saw the dog.']

async function drain(
  stream: AsyncGenerator<string, Generation> & { result: Promise<Generation> },
): Promise<Generation> {
  for await (const _ of stream);
  return await stream.result
}

test('the head of the model makes the logits of a state: it is what stands before it', async () => {
  const engine = await openEngine(golden('gta'), { type: 'f32', conversations: 2 })
  try {
    const tokens = [5, 17, 99, 250]
    const row = (conversation: number, position: number): Row => ({
      conversation,
      position,
      token: tokens[position] as number,
    })
    // Rows that want logits and rows that want their state, mixed: each has its own.
    const rows: Row[] = tokens.flatMap((_, position) => [
      { ...row(0, position), wantsState: true },
      { ...row(1, position), sampling: greedy },
    ])
    await engine.step(rows)
    const logits = await Promise.all(tokens.map(async (_, k) => (await engine.logits(k)).slice()))
    const states = await Promise.all(tokens.map(async (_, k) => (await engine.state(k)).slice()))
    // Alone, with no head computed, and in slices.
    engine.rewind(0, 0)
    const alone: Float32Array[] = []
    for (const position of tokens.keys()) {
      await engine.step([{ ...row(0, position), wantsState: true }])
      alone.push((await engine.state(0)).slice())
    }
    assert.equal(alone, states)
    // Tied or not, the head is linear: equal states have equal logits, and other tokens have others.
    assert.not.equal(states[0], states[1])
    assert.is(states[0]?.length, (states[1] as Float32Array).length)
    assert.ok(states.every((state) => state.every(Number.isFinite) && state.some((value) => value !== 0)))
    assert.is(logits.length, 4)
  } finally {
    await engine.close()
  }
})

test('a state has the same bits in every build and with two threads', async () => {
  for (const type of ['f32', 'q8'] as const) {
    const found = new Set<string>()
    for (const build of [...builds, ...singleBuilds]) {
      const threads = build.isShared ? 2 : 1
      const engine = await openEngine(golden('gta'), { type, build, threads, maxLogits: 1 })
      try {
        const rows = Array.from({ length: 11 }, (_, i) => ({
          conversation: 0,
          position: i,
          token: 3 + i,
          wantsState: true,
        }))
        await engine.step(rows)
        const states = await Promise.all(rows.map(async (_, k) => (await engine.state(k)).slice()))
        found.add(states.map((state) => Buffer.from(state.buffer).toString('hex')).join(' '))
      } finally {
        await engine.close()
      }
    }
    assert.is(found.size, 1, type)
  }
})

test('embeddings have length 1, equal texts have equal ones, alone, together and beside others', async () => {
  const model = await load(golden('stories'))
  try {
    const { vectors, promptTokens, isEmbeddingModel } = await model.embed(TEXTS)
    assert.is(isEmbeddingModel, false)
    assert.is(
      promptTokens,
      TEXTS.reduce((sum, text) => sum + model.promptIds(text).length, 0),
    )
    for (const vector of vectors) {
      assert.is(vector.length, model.spec.hiddenDim)
      assert.ok(Math.abs(vector.reduce((sum, value) => sum + value * value, 0) - 1) < 1e-5)
    }
    assert.equal(vectors[0], vectors[4])
    const product = (a: number, b: number) =>
      (vectors[a] as Float32Array).reduce((sum, value, i) => sum + value * (vectors[b]?.[i] as number), 0)
    assert.ok(product(0, 1) > product(0, 3), 'alike texts are more alike')
    // What lies in the cache of a text makes no difference, nor do others.
    const others = [1, 2, 3].map((seed) => drain(model.generate('Once upon a time', { seed, maxTokens: 30 })))
    for (const [i, text] of TEXTS.entries()) assert.equal((await model.embed([text])).vectors, [vectors[i]])
    await Promise.all(others)
    assert.equal((await model.embed(TEXTS.toReversed())).vectors, vectors.toReversed())
    assert.equal((await model.embed([])).vectors, [])
    assert.equal((await model.embed([model.promptIds(TEXTS[0] as string)])).vectors, [vectors[0]])
  } finally {
    await model.close()
  }
})

test('the mean is that of the states, in float64', async () => {
  const model = await load(golden('stories'), { batch: 3 })
  try {
    const ids = Array.from({ length: 20 }, (_, i) => 40 + i)
    const { cache } = runtimeOf(model)
    const states: Float32Array[] = []
    for (const [position, token] of ids.entries()) {
      await cache.step([{ conversation: 0, position, token, wantsState: true }])
      states.push((await cache.state(0)).slice())
    }
    cache.rewind(0, 0)
    const sums = Array.from(states[0] as Float32Array, (_, i) =>
      states.reduce((sum, state) => sum + (state[i] as number), 0),
    )
    const norm = Math.hypot(...sums)
    const [vector] = (await model.embed([ids])).vectors
    for (const [i, sum] of sums.entries()) assert.ok(Math.abs((vector?.[i] as number) - sum / norm) < 1e-7)
  } finally {
    await model.close()
  }
})

test('more texts than the cache has room for take turns; what cannot be is refused before anything', async () => {
  const model = await load(golden('stories'), { context: 128, cacheMemory: undefined })
  try {
    const long = Array.from({ length: 10 }, (_, i) => Array.from({ length: 100 }, (_, k) => 10 + ((i * 37 + k) % 400)))
    const { vectors } = await model.embed(long)
    assert.is(vectors.length, 10)
    assert.equal((await model.embed([long[7] as number[]])).vectors[0], vectors[7])
    for (const [texts, code] of [
      [['good', ''], 'BAD_PROMPT'],
      [[new Array(129).fill(5)], 'CONTEXT_FULL'],
      [['good', 5], 'BAD_OPTION'],
      ['text', 'BAD_OPTION'],
      [[[model.spec.vocabSize]], 'BAD_PROMPT'],
    ] as const)
      assert.is(((await failure(model.embed(texts as never))) as GtaError).code, code)
    // Others hold the memory: the error is theirs to solve.
    using holder = model.open()
    await drain(holder.generate(new Array(120).fill(9), { maxTokens: 2 }))
    const error = await failure(model.embed(long))
    assert.instance(error, OutOfMemoryError)
    const reason = new Error('enough')
    assert.is(await failure(model.embed(long, { signal: AbortSignal.abort(reason) })), reason)
  } finally {
    await model.close()
  }
})

test.run()
