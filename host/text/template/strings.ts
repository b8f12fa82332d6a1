/** The methods of Python's str that templates use. White space is Python's: U+001C to U+001F and U+0085 are, U+FEFF is not. */
import {
  bind,
  isEqual,
  isText,
  isTrue,
  isWhole,
  itemsOf,
  lookupKey,
  type Named,
  refuse,
  Tuple,
  typeOf,
  type Value,
} from './values.ts'

/** The inside of a character class. */
export const WHITE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'

/** Of lines; the inside of a character class. */
const ENDS = '\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029'
const lines = new RegExp(`\\r\\n|[${ENDS}]`)

const white = new RegExp(`[${WHITE}]`)

/** Without the white space, or the characters given, at its ends. */
export function strip(text: string, characters: string | undefined, left = true, right = true): string {
  const set = characters === undefined ? undefined : new Set(characters)
  const isIn = (character: string) => (set ? set.has(character) : white.test(character))
  const before = (end: number) => (/[\ud800-\udbff][\udc00-\udfff]$/.test(text.slice(end - 2, end)) ? 2 : 1)
  let [start, end] = [0, text.length]
  for (; left && start < end; start++) {
    const character = String.fromCodePoint(text.codePointAt(start) as number)
    if (!isIn(character)) break
    start += character.length - 1
  }
  while (right && start < end && isIn(text.slice(end - before(end), end))) end -= before(end)
  return text.slice(start, end)
}

export function splitLines(text: string, keepsEnds = false): string[] {
  const found: string[] = []
  for (let rest = text; rest !== ''; ) {
    const match = lines.exec(rest)
    const end = match ? match.index + match[0].length : rest.length
    found.push(rest.slice(0, keepsEnds || !match ? end : match.index))
    rest = rest.slice(end)
  }
  return found
}

export function replaceText(text: string, old: string, by: string, count: number): string {
  if (count < 0) count = Number.POSITIVE_INFINITY
  // An empty text is found before each character and at the end.
  const parts = old === '' ? ['', ...Array.from(text), ''] : text.split(old)
  return parts.reduce((all, part, i) => all + (i <= count ? by : old) + part)
}

/** The first letter as in a title, which for ß is Ss. */
export function capitalize(text: string): string {
  const [first = '', ...rest] = Array.from(text)
  return titleCase(first) + rest.join('').toLowerCase()
}

function titleCase(character: string): string {
  if (/[\u01c4-\u01cc\u01f1-\u01f3\u0149]/.test(character)) refuse(`the letter ${character} in a title`)
  const [first = '', ...rest] = Array.from(character.toUpperCase())
  return first + rest.join('').toLowerCase()
}

function title(text: string): string {
  return text.replace(/\p{Cased}+/gu, capitalize)
}

function split(text: string, separator: string | undefined, most: number): string[] {
  if (separator === '') refuse('split with an empty text')
  if (separator !== undefined) {
    const parts = text.split(separator)
    if (most < 0 || parts.length <= most + 1) return parts
    return [...parts.slice(0, most), parts.slice(most).join(separator)]
  }
  const parts: string[] = []
  let rest = strip(text, undefined, true, false)
  const next = new RegExp(`^[^${WHITE}]+`)
  while (rest !== '' && (most < 0 || parts.length < most)) {
    const part = next.exec(rest)?.[0] as string
    parts.push(part)
    rest = strip(rest.slice(part.length), undefined, true, false)
  }
  return rest === '' ? parts : [...parts, rest]
}

function splitRight(text: string, separator: string | undefined, most: number): string[] {
  const turn = (part: string) => Array.from(part).reverse().join('')
  return split(turn(text), separator === undefined ? undefined : turn(separator), most)
    .map(turn)
    .reverse()
}

/** The slice that `start` and `end` of find, startswith and the like mean, and where it begins. */
function part(text: string, start: Value | undefined, end: Value | undefined): { inside: string; from: number } {
  const all = Array.from(text)
  const place = (value: Value | undefined, none: number) => {
    if (value === undefined || value === null) return none
    if (!isWhole(value)) return refuse(`a place that is ${typeOf(value)}`)
    const at = Number(value)
    return at < 0 ? Math.max(0, at + all.length) : at
  }
  const from = place(start, 0)
  return { inside: all.slice(from, place(end, all.length)).join(''), from: from > all.length ? Number.NaN : from }
}

function find(text: string, sub: string, start: Value | undefined, end: Value | undefined, isLast: boolean): bigint {
  const { inside, from } = part(text, start, end)
  const at = Number.isNaN(from) ? -1 : isLast ? inside.lastIndexOf(sub) : inside.indexOf(sub)
  return at < 0 ? -1n : BigInt(from + Array.from(inside.slice(0, at)).length)
}

function pad(text: string, width: number, fill: string, side: 'left' | 'right' | 'both'): string {
  const missing = width - Array.from(text).length
  if (Array.from(fill).length !== 1) refuse('a filling that is not one character')
  if (missing <= 0) return text
  // Python puts the odd one left if the width is odd.
  const left = side === 'left' ? missing : side === 'right' ? 0 : (missing >> 1) + (missing & width & 1)
  return fill.repeat(left) + text + fill.repeat(missing - left)
}

const isAll = (pattern: string) => (text: string) => new RegExp(`^${pattern}+$`, 'u').test(text)
export const isLower = (text: string): boolean => /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text)
export const isUpper = (text: string): boolean => /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text)

type Method = (text: string, ...args: (Value | undefined)[]) => Value

const string = (value: Value | undefined): string =>
  isText(value as Value) ? (value as string) : refuse(`${typeOf(value ?? null)} where a text is needed`)
