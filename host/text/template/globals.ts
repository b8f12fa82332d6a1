/** Functions that a template finds: Jinja's, and those that transformers adds. */
import { dict } from './filters.ts'
import {
  bind,
  type Call,
  isText,
  isWhole,
  type Named,
  Namespace,
  refuse,
  textOf,
  typeOf,
  Undefined,
  type Value,
  View,
} from './values.ts'

/** Of Jinja's sandbox. */
const MAX_RANGE = 100_000

const range: Call = (args, named) => {
  const places = args.map((place) => (isWhole(place) ? Number(place) : refuse(`a range of ${typeOf(place)}`)))
  if (places.length < 1 || places.length > 3 || named.size > 0) refuse(`${places.length} arguments of "range"`)
  const [start, stop, step = 1] = places.length === 1 ? [0, places[0] as number] : (places as [number, number, number?])
  if (step === 0) refuse('a range with a step of zero')
  const count = Math.max(0, Math.ceil((stop - start) / step))
  if (count > MAX_RANGE) refuse(`a range of more than ${MAX_RANGE} numbers`)
  const items = Array.from({ length: count }, (_, i) => BigInt(start + i * step))
  return new View(
    'range',
    items,
    `range(${[start, stop, ...(places.length === 3 && step !== 1 ? [step] : [])].join(', ')})`,
  )
}

const namespace: Call = (args, named) => {
  const made = new Namespace()
  for (const [key, value] of dict(args, named) as Map<Value, Value>) {
    if (!isText(key)) return refuse(`a namespace with a name that is ${typeOf(key)}`)
    made.attributes.set(key, value)
  }
  return made
}

/** A text that is empty the first time, such as a comma between items. */
const joiner: Call = (args, named) => {
  const [separator = ', '] = bind('"joiner"', ['sep'], args, named)
  let isFirst = true
  return () => {
    const text = isFirst ? '' : separator
    isFirst = false
    return text
  }
}

class RaisedError extends Error {}

const raise: Call = (args, named) => {
  const [message = ''] = bind('"raise_exception"', ['message'], args, named)
  throw new RaisedError(textOf(message))
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ')
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')

/** The time here and now, in the words of Python's C locale; `-` leaves zeros in front away. */
const strftimeNow: Call = (args, named) => {
  const [format] = bind('"strftime_now"', ['format'], args, named)
  const now = new Date()
  const two = (value: number) => String(value).padStart(2, '0')
  const [month, day] = [MONTHS[now.getMonth()] as string, DAYS[now.getDay()] as string]
  const parts: Record<string, string> = {
    Y: String(now.getFullYear()),
    y: two(now.getFullYear() % 100),
    m: two(now.getMonth() + 1),
    d: two(now.getDate()),
    H: two(now.getHours()),
    I: two(now.getHours() % 12 || 12),
    M: two(now.getMinutes()),
    S: two(now.getSeconds()),
    p: now.getHours() < 12 ? 'AM' : 'PM',
    B: month,
    b: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    '%': '%',
  }
  if (!isText(format as Value)) return refuse('"strftime_now" without a format')
  return (format as string).replace(/%(-?)(.?)/g, (whole, sign: string, letter: string) => {
    const value = Object.hasOwn(parts, letter)
      ? (parts[letter] as string)
      : refuse(`"${whole}" in the format of a time`)
    return sign ? value.replace(/^0(?=.)/, '') : value
  })
}

const notUnderstood = (name: string): [string, Call] => [
  name,
  () => refuse(`the function "${name}", which is not understood,`),
]

export const globals: Named = new Map<string, Value>([
  ['range', range],
  ['dict', dict],
  ['namespace', namespace],
  ['joiner', joiner],
  ['raise_exception', raise],
  ['strftime_now', strftimeNow],
  notUnderstood('cycler'),
  notUnderstood('lipsum'),
])

/** Names and their values; what a scope has not is looked up in the one around it. */
export class Scope {
  private readonly values: Named
  private readonly parent: Scope | undefined

  constructor(values: Named = new Map(), parent?: Scope) {
    this.values = values
    this.parent = parent
  }

  get(name: string): Value {
    const value = this.values.get(name)
    if (value !== undefined) return value
    return this.parent ? this.parent.get(name) : new Undefined(name)
  }

  set(name: string, value: Value): void {
    this.values.set(name, value)
  }

  /** A scope in this one. */
  inner(): Scope {
    return new Scope(new Map(), this)
  }
}
