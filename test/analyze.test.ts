/**
 * The analyzer: LLM-Viewer's own numbers, to the bit, and exact counts that equal cost(). What the engine counts itself is
 * in counted.test.ts.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fit } from '../host/engine/fit.ts'
import { GtaError } from '../host/errors.ts'
import { convert } from '../host/files/convert.ts'
import { Analysis, type AnalyzeSettings } from '../host/tools/analyze/analyze.ts'
import {
  breakEven,
  compareAll,
  comparisonSentences,
  conversationsIn,
  type SpeedComparison,
  speedRatio,
} from '../host/tools/analyze/compare.ts'
import { asDuring, predictTest, withoutBarriers } from '../host/tools/analyze/explain.ts'
import { findHardware, type Hardware, hardwareTable, type MeasuredRates } from '../host/tools/analyze/hardware.ts'
import { betterOf } from '../host/tools/analyze/measure.ts'
import { recordsOf } from '../host/tools/analyze/records.ts'
import type { OperationResult, PassResult } from '../host/tools/analyze/walk.ts'
import { cost, describe, nLayers, planModel, type WeightType, weightBytesPerToken } from '../models/index.ts'
import { gqaConfig, randomTensors, temporary, writeCheckpoint } from './fixtures/checkpoints.ts'
import { attentionOf, golden, kinds, readJson } from './fixtures/goldens.ts'

const config = (name: string) => describe(readJson(new URL(`../models/configs/${name}.json`, import.meta.url).pathname))
const models = { 'gta-1b': config('gta-1b'), 'gqa-1b': config('gqa-1b') }
const reference = readJson(golden('llm-viewer/golden.json'))

const batches = [1, 2, 4, 8, 16, 32]
const lengths = [128, 256, 512, 1024, 2048, 4096]
const widthsTried = [
  [16, 16, 16],
  [8, 16, 16],
  [8, 8, 8],
  [4, 16, 8],
] as const
const totals = [
  ...['OPs', 'memory_access', 'load_weight', 'load_act', 'store_act', 'load_kv_cache', 'store_kv_cache'],
  ...['inference_time', 'memory_consumption', 'memory_consumption_weight', 'memory_consumption_kv_cache'],
  'memory_consumption_tmp_act',
]
const columns = [
  ...['OPs', 'memory_access', 'arithmetic_intensity', 'performance', 'load_weight', 'load_act', 'store_act'],
  ...['load_kv_cache', 'store_kv_cache', 'inference_time'],
]

function referenceMode(name: keyof typeof models, hardware: string, bits: readonly number[], flash: boolean): Analysis {
  const [weights, activations, cache] = bits as [number, number, number]
  const settings: AnalyzeSettings = { mode: 'llm-viewer', widths: { weights, activations, cache }, flash }
  return new Analysis(models[name], findHardware(hardware), settings)
}

const doubles = (record: Record<string, unknown>, names: string[]) =>
  new Uint8Array(Float64Array.from(names, (name) => Number(record[name])).buffer)

/** All numbers of the grid that generate.py walks, in its order. */
function digest(name: keyof typeof models, hardware: string): string {
  const hash = createHash('sha256')
  for (const bits of widthsTried)
    for (const flash of [false, true]) {
      const analysis = referenceMode(name, hardware, bits, flash)
      for (const batch of batches)
        for (const length of lengths)
          for (const stage of ['prefill', 'decode'] as const) {
            const [total, ...operations] = recordsOf(name, analysis, analysis.pass(stage, batch, length), true)
            for (const record of operations) {
              hash.update(String(record.op)).update(String(record.bound))
              hash.update(doubles(record, columns))
            }
            hash.update(doubles(total as Record<string, unknown>, totals))
          }
    }
  return hash.digest('hex')
}

for (const hardware of ['nvidia_H100', 'nvidia_H100_PCIe', 'nvidia_A100_40G', 'nvidia_A100_80G', 'nvidia_V100'])
  test(`${hardware}: LLM-Viewer's numbers for GTA-1B and GQA-1B, every total and every operation, to the bit`, () => {
    for (const name of ['gta-1b', 'gqa-1b'] as const)
      assert.is(digest(name, hardware), reference.digests[`${name} ${hardware}`], name)
  })

