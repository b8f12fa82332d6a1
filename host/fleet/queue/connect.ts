/**
 * A connection to a NATS server with JetStream. The client is the npm packages `@nats-io/transport-node` and `@nats-io/jetstream`,
 * which are the user's to install; they are imported when a queue is asked for and not before.
 */
import { readFile } from 'node:fs/promises'
import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream'
import type { NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node'
import { errors } from '../../errors.ts'
import { queueErrors } from './errors.ts'

export interface NatsOptions {
  /** nats://HOST:PORT, or tls://; a user and a password, or a token, may stand before the host. */
  url: string
  /** A file of credentials: a JWT and its seed, as `nsc` writes them. */
  credentials?: string | undefined
  /** Files in PEM: who has signed the server's certificate, and a certificate of our own with its key. */
  authority?: string | undefined
  certificate?: string | undefined
  key?: string | undefined
  /** What the server calls this connection. */
  name: string
  /** Told of connections that are lost and found again. */
  onStatus?: ((text: string) => void) | undefined
}

export interface Nats {
  connection: NatsConnection
  stream: JetStreamClient
  manager: JetStreamManager
  /** The library's name of a server without credentials, for texts. */
  server: string
}

/** Not literals: bundlers of programs would look for them, and not everybody has them. */
const packages = { transport: '@nats-io/transport-node', jetstream: '@nats-io/jetstream' }

/**
 * Once connected, it is tried for ever to connect again, every 0.5 to 2.5 s, so that a hundred boards do not come at once.
 * Throws NOT_FOUND where the packages or the server are not there or do not let us in.
 */
export async function connectNats(options: NatsOptions): Promise<Nats> {
  const { transport, jetstream } = await importClient()
  const { servers, server, ...login } = loginOf(options.url)
  const tls = await tlsOf(options)
  const credentials = options.credentials === undefined ? undefined : await readBytes(options.credentials)
  const authenticator = credentials && { authenticator: transport.credsAuthenticator(credentials) }
  const all: NodeConnectionOptions = {
    ...{ servers, name: options.name, maxReconnectAttempts: -1, reconnectTimeWait: 500 },
    ...{ reconnectJitter: 2000, reconnectJitterTLS: 2000, timeout: 10_000 },
    ...login,
    ...authenticator,
    ...(tls ? { tls } : {}),
  }
  const connection = await transport.connect(all).catch((cause) => {
    throw queueErrors.cannotConnect(server, cause)
  })
  void tellStatus(connection, options.onStatus)
  try {
    const manager = await jetstream.jetstreamManager(connection)
    return { connection, stream: jetstream.jetstream(connection), manager, server }
  } catch (cause) {
    await connection.close()
    throw queueErrors.noJetStream(server, cause as Error)
  }
}

async function importClient() {
  try {
    return {
      transport: (await import(
        /* webpackIgnore: true */ /* @vite-ignore */ packages.transport
      )) as typeof import('@nats-io/transport-node'),
      jetstream: (await import(
        /* webpackIgnore: true */ /* @vite-ignore */ packages.jetstream
      )) as typeof import('@nats-io/jetstream'),
    }
  } catch (cause) {
    throw queueErrors.noClient(Object.values(packages), cause as NodeJS.ErrnoException)
  }
}

/** What stands before the host is no part of the server's name: that is told in errors and logs. */
function loginOf(
  text: string,
): Pick<NodeConnectionOptions, 'servers' | 'user' | 'pass' | 'token'> & { server: string } {
  const address = text.includes('://') ? text : `nats://${text}`
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (!url || !/^(?:nats|tls):$/.test(url.protocol) || url.hostname === '') throw queueErrors.badUrl(hideLogin(text))
  const [user, pass] = [url.username, url.password].map(decodeURIComponent)
  const login = pass ? { user: user as string, pass } : user ? { token: user } : {}
  const server = `${url.protocol}//${url.host}`
  return { servers: `${url.hostname}:${url.port || 4222}`, server, ...login }
}

const hideLogin = (text: string) => text.replace(/\/\/[^@/]*@/, '//…@').slice(0, 200)

async function tlsOf({ url, authority, certificate, key }: NatsOptions): Promise<NodeConnectionOptions['tls']> {
  if (!url.startsWith('tls:') && authority === undefined && certificate === undefined) return undefined
  if ((certificate === undefined) !== (key === undefined)) throw queueErrors.halfCertificate()
  const read = async (path: string | undefined) => (path === undefined ? undefined : String(await readBytes(path)))
  const files = { ca: await read(authority), cert: await read(certificate), key: await read(key) }
  return Object.fromEntries(Object.entries(files).filter(([, text]) => text !== undefined))
}

async function readBytes(path: string): Promise<Uint8Array> {
  return await readFile(path).catch((cause) => {
    throw cause?.code === 'ENOENT' ? errors.noFile(path) : errors.unreadable(path, cause)
  })
}

async function tellStatus(connection: NatsConnection, tell: NatsOptions['onStatus']): Promise<void> {
  for await (const { type } of connection.status())
    if (type === 'disconnect') tell?.('the connection to the queue is lost: trying again')
    else if (type === 'reconnect') tell?.('the connection to the queue is there again')
}
