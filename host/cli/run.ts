/** gta run: write on from a prompt. */
import { errors } from '../errors.ts'
import { checkModelPath } from '../load.ts'
import type { GenerateOptions } from '../runtime/api.ts'
import { type Conversation, sequenceOf } from '../runtime/conversation.ts'
import { type Model, runtimeOf } from '../runtime/model.ts'
import { formOptions, readForm } from './form.ts'
import { interruptSignal } from './interrupt.ts'
import { loadModel, readPiped, readPrompt } from './open.ts'
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
import { type Outcome, report } from './run-output.ts'
import { readSession } from './session.ts'
import { printable } from './terminal.ts'

/** What the embedded model is given when nobody gives it anything. */
const DEFAULT_PROMPT = 'Once upon a time'

export const run: Command = {
  usage: 'run [MODEL] [-p PROMPT | -f FILE | < FILE] [options]',
  options: {
    ...modelOptions,
    ...promptOptions,
    ...generateOptions,
    ...formOptions,
    ...contextOptions,
    session: {
      type: 'string',
      value: 'FILE',
      help: 'go on with the conversation in this file, if there is one, and save it there at the end',
    },
    ...flagsOf('stopEos', 'ignoreEos'),
    perf: {
      type: 'boolean',
      help: 'measure the memory after the text, half a second and 64 MB, and tell the share of its bandwidth that was used',
    },
    ...common,
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  await checkModelPath(args.modelPath())
  const { session, continued } = await readSession(args)
  const isStory = args.modelPath() === undefined && continued === undefined
  const prompt = (await readPrompt(args)) ?? (await readPiped()) ?? (isStory ? DEFAULT_PROMPT : undefined)
  if (prompt?.length === 0 || (prompt === undefined && continued === undefined)) throw errors.emptyPrompt()
  // A conversation of an hour is saved to the end, however slow the disk is.
  const signal = interruptSignal(session === undefined ? undefined : Number.POSITIVE_INFINITY)
  const settings: GenerateOptions = {
    ...args.values(...generateNames),
    ...(await readForm(args)),
    stopAtEos: args.value('ignoreEos') ? false : args.value('stopEos') ? true : undefined,
    signal,
  }
  const context = args.values('contextPolicy', 'keep')
  const isJson = args.flag('json')
  const model = await loadModel(args, signal)
  try {
    const conversation =
      continued === undefined ? model.open(context) : await model.restore(continued, { ...context, signal })
    const restoredTokens = conversation.tokens.length
    const outcome = await write(model, conversation, prompt, settings, isJson)
    const isSaved = session !== undefined && conversation.tokens.length > 0
    const saved = isSaved ? await conversation.save(session) : undefined
    const bandwidth =
      args.flag('perf') && !signal.aborted
        ? await runtimeOf(model).cache.measure((probe) => probe.measureBandwidth())
        : undefined
    report(model, outcome, { bandwidth, isJson, session: saved && { ...saved, restoredTokens } })
    if (outcome.finish === 'interrupted') throw signal.reason
  } finally {
    await model.close()
  }
}

/** Shows the text as it comes. What ended it too soon is thrown, unless somebody stopped it: then it is what there is. */
async function write(
  model: Model,
  conversation: Conversation,
  prompt: string | number[] | undefined,
  settings: GenerateOptions,
  isJson: boolean,
): Promise<Outcome> {
  const progress = new ProgressLine('reading the prompt', (n) => `${n} tokens`)
  const show = (text: string) => !isJson && process.stdout.write(process.stdout.isTTY ? printable(text) : text)
  const stopped = new Stopped()
  const pieces = conversation.generate(prompt, {
    ...settings,
    onToken: (id) => {
      stopped.add(id)
      // Without a tokenizer there is no text to show, so the ids are.
      if (!model.tokenizer) show(`${id} `)
    },
    onPrefill: (reading) => {
      stopped.promptTokens = reading.total
      progress.update(reading)
    },
  })
  // Shown once it has been accepted and read; not where the text is a form of its own.
  const hasForm = settings.schema !== undefined || settings.pattern !== undefined
  let isShown = typeof prompt !== 'string' || hasForm
  try {
    for (;;) {
      const { done, value } = await pieces.next().finally(() => progress.end())
      if (!isShown) show(prompt as string)
      isShown = true
      if (done) {
        show('\n')
        return value
      }
      stopped.text += value
      show(value)
    }
  } catch (error) {
    if (error !== settings.signal?.reason) throw error
    if (isShown) show('\n')
    return stopped.outcome(conversation)
  }
}

/** What is known of a generation that was stopped. */
class Stopped {
  text = ''
  promptTokens = 0
  private readonly tokens: number[] = []
  private readonly started = performance.now()
  private first = 0
  private last = 0

  add(id: number): void {
    this.last = performance.now()
    if (this.tokens.length === 0) this.first = this.last
    this.tokens.push(id)
  }

  outcome(conversation: Conversation): Outcome {
    const { text, tokens, promptTokens, started, first, last } = this
    return {
      tokens,
      text,
      promptTokens,
      finish: 'interrupted',
      sampling: sequenceOf(conversation).lastSampling,
      prefillSeconds: tokens.length > 0 ? (first - started) / 1000 : undefined,
      decodeSeconds: (last - first) / 1000,
    }
  }
}