test('the cases that are written out say where a difference would be', () => {
  for (const { ops = [], ...expected } of reference.cases) {
    const analysis = referenceMode(
      expected.model,
      expected.hardware,
      [expected.w_bit, expected.a_bit, expected.kv_bit],
      expected.flash,
    )
    const pass = analysis.pass(expected.stage, expected.batch, expected.seqlen)
    const [total, ...operations] = recordsOf(expected.model, analysis, pass, true)
    for (const name of Object.keys(expected)) assert.is(total?.[name], expected[name], name)
    ops.forEach((row: Record<string, unknown>, i: number) => {
      for (const name of Object.keys(row)) assert.is(operations[i]?.[name], row[name], `${row.op} ${name}`)
    })
  }
})

test('every device of LLM-Viewer is in the table: a small grid would differ by its values', () => {
  const named = Object.keys(reference.digests).map((key) => key.split(' ')[1] as string)
  for (const name of named) assert.is(findHardware(name).name, name)
  assert.is(digest('gta-1b', 'nvidia_L40'), reference.digests['gta-1b nvidia_L40'])
})

test('generation: the prompt once, then a pass per token', () => {
  for (const { model, flash, prompt, gen, batch, inference_time, prefill_time } of reference.generations) {
    const found = referenceMode(model, 'nvidia_H100', [16, 16, 16], flash).generation(batch, prompt, gen)
    assert.equal(found, { seconds: inference_time, prefillSeconds: prefill_time })
  }
})

test('what the paper claims by simulation: nearly 2 × where score matrices are written, little for one conversation', () => {
  const ratio = (stage: 'prefill' | 'decode', batch: number, seqlen: number) => {
    const [gqa, gta] = (['gqa-1b', 'gta-1b'] as const).map((name) =>
      referenceMode(name, 'nvidia_H100', [16, 16, 16], false).seconds(stage, batch, seqlen),
    ) as [number, number]
    return (gqa / gta).toFixed(2)
  }
  assert.equal([ratio('prefill', 1, 2048), ratio('prefill', 1, 4096)], ['1.91', '2.43'])
  assert.equal([ratio('decode', 32, 2048), ratio('decode', 32, 4096)], ['1.91', '2.32'])
  assert.equal([ratio('decode', 1, 128), ratio('decode', 1, 2048), ratio('decode', 1, 4096)], ['1.00', '1.05', '1.10'])
})

const goldenModel = (kind: string) => describe(readJson(golden(`${kind}/config.json`)))
const anywhere = findHardware('bcm2712')

for (const kind of kinds)
  test(`${kind}: exact sums are those of cost()`, () => {
    const model = goldenModel(kind)
    const { spec } = model
    const counted = cost(model)
    const { linearMacs, pairMacs } = counted.executed
    const analysis = new Analysis(model, anywhere)
    for (const [batch, seqlen] of [
      [1, 1],
      [3, 70],
    ] as const) {
      const decode = analysis.pass('decode', batch, seqlen).total
      const prefill = analysis.pass('prefill', batch, seqlen).total
      const perToken = nLayers(spec) * (linearMacs + counted.ffnMacs)
      const pairs = (batch * seqlen * (seqlen + 1)) / 2
      assert.is(decode.macs, batch * (perToken + counted.headMacs + nLayers(spec) * (seqlen + 1) * pairMacs))
      assert.is(prefill.macs, batch * (seqlen * perToken + counted.headMacs) + nLayers(spec) * pairs * pairMacs)
    }
    // Where the engine shares or folds nothing, it does what the papers count.
    if (!kind.startsWith('gha')) {
      assert.is(linearMacs, counted.attentionLinearMacs)
      assert.is(pairMacs, counted.attentionPairMacs)
    }
  })

