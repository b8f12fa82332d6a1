/** The public API: streams, limits, aborts, errors, and that nothing blocks, hangs or holds the program. */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as tick, setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { WEIGHTS } from '../assembly/abi.ts'
import { greedy } from '../host/engine/engine.ts'
import type { Transfer } from '../host/engine/wasm/transfer.ts'
import {
  defaultModel,
  type ErrorCode,
  type GenerateOptions,
  type Generation,
  GtaError,
  type LoadOptions,
  load,
  type Model,
} from '../host/index.ts'
import { runtimeOf } from '../host/runtime/model.ts'
import type { PackedTensor } from '../models/index.ts'
import { failure, randomTensors, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden, readJson, worst } from './fixtures/goldens.ts'
import { runNode } from './harness/programs.ts'

const PROMPT = 'Once upon a time there was a little'
const IDS = [5, 17, 99, 250, 3, 44, 301, 8]

const folder = await mkdtemp(join(tmpdir(), 'gta-generate-'))
const stories = await load(golden('stories'))
const small = await load(golden('gta'))
// The same weights as the golden stories, already converted.
const sliced = await load(defaultModel, { batch: 3 })

test.after(async () => {
  await Promise.all([stories.close(), small.close(), sliced.close()])
  await rm(folder, { recursive: true })
})

interface Collected {
  pieces: string[]
  result: Generation
}

async function collect(generation: AsyncGenerator<string, Generation>): Promise<Collected> {
  const pieces: string[] = []
  for (;;) {
    const { done, value } = await generation.next()
    if (done) return { pieces, result: value }
    pieces.push(value)
  }
}

const run = async (model: Model, prompt: string | number[], options: GenerateOptions): Promise<Generation> =>
  (await collect(model.generate(prompt, options))).result

/** Tokens and logits, to the last bit. */
const trace = ({ tokens, text, finish, logitsHash }: Generation) => ({ tokens, text, finish, logitsHash })

/** What a promise is rejected with; a promise that stays open is a failure of its own. */
async function reason(promise: Promise<unknown>): Promise<unknown> {
  const limit = new AbortController()
  const late = wait(10000, undefined, { signal: limit.signal }).then(
    () => 'nothing within 10 seconds',
    () => 'not waited for',
  )
  const outcome = await Promise.race([promise.then((value) => `no error but ${JSON.stringify(value)}`), late]).catch(
    (error) => ({ error }),
  )
  limit.abort()
  assert.type(outcome, 'object', `${outcome}`)
  return (outcome as { error: unknown }).error
}

async function rejects(promise: Promise<unknown>, code: ErrorCode, text: string | RegExp = ''): Promise<void> {
  const error = await reason(promise)
  assert.instance(error, GtaError, `${error}`)
  assert.is((error as GtaError).code, code, `${error}`)
  assert.match((error as GtaError).message, text)
}

async function withModel(
  path: string,
  options: LoadOptions,
  use: (model: Model) => Promise<void> | void,
): Promise<void> {
  const model = await load(path, options)
  try {
    await use(model)
  } finally {
    await model.close()
  }
}

/** The small golden model with another config.json, and a tokenizer if one is given. */
async function variant(name: string, config: object, tokenizer?: object): Promise<string> {
  const path = await mkdtemp(join(folder, name))
  await symlink(golden('gta/model.safetensors'), join(path, 'model.safetensors'))
  await writeFile(join(path, 'config.json'), JSON.stringify({ ...readJson(golden('gta/config.json')), ...config }))
  if (tokenizer) await writeFile(join(path, 'tokenizer.json'), JSON.stringify(tokenizer))
  return path
}

