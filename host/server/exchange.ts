/**
 * A request and its answer: who waits for it, and until when. Its `signal` is aborted when the client has gone, when the time is
 * over, or when the server ends; whatever is done for the request stops then.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Call } from './call.ts'
import { type ApiError, apiErrors, asApiError, type ErrorShape, errorBody, type Params } from './errors.ts'
import { type AnswerStream, EventStream } from './streams.ts'
import { targetOf } from './target.ts'

/** What the client has left behind is still read for so long, so that it reads our answer before the connection ends. */
const LINGER = 10_000

/**
 * A client that says it will send no more may have left, or waits for its answer: TCP tells only who writes. So it is sent
 * something that it ignores, after so many milliseconds: if it has left, its machine refuses that, and the next write fails.
 */
const PROBES = [0, 25, 250, 2500]

/** The client has gone: nobody is to be told anything. */
export class Gone extends Error {
  override name = 'Gone'
}

export class Exchange implements Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** The path of the request without its query. */
  readonly path: string
  readonly started = performance.now()
  shape: ErrorShape = 'openai'
  params: Params = {}
  stream: AnswerStream | undefined
  readonly notes: Record<string, string | number> = {}
  private readonly controller = new AbortController()
  private timer: NodeJS.Timeout | undefined
  private probing: NodeJS.Timeout | undefined
  private readonly onHalfClosed = () => {
    this.response.shouldKeepAlive = false
    this.probe()
  }

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request
    this.response = response
    this.path = targetOf(request).path
    response.on('close', () => {
      if (!response.writableFinished) this.controller.abort(new Gone('the client has gone'))
      this.end()
    })
    // The same is told by close.
    response.on('error', () => undefined)
    request.socket.on('end', this.onHalfClosed)
  }

  get signal(): AbortSignal {
    return this.controller.signal
  }

  /** Milliseconds since it came. */
  get age(): number {
    return performance.now() - this.started
  }

  /** The answer must be complete in so many seconds from now. */
  limit(seconds: number): void {
    this.timer = setTimeout(() => this.abort(apiErrors.deadline(seconds)), seconds * 1000)
    this.timer.unref()
  }

  abort(reason: ApiError): void {
    this.controller.abort(reason)
    // A body that nobody has read to its end may never come: it is not waited for.
    if (!this.request.complete) this.request.destroy()
  }

  /** Nothing is left to wait for. */
  end(): void {
    clearTimeout(this.timer)
    clearTimeout(this.probing)
    this.request.socket.off('end', this.onHalfClosed)
  }

  private probe(at = 0): void {
    const { response, request } = this
    const delay = PROBES[at]
    if (delay === undefined) return
    this.probing = setTimeout(() => {
      if (response.destroyed || response.writableEnded) return
      if (response.headersSent) this.stream?.probe()
      else if (request.httpVersion === '1.1') response.writeProcessing()
      this.probe(at + 1)
    }, delay)
    this.probing.unref()
  }

  json(value: object, status = 200, headers: Record<string, string> = {}): void {
    this.text(JSON.stringify(value), 'application/json', status, headers)
  }

  events(ending?: string): AnswerStream {
    return new EventStream(this, ending)
  }

  text(body: string | Uint8Array, type: string, status = 200, headers: Record<string, string> = {}): void {
    const { response, request } = this
    if (response.headersSent || response.destroyed) return
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
    response.writeHead(status, { 'content-type': type, 'content-length': length, ...headers })
    // A text goes in one piece with the head.
    response.end(request.method === 'HEAD' ? undefined : body)
  }

  /** Tells what went wrong, in the shape of the API; nothing where nobody listens. Returns what was told. */
  fail(error: unknown): ApiError | undefined {
    if (error instanceof Gone || this.signal.reason instanceof Gone) return undefined
    const told = asApiError(error, this.params)
    if (this.stream?.isOpen) this.stream.fail(errorBody(this.shape, told))
    else this.refuse(told)
    return told
  }

  private refuse(error: ApiError): void {
    const { request } = this
    const isWhole = request.complete || request.method === 'GET' || request.method === 'HEAD'
    this.json(errorBody(this.shape, error), error.status, {
      ...error.headers,
      ...(isWhole ? {} : { connection: 'close' }),
    })
    if (isWhole) return
    // A connection that ends with bytes unread is reset, and the client never sees why.
    request.resume()
    const timer = setTimeout(() => request.destroy(), LINGER)
    timer.unref()
    request.once('close', () => clearTimeout(timer))
  }
}