for (const type of ['q8', 'q4', 'f32'] as WeightType[])
  test(`weights read for a token in ${type}: all that is packed, but for the plan, padding, and rows that are not looked up`, () => {
    for (const kind of kinds) {
      const model = goldenModel(kind)
      const plan = planModel(model, type)
      const analysis = new Analysis(model, anywhere, { type })
      const { total, operations } = analysis.pass('decode', 1, 10)
      const looked = operations.find(({ name }) => name === 'embed')?.weights as number
      const aside = plan.tensors.filter(({ content }) => content.is === 'plan' || content.is === 'invFreq')
      const padding =
        weightBytesPerToken(plan, model.spec) - total.weights + looked - sum(aside.map(({ bytes }) => bytes))
      // Vectors and scales are padded to 64 bytes: some 20 per layer.
      assert.ok(padding >= 0 && padding < 64 * 25 * (nLayers(model.spec) + 1), `${kind}: ${padding}`)
    }
  })

const sum = (list: number[]) => list.reduce((total, n) => total + n, 0)

test('exact: what the defects of the tool are, put right', () => {
  const widths = { weights: 16, activations: 16, cache: 16 }
  const of = (flash: boolean, mode: 'exact' | 'llm-viewer') =>
    new Analysis(models['gta-1b'], findHardware('nvidia_H100'), { mode, widths, flash })
  const find = (analysis: Analysis, stage: 'prefill' | 'decode', name: string, batch = 1) => {
    const found = analysis.pass(stage, batch, 1000).operations.find((operation) => operation.name === name)
    assert.ok(found, name)
    return found as NonNullable<typeof found>
  }
  const [fused, plain, wrong] = [of(true, 'exact'), of(false, 'exact'), of(true, 'llm-viewer')]
  // (a) averages, not scores
  assert.is(find(fused, 'prefill', 'fused_attention').stores, 1000 * 5 * 128 * 2)
  assert.is(find(wrong, 'prefill', 'fused_attention').stores, 2 * 1000 * 1000 * 5 * 2)
  // (b) queries
  assert.is(find(plain, 'prefill', 'qk_matmul').loads, 1000 * 5 * 64 * 2)
  // (c) half of the pairs, (g) a token sees itself
  assert.is(find(fused, 'prefill', 'fused_attention').macs, 500_500 * 5 * (64 + 128))
  assert.is(find(fused, 'decode', 'fused_attention').macs, 1001 * 5 * (64 + 128))
  // (d) as wide as the feed-forward block, (e) two operands
  assert.is(find(fused, 'decode', 'mlp_act').stores, 3584 * 2)
  assert.is(find(fused, 'decode', 'attn_add').loads, 2 * 1280 * 2)
  assert.is(find(fused, 'decode', 'v2o_proj').stores, 1280 * 2)
  // (f) the batch, and what was not counted at all
  assert.is(find(fused, 'decode', 'lm_head', 8).stores, 8 * 128256 * 2)
  for (const name of ['embed', 'rope', 'final_norm']) find(fused, 'decode', name)
  assert.is(find(fused, 'decode', 'attn_norm').weights, 1280 * 2)
  assert.is(find(fused, 'decode', 'q_proj').weights, (1280 + 1) * 320 * 2)
  // (h) 33.8 MB hold more than 1000 queries: the cache passes once
  assert.is(find(fused, 'prefill', 'fused_attention').cacheReads, 1000 * 192 * 2)
  // (i) head_dim counts
  const wide = describe({ ...readJson(golden('gqa/config.json')), head_dim: 128 })
  const analysis = new Analysis(wide, anywhere)
  const q = analysis.pass('decode', 1, 1).operations.find(({ name }) => name === 'q_proj')
  assert.is(q?.macs, attentionOf(wide.spec).maps * 128 * wide.spec.hiddenDim)
  // (m) a device without INT8 computes in FP16
  const apple = new Analysis(models['gta-1b'], findHardware('apple_M2'), {
    widths: { weights: 8, activations: 8, cache: 8 },
  })
  assert.ok(apple.seconds('decode', 1, 100) > 0)
})

