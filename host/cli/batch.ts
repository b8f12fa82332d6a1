/** gta batch: a file of requests, in OpenAI's form, to a file of results. */
import { type BatchCounts, runBatch } from '../fleet/batch.ts'
import { batchErrors } from '../fleet/errors.ts'
import type { Output } from '../fleet/output.ts'
import { LocalApi } from '../server/local-api.ts'
import { openInput, openOutput, outputOptions, SOME_FAILED } from './batch-files.ts'
import { BatchLine } from './batch-line.ts'
import { interruptSignal } from './interrupt.ts'
import { type Arguments, type Command, common, UsageError } from './options.ts'
import { DEFAULT_SLOTS, MAX_SLOTS, servedModels, servedOptions } from './served-models.ts'
import { printJson, say } from './terminal.ts'

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
    ...outputOptions,
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
  if (from !== undefined && to !== undefined) return [from, to]
  throw new UsageError('IN.jsonl and OUT.jsonl must be given; - stands for stdin and for stdout')
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
