/** gta chat: a conversation with a model that was trained for it. */
import { GtaError } from '../errors.ts'
import { checkModelPath } from '../load.ts'
import type { ChatOptions, GenerateOptions, Generation } from '../runtime/api.ts'
import type { Chat } from '../runtime/chat.ts'
import type { Model } from '../runtime/model.ts'
import { builtInTemplates } from '../text/template/templates.ts'
import { type ChatState, commandOf, runCommand, speeds } from './chat-commands.ts'
import { Input, Interrupts } from './chat-input.ts'
import { formOptions, readForm } from './form.ts'
import { loadModel, readText } from './open.ts'
import {
  type Arguments,
  type Command,
  common,
  contextOptions,
  generateNames,
  generateOptions,
  modelOptions,
} from './options.ts'
import { ProgressLine } from './progress.ts'
import { readSession } from './session.ts'
import { printable, printJson, say } from './terminal.ts'

export const chat: Command = {
  usage: 'chat [MODEL] [options]',
  options: {
    ...modelOptions,
    system: { type: 'string', value: 'TEXT', help: 'instructions before all messages' },
    'chat-template': {
      type: 'string',
      value: 'NAME|FILE',
      help: `${Object.keys(builtInTemplates).join(', ')}, or a file with a Jinja template (default: the model's own)`,
    },
    ...generateOptions,
    ...formOptions,
    ...contextOptions,
    session: {
      type: 'string',
      value: 'FILE',
      help: 'go on with the chat in this file, if there is one, and save it there at the end',
    },
    ...common,
    json: { type: 'boolean', help: 'one JSON document a line on stdout, for each line of stdin' },
  },
  run: execute,
}

async function execute(args: Arguments): Promise<void> {
  args.expectPositionals(1)
  await checkModelPath(args.modelPath())
  const { session, continued } = await readSession(args)
  const settings = { ...args.values(...generateNames), ...(await readForm(args)) }
  const options: ChatOptions = {
    template: await readTemplate(args.text('chat-template')),
    system: args.text('system'),
    ...args.values('contextPolicy', 'keep'),
  }
  const interrupts = new Interrupts(session !== undefined, () => say('Ctrl-C again, Ctrl-D or /quit ends the chat'))
  const signal = interrupts.quitting
  const model = await loadModel(args, signal)
  try {
    const opened =
      continued === undefined
        ? await model.chat({ ...options, signal })
        : await model.restoreChat(continued, { ...options, signal })
    if (continued !== undefined && !args.flag('json')) say(restored(continued, opened, model))
    const state: ChatState = { model, chat: opened, session, isJson: args.flag('json'), last: undefined }
    await talk(state, settings, interrupts)
    if (session !== undefined && opened.messages.length > 0) await opened.save(session)
    signal.throwIfAborted()
  } finally {
    await model.close()
  }
}

/** 'goes on with talk.gtas: 2 messages, 41 tokens, on model.gta' */
function restored(path: string, { messages, conversation }: Chat, model: Model): string {
  const count = `${messages.length} message${messages.length === 1 ? '' : 's'}`
  return `goes on with ${path}: ${count}, ${conversation.length} tokens, on ${model.path}`
}

async function readTemplate(given: string | undefined): Promise<string | undefined> {
  return given === undefined || Object.hasOwn(builtInTemplates, given) ? given : await readText(given)
}

/** Reads until the input ends. Where the input is no terminal, the first failure ends the chat. */
async function talk(state: ChatState, settings: GenerateOptions, interrupts: Interrupts): Promise<void> {
  const input = new Input(interrupts, state.isJson)
  if (process.stdin.isTTY && !state.isJson)
    say('/help tells the commands, Ctrl-C stops an answer, Ctrl-D ends the chat')
  try {
    for (;;) {
      const message = await input.next()
      if (message === undefined) return
      if (message.trim() === '') continue
      try {
        const command = commandOf(message)
        if (command) {
          if ((await runCommand(state, command)) === 'quit') return
        } else await answer(state, message.replace(/^\/\//, '/'), settings, interrupts)
      } catch (error) {
        if (interrupts.quitting.aborted) return
        tell(state, error)
      }
    }
  } finally {
    input.close()
  }
}

/** An error is told where somebody can try again; else it ends the program. */
function tell({ isJson }: ChatState, error: unknown): void {
  if (isJson && error instanceof Error) {
    const code = error instanceof GtaError ? error.code : undefined
    printJson('chat', { type: 'error', code, message: error.message })
  }
  if (!process.stdin.isTTY || !(error instanceof GtaError)) throw error
  if (!isJson) say(error.code === 'CONTEXT_FULL' ? `${error.message}. Or begin anew with /reset` : error.message)
}

async function answer(
  state: ChatState,
  message: string,
  settings: GenerateOptions,
  interrupts: Interrupts,
): Promise<void> {
  const { chat: opened, isJson } = state
  const progress = new ProgressLine('reading', (n) => `${n} tokens`)
  let text = ''
  await interrupts.during(async (signal) => {
    const pieces = opened.send(message, { ...settings, signal, onPrefill: progress.update })
    try {
      for (;;) {
        const { done, value } = await pieces.next().finally(() => progress.end())
        if (done) {
          state.last = value
          break
        }
        text += value
        if (!isJson) process.stdout.write(process.stdout.isTTY ? printable(value) : value)
      }
    } catch (error) {
      if (!signal.aborted) throw error
      state.last = undefined
    }
  })
  if (isJson) printJson('chat', { type: 'answer', text, ...describe(state.last) })
  else process.stdout.write('\n')
  if (!isJson) remark(state.model, state.last)
}

/** How an answer ended, if it did not end by itself. */
function remark(model: Model, last: Generation | undefined): void {
  if (!last) say('stopped')
  else if (last.finish === 'length') say('stopped by -n')
  else if (last.finish === 'context')
    say(
      `the context of ${model.context} tokens is full: /reset begins anew, --context-policy shift forgets what is old`,
    )
}

/** What programs are told of an answer; of one that was stopped, only that it was. */
function describe(generation: Generation | undefined): object {
  if (!generation) return { finish: 'stopped' }
  const { tokens, finish, sampling, logitsHash } = generation
  return { tokens, finish, ...speeds(generation), seed: sampling.seed, logitsHash }
}
