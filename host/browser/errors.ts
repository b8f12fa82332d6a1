/** Errors of models that come from a web server. */
import { GtaError, megabytes } from '../errors.ts'

export const fetchErrors = {
  noWorker: (url: string) =>
    new GtaError(
      'FETCH_FAILED',
      `"${url}" must be the script of the worker (browser-worker.mjs of gta-edge), found none that loads: bundle or copy "gta-edge/browser-worker" to a file of its own and say where it is with workerUrl`,
    ),
  unreachable: (url: string, cause: unknown) =>
    new GtaError(
      'FETCH_FAILED',
      `"${url}" must be reachable, found ${because(cause)}: check the address, the network and, for another origin, that its server allows this page (CORS)`,
      { cause },
    ),
  badStatus: (url: string, status: number) =>
    new GtaError(
      status === 404 || status === 410 ? 'NOT_FOUND' : 'FETCH_FAILED',
      `"${url}" must be answered with a file, found status ${status}: check the address`,
    ),
  interrupted: (url: string, received: number, size: number, cause: unknown) =>
    new GtaError(
      'FETCH_FAILED',
      `"${url}" must arrive whole, found ${megabytes(received)}${Number.isFinite(size) ? ` of ${megabytes(size)}` : ''} and then, again and again, ${because(cause)}: check the network and load again`,
      { cause },
    ),
  changed: (url: string, what: string, expected: unknown, found: unknown) =>
    new GtaError(
      'FETCH_FAILED',
      `${what} of "${url}" must stay ${expected} while it is fetched, found ${found}: the file was replaced meanwhile, load it again`,
    ),
}

function because(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
