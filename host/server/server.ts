/**
 * The server: connections with limits, one table of routes, and an end in good order. What endpoints do is in their own
 * files; here requests are let in or refused, and whatever goes wrong with one ends that one only.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { GenerateOptions } from '../runtime/api.ts'
import { Admittance } from './admittance.ts'
import { readJson } from './body.ts'
import { type ApiError, allowOf, apiErrors, errorBody, serverErrors } from './errors.ts'
import { Exchange } from './exchange.ts'
import { isLoopback } from './local-server.ts'
import { Metrics } from './metrics.ts'
import { ModelPool, type PoolOptions } from './model-pool.ts'
import { pageDocuments } from './page/documents.ts'
import { type Route, routesOf, shapeOf } from './routes.ts'
import type { Services } from './services.ts'

export interface ServerOptions extends PoolOptions {
  /** Default 127.0.0.1. */
  host?: string | undefined
  /** Default: any that is free. */
  port?: number | undefined
  /** Seconds that a request may take, its waiting included. */
  timeout: number
  /** Seconds that requests have to end when the server ends. */
  drain: number
  keys?: readonly string[] | undefined
  /** Others may connect without a key. */
  isInsecure?: boolean | undefined
  /** Origins of pages that may ask. */
  origins?: readonly string[] | undefined
  /** Further names of this machine. */
  hosts?: readonly string[] | undefined
  defaults?: GenerateOptions | undefined
  /** The page to chat with, at /; default: there. */
  hasPage?: boolean | undefined
  /** Milliseconds that headers may take, and a request with its body; for tests. @internal */
  patience?: { headers: number; request: number } | undefined
  /** Told of every request when it has ended. */
  onRequest?: ((entry: LogEntry) => void) | undefined
  /** Told of what nobody foresaw. */
  onError?: ((error: unknown) => void) | undefined
}

/** A request for the log: nothing of what was said, and no part of a path that is not a route's. */
export interface LogEntry {
  method: string
  route: string
  /** Absent: the client had gone. */
  status: number | undefined
  milliseconds: number
  code?: string
  [note: string]: string | number | undefined
}

export interface ApiServer {
  url: string
  /** Lets nobody in any more, waits for who is there, then ends what is left. */
  close(): Promise<void>
  /** Ends at once. */
  abort(): Promise<void>
}

const PATIENCE = { headers: 10_000, request: 30_000 }
const MAX_HEADERS = 16_384
/** A reader that takes nothing for so long has gone. */
const IDLE_MS = 30_000
const MAX_CONNECTIONS = 2000

/** Throws BAD_OPTION for a host that others reach without a key, unless `isInsecure`; and as `ModelPool.open()`. */
export async function openServer(options: ServerOptions): Promise<ApiServer> {
  const {
    host = '127.0.0.1',
    port = 0,
    keys = [],
    origins = [],
    hosts = [],
    defaults = {},
    patience = PATIENCE,
  } = options
  if (!isLoopback(host) && keys.length === 0 && !options.isInsecure) throw serverErrors.needsKey(host)
  const pool = await ModelPool.open(options)
  const services: Services = { pool, metrics: new Metrics(), defaults, isServing: true }
  const desk = new Desk(options, services, new Admittance({ host, keys, origins, hosts }))
  // Only now: this module takes half of the time in which the command and the library start.
  const { createServer } = await import('node:http')
  const server = createServer(
    {
      headersTimeout: patience.headers,
      requestTimeout: patience.request,
      connectionsCheckingInterval: Math.min(1000, patience.headers / 2),
      maxHeaderSize: MAX_HEADERS,
    },
    (request, response) => void desk.answer(request, response),
  )
  server.maxConnections = MAX_CONNECTIONS
  // Who has sent all that it wants to send may still read; types do not know of it (lib/_http_server.js).
  Object.assign(server, { httpAllowHalfOpen: true })
  server.on('clientError', refuseConnection)
  await listen(server, host, port)
  const { port: taken } = server.address() as AddressInfo
  pool.warm().catch((error) => services.isServing && options.onError?.(error))
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}`,
    close: () => desk.end(server, options.drain),
    abort: () => desk.end(server, 0),
  }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(serverErrors.cannotListen(host, port, cause)))
    server.listen(port, host, resolve)
  })
}

const REASONS: Record<number, string> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
}

/** What is no request, or too slow or too large to be one: there is no exchange for it yet. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const told =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? apiErrors.slow()
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? apiErrors.headersTooLong(MAX_HEADERS)
        : apiErrors.noHttp((error as { reason?: string }).reason ?? 'something else')
  const body = JSON.stringify(errorBody('openai', told))
  const head = [
    `HTTP/1.1 ${told.status} ${REASONS[told.status]}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** Clients send headers of their own, which mean nothing here: a page that may ask may send what it names. */
