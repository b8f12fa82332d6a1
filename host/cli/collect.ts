/** gta collect: results of a queue into a file. */
import { collectResults } from '../fleet/queue/collect.ts'
import { openOutput, outputOptions, SOME_FAILED } from './batch-files.ts'
import { interruptSignal } from './interrupt.ts'
import { type Arguments, type Command, common, UsageError } from './options.ts'
import { openQueue, queueOptions } from './queue-options.ts'
import { printJson, say } from './terminal.ts'

export const collect: Command = {
  usage: 'collect OUT.jsonl --nats URL [options]',
  options: {
    ...queueOptions,
    ...outputOptions,
    wait: { type: 'boolean', help: 'until no request is left in the queue' },
    ...common,
    json: { type: 'boolean', help: 'what was done as one JSON document on stdout, where results do not go there' },
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const [path] = args.positionals
  if (path === undefined) throw new UsageError('OUT.jsonl must be given; - stands for stdout')
  const signal = interruptSignal()
  const output = await openOutput(args, path)
  try {
    const { nats, stream } = await openQueue(args, 'collect')
    try {
      await output.begin()
      const counts = await collectResults({ nats, stream, output, isWaiting: args.flag('wait'), signal })
      await output.close()
      const { written, failed, kept, repeated, strange, pending } = counts
      if (args.flag('json')) printJson('collect', { stream, ...counts })
      else say(`collect: ${written} written, ${failed} of them failed, ${kept} were there, ${pending} not done yet`)
      if (repeated + strange > 0)
        say(`warning: left out ${repeated} second results of an id, and ${strange} messages that are no results`)
      if (failed + output.kept.failed > 0) process.exitCode = SOME_FAILED
    } finally {
      await nats.connection.close()
    }
  } finally {
    await output.close()
  }
}
