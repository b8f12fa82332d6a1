/** gta fit: does a model fit this memory, and how much context with it? Reads the config, nothing large. */
import { totalmem } from 'node:os'
import { longestContext, planModel } from '../../models/index.ts'
import { describeFit } from '../engine/describe-fit.ts'
import { fit as fitModel } from '../engine/fit.ts'
import { errors, megabytes } from '../errors.ts'
import { describeModel } from '../files/describe.ts'
import { defaultCache } from '../settings.ts'
import { sizeForms } from '../sizes.ts'
import { type Arguments, type Command, common, flagAs, flagsOf, UsageError } from './options.ts'
import { printJson } from './terminal.ts'

export const fit: Command = {
  usage: 'fit MODEL|config.json [--memory 4Gi] [-c 2048] [-np 1] [--type q8|q4|f32]',
  options: {
    ...flagsOf('model'),
    memory: {
      type: 'string',
      value: 'SIZE',
      help: `all of the machine's memory, ${sizeForms}; a board of 4 GB has 4Gi (default: this machine's)`,
    },
    ...flagAs('context', { help: "context in tokens (default: the model's)" }),
    parallel: { type: 'string', alias: 'np', value: 'N', help: 'conversations of that context (default 1)' },
    ...flagAs('type', { help: 'weight type (default: q8 and q4, or that of the file; any that fits is a yes)' }),
    ...flagsOf('cache'),
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const path = args.modelPath()
  if (path === undefined)
    throw new UsageError('a model or a config.json must be given: gta fit models/configs/gta-1b.json')
  // Nobody means 4 bytes.
  const memoryBytes = args.bytes('memory', 1e6) ?? totalmem()
  const { type: wanted, cache, context: asked } = args.values('type', 'cache', 'context')
  const conversations = args.whole('parallel', 1, 65536) ?? 1
  const { model, plan } = await describeModel(path, { type: wanted })
  if (plan && wanted && wanted !== plan.type)
    throw new UsageError(`--type must be ${plan.type}, the type of the file, found "${wanted}"`)
  const { maxContext } = model.spec
  const longest = longestContext(model.spec)
  const context = asked ?? maxContext
  if (!plan && wanted === 'keep') throw errors.nothingToKeep(path)
  const types = wanted ? [wanted] : (['q8', 'q4'] as const)
  const plans = plan ? [plan] : types.map((type) => planModel(model, type))
  const found = await Promise.all(
    plans.map((one) =>
      fitModel(model, one, { memoryBytes, context, conversations, cache: cache ?? defaultCache(one.type) }),
    ),
  )
  const fits = found.some((one) => one.fits)
  if (args.flag('json'))
    printJson('fit', {
      model: path,
      memoryBytes,
      context,
      conversations,
      maxContext,
      longestContext: longest,
      fits,
      types: found,
    })
  else {
    const what = `${path} with ${conversations} × ${context} tokens in ${megabytes(memoryBytes)}`
    const number = longest.toLocaleString('en')
    const note = context > longest ? `note: the memory alone; a text of this model has ${number} tokens at most\n` : ''
    process.stdout.write(
      `${fits ? 'yes' : 'no'}: ${what}\n${found.map((one) => describeFit(one, context, longest)).join('')}${note}`,
    )
  }
  if (!fits) process.exitCode = 1
}
