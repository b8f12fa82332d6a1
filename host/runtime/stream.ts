/** A text while it is generated: its pieces, and how it went. */
import { errors } from '../errors.ts'
import type { Generation } from './api.ts'

/**
 * The pieces of a text for `for await`. What `for await` does not show, the return value of the iterator, is `result` too:
 * it settles when the last piece was read.
 */
export class GenerationStream<T = unknown> implements AsyncGenerator<string, Generation<T>> {
  /**
   * How it went: rejects with what ended the stream, and with CLOSED if the reader left before the end. Nobody has to look at
   * it. It does not read: what nobody reads is not computed.
   */
  readonly result: Promise<Generation<T>>
  readonly #pieces: AsyncGenerator<string, Generation<T>>
  #resolve: (generation: Generation<T>) => void = () => undefined
  #reject: (error: unknown) => void = () => undefined

  /** @internal */
  constructor(pieces: AsyncGenerator<string, Generation<T>>) {
    this.#pieces = pieces
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.result.catch(() => undefined)
  }

  async next(): Promise<IteratorResult<string, Generation<T>>> {
    try {
      const result = await this.#pieces.next()
      if (result.done) this.#resolve(result.value)
      return result
    } catch (error) {
      this.#reject(error)
      throw error
    }
  }

  async return(value: Generation<T> | PromiseLike<Generation<T>>): Promise<IteratorResult<string, Generation<T>>> {
    this.#reject(errors.streamLeft())
    return await this.#pieces.return(value)
  }

  async throw(error: unknown): Promise<IteratorResult<string, Generation<T>>> {
    this.#reject(error)
    return await this.#pieces.throw(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return(undefined as never)
  }
}
