/** gta submit: a file of requests into a queue. */
import { servedHash } from '../fleet/queue/presence.ts'
import { makeStreams } from '../fleet/queue/streams.ts'
import { submitRequests } from '../fleet/queue/submit.ts'
import { openInput, SOME_FAILED } from './batch-files.ts'
import { interruptSignal } from './interrupt.ts'
import { type Arguments, type Command, common, UsageError } from './options.ts'
import { openQueue, queueOptions } from './queue-options.ts'
import { printJson, say } from './terminal.ts'

export const submit: Command = {
  usage: 'submit IN.jsonl --nats URL [options]',
  options: {
    ...queueOptions,
    'model-hash': {
      type: 'string',
      value: 'HASH',
      help: 'the model that the requests are for, as gta worker says it (default: the one that all workers have)',
    },
    limit: { type: 'string', value: 'N', help: 'only the first N requests' },
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const [path] = args.positionals
  if (path === undefined) throw new UsageError('IN.jsonl must be given; - stands for stdin')
  const [limit, asked] = [args.whole('limit', 1), args.text('model-hash')]
  if (asked !== undefined && !/^[\da-f]{16}$/.test(asked))
    throw new UsageError(`--model-hash must be the 16 hexadecimal digits that gta worker says, found "${asked}"`)
  const signal = interruptSignal()
  const { stream: input } = await openInput(path)
  const { nats, stream } = await openQueue(args, 'submit')
  try {
    await makeStreams(nats, stream)
    const hash = asked ?? (await servedHash(nats, stream))
    signal.addEventListener('abort', () => input.destroy())
    const counts = await submitRequests({
      ...{ nats, stream, hash, input, limit, signal },
      onRefused: (line, { message }) => say(`line ${line} of ${path}: ${message}`),
    }).catch((error) => {
      signal.throwIfAborted()
      throw error
    })
    const { requests, queued, known, refused } = counts
    if (args.flag('json')) printJson('submit', { stream, modelHash: hash, ...counts })
    else say(`submit: ${requests} requests, ${queued} queued, ${known} were there, ${refused} refused`)
    if (refused > 0) process.exitCode = SOME_FAILED
  } finally {
    input.destroy()
    await nats.connection.close()
  }
}
