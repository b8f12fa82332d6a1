/** Benchmarks: what they count, what they run, what they print, and that a wrong result is no result. No wall times. */
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Comparison, compareRounds, comparisonTable } from '../bench/compare.ts'
import { columnsFor, rowOf } from '../host/cli/bench-table.ts'
import { headLine } from '../host/cli/table.ts'
import { greedy, type Probe, type Row } from '../host/engine/engine.ts'
import { GtaError } from '../host/errors.ts'
import { openCheckpoint } from '../host/files/checkpoint.ts'
import { packTensors } from '../host/files/tensors.ts'
import { openCache } from '../host/runtime/open.ts'
import { bench } from '../host/tools/bench/bench.ts'
import { RemainingTime } from '../host/tools/bench/remaining.ts'
import type { BenchInfo, BenchReport, BenchResult } from '../host/tools/bench/report.ts'
import { runTests, spreadOf, type TimedEngine, type Timing } from '../host/tools/bench/runner.ts'
import { readSensors } from '../host/tools/bench/sensors.ts'
import { type BenchOptions, checkBench, listTests } from '../host/tools/bench/settings.ts'
import { openSubject } from '../host/tools/bench/subject.ts'
import { fillSynthetic } from '../host/tools/bench/synthetic.ts'
import { type BenchTest, workCounter, workloadName } from '../host/tools/bench/workload.ts'
import {
  cacheBytes,
  cost,
  describe,
  nLayers,
  type PackedTensor,
  planModel,
  type WeightType,
  weightBytesPerToken,
  weightTypes,
} from '../models/index.ts'
import {
  type Config,
  failure,
  gqaConfig,
  gtaConfig,
  randomTensors,
  temporary,
  writeCheckpoint,
} from './fixtures/checkpoints.ts'
import { golden, kinds, readJson } from './fixtures/goldens.ts'
import { limit, limitNote } from './harness/limits.ts'

const config = golden('gta/config.json')
const pp: BenchTest = { phase: 'pp', tokens: 8, depth: 0, conversations: 1, threads: 1 }
const tg: BenchTest = { phase: 'tg', tokens: 4, depth: 0, conversations: 1, threads: 1 }

const parts = { rest: 1, linear: 4, attention: 2, valueDecoder: 1, barrier: 2, stream: 0 }
const probe: Probe = {
  profile: async () => undefined,
  profiled: async () => [parts, { ...parts, linear: 2, barrier: 4 }],
  measureBandwidth: async () => 1e9,
  measureBarrier: async () => 1e-6,
}

/** Checks positions as the real engine does; what it computes depends on all rows of a conversation before. */
class FakeEngine implements TimedEngine {
  threads = { decode: 1, prefill: 1 }
  readonly steps: Row[][] = []
  /** Added to all that is computed. */
  drift: (engine: FakeEngine) => number = () => 0
  private readonly rows: number[][] = [[], [], [], []]
  private sampled: number[] = []

  async step(rows: Row[]): Promise<Uint32Array> {
    this.steps.push(rows)
    this.sampled = []
    for (const { conversation, position, token, sampling } of rows) {
      const before = this.rows[conversation] as number[]
      assert.is(position, before.length, `conversation ${conversation} continues`)
      before.push(token)
      if (sampling) this.sampled.push(before.reduce((sum, n) => (sum * 31 + n) % 997, this.drift(this)))
    }
    return Uint32Array.from(this.sampled, (n) => n % 320)
  }
  async logits(k: number): Promise<Float32Array> {
    return Float32Array.of(this.sampled[k] ?? 0)
  }
  rewind(conversation: number, length: number): number {
    this.rows[conversation] = (this.rows[conversation] as number[]).slice(0, length)
    return length
  }
  async measure<T>(work: (probe: Probe) => Promise<T> | T): Promise<T> {
    return work(probe)
  }
}

async function timings(engine: TimedEngine, tests: BenchTest[], repetitions = 2, batch = 4): Promise<Timing[]> {
  const found: Timing[] = []
  for await (const timing of runTests(engine, tests, { vocabSize: 320, repetitions, batch })) found.push(timing)
  return found
}

test('names are those of llama-bench', () => {
  assert.is(workloadName(pp), 'pp8')
  assert.is(workloadName({ ...tg, conversations: 8, depth: 1536 }), 'tg4 x8 @ d1536')
})

