/**
 * A file on a web server as one stream, read from the beginning to the end. A connection that breaks is opened again
 * where it broke (Range, RFC 9110 section 14), as long as the server still has the same file.
 */

import { errors, GtaError } from '../errors.ts'
import type { ByteSource } from '../files/source.ts'
import { fetchErrors } from './errors.ts'

/** Waits before one attempt after the other, in ms; what arrives in between starts the list again. */
const DELAYS = [500, 1000, 2000, 4000, 8000]
/** A connection without a byte for so long is a broken one, in ms. */
const PATIENCE = 30_000
/** Bytes handed on at a time: progress is told after each. */
const READ_BYTES = 2 ** 18

export interface RemoteOptions {
  delays?: readonly number[]
  patience?: number
}

/** What must not change while a file is fetched; undefined where the server does not tell. */
interface Identity {
  etag: string | undefined
  lastModified: string | undefined
}

type Reader = ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>

export class RemoteFile implements ByteSource {
  readonly readers = 1
  readonly readBytes = READ_BYTES
  size = Number.POSITIVE_INFINITY
  /** Bytes that there are at least, by what the server told; not even so many are a connection that broke. */
  private least = 0
  private readonly url: string
  private readonly delays: readonly number[]
  private readonly patience: number
  private readonly controller = new AbortController()
  private reader: Reader | undefined
  private identity: Identity | undefined
  /** A compressed body: positions in it are not positions in the file. */
  private isEncoded = false
  /** Bytes that have arrived, and those of them that a new connection is yet to repeat. */
  private received = 0
  private repeated = 0
  private failures = 0
  /** What has arrived and is still of use: bytes from `start` on. */
  private chunks: Uint8Array[] = []
  private start = 0
  private isKept = true

  private constructor(url: string, { delays = DELAYS, patience = PATIENCE }: RemoteOptions) {
    this.url = url
    this.delays = delays
    this.patience = patience
  }

  /** Throws NOT_FOUND or FETCH_FAILED. */
  static async open(url: string, options: RemoteOptions = {}): Promise<RemoteFile> {
    const file = new RemoteFile(url, options)
    try {
      await file.again(() => file.connect())
      return file
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** Until `forgetUpTo` anything may be read again; then only what was not read before. */
  async read(target: Uint8Array, position: number): Promise<void> {
    let at = position
    const end = position + target.length
    while (at < end) {
      const chunk = this.find(at)
      if (chunk) {
        const part = chunk.subarray(0, end - at)
        target.set(part, at - position)
        at += part.length
        if (!this.isKept) this.forgetUpTo(at)
      } else if (!(await this.again(() => this.pull())))
        throw errors.badFile(this.url, 'the size', `at least ${end} bytes`, this.received)
    }
  }

  forgetUpTo(position: number): void {
    this.isKept = false
    for (let first = this.chunks[0]; first && this.start < position; first = this.chunks[0]) {
      const count = Math.min(position - this.start, first.length)
      if (count === first.length) this.chunks.shift()
      else this.chunks[0] = first.subarray(count)
      this.start += count
    }
  }

  /** Refuses a file that goes on behind `position`: where no length was told, only its end says so. */
  async expectEnd(position: number): Promise<void> {
    while (this.received <= position) if (!(await this.again(() => this.pull()))) return
    throw errors.badFile(this.url, 'the size', `${position} bytes as its header says`, 'more')
  }

  async close(): Promise<void> {
    this.controller.abort()
    this.chunks = []
  }

  /** Bytes from `position` on, as far as one chunk has them. */
  private find(position: number): Uint8Array | undefined {
    let from = this.start
    for (const chunk of this.chunks) {
      if (position < from + chunk.length) return chunk.subarray(position - from)
      from += chunk.length
    }
    return undefined
  }

  /** Takes what comes next from the connection; false at the end of the file. */
  private async pull(): Promise<boolean> {
    if (!this.reader) await this.connect()
    const { done, value } = await this.patiently((this.reader as Reader).read())
    if (done) {
      if (this.received < this.least) throw new Error('the connection ended')
      return false
    }
    const fresh = value.subarray(Math.min(this.repeated, value.length))
    this.repeated -= value.length - fresh.length
    if (fresh.length === 0) return true
    this.received += fresh.length
    this.failures = 0
    this.chunks.push(fresh)
    return true
  }

  private async connect(): Promise<void> {
    const isResumed = this.received > 0 && !this.isEncoded
    const response = await this.patiently(
      fetch(this.url, {
        signal: this.controller.signal,
        ...(isResumed ? { headers: { range: `bytes=${this.received}-` }, cache: 'no-store' } : {}),
      }),
    )
    const { status, body } = response
    if (status === 408 || status === 429 || status >= 500) throw new Error(`status ${status}`)
    // Asked for bytes behind its end: it has become shorter.
    if (status === 416) throw fetchErrors.changed(this.url, 'the size', `${this.size} bytes`, 'fewer')
    if (status !== 200 && !(status === 206 && isResumed)) throw fetchErrors.badStatus(this.url, status)
    if (!body) throw new Error('no content')
    this.check(response, status === 206 ? this.received : 0)
    this.repeated = status === 206 ? 0 : this.received
    this.reader = body.getReader()
  }

  /**
   * Is it the same file, and the right part of it? Other origins hide all headers but the length, that it is compressed too: then the
   * length is of what was sent, and the file may be longer. (Asked for bytes from a place on, a browser wants them uncompressed.)
   */
  private check({ headers, type }: Response, from: number): void {
    const expect = (what: string, expected: unknown, found: unknown) => {
      if (expected !== undefined && found !== undefined && expected !== found)
        throw fetchErrors.changed(this.url, what, expected, found)
    }
    const header = (name: string) => headers.get(name) ?? undefined
    const identity = { etag: header('etag'), lastModified: header('last-modified') }
    const length = header('content-length')
    const isEncoded = (header('content-encoding') ?? 'identity') !== 'identity'
    const told = isEncoded || length === undefined ? undefined : from + Number(length)
    const size = type === 'cors' ? undefined : told
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header('content-range') ?? '')
    if (from > 0 && range) {
      expect('the answer to a request for bytes', from, Number(range[1]))
      if (range[2] !== '*') expect('the size', this.size, Number(range[2]))
    }
    if (this.identity) {
      expect('the version (ETag)', this.identity.etag, identity.etag)
      expect('the time of change', this.identity.lastModified, identity.lastModified)
      if (Number.isFinite(this.size)) expect('the size', this.size, size)
      return
    }
    this.identity = identity
    this.isEncoded = isEncoded
    if (told !== undefined && Number.isSafeInteger(told)) this.least = told
    if (size !== undefined && Number.isSafeInteger(size)) this.size = size
  }

  /** Tries until it works, the file turns out to be the wrong one, or all waits were in vain. */
  private async again<T>(attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await attempt()
      } catch (error) {
        if (this.controller.signal.aborted || error instanceof GtaError) throw error
        this.reader?.cancel().catch(() => undefined)
        this.reader = undefined
        // Whoever was never reached is not waited for: the address is wrong, or there is no network.
        const isFirst = this.identity === undefined && error instanceof TypeError
        const delay = this.delays[this.failures++]
        if (isFirst) throw fetchErrors.unreachable(this.url, error)
        if (delay === undefined) throw fetchErrors.interrupted(this.url, this.received, this.size, error)
        await new Promise((resolve) => setTimeout(resolve, delay))
      }
    }
  }

  private async patiently<T>(promise: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`nothing for ${this.patience / 1000} s`)), this.patience)
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }
}
