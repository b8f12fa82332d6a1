/** gta fleet: how many boards are one service, and what those of a queue do. */
import { haproxyConfig } from '../fleet/haproxy.ts'
import { askWorkers, type WorkerStatus } from '../fleet/queue/presence.ts'
import { stateOf } from '../fleet/queue/streams.ts'
import { type Arguments, type Command, common, UsageError } from './options.ts'
import { openQueue, queueOptions } from './queue-options.ts'
import { DEFAULT_SLOTS, MAX_SLOTS } from './served-models.ts'
import { headLine, tableLine } from './table.ts'
import { printable, printJson } from './terminal.ts'

const DEFAULTS = { listen: '*:8080', queue: 30, timeout: 600, header: 'x-conversation-id' }

export const fleet: Command = {
  usage: 'fleet status --nats URL [options], or gta fleet haproxy --boards HOST:PORT,… [options]',
  options: {
    ...queueOptions,
    boards: { type: 'string', value: 'HOST:PORT,…', help: 'haproxy: boards that run gta serve' },
    listen: { type: 'string', value: 'HOST:PORT', help: `haproxy: where it listens (default ${DEFAULTS.listen})` },
    parallel: { type: 'string', alias: 'np', value: 'N', help: `haproxy: the -np of each board (default ${DEFAULT_SLOTS})` }, // biome-ignore format: one line
    queue: {
      type: 'string',
      value: 'SECONDS',
      help: `haproxy: how long a request may wait for a board; then its answer is 503 (default ${DEFAULTS.queue})`,
    },
    timeout: {
      type: 'string',
      value: 'SECONDS',
      help: `haproxy: how long an answer may be silent (default ${DEFAULTS.timeout})`,
    },
    header: {
      type: 'string',
      value: 'NAME',
      help: `haproxy: requests with the same one go to the same board (default ${DEFAULTS.header})`,
    },
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const [what] = args.positionals
  if (what === 'haproxy') process.stdout.write(configOf(args))
  else if (what === 'status') await tellStatus(args)
  else
    throw new UsageError(`"gta fleet" must be followed by status or haproxy, found ${what ? `"${what}"` : 'nothing'}`)
}

function configOf(args: Arguments): string {
  if (args.flag('json')) throw new UsageError('--json must be left out: a configuration is no JSON')
  const boards = args.text('boards')?.split(',').map((board) => board.trim()) // biome-ignore format: one line
  if (!boards) throw new UsageError('--boards must be given: HOST:PORT of each, with commas between')
  return haproxyConfig({
    boards,
    listen: args.text('listen') ?? DEFAULTS.listen,
    slots: args.whole('parallel', 1, MAX_SLOTS) ?? DEFAULT_SLOTS,
    queueSeconds: args.whole('queue', 1, 3600) ?? DEFAULTS.queue,
    answerSeconds: args.whole('timeout', 1, 86_400) ?? DEFAULTS.timeout,
    header: args.text('header') ?? DEFAULTS.header,
  })
}

async function tellStatus(args: Arguments): Promise<void> {
  const { nats, stream } = await openQueue(args, 'fleet')
  try {
    const { messages: pending } = await stateOf(nats, stream)
    const workers = (await askWorkers(nats, stream)).sort((a, b) => (a.board < b.board ? -1 : 1))
    if (args.flag('json')) printJson('fleet', { stream, pending, workers })
    else process.stdout.write(`${tableOf(workers)}${workers.length} workers, ${pending} requests not done yet\n`)
  } finally {
    await nats.connection.close()
  }
}

const columns = [
  { name: 'board', width: 12, isText: true },
  { name: 'model', width: 12, isText: true },
  { name: 'hash', width: 16, isText: true },
  { name: 'running', width: 7 },
  { name: 'done', width: 6 },
  { name: 'failed', width: 6 },
  { name: 'tok/s', width: 6 },
  { name: '°C', width: 4 },
  { name: 'last error', width: 10, isText: true },
]

/** What boards say of themselves is shown, not obeyed. */
function tableOf(workers: readonly WorkerStatus[]): string {
  const rows = workers.map((worker) => {
    const { board, model, hash, running, slots, done, failed, tokens, seconds, temperature, lastError } = worker
    const rate = seconds > 0 ? (tokens / seconds).toFixed(1) : ''
    const cells = [board, model, hash, `${running}/${slots}`, done, failed, rate, temperature?.toFixed(0) ?? '', lastError ?? ''] // biome-ignore format: one line
    return tableLine(columns, cells.map((cell) => printable(String(cell)).replaceAll(/[|\n]/g, ' ').slice(0, 80))) // biome-ignore format: one line
  })
  return `${headLine(columns)}${rows.join('')}`
}
