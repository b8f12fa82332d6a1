/**
 * A pattern as a deterministic automaton over classes of characters: Thompson's construction, then sets of its states. No
 * backtracking: time is bounded by the limits here, whatever the pattern.
 */
import type { Budget } from './budget.ts'
import { Alphabet, type CharacterSet } from './character-sets.ts'
import { PatternError } from './errors.ts'
import type { Pattern } from './pattern-parser.ts'
import { Reverse } from './rule.ts'
import { slices } from './slices.ts'

/** Reads texts character by character. */
export interface Characters {
  readonly alphabet: Alphabet
  readonly start: number
  /** -1: a text that begins like this is no part. From every other state, an accepted one can be reached. */
  next(state: number, characterClass: number): number
  accepts(state: number): boolean
  /** As in rules. */
  room(state: number, slice: number): number
  /** As in rules. */
  reach?(state: number, slice: number): number
  /** States of one key allow the same for so many characters as a token has. */
  key(state: number): number
}

const MOST_STEPS = 20_000
const MOST_STATES = 5_000
/** Steps of a budget for each set of steps that is made. */
const WORK_OF_SET = 20

interface Step {
  /** Index of a set whose characters lead to `to`; -1: none. */
  set: number
  to: number
  /** Where it leads without a character. */
  free: number[]
  /** Those only at the start or the end of the text. */
  anchor: 'start' | 'end' | undefined
}

/** undefined: no text matches. Throws PatternError for what is too large. */
export function automatonOf(pattern: Pattern, budget: Budget): TableCharacters | undefined {
  const { steps, sets, start, end } = new Steps(pattern, budget)
  return new Determination(steps, new Alphabet(sets, budget), end, budget).run(start)
}

/** How many steps a pattern has, found before any is made. */
function sizeOf(pattern: Pattern): number {
  switch (pattern.kind) {
    case 'sequence':
    case 'choice':
      return pattern.parts.reduce((sum, part) => sum + sizeOf(part), 2)
    case 'repeat':
      return (
        sizeOf(pattern.part) *
          Math.max(1, pattern.most === Number.POSITIVE_INFINITY ? pattern.least + 1 : pattern.most) +
        2
      )
    default:
      return 2
  }
}

class Steps {
  readonly steps: Step[] = []
  readonly sets: CharacterSet[] = []
  readonly start: number
  readonly end: number
  private readonly places = new Map<CharacterSet, number>()
  private readonly byText = new Map<string, number>()

  constructor(pattern: Pattern, budget: Budget) {
    const size = sizeOf(pattern)
    if (size > MOST_STEPS)
      throw new PatternError(`at most ${MOST_STEPS} steps long when its repetitions are written out`, `${size} steps`)
    budget.spend(4 * size)
    this.end = this.add()
    this.start = this.build(pattern, this.end)
  }

  private add(step: Partial<Step> = {}): number {
    return this.steps.push({ set: -1, to: -1, free: [], anchor: undefined, ...step }) - 1
  }

  /** The step in which a pattern begins that goes on with `to`. */
  private build(pattern: Pattern, to: number): number {
    switch (pattern.kind) {
      case 'set':
        return this.add({ set: this.placeOf(pattern.set), to })
      case 'sequence':
        return pattern.parts.reduceRight((next, part) => this.build(part, next), to)
      case 'choice':
        return this.add({ free: pattern.parts.map((part) => this.build(part, to)) })
      case 'repeat':
        return this.repeat(pattern, to)
      default:
        return this.add({ free: [to], anchor: pattern.kind })
    }
  }

  private repeat({ part, least, most }: Pattern & { kind: 'repeat' }, to: number): number {
    let next = to
    if (most === Number.POSITIVE_INFINITY) {
      next = this.add()
      ;(this.steps[next] as Step).free = [this.build(part, next), to]
    } else for (let i = least; i < most; i++) next = this.add({ free: [this.build(part, next), to] })
    for (let i = 0; i < least; i++) next = this.build(part, next)
    return next
  }

  private placeOf(set: CharacterSet): number {
    const known = this.places.get(set)
    if (known !== undefined) return known
    // A letter that is written twice is two sets, which are equal.
    const text = set.join()
    const place = this.byText.get(text) ?? this.sets.push(set) - 1
    this.byText.set(text, place)
    this.places.set(set, place)
    return place
  }
}

class Determination {
  private readonly steps: readonly Step[]
  private readonly alphabet: Alphabet
  private readonly end: number
  private readonly seen: Uint32Array
  private readonly budget: Budget
  private round = 0

  constructor(steps: readonly Step[], alphabet: Alphabet, end: number, budget: Budget) {
    this.budget = budget
    this.steps = steps
    this.alphabet = alphabet
    this.end = end
    this.seen = new Uint32Array(steps.length)
  }

