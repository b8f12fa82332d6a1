/** gta bench: how fast prompts are read and text is generated, with what it takes to believe the figures. */
import { describeModel } from '../files/describe.ts'
import { paperConfig } from '../load.ts'
import { settings } from '../settings.ts'
import { Analysis } from '../tools/analyze/analyze.ts'
import { benchSection } from '../tools/analyze/bench-section.ts'
import { asDuring, explainBench, explanationText } from '../tools/analyze/explain.ts'
import type { Hardware } from '../tools/analyze/hardware.ts'
import { renderReport } from '../tools/analyze/report.ts'
import { stages } from '../tools/analyze/walk.ts'
import { bench as benchModel } from '../tools/bench/bench.ts'
import { benchOffload } from '../tools/bench/offload.ts'
import type { BenchInfo, BenchReport } from '../tools/bench/report.ts'
import { type BenchOptions, benchDefaults } from '../tools/bench/settings.ts'
import { readThis } from './analyze.ts'
import { benchOnGpu } from './bench-gpu.ts'
import { documentOf, formats, plural } from './bench-output.ts'
import { benchName, type Columns, columnsFor } from './bench-table.ts'
import { Phases, readTests } from './bench-tests.ts'
import { showReports, writeReport } from './board.ts'
import { interruptSignal } from './interrupt.ts'
import { offloadFormats } from './offload-output.ts'
import { type Arguments, type Command, common, flagAs, flagsOf, UsageError } from './options.ts'
import { say } from './terminal.ts'

const write = (text: string) => process.stdout.write(text)

/** The paper's two 1B models. */
const comparedOffload = ['gta-1b', 'gqa-1b']

const list = (short: string, value: string, help: string) =>
  ({ type: 'string', multiple: true, short, value, help }) as const

