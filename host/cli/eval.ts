/** gta eval: perplexity of a text, and what a compact cache costs. */
import { type CacheType, cacheBytes, cacheTypes } from '../../models/index.ts'
import { type Comparison, compare, type Difference, errors, type Model } from '../index.ts'
import { interruptSignal, openModel, printJson, readText } from './open.ts'
import { type Arguments, type Command, common, modelOptions, UsageError } from './options.ts'
import { Progress } from './progress.ts'
import { csvLine, headLine, tableLine } from './table.ts'

const outputs = ['md', 'csv', 'json'] as const

export const evaluate: Command = {
  name: 'eval',
  summary: 'perplexity of a text in windows of the context, and what compact caches change',
  usage: 'eval [MODEL] --text FILE [--cache int8,f32] [-c N] [-o md|csv|json]',
  options: {
    ...modelOptions,
    cache: {
      type: 'string',
      value: cacheTypes.join('|'),
      help: 'element type of the KV cache; several with commas: compare them with the most exact one',
    },
    text: { type: 'string', value: 'FILE', help: 'UTF-8 text; control tokens written out in it are themselves' },
    tokens: { type: 'string', value: '1,5,9', help: 'token ids instead of a text' },
    'tokens-file': { type: 'string', value: 'FILE', help: 'token ids in a file, with commas or white space between' },
    output: { type: 'string', short: 'o', value: outputs.join('|'), help: 'what to print (default md)' },
    ...common,
    json: { type: 'boolean', help: 'as -o json: one JSON document on stdout' },
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const given = ['text', 'tokens', 'tokens-file'].filter((name) => args.text(name) !== undefined)
  if (given.length !== 1)
    throw new UsageError(`one of --text FILE, --tokens and --tokens-file must be given, found ${given.length}`)
  const output = args.oneOf('output', outputs) ?? (args.flag('json') ? 'json' : 'md')
  if (args.flag('json') && output !== 'json')
    throw new UsageError(`one output must be given, found --json and -o ${output}`)
  const caches = args.someOf('cache', cacheTypes)
  const idsOf = await readIds(args)
  const signal = interruptSignal()
  const models: Model[] = []
  try {
    for (const cache of caches ?? [undefined])
      models.push(await openModel(args, signal, { maxLogits: 64, cache: cache as CacheType }))
    const [model] = models as [Model]
    const run = { ids: idsOf(model), signal, output }
    if (models.length === 1) await printEvaluation(model, run)
    else await printComparison(models, run)
  } finally {
    for (const model of models) await model.close()
  }
}

interface Run {
  ids: number[]
  signal: AbortSignal
  output: (typeof outputs)[number]
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
  const progress = new Progress('evaluating', (n) => `${n} tokens`)
  const started = performance.now()
  const onProgress = (done: number) => progress.update({ done, total: ids.length - 1 })
  const result = await run({ signal, onProgress }).finally(() => progress.end())
  return { result, seconds: (performance.now() - started) / 1000 }
}

async function printEvaluation(model: Model, run: Run): Promise<void> {
  const { result, seconds } = await timed(run, (options) => model.evaluate(run.ids, options))
  const { nll, perplexity, predicted, tokens } = result
  const settings = { weightType: model.weightType, cacheType: model.cacheType, window: model.context }
  const record = { tokens, predicted, nll, perplexity, seconds, ...settings }
  if (run.output === 'json') printJson(record)
  else if (run.output === 'csv')
    process.stdout.write(`${csvLine(Object.keys(record))}${csvLine(Object.values(record))}`)
  else
    process.stdout.write(
      `perplexity ${perplexity.toFixed(4)}, ${nll.toFixed(5)} nats per token, ${predicted} of ${tokens} tokens predicted in windows of ${settings.window} (${settings.weightType} weights, ${settings.cacheType} cache, ${seconds.toFixed(1)} s)\n`,
    )
}

async function printComparison(models: Model[], run: Run): Promise<void> {
  const subjects = models.map((model) => ({ label: model.cacheType, model }))
  // The reference is the most exact cache, wherever it stands on the command line; it comes last in the table.
  const exactness = ({ model }: { model: Model }) => -cacheTypes.indexOf(model.cacheType)
  const ranked = subjects.toSorted((a, b) => exactness(a) - exactness(b))
  const reference = ranked.at(-1) as (typeof ranked)[number]
  const others = ranked.slice(0, -1)
  const { result, seconds } = await timed(run, (options) => compare(reference, others, run.ids, options))
  const [expected, ...rest] = result.results as [Difference, ...Difference[]]
  const { spec, weightType } = reference.model
  const rows = [...rest, expected].map(({ label, ...difference }) => {
    const { elements, scales } = cacheBytes(spec, label as CacheType, 1)
    return { cacheType: label as CacheType, elementBytesPerToken: elements, scaleBytesPerToken: scales, ...difference }
  })
  const { tokens, predicted, window } = result
  const settings = { tokens, predicted, window, weightType, reference: reference.label, seconds }
  if (run.output === 'json') printJson({ ...settings, results: rows })
  else process.stdout.write(run.output === 'csv' ? csvOf(rows, settings) : tableOf(rows, settings))
}

interface CacheRow extends Omit<Difference, 'label'> {
  cacheType: CacheType
  elementBytesPerToken: number
  scaleBytesPerToken: number
}
type Settings = Omit<Comparison, 'results'> & { weightType: string; reference: string; seconds: number }

function csvOf(rows: CacheRow[], settings: Settings): string {
  const records = rows.map((row) => ({ ...row, ...settings }))
  return [Object.keys(records[0] ?? {}), ...records.map(Object.values)].map((cells) => csvLine(cells)).join('')
}

const columns = [
  { name: 'cache', width: 5, isText: true },
  { name: 'bytes per token', width: 15 },
  { name: 'perplexity', width: 10 },
  { name: 'ΔPPL %', width: 16 },
  { name: 'mean KL, nats', width: 13 },
  { name: 'max KL, nats', width: 12 },
  { name: 'top-1 %', width: 7 },
  { name: 'tokens', width: 7 },
]

function tableOf(rows: CacheRow[], { reference, predicted, tokens, window, weightType, seconds }: Settings): string {
  const lines = rows.map((row) => {
    const change = 100 * row.perplexityChange
    const differences = [
      `${change < 0 ? '−' : '+'}${Math.abs(change).toFixed(3)} ± ${(100 * row.perplexityError).toFixed(3)}`,
      row.meanKl.toFixed(6),
      row.maxKl.toFixed(5),
      (100 * row.topAgreement).toFixed(2),
    ]
    return tableLine(columns, [
      row.cacheType,
      String(row.elementBytesPerToken + row.scaleBytesPerToken),
      row.perplexity.toFixed(4),
      ...(row.cacheType === reference ? differences.map(() => '–') : differences),
      String(predicted),
    ])
  })
  return `${headLine(columns)}${lines.join('')}
Differences are those from ${reference}, ΔPPL with its standard error; KL is KL(${reference} ‖ cache) per token. ${weightType} weights, ${predicted} of ${tokens} tokens predicted in windows of ${window}, ${seconds.toFixed(1)} s.
`
}
