/**
 * Regular expressions of ECMAScript with the flag "u", as far as they are regular: no back references, no looking around, no
 * word boundaries. Those are refused by name; nothing is taken for a literal that it is not.
 */
import type { Budget } from './budget.ts'
import { ALL, type CharacterSet, complement, setOf, WORK_OF_RANGE } from './character-sets.ts'
import { PatternError } from './errors.ts'

export type Pattern =
  | { kind: 'set'; set: CharacterSet }
  | { kind: 'sequence' | 'choice'; parts: Pattern[] }
  | { kind: 'repeat'; part: Pattern; least: number; most: number }
  /** Where the text begins, or ends. */
  | { kind: 'start' | 'end' }

const LONGEST = 10_000
const DEEPEST = 100
/** Steps of a budget to ask for the characters of a Unicode property. */
const WORK_OF_PROPERTY = 800_000

/** Throws PatternError. */
export function parsePattern(text: string, budget: Budget): Pattern {
  if (text.length > LONGEST) throw new PatternError(`at most ${LONGEST} characters long`, `${text.length}`)
  return new PatternParser(text, budget).parse()
}

const DIGITS: CharacterSet = [[48, 57]]
const WORD = setOf([[48, 57], [65, 90], [95, 95], [97, 122]]) // biome-ignore format: one line
// ECMA-262, WhiteSpace and LineTerminator.
const SPACE = setOf([9, 10, 11, 12, 13, 32, 0xa0, 0x1680, [0x2000, 0x200a], 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff].map((part) => (typeof part === 'number' ? [part, part] : part) as [number, number])) // biome-ignore format: one line
const NO_LINE_END = complement(setOf([[10, 10], [13, 13], [0x2028, 0x2029]])) // biome-ignore format: one line
const CLASSES: Record<string, CharacterSet> = {
  d: DIGITS,
  D: complement(DIGITS),
  w: WORD,
  W: complement(WORD),
  s: SPACE,
  S: complement(SPACE),
}
const CONTROLS: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13, '0': 0 }
/** What may stand behind a backslash as itself. */
const SYNTAX = '^$\\.*+?()[]{}|/-'

class PatternParser {
  private readonly characters: string[]
  private readonly budget: Budget
  private at = 0

  constructor(text: string, budget: Budget) {
    this.budget = budget
    budget.spend(WORK_OF_RANGE * text.length)
    this.characters = [...text]
  }

  parse(): Pattern {
    const pattern = this.choice(0)
    if (this.at < this.characters.length) throw this.error('balanced', `a ")" too many`)
    return pattern
  }

  private choice(depth: number): Pattern {
    if (depth > DEEPEST) throw this.error(`nested at most ${DEEPEST} deep`, 'deeper groups')
    const parts = [this.sequence(depth)]
    while (this.take('|')) parts.push(this.sequence(depth))
    return parts.length === 1 ? (parts[0] as Pattern) : { kind: 'choice', parts }
  }

  private sequence(depth: number): Pattern {
    const parts: Pattern[] = []
    for (;;) {
      const next = this.characters[this.at]
      if (next === undefined || next === '|' || next === ')') return { kind: 'sequence', parts }
      parts.push(this.repeated(this.atom(next, depth)))
    }
  }

  private atom(next: string, depth: number): Pattern {
    this.at++
    switch (next) {
      case '^':
        return { kind: 'start' }
      case '$':
        return { kind: 'end' }
      case '(':
        return this.group(depth)
      case '.':
        return { kind: 'set', set: NO_LINE_END }
      case '[':
        return { kind: 'set', set: this.brackets() }
      case '\\':
        return { kind: 'set', set: this.escape(false) }
    }
    if ('*+?{}]'.includes(next)) throw this.error('of ECMAScript with the flag "u"', `"${next}" with nothing to repeat`)
    return { kind: 'set', set: this.literal(next) }
  }

  private literal(character: string): CharacterSet {
    const set = setOf([[character.codePointAt(0) as number, character.codePointAt(0) as number]])
    if (set.length === 0) throw this.error('made of whole characters', 'half of a surrogate pair')
    return set
  }

