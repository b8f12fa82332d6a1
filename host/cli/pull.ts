/** gta pull: a model from a hub into the cache, where every command finds it by its name. */
import type { Fit } from '../engine/fit.ts'
import { megabytes } from '../errors.ts'
import type { Pulled } from '../files/hub/options.ts'
import { isOffline, pull as pullModel } from '../files/hub/pull.ts'
import { settings } from '../settings.ts'
import { sizeForms } from '../sizes.ts'
import { interruptSignal } from './interrupt.ts'
import { type Arguments, type Command, common, flagAs, UsageError } from './options.ts'
import { ProgressLine } from './progress.ts'
import { printJson, say } from './terminal.ts'

export const pull: Command = {
  usage: 'pull OWNER/NAME[@REVISION][:FILE] [--type q8|q4|f32] [-c N] [--force] [--offline]',
  options: {
    ...flagAs('model', {
      value: 'NAME',
      help: 'what to pull: Qwen/Qwen3-0.6B, or OWNER/NAME:FILE.gguf, OWNER/NAME:Q4_K_M',
    }),
    ...flagAs('type', { help: 'weight type that it is to run with (default: q8 or q4, whichever fits)' }),
    ...flagAs('context', { help: 'context that it is to run with, in tokens' }),
    memory: {
      type: 'string',
      value: 'SIZE',
      help: `all memory of the machine that it is to run on, ${sizeForms} (default: this machine's)`,
    },
    force: { type: 'boolean', help: 'download it even if it does not fit' },
    offline: { type: 'boolean', help: 'touch no network, only say whether it is there (default: $HF_HUB_OFFLINE)' },
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const name = args.modelPath()
  if (name === undefined) throw new UsageError('a model must be named: gta pull Qwen/Qwen3-0.6B')
  const isJson = args.flag('json')
  const { type, context } = args.values('type', 'context')
  if (type === 'keep')
    throw new UsageError('--type must be f32, q8 or q4: what is kept of a file shows when it is here')
  const memoryBytes = args.bytes('memory', 1e6)
  const progress = new ProgressLine('downloading', megabytes)
  const found: Fit[] = []
  const signal = interruptSignal()
  const pulled = await pullModel(name, {
    type,
    context,
    memoryBytes,
    force: args.flag('force'),
    offline: args.flag('offline') || isOffline(),
    signal,
    onNotice: (text) => {
      progress.end()
      say(text)
    },
    onFit: (fits, lines) => {
      found.push(...fits)
      if (!isJson) process.stdout.write(lines)
    },
    onProgress: progress.update,
  })
    .finally(() => progress.end())
    .catch((error) => {
      if (signal.aborted) say('what has arrived stays: the same command goes on')
      throw error
    })
  if (isJson) printJson('pull', { ...pulled, fits: found })
  else process.stdout.write(summary(pulled, found))
}

function summary({ name, path, bytes, downloaded }: Pulled, fits: readonly Fit[]): string {
  const came = downloaded > 0 ? `${megabytes(downloaded)} downloaded` : 'nothing to download'
  return `${name}: ${megabytes(bytes)} in ${path}, ${came}\nNow: gta run ${name}${flagsFor(fits)} -p "Hello"\n`
}

/** What `gta run` must be told, where its defaults do not fit. */
function flagsFor(fits: readonly Fit[]): string {
  const [best] = [...fits.filter((one) => one.fits), ...fits.filter((one) => one.largestContext > 0)]
  if (!best) return ''
  const type = best.type === settings.type.default ? '' : ` --type ${best.type}`
  return best.fits ? type : `${type} -c ${best.largestContext}`
}
