/**
 * The analyzer against the engine itself: a debug build counts its multiply-adds and bytes where they happen, and the exact
 * mode must have the same numbers, for every kind of attention and every format.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as abi from '../assembly/abi.ts'
import { greedy, type Row } from '../host/engine/engine.ts'
import { ROW_WORDS, writeRow } from '../host/engine/wasm/rows.ts'
import { Analysis } from '../host/tools/analyze/analyze.ts'
import { findHardware } from '../host/tools/analyze/hardware.ts'
import type { Stage } from '../host/tools/analyze/walk.ts'
import { fillSynthetic } from '../host/tools/bench/synthetic.ts'
import { type CacheType, describe, type ModelDescription, PAGE_TOKENS, type WeightType } from '../models/index.ts'
import { fieldsOf } from '../models/records.ts'
import { golden, kinds, readJson } from './fixtures/goldens.ts'
import { type DebugEngine, openDebug } from './harness/debug-engine.ts'

/** Longer than a page and than a slice of a prompt, and no multiple of either. */
const LENGTH = 70
const SLICE = 64
const TABLE_PAGES = Math.ceil((LENGTH + 1) / PAGE_TOKENS)
const CONVERSATIONS = 3

type Counted = Record<keyof abi.Counts, number>

/** An engine on this thread that counts. */
class Counting {
  private readonly engine: DebugEngine

  private constructor(model: ModelDescription, type: WeightType, cache: CacheType) {
    const sizes = { context: LENGTH + 1, maxRows: SLICE, maxLogits: CONVERSATIONS, conversations: CONVERSATIONS }
    this.engine = openDebug(model, type, { cache, ...sizes })
    // Each conversation has pages of its own.
    const tables = this.engine.words(this.engine.exports.tables(), TABLE_PAGES * CONVERSATIONS)
    tables.forEach((_, i) => {
      tables[i] = i
    })
  }

  static async open(model: ModelDescription, type: WeightType, cache: CacheType): Promise<Counting> {
    const counting = new Counting(model, type, cache)
    const { plan, weights } = counting.engine
    await fillSynthetic(model, plan, (offset, bytes) => weights.set(bytes, offset))
    return counting
  }

  /** What the steps count together. */
  run(steps: Row[][]): Counted {
    const { exports } = this.engine
    exports.profile(1)
    for (const rows of steps) {
      const at = exports.rows()
      const words = this.engine.words(at, rows.length * ROW_WORDS)
      const floats = this.engine.floats(at, rows.length * ROW_WORDS)
      rows.forEach((row, i) => {
        writeRow(words, floats, i, row)
      })
      assert.is(exports.step(rows.length), 0)
    }
    const names = fieldsOf(new abi.Counts())
    const counts = this.engine.doubles(exports.counted(0), names.length)
    return Object.fromEntries(names.map((name, i) => [name, counts[i]])) as Counted
  }
}

/** Slices of a prompt; the last row wants logits. */
function prompt(conversation: number): Row[][] {
  const rows: Row[] = Array.from({ length: LENGTH }, (_, position) => ({ conversation, position, token: position }))
  rows[LENGTH - 1] = { ...(rows[LENGTH - 1] as Row), sampling: greedy }
  return [rows.slice(0, SLICE), rows.slice(SLICE)]
}

function predict(analysis: Analysis, stage: Stage, batch: number): Counted {
  const { total, operations } = analysis.pass(stage, batch, LENGTH)
  const found = { products: total.macs, scores: 0, values: 0 }
  for (const { name, work } of analysis.operations) {
    if (work.is !== 'fused') continue
    const swept = operations.find((operation) => operation.name === name)
    assert.ok(swept)
    const macs = swept.macs * swept.count
    const pairs = macs / (work.keyDim + work.valueDim)
    assert.ok(Number.isInteger(pairs / work.maps))
    found.products -= macs
    found.scores += pairs * work.keyDim
    found.values += pairs * work.valueDim
  }
  assert.ok(found.scores > 0)
  const { weights, cacheReads, cacheWrites } = total
  return { ...found, weights, cacheRead: cacheReads, cacheWritten: cacheWrites }
}

const formats: [WeightType, CacheType][] = [
  ['q8', 'int8'],
  ['q4', 'int8'],
  ['f32', 'f32'],
]

const families = ['families/qwen3', 'families/gemma3_text', 'families/lfm2', 'families/qwen3_5_text']

for (const kind of [...kinds, ...families])
  test(`${kind}: multiply-adds, weights and cache bytes are those that the engine counts`, async () => {
    const model = describe(readJson(golden(`${kind}/config.json`)))
    for (const [type, cache] of formats) {
      const engine = await Counting.open(model, type, cache)
      const analysis = new Analysis(model, findHardware('rk3588'), { type, cache })
      const prefill = engine.run(prompt(0))
      assert.equal(prefill, predict(analysis, 'prefill', 1), `prefill ${type}`)
      for (let conversation = 1; conversation < CONVERSATIONS; conversation++) engine.run(prompt(conversation))
      const rows = Array.from({ length: CONVERSATIONS }, (_, conversation) => ({
        conversation,
        position: LENGTH,
        token: 1,
        sampling: greedy,
      }))
      assert.equal(engine.run([rows]), predict(analysis, 'decode', CONVERSATIONS), `decode ${type}`)
    }
  })

test.run()