test('all combinations, shallow ones first, each with the threads that matter to it', () => {
  const settings = checkBench({ prompt: [8], predict: [4], depth: [70, 0], conversations: [1, 3], threads: [1, 2] })
  const list = (more: Partial<typeof settings>) =>
    listTests({ ...settings, ...more }, { decode: 3, prefill: 4 }).map((t) => `${workloadName(t)}/${t.threads}`)
  assert.equal(list({ batchThreads: [2], depth: [70, 0] }), [
    ...['pp8/2', 'tg4/1', 'tg4/2', 'tg4 x3/2'],
    ...['pp8 @ d70/2', 'tg4 @ d70/1', 'tg4 @ d70/2', 'tg4 x3 @ d70/2'],
  ])
  assert.equal(list({ depth: [0], predict: [0] }), ['pp8/1', 'pp8/2'], 'as many for prompts as for tokens')
  assert.equal(list({ depth: [0], threads: undefined }), ['pp8/4', 'tg4/3', 'tg4 x3/4'], "the engine's choice")
})

test('a depth is read once and kept between repetitions', async () => {
  const engine = new FakeEngine()
  const tests = [pp, tg, { ...tg, conversations: 2 }].flatMap((t) => [t, { ...t, depth: 10 }])
  const found = await timings(
    engine,
    tests.toSorted((a, b) => a.depth - b.depth),
  )
  assert.is(found.length, 6)
  assert.ok(found.every(({ problems }) => problems.length === 0))
  const filling = engine.steps.filter((rows) => rows.every(({ position, sampling }) => position < 10 && !sampling))
  // Prompts have slices without logits too: each of 3 runs of pp8 one.
  const slices = filling.length - 3
  assert.is(slices, 6, 'two conversations of 10 positions in slices of 4, 4 and 2')
  assert.ok(engine.steps.every((rows) => rows.length <= 4))
  const timed = engine.steps.filter((rows) => rows.length === 2 && rows.every(({ sampling }) => sampling))
  assert.is(timed.length, 2 * 4 * (1 + 2), 'a warm-up and two repetitions, at both depths')
})

test('speed, parts and hash of a test', async () => {
  const [one, two] = await timings(new FakeEngine(), [{ ...tg, conversations: 2, threads: 2 }, pp], 3)
  assert.is(one?.test, 'tg4 x2')
  const { median, min, max, values } = (one as Timing).tokensPerSecond
  assert.is(values.length, 3)
  assert.ok(min <= median && median <= max && values.includes(median))
  assert.equal(one?.parts, { rest: 1, linear: 3, attention: 2, valueDecoder: 1, barrier: 3, stream: 0 })
  assert.is(one?.barrierShare, 0.3)
  assert.equal(
    two?.parts,
    { rest: 1, linear: 4, attention: 2, valueDecoder: 1, barrier: 2, stream: 0 },
    'of one thread',
  )
  assert.match(one?.hash ?? '', /^[0-9a-f]{16}$/)
  assert.is.not(one?.hash, two?.hash)
})

test('a prompt and tokens behind it are one test', async () => {
  const engine = new FakeEngine()
  const pg: BenchTest = { phase: 'pg', tokens: 12, prompt: 8, depth: 0, conversations: 1, threads: 1 }
  const [found] = await timings(engine, [pg, { ...pg, depth: 10 }])
  assert.is(found?.test, 'pp8+tg4')
  assert.is(workloadName({ ...pg, depth: 10 }), 'pp8+tg4 @ d10')
  const one = engine.steps.slice(0, 6).map((rows) => rows.map(({ position }) => position))
  assert.equal(one, [[0, 1, 2, 3], [4, 5, 6, 7], [8], [9], [10], [11]])
  const model = describe(readJson(config))
  const workOf = workCounter(model, planModel(model, 'q8'), 'int8', 4)
  const [read, told] = [workOf({ ...pp, depth: 3 }), workOf({ ...tg, depth: 11 })]
  assert.equal(workOf({ ...pg, depth: 3 }), { macs: read.macs + told.macs, bytes: read.bytes + told.bytes })
})

test('a standard deviation is that of the sample', () => {
  assert.is(spreadOf([2, 4, 4, 4, 5, 5, 7, 9]).deviation, Math.sqrt(32 / 7))
  assert.is(spreadOf([3]).deviation, 0)
})

