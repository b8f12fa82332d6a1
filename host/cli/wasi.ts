/** gta wasi: the command without JavaScript, gta.wasm, on Node's own WASI. */
import { stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { checkModelPath, defaultModel } from '../load.ts'
import { commandBuilds, runCommand } from '../wasi/command.ts'
import { type Arguments, type Command, common } from './options.ts'
import { run } from './run.ts'

export const wasi: Command = {
  usage: 'wasi [--build strict|relaxed] [--dir DIR] -- [MODEL.gta] -p PROMPT [options of gta.wasm, see -- --help]',
  options: {
    build: {
      type: 'string',
      value: commandBuilds.join('|'),
      help: 'which one (default: relaxed, where the platform has relaxed SIMD)',
    },
    dir: { type: 'string', multiple: true, value: 'DIR', help: 'a further directory that it may read' },
    help: common.help as Command['options'][string],
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  const build = args.oneOf('build', commandBuilds)
  const rest = [...args.positionals]
  // Where its files are: it may read their directories, and nothing else.
  const { values, positionals } = parseArgs({ args: rest, options: run.options, strict: false, allowPositionals: true })
  const isAbout = values.help === true || values.version === true
  let model = (values.model as string | undefined) ?? positionals[0]
  if (model === undefined && !isAbout) {
    model = fileURLToPath(defaultModel)
    rest.unshift('--model', model)
  }
  if (!isAbout) {
    const path = await checkModelPath(model)
    // A pulled model lies elsewhere than its name says.
    if (path !== undefined && path !== model) rest.splice(rest.indexOf(model as string), 1, path)
    model = path
  }
  const files = [model, values.file].filter((file) => typeof file === 'string' && file !== '-') as string[]
  const directories: Record<string, string> = {}
  for (const name of [...args.texts('dir'), ...files.map((file) => dirname(file))])
    if ((await stat(name).catch(() => undefined))?.isDirectory()) directories[name] = resolve(name)
  process.exitCode = await runCommand(rest, { build, directories })
}