  private group(depth: number): Pattern {
    if (this.take('?') && !this.take(':')) {
      // A name is no more than a name: nothing can refer to it.
      const isNamed = this.characters[this.at] === '<' && !'=!'.includes(this.characters[this.at + 1] ?? '=')
      if (!isNamed)
        throw this.error('without looking ahead or behind, and without flags', `"(?${this.characters[this.at] ?? ''}"`)
      while (!this.take('>'))
        if (this.at++ >= this.characters.length) throw this.error('whole', 'a name without an end')
    }
    const inside = this.choice(depth + 1)
    if (!this.take(')')) throw this.error('balanced', 'a group without an end')
    return inside
  }

  /** What stands behind an atom: how often. Lazy ones match the same texts. */
  private repeated(part: Pattern): Pattern {
    const range = this.range()
    if (!range) return part
    this.take('?')
    if (part.kind === 'start' || part.kind === 'end') throw this.error('without repeated anchors', 'one')
    if ('*+?{'.includes(this.characters[this.at] ?? ' '))
      throw this.error('of ECMAScript', 'a repetition of a repetition')
    return { kind: 'repeat', part, least: range[0], most: range[1] }
  }

  private range(): [number, number] | undefined {
    if (this.take('*')) return [0, Number.POSITIVE_INFINITY]
    if (this.take('+')) return [1, Number.POSITIVE_INFINITY]
    if (this.take('?')) return [0, 1]
    if (!this.take('{')) return undefined
    const end = this.characters.indexOf('}', this.at)
    const text = this.characters.slice(this.at, end).join('')
    const [, least, comma, most] = /^(\d+)(,?)(\d*)$/.exec(text) ?? []
    if (end < 0 || least === undefined || (!comma && most))
      throw this.error('of ECMAScript with the flag "u"', `"{" with no range behind it`)
    this.at = end + 1
    const range: [number, number] = [
      Number(least),
      comma ? (most ? Number(most) : Number.POSITIVE_INFINITY) : Number(least),
    ]
    if (range[0] > range[1]) throw this.error('of ECMAScript', `"{${text}}", whose numbers are out of order`)
    return range
  }

  private brackets(): CharacterSet {
    const isNegated = this.take('^')
    const ranges: (readonly [number, number])[] = []
    while (!this.take(']')) {
      const from = this.member()
      this.budget.spend(WORK_OF_RANGE * from.length)
      if (this.characters[this.at] !== '-' || this.characters[this.at + 1] === ']') {
        ranges.push(...from)
        continue
      }
      this.at++
      const to = this.member()
      const [first, last] = [single(from), single(to)]
      if (first === undefined || last === undefined || first > last)
        throw this.error('of ECMAScript with the flag "u"', 'a range of a class out of order')
      ranges.push([first, last])
    }
    const set = setOf(ranges)
    return isNegated ? complement(set) : set
  }

  private member(): CharacterSet {
    const next = this.characters[this.at++]
    if (next === undefined) throw this.error('balanced', 'a "[" without an end')
    return next === '\\' ? this.escape(true) : this.literal(next)
  }

  private escape(isInBrackets: boolean): CharacterSet {
    const next = this.characters[this.at++] ?? ''
    const isOctal = next === '0' && /\d/.test(this.characters[this.at] ?? '')
    if (CLASSES[next]) return CLASSES[next]
    if (isInBrackets && next === 'b') return [[8, 8]]
    if (CONTROLS[next] !== undefined && !isOctal) return [[CONTROLS[next], CONTROLS[next]]]
    if (next !== '' && SYNTAX.includes(next)) return this.literal(next)
    if (next === 'p' || next === 'P') return this.property(next === 'P')
    if (next === 'c') return this.controlLetter()
    if (next === 'x') return this.codePoint(this.hex(2))
    if (next === 'u') return this.codePoint(this.unicode())
    throw this.error(
      'regular (no back reference, no word boundary), and of ECMAScript with the flag "u"',
      `"\\${next}"`,
    )
  }

  private controlLetter(): CharacterSet {
    const letter = this.characters[this.at++] ?? ''
    if (!/^[A-Za-z]$/.test(letter)) throw this.error('of ECMAScript', '"\\c" without a letter')
    return this.codePoint((letter.codePointAt(0) as number) % 32)
  }

