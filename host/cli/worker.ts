/** gta worker: answers the requests of a queue. */
import { hostname } from 'node:os'
import { answerStatus } from '../fleet/queue/presence.ts'
import { Worker } from '../fleet/queue/worker.ts'
import { LocalApi } from '../server/local-api.ts'
import { readSensors } from '../tools/bench/sensors.ts'
import { exitCodes } from './interrupt.ts'
import { type Arguments, type Command, common } from './options.ts'
import { openQueue, queueOptions } from './queue-options.ts'
import { DEFAULT_SLOTS, MAX_SLOTS, servedModels, servedOptions } from './served-models.ts'
import { say } from './terminal.ts'

const DEFAULTS = { ackWait: 30, maxDeliver: 5, drain: 10 }

const { 'models-memory': _, ...options } = servedOptions

export const worker: Command = {
  usage: 'worker [[NAME=]MODEL] --nats URL [options]',
  options: {
    ...queueOptions,
    concurrency: {
      type: 'string',
      alias: 'np',
      value: 'N',
      help: `requests that are answered at a time (default ${DEFAULT_SLOTS})`,
    },
    'ack-wait': {
      type: 'string',
      value: 'SECONDS',
      help: `after so long without a word from its worker a request is given to another (default ${DEFAULTS.ackWait})`,
    },
    'max-deliver': {
      type: 'string',
      value: 'N',
      help: `a request that N workers did not live to answer is given up (default ${DEFAULTS.maxDeliver})`,
    },
    drain: {
      type: 'string',
      value: 'SECONDS',
      help: `what requests under way may take when the worker ends; the rest is given back (default ${DEFAULTS.drain})`,
    },
    ...options,
    ...common,
    json: { type: 'boolean', help: 'what is logged as JSON, a document a line' },
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const drain = args.whole('drain', 0, 3600) ?? DEFAULTS.drain
  const ending = new Ending(drain)
  const slots = args.whole('concurrency', 1, MAX_SLOTS) ?? DEFAULT_SLOTS
  const limits = {
    ackWait: args.whole('ack-wait', 1, 3600) ?? DEFAULTS.ackWait,
    maxDeliver: args.whole('max-deliver', 1, 1000) ?? DEFAULTS.maxDeliver,
  }
  // Who cannot get in is to hear of it before a model is loaded.
  const { nats, stream } = await openQueue(args, 'worker')
  let api: LocalApi | undefined
  try {
    const models = await servedModels(args, args.positionals)
    api = await LocalApi.open({ ...models, slots, queue: slots, onError: (error) => log(String(error)) })
    const [hash, ask, started] = [await api.hash(), api.ask.bind(api), performance.now()]
    let lastError: string | undefined
    const log = (text: string) => {
      lastError = text
      say(text)
    }
    const own = new Worker({
      ...{ nats, stream, hash, slots, ...limits },
      answer: ({ url, body }, signal) => ask(url, body, signal),
      drain: ending.drain.signal,
      stop: ending.stop.signal,
      onError: log,
    })
    const model = models.models[0]?.name ?? ''
    const tokens = () => api?.tokens ?? 0
    answerStatus(nats, stream, async () => ({
      ...{ board: hostname(), model, hash, slots, running: own.running, done: own.done, failed: own.failed },
      ...{ tokens: tokens(), seconds: (performance.now() - started) / 1000, lastError },
      temperature: (await readSensors()).temperature,
    }))
    process.stdout.write(`working on ${stream} at ${nats.server} with ${model}, model hash ${hash}\n`)
    ending.begin()
    await own.run()
    say(`worker: ${own.done} done, ${own.failed} of them failed, ${tokens()} tokens`)
  } finally {
    await nats.connection.drain().catch(() => undefined)
    await api?.close()
  }
}

/** A signal ends a worker when what runs is done, or after a while; a second one at once. Before it works, a signal ends the process. */
class Ending {
  readonly drain = new AbortController()
  readonly stop = new AbortController()
  private readonly seconds: number
  private isWorking = false

  constructor(seconds: number) {
    this.seconds = seconds
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => this.end(name))
  }

  begin(): void {
    this.isWorking = true
  }

  private end(name: keyof typeof exitCodes): void {
    if (!this.isWorking) process.exit(exitCodes[name])
    if (this.drain.signal.aborted) {
      this.stop.abort(new Error('the worker ends'))
      setTimeout(() => process.exit(exitCodes[name]), 1000).unref()
      return
    }
    say('ending: requests under way are finished; once more ends at once')
    this.drain.abort()
    setTimeout(() => this.stop.abort(new Error('the worker ends')), this.seconds * 1000).unref()
    // A model that is being loaded, or a server that is away, is not waited for.
    setTimeout(() => process.exit(exitCodes[name]), this.seconds * 1000 + 2000).unref()
  }
}
