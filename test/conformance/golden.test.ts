/**
 * Every attention kind in every build against its float64 reference, in every way of feeding it: the prompt at once, token by token,
 * in slices of 3, and three conversations interleaved. f32: logits within 1e-4, the same greedy tokens.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvCache } from '../../host/cache/cache.ts'
import { greedy, type Row, type Weights } from '../../host/engine/engine.ts'
import { type Build, builds, debugBuild, singleBuilds } from '../../host/engine/wasm/builds.ts'
import { openWasmEngine } from '../../host/engine/wasm/engine.ts'
import { Checkpoint } from '../../host/files/checkpoint.ts'
import { packTensors } from '../../host/files/tensors.ts'
import { planModel } from '../../models/index.ts'
import { type GoldenCase, golden, kinds, readGolden, worst } from '../fixtures/goldens.ts'

const TOLERANCE = 1e-4
const CONVERSATIONS = 3

async function openGolden(kind: string, build: Build): Promise<KvCache> {
  const directory = golden(kind)
  const checkpoint = await Checkpoint.open(directory)
  const { model } = checkpoint
  const plan = planModel(model, 'f32')
  const options = { context: 128, cache: 'f32' as const, maxRows: 128, maxLogits: 3, conversations: CONVERSATIONS }
  const load = (target: Weights) => packTensors(checkpoint, plan, target.write)
  const opened = openWasmEngine({ spec: model.spec, plan, options, build, load })
  return new KvCache(await opened.finally(() => checkpoint.close()))
}

const rowsOf = (ids: number[], conversation: number): Row[] =>
  ids.map((token, position) => ({
    conversation,
    position,
    token,
    sampling: position === ids.length - 1 ? greedy : undefined,
  }))

/** Feeds one case in slices, then its greedy tokens one by one; compares logits at both places and every token. */
async function check(engine: KvCache, name: string, golden: GoldenCase, slice: number): Promise<void> {
  engine.rewind(0, 0)
  let next: Uint32Array = new Uint32Array()
  const rows = rowsOf(golden.prompt_ids, 0)
  for (let from = 0; from < rows.length; from += slice) next = await engine.step(rows.slice(from, from + slice))
  const prefill = worst(await engine.logits(0), golden.prefill_logits_last)
  assert.ok(prefill <= TOLERANCE, `${name}: prefill logits differ by ${prefill}`)
  for (const [i, token] of golden.greedy_ids.entries()) {
    assert.is(next[0], token, `${name}: greedy token ${i}`)
    next = await engine.step([{ conversation: 0, position: rows.length + i, token, sampling: greedy }])
  }
  const after = worst(await engine.logits(0), golden.logits_after_8)
  assert.ok(after <= TOLERANCE, `${name}: logits after 8 tokens differ by ${after}`)
}

/** All cases at once, a conversation each: a step holds one token of every conversation that still has one. */
async function checkInterleaved(engine: KvCache, kind: string, cases: GoldenCase[]): Promise<void> {
  for (let c = 0; c < CONVERSATIONS; c++) engine.rewind(c, 0)
  const feeds = cases.map(({ prompt_ids, greedy_ids }) => [...prompt_ids, ...greedy_ids])
  const longest = Math.max(...feeds.map((feed) => feed.length))
  const compared = new Set<string>()
  for (let position = 0; position < longest; position++) {
    const active = feeds.map((_, c) => c).filter((c) => position < (feeds[c]?.length ?? 0))
    await engine.step(
      active.map((c) => ({ conversation: c, position, token: feeds[c]?.[position] as number, sampling: greedy })),
    )
    for (const [k, c] of active.entries()) {
      const { prompt_ids, greedy_ids, prefill_logits_last, logits_after_8 } = cases[c] as GoldenCase
      const expected =
        position === prompt_ids.length - 1
          ? prefill_logits_last
          : position === prompt_ids.length + greedy_ids.length - 1
            ? logits_after_8
            : undefined
      if (!expected) continue
      const difference = worst(await engine.logits(k), expected)
      assert.ok(difference <= TOLERANCE, `${kind}, conversation ${c} at ${position}: logits differ by ${difference}`)
      compared.add(`${c} ${position}`)
    }
  }
  assert.is(compared.size, 2 * cases.length)
}

for (const build of [...builds, ...singleBuilds, debugBuild])
  for (const kind of kinds)
    test(`${kind}, ${build.name} equals its reference at once, step by step, in threes and interleaved`, async () => {
      const engine = await openGolden(kind, build)
      try {
        const { cases } = readGolden(kind)
        assert.is(cases.length, CONVERSATIONS)
        for (const [i, one] of cases.entries())
          for (const slice of [128, 1, 3]) await check(engine, `${kind}, case ${i}, slices of ${slice}`, one, slice)
        await checkInterleaved(engine, kind, cases)
      } finally {
        await engine.close()
      }
    })

test.run()
