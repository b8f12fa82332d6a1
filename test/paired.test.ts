/**
 * An engine made of two, of which one reads prompts: whatever happens to conversations, the bits are those of one engine alone.
 * Both are WebAssembly here, so there is nothing to round.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvCache } from '../host/cache/cache.ts'
import type { Engine } from '../host/engine/engine.ts'
import { openPaired } from '../host/engine/paired.ts'
import { randomTensors, writeCheckpoint } from './fixtures/checkpoints.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { openBare, relaxed, strict } from './harness/engines.ts'
import { Histories, say } from './harness/histories.ts'

const CONTEXT = 256
const CONVERSATIONS = 4
const options = { context: CONTEXT, maxRows: 48, maxLogits: CONVERSATIONS, conversations: CONVERSATIONS, pages: 14 }
/** Rows beyond one for each conversation that count as a prompt here. */
const PROMPT_ROWS = 5

const family = (name: string, fields: object = {}) => {
  const config = { ...readJson(golden(`families/${name}/config.json`)), max_position_embeddings: CONTEXT, ...fields }
  return writeCheckpoint(config, randomTensors(config, 'F32', 7))
}

/** Counts steps of an engine. */
function counted(engine: Engine): { engine: Engine; steps: () => number } {
  let steps = 0
  const step = engine.step.bind(engine)
  engine.step = (rows) => {
    steps++
    return step(rows)
  }
  return { engine, steps: () => steps }
}

/** What may come between a prompt, of the first engine, and what follows it. */
const between: [string, (both: Histories) => Promise<unknown>, { tokens: number; in?: number }][] = [
  ['nothing', async () => undefined, { tokens: 1 }],
  ['pages are read', (both) => both.comparePages(), { tokens: 1 }],
  ['a fork, which copies the last page', (both) => both.each((cache) => cache.fork(0, 1)), { tokens: 1, in: 1 }],
  ['a drop, which turns pages', (both) => both.each((cache) => cache.drop(0, 1, 1)), { tokens: 1 }],
  ['a session, read by the first', (both) => both.adopt(0, 2), { tokens: 20, in: 2 }],
  ['a session, read by the second', (both) => both.adopt(0, 2), { tokens: 1, in: 2 }],
  ['a prefix that is found', (both) => both.each((cache) => cache.reuse(3, cache.tokensOf(0))), { tokens: 1, in: 3 }],
  ['tokens of the second, then a prompt', (both) => say(both, 0, 3, 1), { tokens: 20 }],
  [
    'a page that was given back and is taken again',
    async (both) => {
      await both.each((cache) => cache.rewind(0, 64))
      await say(both, 0, 70, 1)
    },
    { tokens: 20 },
  ],
]

for (const [name, act, follow] of between)
  test(`behind a prompt: ${name}`, async () => {
    const open = () => openBare(golden('gta'), options)
    const pair = await openPaired(await open(), await open(), PROMPT_ROWS)
    const both = new Histories([new KvCache(await open()), new KvCache(pair)], 1)
    await say(both, 0, 180, 45)
    await act(both)
    await say(both, follow.in ?? 0, follow.tokens)
    await both.comparePages()
    for (const cache of both.caches) await cache.close()
  })

for (const [name, directory, more] of [
  ['gta', golden('gta'), {}],
  ['two threads and another build', golden('mla'), { threads: 2 }],
  ['windows', family('gemma3_text', { sliding_window: 70 }), {}],
  ['states', family('lfm2'), {}],
] as const)
  test(`a random history of conversations: ${name}`, async () => {
    const open = (build = relaxed) => openBare(directory, { ...options, ...more, build })
    const [first, second] = [counted(await open(strict)), counted(await open())]
    const pair = await openPaired(first.engine, second.engine, PROMPT_ROWS)
    const both = new Histories([new KvCache(await open()), new KvCache(pair)], name.length)
    for (let i = 0; i < 100; i++) await both.act()
    await both.comparePages()
    // Both had something to do, or nothing was tested.
    assert.ok(first.steps() > 15 && second.steps() > 15, `${first.steps()} and ${second.steps()} steps`)
    for (const cache of both.caches) await cache.close()
  })

test.run()
