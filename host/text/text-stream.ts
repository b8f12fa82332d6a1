/** Turns tokens into text as they come; half a character waits for its other half. */

/** Of a tokenizer: what a token is in bytes; a control token is silent unless it is asked for. */
type Bytes = { bytesOf(id: number, isShown?: boolean): Uint8Array }

export class TextStream {
  private readonly tokenizer: Bytes
  private readonly shown: ReadonlySet<number>
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  /** Of control tokens, those in `shown` are written out. */
  constructor(tokenizer: Bytes, shown: ReadonlySet<number> = new Set()) {
    this.tokenizer = tokenizer
    this.shown = shown
  }

  push(id: number): string {
    return this.decoder.decode(this.tokenizer.bytesOf(id, this.shown.has(id)), { stream: true })
  }

  /** What is left when no more comes: a broken character shows as U+FFFD. */
  end(): string {
    return this.decoder.decode()
  }
}