  private codePoint(character: number): CharacterSet {
    const set = character <= 0x10ffff ? setOf([[character, character]]) : []
    if (set.length === 0) throw this.error('made of whole characters', `"\\u" with ${character.toString(16)}`)
    return set
  }

  private unicode(): number {
    if (this.take('{')) {
      const end = this.characters.indexOf('}', this.at)
      const digits = this.characters.slice(this.at, end).join('')
      if (end < 0 || !/^[\da-fA-F]{1,8}$/.test(digits)) throw this.error('of ECMAScript', '"\\u{" without a number')
      this.at = end + 1
      return Number.parseInt(digits, 16)
    }
    const first = this.hex(4)
    const isPair =
      first >= 0xd800 && first < 0xdc00 && this.characters[this.at] === '\\' && this.characters[this.at + 1] === 'u'
    if (!isPair) return first
    this.at += 2
    const second = this.hex(4)
    if (second < 0xdc00 || second > 0xdfff) throw this.error('made of whole characters', 'half of a surrogate pair')
    return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
  }

  private hex(count: number): number {
    const digits = this.characters.slice(this.at, this.at + count).join('')
    if (digits.length !== count || !/^[\da-fA-F]+$/.test(digits))
      throw this.error('of ECMAScript with the flag "u"', '"\\x" or "\\u" without its digits')
    this.at += count
    return Number.parseInt(digits, 16)
  }

  private property(isNegated: boolean): CharacterSet {
    const end = this.characters.indexOf('}', this.at)
    const name = this.characters.slice(this.at, end + 1).join('')
    if (!/^\{[\w=]{1,60}\}$/.test(name)) throw this.error('of ECMAScript with the flag "u"', '"\\p" without a property')
    this.at = end + 1
    this.budget.spendOnce(name, WORK_OF_PROPERTY)
    const set = propertySet(name)
    if (!set) throw this.error('of known Unicode properties', `"\\p${name}"`)
    this.budget.spend(WORK_OF_RANGE * set.length)
    return isNegated ? complement(set) : set
  }

  private take(character: string): boolean {
    if (this.characters[this.at] !== character) return false
    this.at++
    return true
  }

  private error(expected: string, found: string): PatternError {
    return new PatternError(expected, `${found} at character ${this.at}`)
  }
}

function single(set: CharacterSet): number | undefined {
  const [range] = set
  return set.length === 1 && range && range[0] === range[1] ? range[0] : undefined
}

const properties = new Map<string, CharacterSet>()

/** The characters of "{L}", asked of the platform's own tables (about 20 to 40 ms, once). */
function propertySet(name: string): CharacterSet | undefined {
  const known = properties.get(name)
  if (known) return known
  try {
    // What is between runs is matched too: a search for the next one would be slower.
    const run = new RegExp(`(\\p${name}+)|\\P${name}+`, 'gu')
    const ranges: [number, number][] = []
    for (const [low, high] of ALL)
      for (let from = low; from <= high; from += 0x1000) {
        const count = Math.min(0x1000, high + 1 - from)
        const width = from > 0xffff ? 2 : 1
        for (const { 1: found, index } of charactersFrom(from, count).matchAll(run)) {
          if (!found) continue
          const first = from + index / width
          ranges.push([first, first + found.length / width - 1])
        }
      }
    const set = setOf(ranges)
    properties.set(name, set)
    return set
  } catch {
    return undefined
  }
}

/** Characters in a row, all of one unit of UTF-16 or all of two. */
function charactersFrom(first: number, count: number): string {
  const units = new Uint16Array(first > 0xffff ? 2 * count : count)
  for (let i = 0, at = 0; i < count; i++) {
    const character = first + i
    if (character > 0xffff) units[at++] = 0xd800 + ((character - 0x10000) >> 10)
    units[at++] = character > 0xffff ? 0xdc00 + (character & 0x3ff) : character
  }
  return decoder.decode(units)
}

const decoder = new TextDecoder('utf-16le', { ignoreBOM: true })

/** Any text, for patterns that may match in the middle of one. */
export const ANYTHING: Pattern = {
  kind: 'repeat',
  part: { kind: 'set', set: ALL },
  least: 0,
  most: Number.POSITIVE_INFINITY,
}
