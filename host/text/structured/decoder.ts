/**
 * Bytes of UTF-8, or of the inside of a JSON string, into classes of characters. State 0 stands between characters; the
 * others are inside of one. Branches under which all is the same are shared: an alphabet of one class has about ten states.
 */
import type { Budget } from './budget.ts'
import type { Alphabet } from './character-sets.ts'
import type { Groups } from './rule.ts'

/** What an entry of the table says beside a state (≥ 0): nothing (-1), or the class c of a whole character (-2 - c). */
export const NOTHING = -1
export const classEntry = (found: number): number => (found < 0 ? NOTHING : -2 - found)

/** Steps of a budget for a row of 256 entries. */
const WORK_OF_ROW = 800

export type Writing = 'plain' | 'json'

export class Decoder {
  /** Entries by state and byte. */
  readonly table: Int32Array // (states, 256)
  readonly states: number
  /** Classes of the characters that a state can become. */
  readonly reach: readonly (readonly number[])[]
  private readonly alphabet: Alphabet
  private readonly budget: Budget
  private readonly rows: Int32Array[] = []
  /** Of tails under which all is of one class. */
  private readonly known = new Map<string, number>()
  private readonly byHash = new Map<number, number[]>()
  private readonly bytes: number[][] = []

  constructor(alphabet: Alphabet, writing: Writing, budget: Budget) {
    this.budget = budget
    this.alphabet = alphabet
    const root = this.utf8()
    if (writing === 'json') {
      root.fill(NOTHING, 0, 0x20)
      root[0x22] = NOTHING
      root[0x5c] = this.escape()
    }
    this.rows.unshift(root)
    // Rows were numbered from 0 on, before the root took that number.
    this.table = new Int32Array(this.rows.length * 256)
    this.rows.forEach((row, state) => {
      this.table.set(
        row.map((entry) => (entry >= 0 ? entry + 1 : entry)),
        state * 256,
      )
    })
    this.states = this.rows.length
    this.reach = this.findReach()
  }

  /** Those that lead on from a state. */
  bytesOf(state: number): readonly number[] {
    const known = this.bytes[state]
    if (known) return known
    const bytes: number[] = []
    for (let byte = 0; byte < 256; byte++) if (this.table[state * 256 + byte] !== NOTHING) bytes.push(byte)
    this.bytes[state] = bytes
    return bytes
  }

  /** Those of one group lead to the same from a state; `alone` is one of its own. */
  groupsOf(state: number, alone?: number): Groups {
    const known = new Map<number, number>()
    const of = new Uint8Array(256)
    for (let byte = 0, group = 0, last: number | undefined; byte < 256; byte++) {
      const entry = byte === alone ? Number.NaN : (this.table[state * 256 + byte] as number)
      // Most bytes lead where the one before them does.
      if (entry !== last) {
        group = known.get(entry) ?? known.size
        known.set(entry, group)
        last = entry
      }
      of[byte] = group
    }
    return { count: known.size, of }
  }

  private utf8(): Int32Array {
    const row = new Int32Array(256).fill(NOTHING)
    for (let byte = 0; byte < 0x80; byte++) row[byte] = classEntry(this.alphabet.classOf(byte))
    for (let byte = 0xc2; byte < 0xe0; byte++) row[byte] = this.tail((byte & 0x1f) << 6, 1, 0x80)
    for (let byte = 0xe0; byte < 0xf0; byte++) row[byte] = this.tail((byte & 0x0f) << 12, 2, 0x800)
    for (let byte = 0xf0; byte < 0xf5; byte++) row[byte] = this.tail((byte & 0x07) << 18, 3, 0x10000)
    return row
  }

  /** A state before `count` more bytes of six bits, which are added to a character; those below `least` are none. */
  private tail(character: number, count: number, least: number): number {
    const size = 64 ** count
    const isWhole = character >= least && character + size - 1 <= 0x10ffff
    const found = isWhole ? this.alphabet.classOfRange(character, character + size - 1) : undefined
    if (found === -1 || character > 0x10ffff || character + size <= least) return NOTHING
    const key = found === undefined ? undefined : `${found}*${count}`
    const known = key === undefined ? undefined : this.known.get(key)
    if (known !== undefined) return known
    const row = new Int32Array(256).fill(NOTHING)
    for (let low = 0; low < 64; low++) {
      const next = character + low * 64 ** (count - 1)
      row[0x80 + low] =
        count > 1
          ? this.tail(next, count - 1, least)
          : classEntry(next >= least && next <= 0x10ffff ? this.alphabet.classOf(next) : -1)
    }
    const state = this.add(row)
    if (key !== undefined) this.known.set(key, state)
    return state
  }

