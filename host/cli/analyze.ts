/** gta analyze: what a model will do on a device, before it runs. */

import { basename, dirname, resolve } from 'node:path'
import type { PackingType } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { describeModel } from '../files/describe.ts'
import { isBusy } from '../runtime/measurements.ts'
import { helpOf, settings } from '../settings.ts'
import { percent } from '../tools/analyze/amounts.ts'
import { Analysis, type AnalyzeSettings, analysisModes } from '../tools/analyze/analyze.ts'
import { findHardware, type Hardware, hardwareTable } from '../tools/analyze/hardware.ts'
import { measureThis } from '../tools/analyze/measure.ts'
import { stages } from '../tools/analyze/walk.ts'
import { toolErrors } from '../tools/errors.ts'
import { type AnalyzeInput, analyzeFormats } from './analyze-output.ts'
import { type Arguments, type Command, common, flagAs, type Options, UsageError } from './options.ts'
import { printJson, say } from './terminal.ts'

const list = (value: string, help: string) => ({ type: 'string', multiple: true, value, help }) as const

/** Shared with `gta view`. */
export const hardwareOption: Options = {
  hardware: {
    type: 'string',
    multiple: true,
    value: 'NAME',
    help: '"this" measures this machine once and remembers it; see --list (default this)',
  },
}

export const analyze: Command = {
  usage: 'analyze MODEL|config.json… [--hardware NAME] [--batch 1,8] [--seqlen 128,2048] [-o md|csv|json|svg|html]',
  options: {
    ...hardwareOption,
    batch: list('1,8', 'prompts, or conversations that generate together (default 1)'),
    seqlen: list('128,2048', 'tokens of a prompt, or in the cache of each conversation (default 2048)'),
    stage: { type: 'string', value: 'prefill|decode|both', help: 'default both' },
    ...flagAs('type', { help: `the engine's weights (default ${settings.type.default}, or that of the file)` }),
    ...flagAs('cache', { help: helpOf({ ...settings.cache, help: "the engine's cache" }) }),
    'w-bit': { type: 'string', value: 'BITS', help: 'instead: bits of a weight, for another engine' },
    'a-bit': { type: 'string', value: 'BITS', help: 'bits of an activation (default 16)' },
    'kv-bit': { type: 'string', value: 'BITS', help: 'bits of a cached number (default: those of an activation)' },
    flash: {
      type: 'boolean',
      help: 'scores never leave the chip, with --w-bit and the like; the engine always does so',
    },
    mode: {
      type: 'string',
      value: analysisModes.join('|'),
      help: 'exact, or the formulas of LLM-Viewer with their defects, for comparison (default exact)',
    },
    bandwidth: {
      type: 'string',
      value: 'peak|sustained',
      help: 'of the memory (default sustained, where it is known)',
    },
    ...flagAs('threads', { help: 'threads on this machine (default: all that were measured)' }),
    prompt: { type: 'string', value: 'N', help: 'time of a generation too: tokens of its prompt (default 128)' },
    gen: { type: 'string', value: 'M', help: '… and tokens that it generates (default 128)' },
    'per-op': { type: 'boolean', help: 'a row for every operation, of one layer' },
    list: { type: 'boolean', help: 'the hardware table, with a source for each value' },
    measure: { type: 'boolean', help: 'measure this machine again' },
    output: {
      type: 'string',
      short: 'o',
      value: Object.keys(analyzeFormats).join('|'),
      help: 'what to print (default md)',
    },
    ...common,
    json: { type: 'boolean', help: 'as -o json: one JSON document on stdout' },
  },
  run: execute,
}

const MAX_TOKENS = 2 ** 24

async function execute(args: Arguments): Promise<void> {
  const output = outputOf(args)
  if (args.flag('list')) {
    if (args.positionals.length > 0) throw new UsageError('--list must come without a model: it prints the whole table')
    if (output === 'json') printJson('hardware', { devices: hardwareTable })
    else process.stdout.write(describeTable())
    return
  }
  if (args.positionals.length === 0)
    throw new UsageError('a model or a config.json must be given: gta analyze models/configs/gta-1b.json')
  const settings = readSettings(args)
  const batches = args.list('batch', 1, 65536) ?? [1]
  const seqlens = args.list('seqlen', 1, MAX_TOKENS) ?? [2048]
  const chosen = args.oneOf('stage', [...stages, 'both']) ?? 'both'
  const generation = readGeneration(args)
  const devices = await readHardware(args)
  const models = await readModels(args)
  const input: AnalyzeInput = {
    entries: devices.flatMap((hardware) =>
      models.map(({ name, model, type }) => ({
        name,
        analysis: new Analysis(model, hardware, settingsFor(settings, type)),
      })),
    ),
    batches,
    seqlens,
    stages: chosen === 'both' ? stages : [chosen],
    isPerOperation: args.flag('per-op'),
    generation,
  }
  for (const { name, analysis } of input.entries)
    refuseUnaddressable(name, analysis, Math.max(...batches), Math.max(...seqlens))
  process.stdout.write(analyzeFormats[output](input))
}

/** A packed file has its own type; other engines and the tool do not ask for it. */
function settingsFor(settings: AnalyzeSettings, packed: PackingType | undefined): AnalyzeSettings {
  if (packed === undefined || settings.widths || settings.mode === 'llm-viewer') return settings
  if (settings.type !== undefined && settings.type !== packed)
    throw errors.badOption('--type', `${packed}, the type of the file`, settings.type)
  return { ...settings, type: packed }
}

