/** Progress on stderr, for people only: on a terminal, and for what takes more than a second. */
import type { Progress } from '../runtime/api.ts'

/** The time that is left is told once so much of the time, in milliseconds, and of the work was seen: before, it jumps. */
const SEEN = { milliseconds: 1000, share: 0.02 }

/** Shows `label done/total, time left` in one line that it removes when all is done. */
export class ProgressLine {
  private readonly label: string
  private readonly show: (n: number) => string
  private readonly started = performance.now()
  /** The first report: what was done before it, and how fast, says nothing about the rest. */
  private first: { at: number; done: number } | undefined
  private isShown = false
  private last = 0

  constructor(label: string, show: (n: number) => string = String) {
    this.label = label
    this.show = show
  }

  update = ({ done, total }: Progress): void => {
    if (!process.stderr.isTTY) return
    const now = performance.now()
    this.first ??= { at: now, done }
    if (now - this.started < 1000 || (now - this.last < 100 && done < total)) return
    this.last = now
    const left = timeLeft(now - this.first.at, done - this.first.done, total - done)
    const words = left === undefined ? '' : `, ${inWords(left)} left`
    this.isShown = true
    process.stderr.write(`\r\x1b[K${this.label} ${this.show(done)}/${this.show(total)}${words}`)
  }

  end(): void {
    if (this.isShown) process.stderr.write('\r\x1b[K')
    this.isShown = false
  }
}

/** Seconds that are left after `done` was done in so many milliseconds; undefined while nobody can know. */
export function timeLeft(milliseconds: number, done: number, left: number): number | undefined {
  const isSeen = milliseconds >= SEEN.milliseconds && done > 0 && done >= SEEN.share * (done + left)
  return isSeen ? ((milliseconds / 1000) * left) / done : undefined
}

/** '40 s', '3 min', '2 h 5 min' */
export function inWords(seconds: number): string {
  if (seconds < 99.5) return `${Math.ceil(seconds)} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
