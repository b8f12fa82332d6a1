/** Turns tokens into text as they come; half a character waits for its other half. */

/** Of a tokenizer: what a token is in bytes. */
type Bytes = { bytesOf(id: number): Uint8Array }

export class TextStream {
  private readonly tokenizer: Bytes
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(tokenizer: Bytes) {
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
