/** What can be typed in a chat besides messages. */
import { errors, megabytes, Words } from '../errors.ts'
import type { Generation } from '../runtime/api.ts'
import type { Chat } from '../runtime/chat.ts'
import { type Model, runtimeOf } from '../runtime/model.ts'
import { printable, printJson } from './terminal.ts'

export interface ChatState {
  model: Model
  chat: Chat
  /** The file of --session. */
  session: string | undefined
  isJson: boolean
  /** How the last answer went; undefined if there was none, or it was stopped. */
  last: Generation | undefined
}

interface ChatCommand {
  argument?: string
  help: string
  /** What happened: for programs, and in words. */
  run(state: ChatState, argument: string): Promise<{ words: string; facts: object }>
}

const commands: Record<string, ChatCommand> = {
  help: { help: 'this text', run: async () => ({ words: helpText(), facts: { text: helpText() } }) },
  reset: {
    help: 'forget all messages, but not the instructions of /system',
    async run({ chat }) {
      chat.reset()
      return { words: 'all messages are forgotten', facts: {} }
    },
  },
  system: {
    argument: 'TEXT',
    help: 'instructions before all messages; without TEXT: none',
    async run({ chat }, argument) {
      chat.system = argument === '' ? undefined : argument
      const words = argument === '' ? 'there are no instructions now' : 'from the next message on'
      return { words, facts: { system: chat.system ?? null } }
    },
  },
  save: {
    argument: 'FILE',
    help: 'save messages and cache; gta chat --session FILE goes on',
    async run({ chat, session }, argument) {
      const path = argument === '' ? session : argument
      if (path === undefined) throw errors.badOption('/save', 'followed by the path of a file', new Words('none'))
      if (chat.messages.length === 0)
        throw errors.badOption('a chat that is saved', 'of at least one message', new Words('none'))
      const saved = await chat.save(path)
      return { words: `${saved.tokens} tokens, ${megabytes(saved.bytes)} in ${saved.path}`, facts: saved }
    },
  },
  stats: { help: 'tokens, speed and cache', run: async (state) => ({ words: statsText(state), facts: stats(state) }) },
  quit: { help: 'end the chat, as Ctrl-D does', run: async () => ({ words: '', facts: {} }) },
}

/** The name and the argument of a command; undefined if a message is none: two slashes begin one with a slash. */
export function commandOf(message: string): { name: string; argument: string } | undefined {
  if (!message.startsWith('/') || message.startsWith('//')) return undefined
  const [, name = '', argument = ''] = /^\/(\S*)\s*([\s\S]*)$/.exec(message) ?? []
  return { name, argument: argument.trim() }
}

/** Runs a command and tells what it did. */
export async function runCommand(state: ChatState, { name, argument }: { name: string; argument: string }) {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command)
    throw errors.badOption(
      'a line that begins with "/"',
      `a command (${Object.keys(commands)
        .map((known) => `/${known}`)
        .join(', ')}), or a message after "//"`,
      `/${name}`,
    )
  if (argument !== '' && !command.argument) throw errors.badOption(`/${name}`, 'alone in its line', argument)
  const { words, facts } = await command.run(state, argument)
  if (state.isJson) printJson('chat', { type: name, ...facts })
  else if (words !== '') process.stderr.write(`${printable(words)}\n`)
  return name
}

function helpText(): string {
  const rows = Object.entries(commands).map(([name, { argument = '', help }]) => [`/${name} ${argument}`, help])
  const more = [
    ['\\ at the end', 'the message goes on in the next line'],
    ['//…', 'a message that begins with a slash'],
    ['Ctrl-C', 'stops an answer; a second one ends the chat'],
  ]
  return [...rows, ...more].map(([left = '', right]) => `${left.padEnd(14)}${right}`).join('\n')
}

function stats({ model, chat, last }: ChatState) {
  const { conversation } = chat
  const { usedBytes, totalBytes } = runtimeOf(model).cache.use
  return {
    messages: chat.messages.length,
    tokens: conversation.tokens.length,
    forgottenTokens: conversation.dropped,
    context: model.context,
    cacheBytes: usedBytes,
    cacheMemory: totalBytes,
    last: last ? speeds(last) : null,
  }
}

/** Tokens and speed of an answer. */
export function speeds({ tokens, promptTokens, cachedTokens, prefillSeconds, decodeSeconds }: Generation) {
  const computed = promptTokens - cachedTokens
  return {
    promptTokens,
    cachedTokens,
    prefillTokensPerSecond: computed / prefillSeconds,
    answerTokens: tokens.length,
    decodeTokensPerSecond: tokens.length > 1 ? (tokens.length - 1) / decodeSeconds : 0,
  }
}

function statsText(state: ChatState): string {
  const { messages, tokens, forgottenTokens, context, cacheBytes, cacheMemory, last } = stats(state)
  const forgotten = forgottenTokens > 0 ? `, ${forgottenTokens} forgotten` : ''
  const lines = [
    `${messages} messages, ${tokens} of ${context} tokens${forgotten}, cache ${megabytes(cacheBytes)} of ${megabytes(cacheMemory)}`,
  ]
  if (last)
    lines.push(
      `last answer: ${last.answerTokens} tokens, ${last.decodeTokensPerSecond.toFixed(1)} tok/s, behind a prompt of ${last.promptTokens} tokens, ${last.cachedTokens} of them from the cache, the others read with ${last.prefillTokensPerSecond.toFixed(0)} tok/s`,
    )
  return lines.join('\n')
}