test('SPEC §10: limits that any implementation obeys', () => {
  const widths = { weights: 8, activations: 8, cache: 8 }
  const of = (name: keyof typeof models) => new Analysis(models[name], findHardware('bcm2712'), { widths, flash: true })
  const [gta, gqa] = [of('gta-1b'), of('gqa-1b')]
  const reads = (analysis: Analysis, n: number) => {
    const { weights, cacheReads } = analysis.pass('decode', 1, n - 1).total
    return weights + cacheReads
  }
  // Ratio 2 at N = 81 635; the parameters of biases and norms are counted here.
  assert.ok(Math.abs(reads(gqa, 81_635) / reads(gta, 81_635) - 2) < 2e-3)
  const macs = (analysis: Analysis) => analysis.pass('prefill', 1, 2048).total.macs / 2048
  assert.ok(Math.abs(macs(gqa) / macs(gta) - 1.087) < 1e-3)
})

/** The error that a function throws must be a GtaError of code BAD_OPTION that says these words. */
function refused(f: () => unknown, ...words: string[]): void {
  try {
    f()
  } catch (error) {
    assert.instance(error, GtaError)
    assert.is((error as GtaError).code, 'BAD_OPTION')
    for (const word of words)
      assert.ok((error as Error).message.includes(word), `"${word}": ${(error as Error).message}`)
    return
  }
  assert.unreachable('nothing was thrown')
}

test('settings that contradict each other, the device, or the tool', () => {
  const h100 = findHardware('nvidia_H100')
  const bits = { weights: 16, activations: 16, cache: 16 }
  const make =
    (settings: AnalyzeSettings, hardware = h100, model = models['gta-1b']) =>
    () =>
      new Analysis(model, hardware, settings)
  refused(make({ widths: bits, type: 'q8' }), '--w-bit', '--type')
  refused(make({ mode: 'llm-viewer', type: 'q8' }), '--mode llm-viewer')
  refused(make({ mode: 'llm-viewer', bandwidth: 'sustained' }), 'peaks only')
  refused(make({ threads: 2 }), '--threads', 'nvidia_H100')
  refused(make({ widths: { ...bits, weights: 0 } }), 'weights', 'more than 0')
  refused(make({ widths: { ...bits, cache: 64 } }), 'cache', '32 bits')
  refused(make({ widths: { weights: 32, activations: 32, cache: 32 } }), 'nvidia_H100', 'FP32', 'FP16, INT8')
  refused(
    make({ mode: 'llm-viewer', widths: { weights: 8, activations: 8, cache: 8 } }, findHardware('intel_13900k')),
    'INT8',
  )
  refused(make({ mode: 'llm-viewer' }, h100, config('160m-mla')), 'mla')
})

test('unknown hardware: the nearest names are suggested', () => {
  refused(() => findHardware('H100'), '"H100"', 'nvidia_H100')
  refused(() => findHardware('bcm2721'), 'bcm2712')
  refused(() => findHardware(''), '""')
  refused(() => findHardware('rsp5'), 'found "rsp5": did you mean rpi5 (bcm2712)')
  refused(() => findHardware('raspbery'), 'Raspberry Pi 5 (bcm2712)')
  refused(() => findHardware('jetson'), 'did you mean jetson_orin_nano?')
  refused(() => findHardware('H1000'), 'nvidia_H100')
  refused(() => findHardware('thsi'), 'did you mean this?')
  assert.is(findHardware('NVIDIA_h100').name, 'nvidia_H100')
})

test('boards by what people call them', () => {
  const called = { pi5: 'bcm2712', 'Raspberry-Pi 5': 'bcm2712', RPi4: 'bcm2711', 'zero 2': 'bcm2710a1' }
  for (const [name, device] of Object.entries({ ...called, 'orange pi 5': 'rk3588', 'rock-5b': 'rk3588' }))
    assert.is(findHardware(name).name, device, name)
  const words = hardwareTable.flatMap(({ name, aliases = [] }) => [name, ...aliases])
  const plain = words.map((word) => word.toLowerCase().replace(/[^a-z0-9]/g, ''))
  assert.is(new Set(plain).size, plain.length, 'a name of two devices')
})

