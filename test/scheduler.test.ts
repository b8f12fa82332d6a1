/**
 * The scheduler, over an engine that computes nothing: it counts rows, pages and steps, and samples the token that it was
 * given plus one. Who is in which step, who waits, and who ends when something fails.
 */
import { setImmediate as tick } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type EngineFacts, greedy, NO_TOKEN, type Row } from '../host/engine/engine.ts'
import { errors } from '../host/errors.ts'
import { type GtaError, OutOfMemoryError } from '../host/index.ts'
import { type ContextSettings, type Feed, planDrop, type ScheduledCache, Scheduler } from '../host/runtime/scheduler.ts'
import { PAGE_TOKENS } from '../models/index.ts'
import { failure, random } from './fixtures/checkpoints.ts'

const PAGE_BYTES = 1000
const stopping: ContextSettings = { policy: 'error', keep: 64 }

interface Options {
  maxRows?: number
  maxLogits?: number
  context?: number
  pages?: number
}

/** The part of a cache that a scheduler sees. Pages are counted, not shared. */
class FakeCache implements ScheduledCache {
  readonly facts: EngineFacts
  readonly use = { pageBytes: PAGE_BYTES, usedBytes: 0, totalBytes: 0 }
  readonly lengths = new Map<number, number>()
  readonly drops: number[] = []
  /** How many rows each conversation had, step by step. */
  readonly steps: Map<number, number>[] = []
  /** Sampled instead of a token. */
  spoilt: number | undefined
  broken: Error | undefined
  /** Runs while a step is computed. */
  during: ((step: number) => void) | undefined
  /** Pages that a drop takes more than it gives back. */
  dropCost = 0
  private taken = 0
  private readonly pages: number
  private sampled: number[] = []
  private states: number[] = []
  private isBusy = false

  constructor({ maxRows = 64, maxLogits = 32, context = 4096, pages = 1e6 }: Options) {
    const rest = { name: 'fake', build: 'fake', maxThreads: 1, conversations: 32, vocabSize: 1000, memoryBytes: 0 }
    this.facts = { ...rest, maxRows, maxLogits, context }
    this.pages = pages
  }

  lengthOf(conversation: number): number {
    return this.lengths.get(conversation) ?? 0
  }

  droppedOf(): number {
    return this.drops.length * PAGE_TOKENS
  }

  pagesNeeded(conversation: number, count: number): number {
    const pagesFor = (length: number) => Math.ceil(length / PAGE_TOKENS)
    const length = this.lengthOf(conversation)
    return pagesFor(length + count) - pagesFor(length)
  }

  pagesWritten(): number {
    return 1
  }

  readonly pagesWritable = Number.POSITIVE_INFINITY
  get pagesAvailable(): number {
    const lengths = [...this.lengths.values()]
    return this.pages - this.taken - lengths.reduce((sum, length) => sum + Math.ceil(length / PAGE_TOKENS), 0)
  }

  /** Others take pages that nobody has promised yet. */
  take(pages: number): void {
    this.taken += pages
  }

  checkRoom(conversation: number, count: number): void {
    this.expect(this.pagesNeeded(conversation, count))
  }

  private expect(needed: number): void {
    if (needed > this.pagesAvailable)
      throw errors.outOfMemory(needed * PAGE_BYTES, Math.max(0, this.pagesAvailable) * PAGE_BYTES)
  }

