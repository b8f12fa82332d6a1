/** How far a batch is, on stderr: in one line of a terminal, else as a line a minute. */
import type { BatchCounts } from '../fleet/batch.ts'
import { inWords, timeLeft } from './progress.ts'
import { say } from './terminal.ts'

/** Milliseconds between two times that it is told. */
const PERIOD = { terminal: 100, log: 60_000 }

export class BatchLine {
  private readonly source: { readonly tokens: number }
  /** Of the input; undefined where nobody knows. */
  private readonly bytes: number | undefined
  private readonly started = performance.now()
  private last = 0
  private isShown = false
  /** What was there already says nothing about how fast the rest will be. */
  private first: { at: number; bytes: number } | undefined

  constructor(source: { readonly tokens: number }, bytes: number | undefined) {
    this.source = source
    this.bytes = bytes
  }

  get tokens(): number {
    return this.source.tokens
  }

  get seconds(): number {
    return (performance.now() - this.started) / 1000
  }

  update = (counts: BatchCounts): void => {
    const now = performance.now()
    if (counts.answered + counts.failed === 0) this.first = undefined
    else this.first ??= { at: this.started, bytes: counts.bytes }
    const { isTTY } = process.stderr
    if (now - Math.max(this.last, this.started) < (isTTY ? PERIOD.terminal : PERIOD.log)) return
    this.last = now
    const text = this.text(counts, now)
    this.isShown = isTTY
    if (isTTY) process.stderr.write(`\r\x1b[K${text}`)
    else say(text)
  }

  /** 'batch: 120 answered, 2 failed, 41 tok/s, 12 %, 3 min left' */
  text(counts: BatchCounts, now: number): string {
    const { bytes } = this
    const share = bytes ? [`${Math.floor((100 * counts.bytes) / bytes)} %`] : []
    const { at, bytes: before } = this.first ?? { at: now, bytes: counts.bytes }
    const left = bytes ? timeLeft(now - at, counts.bytes - before, bytes - counts.bytes) : undefined
    const words = left === undefined ? [] : [`${inWords(left)} left`]
    return [`batch: ${countsInWords(counts)}`, this.rate(), ...share, ...words].join(', ')
  }

  summary(counts: BatchCounts): string {
    return `batch: ${countsInWords(counts)}, ${inWords(this.seconds)}, ${this.tokens} tokens, ${this.rate()}`
  }

  private rate(): string {
    return `${(this.tokens / this.seconds).toFixed(1)} tok/s`
  }

  end(): void {
    if (this.isShown) process.stderr.write('\r\x1b[K')
    this.isShown = false
  }
}

function countsInWords({ kept, answered, failed }: BatchCounts): string {
  const parts = [`${answered} answered`, `${failed} failed`]
  return [...parts, ...(kept > 0 ? [`${kept} were there`] : [])].join(', ')
}
