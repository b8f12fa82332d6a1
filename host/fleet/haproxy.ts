/**
 * A configuration for haproxy 2.6 and later: one address for many boards, each with `gta serve`.
 *
 * A board gets no more requests than it has slots; the rest wait here, and hear 503 when that takes too long. Requests of one
 * conversation go to the board that has its beginning in its cache: by a header that the client sends, else by the first bytes of the body.
 */
import { fleetErrors } from './errors.ts'

export interface HaproxyOptions {
  /** HOST:PORT of each board. */
  boards: readonly string[]
  /** Where it listens. */
  listen: string
  /** Requests that a board answers at a time: its -np. */
  slots: number
  /** Seconds that a request waits for a board, and that an answer may be silent. */
  queueSeconds: number
  answerSeconds: number
  /** Says which requests belong together. */
  header: string
}

/** Bytes of the body that tell conversations apart, where no header does: the system message and the first question. */
const PREFIX = 512

/** Throws BAD_OPTION for what is no address or no name of a header. */
export function haproxyConfig({ boards, listen, slots, queueSeconds, answerSeconds, header }: HaproxyOptions): string {
  for (const [i, board] of boards.entries()) {
    checkAddress('--boards', board)
    if (boards.indexOf(board) < i) throw fleetErrors.sameBoard(board)
  }
  checkAddress('--listen', listen)
  if (!/^[A-Za-z][\w-]{0,63}$/.test(header)) throw fleetErrors.badHeader(header)
  const servers = boards.map((board, i) => `    server board${i + 1} ${board} maxconn ${slots}`)
  return `# Written by gta fleet haproxy. To drain a board, send its gta serve SIGTERM: it says 503 to all that is new, and ends what runs.
global
    log stdout format raw local0
    maxconn ${Math.max(256, boards.length * slots * 8)}
    # What a conversation begins with is looked for in the beginning of its body.
    tune.bufsize 32768

defaults
    mode http
    log global
    option httplog
    option redispatch 1
    retries 2
    # What no board has begun to answer is sent to another one.
    retry-on conn-failure empty-response 503
    timeout connect 2s
    timeout client ${answerSeconds}s
    timeout server ${answerSeconds}s
    timeout queue ${queueSeconds}s

frontend api
    bind ${listen}
    option http-buffer-request
    # Which board has the beginning in its cache.
    http-request set-var(txn.key) req.hdr(${header}) if { req.hdr(${header}) -m found }
    http-request set-var(txn.key) req.body,bytes(0,${PREFIX}) if !{ var(txn.key) -m found }
    default_backend boards

backend boards
    balance hash var(txn.key)
    # One board that leaves moves its own conversations only; one that is full gives to the next.
    hash-type consistent
    hash-balance-factor 150
    option httpchk GET /health
    http-check expect status 200
    default-server init-addr last,libc,none check inter 2s fall 2 rise 1 slowstart 5s
${servers.join('\n')}
`
}

/** A name or an address of IPv4, or one of IPv6 in brackets, and a port. */
function checkAddress(option: string, text: string): void {
  const [, port] = /^(?:[A-Za-z\d*]|[A-Za-z\d](?:[\w.-]*[A-Za-z\d])|\[[\da-fA-F:]+\]):(\d{1,5})$/.exec(text) ?? []
  if (port === undefined || Number(port) < 1 || Number(port) > 65_535) throw fleetErrors.badAddress(option, text)
}
