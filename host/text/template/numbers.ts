/** Python's operators: whole numbers without bounds (bigint) and floats (number), and how texts become either. */
import { isIn, strip } from './strings.ts'
import {
  compare,
  isEqual,
  isNumber,
  isText,
  isWhole,
  refuse,
  Safe,
  Tuple,
  textOf,
  typeOf,
  type Value,
} from './values.ts'

/** Bits of a power or product at most; no template has use for more. */
const MAX_BITS = 100_000

/** What an operator makes of two values. */
export function operate(operator: string, left: Value, right: Value): Value {
  for (const value of [left, right]) if (value instanceof Safe) refuse(`"${operator}" of what "safe" has marked`)
  switch (operator) {
    case '==':
      return isEqual(left, right)
    case '!=':
      return !isEqual(left, right)
    case 'in':
      return isIn(left, right)
    case 'not in':
      return !isIn(left, right)
    case '~':
      return textOf(left) + textOf(right)
    case '<':
      return compare(left, right) < 0
    case '<=':
      return compare(left, right) <= 0
    case '>':
      return compare(left, right) > 0
    case '>=':
      return compare(left, right) >= 0
  }
  return calculate(operator, left, right)
}

function calculate(operator: string, a: Value, b: Value): Value {
  if (isWhole(a) && isWhole(b)) return calculateWhole(operator, BigInt(a), BigInt(b))
  if (isNumber(a) && isNumber(b)) return calculateFloat(operator, Number(a), Number(b))
  if (operator === '+') {
    if (isText(a) && isText(b)) return a + b
    if (Array.isArray(a) && Array.isArray(b) && a instanceof Tuple === b instanceof Tuple) return a.concat(b)
  }
  if (operator === '*') {
    const [all, count] = isWhole(b) ? [a, Number(b)] : isWhole(a) ? [b, Number(a)] : [null, 0]
    if (isText(all)) return all.repeat(Math.max(0, count))
    if (Array.isArray(all)) return repeated(all, count)
  }
  return refuse(`"${operator}" between ${typeOf(a)} and ${typeOf(b)}`)
}

function repeated(all: Value[], count: number): Value {
  if (all.length * count > 1e6) refuse(`a list of ${all.length * count} items`)
  const made: Value[] = all instanceof Tuple ? new Tuple() : []
  for (let i = 0; i < count; i++) made.push(...Array.from(all))
  return made
}

function calculateWhole(operator: string, a: bigint, b: bigint): Value {
  if (/[/%]/.test(operator) && b === 0n) refuse('a division by zero')
  switch (operator) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '/':
      return exact(a) / exact(b)
    case '//':
      return (a - modulo(a, b)) / b
    case '%':
      return modulo(a, b)
  }
  if (b < 0n) return exact(a) ** exact(b)
  if (BigInt(a.toString(2).length) * b > BigInt(MAX_BITS)) refuse('a power of so many digits')
  return a ** b
}

/** With the sign of the divisor, as in Python. */
function modulo(a: bigint, b: bigint): bigint {
  const rest = a % b
  return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest
}

function exact(value: bigint): number {
  return Number.isSafeInteger(Number(value)) ? Number(value) : refuse(`${value} as a float`)
}

function calculateFloat(operator: string, a: number, b: number): number {
  if (/[/%]/.test(operator) && b === 0) refuse('a division by zero')
  const rest = a % b !== 0 && a % b < 0 !== b < 0 ? (a % b) + b : a % b
  switch (operator) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '/':
      return a / b
    case '//':
      return Math.round((a - rest) / b)
    case '%':
      return rest
  }
  const power = a ** b
  return Number.isFinite(power) ? power : refuse('a power without a value')
}

const DIGITS = /^[+-]?\d+(?:_\d+)*$/
const FLOAT = /^[+-]?(?:(?:\d+(?:_\d+)*)?\.?\d+(?:_\d+)*|\d+(?:_\d+)*\.)(?:e[+-]?\d+(?:_\d+)*)?$/i

/** float() of a number or text; undefined where Python raises an error that the filters catch. */
export function toFloat(value: Value): number | undefined {
  if (isNumber(value)) return Number(value)
  if (!isText(value)) return typeOf(value).startsWith('undefined') ? refuse(`${typeOf(value)} as a number`) : undefined
  const text = strip(value, undefined)
  if (FLOAT.test(text)) return Number(text.replaceAll('_', ''))
  const word = /^([+-]?)(?:(inf(?:inity)?)|nan)$/i.exec(text)
  if (word) return word[2] ? (word[1] === '-' ? -Infinity : Infinity) : Number.NaN
  return /(?![0-9])\p{Nd}/u.test(text) ? refuse(`the number ${JSON.stringify(text)}`) : undefined
}

/** int() of a number or text, also by way of a float. */
export function toInt(value: Value, base: Value): bigint | undefined {
  if (base !== 10n) return refuse('int of another base than 10')
  if (isWhole(value)) return BigInt(value)
  const text = isText(value) ? strip(value, undefined) : ''
  if (DIGITS.test(text)) return BigInt(text.replaceAll('_', '').replace('+', ''))
  const found = toFloat(value)
  return found === undefined || !Number.isFinite(found) ? undefined : BigInt(Math.trunc(found))
}

/** The filter `round`. */
export function roundTo(value: Value, precision: Value, method: Value): Value {
  if (!isNumber(value)) return refuse(`round of ${typeOf(value)}`)
  const digits = isWhole(precision) ? Number(precision) : -1
  if (digits < 0 || digits > 15) return refuse('round to that many digits')
  const power = 10 ** digits
  if (method === 'ceil') return Math.ceil(Number(value) * power) / power
  if (method === 'floor') return Math.floor(Number(value) * power) / power
  if (method !== 'common') return refuse('round with an unknown method')
  if (isWhole(value)) return BigInt(value)
  const near = Math.floor(value * power)
  // A tie goes to the even digit; only then is the middle a float exactly.
  if (value * power - near === 0.5 && (near + 0.5) / power === value && isTie(value, digits))
    return (near % 2 === 0 ? near : near + 1) / power
  return Math.abs(value) < 1e21 ? Number(value.toFixed(digits)) : value
}

/** Whether a float ends in 5 exactly, one digit behind `digits`. */
function isTie(value: number, digits: number): boolean {
  return /^5?0*$/.test(
    value
      .toFixed(Math.min(100, digits + 60))
      .split('.')[1]
      ?.slice(digits) ?? '',
  )
}