export const bench: Command = {
  usage:
    'bench [MODEL…|--config FILE] [-p 512] [-n 128] [-pg 512,128] [-d 0] [-np 1] [-t 1] [-r 5] [--explain] [-o md|csv|sql|json|jsonl|html] [--report [FILE.json]]',
  options: {
    ...flagAs('model', {
      multiple: true,
      help: 'a .gta file or a Hugging Face directory; several: one after the other',
    }),
    config: {
      type: 'string',
      multiple: true,
      value: 'FILE',
      help: 'time this config.json (or the config of a model) with synthetic weights; several: one after the other',
    },
    ...flagAs('offload', {
      help: `keep no more of the cache in memory, the rest in a file; compares ${comparedOffload.join(' and ')} unless --config is given`,
    }),
    ...flagsOf('offloadDirectory'),
    ...flagAs('type', {
      help: `weight type of synthetic weights, or of a directory (default ${settings.type.default})`,
    }),
    ...flagsOf('cache'),
    'n-prompt': list('p', '128,512', `tokens of the prompts to read; 0: none (default ${benchDefaults.prompt})`),
    'n-gen': list('n', '64', `tokens to generate; 0: none (default ${benchDefaults.predict})`),
    pg: {
      type: 'string',
      multiple: true,
      alias: 'pg',
      value: '512,128',
      help: 'a prompt and tokens behind it, timed together; may be given several times (default: none)',
    },
    'n-depth': list('d', '0,1536', `positions in the cache before them (default ${benchDefaults.depth})`),
    parallel: {
      type: 'string',
      multiple: true,
      alias: 'np',
      value: '1,8',
      help: `conversations that generate together (default ${benchDefaults.conversations})`,
    },
    threads: list('t', '1,2', 'threads for steps of one token (default: what the engine chooses)'),
    'threads-batch': {
      type: 'string',
      multiple: true,
      alias: 'tb',
      value: '2',
      help: 'threads for prompts and for several conversations (default: as -t)',
    },
    'batch-size': {
      type: 'string',
      short: 'b',
      value: 'N',
      help: `tokens of a prompt read in one step (default ${benchDefaults.batch})`,
    },
    repetitions: {
      type: 'string',
      short: 'r',
      value: 'N',
      help: `repetitions of each test (default ${benchDefaults.repetitions})`,
    },
    explain: {
      type: 'boolean',
      help: 'besides, what the analyzer predicts for this machine, part by part; -o html makes a report of it',
    },
    report: {
      type: 'string',
      isOptional: true,
      value: '[FILE.json]',
      help: 'measure a standard set, or what the flags say, and write a report that you can send; nothing personal is in it',
    },
    gpu: {
      type: 'string',
      value: 'on|prefill',
      help: 'time a GPU beside the CPU: for everything, or for prompts only',
    },
    ...flagsOf('gpuForce'),
    show: { type: 'boolean', help: 'check and compare reports: gta bench --show FILE.json …' },
    output: { type: 'string', short: 'o', value: Object.keys(formats).join('|'), help: 'what to print (default md)' },
    ...common,
    json: { type: 'boolean', help: 'as -o json: one JSON document on stdout' },
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  if (args.flag('show')) return await showReports(args)
  if (args.text('report') !== undefined) return await writeReport(args)
  if (args.text('gpu') !== undefined) return await benchOnGpu(args)
  if (args.flag('gpu-force')) throw new UsageError('--gpu-force must come with --gpu')
  if (args.text('offload') !== undefined)
    return await offload(args, args.positionals[0] ?? args.texts('model')[0], args.texts('config'))
  const tests = readTests(args)
  const output = args.oneOf('output', Object.keys(formats)) ?? (args.flag('json') ? 'json' : 'md')
  if (args.flag('json') && output !== 'json')
    throw new UsageError(`one output must be given, found --json and -o ${output}`)
  const format = formats[output as keyof typeof formats]
  const isExplained = readExplain(args, output)
  // Before anything else runs here.
  const hardware = isExplained ? await readThis(false) : undefined
  const signal = interruptSignal()
  const reports = await runAll(tests, format, signal)
  if (hardware) await writeExplained(reports, hardware, output, write)
  else write(format.end(reports))
  for (const { test, threads, problems } of reports.flatMap(({ results }) => results))
    for (const problem of problems) say(`${test} with ${plural(threads, 'thread')}: ${problem}`)
  if (!reports.every(({ isGood }) => isGood)) {
    say('these results are wrong somewhere: please report them')
    process.exitCode = 1
  }
  // What was done is told; the rest is not.
  signal.throwIfAborted()
}

/** One model after the other, each row when it is there. A signal ends it with what was done, if anything was. */
async function runAll(
  models: BenchOptions[],
  format: (typeof formats)[keyof typeof formats],
  signal: AbortSignal,
): Promise<BenchReport[]> {
  const progress = new Phases()
  const reports: BenchReport[] = []
  let columns: Columns | undefined
  for (const tests of models) {
    let info: BenchInfo | undefined
    try {
      const report = await benchModel({
        ...tests,
        signal,
        keepsUnfinished: true,
        onOpen: (opened, names) => {
          progress.end()
          info = opened
          if (!columns) {
            columns = columnsFor(names)
            write(format.begin(opened, columns))
          }
        },
        onResult: (result) => {
          progress.end()
          write(format.row(result, info as BenchInfo, columns as Columns))
        },
        onProgress: progress.update,
      })
      reports.push(report)
      if (!report.isComplete) break
    } catch (error) {
      if (!signal.aborted || reports.length === 0) throw error
      break
    } finally {
      progress.end()
    }
  }
  return reports
}

/** The models whose caches the paper compares. */
async function offload(args: Arguments, path: string | undefined, configs: string[]): Promise<void> {
  if (path !== undefined)
    throw new UsageError(`--offload must be given with --config or alone, found the model "${path}"`)
  if (args.flag('explain')) throw new UsageError('--explain must be absent with --offload')
  for (const name of ['cache', 'n-prompt', 'parallel', 'threads-batch', 'batch-size'])
    if (args.texts(name).length > 0) throw new UsageError(`--${name} must be absent with --offload`)
  const one = (name: string, max: number) => {
    const list = args.list(name, 1, max)
    if (list && list.length > 1)
      throw new UsageError(`--${name} must be one number with --offload, found ${list.length}`)
    return list?.[0]
  }
  const output = args.oneOf('output', Object.keys(offloadFormats)) ?? (args.flag('json') ? 'json' : 'md')
  const format = offloadFormats[output as keyof typeof offloadFormats]
  const progress = new Phases()
  const results = await benchOffload({
    configs: configs.length > 0 ? configs : comparedOffload.map(paperConfig),
    bytes: args.value('offload') as number,
    directory: args.value('offloadDirectory'),
    depth: one('n-depth', settings.context.max),
    predict: one('n-gen', settings.context.max),
    repetitions: args.whole('repetitions', 1, 1000),
    threads: one('threads', settings.threads.max),
    type: args.value('type'),
    signal: interruptSignal(),
    onProgress: progress.update,
  }).finally(() => progress.end())
  process.stdout.write(format(results))
}

/** A page is nothing but an explanation; rows of a table have no place for one. */
function readExplain(args: Arguments, output: string): boolean {
  if (args.flag('explain') && (output === 'csv' || output === 'jsonl'))
    throw new UsageError(`--explain must come with -o md, json or html, found -o ${output}`)
  return args.flag('explain') || output === 'html'
}

async function writeExplained(
  reports: BenchReport[],
  hardware: Hardware,
  output: string,
  write: (text: string) => void,
): Promise<void> {
  const explained = await Promise.all(
    reports.map(async (report) => {
      const { model } = await describeModel(report.model)
      const name = benchName(report.model)
      return { report, model, name, explanations: explainBench(report, name, model, hardware) }
    }),
  )
  const explanations = explained.flatMap((one) => one.explanations)
  if (output === 'json')
    write(`${JSON.stringify(documentOf(explained.map(({ report, explanations }) => ({ ...report, explanations }))))}\n`)
  else if (output === 'md') write(formats.md.end(reports) + explanationText(explanations))
  else {
    const results = reports.flatMap((report) => report.results)
    const contexts = [...new Set(results.map(({ depth, tokens }) => depth + tokens))].sort((a, b) => a - b)
    const during = asDuring(reports[0] as BenchReport, hardware)
    const entries = explained.map(
      ({ report: { weightType: type, cacheType: cache, batch: rowsPerStep }, name, model }) => ({
        name,
        analysis: new Analysis(model, during, { type, cache, rowsPerStep }),
      }),
    )
    const benches = explained.map(({ name, report }) => ({ name, report }))
    write(
      renderReport({ entries, batches: [1], seqlens: contexts, stages, explanations, measured: benchSection(benches) }),
    )
  }
}
