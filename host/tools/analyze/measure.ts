/**
 * This machine as a row of the hardware table: `--hardware this`. Memory is read with one thread, with half of them and with
 * all, and the engine runs a model of a few layers with synthetic weights, part by part, for a moment. It takes less than five
 * seconds, once; the result is remembered.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { configs, describe, type ModelDescription, planModel, type WeightType } from '../../../models/index.ts'
import type { KvCache } from '../../cache/cache.ts'
import { type EngineOptions, type Row, type StepProfile, secondsOf, type Weights } from '../../engine/engine.ts'
import { version } from '../../platform/version.ts'
import { isWorthAgain, type Measurement, measured, recall, remember } from '../../runtime/measurements.ts'
import { openCache } from '../../runtime/open.ts'
import { availableThreads } from '../../runtime/tune.ts'
import { fillSynthetic } from '../bench/synthetic.ts'
import { exactConvention } from './exact.ts'
import { withoutBarriers } from './explain.ts'
import type { Hardware, MeasuredRates } from './hardware.ts'
import { operationsOf } from './operations.ts'
import { walk } from './walk.ts'

/**
 * Large enough not to be held by a processor's caches, small enough to be made in a moment: four layers are 70 MB. Where the
 * last cache holds more, four were read from it, faster than memory can be (measured: 27 GB/s where 20 are read at best), and
 * eight were not.
 */
const PROBE_LAYERS = { few: 4, many: 8, cacheBytes: 2 ** 26 }
const PROBE_VOCABULARY = 2048
/** Tokens in the cache when the sweep is timed. */
const DEPTH = 256
const ROWS = 64
/** Steps of one row. */
const SINGLES = 8
/** Milliseconds for the repetitions of one measurement, of which the fastest counts: a neighbour may be busy. */
const PATIENCE = 200
/** Thread counts that are still to come after so many milliseconds are left out. */
const BUDGET = 3500

const types: readonly WeightType[] = ['q8', 'q4']

export interface MeasureOptions {
  /** Measure, whatever is remembered: keep the better figures of both, or forget the old ones. */
  again?: 'better' | 'anew' | undefined
  /** Told before it is measured. */
  onMeasure?: () => void
}

/**
 * This machine; measured if it was not before, or if others used it then and do not now. A neighbour can only make it
 * slower, so the better of old and new figures are kept.
 */
export async function measureThis({ again, onMeasure }: MeasureOptions = {}): Promise<Hardware> {
  const key = machineKey()
  const old = again === 'anew' ? undefined : await recall('roofline', key, areRates)
  if (old && again === undefined && !isWorthAgain(old)) return asHardware(old)
  onMeasure?.()
  const now = await measured(measureRates)
  const better = old ? betterOf(old, now) : now
  await remember('roofline', key, better)
  return asHardware(better)
}

/** Rate by rate the faster one, with the lesser disturbance. */
export function betterOf(
  old: Measurement<MeasuredRates[]>,
  now: Measurement<MeasuredRates[]>,
): Measurement<MeasuredRates[]> {
  const counts = new Set([...old.value, ...now.value].map(({ threads }) => threads))
  const value = [...counts]
    .sort((a, b) => a - b)
    .map((threads) => {
      const found = [old, now].flatMap((one) => one.value.filter((rates) => rates.threads === threads))
      return found.reduce(fasterRates)
    })
  const [calm] = [now, old].toSorted((a, b) => (a.foreignShare ?? 0) - (b.foreignShare ?? 0))
  return { ...now, value, foreignShare: calm?.foreignShare, load: calm?.load }
}

function fasterRates(a: MeasuredRates, b: MeasuredRates): MeasuredRates {
  const most = <T extends Record<string, number>>(one: T, other: T | undefined) =>
    Object.fromEntries(Object.entries(one).map(([name, n]) => [name, Math.max(n, other?.[name] ?? 0)])) as T
  return {
    threads: a.threads,
    bandwidth: Math.max(a.bandwidth, b.bandwidth),
    barrierSeconds: Math.min(a.barrierSeconds, b.barrierSeconds),
    linear: Object.fromEntries(types.map((type) => [type, most(a.linear[type] ?? noRate, b.linear[type])])),
    sweep: most(a.sweep, b.sweep),
    rest: most(a.rest, b.rest),
  }
}