test('for await shows what the result holds, and maxTokens is obeyed', async () => {
  let shown = ''
  for await (const piece of stories.generate(PROMPT, { temperature: 0, maxTokens: 40 })) shown += piece
  const { pieces, result } = await collect(stories.generate(PROMPT, { temperature: 0, maxTokens: 40 }))
  assert.is(pieces.join(''), shown)
  assert.is(result.text, shown)
  assert.ok(pieces.every((piece) => piece !== ''))
  assert.ok(pieces.length > 20, 'it streams')
  assert.is(result.tokens.length, 40)
  assert.is(result.finish, 'length')
  assert.is(result.promptTokens, runtimeOf(stories).promptIds(PROMPT).length)
  assert.is(result.text, stories.tokenizer?.decode(result.tokens))
  assert.match(result.text, /^ girl named/)
  const one = await run(stories, PROMPT, { temperature: 0, maxTokens: 1 })
  assert.equal(one.tokens, result.tokens.slice(0, 1))
})

test('a model without a tokenizer generates ids', async () => {
  const { pieces, result } = await collect(small.generate(IDS, { temperature: 0, maxTokens: 12 }))
  assert.equal(pieces, [])
  assert.is(result.text, '')
  assert.is(result.tokens.length, 12)
  await rejects(small.generate('text').next(), 'BAD_TOKENIZER')
})

test('a story ends at its end: the ending token is counted and not shown', async () => {
  const result = await run(stories, 'The end. They lived happily ever after.', { temperature: 0, maxTokens: 300 })
  assert.is(result.finish, 'eos')
  assert.is(result.tokens.at(-1), 0)
  assert.not.ok(result.tokens.slice(0, -1).includes(0))
  assert.is(result.text, stories.tokenizer?.decode(result.tokens.slice(0, -1)))
})

test('eos: any of several, for text by default, for ids when asked', async () => {
  const { tokens } = await run(small, IDS, { temperature: 0, maxTokens: 20 })
  const eos = [319, tokens[11], tokens[6]] as number[]
  const first = tokens.findIndex((token) => eos.includes(token))
  await withModel(await variant('eos', { eos_token_id: eos }), {}, async (model) => {
    const options = { temperature: 0, maxTokens: 20 }
    const asked = await run(model, IDS, { ...options, stopAtEos: true })
    assert.is(asked.finish, 'eos')
    assert.equal(asked.tokens, tokens.slice(0, first + 1))
    const unasked = await run(model, IDS, options)
    assert.is(unasked.finish, 'length')
    assert.equal(unasked.tokens, tokens)
  })
})

test('stop strings end the text before them, wherever the tokens are cut', async () => {
  const full = await run(stories, PROMPT, { temperature: 0, maxTokens: 60 })
  for (const [from, to] of [
    [0, 3],
    [20, 21],
    [31, 43],
    [50, 54],
  ] as const) {
    const stop = full.text.slice(from, to)
    const { pieces, result } = await collect(
      stories.generate(PROMPT, { temperature: 0, maxTokens: 60, stop: ['not there', stop] }),
    )
    assert.is(result.finish, 'stop')
    assert.is(result.text, full.text.slice(0, full.text.indexOf(stop)))
    assert.is(pieces.join(''), result.text)
    assert.equal(result.tokens, full.tokens.slice(0, result.tokens.length))
  }
  // Held back as the possible beginning of a stop, and shown in the end.
  const held = await collect(
    stories.generate(PROMPT, { temperature: 0, maxTokens: 60, stop: [`${full.text.slice(-8)}…`] }),
  )
  assert.is(held.result.text, full.text)
  assert.is(held.pieces.join(''), full.text)
  assert.is(held.result.finish, 'length')
})

test('a seed repeats a text bit for bit; the one that was used is told', async () => {
  const options = { maxTokens: 25, temperature: 1, topK: 0, topP: 1, minP: 0 }
  for (const model of [stories, small]) {
    const prompt = model === stories ? PROMPT : IDS
    const first = await run(model, prompt, { ...options, seed: 2 ** 52 + 1 })
    assert.equal(trace(await run(model, prompt, { ...options, seed: 2 ** 52 + 1 })), trace(first))
    // High and low half of a seed count.
    for (const seed of [1, 2 ** 52 + 2, 2 ** 51 + 1])
      assert.not.equal((await run(model, prompt, { ...options, seed })).tokens, first.tokens)
    const unseeded = await run(model, prompt, options)
    assert.equal(trace(await run(model, prompt, { ...options, seed: unseeded.sampling.seed })), trace(unseeded))
  }
  assert.match((await run(small, IDS, { temperature: 0, maxTokens: 1 })).logitsHash, /^[0-9a-f]{16}$/)
})

