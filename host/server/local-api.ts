/** OpenAI's API without a server: the same endpoints over the same pool of models, for requests of this process. */
import type { GenerateOptions } from '../runtime/api.ts'
import { runtimeOf } from '../runtime/model.ts'
import type { Call } from './call.ts'
import { apiErrors, asApiError, errorBody, type Params } from './errors.ts'
import { Metrics } from './metrics.ts'
import { ModelPool, type PoolOptions } from './model-pool.ts'
import { openaiEndpoints } from './openai/endpoints.ts'
import type { Services } from './services.ts'

export interface LocalApiOptions extends PoolOptions {
  defaults?: GenerateOptions | undefined
  /** Told of what nobody foresaw. */
  onError?: ((error: unknown) => void) | undefined
}

/** What a server would send. */
export interface Answer {
  status: number
  /** What the endpoint says, or an error in OpenAI's shape. */
  body: object
}

class LocalCall implements Call {
  readonly signal: AbortSignal
  params: Params = {}
  readonly stream = undefined
  readonly notes: Record<string, string | number> = {}
  answer: object = {}

  constructor(signal: AbortSignal) {
    this.signal = signal
  }

  json(value: object): void {
    this.answer = value
  }

  events(): never {
    throw apiErrors.unsupported('stream', 'here answers come whole')
  }
}

export class LocalApi {
  private readonly services: Services
  private readonly onError: ((error: unknown) => void) | undefined

  private constructor(services: Services, onError: ((error: unknown) => void) | undefined) {
    this.services = services
    this.onError = onError
  }

  /** Loads the first model. Throws as `ModelPool.open()`, and where that model cannot be loaded. */
  static async open(options: LocalApiOptions): Promise<LocalApi> {
    const pool = await ModelPool.open(options)
    const services = { pool, metrics: new Metrics(), defaults: options.defaults ?? {}, isServing: true }
    try {
      await pool.warm()
    } catch (error) {
      await pool.close()
      // In the words of load(): there is no client to be told.
      throw (error as Error).cause ?? error
    }
    return new LocalApi(services, options.onError)
  }

  /** Tokens that were generated. */
  get tokens(): number {
    return this.services.metrics.tokens
  }

  /** Of the first model, its type of weights and of cache: where it is the same, answers are. */
  async hash(): Promise<string> {
    const lease = await this.services.pool.enter(undefined, 1, new AbortController().signal)
    try {
      return (await runtimeOf(lease.model.model).cache.fingerprint()).slice(0, 16)
    } finally {
      lease.release()
    }
  }

  /** What a server answers to a POST of `body`. Rejects only with the reason of the signal. */
  async ask(path: string, body: Record<string, unknown>, signal: AbortSignal): Promise<Answer> {
    const call = new LocalCall(signal)
    try {
      const endpoint = Object.hasOwn(openaiEndpoints, path) ? openaiEndpoints[path] : undefined
      if (!endpoint) throw apiErrors.notFound(path)
      await endpoint(call, this.services, body)
      return { status: 200, body: call.answer }
    } catch (error) {
      signal.throwIfAborted()
      const told = asApiError(error, call.params)
      if (told.status === 500) this.onError?.(told.cause ?? error)
      return { status: told.status, body: errorBody('openai', told) }
    }
  }

  async close(): Promise<void> {
    await this.services.pool.close()
  }
}
