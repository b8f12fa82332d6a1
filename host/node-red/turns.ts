/** Whose turn it is at a model: so many messages at a time, the others wait in the order in which they came. */
import { errors } from './errors.ts'

/** Messages that wait at most: what comes faster than a model answers would fill the memory. */
const MOST_WAITING = 100

interface Waiting {
  begin(): void
  /** Told its place in the queue, 1 first. */
  onPlace(place: number): void
}

export class Turns {
  readonly #atATime: number
  #running = 0
  #waiting: Waiting[] = []

  constructor(atATime: number) {
    this.#atATime = atATime
  }

  /** Resolves when it is one's turn, to what gives it back. Throws queue_full, or the signal's reason. */
  async take(signal: AbortSignal, onPlace: (place: number) => void): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#running < this.#atATime) this.#running++
    else await this.#wait(signal, onPlace)
    return () => this.#giveBack()
  }

  #wait(signal: AbortSignal, onPlace: (place: number) => void): Promise<void> {
    if (this.#waiting.length >= MOST_WAITING) throw errors.queueFull(this.#waiting.length)
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting = this.#waiting.filter((one) => one !== waiting)
        reject(signal.reason)
        this.#tellPlaces()
      }
      const begin = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const waiting = { begin, onPlace }
      signal.addEventListener('abort', leave, { once: true })
      onPlace(this.#waiting.push(waiting))
    })
  }

  #giveBack(): void {
    const next = this.#waiting.shift()
    if (!next) {
      this.#running--
      return
    }
    next.begin()
    this.#tellPlaces()
  }

  #tellPlaces(): void {
    for (const [i, { onPlace }] of this.#waiting.entries()) onPlace(i + 1)
  }
}