test('the time that is left: a guess by work, then by what was seen', () => {
  const work = { pp: { macs: 5e9, bytes: 1 }, tg: { macs: 1, bytes: 3e9 }, pg: { macs: 0, bytes: 0 } }
  const info = { repetitions: 4, bandwidth: [{ threads: 1, bytesPerSecond: 1e9, barrierSeconds: 1e-6 }] }
  const tests = [pp, tg, { ...tg, tokens: 5 }]
  const remaining = new RemainingTime(tests, ({ phase }) => work[phase], info)
  const start = { label: 'pp8', done: 0, total: 5 }
  // 10 G operations at 10 G a second, 3 GB at 1 GB a second; a warm-up and four repetitions of each.
  assert.ok(Math.abs(remaining.seconds(0, start) - 5 * (1 + 3 + 3)) < 1)
  const filling = { label: 'filling 10 positions of conversation 0', done: 9, total: 10 }
  assert.ok(remaining.seconds(0, filling) > 30, 'reading what is before a test is none of its repetitions')
  // The first one takes no time at all here: what is behind it is scaled as it was.
  remaining.finish(1)
  assert.ok(remaining.seconds(1, { ...start, label: 'tg4' }) < 1)
  assert.is(remaining.seconds(3, start), 0)
})

test('the table fits a terminal of 100 columns, whatever names are in it', () => {
  const names = ['tg4', 'pp65536+tg128 @ d65536']
  const info = { model: 'a/model-with-a-very-long-name-indeed.gta', parameters: 1.128e9, weightType: 'q8' } as BenchInfo
  const spread = { median: 1234.5, min: 1, max: 2000, values: [], deviation: 123.4 }
  const common = { threads: 16, tokensPerSecond: spread, bytesPerSecond: 12.3e9, bandwidthShare: 1.04, problems: [] }
  const result = { ...common, test: names[1], sensors: {}, foreignShare: 0.97 } as unknown as BenchResult
  const columns = columnsFor(names, true)
  const line = rowOf(columns, result, info).trimEnd()
  assert.ok(line.length <= 100, `${line.length}: ${line}`)
  assert.is(headLine(columns).split('\n')[0]?.length, line.length)
  assert.match(
    line,
    /^\| mod\S*… \| +1\.13 B \| q8 +\| +16 \| pp65536\+tg128 @ d65536 \| +1235 ± 123 \|.*busy 97 % \|$/,
  )
  assert.ok(columnsFor(names, false).length > 15)
})

test('a signal ends it with what was done, where that is asked for', async () => {
  const controller = new AbortController()
  const options = { ...small, config, signal: controller.signal, onResult: () => controller.abort(new Error('enough')) }
  const report = await bench({ ...options, keepsUnfinished: true })
  assert.equal([report.results.length, report.isComplete, report.isGood], [1, false, true])
  assert.is((await failure(bench(options))).message, 'enough')
})

test('a result that differs between repetitions is marked', async () => {
  const engine = new FakeEngine()
  engine.drift = ({ steps }) => (steps.length > 8 ? 1 : 0)
  const [bad] = await timings(engine, [tg])
  assert.is(bad?.problems.length, 1)
  assert.match(bad?.problems[0] ?? '', /same in every repetition, found [0-9a-f]{16}, [0-9a-f]{16}$/)
})

test('one repetition is compared with its warm-up', async () => {
  const engine = new FakeEngine()
  engine.drift = ({ steps }) => (steps.length > 4 ? 1 : 0)
  const [bad] = await timings(engine, [tg], 1)
  assert.match(bad?.problems[0] ?? '', 'same in every repetition')
})

test('a result that differs between thread counts is marked, and so is the one that it differs from', async () => {
  const engine = new FakeEngine()
  engine.drift = ({ threads }) => threads.decode
  const found = await timings(engine, [tg, { ...tg, threads: 2 }])
  assert.match(found[0]?.problems.join() ?? '', 'must be that of 2 threads')
  assert.match(found[1]?.problems.join() ?? '', 'must be that of 1 thread,')
})

