/** A text while it is generated: its pieces, or all that happens, and how it went. */
import { errors } from '../errors.ts'
import type { Generation, GenerationEvent } from './api.ts'

/** What happens, but for the end, and how it went. @internal */
export type GenerationParts<T = unknown> = AsyncGenerator<PartEvent, Generation<T>>
export type PartEvent = Exclude<GenerationEvent, { type: 'end' }>

/**
 * The pieces of a text for `for await`. What `for await` does not show, the return value of the iterator, is `result` too:
 * it settles when the last piece was read. `events()` tells more.
 */
export class GenerationStream<T = unknown> implements AsyncGenerator<string, Generation<T>> {
  /**
   * How it went: rejects with what ended the stream, and with CLOSED if the reader left before the end. Nobody has to look at
   * it. It does not read: what nobody reads is not computed, but for one token ahead of the reader.
   */
  readonly result: Promise<Generation<T>>
  readonly #parts: GenerationParts<T>
  #resolve: (generation: Generation<T>) => void = () => undefined
  #reject: (error: unknown) => void = () => undefined

  /** @internal */
  constructor(parts: GenerationParts<T>) {
    this.#parts = parts
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.result.catch(() => undefined)
  }

  /**
   * The same as events: how the prompt is read, each token with its text (perhaps none) and what was asked for of it, and
   * how it went. Instead of the pieces: an event that one of the two has read the other one does not see.
   */
  events(): AsyncIterableIterator<GenerationEvent<T>> {
    let isOver = false
    // No generator: the next step is waited for in as few turns as can be.
    return {
      next: async () => {
        if (isOver) return { done: true, value: undefined }
        isOver = true
        const { done, value } = await this.#advance()
        isOver = done === true
        return { done: false, value: done ? { type: 'end', result: value } : value }
      },
      return: async () => {
        isOver = true
        await this.return(undefined as never)
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  async next(): Promise<IteratorResult<string, Generation<T>>> {
    for (;;) {
      const { done, value } = await this.#advance()
      if (done) return { done, value }
      if (value.type === 'token' && value.text !== '') return { done: false, value: value.text }
    }
  }

  async return(value: Generation<T> | PromiseLike<Generation<T>>): Promise<IteratorResult<string, Generation<T>>> {
    this.#reject(errors.streamLeft())
    return (await this.#parts.return(value)) as IteratorResult<string, Generation<T>>
  }

  async throw(error: unknown): Promise<IteratorResult<string, Generation<T>>> {
    this.#reject(error)
    await this.#parts.throw(error)
    throw error
  }

  async #advance(): Promise<IteratorResult<PartEvent, Generation<T>>> {
    try {
      const result = await this.#parts.next()
      if (result.done) this.#resolve(result.value)
      return result
    } catch (error) {
      this.#reject(error)
      throw error
    }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return(undefined as never)
  }
}
