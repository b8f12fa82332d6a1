/** gta serve: models behind an API for programs. */
import { parseKeys } from '../server/admittance.ts'
import { serverErrors } from '../server/errors.ts'
import { type ApiServer, type LogEntry, openServer } from '../server/server.ts'
import { exitCodes } from './interrupt.ts'
import { readText } from './open.ts'
import { type Arguments, type Command, common, UsageError } from './options.ts'
import { DEFAULT_SLOTS, MAX_SLOTS, servedModels, servedOptions } from './served-models.ts'
import { say } from './terminal.ts'

const DEFAULTS = { port: 8080, queue: 16, timeout: 600, drain: 10 }

export const serve: Command = {
  usage: 'serve [[NAME=]MODEL …] [options]',
  options: {
    host: { type: 'string', value: 'HOST', help: 'where to listen (default 127.0.0.1: this machine only)' },
    port: { type: 'string', value: 'N', help: `0: any that is free (default ${DEFAULTS.port})` },
    parallel: {
      type: 'string',
      alias: 'np',
      value: 'N',
      help: `texts that are written at a time (default ${DEFAULT_SLOTS})`,
    },
    queue: {
      type: 'string',
      value: 'N',
      help: `requests that may wait; all others get status 429 at once (default ${DEFAULTS.queue})`,
    },
    timeout: {
      type: 'string',
      value: 'SECONDS',
      help: `what a request may take, with its waiting (default ${DEFAULTS.timeout})`,
    },
    drain: {
      type: 'string',
      value: 'SECONDS',
      help: `what requests under way may take when the server ends (default ${DEFAULTS.drain})`,
    },
    'api-key-file': { type: 'string', value: 'FILE', help: 'keys, one a line: whoever asks must have one' },
    insecure: { type: 'boolean', help: 'others may connect without a key' },
    cors: { type: 'string', multiple: true, value: 'ORIGIN', help: 'pages of this origin may ask, or of all: *' },
    'allow-host': { type: 'string', multiple: true, value: 'NAME', help: 'another name of this machine' },
    'no-page': { type: 'boolean', help: 'without the page to chat with, at /' },
    quiet: { type: 'boolean', help: 'log nothing but what went wrong' },
    ...servedOptions,
    ...common,
    json: { type: 'boolean', help: 'what is logged as JSON, a document a line' },
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  const drain = args.whole('drain', 0, 3600) ?? DEFAULTS.drain
  // Before anybody is told that it listens: a signal may come with the answer to that.
  const ending = new Ending(drain, args.flag('quiet'))
  const server = await openServer({
    slots: args.whole('parallel', 1, MAX_SLOTS) ?? DEFAULT_SLOTS,
    queue: args.whole('queue', 0, 10_000) ?? DEFAULTS.queue,
    timeout: args.whole('timeout', 1, 86_400) ?? DEFAULTS.timeout,
    drain,
    host: args.text('host'),
    port: args.whole('port', 0, 65_535) ?? DEFAULTS.port,
    keys: await readKeys(args.text('api-key-file')),
    isInsecure: args.flag('insecure'),
    origins: originsOf(args.texts('cors')),
    hosts: namesOf(args.texts('allow-host')),
    hasPage: !args.flag('no-page'),
    ...(args.flag('quiet') ? {} : logging),
    onError: (error) => say(error instanceof Error ? (error.stack ?? error.message) : String(error)),
    // The last of it: files are looked at when all else is right.
    ...(await servedModels(args, args.positionals)),
  })
  const ended = ending.of(server)
  process.stdout.write(`listening on ${server.url}\n`)
  await ended
}

const logging = {
  onLoad: (name: string, milliseconds: number) => say(`loaded ${name} in ${Math.round(milliseconds)} ms`),
  onUnload: (name: string) => say(`unloaded ${name}`),
  onRequest: (entry: LogEntry) => say(lineOf(entry)),
}

/** Milliseconds that models may take to end behind the last answer: one that is being loaded cannot be stopped. */
const AFTERWARDS = 2000

/** Signals end a server, a second one at once. Before there is one they end the process, as they would without us. */
class Ending {
  private readonly drain: number
  private readonly isQuiet: boolean
  private server: ApiServer | undefined
  private resolve = () => {}
  private count = 0

  constructor(drain: number, isQuiet: boolean) {
    this.drain = drain
    this.isQuiet = isQuiet
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => this.end(name))
  }

  /** Resolves when a signal has ended it. */
  of(server: ApiServer): Promise<void> {
    this.server = server
    return new Promise((resolve) => {
      this.resolve = resolve
    })
  }

  private end(name: keyof typeof exitCodes): void {
    const { server, drain, isQuiet } = this
    if (!server) process.exit(exitCodes[name])
    this.count++
    if (this.count === 1) {
      if (!isQuiet) say('ending: requests under way are finished; once more ends at once')
      server.close().then(this.resolve)
      // Whoever was told anything has heard its end by then.
      setTimeout(() => process.exit(0), drain * 1000 + AFTERWARDS).unref()
    } else {
      server.abort().then(this.resolve)
      setTimeout(() => process.exit(exitCodes[name]), 1000).unref()
    }
  }
}

/** As a browser writes them: without a path, in small letters. */
function originsOf(texts: string[]): string[] {
  const wrong = texts.find((text) => text !== '*' && !/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\sA-Z]+$/.test(text))
  if (wrong === undefined) return texts
  throw new UsageError(`--cors must be an origin such as https://page.example, without a path, or *, found "${wrong}"`)
}

function namesOf(texts: string[]): string[] {
  const wrong = texts.find((text) => !/^(?:[\w-]+(?:\.[\w-]+)*|\[[\da-f:.]+\])$/i.test(text))
  if (wrong === undefined) return texts
  throw new UsageError(
    `--allow-host must be the name of a machine, such as board.lan, without a port, found "${wrong}"`,
  )
}

async function readKeys(path: string | undefined): Promise<string[]> {
  if (path === undefined) return []
  const keys = parseKeys(await readText(path))
  if (keys.length === 0) throw serverErrors.noKeys(path)
  return keys
}

/** 'POST /v1/chat/completions 200 812 ms, 41 tokens' */
function lineOf({ method, route, status, milliseconds, ...notes }: LogEntry): string {
  const more = Object.entries(notes).map(([name, value]) => `, ${name} ${value}`)
  return `${method} ${route} ${status ?? 'gone'} ${milliseconds} ms${more.join('')}`
}