const maybe = (value: Value | undefined): string | undefined =>
  value === undefined || value === null ? undefined : string(value)
const whole = (value: Value | undefined, none: number): number =>
  value === undefined ? none : isWhole(value) ? Number(value) : refuse(`${typeOf(value)} where an int is needed`)

function hasEdge(test: (inside: string, edge: string) => boolean): Method {
  return (text, edge, start, end) => {
    const { inside, from } = part(text, start, end)
    const edges = edge instanceof Tuple ? Array.from(edge, string) : [string(edge)]
    return !Number.isNaN(from) && edges.some((one) => test(inside, one))
  }
}

/** partition and rpartition: before, at and behind a separator. */
function parts(isLast: boolean): Method {
  return (text, value) => {
    const separator = string(value)
    if (separator === '') refuse('partition with an empty text')
    const at = isLast ? text.lastIndexOf(separator) : text.indexOf(separator)
    if (at < 0) return Tuple.from(isLast ? ['', '', text] : [text, '', ''])
    return Tuple.from([text.slice(0, at), separator, text.slice(at + separator.length)])
  }
}

const digits: Method = (text) =>
  /[^\p{Nd}]/u.test(text) && /\p{N}/u.test(text.replace(/\p{Nd}/gu, ''))
    ? refuse('a digit of another kind')
    : isAll('\\p{Nd}')(text)

/** Method, and the names of its parameters. */
const methods: Record<string, [Method, ...string[]]> = {
  strip: [(text, characters) => strip(text, maybe(characters)), ''],
  lstrip: [(text, characters) => strip(text, maybe(characters), true, false), ''],
  rstrip: [(text, characters) => strip(text, maybe(characters), false, true), ''],
  upper: [(text) => text.toUpperCase()],
  lower: [(text) => text.toLowerCase()],
  title: [title],
  capitalize: [capitalize],
  split: [(text, by, most) => split(text, maybe(by), whole(most, -1)), 'sep', 'maxsplit'],
  rsplit: [(text, by, most) => splitRight(text, maybe(by), whole(most, -1)), 'sep', 'maxsplit'],
  splitlines: [(text, keepsEnds) => splitLines(text, isTrue(keepsEnds ?? false)), 'keepends'],
  partition: [parts(false), ''],
  rpartition: [parts(true), ''],
  replace: [(text, old, by, count) => replaceText(text, string(old), string(by), whole(count, -1)), '', '', ''],
  startswith: [hasEdge((inside, edge) => inside.startsWith(edge)), '', '', ''],
  endswith: [hasEdge((inside, edge) => inside.endsWith(edge)), '', '', ''],
  removeprefix: [(text, edge) => (text.startsWith(string(edge)) ? text.slice(string(edge).length) : text), ''],
  removesuffix: [
    (text, edge) => (edge !== '' && text.endsWith(string(edge)) ? text.slice(0, -string(edge).length) : text),
    '',
  ],
  find: [(text, sub, start, end) => find(text, string(sub), start, end, false), '', '', ''],
  rfind: [(text, sub, start, end) => find(text, string(sub), start, end, true), '', '', ''],
  index: [
    (text, sub, start, end) => {
      const at = find(text, string(sub), start, end, false)
      return at < 0n ? refuse(`index: ${JSON.stringify(sub)} is not in the text`) : at
    },
    '',
    '',
    '',
  ],
  count: [
    (text, sub, start, end) => {
      const { inside, from } = part(text, start, end)
      if (Number.isNaN(from)) return 0n
      return BigInt(sub === '' ? Array.from(inside).length + 1 : inside.split(string(sub)).length - 1)
    },
    '',
    '',
    '',
  ],
  join: [
    (text, items) =>
      itemsOf(items as Value)
        .map(string)
        .join(text),
    '',
  ],
  isdigit: [digits],
  isalpha: [isAll('\\p{L}')],
  isalnum: [isAll('[\\p{L}\\p{N}]')],
  isspace: [isAll(`[${WHITE}]`)],
  islower: [isLower],
  isupper: [isUpper],
  zfill: [
    (text, width) => {
      const sign = /^[-+]/.exec(text)?.[0] ?? ''
      return sign + pad(text.slice(sign.length), whole(width, 0) - sign.length, '0', 'left')
    },
    '',
  ],
  ljust: [(text, width, fill) => pad(text, whole(width, 0), maybe(fill) ?? ' ', 'right'), '', ''],
  rjust: [(text, width, fill) => pad(text, whole(width, 0), maybe(fill) ?? ' ', 'left'), '', ''],
  center: [(text, width, fill) => pad(text, whole(width, 0), maybe(fill) ?? ' ', 'both'), '', ''],
}

/** Methods of str that Python has and that are refused. */
const others =
  'casefold encode expandtabs format format_map isascii isdecimal isidentifier isnumeric isprintable istitle maketrans rindex swapcase translate'.split(
    ' ',
  )

/** A method of a text; undefined if Python has none of that name. */
export function stringMethod(text: string, name: string): ((args: Value[], named: Named) => Value) | undefined {
  if (others.includes(name)) return refuse(`the method "${name}" of a text, which is not understood,`)
  if (!Object.hasOwn(methods, name)) return undefined
  const [method, ...parameters] = methods[name] as [Method, ...string[]]
  return (args, named) => method(text, ...bind(`"${name}"`, parameters, args, named))
}

/** `in` of a text, list, tuple, dict, view or iterator. */
export function isIn(item: Value, all: Value): boolean {
  if (isText(all)) return all.includes(string(item))
  if (all instanceof Map) return all.has(lookupKey(item))
  return itemsOf(all).some((other) => isEqual(item, other))
}
