/** gta eval --text: perplexity, and how models, weight types and cache types differ on a text. */

import { basename } from 'node:path'
import { cacheBytes, cacheTypes, type PackingType, packingTypes } from '../../models/index.ts'
import { errors, megabytes, Words } from '../errors.ts'
import { isCheckpoint } from '../files/checkpoint.ts'
import { locateModel } from '../files/locate.ts'
import { checkModelPath } from '../load.ts'
import type { Model } from '../runtime/model.ts'
import { type Comparison, compare, type Difference } from '../tools/evaluate/compare.ts'
import { interruptSignal } from './interrupt.ts'
import { loadModel, readText } from './open.ts'
import type { Arguments } from './options.ts'
import { ProgressLine } from './progress.ts'
import { type Column, csvLine, headLine, type TableFormat, tableLine } from './table.ts'
import { printJson } from './terminal.ts'

/** Rows of a step that may have logits: more are faster here. */
const MAX_LOGITS = 64

export async function evaluateText(args: Arguments, output: TableFormat): Promise<void> {
  const types = args.someOf('type', packingTypes) ?? [undefined]
  const caches = args.someOf('cache', cacheTypes) ?? [undefined]
  const against = args.text('against')
  await checkModelPath(against)
  const idsOf = await readIds(args)
  const signal = interruptSignal()
  const models: Model[] = []
  try {
    if (against !== undefined) models.push(await openReference(args, signal, against))
    for (const type of types)
      for (const cache of caches) models.push(await loadModel(args, signal, { maxLogits: MAX_LOGITS, type, cache }))
    const [model] = models as [Model]
    const run = { ids: idsOf(model), signal, output }
    for (const other of against === undefined ? [] : models) checkSameIds(model, other, run.ids, idsOf(other))
    if (models.length === 1) await printEvaluation(model, run)
    else await printComparison(against === undefined ? models.toSorted(byExactness) : models, run)
  } finally {
    for (const model of models) await model.close()
  }
}

/** What others are compared with is taken as exactly as it comes. */
async function openReference(args: Arguments, signal: AbortSignal, path: string): Promise<Model> {
  const type = (await isCheckpoint(await locateModel(path))) ? 'f32' : undefined
  return loadModel(args, signal, { maxLogits: MAX_LOGITS, type, cache: 'f32' }, path)
}

const exactness: readonly PackingType[] = ['f32', 'keep', 'q8', 'q4']

/** The most exact first: weights count before the cache. */
function byExactness(a: Model, b: Model): number {
  const rank = ({ weightType, cacheType }: Model) =>
    exactness.indexOf(weightType) * cacheTypes.length + cacheTypes.indexOf(cacheType)
  return rank(a) - rank(b)
}

/** Vocabularies of one size may still differ: both models must cut this text into the same ids. */
function checkSameIds(model: Model, other: Model, ids: number[], found: number[]): void {
  if (found.length !== ids.length || found.some((id, i) => id !== ids[i]))
    throw errors.badOption(
      `the vocabulary of "${other.path}"`,
      `that of "${model.path}", so that both read the same tokens`,
      new Words('other tokens for this text'),
    )
}

interface Run {
  ids: number[]
  signal: AbortSignal
  output: TableFormat
}

/** The ids of the command line or of its files, which are read before a model is. */
async function readIds(args: Arguments): Promise<(model: Model) => number[]> {
  const [text, file, tokens] = [args.text('text'), args.text('tokens-file'), args.tokens()]
  if (text !== undefined) {
    const content = await readText(text)
    return (model) => model.corpusIds(content)
  }
  const ids = file === undefined ? (tokens ?? []) : parseIds(file, await readText(file))
  return () => ids
}

/** Numbers with commas or white space between; brackets around all of them, as llama-tokenize --ids has, are no harm. */
function parseIds(path: string, text: string): number[] {
  const parts = text
    .trim()
    .replace(/^\[(.*)\]$/s, '$1')
    .split(/[\s,]+/)
    .filter((part) => part !== '')
  const wrong = parts.find((part) => !/^\d+$/.test(part))
  if (wrong !== undefined)
    throw errors.badFile(path, 'the content', 'token ids with commas or white space between', `"${wrong.slice(0, 40)}"`)
  return parts.map(Number)
}

/** Runs something that reports how many tokens it has read, and tells how many seconds it took. */
async function timed<T>(
  { ids, signal }: Run,
  run: (options: { signal: AbortSignal; onProgress: (done: number) => void }) => Promise<T>,
): Promise<{ result: T; seconds: number }> {
  const progress = new ProgressLine('evaluating', (n) => `${n} tokens`)
  const started = performance.now()
  const onProgress = (done: number) => progress.update({ done, total: ids.length - 1 })
  const result = await run({ signal, onProgress }).finally(() => progress.end())
  return { result, seconds: (performance.now() - started) / 1000 }
}

