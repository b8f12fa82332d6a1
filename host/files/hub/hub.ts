/**
 * A hub: a server that answers as huggingface.co does (/api/models/ID/tree/REVISION, /ID/resolve/REVISION/FILE). Requests
 * are asked again when a connection breaks or the server is busy; the token goes to the endpoint itself and nowhere else.
 */
import { GtaError } from '../../errors.ts'
import { version } from '../../platform/version.ts'
import { hubErrors } from './errors.ts'
import type { Repository } from './repository.ts'

/** Waits before one attempt after the other, in ms; what arrives in between starts the list again. */
const DELAYS = [1000, 2000, 4000, 8000, 16_000]
/** A connection without a byte for so long is a broken one, in ms. */
const PATIENCE = 30_000
/** A server that asks for more is not waited for, in ms: the hub counts requests in windows of five minutes. */
const LONGEST_WAIT = 310_000
const MOST_REDIRECTS = 10

export interface HubOptions {
  /** Default: HF_ENDPOINT, else https://huggingface.co. */
  endpoint?: string | undefined
  /** Default: HF_TOKEN, else none. */
  token?: string | undefined
  signal?: AbortSignal | undefined
  /** What a person may want to know: that something is begun anew, or waited for. */
  onNotice?: ((text: string) => void) | undefined
  /** For tests. */
  delays?: readonly number[]
  patience?: number
  wait?: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>
}

export interface Answer {
  response: Response
  /** What the endpoint said of a file that lies elsewhere: its SHA-256, its bytes, the commit that it is from. */
  linkedHash: string | undefined
  linkedBytes: number | undefined
  commit: string | undefined
}

/** A server that may answer later. */
class Busy extends Error {
  readonly milliseconds: number
  constructor(status: number, milliseconds: number) {
    super(`status ${status}`)
    this.milliseconds = milliseconds
  }
}

export class Hub {
  readonly endpoint: URL
  /** What has been waited for since something last arrived. */
  private failures = 0
  private wasReached = false
  private readonly options: HubOptions
  private readonly token: string | undefined
  private readonly delays: readonly number[]

  constructor(options: HubOptions) {
    this.options = options
    this.endpoint = checkEndpoint(options.endpoint || process.env.HF_ENDPOINT || 'https://huggingface.co')
    this.token = checkToken(options.token || process.env.HF_TOKEN)
    this.delays = options.delays ?? DELAYS
    if (this.token !== undefined && !isPrivate(this.endpoint)) {
      this.token = undefined
      options.onNotice?.(
        `HF_TOKEN is not sent to ${this.endpoint.host}: everybody on the way could read it without https`,
      )
    }
  }

  /** An address below the endpoint, of names that are to be taken as they are. */
  url(...names: string[]): URL {
    const path = names.map(encodeURIComponent).join('/')
    return new URL(`${this.endpoint.pathname.replace(/\/+$/, '')}/${path}`, this.endpoint)
  }

  /** Opens an address; throws what is final, and what another attempt may mend as any other error. */
  async open(url: URL, what: string, { id, revision }: Repository, headers: Record<string, string> = {}) {
    const answer = await this.follow(url, what, headers)
    const { status } = answer.response
    if (status === 200 || status === 206 || status === 416) return answer
    await answer.response.body?.cancel().catch(() => undefined)
    const hasToken = this.token !== undefined
    const code = answer.response.headers.get('x-error-code')
    if (code === 'GatedRepo') throw hubErrors.gated(id, this.endpoint.origin, hasToken)
    // With a token that is not valid the endpoint says the same of a public one.
    const isUnknown = code === 'RepoNotFound' || (status === 401 && code === null && !hasToken)
    if (isUnknown) throw hubErrors.noRepository(id, hasToken)
    if (code === 'RevisionNotFound') throw hubErrors.noRevision(id, revision)
    const isElsewhere = answer.url.origin !== this.endpoint.origin
    // An address elsewhere is signed for an hour; the endpoint gives another one.
    const mayChange =
      status === 408 || status === 425 || status === 429 || status >= 500 || (status === 403 && isElsewhere)
    if (mayChange) throw new Busy(status, askedToWait(answer.response.headers))
    throw hubErrors.badStatus(what, answer.url.host, status)
  }

  /** All of an answer, at most `most` bytes of it. */
  async read(
    url: URL,
    what: string,
    repository: Repository,
    most: number,
  ): Promise<{ headers: Headers; bytes: Uint8Array }> {
    return this.again(what, async () => {
      const { response } = await this.open(url, what, repository)
      const reader = (response.body as ReadableStream<Uint8Array>).getReader()
      const chunks: Uint8Array[] = []
      for (let length = 0; ; ) {
        const { done, value } = await this.patiently(reader.read())
        if (done) break
        length += value.length
        if (length > most) {
          await reader.cancel().catch(() => undefined)
          throw hubErrors.badListing(repository.id, what, `at most ${most} bytes`, 'more')
        }
        chunks.push(value)
      }
      this.arrived()
      return { headers: response.headers, bytes: Buffer.concat(chunks) }
    })
  }

  /** Something arrived: the waits begin anew. */
  arrived(): void {
    this.failures = 0
  }

