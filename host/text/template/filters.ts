/** Jinja's filters and tests, as jinja2.filters and jinja2.tests of Jinja 3.1 have them; `tojson` is that of transformers. */
import { itemAt } from './attributes.ts'
import { roundTo, toFloat, toInt } from './numbers.ts'
import { capitalize, isIn, isLower, isUpper, replaceText, splitLines, strip } from './strings.ts'
import {
  bind,
  type Call,
  compare,
  type Given,
  Group,
  isEqual,
  isNumber,
  isText,
  isTrue,
  isWhole,
  itemsOf,
  jsonOf,
  keyOf,
  Lazy,
  lengthOf,
  type Named,
  refuse,
  Safe,
  Tuple,
  textOf,
  typeOf,
  Undefined,
  type Value,
  View,
} from './values.ts'

type Filter = (value: Value, ...given: Given) => Value

const whole = (value: Value | undefined, none: number): number =>
  value === undefined ? none : isWhole(value) ? Number(value) : refuse(`${typeOf(value)} where an int is needed`)

/** The value behind a path such as "function.name" or 0. */
function getter(attribute: Value | undefined, none?: Value): (item: Value) => Value {
  if (attribute === undefined || attribute === null) return (item) => item
  const path = isText(attribute)
    ? attribute.split('.').map((part) => (/^\d+$/.test(part) ? BigInt(part) : part))
    : [attribute]
  return (item) =>
    path.reduce((value: Value, part) => {
      const found = itemAt(value, part)
      return found instanceof Undefined && none !== undefined && none !== null ? none : found
    }, item)
}

/** What is compared instead of a value: its lower case, unless case counts. */
function folded(isCased: Value | undefined): (value: Value) => Value {
  return (value) => (isText(value) && !isTrue(isCased ?? false) ? value.toLowerCase() : value)
}

function sorted<T>(items: T[], key: (item: T) => Value, isReversed: Value | undefined): T[] {
  const turn = isTrue(isReversed ?? false) ? -1 : 1
  return items
    .map((item): [Value, T] => [key(item), item])
    .sort(([a], [b]) => turn * compare(a, b))
    .map(([, item]) => item)
}

function sort(
  value: Value,
  isReversed: Value | undefined,
  isCased: Value | undefined,
  attribute: Value | undefined,
): Value {
  const fold = folded(isCased)
  const gets = (isText(attribute as Value) ? (attribute as string).split(',') : [attribute]).map((one) => getter(one))
  return sorted(itemsOf(value), (item) => gets.map((get) => fold(get(item))), isReversed)
}

function dictsort(value: Value, isCased: Value | undefined, by: Value = 'key', isReversed?: Value): Value {
  if (!(value instanceof Map)) return refuse(`dictsort of ${typeOf(value)}`)
  if (by !== 'key' && by !== 'value') refuse('dictsort by neither "key" nor "value"')
  const fold = folded(isCased)
  const pairs = [...value].map((pair) => Tuple.from(pair))
  return sorted(pairs, (pair) => fold(pair[by === 'key' ? 0 : 1] as Value), isReversed)
}

function groupby(
  value: Value,
  attribute: Value | undefined,
  none: Value | undefined,
  isCased: Value | undefined,
): Value {
  const [get, fold] = [getter(attribute, none), folded(isCased)]
  const key = (item: Value) => fold(get(item))
  const groups: Value[][] = []
  for (const item of sorted(itemsOf(value), key, false)) {
    const last = groups.at(-1)
    if (last && isEqual(key(last[0] as Value), key(item))) last.push(item)
    else groups.push([item])
  }
  return groups.map((items) =>
    Group.from([isTrue(isCased ?? false) ? key(items[0] as Value) : get(items[0] as Value), items]),
  )
}

function* unique(value: Value, isCased: Value | undefined, attribute: Value | undefined): Generator<Value> {
  const [get, fold] = [getter(attribute), folded(isCased)]
  const seen: Value[] = []
  for (const item of itemsOf(value)) {
    const key = fold(get(item))
    if (Array.isArray(key) || key instanceof Map) refuse(`unique of ${typeOf(key)}`)
    if (seen.some((other) => isEqual(other, key))) continue
    seen.push(key)
    yield item
  }
}

