/**
 * The cache over an engine that is not of WebAssembly: eight members, and no more, are all that it needs. Each row of this
 * one is a number made of the token and of all rows before it, which it finds through tables and places, as engines do.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvCache } from '../host/cache/cache.ts'
import {
  type Engine,
  type EngineFacts,
  greedy,
  type Logits,
  nameOf,
  type PageStore,
  type Row,
} from '../host/engine/engine.ts'
import { PAGE_TOKENS } from '../models/index.ts'
import { failure, random } from './fixtures/checkpoints.ts'

const VOCAB = 50
const CONVERSATIONS = 4
const TABLE_PAGES = 6
const CONTEXT = TABLE_PAGES * PAGE_TOKENS

class PlainEngine implements Engine {
  readonly facts: EngineFacts = {
    name: 'plain',
    build: 'plain',
    ...{ maxThreads: 1, maxRows: 100, maxLogits: 4, memoryBytes: 0 },
    ...{ context: CONTEXT, conversations: CONVERSATIONS, vocabSize: VOCAB },
  }
  threads = { decode: 1, prefill: 1 }
  readonly probe = undefined
  readonly pages: PageStore
  /** (pages, PAGE_TOKENS): what each row is. */
  private readonly rows: Float64Array
  private sampled: number[] = []

  constructor(pages: number) {
    this.rows = new Float64Array(pages * PAGE_TOKENS)
    const at = (place: number) => this.rows.subarray(place * PAGE_TOKENS, (place + 1) * PAGE_TOKENS)
    const bytesAt = (place: number) => new Uint8Array(this.rows.buffer, 8 * place * PAGE_TOKENS, 8 * PAGE_TOKENS)
    this.pages = {
      ...{ pages, residentPages: pages, pageBytes: 8 * PAGE_TOKENS, tablePages: TABLE_PAGES },
      tables: new Uint32Array(CONVERSATIONS * TABLE_PAGES),
      places: Uint32Array.from({ length: pages }, (_, page) => page),
      history: new Uint32Array(pages * PAGE_TOKENS),
      copy: (from, to) => at(to).set(at(from)),
      clear: (place) => at(place).fill(Number.NaN),
      read: async (place) => bytesAt(place).slice(),
      write: async (place, bytes) => bytesAt(place).set(bytes),
      fingerprint: async () => 'plain',
      stream: undefined,
    }
  }

  private at(conversation: number, position: number): number {
    const page = this.pages.tables[conversation * TABLE_PAGES + Math.floor(position / PAGE_TOKENS)] as number
    return (this.pages.places[page] as number) * PAGE_TOKENS + (position % PAGE_TOKENS)
  }

  async step(rows: readonly Row[]): Promise<Uint32Array> {
    this.sampled = []
    for (const { conversation, position, token, sampling } of rows) {
      let state = token + 1
      for (let i = 0; i < position; i++)
        state = (31 * state + (this.rows[this.at(conversation, i)] as number)) % 1_000_003
      this.rows[this.at(conversation, position)] = state
      if (sampling) this.sampled.push(state)
    }
    return Uint32Array.from(this.sampled, (state) => state % VOCAB)
  }

  async logits(k: number): Promise<Logits> {
    return { values: new Float32Array(VOCAB).fill(this.sampled[k] as number), hash: () => `${this.sampled[k]}` }
  }

  async state(k: number): Promise<Float32Array> {
    return Float32Array.of(this.sampled[k] as number)
  }

  /** Adds up how far a row was turned: what it holds says how often and from where. */
  async turn(from: number, to: number, delta: number): Promise<void> {
    for (let i = 0; i < PAGE_TOKENS; i++) {
      const { places, history } = this.pages
      const source = this.rows[(places[from] as number) * PAGE_TOKENS + i] as number
      this.rows[(places[to] as number) * PAGE_TOKENS + i] = source + delta / 1024
      history[to * PAGE_TOKENS + i] = history[from * PAGE_TOKENS + i] as number
    }
  }

  async close(): Promise<void> {}
}

const open = (pages = 40) => new KvCache(new PlainEngine(pages))

async function feed(cache: KvCache, conversation: number, tokens: readonly number[]): Promise<number> {
  const from = cache.lengthOf(conversation)
  let logit = Number.NaN
  for (let at = 0; at < tokens.length; at += 100) {
    const rows: Row[] = tokens.slice(at, at + 100).map((token, i) => ({ conversation, position: from + at + i, token }))
    rows[rows.length - 1] = { ...(rows.at(-1) as Row), sampling: greedy }
    await cache.step(rows)
    logit = (await cache.logits(0))[0] as number
  }
  return logit
}

/** What a conversation of these tokens gives that shares nothing with anybody. */
async function fresh(tokens: readonly number[]): Promise<number> {
  return feed(open(), 0, tokens)
}

