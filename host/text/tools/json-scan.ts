/** Follows JSON (RFC 8259) one character at a time: whether it can go on so, and where it ends. */

/** Deeper ones are no arguments of a tool. */
const MAX_DEPTH = 256
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/
const WORDS = ['true', 'false', 'null']

type Place = 'value' | 'first' | 'key' | 'colon' | 'behind' | 'string' | 'escape' | 'hex' | 'number' | 'word'

export type Step = 'more' | 'done' | 'bad'

export class JsonScan {
  /** Of objects and lists that are open. */
  private readonly stack: ('{' | '[')[] = []
  private place: Place = 'value'
  /** Of a number or a word: its text so far; of an escape: how many digits are missing. */
  private text = ''
  private missing = 0
  private isKey = false

  /** Is it within a string? */
  get isText(): boolean {
    return this.place === 'string'
  }

  /** Takes the next character. A value that is no object, list or string ends before what follows it, with the step of that. */
  step(character: string): Step {
    switch (this.place) {
      case 'string':
        if (character === '\\') this.place = 'escape'
        else if (character === '"') return this.endString()
        else if (character < ' ') return 'bad'
        return 'more'
      case 'escape':
        if (character === 'u') this.missing = 4
        else if (!'"\\/bfnrt'.includes(character)) return 'bad'
        this.place = character === 'u' ? 'hex' : 'string'
        return 'more'
      case 'hex':
        if (!/[0-9a-fA-F]/.test(character)) return 'bad'
        if (--this.missing === 0) this.place = 'string'
        return 'more'
      case 'number':
        return this.inNumber(character)
      case 'word':
        this.text += character
        if (!WORDS.some((word) => word.startsWith(this.text))) return 'bad'
        return WORDS.includes(this.text) ? this.endValue() : 'more'
    }
    if (/[ \t\r\n]/.test(character)) return 'more'
    return this.between(character)
  }

  private between(character: string): Step {
    if (this.place === 'colon') {
      this.place = 'value'
      return character === ':' ? 'more' : 'bad'
    }
    if (this.place === 'behind') {
      const open = this.stack.at(-1)
      if (character === ',') this.place = open === '{' ? 'key' : 'value'
      else return this.close(character)
      return 'more'
    }
    // An object or a list may end before its first item.
    if (this.place === 'first' && (character === '}' || character === ']')) return this.close(character)
    const isKey = this.place === 'key' || (this.place === 'first' && this.stack.at(-1) === '{')
    if (isKey && character !== '"') return 'bad'
    return this.begin(character, isKey)
  }

  private begin(character: string, isKey: boolean): Step {
    if (character === '"') {
      this.isKey = isKey
      this.place = 'string'
    } else if (character === '{' || character === '[') {
      if (this.stack.push(character) > MAX_DEPTH) return 'bad'
      this.place = 'first'
    } else if (character === '-' || /\d/.test(character)) {
      this.text = character
      this.place = 'number'
    } else if ('tfn'.includes(character)) {
      this.text = character
      this.place = 'word'
    } else return 'bad'
    return 'more'
  }

  private inNumber(character: string): Step {
    if (/[\d.eE+-]/.test(character)) {
      this.text += character
      return this.text.length > 400 ? 'bad' : 'more'
    }
    if (!NUMBER.test(this.text)) return 'bad'
    return this.endValue() === 'done' ? 'done' : this.step(character)
  }

  private close(character: string): Step {
    const open = this.stack.pop()
    if (character !== (open === '{' ? '}' : ']')) return 'bad'
    return this.endValue()
  }

  private endString(): Step {
    if (!this.isKey) return this.endValue()
    this.isKey = false
    this.place = 'colon'
    return 'more'
  }

  private endValue(): Step {
    this.place = 'behind'
    return this.stack.length === 0 ? 'done' : 'more'
  }
}