function extreme(sign: number): Filter {
  return (value, isCased, attribute) => {
    const items = itemsOf(value)
    const [get, fold] = [getter(attribute), folded(isCased)]
    if (items.length === 0) return new Undefined('an item of nothing')
    return items.reduce((best, item) => (sign * compare(fold(get(item)), fold(get(best))) > 0 ? item : best))
  }
}

function* batch(value: Value, size: Value | undefined, fill: Value | undefined): Generator<Value> {
  const count = whole(size, 0)
  const items = itemsOf(value)
  if (count < 1) refuse('batch of less than 1')
  for (let at = 0; at < items.length; at += count) {
    const group = items.slice(at, at + count)
    while (fill !== undefined && fill !== null && group.length < count) group.push(fill)
    yield group
  }
}

function indent(value: Value, width: Value = 4n, isFirst: Value = false, isBlank: Value = false): Value {
  if (!isText(value)) return refuse(`indent of ${typeOf(value)}`)
  const margin = isText(width) ? width : ' '.repeat(Math.max(0, whole(width, 4)))
  // Jinja adds a line feed before it takes the lines.
  const lines = splitLines(`${value}\n`)
  const text = lines.map((line, i) => (i === 0 || (line === '' && !isTrue(isBlank)) ? line : margin + line)).join('\n')
  return isTrue(isFirst) ? margin + text : text
}

function join(value: Value, by: Value = '', attribute?: Value): Value {
  return itemsOf(value).map(getter(attribute)).map(textOf).join(textOf(by))
}

function reverse(value: Value): Value {
  if (isText(value)) return Array.from(value).reverse().join('')
  const items = itemsOf(value).reverse()
  return value instanceof Lazy ? items : new Lazy(items)
}

function add(start: Value, items: Value[]): Value {
  return items.reduce((sum, item) => {
    if (!isNumber(sum) || !isNumber(item)) return refuse(`the sum of ${typeOf(sum)} and ${typeOf(item)}`)
    if (isWhole(sum) && isWhole(item)) return BigInt(sum) + BigInt(item)
    return Number(sum) + Number(item)
  }, start)
}

function tojson(
  value: Value,
  isAscii: Value = false,
  width: Value = null,
  separators: Value = null,
  isSorted: Value = false,
): Value {
  const indent = width === null ? undefined : isText(width) ? width : ' '.repeat(Math.max(0, whole(width, 0)))
  const pair = separators === null ? [indent === undefined ? ', ' : ',', ': '] : itemsOf(separators)
  if (pair.length !== 2 || !pair.every(isText)) return refuse('separators that are not two texts')
  return jsonOf(value, {
    isAscii: isTrue(isAscii),
    indent,
    separators: pair as [string, string],
    isSorted: isTrue(isSorted),
  })
}

