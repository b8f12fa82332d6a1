/** Stop strings in a stream: text that might be the beginning of one is held back until it is clear. */
export class StopStrings {
  private readonly stops: string[]
  private held = ''

  constructor(stops: string[]) {
    this.stops = stops
  }

  /** Text that is safe to show; `isStopped` once a stop string is complete, which is not shown, nor what follows. */
  push(piece: string): { text: string; isStopped: boolean } {
    this.held += piece
    const start = this.firstStop()
    if (start !== undefined) {
      const text = this.held.slice(0, start)
      this.held = ''
      return { text, isStopped: true }
    }
    const keep = Math.max(0, ...this.stops.map((stop) => overlap(this.held, stop)))
    const text = this.held.slice(0, this.held.length - keep)
    this.held = this.held.slice(this.held.length - keep)
    return { text, isStopped: false }
  }

  /** Where the stop begins that is complete first, so that it does not matter how tokens cut the text. */
  private firstStop(): number | undefined {
    const found = this.stops
      .map((stop) => ({ start: this.held.indexOf(stop), length: stop.length }))
      .filter(({ start }) => start >= 0)
      .sort((a, b) => a.start + a.length - (b.start + b.length) || a.start - b.start)
    return found[0]?.start
  }

  /** What was held back, when no more comes. */
  end(): string {
    const text = this.held
    this.held = ''
    return text
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--)
    if (text.endsWith(stop.slice(0, length))) return length
  return 0
}