  async step(rows: Row[]): Promise<Uint32Array> {
    assert.not.ok(this.isBusy, 'one step at a time')
    this.isBusy = true
    try {
      assert.ok(rows.length >= 1 && rows.length <= this.facts.maxRows, `${rows.length} rows`)
      const counts = new Map<number, number>()
      for (const { conversation } of rows) counts.set(conversation, (counts.get(conversation) ?? 0) + 1)
      // As the engine: what cannot be done is refused whole.
      this.expect([...counts].reduce((sum, [id, count]) => sum + this.pagesNeeded(id, count), 0))
      for (const { conversation, position } of rows) {
        assert.is(position, this.lengthOf(conversation))
        assert.ok(position < this.facts.context)
        this.lengths.set(conversation, position + 1)
      }
      this.sampled = rows.filter(({ sampling }) => sampling).map(({ token }) => token + 1)
      this.states = rows.filter(({ wantsState }) => wantsState).map(({ token }) => token)
      assert.ok(this.sampled.length <= this.facts.maxLogits, `${this.sampled.length} rows with logits`)
      this.steps.push(counts)
      await tick()
      this.during?.(this.steps.length)
      if (this.broken) throw this.broken
      return Uint32Array.from(this.sampled, (token) => (token === this.spoilt ? NO_TOKEN : token))
    } finally {
      this.isBusy = false
    }
  }

  async logits(k: number): Promise<Float32Array> {
    return Float32Array.of(this.sampled[k] as number)
  }

  async state(k: number): Promise<Float32Array> {
    return Float32Array.of(this.states[k] as number)
  }

  async logitsHash(k: number): Promise<string> {
    return String(this.sampled[k])
  }

  async drop(conversation: number, _keep: number, count: number): Promise<void> {
    assert.not.ok(this.isBusy, 'a drop is a step of its own')
    this.isBusy = true
    try {
      await tick()
      this.expect(this.dropCost - count)
      this.taken += this.dropCost
      this.lengths.set(conversation, this.lengthOf(conversation) - count * PAGE_TOKENS)
      this.drops.push(conversation)
    } finally {
      this.isBusy = false
    }
  }
}

function start(options: Options = {}) {
  const engine = new FakeCache(options)
  return { engine, scheduler: new Scheduler(engine) }
}

const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i)

/** What a feed is told, in the order in which it is. */
interface Told {
  tokens: number[]
  logits: number[]
  progress: number[]
}

async function feed(scheduler: Scheduler, some: Partial<Feed> & Pick<Feed, 'conversation'>): Promise<Told> {
  const told: Told = { tokens: [], logits: [], progress: [] }
  await scheduler.feed({
    tokens: [1],
    sampling: greedy,
    context: stopping,
    onSampled: async (token, { values }) => {
      told.tokens.push(token)
      told.logits.push((await values())[0] as number)
    },
    onProgress: (done) => told.progress.push(done),
    ...some,
  })
  return told
}

/** Reads a prompt, then decodes: each token is wanted when the one before it is known. Counts its tokens. */
async function converse(scheduler: Scheduler, conversation: number, prompt: number, tokens: number): Promise<number> {
  scheduler.active++
  try {
    await feed(scheduler, { conversation, tokens: numbers(prompt) })
    for (let i = 0; i < tokens; i++) {
      // From a token to the wish for the next one it is some turns through generators and their callers.
      for (let turn = 0; turn < 12; turn++) await undefined
      await feed(scheduler, { conversation, tokens: [i] })
    }
    return tokens
  } finally {
    scheduler.active--
  }
}

/** The most steps in a row that a conversation had to wait between its first and its last. */
function longestWait({ steps }: FakeCache, conversation: number): number {
  const present = steps.flatMap((step, i) => (step.has(conversation) ? [i] : []))
  return Math.max(0, ...present.slice(1).map((at, i) => at - (present[i] as number) - 1))
}

test('a prompt is read in slices, its last token is sampled from, and nobody is told of the others', async () => {
  const { engine, scheduler } = start({ maxRows: 10 })
  const told = await feed(scheduler, { conversation: 3, tokens: numbers(25) })
  assert.equal(told, { tokens: [25], logits: [25], progress: [10, 20, 25] })
  assert.equal(
    engine.steps.map((step) => step.get(3)),
    [10, 10, 5],
  )
  assert.equal(await feed(scheduler, { conversation: 3, tokens: [] }), { tokens: [], logits: [], progress: [] })
  assert.is(engine.steps.length, 3)
})

