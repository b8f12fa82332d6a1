/** gta doctor: what this machine is, and which engine it gets. */
import { megabytes } from '../errors.ts'
import { forgetMeasurements, isBusy } from '../runtime/measurements.ts'
import { percent } from '../tools/analyze/amounts.ts'
import { measureThis } from '../tools/analyze/measure.ts'
import { type Diagnosis, diagnose } from '../tools/diagnose.ts'
import { diagnoseGpu, type GpuDiagnosis } from '../tools/diagnose-gpu.ts'
import { tellOfMeasuring } from './analyze.ts'
import { type Arguments, type Command, common } from './options.ts'
import { printJson } from './terminal.ts'

export const doctor: Command = {
  usage: 'doctor [--measure] [--json]',
  options: {
    measure: {
      type: 'boolean',
      help: 'forget everything that was measured here and measure anew: the roofline now, threads when a model is next loaded',
    },
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(0)
  if (args.flag('measure')) {
    await forgetMeasurements()
    await measureThis({ again: 'anew', onMeasure: tellOfMeasuring })
  }
  const [found, gpu] = [await diagnose(), await diagnoseGpu()]
  if (args.flag('json')) printJson('doctor', { ...found, gpu })
  else process.stdout.write(`${describe(found, gpu).join('\n')}\n`)
  if (!found.chosen) process.exitCode = 1
}

function describe(found: Diagnosis, gpu: GpuDiagnosis): string[] {
  const unknown = 'the system does not tell'
  const rows: [string, string][] = [
    ['node', `${found.node} on ${found.platform}`],
    ['cpu', `${found.cpu}, ${found.cores} cores${found.board ? ` (${found.board})` : ''}`],
    ['features', found.cpuFeatures.join(' ') || unknown],
    ['memory', `${megabytes(found.totalMemory)}, ${megabytes(found.freeMemory)} free`],
    ['page size', found.pageSize ? `${found.pageSize} bytes` : unknown],
    ['governor', found.governor ?? unknown],
    ['relaxed SIMD', found.relaxedSimd ? 'yes' : 'no: use Node 22 or later'],
    ...describeMeasurements(found),
    ...describeGpu(gpu),
    ['engine', `${found.chosen ?? 'none'}: ${found.reason}`],
  ]
  return rows.map(([name, value]) => `${name.padEnd(14)}${value}`)
}

/** Each GPU, and whether `--gpu` uses it. */
function describeGpu({ adapters, problem, chosen }: GpuDiagnosis): [string, string][] {
  if (adapters.length === 0)
    return [['gpu', problem?.replace(/^.*?, found /, 'none: ') ?? 'none: WebGPU finds no driver that it can use']]
  return adapters.map(({ name, unfit, limits, canDot }, i) => {
    const use =
      unfit === undefined ? (name === chosen ? 'used with --gpu' : 'not the first') : `not used: ${unfit} (--gpu-force)`
    const facts = `${canDot ? 'int8 products' : 'no int8 products'}, bindings of ${megabytes(limits.maxStorageBufferBindingSize)}`
    return [i === 0 ? 'gpu' : '', `${name}, ${facts}; ${use}`]
  })
}

/** What is believed of this machine, and whether it should be. */
function describeMeasurements({ measurements, measurementsFile }: Diagnosis): [string, string][] {
  const describe = (one: Diagnosis['measurements'][number]) =>
    [
      one.date.slice(0, 16).replace('T', ' '),
      one.load === undefined ? '' : `load ${one.load.toFixed(1)}`,
      one.foreignShare === undefined ? '' : `other programs took ${percent(one.foreignShare)} of the processors`,
    ].filter(Boolean)
  const of = (kind: string) => measurements.filter((one) => one.kind === kind)
  const [rooflines, threads] = [of('roofline'), of('threads')]
  const busy = threads.filter(isBusy).length
  const latest = rooflines.toSorted((a, b) => a.date.localeCompare(b.date)).at(-1)
  return [
    ['roofline', latest ? describe(latest).join(', ') : 'not measured yet: gta doctor --measure'],
    [
      'threads',
      threads.length === 0
        ? 'measured when a model is first loaded'
        : `of ${threads.length} model${threads.length === 1 ? '' : 's'} measured${busy > 0 ? `, ${busy} of them while the machine was busy` : ''}`,
    ],
    ['remembered', `in ${measurementsFile}`],
    ...(measurements.some(isBusy)
      ? ([['', 'a busy machine looks slower than it is: gta doctor --measure when it is quiet']] as [string, string][])
      : []),
  ]
}
