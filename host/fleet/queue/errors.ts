/** Errors of queues: who cannot be reached, and what is not as a queue of ours is. */
import { GtaError } from '../../errors.ts'
import { ApiError } from '../../server/errors.ts'

export const queueErrors = {
  noClient: (packages: readonly string[], cause: NodeJS.ErrnoException) =>
    new GtaError(
      'NOT_FOUND',
      cause.code === 'ERR_MODULE_NOT_FOUND'
        ? `a queue needs the packages ${packages.join(' and ')}, found none: run "npm install ${packages.join(' ')}" (with -g where gta-edge was)`
        : `a queue needs the packages ${packages.join(' and ')}, found ones that do not load (${cause.message.split('\n')[0]}): install them again`,
      { cause },
    ),
  badUrl: (found: string) =>
    new GtaError(
      'BAD_OPTION',
      `--nats must be the address of a NATS server, such as nats://queue.lan:4222 or tls://queue.lan, found "${found}"`,
    ),
  halfCertificate: () =>
    new GtaError('BAD_OPTION', '--tls-cert and --tls-key must be given together, found one of them'),
  badStream: (found: string) =>
    new GtaError(
      'BAD_OPTION',
      `--stream must be a name of letters, digits, - and _, with at most 64 of them, found "${found.slice(0, 100)}"`,
    ),
  cannotConnect: (server: string, cause: Error) =>
    new GtaError('NOT_FOUND', `the queue at ${server} must let us in, found: ${reasonOf(cause)}`, { cause }),
  closed: (server: string, cause: Error) =>
    new GtaError('CLOSED', `the queue at ${server} has ended the connection: ${reasonOf(cause)}`, { cause }),
  noJetStream: (server: string, cause: Error) =>
    new GtaError(
      'NOT_FOUND',
      `the server at ${server} must have JetStream and let us use it, found: ${reasonOf(cause)}. Start it as "nats-server -js"`,
      { cause },
    ),
  noStream: (name: string) =>
    new GtaError(
      'NOT_FOUND',
      `the stream "${name}" must be there, found none: the first "gta worker" or "gta submit" makes it`,
    ),
  cannotMake: (name: string, cause: Error) =>
    new GtaError('BAD_OPTION', `the stream "${name}" cannot be made: ${reasonOf(cause)}`, { cause }),
  otherStream: (name: string, what: string) =>
    new GtaError(
      'BAD_OPTION',
      `the stream "${name}" must be as "gta worker" makes it, found another ${what}: name another with --stream, or remove that one`,
    ),
  noWorker: (stream: string) =>
    new GtaError(
      'NOT_FOUND',
      `the model must be one that a worker of "${stream}" serves, found no worker: start one, or name the model's hash with --model-hash`,
    ),
  severalModels: (stream: string, models: readonly string[]) =>
    new GtaError(
      'BAD_OPTION',
      `--model-hash must say which model the requests are for, found workers of "${stream}" with ${models.join(', ')}`,
    ),
  notQueued: (stream: string, cause: Error) =>
    new GtaError(
      'WRITE_FAILED',
      `requests must be taken by the stream "${stream}", found: ${reasonOf(cause)}. Run the same command again: what is queued already is not queued twice`,
      { cause },
    ),
}

/** Results that tell that a job has none. */
export const jobErrors = {
  givenUp: (times: number) =>
    new ApiError(
      500,
      'given_up',
      `the request was given to workers ${times} times, and none of them lived to answer it`,
    ),
  tooLarge: (bytes: number, limit: number) =>
    new ApiError(500, 'result_too_large', `the result has ${bytes} bytes, and the queue takes ${limit}: ask for less`),
  requestTooLarge: (bytes: number, limit: number) =>
    new ApiError(413, 'request_too_large', `a request must have at most ${limit} bytes for this queue, found ${bytes}`),
}

function reasonOf(error: Error): string {
  const { code, message } = (error.cause instanceof Error ? error.cause : error) as NodeJS.ErrnoException
  if (/authorization violation/i.test(`${error.message} ${message}`))
    return 'wrong credentials (authorization violation): check --creds, or the user and password of --nats'
  if (code === 'ECONNREFUSED') return 'nobody listens there: start nats-server, or check host and port'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'no such host: check the name'
  const reason = (message || error.message || String(code)).split('\n')[0] as string
  // The client compares addresses with nothing but "localhost".
  return reason.startsWith('Hostname/IP does not match') ? `${reason} Call it by a name of its certificate` : reason
}
