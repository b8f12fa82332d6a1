/** Requests of a file into a queue: each is there once, however often it is submitted. */
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ApiError } from '../../server/errors.ts'
import { lineErrors } from '../errors.ts'
import { IdSet } from '../id-set.ts'
import { readLines } from '../lines.ts'
import { MAX_LINE, parseRequest, type Request } from '../requests.ts'
import type { Nats } from './connect.ts'
import { jobErrors, queueErrors } from './errors.ts'
import { jobOf, jobSubject } from './names.ts'
import { apiCode, apiCodes } from './streams.ts'

export interface SubmitOptions {
  nats: Nats
  stream: string
  /** Of the model. */
  hash: string
  input: Readable
  limit?: number | undefined
  signal: AbortSignal
  /** Told of a line that is no request. */
  onRefused: (line: number, error: ApiError) => void
}

export interface SubmitCounts {
  requests: number
  queued: number
  /** Those that were in the queue already. */
  known: number
  refused: number
}

/** Requests that are on their way at a time. */
const WINDOW = 64
/** Milliseconds before each of the times that a request is sent again; a server that starts again takes a second or two. */
const RETRIES = [500, 1000, 2000, 4000, 8000]

/** Rejects with WRITE_FAILED if the queue does not take a request, after some tries. */
export async function submitRequests(options: SubmitOptions): Promise<SubmitCounts> {
  const { input, limit = Number.POSITIVE_INFINITY, signal, onRefused } = options
  const counts: SubmitCounts = { requests: 0, queued: 0, known: 0, refused: 0 }
  const seen = new IdSet()
  const sending = new Sending()
  for await (const line of readLines(input, MAX_LINE)) {
    signal.throwIfAborted()
    const parsed = parseRequest(line)
    if (!parsed) continue
    counts.requests++
    const { request, customId, number } = parsed
    const isNew = customId === undefined || seen.add(customId)
    const error = isNew ? parsed.error : lineErrors.sameId(JSON.stringify(customId.slice(0, 100)))
    const refusal = error ?? (request && sizeError(options, request))
    if (refusal || !request) {
      counts.refused++
      onRefused(number, refusal as ApiError)
    } else await sending.add(send(options, request).then((isQueued) => void counts[isQueued ? 'queued' : 'known']++))
    if (counts.requests >= limit) break
  }
  await sending.end()
  return counts
}

/** What is on its way. One that fails is told at the next. */
class Sending {
  private readonly running = new Set<Promise<void>>()
  private failure: { error: unknown } | undefined

  async add(one: Promise<void>): Promise<void> {
    const sent = one
      .catch((error) => {
        this.failure ??= { error }
      })
      .finally(() => this.running.delete(sent))
    this.running.add(sent)
    if (this.running.size >= WINDOW) await Promise.race(this.running)
    this.check()
  }

  async end(): Promise<void> {
    await Promise.all(this.running)
    this.check()
  }

  private check(): void {
    if (this.failure) throw this.failure.error
  }
}

const dataOf = ({ customId, url, body }: Request) => JSON.stringify({ custom_id: customId, method: 'POST', url, body })

function sizeError({ nats }: SubmitOptions, request: Request): ApiError | undefined {
  const limit = nats.connection.info?.max_payload ?? 2 ** 20
  const bytes = Buffer.byteLength(dataOf(request))
  return bytes > limit ? jobErrors.requestTooLarge(bytes, limit) : undefined
}

/** False if it is there already. */
async function send({ nats, stream, hash, signal }: SubmitOptions, request: Request): Promise<boolean> {
  const job = jobOf(request)
  const subject = jobSubject(stream, hash, job)
  for (let tries = 0; ; tries++)
    try {
      return !(await nats.stream.publish(subject, dataOf(request), { msgID: job })).duplicate
    } catch (error) {
      if (apiCode(error) === apiCodes.subjectTaken) return false
      const delay = RETRIES[tries]
      if (delay === undefined) throw queueErrors.notQueued(stream, error as Error)
      await sleep(delay, undefined, { signal }).catch(() => undefined)
      signal.throwIfAborted()
    }
}