function outputOf(args: Arguments): keyof typeof analyzeFormats {
  const names = Object.keys(analyzeFormats) as (keyof typeof analyzeFormats)[]
  const output = args.oneOf('output', names) ?? (args.flag('json') ? 'json' : 'md')
  if (args.flag('json') && output !== 'json')
    throw new UsageError(`one output must be given, found --json and -o ${output}`)
  return output
}

function readSettings(args: Arguments): AnalyzeSettings {
  const mode = args.oneOf('mode', analysisModes) ?? 'exact'
  const bits = (name: string) => args.whole(name, 1, 32)
  const [weights, activations, cache] = [bits('w-bit'), bits('a-bit'), bits('kv-bit')]
  const hasWidths = [weights, activations, cache].some((value) => value !== undefined)
  if (args.flag('flash') && !hasWidths && mode === 'exact')
    throw new UsageError("--flash must come with --w-bit, --a-bit or --kv-bit: the engine's own formats always do so")
  const width = activations ?? 16
  return {
    mode,
    ...args.values('type', 'cache', 'threads'),
    ...(hasWidths ? { widths: { weights: weights ?? 16, activations: width, cache: cache ?? width } } : {}),
    ...(hasWidths || mode === 'llm-viewer' ? { flash: args.flag('flash') } : {}),
    bandwidth: args.oneOf('bandwidth', ['peak', 'sustained'] as const),
  }
}

function readGeneration(args: Arguments): AnalyzeInput['generation'] {
  const [prompt, gen] = [args.whole('prompt', 1, MAX_TOKENS), args.whole('gen', 1, MAX_GENERATED)]
  return prompt === undefined && gen === undefined ? undefined : { prompt: prompt ?? 128, gen: gen ?? 128 }
}

/** Each is a pass. */
const MAX_GENERATED = 2 ** 20

/** The named devices; this machine is measured if it is not known yet. */
export async function readHardware(args: Arguments): Promise<Hardware[]> {
  const given = args.texts('hardware').flatMap((text) => text.split(','))
  const names = given.length > 0 ? given : ['this']
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new UsageError(`--hardware must name ${twice} once, found "${names.join(',')}"`)
  if (args.flag('measure') && !names.includes('this'))
    throw new UsageError('--measure must come with --hardware this: no other machine can be measured from here')
  const devices: Hardware[] = []
  for (const name of names) devices.push(name === 'this' ? await readThis(args.flag('measure')) : findHardware(name))
  return devices
}

/** This machine, measured again or if it must be. It takes some seconds; what was disturbed is told. */
export async function readThis(isAgain: boolean): Promise<Hardware> {
  const hardware = await measureThis({ again: isAgain ? 'better' : undefined, onMeasure: tellOfMeasuring })
  const { measured } = hardware
  if (measured && isBusy(measured))
    say(
      `this machine was measured on ${measured.date.slice(0, 10)} while other programs took ${percent(measured.foreignShare ?? 0)} of its processors: it can do more; run gta doctor --measure when it is quiet`,
    )
  return hardware
}

export function tellOfMeasuring(): void {
  if (process.stderr.isTTY) say('measuring this machine, which is done once …')
}

/** Models by the names of their files; two of the same name are told apart by their folders. */
async function readModels(args: Arguments) {
  const models = await Promise.all(
    args.positionals.map(async (path) => {
      const { model, plan } = await describeModel(path)
      return { path, name: modelName(path), model, type: plan?.type }
    }),
  )
  const isTwice = (name: string) => models.filter((candidate) => candidate.name === name).length > 1
  return models.map((found) => ({ ...found, name: isTwice(found.name) ? found.path : found.name }))
}

/** The name of the file, or of the folder of a config.json, which is called that everywhere. */
export function modelName(path: string): string {
  const file = basename(path) === 'config.json' ? basename(dirname(resolve(path))) : basename(resolve(path))
  return file.replace(/\.(gta|json)$/, '')
}

/** The engine's formats are for one engine, which cannot address more than 4 GiB. */
function refuseUnaddressable(name: string, analysis: Analysis, batch: number, seqlen: number): void {
  const needed = analysis.addressableExcess(batch, seqlen)
  if (needed !== undefined) throw toolErrors.unaddressable(name, needed, batch, seqlen)
}

function describeTable(): string {
  const rows = hardwareTable.flatMap(({ name, title, aliases, bandwidth, peak, onchipBuffer, memory }) => {
    const values: [string, { value: number; source: string } | undefined, number, string][] = [
      ['bandwidth, peak', bandwidth.peak, 1e9, 'GB/s'],
      ['bandwidth, sustained', bandwidth.sustained, 1e9, 'GB/s'],
      ...Object.entries(peak).map(
        ([format, value]) => [format, value, 1e9, 'GOP/s'] as [string, typeof value, number, string],
      ),
      ['on-chip buffer', onchipBuffer, 1e6, 'MB'],
      ['memory', memory, 1e9, 'GB'],
    ]
    const lines = values.flatMap(([what, found, unit, unitName]) =>
      found
        ? [`  ${what.padEnd(21)} ${Number((found.value / unit).toPrecision(6))} ${unitName}   (${found.source})`]
        : [],
    )
    return [`${name}: ${title}`, ...(aliases ? [`  also called           ${aliases.join(', ')}`] : []), ...lines, '']
  })
  return `${rows.join('\n')}this: this machine, measured in less than five seconds and remembered\n`
}