test('multiply-adds and bytes are those of the model', () => {
  const model = describe(readJson(config))
  const plan = planModel(model, 'q8')
  const { spec } = model
  const counted = cost(model)
  const linear = nLayers(spec) * (counted.attentionLinearMacs + counted.ffnMacs)
  const pair = nLayers(spec) * counted.attentionPairMacs
  const kv = (positions: number) => {
    const { elements, scales } = cacheBytes(spec, 'int8', positions)
    return elements + scales
  }
  const weights = weightBytesPerToken(plan, spec)
  const workOf = workCounter(model, plan, 'int8', 4)
  assert.equal(workOf({ ...tg, tokens: 1 }), { macs: linear + counted.headMacs + pair, bytes: weights + kv(1) })
  assert.equal(workOf({ ...tg, tokens: 2, depth: 10, conversations: 3 }), {
    macs: 3 * (2 * (linear + counted.headMacs) + pair * (11 + 12)),
    bytes: 2 * weights + 3 * kv(11 + 12),
  })
  const head = plan.tensors
    .filter(({ name }) => /^embed(\.scale)?$/.test(name))
    .reduce((sum, { bytes }) => sum + bytes, 0)
  assert.equal(workOf({ ...pp, tokens: 6 }), {
    macs: 6 * linear + pair * (1 + 2 + 3 + 4 + 5 + 6) + counted.headMacs,
    bytes: 2 * (weights - head) + head + kv(4) + kv(6),
  })
})

/** Packed bytes of a config: from a checkpoint, and synthetic. */
async function packBoth(values: Config, type: WeightType) {
  const { checkpoint, plan } = await openCheckpoint(writeCheckpoint(values, randomTensors(values)), type)
  const [real, synthetic] = [new Uint8Array(plan.bytes), new Uint8Array(plan.bytes).fill(255)]
  await packTensors(checkpoint, plan, (offset, bytes) => real.set(bytes, offset))
  await checkpoint.close()
  await fillSynthetic(checkpoint.model, plan, (offset, bytes) => synthetic.set(bytes, offset))
  return { plan, real, synthetic }
}

/** Where a packed tensor has no numbers: the places that two checkpoints with other numbers leave alike. */
function paddingOf({ content, bytes, shape }: PackedTensor): number[] {
  const all = Array.from({ length: bytes }, (_, i) => i)
  if (content.is === 'plan' || content.is === 'invFreq') return all
  if (content.is !== 'matrix' || content.type === 'q4') return []
  const width = content.cols * (content.type === 'f32' ? 4 : 1)
  const stride = (shape[1] as number) * (content.type === 'f32' ? 4 : 1)
  return all.filter((i) => i % stride >= width)
}

test('synthetic weights have the form of converted ones, in widths that need padding', async () => {
  for (const values of [gqaConfig, gtaConfig])
    for (const type of weightTypes) {
      const { plan, real, synthetic } = await packBoth(values, type)
      for (const tensor of plan.tensors) {
        const name = `${type} ${tensor.name}`
        const bytes = synthetic.subarray(tensor.offset, tensor.offset + tensor.bytes)
        for (const i of paddingOf(tensor)) assert.is(bytes[i], real[tensor.offset + i], `${name} byte ${i}`)
        const { content } = tensor
        if (content.is === 'matrix' && content.type === 'q8') {
          assert.ok(
            bytes.every((byte) => byte >= 1 && byte <= 127),
            name,
          )
        } else if (content.is === 'matrix' && content.type === 'q4') {
          checkBlocks(name, tensor, bytes)
        } else if (content.is !== 'plan' && content.is !== 'invFreq') {
          const floats = new Float32Array(bytes.slice().buffer)
          assert.ok(
            floats.every((value) => Number.isFinite(value) && Math.abs(value) < 2),
            name,
          )
        }
      }
    }
})

/** q4 as models/plan.ts draws it: weights outside the matrix must count for nothing. */
function checkBlocks(name: string, { content, shape: [, stride = 0] }: PackedTensor, bytes: Uint8Array): void {
  if (content.is !== 'matrix') return
  for (let at = 0; at < bytes.length; at += 144) {
    const [firstRow, firstColumn] = [8 * Math.floor(at / stride), ((at % stride) / 144) * 32]
    for (let r = 0; r < 8; r++) {
      const scale = ((bytes[at + 128 + 2 * r + 1] as number) << 8) | (bytes[at + 128 + 2 * r] as number)
      assert.is(scale > 0, firstRow + r < content.rows, `${name} scale of row ${firstRow + r}`)
      for (let c = 0; c < 32 && scale > 0; c++) {
        const byte = bytes[at + (c >> 2) * 16 + (r & 3) * 4 + (c & 3)] as number
        const weight = (r < 4 ? byte & 15 : byte >> 4) - 8
        if (firstColumn + c >= content.cols)
          assert.is(weight, 0, `${name} row ${firstRow + r} column ${firstColumn + c}`)
      }
    }
  }
}

