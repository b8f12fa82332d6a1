/** `x.name` and `x[key]` as Jinja's sandbox has them: a dot looks for Python's attribute first, brackets for an item. */
import { stringMethod } from './strings.ts'
import {
  bind,
  type Call,
  Group,
  isEqual,
  isText,
  isWhole,
  itemsOf,
  Loop,
  lookupKey,
  Namespace,
  refuse,
  Safe,
  Tuple,
  typeOf,
  Undefined,
  type Value,
  View,
} from './values.ts'

const words = (text: string) => new Set(text.split(' '))

/** Attributes that Python's types have and that are refused: those that change a value, and what no template uses. */
const refused: Record<string, Set<string>> = {
  list: words('append clear copy extend insert pop remove reverse sort'),
  dict: words('clear copy fromkeys pop popitem setdefault update'),
  int: words('as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes'),
  float: words('as_integer_ratio conjugate fromhex hex imag is_integer real'),
  range: words('count index start step stop'),
  view: words('isdisjoint mapping'),
  lazy: words('close gi_code gi_frame gi_running gi_yieldfrom send throw'),
  function: words('name arguments catch_kwargs catch_varargs caller explicit_caller'),
}
refused.bool = refused.int as Set<string>

function dictMethod(dict: Map<Value, Value>, name: string): Call | undefined {
  const view =
    (kind: string, items: Value[]): Call =>
    (args, named) => {
      bind(`"${name}"`, [], args, named)
      return new View(kind, items)
    }
  if (name === 'keys') return view('dict_keys', [...dict.keys()])
  if (name === 'values') return view('dict_values', [...dict.values()])
  if (name === 'items')
    return view(
      'dict_items',
      [...dict].map((pair) => Tuple.from(pair)),
    )
  if (name !== 'get') return undefined
  return (args, named) => {
    const [key = null, none = null] = bind('"get"', ['', ''], args, named)
    return dict.has(lookupKey(key)) ? (dict.get(lookupKey(key)) as Value) : none
  }
}

function listMethod(list: Value[], name: string): Call | undefined {
  if (name === 'count') return ([item = null]) => BigInt(list.filter((other) => isEqual(other, item)).length)
  if (name !== 'index') return undefined
  return (args, named) => {
    const [item = null] = bind('"index"', [''], args, named)
    const at = list.findIndex((other) => isEqual(other, item))
    return at < 0 ? refuse('index: the item is not in the list') : BigInt(at)
  }
}

function loopValue(loop: Loop, name: string): Value | undefined {
  const { at, items } = loop
  const count = items.length
  const none = new Undefined(`loop.${name}`)
  switch (name) {
    case 'index':
      return BigInt(at + 1)
    case 'index0':
      return BigInt(at)
    case 'revindex':
      return BigInt(count - at)
    case 'revindex0':
      return BigInt(count - at - 1)
    case 'first':
      return at === 0
    case 'last':
      return at === count - 1
    case 'length':
      return BigInt(count)
    // Loops that call themselves are refused, so there is but one.
    case 'depth':
      return 1n
    case 'depth0':
      return 0n
    case 'previtem':
      return items[at - 1] ?? (at > 0 ? null : none)
    case 'nextitem':
      return items[at + 1] ?? (at < count - 1 ? null : none)
    case 'cycle':
      return (args) => (args.length > 0 ? (args[at % args.length] as Value) : refuse('loop.cycle of nothing'))
    case 'changed':
      return (args) => {
        const isSame = loop.changed !== undefined && isEqual(loop.changed, args)
        loop.changed = args
        return !isSame
      }
  }
  return undefined
}

/** Python's attribute of a value; undefined if there is none. */
function ownAttribute(value: Value, name: string): Value | undefined {
  if (value instanceof Undefined) return refuse(`"${name}" of what is undefined (${value.what})`)
  if (value instanceof Safe) return refuse(`"${name}" of what "safe" has marked`)
  if (isText(value)) return stringMethod(value, name)
  if (value instanceof Namespace) return value.attributes.get(name)
  if (value instanceof Loop) return loopValue(value, name)
  if (value instanceof Group && (name === 'grouper' || name === 'list')) return value[name === 'list' ? 1 : 0]
  const type = value instanceof Tuple ? '' : value instanceof View && value.kind !== 'range' ? 'view' : typeOf(value)
  if (refused[type]?.has(name)) return refuse(`"${name}" of ${typeOf(value)}, which is not understood,`)
  if (value instanceof Map) return dictMethod(value, name)
  return Array.isArray(value) ? listMethod(value, name) : undefined
}

/** The item of a key or place; undefined if there is none. */
function ownItem(value: Value, key: Value): Value | undefined {
  if (value instanceof Undefined) return refuse(`an item of what is undefined (${value.what})`)
  if (value instanceof Safe) return refuse('an item of what "safe" has marked')
  if (value instanceof Map) {
    return Array.isArray(key) || key instanceof Map ? undefined : value.get(lookupKey(key))
  }
  if (!isWhole(key)) return undefined
  const items = isText(value) || Array.isArray(value) || typeOf(value) === 'range' ? itemsOf(value) : []
  return items.at(Number(key))
}

const orMissing = (found: Value | undefined, value: Value, key: Value): Value =>
  found === undefined ? new Undefined(`${isText(key) ? JSON.stringify(key) : 'an item'} of ${typeOf(value)}`) : found

/** `x.name`. */
export function attributeOf(value: Value, name: string): Value {
  const own = ownAttribute(value, name)
  return own === undefined ? orMissing(ownItem(value, name), value, name) : own
}

/** `x[key]`. */
export function itemAt(value: Value, key: Value): Value {
  const item = ownItem(value, key)
  return item === undefined && isText(key)
    ? orMissing(ownAttribute(value, key), value, key)
    : orMissing(item, value, key)
}

/** `x[start:stop:step]`; None for what is left out. */
export function sliceOf(value: Value, places: Value[]): Value {
  if (!isText(value) && !Array.isArray(value)) return refuse(`a slice of ${typeOf(value)}`)
  const [start, stop, step = 1] = places.map((place) => {
    if (place === null) return undefined
    return isWhole(place) ? Number(place) : refuse(`a slice at ${typeOf(place)}`)
  })
  if (step === 0) refuse('a slice with a step of zero')
  const items = itemsOf(value)
  const [low, high] = step > 0 ? [0, items.length] : [-1, items.length - 1]
  const at = (place: number | undefined, none: number) =>
    place === undefined ? none : Math.min(high, Math.max(low, place < 0 ? place + items.length : place))
  const end = at(stop, step > 0 ? high : low)
  const found: Value[] = []
  for (let i = at(start, step > 0 ? low : high); step > 0 ? i < end : i > end; i += step) found.push(items[i] as Value)
  return isText(value) ? found.join('') : value instanceof Tuple ? Tuple.from(found) : found
}
