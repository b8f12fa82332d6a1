/**
 * A worker: takes jobs of its model from a queue, as many at a time as it has slots, and stores what came of each before it
 * acknowledges it. Whatever ends it, nothing is lost: a job that is not acknowledged is given to another, and a result that is
 * stored is not stored twice.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Consumer, JsMsg } from '@nats-io/jetstream'
import type { ApiError } from '../../server/errors.ts'
import type { Answer } from '../../server/local-api.ts'
import { type Parsed, parseRequest, type Request } from '../requests.ts'
import { answeredLine, refusedLine } from '../results.ts'
import type { Nats } from './connect.ts'
import { jobErrors, queueErrors } from './errors.ts'
import { consumerOf, deadSubject, resultSubject, resultsOf } from './names.ts'
import { findMessage, repairJobs } from './repair.ts'
import { apiCode, apiCodes, makeStreams } from './streams.ts'

export interface WorkerOptions {
  nats: Nats
  stream: string
  /** Of the model. */
  hash: string
  slots: number
  /** Times that a job is given to a worker; the next one gives it up. */
  maxDeliver: number
  /** Seconds without a word from a worker after which its job is given to another. */
  ackWait: number
  answer(request: Request, signal: AbortSignal): Promise<Answer>
  /** Aborted: no job is begun any more. */
  drain: AbortSignal
  /** Aborted: what runs is given back. */
  stop: AbortSignal
  onError: (text: string) => void
}

/** Milliseconds: that a slot waits for a job, that a failed job waits for its next worker, that we wait for a server. */
const TIMES = { fetch: 5000, again: 1000, pause: 1000, publish: 5000 }
/** Answers that another worker, or this one later, may give better. */
const isPassing = ({ status }: Answer) => status >= 500 || status === 429

export class Worker {
  running = 0
  done = 0
  failed = 0
  private readonly options: WorkerOptions
  /** End what asks for a job. */
  private readonly fetches = new Set<() => void>()

  constructor(options: WorkerOptions) {
    this.options = options
  }

  /** Resolves when it is drained. Rejects where the queue is something else, or ends the connection. */
  async run(): Promise<void> {
    const { nats, slots, drain } = this.options
    const consumer = await this.openConsumer()
    drain.addEventListener('abort', () => this.stopFetches())
    void this.watchConnection()
    const closed = nats.connection.closed().then((cause) => {
      if (!drain.aborted) throw queueErrors.closed(nats.server, cause ?? new Error('it was closed'))
    })
    const taking = Promise.all(Array.from({ length: slots }, (_, slot) => this.takeJobs(consumer, slot === 0)))
    closed.catch(() => undefined)
    await Promise.race([taking, closed])
    await taking
    if (!drain.aborted) await closed
  }

  private stopFetches(): void {
    for (const stop of this.fetches) stop()
  }

  /** A server that was away knows nothing of who asked it for a job. */
  private async watchConnection(): Promise<void> {
    for await (const { type } of this.options.nats.connection.status()) if (type === 'disconnect') this.stopFetches()
  }

  /** One for each model: workers of the same model share it. */
  private async openConsumer(): Promise<Consumer> {
    const { nats, stream, hash, ackWait } = this.options
    await makeStreams(nats, stream)
    const name = consumerOf(hash)
    const config = { ack_wait: ackWait * 1e9, max_deliver: -1, max_ack_pending: 100_000, filter_subject: `${stream}.jobs.${hash}.*` } // biome-ignore format: one line
    const { consumers } = nats.manager
    // The one who comes last says how long is waited.
    await consumers
      .add(stream, { ...config, durable_name: name, ack_policy: 'explicit' })
      .catch(() => consumers.update(stream, name, config))
      .catch((cause) => {
        throw queueErrors.cannotMake(`${stream}, consumer ${name}`, cause)
      })
    return await nats.stream.consumers.get(stream, name)
  }

  /** A slot: one job after the other, each asked for when there is time for it. Rejects never. */
  private async takeJobs(consumer: Consumer, isFirst: boolean): Promise<void> {
    const { drain, nats, stream, hash, onError } = this.options
    let isSilent = true
    while (!drain.aborted && !nats.connection.isClosed())
      try {
        let isIdle = true
        for await (const job of await this.fetch(consumer)) {
          isIdle = false
          await this.take(job)
        }
        if (isIdle && isFirst && !drain.aborted) await repairJobs(nats, stream, hash)
        isSilent = true
      } catch (error) {
        // The server is away, or starts again.
        if (isSilent && !drain.aborted) onError(`no job can be taken: ${(error as Error).message}`)
        isSilent = false
        await sleep(TIMES.pause, undefined, { signal: drain }).catch(() => undefined)
      }
  }

