/**
 * The viewer's server: three documents on the loopback interface, and nothing else. No path of a request reaches the file
 * system. A request must name a loopback host, so that no page of the web can read through a name that it points here.
 */
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import { errors } from '../../errors.ts'
import { distUrl } from '../../wasm/builds.ts'
import type { Hardware } from '../hardware.ts'
import { viewerHtml } from './html.ts'

export interface ViewerOptions {
  /** Parsed config.json files by name; the first is shown first. */
  models: Record<string, unknown>
  hardware: readonly Hardware[]
  /** Default 127.0.0.1. */
  host?: string
  /** Default: any that is free. */
  port?: number
  /** Others may connect: hosts that are not loopback are accepted. */
  isPublic?: boolean
}

export interface Viewer {
  url: string
  close(): Promise<void>
}

/** Throws BAD_OPTION for a host that is not loopback, unless `isPublic`; rejects if the port is taken. */
export async function openViewer(options: ViewerOptions): Promise<Viewer> {
  const { models, hardware, host = '127.0.0.1', port = 0, isPublic = false } = options
  if (!isPublic && !isLoopback(host)) throw errors.notLoopback(host)
  const documents = new Map<string, { type: string; body: Uint8Array }>()
  const add = (path: string, type: string, body: string | Uint8Array) =>
    documents.set(path, { type, body: typeof body === 'string' ? new TextEncoder().encode(body) : body })
  add('/', 'text/html; charset=utf-8', viewerHtml())
  add('/viewer.mjs', 'text/javascript; charset=utf-8', await readFile(new URL('viewer.mjs', distUrl)))
  add('/data.json', 'application/json', JSON.stringify({ models, hardware }))
  const server = createServer((request, response) => answer(request, response, documents, isPublic))
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

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(errors.cannotListen(host, port, cause)))
    server.listen(port, host, resolve)
  })
}

/** localhost, 127.0.0.0/8, ::1 */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase()
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'))
}

const headers = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
}

function answer(
  { method, url, headers: { host = '' } }: IncomingMessage,
  response: ServerResponse,
  documents: Map<string, { type: string; body: Uint8Array }>,
  isPublic: boolean,
): void {
  const refuse = (status: number, reason: string) =>
    response.writeHead(status, { ...headers, 'content-type': 'text/plain' }).end(`${reason}\n`)
  if (!isPublic && !isLoopback(host.replace(/:\d+$/, '')))
    return void refuse(403, 'this viewer answers this machine only')
  if (method !== 'GET' && method !== 'HEAD') return void refuse(405, 'GET only')
  const found = documents.get((url ?? '').split('?')[0] as string)
  if (!found) return void refuse(404, 'not here')
  response.writeHead(200, { ...headers, 'content-type': found.type, 'content-length': found.body.length })
  response.end(method === 'HEAD' ? undefined : found.body)
}