test('synthetic weights are the same each time, and not the same everywhere', async () => {
  const model = describe(readJson(config))
  const plan = planModel(model, 'q8')
  const [a, b] = [new Uint8Array(plan.bytes), new Uint8Array(plan.bytes)]
  for (const target of [a, b]) await fillSynthetic(model, plan, (offset, bytes) => target.set(bytes, offset))
  assert.equal(a, b)
  const matrices = plan.tensors.filter(({ content }) => content.is === 'matrix')
  const starts = matrices.map(({ offset }) => a.subarray(offset, offset + 32).join())
  assert.is(new Set(starts).size, matrices.length)
})

test('every kind runs with synthetic weights, beyond the context of its config, and its logits are of order 1', async () => {
  for (const kind of kinds)
    for (const type of kind === 'gta' || kind === 'mla' ? weightTypes : (['q4'] as const)) {
      const settings = checkBench({ config: golden(`${kind}/config.json`), type })
      const subject = await openSubject(settings, 5000)
      assert.is(subject.model.spec.maxContext, 5000)
      const options = { context: 5000, cache: 'int8', maxRows: 8, maxLogits: 1, conversations: 1, threads: 1 } as const
      const engine = await openCache(subject, options)
      const rows = Array.from({ length: 8 }, (_, position) => ({ conversation: 0, position, token: 7 * position + 1 }))
      await engine.step(rows.map((row, i) => (i === 7 ? { ...row, sampling: greedy } : row)))
      const logits = await engine.logits(0)
      const spread = Math.sqrt(logits.reduce((sum, value) => sum + value * value, 0) / logits.length)
      assert.ok(spread > 0.2 && spread < 5, `${kind} ${type}: logits of ${spread}`)
      await engine.close()
    }
})

const small: BenchOptions = {
  prompt: [8],
  predict: [4],
  depth: [0, 70],
  conversations: [1, 3],
  threads: [1],
  repetitions: 2,
}

test('bench() reports a model with its own weights', async () => {
  const told: string[] = []
  const report = await bench({
    ...small,
    model: golden('gta'),
    threads: [1, 2],
    batchThreads: [2],
    onOpen: ({ model }) => told.push(model),
    onResult: (result) => told.push(result.test),
  })
  const { version } = readJson(fileURLToPath(new URL('../package.json', import.meta.url)))
  assert.equal([report.schema, [null, version].includes(report.version)], ['gta-bench/1', true])
  assert.ok(report.isGood && report.isComplete && report.parameters > 1e4)
  assert.equal([report.model, report.isSynthetic, report.kind], [golden('gta'), false, 'gta'])
  assert.equal([report.weightType, report.cacheType, report.context, report.batch], ['q8', 'int8', 78, 64])
  assert.ok(report.loadSeconds > 0 && report.peakRssBytes > 1e6 && report.weightBytes > 1e5)
  assert.ok(report.environment.cores > 0 && report.environment.node === process.version)
  assert.equal(
    report.bandwidth.map(({ threads }) => threads),
    [2, 1],
  )
  assert.ok(report.bandwidth.every(({ barrierSeconds }) => barrierSeconds > 0 && barrierSeconds < 1))
  assert.equal(told, [golden('gta'), ...report.results.map((result) => result.test)])
  assert.equal(
    report.results.map((result) => `${result.test}/${result.threads}`),
    ['pp8/2', 'tg4/1', 'tg4/2', 'tg4 x3/2', 'pp8 @ d70/2', 'tg4 @ d70/1', 'tg4 @ d70/2', 'tg4 x3 @ d70/2'],
  )
  for (const result of report.results) {
    assert.ok(result.bytesPerSecond > 0 && result.bandwidthShare > 0 && result.operationsPerSecond > 0)
    assert.is(result.tokensPerSecond.values.length, 2)
    // Of the timed repetitions: no more than they took, but for what clocks round.
    const [parts, most] = [
      Object.values(result.parts),
      (result.tokens * result.conversations) / result.tokensPerSecond.min,
    ]
    const total = parts.reduce((sum, seconds) => sum + seconds, 0)
    assert.ok(total > 0 && total < 1.05 * most, `${result.test}: ${total} of ${most}`)
    assert.ok(result.parts.linear > 0 && result.parts.attention > 0 && result.barrierShare >= 0)
    if (result.threads === 1) assert.is(result.parts.barrier, 0)
  }
  const hashOf = (name: string) => report.results.filter((result) => result.test === name).map(({ hash }) => hash)
  assert.is(new Set(hashOf('tg4')).size, 1)
  assert.is.not(hashOf('tg4')[0], hashOf('tg4 @ d70')[0])
})

