/**
 * Pages for a browser on this machine: a list of documents on the loopback interface, and nothing else. No path of a
 * request reaches the file system. A request must name a loopback host, so that no page of the web can read through a
 * name that it points here.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import { serverErrors } from './errors.ts'

export interface LocalDocument {
  type: string
  body: string | Uint8Array
}

export interface LocalServerOptions {
  /** By path. */
  documents: Record<string, LocalDocument>
  /** Sent with every answer, besides those that all have. */
  headers?: Record<string, string>
  /** What scripts may do, after "script-src"; default 'self'. */
  scripts?: string
  /** Default 127.0.0.1. */
  host?: string
  /** Default: any that is free. */
  port?: number
  /** Others may connect: hosts that are not loopback are accepted. */
  isPublic?: boolean
}

export interface LocalServer {
  url: string
  close(): Promise<void>
}

interface Served {
  type: string
  body: Uint8Array
  etag: string
}

/** Throws BAD_OPTION for a host that is not loopback, unless `isPublic`. */
export function checkHost(host: string, isPublic: boolean): void {
  if (!isPublic && !isLoopback(host)) throw serverErrors.notLoopback(host)
}

/** Throws BAD_OPTION for a host that is not loopback, unless `isPublic`; rejects if the port is taken. */
export async function openLocalServer(options: LocalServerOptions): Promise<LocalServer> {
  const { documents, headers = {}, scripts = "'self'", host = '127.0.0.1', port = 0, isPublic = false } = options
  checkHost(host, isPublic)
  const served = new Map(Object.entries(documents).map(([path, document]) => [path, prepare(document)]))
  const all = {
    'content-security-policy': `default-src 'none'; script-src ${scripts}; style-src 'unsafe-inline'; connect-src 'self'; worker-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
    ...headers,
  }
  // Only now: this module takes half of the time in which the command and the library start.
  const { createServer } = await import('node:http')
  const server = createServer((request, response) => answer(request, response, served, all, isPublic))
  // A client that sends nothing must not hold a connection for ever.
  server.headersTimeout = 10_000
  server.requestTimeout = 10_000
  await listen(server, host, port)
  const { port: taken } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function prepare({ type, body }: LocalDocument): Served {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
  return { type, body: bytes, etag: `"${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}"` }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(serverErrors.cannotListen(host, port, cause)))
    server.listen(port, host, resolve)
  })
}

/** localhost, 127.0.0.0/8, ::1 */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase()
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'))
}

function answer(
  { method, url, headers: { host = '', range } }: IncomingMessage,
  response: ServerResponse,
  documents: Map<string, Served>,
  headers: Record<string, string>,
  isPublic: boolean,
): void {
  const refuse = (status: number, reason: string) =>
    response.writeHead(status, { ...headers, 'content-type': 'text/plain' }).end(`${reason}\n`)
  if (!isPublic && !isLoopback(host.replace(/:\d+$/, ''))) return void refuse(403, 'this page is for this machine only')
  if (method !== 'GET' && method !== 'HEAD') return void refuse(405, 'GET only')
  const found = documents.get((url ?? '').split('?')[0] as string)
  if (!found) return void refuse(404, 'not here')
  const { type, body, etag } = found
  const size = body.length
  // The one kind of range that goes on with a download; others get the whole, which is always right.
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
  if (from > 0 && from >= size) return void refuse(416, 'there is no such part')
  const part = body.subarray(from)
  response.writeHead(from > 0 ? 206 : 200, {
    ...headers,
    'content-type': type,
    'content-length': part.length,
    'accept-ranges': 'bytes',
    etag,
    ...(from > 0 ? { 'content-range': `bytes ${from}-${size - 1}/${size}` } : {}),
  })
  response.end(method === 'HEAD' ? undefined : part)
}
