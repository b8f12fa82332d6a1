/**
 * The exact cost convention: what has to be computed and moved, causal, for every kind of attention, none of the defects of
 * SPEC §8 (the letters below). Two ways to say how wide numbers are:
 *
 *     engine formats   bytes as the plan lays them out: scales, padding of rows, f32 activations; prompts in slices of
 *                      `rowsPerStep` tokens, weights read once per slice, the cache anew for each token. Sums equal
 *                      cost(), and what a counting build of the engine counts (test/counted.test.ts).
 *     plain widths     bits of weights, activations and cache, for other engines and devices; a prompt is one slice.
 *
 * Decode sees `seqlen` tokens in the cache and itself.
 */
import { MOST_TILE_ROWS, TILE_QUERIES } from '../../../assembly/abi.ts'
import { type CacheType, PAGE_TOKENS, pairsSeen, type WeightType, windowOf } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import { toolErrors } from '../errors.ts'
import type { Hardware, MeasuredRates, NumberFormat } from './hardware.ts'
import type { Widths } from './llm-viewer.ts'
import type { MatrixWork, Operation, SweepWork } from './operation.ts'
import { type Convention, noTraffic, type Pass, type Traffic } from './walk.ts'

/** How wide numbers are. */
export type Formats =
  | { is: 'engine'; type: WeightType; cache: CacheType; rowsPerStep: number }
  | { is: 'plain'; widths: Widths }

/** Tokens of a prompt that the engine reads at once, unless it is told otherwise. */
export const enginePrompt = 64

/** Bits that a number takes, as the engine computes with it: without scales. */
export function widthsOf(formats: Formats): Widths {
  if (formats.is === 'plain') return formats.widths
  const weights = { f32: 32, q8: 8, q4: 4 }[formats.type]
  return { weights, activations: 32, cache: formats.cache === 'f32' ? 32 : 8 }
}

export interface ExactOptions {
  bandwidth?: 'peak' | 'sustained'
  /** Threads of a measured machine; default: the most that were measured. */
  threads?: number
}

/** Throws BAD_OPTION where the device cannot compute with such numbers. */
export function exactConvention(
  hardware: Hardware,
  formats: Formats,
  { bandwidth: kind = 'sustained', threads }: ExactOptions = {},
): Convention {
  const { peak, sustained } = hardware.bandwidth
  const bandwidth = (kind === 'sustained' ? (sustained ?? peak) : peak).value
  const rates = formats.is === 'engine' && kind === 'sustained' ? ratesFor(hardware, threads) : undefined
  const peaks = rates ? undefined : peaksOf(hardware, formats)
  return {
    mode: 'exact',
    order: (operations) => operations,
    count: (operation, pass) => count(formats, hardware, operation, pass),
    limits: (operation, pass) => {
      const reuse = formats.is === 'engine' ? cacheReuse(operation, pass, formats, hardware) : 1
      if (rates && formats.is === 'engine') return measuredLimits(rates, formats, operation, pass, reuse)
      return { peak: peaks?.[peakOf(operation)] ?? Number.POSITIVE_INFINITY, bandwidth: bandwidth * reuse }
    },
  }
}

function peakOf({ work }: Operation): 'matrix' | 'sweep' | 'rest' {
  return work.is === 'matrix' ? 'matrix' : work.is === 'elementwise' || work.is === 'state' ? 'rest' : 'sweep'
}

/**
 * Arithmetic by the wider operand. The engine quantises activations before every product, so q8 and q4 weights meet
 * int8. (m) A device without arithmetic so narrow takes the next wider one.
 */
