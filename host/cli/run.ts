/** gta run: write on from a prompt. */
import { cacheBytes } from '../../models/index.ts'
import { errors, megabytes } from '../errors.ts'
import { checkModelPath } from '../load.ts'
import type { GenerateOptions, Generation, SavedConversation, Speculation } from '../runtime/api.ts'
import { type Model, runtimeOf } from '../runtime/model.ts'
import { interruptSignal } from './interrupt.ts'
import { loadModel, readPrompt } from './open.ts'
import {
  type Arguments,
  type Command,
  common,
  contextOptions,
  flagsOf,
  generateNames,
  generateOptions,
  modelOptions,
  promptOptions,
} from './options.ts'
import { ProgressLine } from './progress.ts'
import { readSession } from './session.ts'
import { printable, printJson } from './terminal.ts'

/** What the embedded model is given when nobody gives it anything. */
const DEFAULT_PROMPT = 'Once upon a time'

export const run: Command = {
  usage: 'run [MODEL] [-p PROMPT] [options]',
  options: {
    ...modelOptions,
    ...promptOptions,
    ...generateOptions,
    ...contextOptions,
    session: {
      type: 'string',
      value: 'FILE',
      help: 'go on with the conversation in this file, if there is one, and save it there at the end',
    },
    ...flagsOf('stopEos', 'ignoreEos'),
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  await checkModelPath(args.modelPath())
  const { session, continued } = await readSession(args)
  const isStory = args.modelPath() === undefined && continued === undefined
  const prompt = (await readPrompt(args)) ?? (isStory ? DEFAULT_PROMPT : undefined)
  if (prompt?.length === 0 || (prompt === undefined && continued === undefined)) throw errors.emptyPrompt()
  // A conversation of an hour is saved to the end, however slow the disk is.
  const signal = interruptSignal(session === undefined ? undefined : Number.POSITIVE_INFINITY)
  const settings: GenerateOptions = {
    ...args.values(...generateNames),
    stopAtEos: args.value('ignoreEos') ? false : args.value('stopEos') ? true : undefined,
    signal,
  }
  const context = args.values('contextPolicy', 'keep')
  const isJson = args.flag('json')
  const model = await loadModel(args, signal)
  try {
    const conversation =
      continued === undefined ? model.open(context) : await model.restore(continued, { ...context, signal })
    const restored = conversation.tokens.length
    const progress = new ProgressLine('reading the prompt', (n) => `${n} tokens`)
    const show = (text: string) => !isJson && process.stdout.write(process.stdout.isTTY ? printable(text) : text)
    // Without a tokenizer there is no text to show, so the ids are.
    const onToken = model.tokenizer ? undefined : (id: number) => show(`${id} `)
    const pieces = conversation.generate(prompt, { ...settings, onToken, onPrefill: progress.update })
    // Shown once it has been accepted and read.
    let isShown = typeof prompt !== 'string'
    try {
      for (;;) {
        const { done, value } = await pieces.next().finally(() => progress.end())
        if (!isShown) show(prompt as string)
        isShown = true
        if (!done) {
          show(value)
          continue
        }
        show('\n')
        const saved = session === undefined ? undefined : await conversation.save(session)
        // After the text is out: somebody waits for that.
        const bandwidth = await runtimeOf(model).cache.measure((probe) => probe.measureBandwidth())
        report(model, value, bandwidth, isJson, saved && { ...saved, restoredTokens: restored })
        return
      }
    } catch (error) {
      // A stopped conversation is saved; one that failed is not.
      if (session !== undefined && signal.aborted && conversation.tokens.length > 0) await conversation.save(session)
      throw error
    }
  } finally {
    await model.close()
  }
}

type Session = SavedConversation & { restoredTokens: number }

function report(
  model: Model,
  generation: Generation,
  bandwidth: number,
  isJson: boolean,
  session: Session | undefined,
): void {
  const { cachedTokens, speculation } = generation
  const { tokens, promptTokens, prefillSeconds, decodeSeconds, finish, sampling, logitsHash } = generation
  const steps = tokens.length - 1
  const prefill = promptTokens / prefillSeconds
  const decode = steps > 0 ? steps / decodeSeconds : 0
  const kv = cacheBytes(model.spec, model.cacheType, promptTokens + tokens.length / 2)
  const read = decode * (model.bytesPerToken + kv.elements + kv.scales)
  const peak = process.resourceUsage().maxRSS * 1024
  if (isJson) {
    printJson({
      tokens,
      text: model.tokenizer ? generation.text : null,
      finish,
      promptTokens,
      cachedTokens,
      ...(speculation ? { speculation } : {}),
      ...(session ? { session } : {}),
      seed: sampling.seed,
      sampling,
      prefillTokensPerSecond: prefill,
      decodeTokensPerSecond: decode,
      bytesReadPerSecond: read,
      memoryBandwidth: bandwidth,
      peakMemoryBytes: peak,
      logitsHash,
      engine: model.engineName,
      weightType: model.weightType,
      cacheType: model.cacheType,
      context: model.context,
    })
    return
  }
  const parts = [
    ...(session ? [`session ${session.restoredTokens} tokens restored, ${session.tokens} saved`] : []),
    `prefill ${promptTokens} tokens ${prefill.toFixed(0)} tok/s`,
    steps > 0
      ? `decode ${steps} tokens ${decode.toFixed(0)} tok/s, ${(read / 1e9).toFixed(1)} GB/s${shareOf(read, bandwidth)}`
      : 'decode none',
    ...(speculation ? [describeSpeculation(speculation, tokens.length - 1)] : []),
    `peak ${megabytes(peak)}`,
    `logits ${logitsHash}`,
    `seed ${sampling.seed}`,
    `ended by ${finish}`,
  ]
  process.stderr.write(`[${parts.join(' · ')}]\n`)
}

function shareOf(read: number, bandwidth: number): string {
  return bandwidth ? ` = ${((100 * read) / bandwidth).toFixed(0)} % of ${(bandwidth / 1e9).toFixed(1)} GB/s memory` : ''
}

function describeSpeculation({ steps, drafted, accepted }: Speculation, tokens: number): string {
  return `guessed ${accepted} of ${drafted} tokens right: ${(tokens / Math.max(1, steps)).toFixed(2)} tokens per step`
}
