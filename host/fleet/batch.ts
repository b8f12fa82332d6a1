/**
 * A batch: requests are read as they are needed, some are answered at a time, and each result is written as soon as it is there,
 * or in the order of the requests. Whatever is wrong with one is told in its place; the others go on. Memory does not depend on
 * how many there are, but for 32 bytes each.
 */
import { setMaxListeners } from 'node:events'
import type { Readable } from 'node:stream'
import type { Answer } from '../server/local-api.ts'
import { lineErrors } from './errors.ts'
import { IdSet } from './id-set.ts'
import { readLines } from './lines.ts'
import { Order, type Output } from './output.ts'
import { MAX_LINE, type Parsed, parseRequest, type Request } from './requests.ts'
import { answeredLine, keyOfId, keyOfLine, refusedLine } from './results.ts'

export interface BatchOptions {
  /** Destroyed at the end. */
  input: Readable
  output: Output
  /** Requests that are answered at a time. */
  concurrency: number
  /** Requests of the input, from its beginning; default: all. */
  limit?: number | undefined
  isOrdered?: boolean | undefined
  answer(request: Request, signal: AbortSignal): Promise<Answer>
  signal: AbortSignal
  onProgress?: ((counts: BatchCounts) => void) | undefined
  /** Thrown where results that are kept stand in another order than the requests. */
  otherOrder: () => Error
}

export interface BatchCounts {
  /** Lines that were requests, or should have been. */
  requests: number
  /** Whose result was there before. */
  kept: number
  /** With status 200. */
  answered: number
  failed: number
  /** Bytes of the input whose results are written. */
  bytes: number
}

/** With `isOrdered`: results that wait for one before them are at most so many times those that are answered at a time. */
const WINDOW = 16

/** Resolves when all requests have a result. Rejects with the reason of the signal, or if the output cannot be written. */
export async function runBatch(options: BatchOptions): Promise<BatchCounts> {
  return await new Batch(options).run()
}

class Batch {
  private readonly options: BatchOptions
  private readonly counts: BatchCounts = { requests: 0, kept: 0, answered: 0, failed: 0, bytes: 0 }
  private readonly seen = new IdSet()
  private readonly order = new Order()
  private readonly stop = new AbortController()
  private running = 0
  /** Requests that were begun, and, in order, whose results are written. */
  private begun = 0
  private written = 0
  /** In order: results that are complete, and wait for others. */
  private readonly waiting = new Map<number, () => Promise<void>>()
  private wake: () => void = () => undefined

  constructor(options: BatchOptions) {
    this.options = options
    // Each request listens, and no more than are answered at a time.
    setMaxListeners(0, this.stop.signal)
  }

  async run(): Promise<BatchCounts> {
    const { signal } = this.options
    const abort = () => this.fail(signal.reason)
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
    try {
      await this.readAll()
    } catch (error) {
      this.fail(error)
    } finally {
      signal.removeEventListener('abort', abort)
    }
    while (this.running > 0) await this.untilChanged()
    this.stop.signal.throwIfAborted()
    return this.counts
  }

  private async readAll(): Promise<void> {
    const { input, limit = Number.POSITIVE_INFINITY, onProgress } = this.options
    const { counts } = this
    let end = 0
    for await (const line of readLines(input, MAX_LINE)) {
      this.stop.signal.throwIfAborted()
      const bytes = line.end - end
      end = line.end
      const found = parseRequest(line)
      if (!found) continue
      const parsed = this.checkId(found)
      counts.requests++
      if (this.isKept(parsed)) {
        counts.kept++
        counts.bytes += bytes
        onProgress?.(counts)
      } else await this.begin(parsed, bytes)
      // Not one line later: a stream may have nothing more to say for long.
      if (counts.requests >= limit) break
    }
    const { isOrdered, output, otherOrder } = this.options
    if (isOrdered && counts.requests < limit && counts.kept < output.kept.keys.size) throw otherOrder()
  }

  /** One id, one result: a second request of the same id is told by its line. */
  private checkId(parsed: Parsed): Parsed {
    const { customId } = parsed
    if (customId === undefined || this.seen.add(keyOfId(customId))) return parsed
    const error = lineErrors.sameId(JSON.stringify(customId.slice(0, 100)))
    return { ...parsed, customId: undefined, request: undefined, error }
  }

  private isKept({ number, customId, error }: Parsed): boolean {
    const { output, isOrdered, otherOrder } = this.options
    const { kept } = output
    if (kept.keys.size === 0) return false
    const key = customId === undefined ? keyOfLine(number, error?.code ?? '') : keyOfId(customId)
    const isThere = kept.keys.has(key)
    if (!isOrdered) return isThere
    // What is there must be of the first requests, as they stand.
    if (this.counts.kept === kept.keys.size) return false
    if (!isThere) throw otherOrder()
    this.order.add(key)
    if (this.counts.kept + 1 === kept.keys.size && !kept.isInOrder(this.order)) throw otherOrder()
    return true
  }

  private async begin(parsed: Parsed, bytes: number): Promise<void> {
    const { concurrency, isOrdered } = this.options
    const isFull = () => this.running >= concurrency || (isOrdered && this.begun - this.written >= WINDOW * concurrency)
    while (isFull() && !this.stop.signal.aborted) await this.untilChanged()
    this.stop.signal.throwIfAborted()
    this.running++
    void this.answer(parsed, bytes, this.begun++)
  }

  /** Never rejects. */
  private async answer(parsed: Parsed, bytes: number, place: number): Promise<void> {
    const { output, onProgress } = this.options
    const { signal } = this.stop
    try {
      const { request, error } = parsed
      const answer = request && (await this.options.answer(request, signal))
      const line = answer
        ? answeredLine(request.customId, answer)
        : refusedLine(parsed, error as NonNullable<typeof error>)
      const write = async () => {
        signal.throwIfAborted()
        await output.write(line)
        this.counts[answer?.status === 200 ? 'answered' : 'failed']++
        this.counts.bytes += bytes
        onProgress?.(this.counts)
      }
      await (this.options.isOrdered ? this.writeInOrder(place, write) : write())
    } catch (error) {
      this.fail(error)
    } finally {
      this.running--
      this.wake()
    }
  }

  /** Whoever completes the next one writes those behind it too. */
  private async writeInOrder(place: number, write: () => Promise<void>): Promise<void> {
    this.waiting.set(place, write)
    if (place !== this.written) return
    for (let next = this.waiting.get(place); next; next = this.waiting.get(this.written)) {
      await next()
      this.waiting.delete(this.written)
      this.written++
    }
  }

  private fail(error: unknown): void {
    this.stop.abort(error)
    // A stream that has nothing to say would be waited for.
    this.options.input.destroy()
    this.wake()
  }

  private untilChanged(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve
    })
  }
}
