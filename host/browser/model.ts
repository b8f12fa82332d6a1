/** What stands for a model and its conversations in the page: the same methods as in Node, all of them promises. */

import { errors } from '../errors.ts'
import { advice } from '../platform/advice.ts'
import type {
  ConversationOptions,
  Embeddings,
  GenerateOptions,
  Generation,
  OpenOptions,
  Prompt,
} from '../runtime/api.ts'
import { type GenerationParts, GenerationStream } from '../runtime/stream.ts'
import { check, jsonSchemaOf } from '../text/structured/standard-schema.ts'
import { Connection } from './connection.ts'
import type { EngineFacts, SentModel } from './protocol.ts'

export interface LoadOptions extends OpenOptions {
  /** Where browser-worker.mjs is, if not beside this module: bundlers move it. */
  workerUrl?: string | URL
}

/** The smallest module with a SIMD instruction: i32 → i8x16.splat → drop. */
const simd = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[1, 5, 1, 0x60, 1, 0x7f, 0],
  ...[3, 2, 1, 0],
  ...[10, 9, 1, 7, 0, 0x20, 0, 0xfd, 15, 0x1a, 0x0b],
)

/**
 * Fetches a packed model and starts it in a worker, with a thread for each core if the page is isolated. A connection
 * that breaks goes on where it broke. Throws GtaError (NO_BUILD, NOT_FOUND, FETCH_FAILED, BAD_FILE, BAD_MODEL, …);
 * an abort ends the worker and throws the signal's reason.
 */