  private async fetch(consumer: Consumer): Promise<AsyncIterable<JsMsg>> {
    const { drain } = this.options
    const messages = await consumer.fetch({ max_messages: 1, expires: TIMES.fetch })
    const stop = () => messages.stop()
    this.fetches.add(stop)
    void messages.closed().then(() => this.fetches.delete(stop))
    if (drain.aborted) stop()
    return messages
  }

  private async take(job: JsMsg): Promise<void> {
    const { ackWait, drain, onError } = this.options
    if (drain.aborted) return job.nak()
    this.running++
    const heartbeat = setInterval(() => job.working(), (ackWait * 1000) / 3)
    try {
      await this.work(job)
    } catch (error) {
      if (!this.options.stop.aborted) onError(`a job is given back: ${(error as Error).message}`)
      job.nak(this.options.stop.aborted ? undefined : TIMES.again)
    } finally {
      clearInterval(heartbeat)
      this.running--
    }
  }

  private async work(job: JsMsg): Promise<void> {
    const { nats, stream, maxDeliver, stop } = this.options
    const name = job.subject.split('.').at(-1) as string
    // It was computed by one who did not live to acknowledge it, or the same request was submitted again.
    if (await findMessage(nats, resultsOf(stream), resultSubject(stream, name))) return void (await job.ackAck())
    const parsed = parsedOf(job)
    const { deliveryCount } = job.info
    if (deliveryCount > maxDeliver) await this.giveUp(job, name, parsed)
    else if (parsed.request) {
      const answer = await this.options.answer(parsed.request, stop)
      if (isPassing(answer) && deliveryCount < maxDeliver)
        throw new Error(`${parsed.request.customId} failed with status ${answer.status}`)
      await this.store(name, answeredLine(parsed.request.customId, answer), parsed)
      this.count(answer.status === 200)
    } else {
      await this.store(name, refusedLine(parsed, parsed.error as ApiError), parsed)
      this.count(false)
    }
    // If this does not arrive, the job comes again, and its result is found.
    await job.ackAck()
  }

  private count(isGood: boolean): void {
    this.done++
    if (!isGood) this.failed++
  }

  /** Whoever took it did not live to answer it: perhaps because of it. */
  private async giveUp(job: JsMsg, name: string, parsed: Parsed): Promise<void> {
    const { stream, maxDeliver, onError } = this.options
    const error = jobErrors.givenUp(maxDeliver)
    onError(`${parsed.customId ?? name} is given up: ${error.message}`)
    await this.publish(deadSubject(stream, name), job.data, name)
    await this.store(name, refusedLine(parsed, error), parsed)
    this.count(false)
  }

  private async store(name: string, line: string, parsed: Parsed): Promise<void> {
    const { nats, stream } = this.options
    const limit = nats.connection.info?.max_payload ?? 2 ** 20
    const bytes = Buffer.byteLength(line)
    const fitting = bytes <= limit ? line : refusedLine(parsed, jobErrors.tooLarge(bytes, limit))
    await this.publish(resultSubject(stream, name), fitting, name)
  }

  /** Until the queue has it: what was computed is not to be lost because a server starts again. */
  private async publish(subject: string, data: string | Uint8Array, msgID: string): Promise<void> {
    const { nats, stop } = this.options
    for (;;)
      try {
        return void (await nats.stream.publish(subject, data, { msgID, timeout: TIMES.publish }))
      } catch (error) {
        // Another one has answered it meanwhile.
        if (apiCode(error) === apiCodes.subjectTaken) return
        if (apiCode(error) !== undefined || nats.connection.isClosed()) throw error
        await sleep(TIMES.pause, undefined, { signal: stop })
      }
  }
}

function parsedOf(job: JsMsg): Parsed {
  const line = { number: job.seq, bytes: job.data, end: job.data.length, isWhole: true }
  const empty = { ...line, bytes: Buffer.from('{}') }
  return parseRequest(line) ?? (parseRequest(empty) as Parsed)
}
