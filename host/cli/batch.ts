/** gta batch: a file of requests, in OpenAI's form, to a file of results. */
import { type FileHandle, open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { errors } from '../errors.ts'
import { type BatchCounts, runBatch } from '../fleet/batch.ts'
import { batchErrors } from '../fleet/errors.ts'
import { type Output, OutputFile, OutputStream } from '../fleet/output.ts'
import { LocalApi } from '../server/local-api.ts'
import { BatchLine } from './batch-line.ts'
import { interruptSignal } from './interrupt.ts'
import { type Arguments, type Command, common, UsageError } from './options.ts'
import { DEFAULT_SLOTS, MAX_SLOTS, servedModels, servedOptions } from './served-models.ts'
import { printJson, say } from './terminal.ts'

/** All is done, but some requests were refused or failed. */
const SOME_FAILED = 3

export const batch: Command = {
  usage: 'batch IN.jsonl OUT.jsonl [options]',
  options: {
    model: {
      type: 'string',
      short: 'm',
      multiple: true,
      value: '[NAME=]MODEL',
      help: 'a model that requests may name; the first is for those that name none; may be given several times',
    },
    resume: { type: 'boolean', help: 'go on with an output that is there: what has a result is not asked again' },
    force: { type: 'boolean', help: 'write over an output that is there' },
    ordered: { type: 'boolean', help: 'results in the order of the requests, not as soon as they are there' },
    limit: { type: 'string', value: 'N', help: 'only the first N requests' },
    concurrency: {
      type: 'string',
      alias: 'np',
      value: 'N',
      help: `requests that are answered at a time (default ${DEFAULT_SLOTS})`,
    },
    ...servedOptions,
    ...common,
    json: { type: 'boolean', help: 'what was done as one JSON document on stdout, where results do not go there' },
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  const [from, to] = pathsOf(args)
  const limit = args.whole('limit', 1)
  const concurrency = args.whole('concurrency', 1, MAX_SLOTS) ?? DEFAULT_SLOTS
  const signal = interruptSignal()
  const models = await servedModels(args, args.texts('model'))
  const input = await openInput(from)
  const output = await openOutput(args, to, input).catch((error) => {
    input.stream.destroy()
    throw error
  })
  let api: LocalApi | undefined
  try {
    // With a place for one that waits: a request may take several slots.
    api = await LocalApi.open({ ...models, slots: concurrency, queue: concurrency, onError: sayStack })
    const ask = api.ask.bind(api)
    const line = new BatchLine(api, input.bytes)
    await output.begin()
    const counts = await runBatch({
      input: input.stream,
      output,
      concurrency,
      limit,
      isOrdered: args.flag('ordered'),
      answer: ({ url, body }, stopped) => ask(url, body, stopped),
      signal,
      onProgress: line.update,
      otherOrder: () => batchErrors.otherOrder(to),
    }).finally(() => line.end())
    await output.close()
    tell(args, counts, line, output, limit)
  } catch (error) {
    if (signal.aborted && to !== '-') say(`what was answered is in ${to}: the same command with --resume goes on`)
    throw error
  } finally {
    input.stream.destroy()
    await output.close().finally(() => api?.close())
  }
}

function pathsOf(args: Arguments): [string, string] {
  args.expectPositionals(2)
  const [from, to] = args.positionals
  if (from === undefined || to === undefined)
    throw new UsageError('IN.jsonl and OUT.jsonl must be given; - stands for stdin and for stdout')
  if (args.flag('resume') && args.flag('force')) throw new UsageError('only one of --resume, --force must be given')
  if (to !== '-') return [from, to]
  for (const name of ['resume', 'force', 'json'])
    if (args.flag(name)) throw new UsageError(`--${name} must be left out where results go to stdout`)
  return [from, to]
}

interface Input {
  stream: Readable
  /** Of a file: how long it is. */
  bytes: number | undefined
  handle: FileHandle | undefined
}

async function openInput(path: string): Promise<Input> {
  if (path === '-') return { stream: process.stdin, bytes: undefined, handle: undefined }
  const handle = await open(path, 'r').catch((cause) => {
    throw cause?.code === 'ENOENT' ? errors.noFile(path) : errors.unreadable(path, cause)
  })
  const found = await handle.stat()
  if (found.isDirectory()) {
    await handle.close()
    throw errors.unreadable(path, new Error('it is a directory'))
  }
  return { stream: handle.createReadStream(), bytes: found.isFile() ? found.size : undefined, handle }
}

async function openOutput(args: Arguments, path: string, { handle }: Input): Promise<Output> {
  if (path === '-') return new OutputStream(process.stdout)
  const output = await OutputFile.open(path, {
    isResumed: args.flag('resume'),
    isForced: args.flag('force'),
    onCut: (bytes) => say(`cut ${bytes} bytes off ${path}: a result that was being written`),
  })
  if (!handle || !(await output.isSame(handle))) return output
  await output.close()
  throw batchErrors.sameFile(path)
}

function tell(args: Arguments, counts: BatchCounts, line: BatchLine, output: Output, limit: number | undefined): void {
  const strange = output.kept.keys.size - counts.kept
  if (strange > 0 && limit === undefined)
    say(`warning: ${strange} results that were there belong to no request of the input`)
  if (args.flag('json')) {
    const { requests, kept, answered, failed } = counts
    printJson('batch', { requests, kept, answered, failed, tokens: line.tokens, seconds: line.seconds })
  } else say(line.summary(counts))
  if (counts.failed + output.kept.failed > 0) process.exitCode = SOME_FAILED
}

const sayStack = (error: unknown) => say(error instanceof Error ? (error.stack ?? error.message) : String(error))
