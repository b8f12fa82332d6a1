/**
 * From a template's text to the tokens that the parser of @huggingface/jinja takes, by the rules of Jinja 3 with trim_blocks
 * and lstrip_blocks (jinja2.lexer). The parser knows no lines, so a comment with the number of its line stands before
 * each tag; what it would read otherwise than Jinja does is refused here, or written so that it cannot.
 */
import { strip, WHITE } from './strings.ts'
import { TemplateError } from './values.ts'

export interface Token {
  type: string
  value: string
  line: number
}

const refuse = (line: number, what: string): never => {
  throw new TemplateError(`${what} in line ${line}`)
}

const OPERATORS: Record<string, string> = {
  '(': 'OpenParen',
  ')': 'CloseParen',
  '[': 'OpenSquareBracket',
  ']': 'CloseSquareBracket',
  '{': 'OpenCurlyBracket',
  '}': 'CloseCurlyBracket',
  ',': 'Comma',
  '.': 'Dot',
  ':': 'Colon',
  '|': 'Pipe',
  '=': 'Equals',
  '**': 'ExponentiationBinaryOperator',
  '+': 'AdditiveBinaryOperator',
  '-': 'AdditiveBinaryOperator',
  // Binds tighter than + and less tight than *; what stands between ~ and * is refused in checkOrder.
  '~': 'MultiplicativeBinaryOperator',
  '*': 'MultiplicativeBinaryOperator',
  '/': 'MultiplicativeBinaryOperator',
  '//': 'MultiplicativeBinaryOperator',
  '%': 'MultiplicativeBinaryOperator',
}
for (const operator of ['<', '>', '<=', '>=', '==', '!=']) OPERATORS[operator] = 'ComparisonBinaryOperator'

