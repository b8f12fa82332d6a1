/** gta eval: perplexity of a text. */
import { interruptSignal, openModel, printJson, readText } from './open.ts'
import { type Arguments, type Command, common, modelOptions, UsageError } from './options.ts'
import { Progress } from './progress.ts'

export const evaluate: Command = {
  name: 'eval',
  summary: 'perplexity of a text, in windows of the context',
  usage: 'eval [MODEL] --text FILE [-c N] [--json]',
  options: {
    ...modelOptions,
    text: { type: 'string', value: 'FILE', help: 'UTF-8 text; control tokens written out in it are themselves' },
    tokens: { type: 'string', value: '1,5,9', help: 'token ids instead of a text' },
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  const file = args.text('text')
  const tokens = args.tokens()
  if ((file === undefined) === (tokens === undefined))
    throw new UsageError('exactly one of --text FILE and --tokens must be given')
  const text = file === undefined ? '' : await readText(file)
  const signal = interruptSignal()
  const model = await openModel(args, signal, { maxLogits: 64 })
  try {
    const ids = tokens ?? model.corpusIds(text)
    const progress = new Progress('evaluating', (n) => `${n} tokens`)
    const total = ids.length - 1
    const started = performance.now()
    const result = await model
      .evaluate(ids, { signal, onProgress: (done) => progress.update({ done, total }) })
      .finally(() => progress.end())
    const seconds = (performance.now() - started) / 1000
    const { nll, perplexity, predicted } = result
    const settings = { weightType: model.weightType, cacheType: model.cacheType, window: model.context }
    if (args.flag('json')) printJson({ tokens: result.tokens, predicted, nll, perplexity, seconds, ...settings })
    else
      process.stdout.write(
        `perplexity ${perplexity.toFixed(4)}, ${nll.toFixed(5)} nats per token, ${predicted} of ${result.tokens} tokens predicted in windows of ${settings.window} (${settings.weightType} weights, ${settings.cacheType} cache, ${seconds.toFixed(1)} s)\n`,
      )
  } finally {
    await model.close()
  }
}