export async function load(url: string | URL, options: LoadOptions = {}): Promise<Model> {
  const { signal, onProgress, workerUrl, ...sent } = options
  signal?.throwIfAborted()
  if (!WebAssembly.validate(simd)) throw errors.noBuild('SIMD', advice)
  const address = new URL(url, globalThis.document?.baseURI ?? location.href).href
  const connection = startWorker(workerUrl)
  const abort = () => connection.end(signal?.reason)
  signal?.addEventListener('abort', abort)
  try {
    return new Model(address, connection, await connection.ask('load', [address, sent], onProgress))
  } catch (error) {
    connection.end(error as Error)
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

function startWorker(url: string | URL | undefined): Connection {
  if (url !== undefined) return new Connection(new Worker(url, { type: 'module', name: 'gta-edge' }), String(url))
  // In this form bundlers find the worker.
  const worker = new Worker(new URL('./browser-worker.mjs', import.meta.url), { type: 'module', name: 'gta-edge' })
  return new Connection(worker, 'browser-worker.mjs')
}

/** A loaded model. */
export class Model {
  readonly url: string
  readonly spec: SentModel['spec']
  readonly weightType: SentModel['weightType']
  readonly cacheType: SentModel['cacheType']
  /** Positions per conversation. */
  readonly context: number
  /** What generation_config.json recommends. */
  readonly recommended: SentModel['recommended']
  /** Weight bytes that one decoded token reads. */
  readonly bytesPerToken: number
  /** Tokens that end a text. */
  readonly eos: ReadonlySet<number>
  /** Which build runs, with how many threads and how much memory, and why it is one thread if it is. */
  readonly engine: EngineFacts
  private readonly connection: Connection

  /** Use `load()`. */
  constructor(url: string, connection: Connection, facts: SentModel) {
    this.url = url
    this.connection = connection
    this.spec = facts.spec
    this.weightType = facts.weightType
    this.cacheType = facts.cacheType
    this.context = facts.context
    this.recommended = facts.recommended
    this.bytesPerToken = facts.bytesPerToken
    this.eos = facts.eos
    this.engine = facts.engine
  }

  /**
   * Streams the continuation of a prompt, piece by piece; `result` of the stream tells how it went. A conversation
   * of its own, which is forgotten.
   */
  generate<T = unknown>(prompt: Prompt, options: GenerateOptions<T> & ConversationOptions = {}): GenerationStream<T> {
    if (prompt === undefined) throw errors.badOption('the prompt', 'a text or a list of token ids', prompt)
    return new GenerationStream(generate(this.connection, 0, prompt, options))
  }

  /** Logits (vocabSize) after the last token of a prompt. */
  async logits(prompt: Prompt): Promise<Float32Array> {
    return await this.connection.ask('logits', [0, prompt])
  }

  /** Vectors of texts, as in Node. */
  async embed(texts: readonly Prompt[]): Promise<Embeddings> {
    return await this.connection.ask('embed', [texts])
  }

  /** A new conversation; close it, or it keeps its part of the cache. If all are taken it waits when it is first used. */
  async open(options: ConversationOptions = {}): Promise<Conversation> {
    return new Conversation(this.connection, await this.connection.ask('open', [options]))
  }

  /** Ends the worker; whatever is under way fails with CLOSED. */
  async close(): Promise<void> {
    this.connection.end(errors.closed())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** A conversation of a model. */
export class Conversation {
  private readonly connection: Connection
  private readonly number: number

  /** Use `model.open()`. */
  constructor(connection: Connection, number: number) {
    this.connection = connection
    this.number = number
  }

  /** Adds a prompt and streams what follows; without a prompt it goes on where it ended. */
  generate<T = unknown>(prompt?: Prompt, options: GenerateOptions<T> = {}): GenerationStream<T> {
    return new GenerationStream(generate(this.connection, this.number, prompt, options))
  }

  /** Computes a prompt; resolves to the logits (vocabSize) behind its last token. */
  async logits(prompt: Prompt): Promise<Float32Array> {
    return await this.connection.ask('logits', [this.number, prompt])
  }

  /** All tokens that are not forgotten, the last generated one too. */
  async tokens(): Promise<number[]> {
    return await this.connection.ask('tokens', [this.number])
  }

  /** Another conversation with the same past; they share its memory. */
  async fork(): Promise<Conversation> {
    return new Conversation(this.connection, await this.connection.ask('fork', [this.number]))
  }

  /** Forgets all tokens but the first `length`. */
  async rewind(length: number): Promise<void> {
    await this.connection.ask('rewind', [this.number, length])
  }

  /** Gives its memory back. */
  async close(): Promise<void> {
    await this.connection.ask('close', [this.number])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** One event is asked for after the other, so what nobody reads is not computed, as in Node. */
async function* generate<T>(
  connection: Connection,
  conversation: number,
  prompt: Prompt | undefined,
  options: GenerateOptions<T> & ConversationOptions,
): GenerationParts<T> {
  const { signal, onToken, onPrefill, schema, ...rest } = options
  // A library's schema has functions, which cannot be sent.
  const sent = schema === undefined ? rest : { ...rest, schema: jsonSchemaOf(schema) as object }
  signal?.throwIfAborted()
  const number = await connection.ask('generate', [conversation, prompt, sent])
  const abort = () => connection.send({ abort: number })
  signal?.addEventListener('abort', abort)
  let isOver = false
  try {
    for (;;) {
      const event = await connection.ask('next', [number])
      isOver = event.type === 'end'
      if (event.type === 'end') return await checked(event.result, schema)
      if (event.type === 'token') onToken?.(event.id)
      else onPrefill?.({ done: event.done, total: event.total, cached: event.cached })
      yield event
      signal?.throwIfAborted()
    }
  } catch (error) {
    throw signal?.aborted ? signal.reason : error
  } finally {
    signal?.removeEventListener('abort', abort)
    if (!isOver) await connection.ask('end', [number]).catch(() => undefined)
  }
}

/** With the value as the page's schema has it. */
async function checked<T>(
  { value, ...generation }: Generation,
  schema: GenerateOptions<T>['schema'],
): Promise<Generation<T>> {
  return value === undefined ? generation : { ...generation, ...(await check<T>(schema ?? true, value)) }
}