test('settings: given ones over recommended ones over our defaults', async () => {
  const { sampling } = await run(stories, PROMPT, { maxTokens: 1, topP: 0.5, seed: 3 })
  // generation_config.json of the stories model says temperature 0.7, top_k 50 and repetition_penalty 1.05.
  const recommended = { topK: 50, repeatPenalty: 1.05 }
  const none = { presencePenalty: 0, frequencyPenalty: 0 }
  assert.equal(sampling, { temperature: 0.7, topP: 0.5, minP: 0.05, repeatLastN: 64, seed: 3, ...recommended, ...none })
})

test('the prompt in slices of 3 gives the tokens and logits of the prompt at once', async () => {
  const progress: number[] = []
  const onPrefill = ({ done, total }: { done: number; total: number }) => {
    progress.push(done)
    assert.is(total, count)
  }
  const options = { temperature: 0, maxTokens: 12 }
  const prompt = `${PROMPT} girl named Lily. She had a red ball and`
  const count = runtimeOf(stories).promptIds(prompt).length
  const found = await run(sliced, prompt, { ...options, onPrefill })
  assert.equal(trace(found), trace(await run(stories, prompt, options)))
  assert.equal(
    progress,
    Array.from({ length: Math.ceil(count / 3) }, (_, i) => Math.min(count, 3 * i + 3)),
  )
  const ids = [...IDS, ...IDS, ...IDS]
  await withModel(golden('gta'), { batch: 3 }, async (model) => {
    assert.equal(trace(await run(model, ids, options)), trace(await run(small, ids, options)))
  })
})

test('the context is used to its last position', async () => {
  await withModel(golden('gta'), { context: 20 }, async (model) => {
    const result = await run(model, IDS, { temperature: 0 })
    assert.is(result.finish, 'context')
    // Prompt and generated tokens fill 20 positions; the last token needs none.
    assert.is(result.tokens.length, 20 - IDS.length + 1)
    const long = await run(small, IDS, { temperature: 0, maxTokens: 40 })
    assert.equal(result.tokens, long.tokens.slice(0, result.tokens.length))
    const exact = await run(model, IDS, { temperature: 0, maxTokens: result.tokens.length })
    assert.is(exact.finish, 'length')

    const twenty = Array.from({ length: 20 }, (_, i) => i)
    assert.equal((await run(model, twenty, { temperature: 0 })).tokens.length, 1)
    await rejects(run(model, [...twenty, 20], {}), 'CONTEXT_FULL', /20 tokens, found 21 .* raise -c .*128/)
    assert.equal((await run(model, IDS, { temperature: 0 })).tokens, result.tokens)
  })
})

test('a text that is too long whatever its tokens are is refused before they are looked for', async () => {
  const model = await load(golden('stories'), { threads: 1 })
  try {
    const tokenizer = model.tokenizer as { encode(text: string): number[] }
    tokenizer.encode = () => {
      throw new Error('it is cut into tokens')
    }
    const text = 'Once upon a time '.repeat(1e6)
    for (const refused of [model.generate(text).next(), model.logits(text)]) {
      const error = await failure(refused)
      assert.is(error.code, 'CONTEXT_FULL')
      assert.match(error.message, /found at least \d+ tokens/)
    }
  } finally {
    await model.close()
  }
})

