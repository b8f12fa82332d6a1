/**
 * Numbers of JSON between two bounds, digit by digit. Texts have at most 15 digits, which a double holds exactly, so that
 * what is written is what is read; further ones are zeros, or those of a bound. An exponent is written only where there is no
 * bound to compare with.
 */
import { type Budget, Recent } from './budget.ts'
import { type Rule, TableRule } from './rule.ts'

export interface NumberLimits {
  isInteger: boolean
  least?: Limit | undefined
  most?: Limit | undefined
  multipleOf?: Divisor | undefined
}

/** p / 10^q */
export interface Divisor {
  p: number
  q: number
}

export interface Limit {
  value: number
  isExclusive: boolean
}

/** A bound of what stands behind the sign. */
interface Bound {
  whole: string
  /** Without zeros at its end. */
  fraction: string
  isExclusive: boolean
  /** 1: the number is not below it; -1: not above. */
  side: 1 | -1
}

/** What has been read. */
interface Reading {
  phase: (typeof phases)[number]
  isNegative: boolean
  /** Digits of this phase. */
  count: number
  /** Digits altogether. */
  digits: number
  isZero: boolean
  /** Its digits so far against those of each bound: -1, 0, 1. */
  compared: number[]
  /** In units of the last place of the divisor. */
  remainder: number
}

const phases = ['start', 'minus', 'whole', 'point', 'fraction', 'exponent', 'sign', 'power'] as const

const MOST_DIGITS = 15
const MOST_POWER_DIGITS = 2
/** Remainders are states. */
export const MOST_REMAINDERS = 1000
/** Steps of a budget for each letter that is tried in a state. */
const WORK_OF_TRANSITION = 35

/** undefined: there is none. */
export function numberRule(limits: NumberLimits, budget: Budget): Rule | undefined {
  const { least, most } = limits
  budget.spend(10 * WORK_OF_TRANSITION)
  if (least && most && least.value > most.value) return undefined
  return budget.shared(kept, JSON.stringify(limits), () => new NumberReader(limits, budget).table())
}

/** Those that were asked for last: with them, tokenizers keep their masks. */
const kept = new Recent<Rule | undefined>(200)

/** What all multiples of some numbers above 0 are multiples of; undefined if it is too large to count with. */
export function divisorOf(numbers: readonly number[]): Divisor | undefined {
  const decimals = numbers.map(decimalOf)
  const q = Math.max(...decimals.map(({ fraction }) => fraction.length))
  const p = decimals.reduce(
    (all, { whole, fraction }) => leastMultiple(all, BigInt(whole + fraction.padEnd(q, '0'))),
    1n,
  )
  return p <= MOST_REMAINDERS ? { p: Number(p), q } : undefined
}

function leastMultiple(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b]
  while (y !== 0n) [x, y] = [y, x % y]
  return (a / x) * b
}

/** A number without its sign, written out without an exponent. */
function decimalOf(value: number): { whole: string; fraction: string } {
  const [mantissa = '', exponent = '0'] = String(Math.abs(value)).split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  const point = whole.length + Number(exponent)
  const digits = '0'.repeat(Math.max(0, 1 - point)) + whole + fraction
  const place = Math.max(1, point)
  const padded = digits.padEnd(place, '0')
  return { whole: padded.slice(0, place).replace(/^0+(?=\d)/, ''), fraction: padded.slice(place).replace(/0+$/, '') }
}

class NumberReader {
  private readonly limits: NumberLimits
  private readonly bounds: { positive: Bound[] | undefined; negative: Bound[] | undefined }
  private readonly p: number
  private readonly q: number
  private readonly isFree: boolean
  private readonly budget: Budget

  constructor(limits: NumberLimits, budget: Budget) {
    this.budget = budget
    const { least, most, multipleOf } = limits
    this.limits = limits
    this.isFree = !least && !most && multipleOf === undefined
    const { p, q } = multipleOf ?? { p: 1, q: -1 }
    this.p = p
    this.q = q
    this.bounds = { positive: boundsOf(least, most), negative: boundsOf(negated(most), negated(least)) }
  }

