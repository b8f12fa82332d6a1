/**
 * Rows are swept in tiles, queries two at a time: which rows share a tile must not change a bit of what each computes. A
 * conversation and its fork, which shares two pages, in one step; windows that begin within a tile; rows that are no whole tile.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cacheTypes, describe, type ModelDescription } from '../models/index.ts'
import { golden, readJson } from './fixtures/goldens.ts'
import { debugNames } from './harness/debug-engine.ts'
import { type Case, openCase, runWasm, type TestRow } from './harness/gpu-attention.ts'

/** Where the fork leaves the conversation, and how far both go. */
const FORK = 128
const END = 170
/** Blocks of the conversation and of its fork. */
const TABLES = [2, 0, 4, 1, 3, 2, 0, 5, 6, 3]

const range = (conversation: number, from: number, to: number): TestRow[] =>
  Array.from({ length: to - from }, (_, i) => ({ conversation, position: from + i }))

/** Alternately `first` rows of the conversation and `second` of its fork. */
function together(first: number, second: number): TestRow[] {
  const rows: TestRow[] = []
  for (let [a, b] = [FORK, FORK]; a < END || b < END; a += first, b += second)
    rows.push(...range(0, a, Math.min(END, a + first)), ...range(1, b, Math.min(END, b + second)))
  return rows
}

function inSteps(rows: TestRow[], step: number): TestRow[][] {
  return Array.from({ length: Math.ceil(rows.length / step) }, (_, i) => rows.slice(i * step, (i + 1) * step))
}

/** What each row adds, by its conversation and position. */
function outputs(one: Case, layer: number, steps: TestRow[][]): Map<string, Float32Array> {
  const { engine } = one
  engine.words(engine.exports.tables(), TABLES.length).set(TABLES)
  const cache = engine.exports.cache(0) >>> 0
  engine.bytes(cache, engine.end - cache).fill(0xff)
  const found = new Map<string, Float32Array>()
  for (const rows of steps)
    for (const [i, output] of runWasm(one, layer, rows).entries()) {
      const { conversation, position } = rows[i] as TestRow
      found.set(`${conversation}:${position}`, output)
    }
  return found
}

const gemma = (window: number) =>
  describe({ ...readJson(golden('families/gemma3_text/config.json')), sliding_window: window })
const kind = (name: string) => describe(readJson(golden(`${name}/config.json`)))
const models: Record<string, ModelDescription> = {
  'a window of 5': gemma(5),
  'a window of 66': gemma(66),
  ...Object.fromEntries(['gqa', 'gta', 'mla'].map((name) => [name, kind(name)])),
}

for (const [name, model] of Object.entries(models))
  test(`${name}: rows together are rows one by one`, () => {
    for (const build of debugNames)
      for (const cache of cacheTypes) {
        const one = openCase(model, cache, 84, 3, 0, build)
        const alone = [...range(0, 0, END), ...range(1, FORK, END)]
        const expected = outputs(one, 0, inSteps(alone, 1))
        for (const [first, second, step] of [
          [42, 42, 84],
          [11, 5, 16],
          [1, 1, 7],
        ] as const) {
          const steps = [...inSteps(range(0, 0, FORK), step), ...inSteps(together(first, second), step)]
          assert.equal(outputs(one, 0, steps), expected, `${build}, ${cache}, ${first} and ${second} in ${step}`)
        }
      }
  })

test.run()