test('AbortSignal: before, while the prompt is read, and while tokens come', async () => {
  const options = { temperature: 0, maxTokens: 20 }
  const fresh = trace(await run(stories, PROMPT, options))
  const why = new Error('enough')

  const before = collect(sliced.generate(PROMPT, { ...options, signal: AbortSignal.abort(why) }))
  assert.is(await reason(before), why)
  assert.equal(trace(await run(sliced, PROMPT, options)), fresh)

  const prefill = new AbortController()
  const slices: number[] = []
  const onPrefill = ({ done }: { done: number }) => {
    slices.push(done)
    if (done === 6) prefill.abort(why)
  }
  assert.is(await reason(collect(sliced.generate(PROMPT, { ...options, signal: prefill.signal, onPrefill }))), why)
  assert.equal(slices, [3, 6])
  assert.equal(trace(await run(sliced, PROMPT, options)), fresh)

  const decode = new AbortController()
  const pieces: string[] = []
  const generation = async () => {
    for await (const piece of sliced.generate(PROMPT, { ...options, signal: decode.signal })) {
      pieces.push(piece)
      if (pieces.length === 3) decode.abort('a reason of any type')
    }
  }
  assert.is(await reason(generation()), 'a reason of any type')
  assert.is(pieces.length, 3)
  assert.equal(trace(await run(sliced, PROMPT, options)), fresh)

  // Not at a piece but at any moment, a step being under way.
  for (const delay of [0, 1, 3, 7]) {
    const timed = new AbortController()
    const open = collect(sliced.generate(PROMPT, { ...options, maxTokens: 500, signal: timed.signal }))
    await wait(delay)
    timed.abort()
    assert.is(((await reason(open)) as Error).name, 'AbortError')
  }
  assert.equal(trace(await run(sliced, PROMPT, options)), fresh)
})

test('leaving the loop early, or never entering it, leaves the model free', async () => {
  const options = { temperature: 0, maxTokens: 15 }
  const fresh = trace(await run(stories, PROMPT, options))
  for await (const _ of stories.generate(PROMPT, options)) break
  stories.generate(PROMPT, options) // Never started.
  const thrown = async () => {
    for await (const _ of stories.generate(PROMPT, options)) throw new Error('from the loop')
  }
  assert.match(`${await reason(thrown())}`, 'from the loop')
  const returned = stories.generate(PROMPT, options)
  const pending = returned.next()
  await returned.return(undefined as never)
  await pending
  assert.equal(trace(await run(stories, PROMPT, options)), fresh)
})

test('an error in onPrefill is the caller’s own, and leaves the model free', async () => {
  const own = new Error('own')
  const onPrefill = () => {
    throw own
  }
  assert.is(await reason(run(small, IDS, { onPrefill })), own)
  await run(small, IDS, { maxTokens: 1 })
})

test('a closed model says so, and can be closed again', async () => {
  const model = await load(golden('gta'))
  await run(model, IDS, { maxTokens: 3 })
  await model.close()
  await rejects(run(model, IDS, {}), 'CLOSED')
  await rejects(model.logits(IDS), 'CLOSED')
  await rejects(model.evaluate(IDS), 'CLOSED')
  await model.close()
  {
    await using scoped = await load(golden('gta'))
    await run(scoped, IDS, { maxTokens: 1 })
  }
})

test('closing in the middle of a generation ends it with CLOSED', async () => {
  const model = await load(defaultModel)
  const open = collect(model.generate(PROMPT, { maxTokens: 500, stopAtEos: false }))
  await wait(20)
  const closed = model.close()
  await rejects(open, 'CLOSED')
  await closed
})

test('closing right behind a request ends it with CLOSED, it has no result', async () => {
  for (let i = 0; i < 5; i++) {
    const model = await load(golden('gta'))
    const step = runtimeOf(model).cache.step([{ conversation: 0, position: 0, token: 1, sampling: greedy }])
    const closed = model.close()
    await rejects(step, 'CLOSED')
    await closed
  }
})

