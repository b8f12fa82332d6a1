/** Turns tokens into text as they come; half a character waits for its other half. */
import type { Tokenizer } from './tokenizer.ts'

export class TextStream {
  private readonly tokenizer: Pick<Tokenizer, 'bytesOf'>
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(tokenizer: Pick<Tokenizer, 'bytesOf'>) {
    this.tokenizer = tokenizer
  }

  push(id: number): string {
    return this.decoder.decode(this.tokenizer.bytesOf(id), { stream: true })
  }

  /** What is left when no more comes: a broken character shows as U+FFFD. */
  end(): string {
    return this.decoder.decode()
  }
}