  table(): Rule | undefined {
    const start: Reading = {
      phase: 'start',
      isNegative: false,
      count: 0,
      digits: 0,
      isZero: true,
      compared: [],
      remainder: 0,
    }
    return tableOf(
      start,
      '0123456789-.eE+',
      {
        read: (reading, letter) => this.read(reading, letter),
        areAlike: (reading) => this.areDigitsAlike(reading),
        isEnd: (reading) => this.isEnd(reading),
      },
      this.budget,
    )
  }

  /** Do all digits from 1 on lead to the same? Those of a power, and those that are neither compared nor divided any more. */
  private areDigitsAlike({ phase, compared }: Reading): boolean {
    if (phase === 'exponent' || phase === 'sign' || phase === 'power') return true
    if (phase === 'start' || phase === 'minus') return false
    return this.p === 1 && compared.every((found) => found !== 0)
  }

  private read(reading: Reading, letter: string): Reading | undefined {
    const { phase } = reading
    if (letter === '-' && phase === 'start') return this.begin('minus', true, reading)
    if (letter >= '0' && letter <= '9') {
      if (phase === 'start') {
        const begun = this.begin('minus', false, reading)
        return begun && this.digit({ ...begun, phase: 'whole' }, letter)
      }
      if (phase === 'exponent' || phase === 'sign') return { ...reading, phase: 'power', count: 1 }
      if (phase === 'power')
        return reading.count < MOST_POWER_DIGITS ? { ...reading, count: reading.count + 1 } : undefined
      const next = phase === 'minus' ? 'whole' : phase === 'point' ? 'fraction' : phase
      return this.digit({ ...reading, phase: next }, letter)
    }
    const isNumber = phase === 'whole' || phase === 'fraction'
    if (letter === '.' && phase === 'whole' && !this.limits.isInteger && this.q !== 0) {
      const compared = this.comparedWhole(reading)
      return this.isLost(reading.isNegative, compared) ? undefined : { ...reading, phase: 'point', count: 0, compared }
    }
    if (
      (letter === 'e' || letter === 'E') &&
      isNumber &&
      this.isFree &&
      !this.limits.isInteger &&
      !(reading.isZero && reading.isNegative)
    )
      return { ...reading, phase: 'exponent', count: 0, digits: 0, compared: [] }
    if ((letter === '+' || letter === '-') && phase === 'exponent') return { ...reading, phase: 'sign' }
    return undefined
  }

  private begin(phase: 'minus', isNegative: boolean, reading: Reading): Reading | undefined {
    const bounds = this.boundsFor(isNegative)
    return bounds && { ...reading, phase, isNegative, compared: bounds.map(() => 0) }
  }

  private boundsFor(isNegative: boolean): Bound[] | undefined {
    return isNegative ? this.bounds.negative : this.bounds.positive
  }

  private digit(reading: Reading, letter: string): Reading | undefined {
    const { phase, count } = reading
    const isWhole = phase === 'whole'
    if (isWhole && count === 1 && reading.isZero) return undefined
    if (!isWhole && this.q >= 0 && count >= this.q) return undefined
    const bounds = this.boundsFor(reading.isNegative) as Bound[]
    if (isWhole && bounds.some(({ whole, side }) => side < 0 && count >= whole.length)) return undefined
    const compared = bounds.map((bound, i) => {
      const other = (isWhole ? bound.whole : bound.fraction)[count] ?? (isWhole ? letter : '0')
      const before = reading.compared[i] as number
      return before !== 0 || letter === other ? before : letter < other ? -1 : 1
    })
    if (!isWhole && this.isLost(reading.isNegative, compared)) return undefined
    const follows = bounds.some(
      ({ whole, fraction }, i) => compared[i] === 0 && count < (isWhole ? whole : fraction).length,
    )
    const longest = Math.max(MOST_DIGITS, ...bounds.map(({ whole }) => whole.length))
    const isZeroAtEnd = isWhole && letter === '0' && count < longest
    if (reading.digits >= MOST_DIGITS && !follows && !isZeroAtEnd) return undefined
    // In a fraction whose comparisons are done, and which nothing divides, no place is like no other.
    const isSettled = !isWhole && this.q < 0 && compared.every((found) => found !== 0)
    return {
      ...reading,
      count: isSettled ? 0 : count + 1,
      digits: Math.min(reading.digits + 1, MOST_DIGITS),
      isZero: reading.isZero && letter === '0',
      compared,
      remainder: (reading.remainder * 10 + Number(letter)) % this.p,
    }
  }

