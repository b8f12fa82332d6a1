/** A model in Node-RED's own process, through the library: loaded by the first message, and shared by all nodes that use it. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { GenerateOptions, Model } from '../index.ts'
import { statuses } from '../server/errors.ts'
import { isCut } from '../server/writing.ts'
import { type Answer, type Answerer, type Asked, answerMessage, type Told, type ToolCall } from './answer.ts'
import { errors, NodeError } from './errors.ts'

type Library = typeof import('../index.ts')

export interface OwnModelOptions {
  /** A file, a directory, or a name of `gta pull`; nothing: the embedded stories model. */
  path: string | undefined
  template: string | undefined
  context: number | undefined
  /** Such as 600M: what takes more is refused before anything is allocated. */
  memory: string | undefined
  /** Where Node-RED keeps packages. */
  userDir: string | undefined
}

/** Codes after which only another load helps. */
const LOST = ['ENGINE_FAILED', 'NOT_FINITE', 'CLOSED']

export class OwnModel implements Answerer {
  readonly #options: OwnModelOptions
  readonly #closing = new AbortController()
  #model: Promise<Model> | undefined

  constructor(options: OwnModelOptions) {
    this.#options = options
  }

  async *ask(asked: Asked, signal: AbortSignal): AsyncGenerator<Told, Answer> {
    const loading = this.#loaded()
    try {
      const model = await Promise.race([loading, rejection(signal)])
      return yield* answer(model, asked, this.#options.template, signal)
    } catch (error) {
      // Unless another message has done so.
      if (LOST.includes((error as { code?: string }).code ?? '') && this.#model === loading) await this.#forget()
      throw signal.aborted ? error : asNodeError(error)
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(errors.closed())
    await this.#forget()
  }

  /** A load that fails is tried again by the next message. It goes on if the message that began it is aborted. */
  #loaded(): Promise<Model> {
    const loading = this.#model ?? this.#load()
    this.#model = loading
    loading.catch(() => {
      if (this.#model === loading) this.#model = undefined
    })
    return loading
  }

  async #load(): Promise<Model> {
    const { path, context, memory, userDir } = this.#options
    const { defaultModel, load, optimizeFromTheStart } = requireLibrary(userDir)
    if (process.arch === 'arm64') optimizeFromTheStart()
    const options = { ...(context === undefined ? {} : { context }), ...(memory === undefined ? {} : { memory }) }
    try {
      return await load(path ?? defaultModel, { ...options, signal: this.#closing.signal })
    } catch (cause) {
      if (this.#closing.signal.aborted) throw cause
      const [status, code] = statuses[(cause as { code: 'BAD_OPTION' }).code] ?? [503, 'model_not_loaded']
      throw new NodeError(status, code, `the model cannot be loaded: ${(cause as Error).message}`, { cause })
    }
  }

  async #forget(): Promise<void> {
    const loading = this.#model
    this.#model = undefined
    const model = await loading?.catch(() => undefined)
    await model?.close()
  }
}

/** Rejects when the signal is aborted, with its reason. */
function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    if (signal.aborted) reject(signal.reason)
  })
}

/** The package beside this one, or in Node-RED's folder: npm links to a folder that it installs, which is then elsewhere. */
function requireLibrary(userDir: string | undefined): Library {
  const places = [import.meta.url, ...(userDir === undefined ? [] : [join(userDir, 'package.json')])]
  let found: unknown
  for (const require of places.map(createRequire))
    try {
      return require('gta-edge') as Library
    } catch (error) {
      if ((error as { code?: string }).code !== 'MODULE_NOT_FOUND') throw error
      found = error
    }
  throw errors.noLibrary(found)
}

async function* answer(
  model: Model,
  asked: Asked,
  template: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Told, Answer> {
  const { input, tools, toolChoice, schema } = asked
  // Within a schema a stop text is one of generate(); in a chat it is none of thoughts and calls.
  const stop = schema === undefined ? asked.stop : undefined
  const chat =
    'messages' in input
      ? await model.applyChatTemplate(input.messages as [], { template, tools, toolChoice, stop, signal })
      : undefined
  // A schema says itself where the answer ends, and what a parser would take for thoughts or calls is a part of it.
  const parser = schema === undefined ? chat?.parser() : undefined
  const stream = model.generate(chat?.tokens ?? (input as { prompt: string }).prompt, optionsOf(asked, chat?.options, signal)) // biome-ignore format: one line
  let [content, reasoning] = ['', '']
  const calls: ToolCall[] = []
  const add = (piece: string | undefined, isCut = false) => {
    if (!parser) {
      content += piece ?? ''
      return piece ?? ''
    }
    let text = ''
    for (const event of piece === undefined ? parser.end(isCut) : parser.push(piece)) {
      if (event.type === 'content') text += event.text
      else if (event.type === 'reasoning') reasoning += event.text
      else if (event.type === 'call')
        calls[event.index] = { id: event.id, type: 'function', function: { name: event.name, arguments: '' } }
      else if (event.type === 'arguments') (calls[event.index] as ToolCall).function.arguments += event.text
    }
    content += text
    return text
  }
  for await (const event of stream.events()) {
    if (event.type === 'prefill') yield { type: 'reading', done: event.done, total: event.total }
    else if (event.type === 'token') yield { type: 'text', text: add(event.text), tokens: 1 }
    else {
      const rest = add(undefined, isCut(event.result))
      if (rest !== '') yield { type: 'text', text: rest, tokens: 0 }
    }
  }
  const { finish, usage } = await stream.result
  const { promptTokens, cachedTokens, completionTokens } = usage
  return {
    message: answerMessage(content, reasoning, calls),
    finish: isCut({ finish }) ? 'length' : calls.length > 0 ? 'tool_calls' : 'stop',
    usage: {
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
      prompt_tokens_details: { cached_tokens: cachedTokens },
    },
  }
}

function optionsOf(asked: Asked, chat: GenerateOptions | undefined, signal: AbortSignal): GenerateOptions {
  const { maxTokens, temperature, seed, stop, schema } = asked
  const stops = [...(schema === undefined ? (chat?.stop ?? []) : []), ...(stop ?? [])]
  const given = { maxTokens, temperature, seed, schema }
  return {
    ...chat,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    stop: stops,
    signal,
  }
}

/** With the status and the code that a server would give. */
function asNodeError(error: unknown): NodeError {
  if (error instanceof NodeError) return error
  const { code = 'internal_error', message } = error as Error & { code?: string }
  const [status, name] = statuses[code as 'BAD_OPTION'] ?? [500, code.toLowerCase()]
  return new NodeError(status, name, message, { cause: error })
}
