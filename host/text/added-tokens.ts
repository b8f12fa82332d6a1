/**
 * Tokens that are cut out of a text before anything else looks at it (huggingface/tokenizers, added_vocabulary.rs): of all
 * that match at the leftmost place the longest, if it may stand where it does, with the white space that belongs to it.
 */

export interface AddedToken {
  id: number
  content: string
  /** Shows nothing, and no text of a user becomes it. */
  special?: boolean
  /** White space before it, or behind it, belongs to it. */
  lstrip?: boolean
  rstrip?: boolean
  /** It is one only where no word goes on before or behind it. */
  single_word?: boolean
  /** It is looked for in the text as the normalizer leaves it; default: unless it is special. */
  normalized?: boolean
}

/** Texts and, between them, tokens: text, token, text, … text. */
export type Sections = (string | AddedToken)[]

/** What the regular expressions of Rust call a word's character, and white space. */
const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]'
const wordBefore = new RegExp(`${WORD}$`, 'u')
const wordBehind = new RegExp(`^${WORD}`, 'u')
const blank = /\p{White_Space}/u

export class AddedTokens {
  private readonly byName: ReadonlyMap<string, AddedToken>
  private readonly pattern: RegExp | undefined

  /** No token is where `mark` stands before it. */
  constructor(tokens: Iterable<AddedToken>, mark = '') {
    this.byName = new Map(Array.from(tokens, (token) => [token.content, token]))
    const names = [...this.byName.keys()].sort((a, b) => b.length - a.length)
    const escaped = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    if (names.length > 0) this.pattern = new RegExp(`${mark && `(?<!${mark})`}(?:${escaped.join('|')})`, 'g')
  }

  split(text: string): Sections {
    const sections: Sections = []
    let begin = 0
    for (const { 0: name, index } of this.pattern ? text.matchAll(this.pattern) : []) {
      const token = this.byName.get(name) as AddedToken
      const end = index + name.length
      // One character is enough to see, two units of it at most.
      const isInWord =
        wordBefore.test(text.slice(Math.max(0, index - 2), index)) || wordBehind.test(text.slice(end, end + 2))
      if (token.single_word && isInWord) continue
      // The white space behind the token before may reach as far as this one.
      const from = Math.max(begin, index)
      sections.push(text.slice(begin, token.lstrip ? blanksBegin(text, begin, from) : from), token)
      begin = Math.max(begin, token.rstrip ? blanksEnd(text, end) : end)
    }
    sections.push(text.slice(begin))
    return sections
  }
}

/** Where the white space before `end` begins, `begin` at the least. */
function blanksBegin(text: string, begin: number, end: number): number {
  let at = end
  while (at > begin && blank.test(text[at - 1] as string)) at--
  return at
}

/** Where the white space at `begin` ends. */
function blanksEnd(text: string, begin: number): number {
  let at = begin
  while (at < text.length && blank.test(text[at] as string)) at++
  return at
}