function peaksOf(hardware: Hardware, formats: Formats): Record<'matrix' | 'sweep' | 'rest', number> {
  const { weights, activations, cache } = widthsOf(formats)
  const narrow = formats.is === 'engine' ? 8 : activations
  const of = (bits: number): number => {
    const wanted: NumberFormat[] = bits <= 8 ? ['INT8', 'FP16', 'FP32'] : bits <= 16 ? ['FP16', 'FP32'] : ['FP32']
    const found = wanted.map((format) => hardware.peak[format]?.value).find((value) => value !== undefined)
    if (found === undefined) throw toolErrors.noPeak(hardware.name, wanted[0] as string, Object.keys(hardware.peak))
    return found
  }
  const elementwise = hardware.peak.FP32 ?? hardware.peak.FP16 ?? hardware.peak.INT8
  return {
    matrix: of(Math.max(weights, narrow)),
    sweep: of(Math.max(cache, formats.is === 'engine' && formats.cache === 'f32' ? 32 : narrow)),
    // Bound by memory everywhere: the format hardly matters.
    rest: elementwise?.value ?? Number.POSITIVE_INFINITY,
  }
}

function ratesFor({ name, rates }: Hardware, threads: number | undefined): MeasuredRates | undefined {
  if (threads === undefined) return rates?.at(-1)
  const found = rates?.find((candidate) => candidate.threads === threads)
  if (found) return found
  const measured = rates?.map((candidate) => candidate.threads).join(', ')
  throw errors.badOption(
    '--threads',
    rates ? `one of ${measured}, which were measured` : `left out for ${name}: its figures are for the whole device`,
    threads,
  )
}

/**
 * The engine's rows of a slice sweep a layer's cache a tile after the other (assembly/mixers/sweep.ts), page by page. Of that the
 * pages that fit on the chip come from memory once per slice, all others once per tile: so many times faster than memory is the
 * cache read. The chip is taken to keep what it has; one that forgets the oldest first keeps less, cores that sweep side by side share more.
 */
function cacheReuse(
  { work }: Operation,
  { stage, seqlen }: Pass,
  { cache, rowsPerStep }: Extract<Formats, { is: 'engine' }>,
  hardware: Hardware,
): number {
  // A state that fits stays on the chip while the rows of a slice take it on.
  if (work.is === 'state' && stage === 'prefill')
    return 4 * work.numbers <= hardware.onchipBuffer.value ? Math.min(rowsPerStep, seqlen) : 1
  if (work.is !== 'fused' || stage === 'decode') return 1
  const rowBytes = cache === 'int8' ? work.rowElements + 4 * work.rowHeads : 4 * work.rowElements
  const kept = PAGE_TOKENS * Math.floor(hardware.onchipBuffer.value / (PAGE_TOKENS * rowBytes))
  const window = windowOf(work.layer) ?? Number.POSITIVE_INFINITY
  const perHead = Math.max(1, Math.floor(work.maps / (work.valueElements / work.valueDim)))
  const tile = Math.min(Math.max(1, Math.floor(TILE_QUERIES / perHead)), MOST_TILE_ROWS)
  return pairsSeen(work.layer, 0, seqlen) / rowsFromMemory(seqlen, { rowsPerStep, window, kept, tile })
}

/** Rows of the cache that memory gives for one prompt of so many tokens, when `kept` of them stay on the chip. */
function rowsFromMemory(
  seqlen: number,
  { rowsPerStep, window, kept, tile }: { rowsPerStep: number; window: number; kept: number; tile: number },
): number {
  // Prompts shorter than a slice share one, each with rows of its own.
  const rows = Math.min(rowsPerStep, seqlen)
  const whole = Math.floor(seqlen / rows)
  const tilesBehindFirst = (count: number) => Math.ceil(count / tile) - 1
  /** By a slice of `count` rows that ends at `end`: once, and again by every tile but the first what is not kept. */
  const slice = (count: number, end: number) =>
    Math.min(end, window + count - 1) + tilesBehindFirst(count) * Math.max(0, Math.min(end, window) - kept)
  // Slices grow until the window is full, then all are alike; those before `kept` tokens are read once.
  const growing = Math.min(whole, Math.floor(window / rows))
  const fitting = Math.min(growing, Math.floor(kept / rows))
  const ends = (count: number) => (rows * count * (count + 1)) / 2
  const again = tilesBehindFirst(rows) * (ends(growing) - ends(fitting) - (growing - fitting) * kept)
  const level = growing < whole ? (whole - growing) * slice(rows, seqlen) : 0
  const rest = seqlen - whole * rows
  return ends(growing) + again + level + (rest > 0 ? slice(rest, seqlen) : 0)
}

