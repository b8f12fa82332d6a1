/** gta convert: a Hugging Face directory or a GGUF file to one packed .gta file, or to a GGUF file for llama.cpp. */
import { basename, resolve } from 'node:path'
import type { Fit } from '../engine/fit.ts'
import { megabytes } from '../errors.ts'
import { type Conversion, type ConvertOptions, convert as convertModel, isGgufPath } from '../files/convert.ts'
import { ggufTypes } from '../files/gguf/write/blocks.ts'
import { settings } from '../settings.ts'
import { interruptSignal } from './interrupt.ts'
import { warnUnused } from './open.ts'
import { type Arguments, type Command, common, flagAs, UsageError } from './options.ts'
import { ProgressLine } from './progress.ts'
import { printJson, say } from './terminal.ts'

export const convert: Command = {
  usage: 'convert DIR|FILE.gguf [FILE.gta|FILE.gguf] [--type q8|q4|f32|keep] [--verbose] [--force]',
  options: {
    ...flagAs('model', { value: 'DIR', help: 'the Hugging Face directory, or a GGUF file' }),
    out: {
      type: 'string',
      value: 'FILE',
      help: 'the file to write (default: NAME-TYPE.gta here); .gguf for llama.cpp',
    },
    ...flagAs('type', {
      check: undefined,
      help: `weight type (default ${settings.type.default}; keep: what a GGUF file has, not rounded again); of a .gguf file ${ggufTypes.join(', ')} (default q8_0)`,
    }),
    verbose: { type: 'boolean', help: 'print what every matrix lost, not only the worst of each kind' },
    force: { type: 'boolean', help: 'replace the file if it is there already' },
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(2)
  const directory = args.modelPath()
  if (directory === undefined) throw new UsageError('the directory to convert must be given: gta convert DIR')
  const [, second] = args.positionals
  const out = args.text('out')
  if (out !== undefined && second !== undefined)
    throw new UsageError(`one output must be given, found "${second}" and --out "${out}"`)
  const given = out ?? second
  const type = typeFor(args, given)
  // Of a pulled model OWNER/NAME:Q8_0.
  const name = basename(resolve(directory))
    .replace(/\.gguf$/i, '')
    .replaceAll(':', '-')
  const path = given ?? `${name}-${type ?? settings.type.default}.gta`
  const progress = new ProgressLine('converting', megabytes)
  const result = await convertModel(directory, path, {
    ...(type === undefined ? {} : { type }),
    force: args.flag('force'),
    signal: interruptSignal(Number.POSITIVE_INFINITY),
    onProgress: progress.update,
    onFit: warnUnlessFit,
  }).finally(() => progress.end())
  warnUnused(result.unused)
  for (const what of result.left) say(`warning: ${what}`)
  if (args.flag('json')) return printJson('convert', result)
  if (!result.hasTokenizer)
    say(`warning: there is no tokenizer.json in "${directory}": the packed model takes only --tokens`)
  process.stdout.write(
    `${path}: ${result.type}, ${result.parameters} parameters, ${megabytes(result.bytes)}\n${errorLines(args.flag('verbose') ? result.errors : worstOf(result.errors))}`,
  )
}

function typeFor(args: Arguments, path: string | undefined): ConvertOptions['type'] {
  return path !== undefined && isGgufPath(path) ? args.oneOf('type', ggufTypes) : args.value('type')
}

/** A warning, not an error: the file may be meant for another machine. */
function warnUnlessFit({ fits, neededBytes, availableBytes, largestContext }: Fit): void {
  if (fits) return
  const room = largestContext > 0 ? `, or -c ${largestContext}` : ''
  say(
    `this machine cannot run the result: it needs ${megabytes(neededBytes)} of the ${megabytes(availableBytes)} that are left beside the system${room}. Converting all the same`,
  )
}

/** Of each kind of matrix the one that lost most. */
function worstOf(errors: Conversion['errors']): Conversion['errors'] {
  const worst = new Map<string, Conversion['errors'][number]>()
  for (const error of errors) {
    const kind = error.tensor.replace(/^layers\.\d+\./, '')
    const found = worst.get(kind)
    if (!found || error.relative > found.relative) worst.set(kind, error)
  }
  return [...worst.values()]
}

/** A line each, the worst first. */
function errorLines(errors: Conversion['errors']): string {
  return errors
    .toSorted((a, b) => b.relative - a.relative)
    .map(({ tensor, type, relative }) => {
      const lost = relative === 0 ? 'nothing lost' : `error ${(100 * relative).toFixed(2)} % of the weights`
      return `  ${tensor}: ${type}, ${lost}\n`
    })
    .join('')
}