  run(start: number): TableCharacters | undefined {
    const { size } = this.alphabet
    const known = new Map<string, number>()
    const sets: number[][] = []
    const ends: boolean[] = []
    const stateOf = (steps: number[]): number => {
      const key = steps.join()
      let state = known.get(key)
      if (state === undefined) {
        if (sets.length >= MOST_STATES) throw new PatternError(`recognised by at most ${MOST_STATES} states`, 'more')
        state = sets.push(steps) - 1
        ends.push(this.closure(steps, 'end').includes(this.end))
        known.set(key, state)
      }
      return state
    }
    // No other state is the first one: where an empty text begins is its end too.
    sets.push(this.closure([start], 'start'))
    ends.push(this.closure([start], 'both').includes(this.end))
    const rows: number[] = []
    for (let state = 0; state < sets.length; state++)
      for (let c = 0; c < size; c++) {
        this.budget.spend(4 + (sets[state] as number[]).length)
        const to: number[] = []
        for (const step of sets[state] as number[]) {
          const { set, to: next } = this.steps[step] as Step
          if (set >= 0 && this.alphabet.members[c]?.has(set)) to.push(next)
        }
        rows.push(to.length === 0 ? -1 : stateOf(this.closure(to, undefined)))
      }
    return TableCharacters.of(this.alphabet, Int32Array.from(rows), ends, this.budget)
  }

  /** All that is reached without a character, in order; steps that lead on freely are left out. */
  private closure(from: readonly number[], at: 'start' | 'end' | 'both' | undefined): number[] {
    this.round++
    this.budget.spend(WORK_OF_SET)
    const waiting = [...from]
    const found: number[] = []
    for (let step = waiting.pop(); step !== undefined; step = waiting.pop()) {
      if (this.seen[step] === this.round) continue
      this.seen[step] = this.round
      this.budget.spend(4)
      const { free, anchor, set } = this.steps[step] as Step
      // An end that is not there yet can still come.
      if (set >= 0 || step === this.end || (anchor === 'end' && at !== 'end')) found.push(step)
      if (!anchor || anchor === at || at === 'both') waiting.push(...free)
    }
    return found.sort((a, b) => a - b)
  }
}

/** Texts of some classes alone, by state. */
interface Walks {
  readonly classes: readonly number[]
  /** Any of so many characters may come; and no more than so many, where that was asked. */
  readonly rooms: Float64Array
  reaches?: Float64Array
}

/** An automaton as a table. */
export class TableCharacters implements Characters {
  readonly alphabet: Alphabet
  readonly start = 0
  /** (states, classes) */
  readonly rows: Int32Array
  readonly ends: readonly boolean[]
  /** Found when they are asked for. */
  private readonly bySlice: Walks[] = []
  private readonly byClasses = new Map<string, Walks>()
  private reversed: Reverse | undefined

  private constructor(alphabet: Alphabet, rows: Int32Array, ends: readonly boolean[]) {
    this.alphabet = alphabet
    this.rows = rows
    this.ends = ends
  }

  /** Cuts what leads nowhere; undefined if nothing is accepted. */
  static of(
    alphabet: Alphabet,
    rows: Int32Array,
    ends: readonly boolean[],
    budget: Budget,
  ): TableCharacters | undefined {
    budget.spend(3 * rows.length)
    const distances = new Reverse(rows, alphabet.size).distancesTo(ends)
    const isAlive = (state: number) => Number.isFinite(distances[state])
    if (!isAlive(0)) return undefined
    const cut = rows.map((to) => (to >= 0 && isAlive(to) ? to : -1))
    return new TableCharacters(alphabet, cut, ends)
  }

  next(state: number, characterClass: number): number {
    return this.rows[state * this.alphabet.size + characterClass] as number
  }

  accepts(state: number): boolean {
    return this.ends[state] as boolean
  }

  room(state: number, slice: number): number {
    return this.walksOf(slice).rooms[state] as number
  }

  reach(state: number, slice: number): number {
    const walks = this.walksOf(slice)
    walks.reaches ??= this.reverse.longest((found) => walks.classes.includes(found))
    return walks.reaches[state] as number
  }

  private walksOf(slice: number): Walks {
    let walks = this.bySlice[slice]
    if (!walks) {
      // Slices that this alphabet does not tell apart have the same.
      const classes = this.alphabet.classesOf(slices[slice] as CharacterSet).sort((a, b) => a - b)
      const key = classes.join()
      walks = this.byClasses.get(key) ?? { classes, rooms: this.findRooms(classes) }
      this.byClasses.set(key, walks)
      this.bySlice[slice] = walks
    }
    return walks
  }

  /** By state: how far the next one is in which not all of these classes may come. */
  private findRooms(classes: readonly number[]): Float64Array {
    const isShut = this.ends.map((_, state) => classes.some((found) => this.next(state, found) < 0))
    return this.reverse.distancesTo(isShut, (found) => classes.includes(found))
  }

  private get reverse(): Reverse {
    this.reversed ??= new Reverse(this.rows, this.alphabet.size)
    return this.reversed
  }

  key(state: number): number {
    return state
  }

  /** By state: how many characters an end is away at least; infinite where there is none. */
  distances(): Float64Array {
    return this.reverse.distancesTo(this.ends)
  }

  /** By state: the most of some numbers of states that can be reached by one character or more; 0 where none can. */
  mostBehind(numbers: Float64Array): Float64Array {
    const most = this.reverse.mostOf(numbers)
    const { size } = this.alphabet
    return Float64Array.from(numbers, (_, state) =>
      this.rows
        .subarray(state * size, (state + 1) * size)
        .reduce((found, to) => (to < 0 ? found : Math.max(found, most[to] as number)), 0),
    )
  }
}
