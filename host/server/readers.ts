/**
 * What a request may say, as tables: for each parameter of an endpoint a reader, which checks a value and brings it into
 * shape. What a table does not list is refused by name, for it might change the answer; `ignored` lists what cannot.
 */
import { show } from '../../models/index.ts'
import { apiErrors } from './errors.ts'

/** Checks the value at `path`, such as "messages[2].role". Throws ApiError. */
export type Reader<T> = (value: unknown, path: string) => T

/** Cannot change an answer: read and forgotten. */
export const ignored: Reader<undefined> = () => undefined

// JSON has no word for what 1e999 is.
export const shown = (value: unknown) => (typeof value === 'number' ? String(value) : show(value))

const wrong = (path: string, expected: string, value: unknown) => apiErrors.badValue(path, expected, shown(value))

export const text: Reader<string> = (value, path) => {
  if (typeof value !== 'string') throw wrong(path, 'a text', value)
  return value
}

export const boolean: Reader<boolean> = (value, path) => {
  if (typeof value !== 'boolean') throw wrong(path, 'true or false', value)
  return value
}

export function number(min: number, max: number): Reader<number> {
  return (value, path) => {
    // JSON's 1e999 is Infinity.
    if (typeof value !== 'number' || !(value >= min && value <= max))
      throw wrong(path, `a number from ${min} to ${max}`, value)
    return value
  }
}

export function whole(min: number, max: number = Number.MAX_SAFE_INTEGER): Reader<number> {
  return (value, path) => {
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max)
      throw wrong(path, `a whole number from ${min} to ${max}`, value)
    return value as number
  }
}

export function oneOf<const T extends string>(...choices: T[]): Reader<T> {
  return (value, path) => {
    const found = choices.find((choice) => choice === value)
    if (found === undefined)
      throw wrong(path, choices.length > 1 ? `one of ${choices.join(', ')}` : show(choices[0]), value)
    return found
  }
}

/** What can be only one thing here; `why` tells why. */
export function only(expected: unknown, why: string): Reader<undefined> {
  return (value, path) => {
    if (value !== expected) throw apiErrors.onlyValue(path, show(expected), shown(value), why)
    return undefined
  }
}

export function unsupported(why: string): Reader<undefined> {
  return (_, path) => {
    throw apiErrors.unsupported(path, why)
  }
}

const MOST_ITEMS = 1_000_000

/** `what`: all that may stand in its place, in words. */
export function list<T>(of: Reader<T>, { min = 0, max = MOST_ITEMS, what = 'a list' } = {}): Reader<T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) throw wrong(path, what, value)
    if (value.length < min || value.length > max) {
      const expected = value.length < min ? `a list with at least ${min}` : `a list of at most ${max}`
      throw apiErrors.badValue(path, expected, value.length === 0 ? 'an empty one' : `one of ${value.length}`)
    }
    return value.map((each, i) => of(each, `${path}[${i}]`))
  }
}

/** One of them, or a list. */
export function oneOrMore<T>(of: Reader<T>, limits: { min?: number; max?: number; what?: string } = {}): Reader<T[]> {
  const many = list(of, limits)
  return (value, path) => (Array.isArray(value) ? many(value, path) : [of(value, path)])
}

export const object: Reader<Record<string, unknown>> = (value, path) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(path, 'an object', value)
  return value as Record<string, unknown>
}

export type Table = Record<string, Reader<unknown>>

/** What a table makes of a request; what it does not say is undefined. */
export type Read<T extends Table> = { [name in keyof T]: ReturnType<T[name]> | undefined }

/** Reads an object; null stands for what is left out, as clients write it. */
export function readFields<T extends Table>(table: T, value: unknown, path = ''): Read<T> {
  const given = object(value, path || 'the body')
  const read: Record<string, unknown> = {}
  for (const [name, each] of Object.entries(given)) {
    const place = path ? `${path}.${name}` : name
    if (each === null) continue
    if (!Object.hasOwn(table, name)) throw apiErrors.unknown(place.slice(0, 200))
    read[name] = (table[name] as Reader<unknown>)(each, place)
  }
  return read as Read<T>
}

export function fields<T extends Table>(table: T): Reader<Read<T>> {
  return (value, path) => readFields(table, value, path)
}

export function required<T>(value: T | undefined, param: string): T {
  if (value === undefined) throw apiErrors.missing(param)
  return value
}