test('every token is sampled from where that is asked for, as many at a time as there are logits', async () => {
  const { scheduler } = start({ maxRows: 10, maxLogits: 4 })
  const told = await feed(scheduler, { conversation: 0, tokens: numbers(10), isEvery: true })
  assert.equal(told.tokens, numbers(10, 1))
  assert.equal(told.logits, numbers(10, 1))
  assert.equal(told.progress, [4, 8, 10])
})

test('who wants one token is in every step, whoever reads a long prompt beside it', async () => {
  const { engine, scheduler } = start()
  const all = numbers(8).map((id) => converse(scheduler, id, 5, 60))
  engine.during = (step) => {
    // Prompts join at any time.
    if (step % 10 === 0) all.push(converse(scheduler, 10 + step, 300, 20))
    if (step > 60) engine.during = undefined
  }
  for (let i = 0; i < all.length; i++) await all[i]
  for (let id = 0; id < 8; id++) assert.is(longestWait(engine, id), 0, `conversation ${id}`)
  const prompts = [...new Set(engine.steps.flatMap((step) => [...step.keys()]))].filter((id) => id >= 10)
  assert.is(prompts.length, 6)
  for (const id of prompts) assert.is(longestWait(engine, id), 0, `prompt ${id}`)
  // What decoding leaves of a step is read of the prompts.
  const full = engine.steps.filter((step) => [...step.values()].some((count) => count > 1))
  assert.ok(full.filter((step) => [...step.values()].reduce((a, b) => a + b) === 64).length > full.length / 2)
})

for (const { maxRows, maxLogits } of [
  { maxRows: 16, maxLogits: 32 },
  { maxRows: 64, maxLogits: 11 },
  { maxRows: 12, maxLogits: 20 },
  { maxRows: 20, maxLogits: 12 },
])
  test(`32 conversations, steps of ${maxRows} rows and ${maxLogits} logits: nobody waits more than two`, async () => {
    const { engine, scheduler } = start({ maxRows, maxLogits })
    const next = random(maxRows)
    const below = (n: number) => Math.floor(next() * n)
    const all: Promise<number>[] = []
    let joined = 0
    const join = () =>
      all.push(converse(scheduler, joined++, below(3) ? 1 + below(20) : 200 + below(300), 10 + below(60)))
    while (joined < 20) join()
    engine.during = () => {
      if (joined < 32 && below(2)) join()
    }
    for (let i = 0; i < all.length; i++) await all[i]
    assert.is(joined, 32)
    for (let id = 0; id < 32; id++)
      assert.ok(longestWait(engine, id) <= 2, `conversation ${id} waits ${longestWait(engine, id)} steps`)
    // No step is lost: all wait together for the next one.
    assert.is(scheduler.active, 0)
  })

test('steps of fewer rows than a third of the conversations are dealt out in turn', async () => {
  const { engine, scheduler } = start({ maxRows: 3 })
  await Promise.all(numbers(32).map((id) => converse(scheduler, id, 2, 10)))
  for (let id = 0; id < 32; id++) assert.ok(longestWait(engine, id) <= 11, `${longestWait(engine, id)}`)
})

test('guesses of many conversations share the logits of a step', async () => {
  const { engine, scheduler } = start({ maxLogits: 8 })
  const told = await Promise.all(
    numbers(4).map((conversation) => feed(scheduler, { conversation, tokens: numbers(6), isEvery: true })),
  )
  for (const { tokens } of told) assert.equal(tokens, numbers(6, 1))
  assert.is(engine.steps.length, 3)
})