async function refuses(options: object, ...words: string[]): Promise<void> {
  try {
    await bench(options as BenchOptions)
  } catch (error) {
    assert.instance(error, GtaError)
    for (const word of words) assert.match((error as GtaError).message, word)
    return
  }
  assert.unreachable(JSON.stringify(options))
}

test('what cannot be measured is refused with what to do', async () => {
  await refuses({ ...small, depths: [1] }, 'an option of bench()', 'depths')
  await refuses({ ...small, model: golden('gta'), config }, 'config', 'absent where a model is given')
  await refuses({ ...small, prompt: [0], predict: [0] }, 'nothing to measure')
  await refuses({ ...small, prompt: [] }, '-p', 'a list of numbers')
  await refuses({ ...small, predict: [1.5] }, '-n', '1.5')
  await refuses({ ...small, promptPredict: [[8]] }, '-pg', '512,128')
  await refuses({ ...small, depth: [0, 0] }, '-d', 'different')
  await refuses({ ...small, conversations: [0] }, '-np', 'from 1')
  await refuses({ ...small, threads: [65] }, '-t', '64')
  await refuses({ ...small, repetitions: 0 }, '-r')
  await refuses({ ...small, batch: 5000 }, '-b', '4096')
  await refuses({ ...small, config, type: 'q5' }, 'type', 'q5')
  await refuses({ ...small, model: golden('gta'), depth: [121] }, 'at most 128 together', '--config', '129')
  await refuses({ ...small, config, depth: [2 ** 27], conversations: [64] }, '64 × 134217736 tokens', 'smaller -p')
  await refuses({ ...small, model: 'missing.gta' }, 'missing.gta')
})

const command = fileURLToPath(new URL('../dist/gta.mjs', import.meta.url))
const folder = temporary()

const run = (...args: string[]) => runNode([command, 'bench', ...args])

function runNode(args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  // Threads that are measured here are nothing to remember.
  const options = { cwd: folder, timeout: limit(300), env: { ...process.env, XDG_CACHE_HOME: folder } }
  return new Promise((resolve) => {
    execFile(process.execPath, args, options, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr: stderr + limitNote(error, 300) }),
    )
  })
}

const quick = ['--config', config, '-p', '8', '-n', '4', '-d', '0,70', '-np', '1,3', '-r', '2', '-t', '1', '-tb', '2']
const names = ['pp8', 'tg4', 'tg4 x3', 'pp8 @ d70', 'tg4 @ d70', 'tg4 x3 @ d70']

/** Fields of a line of CSV: commas between quotes do not count. */
const fieldsOf = (line: string) => line.split(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/)

test('gta bench: four outputs of the same figures', async () => {
  const [json, alias, jsonl, csv, md] = await Promise.all([
    run(...quick, '-o', 'json'),
    run(...quick, '--json', '--type', 'q4'),
    run(...quick, '-o', 'jsonl', '-b', '3'),
    run(...quick, '--output=csv', '--cache', 'f32'),
    run('--config', config, '-p', '8', '-n', '4', '-r', '1'),
  ])
  for (const { code, stderr } of [json, alias, jsonl, csv, md]) assert.equal([code, stderr], [0, ''])
  const report = JSON.parse(json.stdout) as BenchReport
  assert.equal(
    report.results.map((result) => result.test),
    names,
  )
  assert.equal(
    report.results.map(({ threads }) => threads),
    [2, 1, 2, 2, 1, 2],
  )
  assert.is(report.environment.version, readJson(fileURLToPath(new URL('../package.json', import.meta.url))).version)
  assert.is(JSON.parse(alias.stdout).weightType, 'q4')

  const lines = jsonl.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(
    lines.map((line) => line.test),
    names,
  )
  for (const [i, line] of lines.entries()) {
    assert.equal([line.schema, line.batch, line.environment.node], ['gta-bench/1', 3, process.version])
    assert.is(line.hash, report.results[i]?.hash, 'slices of 3 tokens give what slices of 64 give')
  }

  const [head = '', ...rows] = csv.stdout.trimEnd().split('\n')
  const columns = fieldsOf(head)
  assert.is(rows.length, names.length)
  for (const row of rows) assert.is(fieldsOf(row).length, columns.length, row)
  const column = (name: string) => rows.map((row) => fieldsOf(row)[columns.indexOf(name)])
  assert.equal(column('test'), names)
  assert.equal(new Set(column('cache')), new Set(['f32']))
  assert.ok(column('tok_s_median').every((text) => Number(text) > 0))

  const table = md.stdout.split('\n').filter((line) => line.startsWith('|'))
  assert.is(table.length, 4, md.stdout)
  assert.is(new Set(table.map((line) => line.length)).size, 1, md.stdout)
  assert.match(table[2] ?? '', /^\| gta +\| +0\.11 M \| +0\.1 MB \| q8 +\| int8 +\| +\d+ \| pp8 +\| +[\d.]+ ± 0\.00 \|/)
  assert.match(md.stdout, /^- load [\d.]+ when it began, /m)
  assert.match(md.stdout, /^- machine: /)
  assert.match(md.stdout, 'throttling')
})

