/** gta view: the analyzer as a page in a browser on this machine. */
import { checkHost } from '../server/local-server.ts'
import { hardwareTable } from '../tools/analyze/hardware.ts'
import { readConfigs, viewerModels } from '../tools/analyze/viewer/models.ts'
import { openViewer } from '../tools/analyze/viewer/server.ts'
import { modelName, readThis } from './analyze.ts'
import { interruptSignal } from './interrupt.ts'
import { type Arguments, type Command, common, UsageError } from './options.ts'

const { help } = common

export const view: Command = {
  usage: 'view [MODEL|config.json…] [--port 8421]',
  options: {
    port: { type: 'string', value: 'N', help: 'default: any that is free' },
    host: { type: 'string', value: 'ADDRESS', help: 'address to listen on (default 127.0.0.1; others need --public)' },
    public: { type: 'boolean', help: 'let other machines read the page' },
    measure: { type: 'boolean', help: 'measure this machine first, again' },
    help: help as Command['options'][string],
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  const port = args.whole('port', 0, 65535)
  const [host = '127.0.0.1', isPublic] = [args.text('host'), args.flag('public')]
  // Before this machine is measured, which takes seconds.
  checkHost(host, isPublic)
  const names = args.positionals.map(modelName)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new UsageError(`models must have different names, found "${twice}" twice`)
  const own = await readConfigs(args.positionals)
  const models = { ...Object.fromEntries(own.map((config, i) => [names[i] as string, config])), ...viewerModels(names) }
  const signal = interruptSignal()
  const hardware = [await readThis(args.flag('measure')), ...hardwareTable]
  const viewer = await openViewer({ models, hardware, host, port, isPublic })
  process.stdout.write(`${viewer.url}\nCtrl-C ends it\n`)
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  await viewer.close()
  signal.throwIfAborted()
}