test('an abort ends one between two steps, with its reason; the others do not notice', async () => {
  const { engine, scheduler } = start({ maxRows: 8 })
  const stop = new AbortController()
  const why = new Error('enough')
  engine.during = (step) => {
    if (step === 3) stop.abort(why)
  }
  const other = converse(scheduler, 1, 30, 10)
  const aborted = feed(scheduler, { conversation: 0, tokens: numbers(100), signal: stop.signal })
  assert.is(await failure(aborted), why)
  assert.is(engine.steps.filter((step) => step.has(0)).length, 3)
  assert.is(await other, 10)
  assert.is(await failure(feed(scheduler, { conversation: 2, signal: AbortSignal.abort(why) })), why)
  assert.is(engine.lengthOf(2), 0)
})

test('logits that are not finite end one conversation', async () => {
  const { engine, scheduler } = start()
  engine.spoilt = 501
  const spoilt = failure(feed(scheduler, { conversation: 0, tokens: [500] }))
  const draft = failure(feed(scheduler, { conversation: 2, tokens: [499, 500], isEvery: true }))
  const good = await feed(scheduler, { conversation: 1, tokens: [7] })
  assert.equal(good.tokens, [8])
  assert.is((await spoilt).code, 'NOT_FINITE')
  assert.is((await draft).code, 'NOT_FINITE')
})

test('an error of who listens ends one conversation', async () => {
  const { scheduler } = start()
  const own = new Error('own')
  const onProgress = () => {
    throw own
  }
  const failed = failure(feed(scheduler, { conversation: 0, onProgress }))
  assert.equal((await feed(scheduler, { conversation: 1 })).tokens, [2])
  assert.is(await failed, own)
})

test('out of memory: refused before it begins, or ended where others took it; the others go on', async () => {
  const { engine, scheduler } = start({ pages: 4, maxRows: 32 })
  const early = await failure(feed(scheduler, { conversation: 0, tokens: numbers(300) }))
  assert.instance(early, OutOfMemoryError)
  assert.equal([(early as OutOfMemoryError).needed, (early as OutOfMemoryError).available], [5000, 4000])
  assert.is(engine.steps.length, 0)
  // Each alone has room, both do not.
  const outcomes = await Promise.allSettled([
    feed(scheduler, { conversation: 0, tokens: numbers(150) }),
    feed(scheduler, { conversation: 1, tokens: numbers(160) }),
    converse(scheduler, 2, 1, 30),
  ])
  assert.equal(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected', 'fulfilled'].toSpliced(0, 1, outcomes[0].status),
  )
  const [, second] = outcomes
  assert.instance((second as PromiseRejectedResult).reason, OutOfMemoryError)
})

test('memory that is gone between two steps ends only who needs it', async () => {
  const { engine, scheduler } = start({ pages: 4, maxRows: 16 })
  engine.during = (step) => {
    if (step === 2) engine.take(2)
  }
  const long = failure(feed(scheduler, { conversation: 0, tokens: numbers(120) }))
  assert.is(await converse(scheduler, 1, 2, 40), 40)
  assert.instance(await long, OutOfMemoryError)
})

test('what a conversation takes to forget is not promised to another in the same step', async () => {
  // Two full pages each; the third conversation gets the page that is left, or an error of its own, but no step fails.
  const { engine, scheduler } = start({ context: 128, pages: 6, maxRows: 16 })
  engine.lengths.set(0, 128)
  engine.lengths.set(1, 128)
  engine.dropCost = 2
  const context: ContextSettings = { policy: 'window', keep: 0 }
  const outcomes = await Promise.allSettled([
    feed(scheduler, { conversation: 2, tokens: numbers(70) }),
    feed(scheduler, { conversation: 3, tokens: numbers(2) }),
    feed(scheduler, { conversation: 0, context }),
    feed(scheduler, { conversation: 1, context }),
  ])
  const reasons = outcomes.map((outcome) => (outcome.status === 'fulfilled' ? 'fine' : `${outcome.reason.code}`))
  assert.ok(reasons.includes('fine'), `${reasons}`)
  assert.ok(
    reasons.every((reason) => reason === 'fine' || reason === 'OUT_OF_MEMORY'),
    `${reasons}`,
  )
  // All together would be one error for all.
  const errorsSeen = new Set(
    outcomes.filter(({ status }) => status === 'rejected').map((one) => (one as PromiseRejectedResult).reason),
  )
  assert.is(errorsSeen.size, reasons.filter((reason) => reason !== 'fine').length)
})