test('a step while another runs is BUSY and leaves the rows of the first alone', async () => {
  await withModel(golden('gta'), {}, async (model) => {
    const { cache } = runtimeOf(model)
    const row = (token: number) => [{ conversation: 0, position: 0, token, sampling: greedy }]
    await cache.step(row(7))
    const expected = (await cache.logits(0)).slice()
    for (let i = 0; i < 20; i++) {
      const first = cache.step(row(7))
      await rejects(cache.step(row(200)), 'BUSY')
      await first
      assert.is(worst(await cache.logits(0), expected), 0)
    }
  })
})

/** Runs a program that ends by itself, or not; its output. From a file, or from the command line. */
async function runProgram(lines: string, isFile = true) {
  const index = JSON.stringify(new URL('../host/index.ts', import.meta.url).href)
  const model = JSON.stringify(golden('gta'))
  const source = `import { load } from ${index}\nconst model = await load(${model})\n${lines}`
  const file = join(folder, `${randomUUID()}.mjs`)
  await writeFile(file, source)
  return isFile ? runNode(file) : runNode('--input-type=module', '-e', source)
}

const generateThirty = `const generation = model.generate([1, 2, 3], { maxTokens: 30, stopAtEos: false })
  let result
  do result = await generation.next()
  while (!result.done)
  console.log(String(result.value.tokens.length))`

test('a program that forgets close() ends when its work is done, and not before', async () => {
  const [finished, left, idle] = await Promise.all([
    runProgram(generateThirty),
    runProgram(`model.generate([1, 2, 3], { maxTokens: 1 }).next().then(() => console.log('first'))`),
    runProgram(`console.log('loaded')`),
  ])
  assert.equal(finished, { status: 0, output: '30' })
  assert.equal(left, { status: 0, output: 'first' })
  assert.equal(idle, { status: 0, output: 'loaded' })
})

test('a program given on the command line runs too', async () => {
  assert.equal(await runProgram(generateThirty, false), { status: 0, output: '30' })
})

test('the event loop turns while the engine computes', async () => {
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  let turns = 0
  let isDone = false
  const turning = (async () => {
    while (!isDone) {
      await tick()
      turns++
    }
  })()
  // 350 tokens in steps of 64, each one a long request.
  const ids = Array.from({ length: 350 }, (_, i) => 300 + (i % 200))
  const slices: number[] = []
  // One thread, so that this one has a core for itself.
  await withModel(fileURLToPath(defaultModel), { threads: 1 }, async (model) => {
    await run(model, ids, { temperature: 0, maxTokens: 3, onPrefill: () => slices.push(turns) })
  })
  isDone = true
  await turning
  delay.disable()
  // A worker that ran on this thread would let the loop turn once or twice per slice.
  for (const [i, count] of slices.entries())
    assert.ok(count - (slices[i - 1] ?? 0) > 10, `${count} turns by slice ${i}`)
  assert.ok(delay.percentile(50) < 100e6, `half of the turns took ${delay.percentile(50) / 1e6} ms or more`)
})

/** The worker of the last rank: those before it wait for it at a barrier. */
const workerOf = (model: Model) =>
  (runtimeOf(model).engine as unknown as { team: { workers: Worker[] } }).team.workers.at(-1) as Worker

test('a worker that dies in the middle of a step is ENGINE_FAILED, now and later', async () => {
  const model = await load(defaultModel, { batch: 512 })
  const ids = Array.from({ length: 500 }, (_, i) => i)
  const open = collect(model.generate(ids, { maxTokens: 5 }))
  await wait(10)
  workerOf(model).terminate()
  await rejects(open, 'ENGINE_FAILED', 'worker ended')
  await rejects(run(model, PROMPT, {}), 'ENGINE_FAILED')
  await model.close()
})

test('a worker that dies between two steps is ENGINE_FAILED too', async () => {
  const model = await load(golden('gta'))
  await run(model, IDS, { maxTokens: 2 })
  await workerOf(model).terminate()
  await rejects(run(model, IDS, {}), 'ENGINE_FAILED')
  await model.close()
})

