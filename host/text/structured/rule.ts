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
  /** All bytes that can follow are among these; absent: any may. */
  bytes?(state: number): readonly number[]
  /** Bytes in groups: those of one lead to the same state. The same object for most states; absent: each is one. */
  groups?(state: number): Groups
  /** How many characters of a slice (see slices.ts) can follow, whichever they are; absent: none is promised. */
  room?(state: number, slice: number): number
  /** How many characters of a slice can follow at most; absent: it is not known. Only where no text of a slice ends the rule. */
  reach?(state: number, slice: number): number
  /** Between two characters of a text in which only their number counts; undefined or absent elsewhere. */
  counted?(state: number): Counted | undefined
  /** States of one key allow the same tokens, if no token has more than LONGEST_TOKEN bytes; absent: the state itself. */
  maskKey?(state: number): number
}

export interface Groups {
  readonly count: number
  /** By byte. */
  readonly of: Uint8Array // (256)
}

/** The same place in a text without bounds, and how many characters must and may follow. */
export interface Counted {
  readonly free: Rule
  /** Its state between two characters. */
  readonly between: number
  readonly least: number
  readonly most: number
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
  private readonly codes: readonly number[]
  private readonly letters: Groups
  private readonly count: number
  private readonly rows: Int32Array // (states, count)
  private readonly ends: readonly boolean[]

  private constructor(letters: string, rows: Int32Array, ends: readonly boolean[]) {
    this.codes = Array.from(letters, (letter) => letter.charCodeAt(0))
    this.codes.forEach((code, i) => {
      this.classes[code] = i + 1
    })
    this.count = letters.length + 1
    this.letters = { count: this.count, of: this.classes }
    this.rows = rows
    this.ends = ends
  }

  /**
   * `rows` (states, letters + 1): each begins with a -1, for bytes that are no letter; the start is state 0. What leads to no
   * end is cut; undefined if that is all.
   */
  static of(letters: string, rows: readonly number[], ends: readonly boolean[]): TableRule | undefined {
    const count = letters.length + 1
    const distances = new Reverse(rows, count).distancesTo(ends)
    const isAlive = (state: number) => Number.isFinite(distances[state])
    if (!isAlive(0)) return undefined
    return new TableRule(
      letters,
      Int32Array.from(rows, (to) => (to >= 0 && isAlive(to) ? to : -1)),
      ends,
    )
  }

  next(state: number, byte: number): number {
    return this.rows[state * this.count + (this.classes[byte] as number)] as number
  }

  isEnd(state: number): boolean {
    return this.ends[state] as boolean
  }

  bytes(): readonly number[] {
    return this.codes
  }

  groups(): Groups {
    return this.letters
  }

  isFinal(state: number): boolean {
    const from = state * this.count
    return this.isEnd(state) && this.rows.subarray(from, from + this.count).every((to) => to < 0)
  }
}

/** Of a table (states, width): which entries lead to each state. */
export class Reverse {
  private readonly width: number
  private readonly starts: Uint32Array // (states + 1)
  /** Places of the table. */
  private readonly entries: Uint32Array

  /** Entries below 0 lead nowhere. */
  constructor(rows: ArrayLike<number>, width: number) {
    this.width = width
    const ends = new Uint32Array(rows.length / width + 1)
    for (let i = 0; i < rows.length; i++) {
      const to = rows[i] as number
      if (to >= 0) ends[to] = (ends[to] as number) + 1
    }
    for (let state = 1; state < ends.length; state++)
      ends[state] = (ends[state] as number) + (ends[state - 1] as number)
    this.entries = new Uint32Array(ends[ends.length - 1] as number)
    // Filled from the end of each part to its start.
    for (let i = 0; i < rows.length; i++) {
      const to = rows[i] as number
      if (to < 0) continue
      ends[to] = (ends[to] as number) - 1
      this.entries[ends[to] as number] = i
    }
    this.starts = ends
  }

  /** By state: the most steps that can follow, by some columns; infinite where they go in circles. */
  longest(isUsed: (column: number) => boolean): Float64Array {
    const { width, starts, entries } = this
    const used = Array.from({ length: width }, (_, column) => isUsed(column))
    const open = new Uint32Array(starts.length - 1)
    for (const entry of entries) {
      const state = Math.floor(entry / width)
      if (used[entry % width]) open[state] = (open[state] as number) + 1
    }
    const longest = new Float64Array(open.length)
    const waiting: number[] = []
    open.forEach((count, state) => {
      if (count === 0) waiting.push(state)
    })
    for (let state = waiting.pop(); state !== undefined; state = waiting.pop())
      for (const entry of entries.subarray(starts[state], starts[state + 1])) {
        if (!used[entry % width]) continue
        const before = Math.floor(entry / width)
        longest[before] = Math.max(longest[before] as number, (longest[state] as number) + 1)
        open[before] = (open[before] as number) - 1
        if (open[before] === 0) waiting.push(before)
      }
    return longest.map((steps, state) => (open[state] === 0 ? steps : Number.POSITIVE_INFINITY))
  }

  /** By state: the most of the numbers of those that can be reached, itself among them. */
  mostOf(numbers: Float64Array): Float64Array {
    const { width, starts, entries } = this
    const most = new Float64Array(numbers.length).fill(-1)
    const order = Array.from(numbers.keys()).sort((a, b) => (numbers[b] as number) - (numbers[a] as number))
    for (const first of order) {
      const waiting = most[first] === -1 ? [first] : []
      for (let state = waiting.pop(); state !== undefined; state = waiting.pop()) {
        if (most[state] !== -1) continue
        most[state] = numbers[first] as number
        for (const entry of entries.subarray(starts[state], starts[state + 1])) waiting.push(Math.floor(entry / width))
      }
    }
    return most
  }

  /** By state: steps to the next of some states; infinite where none is reached. `isUsed`: by column. */
  distancesTo(targets: readonly boolean[], isUsed: (column: number) => boolean = () => true): Float64Array {
    const { width, starts, entries } = this
    const used = Array.from({ length: width }, (_, column) => isUsed(column))
    const found = Float64Array.from(targets, (isTarget) => (isTarget ? 0 : Number.POSITIVE_INFINITY))
    let reached = targets.flatMap((isTarget, state) => (isTarget ? [state] : []))
    for (let distance = 1; reached.length > 0; distance++) {
      const next: number[] = []
      for (const state of reached)
        for (const entry of entries.subarray(starts[state], starts[state + 1])) {
          const before = Math.floor(entry / width)
          if (!used[entry % width] || found[before] !== Number.POSITIVE_INFINITY) continue
          found[before] = distance
          next.push(before)
        }
      reached = next
    }
    return found
  }
}
