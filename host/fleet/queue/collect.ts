/** Results of a queue into a file, each id once, as gta batch writes them. */
import { setTimeout as sleep } from 'node:timers/promises'
import { GtaError } from '../../errors.ts'
import { IdSet } from '../id-set.ts'
import type { Output } from '../output.ts'
import { readResult } from '../results.ts'
import type { Nats } from './connect.ts'
import { queueErrors } from './errors.ts'
import { resultsOf } from './names.ts'
import { stateOf } from './streams.ts'

export interface CollectOptions {
  nats: Nats
  stream: string
  output: Output
  /** Until no job is left, and through failures of the server. */
  isWaiting: boolean
  signal: AbortSignal
}

export interface CollectCounts {
  written: number
  /** Of those, errors. */
  failed: number
  /** In the output already. */
  kept: number
  /** Second results of an id: another request had it too. */
  repeated: number
  /** What is no result of ours. */
  strange: number
  /** Jobs that are not done. */
  pending: number
}

/** Messages that are asked for at a time, and milliseconds that they may take. */
const FETCH = { max_messages: 256, expires: 2000 }
/** Milliseconds between two looks at a queue that is not done. */
const PERIOD = 500

/** Throws NOT_FOUND where there is no such queue, CLOSED where it cannot be read, WRITE_FAILED. */
export async function collectResults(options: CollectOptions): Promise<CollectCounts> {
  return await new Collection(options).run()
}

class Collection {
  private readonly options: CollectOptions
  private readonly counts: CollectCounts = { written: 0, failed: 0, kept: 0, repeated: 0, strange: 0, pending: 0 }
  private readonly seen = new IdSet()
  /** The number of the next message. */
  private next = 1

  constructor(options: CollectOptions) {
    this.options = options
  }

  async run(): Promise<CollectCounts> {
    const { nats, isWaiting, signal } = this.options
    for (;;) {
      signal.throwIfAborted()
      try {
        await this.readAll()
        if (!isWaiting || this.counts.pending === 0) return this.counts
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof GtaError) throw error
        if (!isWaiting || nats.connection.isClosed()) throw queueErrors.closed(nats.server, error as Error)
      }
      await sleep(PERIOD, undefined, { signal }).catch(() => undefined)
    }
  }

  /** All that is there now. */
  private async readAll(): Promise<void> {
    const { nats, stream } = this.options
    // In this order: a job that is gone has its result.
    this.counts.pending = (await stateOf(nats, stream)).messages
    const { last, messages } = await stateOf(nats, resultsOf(stream))
    if (messages === 0 || last < this.next) return
    const start = { deliver_policy: 'by_start_sequence', opt_start_seq: this.next } as const
    const consumer = await nats.stream.consumers.get(resultsOf(stream), start)
    for (let before = 0; this.next <= last && this.next !== before; ) {
      before = this.next
      const count = Math.min(FETCH.max_messages, last - this.next + 1)
      for await (const message of await consumer.fetch({ ...FETCH, max_messages: count })) {
        this.options.signal.throwIfAborted()
        await this.add(Buffer.from(message.data).toString().trimEnd())
        this.next = message.seq + 1
        // Some may have been removed meanwhile: then the last one is not the one that was expected.
        if (message.info.pending === 0) return
      }
    }
  }

  private async add(text: string): Promise<void> {
    const { counts, seen } = this
    const { output } = this.options
    const found = text.includes('\n') ? undefined : readResult(text)
    if (!found) counts.strange++
    else if (!seen.add(found.key)) counts.repeated++
    else if (output.kept.keys.has(found.key)) counts.kept++
    else {
      await output.write(`${text}\n`)
      counts.written++
      if (!found.isGood) counts.failed++
    }
  }
}