for (const device of ['bcm2712', 'bcm2711', 'rk3588', 'measured'])
  test(`${device}: a prompt takes longer with every token, and a page more is a page more`, () => {
    const hardware = device === 'measured' ? measured : findHardware(device)
    for (const model of [models['gta-1b'], models['gqa-1b'], config('160m-gqa')])
      for (const cache of ['int8', 'f32'] as const) {
        const analysis = new Analysis(model, hardware, { cache })
        const seconds = (tokens: number) => analysis.seconds('prefill', 1, tokens)
        for (let tokens = 128; tokens <= 8192; tokens += 64) {
          const [before, now] = [seconds(tokens - 64), seconds(tokens)]
          // Work per token grows with the context, by half of its share at most: a slice is never worth four.
          assert.ok(now > before, `${tokens} tokens`)
          const ratio = now / before / (tokens / (tokens - 64))
          assert.ok(ratio > 0.97 && ratio < 1.06, `${cache}, ${tokens} tokens: ${ratio} times the share`)
        }
      }
  })

test('a prompt beyond the chip: the pages that stay are read once per slice, the others by every tile', () => {
  // 1024 tokens stay; a row takes 2 · 4 · (64 + 64) + scales bytes, whatever it is: found by one page on the chip.
  const model = config('160m-gqa')
  const fusedOf = (pages: number) => {
    const attention = attentionOf(model.spec)
    const rowBytes = Object.values(attention.slots).reduce((bytes, { heads, dim }) => bytes + heads * (dim + 4), 0)
    const onchipBuffer = { value: pages * 64 * rowBytes, source: 'a test' }
    // Memory so slow that it alone counts.
    const slow: Hardware = { ...anywhere, onchipBuffer, bandwidth: { peak: { value: 1, source: 'a test' } } }
    const analysis = new Analysis(model, slow)
    const pass = analysis.pass('prefill', 1, 256)
    const fused = pass.operations.find(({ name }) => name === 'fused_attention') as OperationResult
    const other = fused.bytes - fused.cacheReads
    return { ...fused, reuse: fused.cacheReads / rowBytes / ((256 * 257) / 2), share: other / fused.bytes }
  }
  const [all, half, none] = [fusedOf(4), fusedOf(2), fusedOf(0)]
  assert.ok(Math.abs(all.reuse - 1) < 1e-12, 'the test knows the bytes of a row')
  const once = 64 + 128 + 192 + 256
  // Four maps share a head: ten rows bring 40 queries, and 64 rows are seven tiles.
  const rows = { all: once, half: once + 6 * (64 + 128), none: 7 * once }
  assert.ok(Math.abs(all.seconds / half.seconds - rows.all / rows.half) < 1e-9)
  assert.ok(Math.abs(none.seconds / half.seconds - rows.none / rows.half) < 1e-9)
})

test('every value of the hardware table has a source and is a number; sustained is never above peak', () => {
  for (const { name, bandwidth, peak, onchipBuffer, memory } of hardwareTable) {
    const values = [bandwidth.peak, bandwidth.sustained, ...Object.values(peak), onchipBuffer, memory]
    for (const found of values.filter((value) => value !== undefined)) {
      assert.ok(found.value > 0 && Number.isFinite(found.value), name)
      assert.ok(found.source.length > 10, name)
    }
    assert.ok((bandwidth.sustained?.value ?? 0) <= bandwidth.peak.value, name)
  }
  assert.is(new Set(hardwareTable.map(({ name }) => name)).size, hardwareTable.length)
})

test('break-even points are the shortest contexts, and hold from there on', () => {
  const of = (name: keyof typeof models) => new Analysis(models[name], anywhere)
  const [gta, gqa] = [of('gta-1b'), of('gqa-1b')]
  const point = breakEven(gqa, gta, 'decode', 1, 1.5) as number
  assert.ok(speedRatio(gqa, gta, 'decode', 1, point) >= 1.5)
  assert.ok(speedRatio(gqa, gta, 'decode', 1, point - 1) < 1.5)
  for (let context = point; context < 2 ** 24; context *= 2)
    assert.ok(speedRatio(gqa, gta, 'decode', 1, context) >= 1.5)
  assert.is(breakEven(gqa, gta, 'decode', 1, 4), undefined, 'SPEC §10: 3.33 is the limit')
  assert.is(breakEven(gqa, gta, 'decode', 1, 0.5), 1)
  // With more conversations the cache counts sooner.
  assert.ok((breakEven(gqa, gta, 'decode', 8, 1.5) as number) < point)
})

