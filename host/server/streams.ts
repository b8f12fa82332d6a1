/**
 * Answers that come piece by piece: server-sent events for OpenAI's clients, lines of JSON for Ollama's. Whoever writes waits
 * for a reader that is slower than the model, so that no more than one buffer of the socket is held for it.
 */
import type { ServerResponse } from 'node:http'

/** Milliseconds of silence after which a comment says that we are still there. */
const SILENCE = 10_000
/** Milliseconds between two comments on how far the prompt is read. */
const PROGRESS = 500

export interface AnswerStream {
  /** Has the client been told that its answer begins? */
  readonly isOpen: boolean
  open(): void
  /** The value must stay as it is. Undefined where the reader is as fast as we are; else a promise to wait for, which rejects when it has gone. */
  send(value: object, event?: string): Promise<void> | undefined
  /** Says how far the prompt is read, now and then; nothing where the form has no place for it. */
  progress(done: number, total: number): void
  /** Sends something that the client ignores, if the form has such a thing. */
  probe(): void
  /** The last of it. */
  end(): void
  /** In place of the rest. */
  fail(error: object): void
}

/** What a stream needs of the exchange that it answers. */
export interface Answered {
  readonly response: ServerResponse
  readonly signal: AbortSignal
  stream: AnswerStream | undefined
}

abstract class Stream implements AnswerStream {
  isOpen = false
  protected readonly response: ServerResponse
  private readonly exchange: Answered
  private readonly type: string
  private readonly unwritten: (() => string)[] = []

  constructor(exchange: Answered, type: string) {
    this.exchange = exchange
    this.response = exchange.response
    this.type = type
    exchange.stream = this
  }

  open(): void {
    if (this.isOpen || this.response.destroyed) return
    this.isOpen = true
    this.response.writeHead(200, {
      'content-type': this.type,
      'cache-control': 'no-store',
      // nginx would keep events back until it has a buffer full of them.
      'x-accel-buffering': 'no',
    })
    this.response.flushHeaders()
  }

  /**
   * Made and written at the end of this turn of the event loop: by then the engine computes the next tokens, and what several
   * texts of a step say to one client goes in one piece.
   */
  protected write(text: () => string): Promise<void> | undefined {
    this.open()
    const { response, unwritten } = this
    if (response.destroyed) return undefined
    if (unwritten.length === 0) process.nextTick(() => this.flush())
    unwritten.push(text)
    return response.writableNeedDrain ? this.drained() : undefined
  }

  protected flush(): void {
    const { response } = this
    const texts = this.unwritten.splice(0)
    if (texts.length > 0 && !response.destroyed && !response.writableEnded)
      response.write(texts.map((text) => text()).join(''))
  }

  private drained(): Promise<void> {
    const { response } = this
    const { signal } = this.exchange
    return new Promise((resolve, reject) => {
      const leave = () => {
        response.off('drain', go)
        signal.removeEventListener('abort', stop)
      }
      const go = () => {
        leave()
        resolve()
      }
      const stop = () => {
        leave()
        reject(signal.reason)
      }
      response.once('drain', go)
      signal.addEventListener('abort', stop)
      if (signal.aborted) stop()
    })
  }

  /** The rest, and nothing behind it. */
  protected finish(rest: string): void {
    this.open()
    this.flush()
    this.response.end(rest)
  }

  abstract send(value: object, event?: string): Promise<void> | undefined
  abstract progress(done: number, total: number): void
  abstract probe(): void
  abstract end(): void
  abstract fail(error: object): void
}

export class EventStream extends Stream {
  private readonly timer: NodeJS.Timeout
  private last = performance.now()
  private lastProgress = 0
  /** What ends OpenAI's older streams, as text. */
  private readonly ending: string

  constructor(exchange: Answered, ending = '') {
    super(exchange, 'text/event-stream; charset=utf-8')
    this.ending = ending
    // A prompt that is read for minutes, or a queue, is silent: clients and proxies take that for the end.
    this.timer = setInterval(() => {
      if (performance.now() - this.last >= SILENCE - 100) this.comment('waiting')
    }, SILENCE / 2)
    this.timer.unref()
    exchange.response.once('close', () => clearInterval(this.timer))
  }

  send(value: object, event?: string): Promise<void> | undefined {
    this.last = performance.now()
    return this.write(() => `${event === undefined ? '' : `event: ${event}\n`}data: ${JSON.stringify(value)}\n\n`)
  }

  progress(done: number, total: number): void {
    if (performance.now() - this.lastProgress < PROGRESS) return
    this.lastProgress = performance.now()
    this.comment(`prompt ${done}/${total}`)
  }

  probe(): void {
    this.comment('')
  }

  /** Not while the reader has not even taken what was written before. */
  private comment(text: string): void {
    this.last = performance.now()
    if (!this.response.writableNeedDrain && !this.response.writableEnded)
      this.write(() => `: ${text}\n\n`)?.catch(() => undefined)
  }

  end(): void {
    clearInterval(this.timer)
    this.finish(this.ending)
  }

  fail(error: object): void {
    clearInterval(this.timer)
    this.finish(`data: ${JSON.stringify(error)}\n\n`)
  }
}

/** NDJSON: one document a line, no comments. */
export class LineStream extends Stream {
  constructor(exchange: Answered) {
    super(exchange, 'application/x-ndjson')
  }

  send(value: object): Promise<void> | undefined {
    return this.write(() => `${JSON.stringify(value)}\n`)
  }

  progress(): void {}

  /** White space before a document. */
  probe(): void {
    this.write(() => ' ')?.catch(() => undefined)
  }

  end(): void {
    this.finish('')
  }

  fail(error: object): void {
    this.finish(`${JSON.stringify(error)}\n`)
  }
}
