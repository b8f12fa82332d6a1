/** Progress on stderr, for people only: on a terminal, and for what takes more than a second. */
import type { Progress } from '../runtime/api.ts'

/** Shows `label done/total, time left` in one line that it removes when all is done. */
export class ProgressLine {
  private readonly label: string
  private readonly show: (n: number) => string
  private readonly started = performance.now()
  private isShown = false
  private last = 0

  constructor(label: string, show: (n: number) => string = String) {
    this.label = label
    this.show = show
  }

  update = ({ done, total }: Progress): void => {
    if (!process.stderr.isTTY) return
    const now = performance.now()
    if (now - this.started < 1000 || (now - this.last < 100 && done < total)) return
    this.last = now
    const left = ((now - this.started) / 1000) * (total / Math.max(1, done) - 1)
    this.isShown = true
    process.stderr.write(`\r\x1b[K${this.label} ${this.show(done)}/${this.show(total)}, ${left.toFixed(0)} s left`)
  }

  end(): void {
    if (this.isShown) process.stderr.write('\r\x1b[K')
    this.isShown = false
  }
}
