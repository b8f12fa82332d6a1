/** Options of commands that use a queue: where it is, and who lets us in. */
import { hostname } from 'node:os'
import { connectNats, type Nats } from '../fleet/queue/connect.ts'
import { checkStream } from '../fleet/queue/names.ts'
import { type Arguments, type Options, UsageError } from './options.ts'
import { say } from './terminal.ts'

const DEFAULT_STREAM = 'gta'

export const queueOptions: Options = {
  nats: {
    type: 'string',
    value: 'URL',
    help: 'the NATS server, as nats://queue.lan:4222 or tls://queue.lan (default: $NATS_URL)',
  },
  stream: { type: 'string', value: 'NAME', help: `the queue on it (default ${DEFAULT_STREAM})` },
  creds: { type: 'string', value: 'FILE', help: 'credentials, as nsc writes them (default: $NATS_CREDS)' },
  'tls-ca': { type: 'string', value: 'FILE', help: 'who has signed the certificate of the server, in PEM' },
  'tls-cert': { type: 'string', value: 'FILE', help: 'a certificate of our own, with its --tls-key' },
  'tls-key': { type: 'string', value: 'FILE', help: 'its key' },
}

export async function openQueue(args: Arguments, command: string): Promise<{ nats: Nats; stream: string }> {
  const url = args.text('nats') ?? process.env.NATS_URL
  if (!url) throw new UsageError('--nats must be the address of a NATS server, or $NATS_URL')
  const stream = checkStream(args.text('stream') ?? DEFAULT_STREAM)
  const nats = await connectNats({
    url,
    credentials: args.text('creds') ?? (process.env.NATS_CREDS || undefined),
    authority: args.text('tls-ca'),
    certificate: args.text('tls-cert'),
    key: args.text('tls-key'),
    name: `gta ${command} on ${hostname()}`,
    onStatus: say,
  })
  return { nats, stream }
}