const noRate = { operations: 0, bytes: 0 }

function machineKey(): string {
  const machine = `${cpus()[0]?.model ?? ''} ${availableThreads()} ${process.version} ${version ?? ''}`
  return createHash('sha256').update(machine).digest('hex').slice(0, 16)
}

/** What a file says may be anything. */
function areRates(value: unknown): value is MeasuredRates[] {
  const isRate = (n: unknown) => typeof n === 'number' && n > 0 && Number.isFinite(n)
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every(
      (rates) =>
        [rates?.threads, rates?.bandwidth, rates?.barrierSeconds].every(isRate) &&
        [rates.sweep?.many, rates.sweep?.one, rates.rest?.many, rates.rest?.one].every(isRate) &&
        types.every((type) => isRate(rates.linear?.[type]?.operations) && isRate(rates.linear?.[type]?.bytes)),
    )
  )
}

async function asHardware({ value: rates, ...measured }: Measurement<MeasuredRates[]>): Promise<Hardware> {
  const most = rates.reduce((best, one) => (one.bandwidth > best.bandwidth ? one : best))
  const source = 'measured on this machine'
  const operations = Math.max(...rates.map(({ linear }) => linear.q8?.operations ?? 0))
  return {
    name: 'this',
    title: await machineTitle(),
    bandwidth: {
      peak: { value: most.bandwidth, source: `${source}: read with ${most.threads} threads` },
      sustained: { value: most.bandwidth, source: `${source}: read with ${most.threads} threads` },
    },
    peak: { INT8: { value: operations, source: `${source}: products of many rows in q8` } },
    onchipBuffer: await lastCache(),
    memory: { value: totalmem(), source: 'what the system tells' },
    rates,
    measured,
  }
}

async function machineTitle(): Promise<string> {
  const board = await readFile('/proc/device-tree/model', 'utf8').catch(() => '')
  return board.replace(/\0/g, '').trim() || cpus()[0]?.model.trim() || 'this machine'
}

/** The largest cache of the first core; 1 MiB where the system does not tell. */
async function lastCache(): Promise<Hardware['onchipBuffer']> {
  for (const index of [3, 2]) {
    const text = await readFile(`/sys/devices/system/cpu/cpu0/cache/index${index}/size`, 'utf8').catch(() => '')
    const kibibytes = Number.parseInt(text, 10)
    if (kibibytes > 0) return { value: kibibytes * 1024, source: 'what the system tells of its last cache' }
  }
  return { value: 2 ** 20, source: 'a guess: the system does not tell of its caches' }
}

async function probeModel(): Promise<ModelDescription> {
  const { few, many, cacheBytes } = PROBE_LAYERS
  const config = configs['gta-1b'] as Record<string, unknown>
  return describe({
    ...config,
    num_hidden_layers: (await lastCache()).value > cacheBytes ? many : few,
    vocab_size: PROBE_VOCABULARY,
    bos_token_id: null,
    eos_token_id: null,
  })
}

/** Thread counts, all of them first: that is the one that counts. */
function threadCounts(): number[] {
  const most = availableThreads()
  return [...new Set([most, Math.ceil(most / 2), 1])]
}

async function measureRates(): Promise<MeasuredRates[]> {
  const end = performance.now() + BUDGET
  const model = await probeModel()
  const found: MeasuredRates[] = []
  const caches = new Map<WeightType, KvCache>()
  try {
    for (const type of types) caches.set(type, await openProbe(model, type))
    const q8 = caches.get('q8') as KvCache
    for (const threads of threadCounts()) {
      if (found.length > 0 && performance.now() > end) break
      const bandwidth = await q8.measure((probe) => probe.measureBandwidth(threads))
      const barrierSeconds = (await q8.measure((probe) => probe.measureBarrier(threads))) || 1e-9
      const parts = new Map<WeightType, PartRates>()
      for (const [type, cache] of caches) parts.set(type, await measureParts(model, type, cache, threads))
      const { sweep, rest } = parts.get('q8') as PartRates
      const linear = Object.fromEntries([...parts].map(([type, measured]) => [type, measured.linear]))
      found.push({ threads, bandwidth, barrierSeconds, linear, sweep, rest })
    }
  } finally {
    for (const cache of caches.values()) await cache.close()
  }
  return found.sort((a, b) => a.threads - b.threads)
}