const text = (length: number, seed: number) => {
  const next = random(seed)
  return Array.from({ length }, () => Math.floor(next() * VOCAB))
}

test('an engine has ten members and a name', () => {
  const members: Record<keyof Engine, true> = {
    ...{ facts: true, threads: true, pages: true, probe: true },
    ...{ step: true, logits: true, state: true, turn: true, revive: true, close: true },
  }
  assert.is(Object.keys(members).length, 10)
  assert.is(nameOf(open()), 'plain, 1 thread')
})

test('any history of feed, rewind, fork and reuse gives what the tokens alone give', async () => {
  const next = random(7)
  const below = (n: number) => Math.floor(next() * n)
  const cache = open()
  const told: number[][] = Array.from({ length: CONVERSATIONS }, () => [])
  const used = { rewind: 0, fork: 0, reuse: 0 }
  for (let i = 0; i < 300; i++) {
    const c = below(CONVERSATIONS)
    const tokens = told[c] as number[]
    const choice = below(4)
    if (choice === 0) {
      const length = below(2) * below(tokens.length + 1)
      cache.rewind(c, length)
      tokens.length = length
      used.rewind++
    } else if (choice === 1) {
      const from = (c + 1 + below(CONVERSATIONS - 1)) % CONVERSATIONS
      cache.rewind(c, 0)
      cache.fork(from, c)
      told[c] = [...(told[from] as number[])]
      used.fork++
    } else {
      if (tokens.length === 0) {
        const prompt = text(1 + below(250), below(2))
        const { reused } = cache.reuse(c, prompt)
        if (reused > 0) used.reuse++
        tokens.push(...prompt)
        await feed(cache, c, prompt.slice(reused))
      }
      const more = text(1 + below(70), below(3))
      if (tokens.length + more.length > CONTEXT) continue
      tokens.push(...more)
      assert.is(await feed(cache, c, more), await fresh(tokens), `action ${i}`)
      assert.equal([...cache.tokensOf(c)], tokens)
    }
  }
  assert.ok(Math.min(used.rewind, used.fork, used.reuse) > 10, JSON.stringify(used))
  for (let c = 0; c < CONVERSATIONS; c++) cache.rewind(c, 0)
  assert.is(cache.use.usedBytes, 0)
})

test('a drop turns what was computed, not what was turned', async () => {
  const cache = open()
  await feed(cache, 0, text(CONTEXT, 1))
  await cache.drop(0, 1, 1)
  await cache.drop(0, 1, 2)
  const { pages, originals, length, dropped } = cache.cached(0)
  assert.equal([length, dropped], [CONTEXT - 3 * PAGE_TOKENS, 3 * PAGE_TOKENS])
  const states = async (id: number) => new Float64Array((await cache.fetchPage(id)).slice().buffer)
  const before = await states((originals[0] as { id: number }).id)
  const after = await states((pages[0] as { id: number }).id)
  assert.equal(
    after,
    before.map((state) => state + (3 * PAGE_TOKENS) / 1024),
  )
})

test('rows that no engine may see are refused before anything changes', async () => {
  const cache = open(4)
  const tokens = text(100, 1)
  const logit = await feed(cache, 0, tokens)
  const row = (position: number, token = 1) => ({ conversation: 1, position, token, sampling: greedy })
  const refusals: [Row[], string][] = [
    [[], 'a step takes 1 to 100 rows'],
    [Array.from({ length: 101 }, (_, i) => row(i)), 'a step takes 1 to 100 rows'],
    [Array.from({ length: 5 }, (_, i) => row(i)), 'a step samples 4 rows at most'],
    [[row(1)], 'leaves a hole'],
    [[row(0, VOCAB)], 'token'],
  ]
  for (const [rows, message] of refusals) assert.match((await failure(cache.step(rows))).message, message)
  assert.is(cache.lengthOf(1), 0)
  cache.rewind(0, 99)
  assert.is(await feed(cache, 0, [tokens[99] as number]), logit)
})

test('nothing else happens while a step runs, and nothing after close', async () => {
  const cache = open()
  const step = cache.step([{ conversation: 0, position: 0, token: 1 }])
  for (const attempt of [
    cache.step([{ conversation: 1, position: 0, token: 1 }]),
    cache.drop(1, 0, 1),
    cache.measure(() => 1),
    (async () => cache.rewind(0, 0))(),
  ])
    assert.is((await failure(attempt)).code, 'BUSY')
  cache.rewind(1, 0)
  await step
  assert.match((await failure(cache.measure(() => 1))).message, 'measures nothing')
  await cache.close()
  assert.is((await failure(cache.step([{ conversation: 0, position: 1, token: 1 }]))).code, 'CLOSED')
})

test.run()