test('gta bench: several models, one table, one list, one database', async () => {
  const other = golden('gqa/config.json')
  const both = ['--config', config, '--config', other, '-p', '0', '-n', '2', '-pg', '8,4', '-r', '2', '-t', '1']
  const [md, json, sql] = await Promise.all([run(...both), run(...both, '--json'), run(...both, '-o', 'sql')])
  for (const { code, stderr } of [md, json, sql]) assert.equal([code, stderr], [0, ''])
  const rows = md.stdout.split('\n').filter((line) => line.startsWith('|'))
  assert.equal(
    rows
      .slice(2)
      .map((line) => line.split('|').map((cell) => cell.trim()))
      .map((cells) => [cells[1], cells[7]]),
    [['gta', 'tg2'], ['gta', 'pp8+tg4'], ['gqa', 'tg2'], ['gqa', 'pp8+tg4']], // biome-ignore format: a table
  )
  assert.is(md.stdout.match(/^- model: /gm)?.length, 2)
  const { schema, version, reports } = JSON.parse(json.stdout)
  assert.equal([schema, typeof version, reports.length], ['gta-benches/1', 'string', 2])
  const database = new DatabaseSync(':memory:')
  database.exec(sql.stdout)
  const found = database.prepare('SELECT kind, test, tokens, prompt, tok_s_median, hash FROM gta_bench').all()
  assert.equal(
    found.map(({ kind, test, tokens, prompt, hash }) => [kind, test, tokens, prompt, hash]),
    reports.flatMap(({ kind, results }: BenchReport) =>
      results.map(({ test, tokens, prompt, hash }) => [kind, test, tokens, prompt ?? null, hash]),
    ),
  )
  assert.ok(found.every(({ tok_s_median: speed }) => (speed as number) > 0))
})

test('gta bench: Ctrl-C keeps what was done', async () => {
  // A signal comes when the first row is there; the second test takes very long.
  const args = ['--config', config, '-p', '8', '-n', '100000', '-r', '1', '-t', '1']
  const child = spawn(process.execPath, [command, 'bench', ...args], {
    env: { ...process.env, XDG_CACHE_HOME: folder },
  })
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
    if (!child.killed && /^\| gta .*\| pp8 /m.test(output)) child.kill('SIGINT')
  })
  const code = new Promise((resolve) => child.on('close', resolve))
  assert.is(await code, 130)
  assert.not.match(output, '| tg100000')
  assert.match(output, '- peak memory of the process')
  assert.match(output, '- stopped: 1 of 2 tests')
})

