/**
 * Values of templates as Python has them: None is null, an int a bigint, a float a number, a str a string, a list an
 * array, a dict a Map; the rest are classes here. Texts, truth, order and JSON are those of Python 3.11.
 */
export type Named = Map<string, Value>
export type Call = (args: Value[], named: Named) => Value
export type Value =
  | null
  | boolean
  | bigint
  | number
  | string
  | Value[]
  | Map<Value, Value>
  | Call
  | Undefined
  | Namespace
  | View
  | Lazy
  | Loop
  | Safe

export class Undefined {
  /** Says what is missing, for errors. */
  readonly what: string
  constructor(what: string) {
    this.what = what
  }
}

export class Tuple extends Array<Value> {}

/** An entry of groupby: a tuple with names. */
export class Group extends Tuple {}

export class Namespace {
  readonly attributes: Named = new Map()
}

/** range, dict_items, dict_keys or dict_values: as long as `items`, but no list. */
export class View {
  readonly kind: string
  readonly items: readonly Value[]
  /** What is printed; that of a dict is made of its items. */
  readonly text: string | undefined
  constructor(kind: string, items: readonly Value[], text?: string) {
    this.kind = kind
    this.items = items
    this.text = text
  }
}

/** An iterator, which gives each item once and is always true. */
export class Lazy {
  readonly rest: Iterator<Value>
  constructor(items: Iterable<Value>) {
    this.rest = items[Symbol.iterator]()
  }
}

/** The `loop` of a for. */
export class Loop {
  readonly items: readonly Value[]
  at = 0
  changed: Value[] | undefined
  constructor(items: readonly Value[]) {
    this.items = items
  }
}

/** A text that `safe` has marked: it can be printed, and nothing else, since Jinja would escape what it meets. */
export class Safe {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** What a template does wrong, or what is not understood of it. */
export class TemplateError extends Error {}

export function refuse(what: string): never {
  throw new TemplateError(what)
}

/** Python's name of a type, for errors. */
export function typeOf(value: Value): string {
  if (value === null) return 'None'
  if (value instanceof Undefined) return `undefined (${value.what})`
  if (value instanceof Tuple) return 'tuple'
  if (Array.isArray(value)) return 'list'
  if (value instanceof Map) return 'dict'
  if (value instanceof View) return value.kind
  if (typeof value === 'object') return value.constructor.name.toLowerCase()
  return { boolean: 'bool', bigint: 'int', number: 'float', string: 'str' }[typeof value as string] ?? 'function'
}

export function isTrue(value: Value): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (value instanceof Map) return value.size > 0
  if (value instanceof View) return value.items.length > 0
  if (value instanceof Safe) return value.text !== ''
  if (value instanceof Loop) return true
  return value !== null && !(value instanceof Undefined) && Boolean(value)
}

export const isText = (value: Value): value is string => typeof value === 'string'
export const isNumber = (value: Value): value is boolean | bigint | number => /^(?:bool|int|float)$/.test(typeOf(value))
export const isWhole = (value: Value): value is boolean | bigint =>
  typeof value === 'bigint' || typeof value === 'boolean'

/** The items of a text, list, dict, view or iterator. Throws for all else. */
export function itemsOf(value: Value): Value[] {
  if (isText(value)) return Array.from(value)
  if (Array.isArray(value)) return Array.from(value)
  if (value instanceof Map) return [...value.keys()]
  if (value instanceof View) return [...value.items]
  if (value instanceof Undefined) return []
  if (value instanceof Lazy) return [...{ [Symbol.iterator]: () => value.rest }]
  return refuse(`${typeOf(value)}, which has no items,`)
}

/** len(). */
export function lengthOf(value: Value): number {
  if (value instanceof Lazy || isNumber(value) || typeof value === 'function') refuse(`the length of ${typeOf(value)}`)
  if (isText(value)) return value.replace(/[\ud800-\udbff][\udc00-\udfff]/g, '_').length
  return value instanceof Map ? value.size : itemsOf(value).length
}

export function isEqual(a: Value, b: Value): boolean {
  if (isNumber(a) && isNumber(b)) {
    // Python compares True with 1 and 1 with 1.0.
    const [x, y] = [typeof a === 'boolean' ? BigInt(a) : a, typeof b === 'boolean' ? BigInt(b) : b]
    // biome-ignore lint/suspicious/noDoubleEquals: an int and a float of the same value are equal
    return x == y
  }
  if (Array.isArray(a) && Array.isArray(b)) {
    if (a instanceof Tuple !== b instanceof Tuple || a.length !== b.length) return false
    return Array.from(a).every((item, i) => isEqual(item, b[i] as Value))
  }
  if (a instanceof Map && b instanceof Map)
    return a.size === b.size && [...a].every(([key, item]) => b.has(key) && isEqual(item, b.get(key) as Value))
  if (a instanceof Undefined && b instanceof Undefined) return true
  for (const value of [a, b])
    if (value instanceof View || value instanceof Safe) refuse(`the comparison of ${typeOf(value)}`)
  return a === b
}

/** Below, at or above 0; texts by code points, lists by their first difference. Throws for what has no order. */
export function compare(a: Value, b: Value): number {
  if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : 0
  if (isText(a) && isText(b)) {
    const [x, y] = [Array.from(a), Array.from(b)]
    const at = x.findIndex((character, i) => character !== y[i])
    if (at < 0 || at >= y.length) return x.length - y.length
    return (x[at]?.codePointAt(0) as number) - (y[at]?.codePointAt(0) as number)
  }
  if (Array.isArray(a) && Array.isArray(b) && a instanceof Tuple === b instanceof Tuple) {
    const at = Array.from(a).findIndex((item, i) => i >= b.length || !isEqual(item, b[i] as Value))
    if (at < 0 || at >= b.length) return a.length - b.length
    return compare(a[at] as Value, b[at] as Value)
  }
  return refuse(`${typeOf(a)} compared with ${typeOf(b)}`)
}