test('maxTokens 0 only reads the prompt: what follows is what followed it without', async () => {
  const sampling = { seed: 5, temperature: 1 }
  const finish = async (pieces: AsyncGenerator<string, Generation>) => {
    for (let step = await pieces.next(); ; step = await pieces.next()) if (step.done) return step.value
  }
  const whole = small.open()
  const expected = await finish(whole.generate(IDS, { ...sampling, maxTokens: 6 }))
  whole.close()
  const conversation = small.open()
  const told: number[] = []
  const read = await finish(conversation.generate(IDS, { ...sampling, maxTokens: 0, onToken: (id) => told.push(id) }))
  assert.equal([read.tokens, read.text, told], [[], '', []])
  assert.equal([read.finish, read.promptTokens], ['length', IDS.length])
  assert.equal(conversation.tokens, [...IDS])
  const after = await finish(conversation.generate(undefined, { ...sampling, maxTokens: 6 }))
  assert.equal([after.tokens, after.logitsHash], [expected.tokens, expected.logitsHash])
  conversation.close()
})

test('bad options are BAD_OPTION with their name', async () => {
  const bad: Record<string, unknown[]> = {
    maxTokens: [-1, 1.5, Number.NaN, '5', null],
    temperature: [-1, Number.NaN, '0.8', 101],
    topK: [-1, 2.5, '40'],
    topP: [-0.5, 2],
    minP: [-0.5, 2],
    repeatPenalty: [0, -1],
    repeatLastN: [-1, 0.5],
    seed: [-1, 0.5, 2 ** 53],
    stop: [[''], [5], ['fine', null], 'text', 5, {}],
  }
  const found: string[] = []
  for (const [name, values] of Object.entries(bad))
    for (const value of values) {
      const options = { maxTokens: 1, [name]: value } as GenerateOptions
      const error = await reason(run(small, IDS, options)).catch((failure) => failure)
      const isRight = error instanceof GtaError && error.code === 'BAD_OPTION' && error.message.includes(name)
      if (!isRight) found.push(`${name} ${JSON.stringify(value)}: ${error}`)
    }
  assert.equal(found, [])
})

test('bad options of load() are BAD_OPTION with their name, before anything is read', async () => {
  const bad: Record<string, unknown[]> = {
    context: [0, -1, 1.5, 129, Number.NaN, '20'],
    batch: [0, 1.5, 4097, '3'],
    maxLogits: [0, 0.5, 4097],
    type: ['q5', 5, 'F32'],
    cache: ['q8', 'int4', 5],
  }
  const found: string[] = []
  for (const [name, values] of Object.entries(bad))
    for (const value of values) {
      const opened = load(golden('gta'), { [name]: value } as LoadOptions)
      const error = await reason(opened.then((model) => model.close())).catch((failure) => failure)
      const isRight = error instanceof GtaError && error.code === 'BAD_OPTION' && error.message.includes(name)
      if (!isRight) found.push(`${name} ${JSON.stringify(value)}: ${error}`)
    }
  assert.equal(found, [])
})

test('a prompt of no tokens, or of ids that the model has not, is BAD_PROMPT', async () => {
  for (const prompt of ['', []]) await rejects(run(small, prompt, {}), 'BAD_PROMPT')
  for (const id of [320, -1, 1.5, Number.NaN, 2 ** 32, '1', null, undefined])
    await rejects(
      run(small, [1, id as number, 2], {}),
      'BAD_PROMPT',
      `found ${typeof id === 'string' ? `"${id}"` : id}`,
    )
  await run(small, [0, 319], { maxTokens: 1 })
})

test('a text of which the tokenizer makes no token is BAD_PROMPT', async () => {
  const tokenizer = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', unk_token: null, vocab: { a: 5, b: 6 }, merges: [] },
  }
  const path = await variant('tiny', { bos_token_id: null, eos_token_id: null }, tokenizer)
  await withModel(path, {}, async (model) => {
    assert.is((await run(model, 'ab', { maxTokens: 2 })).promptTokens, 2)
    await rejects(run(model, 'x', { maxTokens: 2 }), 'BAD_PROMPT')
  })
})

