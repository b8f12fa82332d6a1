/** gta bench --gpu: the CPU and a GPU side by side, and which of them is faster at what. */
import { errors } from '../errors.ts'
import { version } from '../platform/version.ts'
import { benchGpu, type GpuBenchReport, type GpuBenchRow } from '../tools/bench/gpu.ts'
import type { Spread } from '../tools/bench/runner.ts'
import { benchName, digits } from './bench-table.ts'
import { Phases, readTests } from './bench-tests.ts'
import { interruptSignal } from './interrupt.ts'
import { type Arguments, UsageError } from './options.ts'
import { headLine, tableLine } from './table.ts'
import { say } from './terminal.ts'

/** Less than this is no difference. */
const WORTH = 1.05

export async function benchOnGpu(args: Arguments): Promise<void> {
  const mode = args.value('gpu')
  if (mode !== 'on' && mode !== 'prefill') throw new UsageError(`--gpu must be on or prefill here, found "${mode}"`)
  const other = args.given().find((name) => ['offload', 'explain', 'report', 'show'].includes(name))
  if (other !== undefined) throw new UsageError(`--${other} must be absent with --gpu`)
  const output = args.oneOf('output', ['md', 'json']) ?? (args.flag('json') ? 'json' : 'md')
  const models = readTests(args)
  const progress = new Phases()
  const signal = interruptSignal()
  const reports: GpuBenchReport[] = []
  for (const tests of models) {
    if ([tests.threads, tests.batchThreads].some((list) => (list?.length ?? 0) > 1))
      throw errors.badOption('threads (-t)', 'one number with --gpu', tests.threads?.join())
    const common = { ...tests, signal, gpuForce: args.flag('gpu-force'), onProgress: progress.update }
    reports.push(await benchGpu({ ...common, engines: ['off', mode] }).finally(() => progress.end()))
  }
  const schema = { schema: 'gta-bench-gpu/1', version: version ?? null }
  if (output === 'json') process.stdout.write(`${JSON.stringify({ ...schema, reports })}\n`)
  else process.stdout.write(reports.map(describeComparison).join('\n'))
  for (const unfit of new Set(reports.map((report) => report.unfit)))
    if (unfit !== undefined) say(`these figures say nothing about GPUs: of this one, ${unfit}`)
}

const columns = [
  { name: 'test', width: 18, isText: true },
  { name: 'CPU tok/s', width: 14 },
  { name: 'GPU tok/s', width: 14 },
  { name: 'faster', width: 12, isText: true },
]

/** A table for people. */
export function describeComparison({ model, kind, weightType, cacheType, gpu, engines, rows }: GpuBenchReport): string {
  const heads = [
    `- model: ${benchName(model)}, ${kind}, ${weightType} weights, ${cacheType} cache\n`,
    `- gpu: ${gpu}\n`,
  ]
  const names = engines.map(({ mode, name }) => `- ${mode === 'off' ? 'CPU' : 'GPU'}: ${name}\n`)
  const lines = rows.map(({ test, tokensPerSecond }) =>
    tableLine(columns, [test, ...tokensPerSecond.map(speed), winner(tokensPerSecond)]),
  )
  return [...heads, ...names, '\n', headLine(columns), ...lines, '\n', ...verdicts(rows)].join('')
}

const speed = ({ median, deviation }: Spread) => `${digits(median)} ± ${digits(deviation)}`

function winner([cpu, gpu]: Spread[]): string {
  const ratio = (gpu?.median ?? 0) / (cpu?.median ?? 1)
  if (ratio > WORTH) return `GPU ${digits(ratio)} ×`
  return ratio * WORTH < 1 ? `CPU ${digits(1 / ratio)} ×` : 'alike'
}

/** For prompts and for single tokens: which of the two wins, and from which length on. */
function verdicts(rows: readonly GpuBenchRow[]): string[] {
  return (['pp', 'tg'] as const).flatMap((phase) => {
    const some = rows.filter((row) => row.phase === phase)
    if (some.length === 0) return []
    const won = some.filter(({ tokensPerSecond }) => winner(tokensPerSecond).startsWith('GPU'))
    const what = phase === 'pp' ? 'reading prompts' : 'generating'
    if (won.length === 0) return [`- ${what}: the GPU is faster in no test\n`]
    if (won.length === some.length) return [`- ${what}: the GPU is faster in every test\n`]
    return [`- ${what}: the GPU is faster in ${won.map(({ test }) => test).join(', ')}\n`]
  })
}