async function openProbe(model: ModelDescription, type: WeightType): Promise<KvCache> {
  const plan = planModel(model, type)
  const threads = availableThreads()
  const options: EngineOptions = {
    context: DEPTH + ROWS,
    cache: 'int8',
    maxRows: ROWS,
    maxLogits: 1,
    conversations: 1,
    threads,
    batchThreads: threads,
  }
  const load = (weights: Weights) => fillSynthetic(model, plan, weights.write)
  const opened = await openCache({ model, plan, load }, options)
  for (let position = 0; position < DEPTH; position += ROWS) await opened.step(probeRows(position, ROWS))
  return opened
}

function probeRows(position: number, count: number): Row[] {
  return Array.from({ length: count }, (_, i) => ({ conversation: 0, position: position + i, token: i }))
}

interface PartRates {
  linear: { operations: number; bytes: number }
  sweep: { many: number; one: number }
  rest: { many: number; one: number }
}

async function measureParts(
  model: ModelDescription,
  type: WeightType,
  cache: KvCache,
  threads: number,
): Promise<PartRates> {
  const step = (position: number, rows: number) => cache.step(probeRows(position, rows))
  cache.threads = { decode: threads, prefill: threads }
  const fastest = async (position: number, steps: number, rows: number): Promise<StepProfile> => {
    const end = performance.now() + PATIENCE
    let found: StepProfile | undefined
    for (let i = 0; i < 3 || performance.now() < end; i++) {
      await cache.measure((probe) => probe.profile(true))
      for (let row = 0; row < steps; row++) await step(position + row, rows)
      const parts = withoutBarriers((await cache.measure((probe) => probe.profiled())).slice(0, threads))
      // The first one wakes the threads and compiles.
      if (i > 0 && (!found || secondsOf(parts) < secondsOf(found))) found = parts
    }
    await cache.measure((probe) => probe.profile(false))
    return found as StepProfile
  }
  const many = await fastest(DEPTH - ROWS, 1, ROWS)
  const one = await fastest(DEPTH, SINGLES, 1)
  const pairs = (ROWS * (DEPTH - ROWS + 1 + DEPTH)) / 2
  const [workOfMany, workOfOne] = [workOf(model, type, ROWS, pairs), workOf(model, type, 1, DEPTH + 1)]
  // Single rows, each of which sees one token more.
  const sweepOfOne = workOf(model, type, SINGLES, SINGLES * (DEPTH + 1) + (SINGLES * (SINGLES - 1)) / 2).sweep
  return {
    linear: { operations: workOfMany.linear / many.linear, bytes: (SINGLES * workOfOne.weights) / one.linear },
    sweep: { many: workOfMany.sweep / many.attention, one: sweepOfOne / one.attention },
    rest: {
      many: workOfMany.rest / (many.rest + many.valueDecoder),
      one: (SINGLES * workOfOne.rest) / (one.rest + one.valueDecoder),
    },
  }
}

/** Operations of the linear part and the sweep, bytes of weights and of the rest: of `rows` that see `pairs` together. */
function workOf(model: ModelDescription, type: WeightType, rows: number, pairs: number) {
  const formats = { is: 'engine', type, cache: 'int8', rowsPerStep: rows } as const
  const unlimited: Hardware = {
    name: 'unlimited',
    title: '',
    bandwidth: { peak: { value: 1, source: '' } },
    peak: { INT8: { value: 1, source: '' } },
    onchipBuffer: { value: 1, source: '' },
  }
  const convention = exactConvention(unlimited, formats)
  const { operations } = walk(operationsOf(model.spec, planModel(model, type)), convention, {
    stage: 'decode',
    batch: rows,
    seqlen: 0,
  })
  const work = { linear: 0, sweep: 0, weights: 0, rest: 0 }
  for (const { name, part, count, ...traffic } of operations) {
    // No row wants logits.
    if (name === 'lm_head' || name === 'final_norm') continue
    if (part === 'linear') {
      work.linear += count * traffic.operations
      work.weights += count * traffic.weights
    } else if (part === 'attention') work.sweep += (count * traffic.operations * pairs) / rows
    else work.rest += count * traffic.bytes
  }
  return work
}
