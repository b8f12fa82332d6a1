/**
 * A conversation: tokens in the cache of a model, and what is to follow them. Conversations of one model share its
 * threads and its cache; none can tell that there are others.
 */
import type { GenerateOptions, Prompt, SavedConversation } from './api.ts'
import { generate } from './generate.ts'
import type { Sequence } from './sequence.ts'
import { GenerationStream } from './stream.ts'

/** @internal */
export let conversationOf: (sequence: Sequence) => Conversation
/** What is behind a conversation, for the runtime and the rooms above. @internal */
export let sequenceOf: (conversation: Conversation) => Sequence

export class Conversation {
  readonly #sequence: Sequence

  /** Use `model.open()`. */
  private constructor(sequence: Sequence) {
    this.#sequence = sequence
  }

  static {
    conversationOf = (sequence) => new Conversation(sequence)
    sequenceOf = (conversation) => conversation.#sequence
  }

  /** Its number among the open conversations of the model; undefined while it waits for one. */
  get id(): number | undefined {
    return this.#sequence.number
  }

  /** Tokens in the cache. The last generated token is one of them once another one follows. */
  get length(): number {
    return this.#sequence.length
  }

  /** Tokens that were forgotten. */
  get dropped(): number {
    return this.#sequence.dropped
  }

  /** All tokens that are not forgotten, the last generated one too. */
  get tokens(): number[] {
    return this.#sequence.tokens
  }

  /** What was saved with it, if it was restored: anything that JSON can say, checked by nobody. */
  get notes(): unknown {
    return this.#sequence.notes
  }

  /**
   * Adds a prompt and streams what follows, piece by piece; `result` of the stream tells how it went. Without a
   * prompt it goes on where it ended. A prompt that is not read to its end, because of an error or an abort, leaves the
   * conversation as it was.
   */
  generate<T = unknown>(prompt?: Prompt, options: GenerateOptions<T> = {}): GenerationStream<T> {
    return new GenerationStream(generate(this.#sequence, prompt, options))
  }

  /**
   * Computes a prompt without generating; resolves to the logits (vocabSize) behind its last token. If that fails, the
   * conversation is as it was.
   */
  async logits(prompt: Prompt): Promise<Float32Array> {
    return await this.#sequence.logits(prompt)
  }

  /** Another conversation with the same past; they share its memory. */
  fork(): Conversation {
    return new Conversation(this.#sequence.fork())
  }

  /** Forgets all tokens but the first `length`. */
  rewind(length: number): void {
    this.#sequence.rewind(length)
  }

  /**
   * Saves the conversation to a file, as it will go on: `model.restore()` brings it back, bit for bit. Saved again to the
   * same file, only what is new is written. At any moment, power cuts included, the file holds the conversation as it was
   * saved last or as it is saved now. `notes`, up to a megabyte of what JSON can say, are saved with it. Throws
   * WRITE_FAILED; the conversation is as usable as before.
   */
  async save(path: string, options: { signal?: AbortSignal; notes?: unknown } = {}): Promise<SavedConversation> {
    return await this.#sequence.save(path, options)
  }

  /** Gives its memory back; a generation under way ends with CLOSED. Throws BUSY while it is saved. What it has in common with others, or with prompts to come, stays in the cache for a while. */
  close(): void {
    this.#sequence.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