const WORDS = ['and', 'or', 'not', 'in', 'is', 'if', 'else']
const space = new RegExp(`[${WHITE}]*`, 'y')
const number = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy
const integer = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy
const name = /[\p{L}\p{Nl}_][\p{L}\p{N}\p{M}\p{Pc}]*/uy
const text = /'[^'\\]*(?:\\[\s\S][^'\\]*)*'|"[^"\\]*(?:\\[\s\S][^"\\]*)*"/y
const operator = /\*\*|\/\/|[=!<>]=|[-+/*%~[\](){}<>=.:|,]/y

/** The tokens of a template. Throws TemplateError. */
export function readTokens(template: string): Token[] {
  return new Reader(template.replace(/\r\n?/g, '\n').replace(/\n$/, '')).read()
}

class Reader {
  private readonly source: string
  private readonly tokens: Token[] = []
  private at = 0
  private line = 1
  /** How many `elif` each open `if` had: they are written as an `if` in an `else`, to have lines of their own. */
  private readonly elifs: number[] = []
  /** Whether a line begins here, as Jinja sees it. */
  private startsLine = true

  constructor(source: string) {
    this.source = source
  }

  read(): Token[] {
    for (;;) {
      const open = this.find(/\{[%{#]/g, this.at)
      if (open < 0) break
      const kind = this.source[open + 1] as string
      const sign = /[-+]/.test(this.source[open + 2] ?? '') ? (this.source[open + 2] as string) : ''
      this.addText(this.before(this.source.slice(this.at, open), kind, sign))
      this.moveTo(open + 2 + sign.length)
      if (kind === '#') this.skipComment()
      else if (kind === '%' && this.skipRaw()) continue
      else this.addTag(kind)
      this.startsLine = this.source[this.at - 1] === '\n'
    }
    this.addText(this.source.slice(this.at))
    return this.tokens
  }

  private find(pattern: RegExp, from: number): number {
    pattern.lastIndex = from
    return pattern.exec(this.source)?.index ?? -1
  }

  private moveTo(at: number): void {
    for (let i = this.at; i < at; i++) if (this.source[i] === '\n') this.line++
    this.at = at
  }

  private addText(value: string): void {
    if (value !== '') this.tokens.push({ type: 'Text', value, line: this.line })
  }

  /** What is left of the text before a tag. */
  private before(value: string, kind: string, sign: string): string {
    if (sign === '-') return strip(value, undefined, false, true)
    if (sign === '+' || kind === '{') return value
    const start = value.lastIndexOf('\n') + 1
    const isBlank = (start > 0 || this.startsLine) && new RegExp(`^[${WHITE}]+$`).test(value.slice(start))
    return isBlank ? value.slice(0, start) : value
  }

  /** Moves behind the end of a tag and the white space that it takes with it, if it is here. */
  private ends(close: string, isTrimmed: boolean): boolean {
    const sign = isTrimmed ? '[-+]?' : '-?'
    const end = new RegExp(`(${sign})${close}`, 'y')
    end.lastIndex = this.at
    const match = end.exec(this.source)
    if (!match) return false
    let at = end.lastIndex
    if (match[1] === '-') at = this.behind(space, at)
    else if (match[1] === '' && isTrimmed && this.source[at] === '\n') at++
    this.moveTo(at)
    return true
  }

  private behind(pattern: RegExp, at: number): number {
    pattern.lastIndex = at
    return pattern.test(this.source) ? pattern.lastIndex : at
  }

  private skipComment(): void {
    const line = this.line
    const close = this.source.indexOf('#}', this.at)
    if (close < 0) refuse(line, 'a comment without an end')
    const sign = /[-+]/.test(this.source[close - 1] ?? '') && close > this.at ? 1 : 0
    this.moveTo(close - sign)
    this.ends('#\\}', true)
  }

  /** `{% raw %}`: all up to its end is text. */
  private skipRaw(): boolean {
    const begin = new RegExp(`[${WHITE}]*raw[${WHITE}]*(?:-%\\}[${WHITE}]*|%\\})`, 'y')
    const start = this.behind(begin, this.at)
    if (start === this.at) return false
    const line = this.line
    this.moveTo(start)
    const end = new RegExp(`\\{%([-+]?)[${WHITE}]*endraw[${WHITE}]*(?=[-+]?%\\})`, 'g')
    end.lastIndex = start
    const match = end.exec(this.source)
    if (!match) return refuse(line, '"raw" without "endraw"')
    this.startsLine = this.source[start - 1] === '\n'
    this.addText(this.before(this.source.slice(start, match.index), '%', match[1] as string))
    this.moveTo(end.lastIndex)
    this.ends('%\\}', true)
    this.startsLine = this.source[this.at - 1] === '\n'
    return true
  }

  private addTag(kind: string): void {
    const line = this.line
    const inner: Token[] = []
    let depth = 0
    const close = kind === '%' ? '%\\}' : '\\}\\}'
    for (;;) {
      this.moveTo(this.behind(space, this.at))
      if (depth === 0 && this.ends(close, kind === '%')) break
      if (this.at >= this.source.length) refuse(line, 'a tag without an end')
      const token = this.readToken()
      if (/^Open/.test(token.type)) depth++
      if (/^Close/.test(token.type)) depth--
      inner.push(token)
    }
    const tests = writeTests(inner)
    checkOrder(tests)
    this.tokens.push({ type: 'Comment', value: String(line), line })
    this.tokens.push(...(kind === '%' ? this.statement(tests, line) : tagOf('Expression', tests, line)))
  }

  private readToken(): Token {
    const { at, line, source } = this
    const kinds: [RegExp, string][] = [
      [number, 'NumericLiteral'],
      [integer, 'NumericLiteral'],
      [name, 'Identifier'],
      [text, 'StringLiteral'],
      [operator, ''],
    ]
    for (const [pattern, type] of kinds) {
      pattern.lastIndex = at
      const value = pattern.exec(source)?.[0]
      if (value === undefined) continue
      this.moveTo(at + value.length)
      if (type === 'StringLiteral') return { type, value: readEscapes(value.slice(1, -1), line), line }
      if (type === 'NumericLiteral') return { type, value: numeral(value, pattern === number, line), line }
      return { type: type || (OPERATORS[value] as string), value, line }
    }
    return refuse(line, `the character ${JSON.stringify(String.fromCodePoint(source.codePointAt(at) ?? 0))}`)
  }

  /** A statement, with what stands for it in the parser's language. */
  private statement(inner: Token[], line: number): Token[] {
    const word = inner[0]?.value
    const make = (...values: string[]): Token[] =>
      tagOf(
        'Statement',
        values.map((value) => ({ type: OPERATORS[value] ?? 'Identifier', value, line })),
        line,
      )
    if (word === 'if') this.elifs.push(0)
    if (word === 'elif' && this.elifs.length > 0) {
      ;(this.elifs[this.elifs.length - 1] as number)++
      const test = [{ type: 'Identifier', value: 'if', line }, ...inner.slice(1)]
      return [...make('else'), { type: 'Comment', value: String(line), line }, ...tagOf('Statement', test, line)]
    }
    if (word === 'endif') return Array.from({ length: (this.elifs.pop() ?? 0) + 1 }, () => make('endif')).flat()
    // transformers marks what a model says with a call block, so what is set in it stays in it.
    if (word === 'generation' && inner.length === 1) return make('call', 'generation block', '(', ')')
    if (word === 'endgeneration' && inner.length === 1) return make('endcall')
    return tagOf('Statement', inner, line)
  }
}

function tagOf(kind: 'Statement' | 'Expression', inner: Token[], line: number): Token[] {
  const [open, close] = kind === 'Statement' ? ['{%', '%}'] : ['{{', '}}']
  return [{ type: `Open${kind}`, value: open, line }, ...inner, { type: `Close${kind}`, value: close, line }]
}

/** The parser tells whole numbers by their point; it takes no larger ones than JavaScript has exactly. */
function numeral(value: string, isFloat: boolean, line: number): string {
  const found = Number(value.replaceAll('_', ''))
  if (isFloat) {
    const written = String(found)
    if (/e|Infinity/.test(written)) return refuse(line, `the number ${value}`)
    return written.includes('.') ? written : `${written}.0`
  }
  return Number.isSafeInteger(found) ? String(found) : refuse(line, `the number ${value}`)
}

const ESCAPES: Record<string, string> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v', '\n': '' }

/** As Python reads a string; an unknown escape stays as it is. */
function readEscapes(value: string, line: number): string {
  const known = /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))/gu
  return value.replace(known, (whole, x, u, long, octal, single: string) => {
    const hex = x ?? u ?? long
    if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8))
    if (hex !== undefined && Number.parseInt(hex, 16) < 0x110000) return String.fromCodePoint(Number.parseInt(hex, 16))
    if (hex !== undefined || /[xuUN]|[^\0-\x7f]/.test(single))
      return refuse(line, `the escape ${JSON.stringify(whole)}`)
    return ESCAPES[single] ?? ('\\\'"'.includes(single) ? single : whole)
  })
}

/** Behind `open`, the token after the bracket that closes it. */
function behindGroup(tokens: Token[], open: number): number {
  let depth = 0
  for (let at = open; at < tokens.length; at++) {
    if (/^Open/.test((tokens[at] as Token).type)) depth++
    if (/^Close/.test((tokens[at] as Token).type) && --depth === 0) return at + 1
  }
  return tokens.length
}

/**
 * Tests written as filters with the name "is …", since the parser takes no arguments for them: `x is not in y` becomes
 * `x | "is not in"(y)`. Jinja gives both the same rank.
 */
function writeTests(tokens: Token[]): Token[] {
  const written: Token[] = []
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at] as Token
    if (token.value !== 'is' || token.type !== 'Identifier' || tokens[at - 1]?.type === 'Dot') {
      written.push(token)
      continue
    }
    const isNegated = tokens[at + 1]?.value === 'not'
    if (isNegated) at++
    const test = tokens[++at]
    if (test?.type !== 'Identifier') return refuse(token.line, '"is" without the name of a test')
    written.push({ ...token, type: 'Pipe' }, { ...test, value: `${isNegated ? 'is not' : 'is'} ${test.value}` })
    const end = behindArgument(tokens, at + 1)
    if (end === at + 1) continue
    const { line } = test
    const argument = writeTests(tokens.slice(at + 1, end))
    written.push({ type: 'OpenParen', value: '(', line }, ...argument, { type: 'CloseParen', value: ')', line })
    at = end - 1
  }
  return written
}

/** Behind the argument of a test that has no parentheses; `from` if there is none. */
function behindArgument(tokens: Token[], from: number): number {
  const first = tokens[from]
  if (!first || !/^(?:Identifier|StringLiteral|NumericLiteral|OpenSquareBracket|OpenCurlyBracket)$/.test(first.type))
    return from
  if (first.type === 'Identifier' && ['else', 'or', 'and'].includes(first.value)) return from
  if (first.type === 'Identifier' && WORDS.includes(first.value))
    return refuse(first.line, `"${first.value}" behind a test`)
  let at = /^Open/.test(first.type) ? behindGroup(tokens, from) : from + 1
  for (;;) {
    const type = tokens[at]?.type
    if (type === 'Dot') at += 2
    else if (type === 'OpenSquareBracket' || type === 'OpenParen') at = behindGroup(tokens, at)
    else if (type === 'StringLiteral' && first.type === 'StringLiteral') at++
    else return at
  }
}

/** Refuses what the parser takes, and would read otherwise than Jinja does. */
function checkOrder(tokens: Token[]): void {
  const word = tokens[0]?.value
  let ins = word === 'for' ? 0 : 1
  const stack = [{ compared: false, joined: false, chosen: false }]
  tokens.forEach((token, at) => {
    const { type, value, line } = token
    const here = stack.at(-1) as (typeof stack)[0]
    const isWord = type === 'Identifier' && WORDS.includes(value) && tokens[at - 1]?.type !== 'Dot'
    if (stack.length > 1 && isOperandEnd(tokens[at - 1], tokens[at - 2]) && !isWord && startsOperand(token)) {
      if (type !== 'StringLiteral' || tokens[at - 1]?.type !== 'StringLiteral')
        refuse(line, `${JSON.stringify(value)} without an operator or a comma before it`)
    }
    if (/^Open/.test(type)) stack.push({ compared: false, joined: false, chosen: false })
    else if (/^Close/.test(type)) {
      stack.pop()
      if (here.chosen && word === 'for') refuse(line, '"if" without "else" in parentheses')
      if (stack.length === 0) refuse(line, `${JSON.stringify(value)} without its beginning`)
    } else if ((isWord && ['and', 'or', 'if', 'else'].includes(value)) || /^(?:Comma|Colon|Equals)$/.test(type)) {
      if (value === 'else' && word === 'for' && stack.length === 1) refuse(line, '"if" with "else" behind "in"')
      const chosen = isWord && value !== 'else' && (here.chosen || value === 'if')
      Object.assign(here, { compared: false, joined: false, chosen })
    } else if (type === 'ComparisonBinaryOperator' || (isWord && value === 'in' && ins++ > 0)) {
      if (here.compared) refuse(line, 'a comparison of a comparison, without parentheses,')
      Object.assign(here, { compared: true, joined: false })
    } else if (type === 'AdditiveBinaryOperator' && isOperandEnd(tokens[at - 1], tokens[at - 2])) here.joined = false
    else if (value === '~' && type !== 'StringLiteral') here.joined = true
    else if (type === 'MultiplicativeBinaryOperator' && here.joined)
      refuse(line, `"~" before "${value}", without parentheses,`)
  })
}

function isOperandEnd(token: Token | undefined, before: Token | undefined): boolean {
  if (!token) return false
  if (token.type === 'Identifier') return before?.type === 'Dot' || !WORDS.includes(token.value)
  return /^(?:StringLiteral|NumericLiteral|Close\w+)$/.test(token.type)
}

function startsOperand(token: Token): boolean {
  return /^(?:Identifier|StringLiteral|NumericLiteral|OpenCurlyBracket)$/.test(token.type)
}