test('the faster model is named first, whatever the order', () => {
  const list = [new Analysis(models['gta-1b'], anywhere), new Analysis(models['gqa-1b'], anywhere)]
  const [one] = compareAll(list, 1)
  const [other] = compareAll(list.toReversed(), 1)
  assert.equal([one?.fast, one?.slow], [0, 1])
  assert.equal([other?.fast, other?.slow], [1, 0])
  assert.equal(one?.decode, other?.decode)
  assert.match(
    comparisonSentences(one as SpeedComparison, ['gta-1b', 'gqa-1b'])[0] as string,
    'gta-1b keeps 29.4 % of the cache',
  )
})

test('conversations that fit: GTA has room for three times as many', () => {
  const rooms = (['gta-1b', 'gqa-1b'] as const).map((name) =>
    conversationsIn(new Analysis(models[name], anywhere), 4 * 2 ** 30, 8192),
  ) as [number, number]
  assert.ok(rooms[0] / rooms[1] > 3.1 && rooms[0] / rooms[1] < 3.7, rooms.join())
  assert.is(conversationsIn(new Analysis(models['gta-1b'], anywhere), 1e9, 1), 0)
})

test('fit: what is said to be the most fits, and one more does not', async () => {
  const question = { memoryBytes: 4 * 2 ** 30, context: 2048, conversations: 1, cache: 'int8' } as const
  for (const type of ['q8', 'q4'] as const) {
    const found = await fit(models['gqa-1b'], type, question)
    assert.ok(found.fits && found.limit === 'memory')
    const at = async (context: number, conversations: number) =>
      (await fit(models['gqa-1b'], type, { ...question, context, conversations })).fits
    assert.ok((await at(found.largestContext, 1)) && !(await at(found.largestContext + 1, 1)))
    assert.ok((await at(2048, found.mostConversations)) && !(await at(2048, found.mostConversations + 1)))
  }
  const { limit } = await fit(models['gqa-1b'], 'q8', { ...question, memoryBytes: 64 * 2 ** 30 })
  assert.is(limit, 'address space')
  assert.is((await fit(models['gqa-1b'], 'f32', question)).largestContext, 0)
})

test('a conversion tells whether this machine can run the result before it reads weights', async () => {
  const directory = writeCheckpoint(gqaConfig, randomTensors(gqaConfig))
  const order: string[] = []
  await convert(directory, join(temporary(), 'small.gta'), {
    onFit: ({ fits, largestContext }) => order.push(`${fits} ${largestContext > 0}`),
    onProgress: () => order.push('reads'),
  })
  assert.is(order[0], 'true true')
  assert.is(order[1], 'reads')
})

const rates: MeasuredRates = {
  threads: 2,
  bandwidth: 10e9,
  barrierSeconds: 1e-6,
  linear: { q8: { operations: 100e9, bytes: 10e9 }, q4: { operations: 100e9, bytes: 8e9 } },
  sweep: { many: 40e9, one: 20e9 },
  rest: { many: 10e9, one: 5e9 },
}
const measured: Hardware = { ...anywhere, name: 'this', rates: [{ ...rates, threads: 1 }, rates] }

test('a measured machine: each part at the rate that the engine reached there', () => {
  const analysis = new Analysis(models['gta-1b'], measured)
  const find = (pass: PassResult, name: string) => pass.operations.find((one) => one.name === name) as OperationResult
  const [decode, prefill] = [analysis.pass('decode', 1, 2048), analysis.pass('prefill', 1, 2048)]
  const q = find(decode, 'q_proj')
  assert.ok(Math.abs(q.seconds / (q.bytes / 10e9) - 1) < 1e-12)
  for (const [pass, rate] of [
    [decode, 20e9],
    [prefill, 40e9],
  ] as const) {
    const sweep = find(pass, 'fused_attention')
    assert.ok(Math.abs(sweep.seconds / (sweep.operations / rate) - 1) < 1e-12)
  }
  // What was not measured is as fast as memory.
  assert.ok(new Analysis(models['gta-1b'], measured, { type: 'f32' }).seconds('decode', 1, 1) > (4 * 1128e6) / 10e9)
  // The output head is q8 in a q4 model too.
  const q4 = new Analysis(models['gta-1b'], measured, { type: 'q4' }).pass('decode', 1, 1)
  const head = find(q4, 'lm_head')
  assert.ok(Math.abs(head.seconds / (head.bytes / 10e9) - 1) < 1e-12)
})