test('a prompt that begins while another forgets is in a later step, and takes nothing that is counted', async () => {
  const { engine, scheduler } = start({ context: 128, pages: 4, maxRows: 16 })
  engine.lengths.set(0, 128)
  const context: ContextSettings = { policy: 'window', keep: 0 }
  const first = feed(scheduler, { conversation: 0, context })
  // Full too, and it comes while the first forgets.
  engine.lengths.set(1, 128)
  const second = feed(scheduler, { conversation: 1, context })
  assert.equal([(await first).tokens, (await second).tokens], [[2], [2]])
  assert.equal(engine.drops, [0, 1])
})

test('a full conversation ends with CONTEXT_FULL, or forgets as often as a prompt needs it', async () => {
  const { engine, scheduler } = start({ context: 192 })
  const full = await failure(feed(scheduler, { conversation: 0, tokens: numbers(193) }))
  assert.is((full as GtaError).code, 'CONTEXT_FULL')
  await feed(scheduler, { conversation: 1, tokens: numbers(1000), context: { policy: 'window', keep: 64 } })
  // 192 fit; each drop makes room for 64.
  assert.equal(
    engine.drops,
    Array.from({ length: Math.ceil((1000 - 192) / 64) }, () => 1),
  )
  assert.equal(planDrop({ policy: 'shift', keep: 100 }, 640), { keep: 2, drop: 3 })
  assert.equal(planDrop({ policy: 'window', keep: 0 }, 640), { keep: 0, drop: 1 })
})

test('a broken engine ends all, also those that come later', async () => {
  const { engine, scheduler } = start()
  const broken = errors.engineFailed('a test')
  engine.during = (step) => {
    if (step === 4) engine.broken = broken
  }
  const all = numbers(5).map((id) => failure(converse(scheduler, id, 10, 100)))
  for (const error of await Promise.all(all)) assert.is(error, broken)
  assert.is(await failure(feed(scheduler, { conversation: 9 })), broken)
  engine.broken = undefined
  engine.during = undefined
  assert.equal((await feed(scheduler, { conversation: 9 })).tokens, [2], 'and nothing is left behind')
})

test('what waits for an idle engine is done between two steps, also when the step fails', async () => {
  const { engine, scheduler } = start()
  const seen: number[] = []
  engine.during = (step) => {
    if (step === 2) void scheduler.between(async () => seen.push(engine.steps.length))
    if (step !== 5) return
    void scheduler.between(async () => seen.push(-1))
    engine.broken = errors.engineFailed('a test')
  }
  assert.is((await failure(converse(scheduler, 0, 1, 100))).code, 'ENGINE_FAILED')
  for (let i = 0; i < 3; i++) await tick()
  assert.equal(seen, [2, -1])
  assert.is(await scheduler.between(async () => 7), 7)
})

test('conversations that want their next tokens at once share each step', async () => {
  const { engine, scheduler } = start()
  await Promise.all(numbers(32).map((id) => converse(scheduler, id, 1, 50)))
  assert.is(engine.steps.length, 51)
  assert.ok(engine.steps.every((step) => step.size === 32))
})

test('nothing runs while nobody wants anything, and a slow reader holds nobody up', async () => {
  const { engine, scheduler } = start()
  // Open, but looking at its last token: steps go on without it.
  scheduler.active++
  await converse(scheduler, 0, 5, 20)
  assert.is(engine.steps.length, 21)
  for (let i = 0; i < 10; i++) await tick()
  assert.is(engine.steps.length, 21)
  scheduler.active--
})

test.run()