  /** Is it on the wrong side of a bound, whatever follows of the fraction? */
  private isLost(isNegative: boolean, compared: readonly number[]): boolean {
    const bounds = this.boundsFor(isNegative) as Bound[]
    return bounds.some(({ side }, i) => compared[i] !== 0 && compared[i] !== side)
  }

  /** A number of more digits is larger. */
  private comparedWhole({ isNegative, compared, count }: Reading): number[] {
    return (this.boundsFor(isNegative) as Bound[]).map(({ whole }, i) =>
      count === whole.length ? (compared[i] as number) : Math.sign(count - whole.length),
    )
  }

  private isEnd(reading: Reading): boolean {
    const { phase, isNegative, isZero, count } = reading
    if (phase === 'power') return true
    if (phase !== 'whole' && phase !== 'fraction') return false
    if (isNegative && isZero) return false
    const compared = phase === 'whole' ? this.comparedWhole(reading) : reading.compared
    const places = phase === 'whole' ? 0 : count
    const isInside = (this.boundsFor(isNegative) as Bound[]).every(({ fraction, isExclusive, side }, i) => {
      const found = compared[i] === 0 && places < fraction.length ? -1 : (compared[i] as number)
      return found === 0 ? !isExclusive : found === side
    })
    if (!isInside) return false
    let { remainder } = reading
    for (let i = places; i < this.q; i++) remainder = (remainder * 10) % this.p
    return remainder === 0
  }
}

function negated(limit: Limit | undefined): Limit | undefined {
  return limit && { ...limit, value: -limit.value }
}

/** Bounds of numbers from 0 on; undefined if there are none of those. */
function boundsOf(least: Limit | undefined, most: Limit | undefined): Bound[] | undefined {
  if (most && (most.value < 0 || (most.value === 0 && most.isExclusive))) return undefined
  const bounds: Bound[] = []
  if (least && (least.value > 0 || (least.value === 0 && least.isExclusive)))
    bounds.push({ ...decimalOf(least.value), isExclusive: least.isExclusive, side: 1 })
  if (most) bounds.push({ ...decimalOf(most.value), isExclusive: most.isExclusive, side: -1 })
  return bounds
}

/** Doubles have at most 324 places before or behind the point, and there are two bounds. */
function keyOf({ phase, isNegative, count, digits, isZero, compared, remainder }: Reading): number {
  const side = compared.reduce((sum, found) => sum * 3 + found + 1, 0)
  const flags = (phases.indexOf(phase) * 2 + +isNegative) * 2 + +isZero
  return (((flags * 1024 + count) * 16 + digits) * 9 + side) * MOST_REMAINDERS + remainder
}

/** All readings that letters lead to, as a table without those from which no end is reached; undefined if there is no end. */
function tableOf(
  start: Reading,
  letters: string,
  {
    read,
    areAlike,
    isEnd,
  }: {
    read: (reading: Reading, letter: string) => Reading | undefined
    areAlike: (reading: Reading) => boolean
    isEnd: (reading: Reading) => boolean
  },
  budget: Budget,
): TableRule | undefined {
  const known = new Map<number, number>()
  const readings: Reading[] = []
  const numberOf = (reading: Reading): number => {
    const key = keyOf(reading)
    let state = known.get(key)
    if (state === undefined) {
      state = readings.push(reading) - 1
      known.set(key, state)
    }
    return state
  }
  numberOf(start)
  const rows: number[] = []
  for (let state = 0; state < readings.length; state++) {
    rows.push(-1)
    const isAlike = areAlike(readings[state] as Reading)
    for (const letter of letters) {
      if (isAlike && letter > '1' && letter <= '9') {
        rows.push(rows[rows.length - 1] as number)
        continue
      }
      budget.spend(WORK_OF_TRANSITION)
      const next = read(readings[state] as Reading, letter)
      rows.push(next ? numberOf(next) : -1)
    }
  }
  return TableRule.of(letters, rows, readings.map(isEnd))
}