test('a test of the bench is predicted as what it runs: tokens behind a depth, prompts behind others', () => {
  const analysis = new Analysis(models['gta-1b'], measured)
  const together = (parts: Record<string, number>) => sum(Object.values(parts))
  const test = { phase: 'tg', tokens: 5, depth: 100, conversations: 2, threads: 2 } as const
  const steps = [0, 1, 2, 3, 4].map((i) => analysis.seconds('decode', 2, 100 + i))
  assert.ok(Math.abs(together(predictTest(analysis, test)) / sum(steps) - 1) < 1e-9)
  const whole = { ...test, phase: 'pp', tokens: 256, depth: 0, conversations: 1 } as const
  assert.ok(Math.abs(together(predictTest(analysis, whole)) / analysis.seconds('prefill', 1, 256) - 1) < 1e-9)
  // Two halves are as long as the whole, and read the output head once more.
  const halves = [0, 128].map((depth) => together(predictTest(analysis, { ...whole, tokens: 128, depth })))
  const heads = analysis.pass('prefill', 1, 1).operations.filter(({ count }) => count === 1)
  const head = sum(heads.filter(({ name }) => name !== 'embed').map(({ seconds }) => seconds))
  assert.ok(Math.abs(sum(halves) / (analysis.seconds('prefill', 1, 256) + head) - 1) < 1e-9)
})

test('a machine measured twice: the better of both, rate by rate, and the calmer of the two', () => {
  const slow = { ...rates, bandwidth: 4e9, barrierSeconds: 1e-4, sweep: { many: 50e9, one: 1e9 } }
  const old = { value: [slow], date: '2026-11-01', load: 9, foreignShare: 0.7 }
  const now = { value: [{ ...rates, threads: 1 }, rates], date: '2026-11-02', load: 1, foreignShare: 0.2 }
  for (const [one, other] of [
    [old, now],
    [now, old],
  ] as const) {
    const { value, date, foreignShare, load } = betterOf(one, other)
    assert.equal([date, foreignShare, load], [other.date, 0.2, 1])
    assert.equal(value, [
      { ...rates, threads: 1 },
      { ...rates, sweep: { many: 50e9, one: 20e9 } },
    ])
  }
})

test('a run is explained by what it read itself, not by what was read on another day', () => {
  const read = (threads: number, bytesPerSecond: number) => ({ threads, bytesPerSecond, barrierSeconds: 1e-6 })
  const during = asDuring({ bandwidth: [read(4, 4e9), read(2, 5e9)] }, measured)
  assert.is(during.bandwidth.sustained?.value, 5e9)
  assert.equal(
    during.rates?.map(({ bandwidth, linear }) => [bandwidth, linear.q8?.bytes, linear.q8?.operations]),
    [
      [5e9, 5e9, 100e9],
      // Four were not measured: as two, with twice the arithmetic.
      [4e9, 4e9, 200e9],
    ],
  )
  const seconds = (hardware: Hardware) =>
    new Analysis(models['gta-1b'], hardware, { threads: 2 }).seconds('decode', 1, 64)
  assert.ok(seconds(during) > 1.8 * seconds(measured))
})

test('waiting at barriers is shared out among the parts', () => {
  const parts = withoutBarriers([
    { rest: 1, linear: 5, attention: 2, valueDecoder: 0, barrier: 2, stream: 0 },
    { rest: 1, linear: 3, attention: 2, valueDecoder: 0, barrier: 4, stream: 0 },
  ])
  assert.is(parts.barrier, 0)
  assert.ok(Math.abs(parts.rest + parts.linear + parts.attention - 10) < 1e-12)
  assert.ok(Math.abs(parts.linear / parts.attention - 2) < 1e-12)
})

test.run()