/** A perplexity and its standard error, to first order. */
const perplexityOf = ({ perplexity, nllError }: { perplexity: number; nllError: number }) =>
  `${perplexity.toFixed(4)} ± ${(perplexity * nllError).toFixed(4)}`

async function printEvaluation(model: Model, run: Run): Promise<void> {
  const { result, seconds } = await timed(run, (options) => model.evaluate(run.ids, options))
  const { nll, nllError, perplexity, predicted, tokens } = result
  const settings = { weightType: model.weightType, cacheType: model.cacheType, window: model.context }
  const record = { tokens, predicted, nll, nllError, perplexity, seconds, ...settings }
  if (run.output === 'json') printJson('eval', record)
  else if (run.output === 'csv')
    process.stdout.write(`${csvLine(Object.keys(record))}${csvLine(Object.values(record))}`)
  else
    process.stdout.write(
      `perplexity ${perplexityOf(result)}, ${nll.toFixed(5)} nats per token, ${predicted} of ${tokens} tokens predicted in windows of ${settings.window} (${settings.weightType} weights, ${settings.cacheType} cache, ${seconds.toFixed(1)} s)\n`,
    )
}

/** Compares models with the first of them. */
async function printComparison(models: readonly Model[], run: Run): Promise<void> {
  const labelled = models.map((model, i) => ({ label: `${i + 1}: ${model.path}`, model }))
  const [reference, ...others] = labelled as [(typeof labelled)[0]]
  const { result } = await timed(run, (options) => compare(reference, others, run.ids, options))
  const { results, ...settings } = result
  const rows = results.map((difference, i) => rowOf(models[i] as Model, difference, settings))
  if (run.output === 'json') printJson('compare', { ...settings, results: rows })
  else process.stdout.write(run.output === 'csv' ? csvOf(rows, settings) : tableOf(rows, settings))
}

type Settings = Omit<Comparison, 'results'>
type Row = ReturnType<typeof rowOf>

function rowOf(model: Model, { label: _, ...difference }: Difference, { predicted }: Settings) {
  const { path, weightType, cacheType, weightBytes, spec } = model
  const { elements, scales } = cacheBytes(spec, cacheType, 1)
  return {
    model: path,
    weightType,
    cacheType,
    weightBytes,
    elementBytesPerToken: elements,
    scaleBytesPerToken: scales,
    ...difference,
    tokensPerSecond: predicted / difference.seconds,
  }
}

function csvOf(rows: readonly Row[], settings: Settings): string {
  const records = rows.map((row) => ({ ...row, ...settings }))
  return [Object.keys(records[0] ?? {}), ...records.map(Object.values)].map((cells) => csvLine(cells)).join('')
}

/** Columns with what they say of a row; the first row has no differences. */
const columns: readonly (Column & { value(row: Row): string; isDifference?: boolean })[] = [
  { name: 'model', width: 16, isText: true, value: ({ model }) => basename(model) },
  { name: 'weights', width: 7, isText: true, value: ({ weightType }) => weightType },
  { name: 'cache', width: 5, isText: true, value: ({ cacheType }) => cacheType },
  { name: 'size', width: 8, value: ({ weightBytes }) => megabytes(weightBytes) },
  {
    name: 'bytes per token',
    width: 15,
    value: ({ elementBytesPerToken, scaleBytesPerToken }) => String(elementBytesPerToken + scaleBytesPerToken),
  },
  { name: 'perplexity', width: 17, value: perplexityOf },
  {
    name: 'ΔPPL %',
    width: 16,
    isDifference: true,
    value: ({ perplexityChange, perplexityError }) =>
      `${perplexityChange < 0 ? '−' : '+'}${Math.abs(100 * perplexityChange).toFixed(3)} ± ${(100 * perplexityError).toFixed(3)}`,
  },
  { name: 'mean KL, nats', width: 13, isDifference: true, value: ({ meanKl }) => meanKl.toFixed(6) },
  { name: 'max KL, nats', width: 12, isDifference: true, value: ({ maxKl }) => maxKl.toFixed(5) },
  { name: 'top-1 %', width: 7, isDifference: true, value: ({ topAgreement }) => (100 * topAgreement).toFixed(2) },
  { name: 'tok/s', width: 6, value: ({ tokensPerSecond }) => tokensPerSecond.toFixed(0) },
]

function tableOf(rows: readonly Row[], { predicted, tokens, window }: Settings): string {
  const isOne = new Set(rows.map(({ model }) => model)).size === 1
  const shown = columns.filter(({ name }) => name !== 'model' || !isOne)
  const lines = rows.map((row, i) =>
    tableLine(
      shown,
      shown.map(({ value, isDifference }) => (i === 0 && isDifference ? '–' : value(row))),
    ),
  )
  return `${headLine(shown)}${lines.join('')}
Differences are those from the first row, ΔPPL with its standard error; KL is KL(first ‖ this) per token. Size is that of the weights, in a file as in memory; bytes per token are the cache's. ${predicted} of ${tokens} tokens predicted in windows of ${window}.
`
}