/** What the engine reached on this machine, part by part, instead of what the device could. */
function measuredLimits(
  rates: MeasuredRates,
  { rowsPerStep }: Extract<Formats, { is: 'engine' }>,
  { work, part }: Operation,
  { stage, batch, seqlen }: Pass,
  reuse: number,
): { peak: number; bandwidth: number } {
  const rows = Math.min(rowsPerStep, stage === 'prefill' ? batch * seqlen : batch)
  const isOne = rows === 1
  if (part === 'attention')
    return isOne
      ? { peak: rates.sweep.one, bandwidth: rates.bandwidth }
      : { peak: rates.sweep.many, bandwidth: rates.bandwidth * reuse }
  if (part === 'linear' && work.is === 'matrix') {
    const found = rates.linear[work.type]
    if (found) return { peak: found.operations, bandwidth: found.bytes }
    return { peak: Number.POSITIVE_INFINITY, bandwidth: rates.bandwidth }
  }
  const rest = isOne ? rates.rest.one : rates.rest.many
  if (work.is !== 'matrix') return { peak: Number.POSITIVE_INFINITY, bandwidth: rest }
  // A matrix per map.
  const products = rates.linear[work.type]?.operations ?? Number.POSITIVE_INFINITY
  return { peak: products, bandwidth: Math.min(rest, rates.bandwidth) }
}

/** Tokens, rows with logits, and steps of the engine. */
interface Counts {
  tokens: number
  logits: number
  steps: number
  headSteps: number
}

function countsOf({ stage, batch, seqlen }: Pass, rowsPerStep: number): Counts {
  const tokens = stage === 'prefill' ? batch * seqlen : batch
  const steps = Math.max(1, Math.ceil(tokens / rowsPerStep))
  return { tokens, logits: batch, steps, headSteps: Math.min(batch, steps) }
}

function count(formats: Formats, hardware: Hardware, { work, rows }: Operation, pass: Pass): Traffic {
  const isEngine = formats.is === 'engine'
  const counts = countsOf(pass, isEngine ? formats.rowsPerStep : Number.POSITIVE_INFINITY)
  const n = rows === 'logits' ? counts.logits : counts.tokens
  const reads = rows === 'logits' ? counts.headSteps : counts.steps
  const widths = widthsOf(formats)
  const activation = widths.activations / 8
  const cached = (elements: number, heads: number) =>
    (elements * widths.cache) / 8 + (isEngine && formats.cache === 'int8' ? 4 * heads : 0)
  if (work.is === 'matrix') {
    const numbers = work.outDim * work.inDim + (work.hasBias ? work.outDim : 0)
    return {
      ...noTraffic,
      ...productOf(work, n),
      weights: reads * (isEngine ? work.bytes : (numbers * widths.weights) / 8),
      loads: work.inDim * work.blocks * n * activation,
      stores: work.result === 'activations' ? work.outDim * n * activation : 0,
      cacheWrites: work.result === 'activations' ? 0 : n * cached(work.outDim, work.result.heads),
    }
  }
  if (work.is === 'elementwise') {
    const weights = isEngine ? work.bytes : (work.weights * widths.weights) / 8
    return {
      ...noTraffic,
      operations: work.operations * n,
      weights: weights * (work.isLookup ? n : reads),
      loads: work.reads * n * activation,
      stores: work.writes * n * activation,
    }
  }
  if (work.is === 'state') {
    const weights = isEngine ? work.bytes : (work.weights * widths.weights) / 8
    return {
      operations: (2 * work.macs + work.operations) * n,
      macs: work.macs * n,
      weights: weights * reads,
      loads: work.reads * n * activation,
      stores: work.writes * n * activation,
      // f32 in any case.
      cacheReads: 4 * work.numbers * n,
      cacheWrites: 4 * work.numbers * n,
    }
  }
  return sweep(work, pass, counts, { activation, cached, block: isEngine ? 1 : blockOf(work, hardware, activation) })
}