function preflightOf({ headers }: IncomingMessage): Record<string, string> {
  const asked = headers['access-control-request-headers'] ?? ''
  return {
    'access-control-allow-methods': 'GET, POST',
    'access-control-allow-headers': /^[\w\-, ]{1,2000}$/.test(asked) ? asked : 'authorization, content-type, x-api-key',
    'access-control-max-age': '600',
  }
}

/** Where requests arrive. */
class Desk {
  private readonly options: ServerOptions
  private readonly services: Services
  private readonly admittance: Admittance
  /** Under way. */
  private readonly exchanges = new Set<Exchange>()
  private onIdle: (() => void) | undefined
  private ended: Promise<void> | undefined

  constructor(options: ServerOptions, services: Services, admittance: Admittance) {
    this.options = options
    this.services = services
    this.admittance = admittance
  }

  /** Never rejects. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const exchange = new Exchange(request, response)
    exchange.shape = shapeOf(exchange.path)
    this.exchanges.add(exchange)
    const found: { route?: Route } = {}
    let told: ApiError | undefined
    try {
      await this.handle(exchange, found)
    } catch (error) {
      told = exchange.fail(error)
      if (told?.status === 500) this.options.onError?.(told.cause ?? error)
    } finally {
      exchange.end()
      this.exchanges.delete(exchange)
      this.log(exchange, found.route, told)
      if (this.exchanges.size === 0) this.onIdle?.()
      // What is left to be read by the client is nobody's work any more.
      if (!response.writableFinished) response.setTimeout(IDLE_MS, () => response.destroy())
    }
  }

  private async handle(exchange: Exchange, found: { route?: Route }): Promise<void> {
    const { request, response, path } = exchange
    const { admittance, services } = this
    admittance.checkHost(request)
    for (const [name, value] of Object.entries(admittance.checkOrigin(request))) response.setHeader(name, value)
    response.setHeader('x-content-type-options', 'nosniff')
    const isHidden = this.options.hasPage === false && path in pageDocuments
    const routes = isHidden ? [] : routesOf(path)
    if (request.method === 'OPTIONS' && routes.length > 0 && request.headers.origin !== undefined) {
      exchange.text('', 'text/plain', 204, preflightOf(request))
      return
    }
    const method = request.method === 'HEAD' ? 'GET' : request.method
    const route = routes.find((one) => one.method === method)
    // Whoever has no key learns nothing, not even which paths there are.
    if (!route?.isOpen) admittance.checkKey(request)
    if (routes.length === 0) throw apiErrors.notFound(path)
    const methods = routes.map((one) => one.method)
    if (request.method === 'OPTIONS') return exchange.text('', 'text/plain', 204, { allow: allowOf(methods) })
    if (!route) throw apiErrors.badMethod(request.method ?? '', methods)
    found.route = route
    if (!services.isServing && !route.isOpen) throw apiErrors.ending()
    // A crowd that comes at one moment is sent away before the next of it is read.
    if (route.isQueued) services.pool.checkQueue()
    const body = method === 'POST' ? await readJson(request) : {}
    exchange.limit(this.options.timeout)
    await route.handle(exchange, services, body)
  }

  private log(exchange: Exchange, route: Route | undefined, told: ApiError | undefined): void {
    const { response, request, notes, age } = exchange
    const isGone = !response.headersSent && response.destroyed
    const status = told?.status ?? (isGone || exchange.signal.aborted ? undefined : response.statusCode)
    const path = route?.path ?? 'none'
    this.services.metrics.answered(path, status, age / 1000)
    this.options.onRequest?.({
      method: request.method ?? '',
      route: path,
      status,
      milliseconds: Math.round(age),
      ...(told ? { code: told.code } : {}),
      ...notes,
    })
  }

  /** Those who wait are sent away, those who are written to may go on for `seconds`; a second call ends them at once. */
  end(server: Server, seconds: number): Promise<void> {
    const { services, exchanges } = this
    services.isServing = false
    services.pool.stop(apiErrors.ending())
    const abort = () => {
      for (const exchange of exchanges) exchange.abort(apiErrors.ending())
    }
    if (seconds === 0) abort()
    this.ended ??= (async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      const timer = setTimeout(abort, seconds * 1000)
      if (exchanges.size > 0) await new Promise<void>((resolve) => (this.onIdle = resolve))
      clearTimeout(timer)
      await services.pool.close()
      // Answers that nobody has read yet have another moment.
      server.closeIdleConnections()
      const impatience = setTimeout(() => server.closeAllConnections(), 500)
      await closed
      clearTimeout(impatience)
    })()
    return this.ended
  }
}
