/** What is generated: tokens and their text; a model without a tokenizer has no text. */

import { StopStrings } from '../text/stop.ts'
import { TextStream } from '../text/text-stream.ts'
import type { Runtime } from './runtime.ts'

export class Output {
  readonly tokens: number[] = []
  text = ''
  isStopped = false
  private readonly stream: TextStream | undefined
  private readonly stops: StopStrings

  /** `shown`: control tokens that are written out. */
  constructor({ tokenizer }: Runtime, stops: string[], shown: ReadonlySet<number>) {
    this.stream = tokenizer && new TextStream(tokenizer, shown)
    this.stops = new StopStrings(stops)
  }

  /** Adds a token and returns the text that can be shown now. */
  push(token: number): string {
    this.tokens.push(token)
    const { text, isStopped } = this.stops.push(this.stream?.push(token) ?? '')
    this.isStopped = isStopped
    this.text += text
    return text
  }

  /** Adds the token that ends the text; it is not shown. */
  end(token: number): string {
    this.tokens.push(token)
    return ''
  }

  /** What was held back, when no more comes; nothing behind a stop text. */
  flush(): string {
    if (this.isStopped) return ''
    const { text } = this.stops.push(this.stream?.end() ?? '')
    const rest = text + this.stops.end()
    this.text += rest
    return rest
  }
}