  /**
   * Behind a backslash. Where any character will do, it may be written in every way that JSON has, pairs included; else
   * only as JSON.stringify writes it: control characters, quotes and backslashes.
   */
  private escape(): number {
    const { alphabet } = this
    const isAny = alphabet.size === 1
    const row = new Int32Array(256).fill(NOTHING)
    for (const [letter, character] of Object.entries({
      '"': '"',
      '\\': '\\',
      b: '\b',
      f: '\f',
      n: '\n',
      r: '\r',
      t: '\t',
    }))
      row[letter.charCodeAt(0)] = classEntry(alphabet.classOf(character.charCodeAt(0)))
    if (isAny) row[0x2f] = classEntry(0)
    row[0x75] = isAny
      ? this.anyUnit()
      : this.hex(
          '0',
          this.hex(
            '0',
            this.hex('01', (high) => this.control(high)),
          ),
        )
    return this.add(row)
  }

  private control(high: number): number {
    return this.hex('0123456789abcdefABCDEF', (low) => classEntry(this.alphabet.classOf(high * 16 + low)))
  }

  /** Four digits of any character, or of both halves of a pair. */
  private anyUnit(): number {
    const digits = '0123456789abcdefABCDEF'
    const one = this.hex(digits, classEntry(0))
    const two = this.hex(digits, one)
    const three = this.hex(digits, two)
    const lowHalf = this.hex('dD', this.hex('cdefCDEF', two))
    const second = this.add(rowOf({ '\\': this.add(rowOf({ u: lowHalf })) }))
    const firstHalf = this.hex(digits, this.hex(digits, second))
    const afterD = this.add(
      rowOf(Object.fromEntries([...'01234567', ...'89abAB'].map((digit, i) => [digit, i < 8 ? two : firstHalf]))),
    )
    return this.add(
      rowOf(Object.fromEntries([...digits].map((digit) => [digit, 'dD'.includes(digit) ? afterD : three]))),
    )
  }

  private hex(digits: string, next: number | ((digit: number) => number)): number {
    return this.add(
      rowOf(
        Object.fromEntries(
          [...digits].map((digit) => [digit, typeof next === 'number' ? next : next(Number.parseInt(digit, 16))]),
        ),
      ),
    )
  }

  /** The state of a row; the same one for the same row. */
  private add(row: Int32Array): number {
    this.budget.spend(WORK_OF_ROW)
    let hash = 0
    for (let byte = 0; byte < 256; byte++) hash = (Math.imul(hash, 31) + (row[byte] as number) - NOTHING) | 0
    const alike = this.byHash.get(hash) ?? []
    const known = alike.find((state) => areEqual(this.rows[state] as Int32Array, row))
    if (known !== undefined) return known
    if (hash === 0 && areEqual(row, EMPTY)) return NOTHING
    const state = this.rows.push(row) - 1
    this.byHash.set(hash, [...alike, state])
    return state
  }

  private findReach(): number[][] {
    const found: (number[] | undefined)[] = []
    const reachOf = (state: number): number[] => {
      const known = found[state]
      if (known) return known
      const classes = new Set<number>()
      for (let byte = 0; byte < 256; byte++) {
        const entry = this.table[state * 256 + byte] as number
        if (entry >= 0) {
          const reached = reachOf(entry)
          this.budget.spend(reached.length)
          for (const c of reached) classes.add(c)
        } else if (entry !== NOTHING) classes.add(-2 - entry)
      }
      found[state] = [...classes]
      return found[state]
    }
    for (let state = 0; state < this.states; state++) reachOf(state)
    return found as number[][]
  }
}

const EMPTY = new Int32Array(256).fill(NOTHING)

function areEqual(a: Int32Array, b: Int32Array): boolean {
  for (let byte = 0; byte < 256; byte++) if (a[byte] !== b[byte]) return false
  return true
}

function rowOf(entries: Record<string, number>): Int32Array {
  const row = new Int32Array(256).fill(NOTHING)
  for (const [letter, entry] of Object.entries(entries)) row[letter.charCodeAt(0)] = entry
  return row
}
