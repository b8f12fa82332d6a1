/**
 * Reads a text that comes in pieces: what reads is a generator, which waits where the next characters are not there yet. So
 * it decides by the text alone, and never by where a piece ends.
 */

/** What waits for more text, and then gives a T. */
export type Reading<T> = Generator<void, T, void>

const BLANK = /\s/

export class Reader {
  /** What has come and is not forgotten yet. */
  text = ''
  /** Where in `text` it reads. */
  at = 0
  isEnded = false
  /** The text ended before its writer was done: what is missing at its end may only be missing. */
  isCut = false
  /** Was more wanted than there is? */
  private isShort = false

  /** The text ends where it was cut off, and more was wanted: what came was right so far. */
  get isBroken(): boolean {
    return this.isCut && this.isShort
  }

  push(text: string): void {
    this.text += text
  }

  /** Are so many characters there? Waits until they are, or the text has ended. */
  *has(count: number): Reading<boolean> {
    while (this.text.length - this.at < count) {
      if (this.isEnded) {
        this.isShort = true
        return false
      }
      yield
    }
    return true
  }

  /** The next character; '' at the end. */
  *peek(): Reading<string> {
    return (yield* this.has(1)) ? (this.text[this.at] as string) : ''
  }

  *next(): Reading<string> {
    const character = yield* this.peek()
    this.at += character.length
    return character
  }

  /** Goes on behind `literal` if it comes next. */
  *take(literal: string): Reading<boolean> {
    // A character at a time: a text that is another one already must not wait for more.
    for (let length = 1; length <= literal.length; length++) {
      if (!(yield* this.has(length))) return false
      if (this.text[this.at + length - 1] !== literal[length - 1]) return false
    }
    this.at += literal.length
    return true
  }

  *skipBlanks(): Reading<void> {
    while (BLANK.test(yield* this.peek())) this.at++
  }

  /** The text before `end`, and goes on behind it; undefined if it does not come within `most` characters. */
  *until(end: string, most: number): Reading<string | undefined> {
    for (;;) {
      const found = this.text.indexOf(end, this.at)
      const length = (found < 0 ? this.text.length - end.length + 1 : found) - this.at
      if (length > most) return undefined
      if (found < 0 && this.isEnded) {
        this.isShort = true
        return undefined
      }
      if (found >= 0) {
        this.at = found + end.length
        return this.text.slice(found - length, found)
      }
      yield
    }
  }

  /** What matches a sticky pattern of characters, `most` of them at most: a name, a number. */
  *word(pattern: RegExp, most: number): Reading<string> {
    const start = this.at
    for (;;) {
      const character = yield* this.peek()
      if (character === '' || !pattern.test(character) || this.at - start >= most) break
      this.at++
    }
    return this.text.slice(start, this.at)
  }

  /** Passes over all that is left. */
  skipRest(): void {
    this.at = this.text.length
  }

  /** Forgets what lies before `at`. */
  forget(): void {
    this.text = this.text.slice(this.at)
    this.at = 0
  }
}