test('gta bench: results that differ are shown, and end with exit code 1', async () => {
  // No two hashes are alike: as if each repetition had computed something else.
  const broken = join(folder, 'broken-hash.mjs')
  writeFileSync(
    broken,
    `import crypto from 'node:crypto'
    import { syncBuiltinESMExports } from 'node:module'
    const { createHash } = crypto
    let count = 0
    crypto.createHash = (name) => createHash(name).update(String(count++))
    syncBuiltinESMExports()`,
  )
  const args = ['--import', broken, command, 'bench', '--config', config, '-p', '0', '-n', '4', '-r', '2', '-t', '1,2']
  const [md, json] = await Promise.all([runNode(args), runNode([...args, '--json'])])
  for (const { code, stderr } of [md, json]) {
    assert.is(code, 1)
    // As lines, or as messages in JSON.
    assert.match(stderr, /(?:gta: |"message":")tg4 with 1 thread: hash must be the same in every repetition/)
    assert.match(stderr, 'tg4 with 2 threads: hash')
  }
  assert.is(md.stdout.match(/ DIFFERS /g)?.length, 2)
  const report = JSON.parse(json.stdout) as BenchReport
  assert.is(report.isGood, false)
  assert.ok(report.results.every(({ problems }) => problems.length === 2))
})

test('gta bench: wrong usage ends with exit code 2, and says what is wrong in one line', async () => {
  const cases: [string[], string][] = [
    [['-p', '8,x'], '--n-prompt'],
    [['-p', '8', '-p', '8'], 'name 8 once'],
    [['-n', '-1'], '--n-gen'],
    [['-np=1,,2'], '--parallel'],
    [['-tb', '65'], '--threads-batch'],
    [['-r', '0'], '--repetitions'],
    [['-o', 'xml'], '--output'],
    [['-o', 'md', '--json'], '--json'],
    [['-p', '0', '-n', '0'], 'nothing to measure'],
    [['-c', '100'], '-c'],
    [['--config', config], 'once'],
    [['-pg', '8'], '--pg'],
    [['-pg', '0,4'], '512,128'],
  ]
  const results = await Promise.all(cases.map(([args]) => run('--config', config, ...args)))
  for (const [i, { code, stdout, stderr }] of results.entries()) {
    const [args, word] = cases[i] as (typeof cases)[number]
    assert.equal([code, stdout], [2, ''], `${args.join(' ')}: ${stderr}`)
    assert.match(stderr, args.includes('--json') ? /^\{"schema":"gta-error\/1"[^\n]+\n$/ : /^gta: [^\n]+\n$/)
    assert.match(stderr, word)
  }
  const missing = await run('--config', 'missing.json')
  assert.equal([missing.code, missing.stdout], [1, ''])
  assert.match(missing.stderr, 'missing.json')
})

test('temperature and throttling, where a system tells; elsewhere unknown and not zero', async () => {
  const fake = (files: Record<string, string>) => {
    const root = temporary()
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true })
      writeFileSync(join(root, name), `${text}\n`)
    }
    return readSensors(root)
  }
  assert.equal(JSON.stringify(await fake({})), '{}')
  assert.equal(
    await fake({
      'class/thermal/thermal_zone0/type': 'battery',
      'class/thermal/thermal_zone0/temp': '20000',
      'class/thermal/thermal_zone1/type': 'cpu-thermal',
      'class/thermal/thermal_zone1/temp': '84650',
      'devices/platform/soc/soc:firmware/get_throttled': '50008',
    }),
    {
      temperature: 84.65,
      throttled: ['soft temperature limit'],
      throttledSinceStart: ['under-voltage', 'throttled'],
    },
  )
  const quiet = await fake({ 'devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled': '0' })
  assert.equal([quiet.throttled, quiet.throttledSinceStart], [[], []])
  const alarm = await fake({ 'class/hwmon/hwmon1/name': 'rpi_volt', 'class/hwmon/hwmon1/in0_lcrit_alarm': '1' })
  assert.equal([alarm.throttled, alarm.throttledSinceStart], [undefined, ['under-voltage']])
})

test('bench:compare: ratios within rounds, and hashes of all runs', () => {
  const report = (speed: number, hash: string) =>
    ({
      results: [{ test: 'tg4', threads: 1, tokensPerSecond: { median: speed }, hash }],
      loadSeconds: 1,
      peakRssBytes: 2e8,
    }) as unknown as BenchReport
  // The machine was slow in the second round, and the ratio was the same.
  const speeds = [
    [10, 12],
    [5, 6],
    [10, 11],
  ] as const
  const rounds = (hash: string) =>
    speeds.map(([before, after]) => [report(before, 'aa'), report(after, hash)] as [BenchReport, BenchReport])
  const [speed, load] = compareRounds(rounds('aa')) as [Comparison, Comparison]
  assert.equal([speed.name, speed.ratio, speed.isSame], ['tg4, 1 thread: tok/s', 1.2, true])
  assert.equal([load.ratio, load.isSame], [1, undefined])
  const table = comparisonTable('main', 'working tree', compareRounds(rounds('bb')))
  assert.match(table, /\| tg4, 1 thread: tok\/s \| 10.0 \(5.00 … 10.0\) \| 11.0 \(6.00 … 12.0\) \| 1.200 \| DIFFERS \|/)
})

test.run()