test('a step takes rows that continue their conversations, and no others', async () => {
  await withModel(golden('gta'), {}, async (model) => {
    const { cache } = runtimeOf(model)
    const step = (conversation: number, ...positions: number[]) =>
      cache.step(positions.map((position) => ({ conversation, position, token: 1 })))
    const refusals: [() => Promise<unknown>, RegExp][] = [
      [() => step(32, 0), /no conversation 32/],
      [() => step(-1, 0), /no conversation -1/],
      [() => step(0, 1), /leaves a hole/],
      [() => step(0, 0, 2), /leaves a hole/],
      [() => step(0, Number.NaN), /position/],
      [async () => cache.rewind(32, 0), /no conversation 32/],
      [async () => cache.rewind(0, Number.NaN), /length/],
    ]
    for (const [call, message] of refusals)
      await call().then(
        () => assert.unreachable(String(message)),
        (error: Error) => assert.match(error.message, message),
      )
    await step(0, 0, 1, 2)
    cache.rewind(0, 1)
    await step(0, 1)
    await rejectsRange(step(0, 3))
  })
})

async function rejectsRange(promise: Promise<unknown>): Promise<void> {
  await promise.then(
    () => assert.unreachable('it should be refused'),
    (error: unknown) => assert.instance(error, RangeError),
  )
}

test('a token whose numbers are NaN spoils its own step and no other', async () => {
  // A low-rank query of 24, which leaves padding: the NaN of one row must not stay there for the next.
  const config = { ...readJson(golden('mla-qlora/config.json')), q_lora_rank: 24, tie_word_embeddings: false }
  const tensors = randomTensors(config)
  const directory = writeCheckpoint(config, tensors)
  const model = await load(directory, { type: 'f32' })
  try {
    const before = await model.logits([5])
    const { engine, plan } = runtimeOf(model)
    const { transfer } = engine as unknown as { transfer: Pick<Transfer, 'write'> }
    const { offset, bytes } = plan.tensors.find(({ name }) => name === 'embed') as PackedTensor
    const row = new Float32Array(bytes / 4 / config.vocab_size).fill(Number.NaN)
    await transfer.write(WEIGHTS + offset + 9 * row.byteLength, new Uint8Array(row.buffer))
    await rejects(model.logits([9]), 'NOT_FINITE')
    assert.equal(await model.logits([5]), before)
  } finally {
    await model.close()
  }
})

test('closed models do not pile up in memory', async () => {
  const program = `await model.close()
for (let i = 0; i < 120; i++) {
  await (await load(${JSON.stringify(fileURLToPath(defaultModel))})).close()
  // Beside busy neighbours the garbage collector comes late: it has the time that an app would leave it.
  await new Promise((resolve) => setTimeout(resolve, 10))
}
process.stdout.write(String(process.memoryUsage().rss))`
  const { status, output } = await runProgram(program)
  assert.is(status, 0, output)
  // 120 engines of 7 MB that were all kept would be above 900 MB.
  assert.ok(Number(output) > 2e7 && Number(output) < 6e8, output)
})

test('prompts and options of the wrong kind are BAD_OPTION', async () => {
  await withModel(golden('gta'), {}, async (model) => {
    for (const prompt of [undefined, null, 5, {}, new DataView(new ArrayBuffer(8))])
      await rejects(model.generate(prompt as never).next(), 'BAD_OPTION')
    for (const options of [{ max_tokens: 5 }, { signal: {} }, null])
      await rejects(model.generate([1], options as never).next(), 'BAD_OPTION')
    await rejects(model.restore(undefined as never), 'BAD_OPTION')
    const [a, b] = [await model.logits(Uint32Array.of(1, 5, 9)), await model.logits([1, 5, 9])]
    assert.equal(a, b)
  })
  await rejects(load(golden('gta'), { contxt: 5 } as never), 'BAD_OPTION')
})

test.run()
