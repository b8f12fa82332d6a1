/**
 * A rule is an automaton over bytes: states are whole numbers, a byte leads from one to at most one other. Where something
 * nested may begin, a state calls another rule and says in which state it goes on behind it. Rules may call each other in
 * circles: a grammar is a recursive transition network, and machine.ts runs it with a stack.
 *
 * Promise of every rule: from each state that `next` and `calls` lead to, some text leads on to an end. A mask made of such
 * rules never runs into a state out of which nothing leads.
 */
export interface Rule {
  readonly start: number
  /** The state behind a byte, or -1. */
  next(state: number, byte: number): number
  /** Can it be over here? */
  isEnd(state: number): boolean
  /** Is it over, and can no byte follow that is its own? */
  isFinal(state: number): boolean
  /** What may begin here; absent in leaves. */
  calls?(state: number): readonly Call[]
  /** How many characters of a slice (see slices.ts) can follow, whichever they are; absent: none is promised. */
  room?(state: number, slice: number): number
  /** Can no more than its room follow? Else other texts of those characters may be longer. */
  isCounted?: boolean
  /** States of one key allow the same tokens, if no token has more than LONGEST_TOKEN bytes; absent: the state itself. */
  maskKey?(state: number): number
}

export interface Call {
  readonly rule: Rule
  /** The caller's state when the called rule is over. */
  readonly back: number
}

/** Tokens of more bytes are never allowed: a vocabulary's few longer ones are runs of spaces or noise. */
export const LONGEST_TOKEN = 128

/** What is compiled, ready for any tokenizer. Only grammars of this folder's functions are one. */
export class Grammar {
  readonly rule: Rule

  /** @internal */
  constructor(rule: Rule) {
    this.rule = rule
  }
}

/** A table over some letters: the states behind each of them, all others lead nowhere. */
export class TableRule implements Rule {
  readonly start = 0
  /** By byte: 0 for no letter, else its place + 1. */
  private readonly classes = new Uint8Array(256)
  private readonly count: number
  private readonly rows: Int32Array // (states, count)
  private readonly ends: readonly boolean[]

  private constructor(letters: string, rows: Int32Array, ends: readonly boolean[]) {
    for (let i = 0; i < letters.length; i++) this.classes[letters.charCodeAt(i)] = i + 1
    this.count = letters.length + 1
    this.rows = rows
    this.ends = ends
  }

  /**
   * `rows` (states, letters + 1): each begins with a -1, for bytes that are no letter; the start is state 0. What leads to no
   * end is cut; undefined if that is all.
   */
  static of(letters: string, rows: readonly number[], ends: readonly boolean[]): TableRule | undefined {
    const count = letters.length + 1
    const before = ends.map((): number[] => [])
    rows.forEach((to, place) => {
      if (to >= 0) (before[to] as number[]).push(Math.floor(place / count))
    })
    const isAlive = reachedBy(
      before,
      ends.flatMap((isEnd, state) => (isEnd ? [state] : [])),
    )
    if (!isAlive[0]) return undefined
    return new TableRule(
      letters,
      Int32Array.from(rows, (to) => (to >= 0 && isAlive[to] ? to : -1)),
      ends,
    )
  }

  next(state: number, byte: number): number {
    return this.rows[state * this.count + (this.classes[byte] as number)] as number
  }

  isEnd(state: number): boolean {
    return this.ends[state] as boolean
  }

  isFinal(state: number): boolean {
    const from = state * this.count
    return this.isEnd(state) && this.rows.subarray(from, from + this.count).every((to) => to < 0)
  }
}

/** All states from which some of `to` are reached, by what stands directly before each. */
export function reachedBy(before: readonly (readonly number[])[], to: readonly number[]): Uint8Array {
  const found = new Uint8Array(before.length)
  const waiting = [...to]
  for (let state = waiting.pop(); state !== undefined; state = waiting.pop()) {
    if (found[state]) continue
    found[state] = 1
    for (const other of before[state] as number[]) waiting.push(other)
  }
  return found
}