  /** Tries until it works, an error is final, or all waits were in vain. */
  async again<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    const { signal, onNotice, wait = pause } = this.options
    for (;;) {
      signal?.throwIfAborted()
      try {
        return await attempt()
      } catch (error) {
        signal?.throwIfAborted()
        if (error instanceof GtaError) throw error
        // Whoever was never reached is not waited for: the address is wrong, or there is no network.
        if (!this.wasReached && !(error instanceof Busy)) throw hubErrors.unreachable(this.endpoint.host, error)
        const delay = this.delays[this.failures++]
        if (delay === undefined) throw hubErrors.interrupted(what, error)
        const asked = error instanceof Busy ? error.milliseconds : 0
        if (asked > LONGEST_WAIT) throw hubErrors.busyFor(this.endpoint.host, asked / 1000)
        if (asked > delay) onNotice?.(`${this.endpoint.host} asks to wait for ${Math.ceil(asked / 1000)} s`)
        await wait(Math.max(delay, asked), signal)
      }
    }
  }

  /** Rejects what takes too long. */
  async patiently<T>(promise: Promise<T>, onLate?: () => void): Promise<T> {
    const { patience = PATIENCE, signal } = this.options
    let timer: ReturnType<typeof setTimeout> | undefined
    let stop: (() => void) | undefined
    const late = new Promise<never>((_, reject) => {
      stop = () => reject(signal?.reason)
      signal?.addEventListener('abort', stop)
      timer = setTimeout(() => reject(new Error(`nothing for ${patience / 1000} s`)), patience)
    })
    try {
      return await Promise.race([promise, late])
    } catch (error) {
      promise.catch(() => undefined)
      onLate?.()
      throw error
    } finally {
      clearTimeout(timer)
      if (stop) signal?.removeEventListener('abort', stop)
    }
  }

  /** Redirections are followed here: fetch() would hide what the endpoint says of the file, and go to http. */
  private async follow(url: URL, what: string, headers: Record<string, string>): Promise<Answer & { url: URL }> {
    const found: Omit<Answer, 'response'> = { linkedHash: undefined, linkedBytes: undefined, commit: undefined }
    let at = url
    let isOwn = true
    for (let i = 0; i <= MOST_REDIRECTS; i++) {
      isOwn &&= at.origin === this.endpoint.origin
      const response = await this.ask(at, isOwn ? this.authorized(headers) : headers)
      if (isOwn) readLinked(response.headers, found)
      const location = response.headers.get('location')
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null)
        return { response, url: at, ...found }
      await response.body?.cancel().catch(() => undefined)
      const next = URL.canParse(location, at) ? new URL(location, at) : undefined
      if (!next || !['https:', 'http:'].includes(next.protocol)) throw hubErrors.badRedirect(what, 'to no web address')
      if (at.protocol === 'https:' && next.protocol === 'http:')
        throw hubErrors.badRedirect(what, `to ${next.host} without https`)
      at = next
    }
    throw hubErrors.badRedirect(what, `more than ${MOST_REDIRECTS} times`)
  }

  private async ask(url: URL, headers: Record<string, string>): Promise<Response> {
    const controller = new AbortController()
    const sent = fetch(url, {
      redirect: 'manual',
      signal: controller.signal,
      // Positions in a compressed answer are not positions in the file.
      headers: { 'accept-encoding': 'identity', 'user-agent': `gta-edge/${version ?? 'source'}`, ...headers },
    })
    const response = await this.patiently(sent, () => controller.abort())
    this.wasReached = true
    return response
  }

  private authorized(headers: Record<string, string>): Record<string, string> {
    return this.token === undefined ? headers : { ...headers, authorization: `Bearer ${this.token}` }
  }
}

function readLinked(headers: Headers, found: Omit<Answer, 'response'>): void {
  const hash = /^"?([0-9a-f]{64})"?$/.exec(headers.get('x-linked-etag') ?? '')?.[1]
  const bytes = /^\d{1,15}$/.exec(headers.get('x-linked-size') ?? '')?.[0]
  const commit = /^[0-9a-f]{40}$/.exec(headers.get('x-repo-commit') ?? '')?.[0]
  if (hash !== undefined) found.linkedHash = hash
  if (bytes !== undefined) found.linkedBytes = Number(bytes)
  if (commit !== undefined) found.commit = commit
}

/** Milliseconds: Retry-After in seconds or as a date (RFC 9110), else the hub's RateLimit: "api";r=0;t=55. */
export function askedToWait(headers: Headers, now = Date.now()): number {
  const after = headers.get('retry-after') ?? ''
  if (/^\d{1,9}$/.test(after)) return Number(after) * 1000
  const date = Date.parse(after)
  if (!Number.isNaN(date)) return Math.max(0, date - now)
  return Number(/;\s*t=(\d{1,9})(?:;|,|$)/.exec(headers.get('ratelimit') ?? '')?.[1] ?? 0) * 1000
}

/** https, or http where HF_ENDPOINT says so in so many words. */
function checkEndpoint(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !['https:', 'http:'].includes(url.protocol))
    throw hubErrors.badEndpoint('an address that begins with https://', `"${text.slice(0, 200)}"`)
  if (url.username || url.password) throw hubErrors.badEndpoint('an address without a password', 'one with it')
  if (url.search || url.hash) throw hubErrors.badEndpoint('an address without ? and #', `"${text.slice(0, 200)}"`)
  return url
}

/** The errors of fetch() about a header would show it. */
function checkToken(text: string | undefined): string | undefined {
  const token = text?.trim()
  if (!token) return undefined
  if (!/^[\x21-\x7e]+$/.test(token)) throw hubErrors.badToken()
  return token
}

/** May a token go there: does nobody on the way read it? */
function isPrivate({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname)
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    signal?.addEventListener('abort', stop)
  })
}