/** What is looked up in a dict: True and 1.0 find what 1 does. */
export function lookupKey(value: Value): Value {
  if (Array.isArray(value) || value instanceof Map) return refuse(`a key of a dict that is ${typeOf(value)}`)
  return typeof value === 'boolean' || Number.isInteger(value) ? BigInt(value as boolean | number) : value
}

/** A key of a new dict; Python's True and 1.0 would be that of 1. */
export function keyOf(value: Value): Value {
  if (isText(value) || typeof value === 'bigint' || value === null) return value
  return refuse(`a key of a dict that is ${typeOf(value)}`)
}

/** repr() of a float: Python writes exponents from 1e16 on and below 1e-4. */
function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf'
  if (Object.is(value, -0)) return '-0.0'
  const [digits, exponent] = value.toExponential().split('e') as [string, string]
  const power = Number(exponent)
  if (power < -4 || power >= 16) return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`
  // Of this size, JavaScript has no exponents but below 1e-6.
  const text = power < 0 ? value.toFixed(-power + digits.replace(/[-.]/g, '').length - 1) : String(value)
  return text.includes('.') ? text : `${text}.0`
}

/** As str() in Python, and as `{{ }}` prints it. */
export function textOf(value: Value): string {
  if (isText(value)) return value
  if (value instanceof Undefined) return ''
  if (value instanceof Safe) return value.text
  return reprOf(value)
}

/** As repr() in Python, which is how a list shows its items. */
export function reprOf(value: Value): string {
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return floatText(value)
  if (isText(value)) return quoted(value)
  if (value instanceof Undefined) return 'Undefined'
  if (value instanceof Group) return refuse('a printed group')
  if (value instanceof Tuple) return `(${Array.from(value, reprOf).join(', ')}${value.length === 1 ? ',' : ''})`
  if (Array.isArray(value)) return `[${value.map(reprOf).join(', ')}]`
  if (value instanceof Map) return `{${[...value].map(([key, item]) => `${reprOf(key)}: ${reprOf(item)}`).join(', ')}}`
  if (value instanceof View) return value.text ?? `${value.kind}([${value.items.map(reprOf).join(', ')}])`
  if (value instanceof Namespace) return `<Namespace ${reprOf(value.attributes)}>`
  return refuse(`${typeOf(value)} to be printed`)
}

const code = (character: string, digits: number): string =>
  (character.codePointAt(0) as number).toString(16).padStart(digits, '0')

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  // The marks before control tokens (mark.ts) stay what they are, or the tokens would be without them.
  const inner = text.replace(/[\\\p{C}\p{Z}]|['"]/gu, (character) => {
    if (character === ' ' || /[\ufdd0-\ufdef]/.test(character)) return character
    if (character === "'" || character === '"') return character === quote ? `\\${character}` : character
    const short = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character]
    if (short) return short
    if (character < '\u0100') return `\\x${code(character, 2)}`
    return character.length > 1 ? `\\U${code(character, 8)}` : `\\u${code(character, 4)}`
  })
  return `${quote}${inner}${quote}`
}

export interface JsonOptions {
  isAscii: boolean
  indent: string | undefined
  separators: [string, string]
  isSorted: boolean
}

/** json.dumps(). */
export function jsonOf(value: Value, options: JsonOptions, depth = 1): string {
  if (value === null) return 'null'
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return jsonNumber(value)
  if (isText(value)) return jsonText(value, options.isAscii)
  const { indent, separators } = options
  const all = (open: string, items: string[], close: string): string => {
    if (items.length === 0) return open + close
    if (indent === undefined) return open + items.join(separators[0]) + close
    const inner = `\n${indent.repeat(depth)}`
    return `${open}${inner}${items.join(separators[0] + inner)}\n${indent.repeat(depth - 1)}${close}`
  }
  const write = (item: Value) => jsonOf(item, options, depth + 1)
  if (Array.isArray(value)) return all('[', Array.from(value, write), ']')
  if (!(value instanceof Map)) return refuse(`${typeOf(value)} to be written as JSON`)
  const entries = [...value]
  if (options.isSorted) entries.sort(([a], [b]) => compare(a, b))
  const pair = ([key, item]: [Value, Value]) =>
    jsonText(isText(key) ? key : jsonOf(key, options), options.isAscii) + separators[1] + write(item)
  return all('{', entries.map(pair), '}')
}

function jsonNumber(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  return Number.isFinite(value) ? floatText(value) : value < 0 ? '-Infinity' : 'Infinity'
}

function jsonText(text: string, isAscii: boolean): string {
  const written = JSON.stringify(text)
  if (!isAscii) return written
  return written.replace(/[^ -~]/g, (unit) =>
    /[\ufdd0-\ufdef]/.test(unit) ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Arguments by the names of a function's parameters; undefined where none is given. Throws for others. */
export function bind(what: string, parameters: readonly string[], args: readonly Value[], named: Named): Given {
  if (args.length > parameters.length) refuse(`${args.length} arguments of ${what}`)
  for (const key of named.keys()) if (parameters.indexOf(key) < args.length) refuse(`the argument "${key}" of ${what}`)
  return parameters.map((parameter, i) => (i < args.length ? args[i] : named.get(parameter)))
}

export type Given = (Value | undefined)[]