function title(value: Value): Value {
  const words = textOf(value).split(/([-\s({[<]+)/)
  return words.map((word) => capitalize(word)).join('')
}

const length: Filter = (value) => BigInt(lengthOf(value))
const otherwise: Filter = (value, other = '', isBoolean = false) =>
  value instanceof Undefined || (isTrue(isBoolean) && !isTrue(value)) ? other : value
const absolute: Filter = (value) => {
  if (isWhole(value)) return BigInt(value) < 0n ? -BigInt(value) : BigInt(value)
  return typeof value === 'number' ? Math.abs(value) : refuse(`abs of ${typeOf(value)}`)
}
const first: Filter = (value) => {
  const rest = value instanceof Lazy ? value.rest : itemsOf(value).values()
  const { done, value: item } = rest.next()
  return done ? new Undefined('the first of nothing') : item
}
const last: Filter = (value) =>
  value instanceof Lazy ? refuse('the last of an iterator') : first(itemsOf(value).reverse())
const items: Filter = (value) => {
  if (value instanceof Undefined) return new Lazy([])
  return value instanceof Map
    ? new Lazy([...value].map((pair) => Tuple.from(pair)))
    : refuse(`items of ${typeOf(value)}`)
}

/** Filter, and the names of its parameters. */
const filters: Record<string, [Filter, ...string[]]> = {
  abs: [absolute],
  batch: [(value, size, fill) => new Lazy(batch(value, size, fill)), 'linecount', 'fill_with'],
  capitalize: [(value) => capitalize(textOf(value))],
  count: [length],
  d: [otherwise, 'default_value', 'boolean'],
  default: [otherwise, 'default_value', 'boolean'],
  dictsort: [dictsort, 'case_sensitive', 'by', 'reverse'],
  first: [first],
  float: [(value, none = 0) => toFloat(value) ?? none, 'default'],
  groupby: [groupby, 'attribute', 'default', 'case_sensitive'],
  indent: [indent, 'width', 'first', 'blank'],
  int: [(value, none = 0n, base = 10n) => toInt(value, base) ?? none, 'default', 'base'],
  items: [items],
  join: [join, 'd', 'attribute'],
  last: [last],
  length: [length],
  list: [(value) => itemsOf(value)],
  lower: [(value) => textOf(value).toLowerCase()],
  max: [extreme(1), 'case_sensitive', 'attribute'],
  min: [extreme(-1), 'case_sensitive', 'attribute'],
  replace: [
    (value, old, by, count = null) =>
      old === undefined || by === undefined
        ? refuse('the filter "replace" without its two texts')
        : replaceText(textOf(value), textOf(old), textOf(by), count === null ? -1 : whole(count, -1)),
    'old',
    'new',
    'count',
  ],
  reverse: [reverse],
  round: [(value, digits = 0n, method = 'common') => roundTo(value, digits, method), 'precision', 'method'],
  safe: [(value) => new Safe(textOf(value))],
  sort: [sort, 'reverse', 'case_sensitive', 'attribute'],
  string: [textOf],
  sum: [(value, attribute, start = 0n) => add(start, itemsOf(value).map(getter(attribute))), 'attribute', 'start'],
  title: [title],
  tojson: [tojson, 'ensure_ascii', 'indent', 'separators', 'sort_keys'],
  trim: [
    (value, characters = null) => strip(textOf(value), characters === null ? undefined : textOf(characters)),
    'chars',
  ],
  unique: [(value, isCased, attribute) => new Lazy(unique(value, isCased, attribute)), 'case_sensitive', 'attribute'],
  upper: [(value) => textOf(value).toUpperCase()],
  wordcount: [(value) => BigInt(textOf(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0)],
}

/** Applies a filter. Throws for those that are not understood, and for arguments that it does not take. */
export function applyFilter(name: string, value: Value, args: Value[], named: Named): Value {
  if (value instanceof Safe) return refuse(`the filter "${name}" of what "safe" has marked`)
  if (/^(?:select|reject)(?:attr)?$/.test(name)) return new Lazy(select(name, value, args, named))
  if (name === 'map') return new Lazy(map(value, args, named))
  if (!Object.hasOwn(filters, name)) return refuse(`the filter "${name}", which is not understood,`)
  const [filter, ...parameters] = filters[name] as [Filter, ...string[]]
  return filter(value, ...bind(`the filter "${name}"`, parameters, args, named))
}

function* select(name: string, value: Value, args: Value[], named: Named): Generator<Value> {
  // What is false, such as tools that are None, is taken as nothing.
  if (!isTrue(value)) return
  const isWanted = name.startsWith('select')
  const isByAttribute = name.endsWith('attr')
  if (isByAttribute && args.length === 0) refuse(`the filter "${name}" without an attribute`)
  const get = getter(isByAttribute ? args[0] : undefined)
  const [test, ...rest] = isByAttribute ? args.slice(1) : args
  for (const item of itemsOf(value)) {
    const found = get(item)
    if ((test === undefined ? isTrue(found) : applyTest(textOf(test), found, rest, named)) === isWanted) yield item
  }
}

function* map(value: Value, args: Value[], named: Named): Generator<Value> {
  if (!isTrue(value)) return
  const [name, ...rest] = args
  if (name === undefined) {
    const [attribute, none] = bind('the filter "map"', ['attribute', 'default'], [], named)
    if (attribute === undefined) refuse('the filter "map" without a filter or an attribute')
    for (const item of itemsOf(value)) yield getter(attribute, none)(item)
  } else for (const item of itemsOf(value)) yield applyFilter(textOf(name), item, rest, named)
}

type Test = (value: Value, ...args: Value[]) => boolean

const divides = (value: Value, by: Value, rest: bigint): boolean =>
  isWhole(value) && isWhole(by) && BigInt(by) !== 0n
    ? ((BigInt(value) % BigInt(by)) + BigInt(by)) % BigInt(by) === rest
    : refuse(`${typeOf(value)} divided by ${typeOf(by)}`)

function isSame(a: Value, b: Value): boolean {
  if (a === b && !isText(a)) return true
  // Whether two equal texts or numbers are one object is chance.
  if (typeOf(a) === typeOf(b) && !Array.isArray(a) && !(a instanceof Map) && !/^(?:bool|None)$/.test(typeOf(a)))
    return refuse(`"sameas" of ${typeOf(a)}`)
  return false
}

const equal: Test = (a, b) => isEqual(a, b as Value)
const different: Test = (a, b) => !isEqual(a, b as Value)
const less: Test = (a, b) => compare(a, b as Value) < 0
const lessEqual: Test = (a, b) => compare(a, b as Value) <= 0
const greater: Test = (a, b) => compare(a, b as Value) > 0
const greaterEqual: Test = (a, b) => compare(a, b as Value) >= 0
const isSequence: Test = (value) =>
  isText(value) ||
  Array.isArray(value) ||
  value instanceof Map ||
  value instanceof Undefined ||
  typeOf(value) === 'range'

/** Test, and how many arguments it takes. */
const tests: Record<string, [Test, number]> = {
  boolean: [(value) => typeof value === 'boolean', 0],
  callable: [(value) => typeof value === 'function' || value instanceof Undefined, 0],
  defined: [(value) => !(value instanceof Undefined), 0],
  divisibleby: [(value, by) => divides(value, by as Value, 0n), 1],
  even: [(value) => divides(value, 2n, 0n), 0],
  false: [(value) => value === false, 0],
  float: [(value) => typeof value === 'number', 0],
  in: [(value, all) => isIn(value, all as Value), 1],
  integer: [(value) => typeof value === 'bigint', 0],
  iterable: [(value) => isSequence(value) || value instanceof View || value instanceof Lazy, 0],
  lower: [(value) => isLower(textOf(value)), 0],
  mapping: [(value) => value instanceof Map, 0],
  none: [(value) => value === null, 0],
  number: [isNumber, 0],
  odd: [(value) => divides(value, 2n, 1n), 0],
  sameas: [(value, other) => isSame(value, other as Value), 1],
  sequence: [isSequence, 0],
  string: [isText, 0],
  true: [(value) => value === true, 0],
  undefined: [(value) => value instanceof Undefined, 0],
  upper: [(value) => isUpper(textOf(value)), 0],
}
const aliases: [Test, ...string[]][] = [
  [equal, '==', 'eq', 'equalto'],
  [different, '!=', 'ne'],
  [less, '<', 'lt', 'lessthan'],
  [lessEqual, '<=', 'le'],
  [greater, '>', 'gt', 'greaterthan'],
  [greaterEqual, '>=', 'ge'],
]
for (const [test, ...names] of aliases) for (const name of names) tests[name] = [test, 1]

/** Applies a test. Throws for those that are not understood. */
export function applyTest(name: string, value: Value, args: Value[], named: Named): boolean {
  if (!Object.hasOwn(tests, name)) return refuse(`the test "${name}", which is not understood,`)
  const [test, count] = tests[name] as [Test, number]
  if (args.length !== count || named.size > 0) refuse(`${args.length + named.size} arguments of the test "${name}"`)
  if (value instanceof Safe) refuse(`the test "${name}" of what "safe" has marked`)
  return test(value, ...args)
}

/** What stands for `dict` in Python. */
export const dict: Call = (args, named) => {
  const [source = new Map<Value, Value>()] = bind('dict', ['mapping'], args, new Map())
  const entries = source instanceof Map ? [...source] : itemsOf(source).map(itemsOf)
  const made = new Map<Value, Value>()
  for (const [key, item, ...more] of [...entries, ...named] as Value[][]) {
    if (key === undefined || item === undefined || more.length > 0) return refuse('a dict of what is not pairs')
    made.set(keyOf(key), item)
  }
  return made
}