/** (f) Biases are counted. */
function productOf({ inDim, outDim, hasBias }: MatrixWork, n: number): Pick<Traffic, 'operations' | 'macs'> {
  const macs = outDim * inDim * n
  return { macs, operations: 2 * macs + (hasBias ? outDim * n : 0) }
}

/**
 * (h) Queries whose numbers and running averages, in f32, stay on the chip while the keys and values pass once. The engine
 * takes one query at a time.
 */
function blockOf({ maps, keyDim, valueDim }: SweepWork, hardware: Hardware, activation: number): number {
  const query = maps * (keyDim * activation + 4 * valueDim)
  return Math.max(1, Math.floor(hardware.onchipBuffer.value / query))
}

interface SweepFormats {
  activation: number
  cached(elements: number, heads: number): number
  block: number
}

function sweep(work: SweepWork, pass: Pass, counts: Counts, { activation, cached, block }: SweepFormats): Traffic {
  const { is, maps, keyDim, valueDim, keyElements, valueElements, rowElements, rowHeads, operationsPerScore } = work
  const { tokens } = counts
  const scores = rowsRead(work, pass, 1) * maps
  const queries = maps * keyDim * tokens * activation
  // (a) The averages are written, not the scores.
  const averages = maps * valueDim * tokens * activation
  const [keyMacs, valueMacs] = [scores * keyDim, scores * valueDim]
  const seen = pass.batch * (pass.stage === 'prefill' ? pass.seqlen : pairsSeen(work.layer, pass.seqlen, 1))
  switch (is) {
    case 'fused':
      return {
        ...noTraffic,
        macs: keyMacs + valueMacs,
        operations: 2 * (keyMacs + valueMacs) + operationsPerScore * scores,
        loads: queries,
        stores: averages,
        cacheReads: rowsRead(work, pass, block) * cached(rowElements, rowHeads),
      }
    case 'scores':
      // (b) Queries are read, keys once.
      return {
        ...noTraffic,
        macs: keyMacs,
        operations: 2 * keyMacs,
        loads: queries,
        stores: scores * activation,
        cacheReads: seen * cached(keyElements, 0),
      }
    case 'softmax':
      return {
        ...noTraffic,
        operations: operationsPerScore * scores,
        loads: scores * activation,
        stores: scores * activation,
      }
    case 'average':
      return {
        ...noTraffic,
        macs: valueMacs,
        operations: 2 * valueMacs,
        loads: scores * activation,
        stores: averages,
        cacheReads: seen * cached(valueElements, 0),
      }
  }
}

/**
 * Rows of the cache that pass by while blocks of queries stay: block i of a prompt sees all up to its own end, as far as the
 * window of its first query. One by one these are the (query, key) pairs: (c) a token attends to those before it and
 * itself; (g) so does a generated one.
 */
function rowsRead({ layer }: SweepWork, { stage, batch, seqlen }: Pass, block: number): number {
  if (stage === 'decode') return batch * pairsSeen(layer, seqlen, 1)
  if (block === 1) return batch * pairsSeen(layer, 0, seqlen)
  const whole = Math.floor(seqlen / block)
  const rest = seqlen % block
  const window = windowOf(layer) ?? Number.POSITIVE_INFINITY
  const most = window + block - 1
  const growing = Math.min(whole, Math.floor(most / block))
  const level = growing < whole ? (whole - growing) * most : 0
  const last = rest > 0 ? Math.min(seqlen, window + rest - 1) : 0
  return batch * ((block * growing * (growing + 1)) / 2 + level + last)
}
