/** Automata over characters: texts of some length, and what several automata accept together, or one but not another. */
import { Budget } from './budget.ts'
import { ALL, Alphabet } from './character-sets.ts'
import { PatternError } from './errors.ts'
import { type Characters, TableCharacters } from './pattern-automaton.ts'
import { LONGEST_TOKEN } from './rule.ts'

/** No text of a generation has as many characters. */
const MANY = 2 ** 24

const MOST_STATES = 20_000
/** Steps of a budget for each automaton that a class of characters is given to. */
const WORK_OF_PART = 6
/** And for making one. */
const WORK_OF_AUTOMATON = 1000

/** One class of all characters. */
const anyCharacter = new Alphabet([ALL], new Budget())

/** All texts whose length in characters lies between two numbers. */
export class CountedCharacters implements Characters {
  readonly alphabet = anyCharacter
  readonly start = 0
  private readonly least: number
  private readonly most: number

  constructor(least: number, most: number) {
    this.least = least
    this.most = most > MANY ? Number.POSITIVE_INFINITY : most
  }

  next(state: number): number {
    // What has enough, and no limit, need not be counted on.
    if (state >= this.most) return -1
    return this.most === Number.POSITIVE_INFINITY && state >= this.least ? state : state + 1
  }

  accepts(state: number): boolean {
    return state >= this.least
  }

  room(state: number): number {
    return this.most - state
  }

  /** Characters that must follow, and that may. */
  left(state: number): { least: number; most: number } {
    return { least: Math.max(0, this.least - state), most: this.most - state }
  }

  key(state: number): number {
    const side = LONGEST_TOKEN + 2
    const needed = Math.min(Math.max(this.least - state, 0), side - 1)
    return needed * side + Math.min(this.most - state, side - 1)
  }
}

/** Texts of an automaton that have at most so many characters: counted along with it, not written out. */
export class LimitedCharacters implements Characters {
  readonly alphabet: Alphabet
  readonly start: number
  private readonly inner: TableCharacters
  private readonly most: number
  /** Characters that an end is away, at least, from each state of `inner`; the most of them; and the most of those behind each. */
  private readonly distances: Float64Array
  private readonly farthest: number
  private behind: Float64Array | undefined

  private constructor(inner: TableCharacters, most: number, distances: Float64Array) {
    this.inner = inner
    this.most = most
    this.alphabet = inner.alphabet
    this.start = inner.start
    this.distances = distances
    this.farthest = Math.max(...distances.filter(Number.isFinite))
  }

  /** undefined: all texts are longer. */
  static of(inner: TableCharacters, most: number, budget: Budget): LimitedCharacters | undefined {
    budget.spend(inner.rows.length)
    const distances = inner.distances()
    return (distances[inner.start] as number) <= most
      ? new LimitedCharacters(inner, Math.min(most, MANY), distances)
      : undefined
  }

  /** A state is that of the automaton, and how many characters it took. */
  next(state: number, characterClass: number): number {
    const { size } = this
    const count = Math.floor(state / size) + 1
    const next = this.inner.next(state % size, characterClass)
    return next >= 0 && count + (this.distances[next] as number) <= this.most ? count * size + next : -1
  }

  accepts(state: number): boolean {
    return this.inner.accepts(state % this.size)
  }

  room(state: number, slice: number): number {
    this.behind ??= this.inner.mostBehind(this.distances)
    const inner = state % this.size
    const left = this.most - Math.floor(state / this.size) - (this.behind[inner] as number)
    return Math.max(0, Math.min(left, this.inner.room(inner, slice)))
  }

  reach(state: number, slice: number): number {
    return Math.min(this.most - Math.floor(state / this.size), this.inner.reach(state % this.size, slice))
  }

  key(state: number): number {
    const side = LONGEST_TOKEN + this.farthest + 2
    return (state % this.size) * side + Math.min(this.most - Math.floor(state / this.size), side - 1)
  }

  private get size(): number {
    return this.inner.ends.length
  }
}

/** One automaton of a combination; of a negated one, what it does not accept counts. */
export interface Part {
  characters: Characters
  isNegated?: boolean
}

/** Texts that all parts accept; undefined if there are none. Throws PatternError for what is too large. */
export function combine(parts: readonly Part[], budget: Budget): TableCharacters | undefined {
  const [only] = parts
  if (parts.length === 1 && only?.characters instanceof TableCharacters && !only.isNegated) return only.characters
  const alphabet = new Alphabet(
    parts.flatMap(({ characters }) => characters.alphabet.sets()),
    budget,
  )
  // By class of the new alphabet: the class in each part.
  budget.spend(WORK_OF_AUTOMATON + alphabet.size * parts.length)
  const classes = alphabet.sets().map(([range]) => {
    const [character] = range as readonly [number, number]
    return parts.map(({ characters }) => characters.alphabet.classOf(character))
  })
  const known = new Map<string, number>()
  const states: number[][] = []
  const stateOf = (tuple: number[]): number => {
    const key = tuple.join()
    let state = known.get(key)
    if (state === undefined) {
      if (states.length >= MOST_STATES)
        throw new PatternError(
          `recognised by at most ${MOST_STATES} states, together with its length and other patterns`,
          'more',
        )
      state = states.push(tuple) - 1
      known.set(key, state)
    }
    return state
  }
  stateOf(parts.map(({ characters }) => characters.start))
  const rows: number[] = []
  for (let at = 0; at < states.length; at++)
    for (const found of classes) {
      budget.spend(WORK_OF_PART * parts.length)
      const tuple = parts.map(({ characters }, i) => {
        const from = (states[at] as number[])[i] as number
        return from < 0 ? -1 : characters.next(from, found[i] as number)
      })
      const isDead = parts.some(({ isNegated }, i) => !isNegated && (tuple[i] as number) < 0)
      rows.push(isDead ? -1 : stateOf(tuple))
    }
  const ends = states.map((tuple) =>
    parts.every(({ characters, isNegated }, i) => {
      const state = tuple[i] as number
      return (state >= 0 && characters.accepts(state)) !== Boolean(isNegated)
    }),
  )
  return TableCharacters.of(alphabet, Int32Array.from(rows), ends, budget)
}

/** Exactly these texts, of which there is one at least. */
export function someOf(texts: readonly string[], budget: Budget): Characters {
  const alphabet = new Alphabet([...new Set(texts.join(''))].map((character) => [[character.codePointAt(0), character.codePointAt(0)]] as [[number, number]]), budget) // biome-ignore format: one line
  const rows: number[] = []
  const ends: boolean[] = []
  const add = () => {
    budget.spend(alphabet.size)
    for (let i = 0; i < alphabet.size; i++) rows.push(-1)
    return ends.push(false) - 1
  }
  add()
  for (const text of texts) {
    let state = 0
    for (const character of text) {
      const place = state * alphabet.size + alphabet.classOf(character.codePointAt(0) as number)
      if (rows[place] === -1) rows[place] = add()
      state = rows[place] as number
    }
    ends[state] = true
  }
  return TableCharacters.of(alphabet, Int32Array.from(rows), ends, budget) as Characters
}

/** Does an automaton accept a text? */
export function isAccepted(characters: Characters, text: string, budget: Budget): boolean {
  budget.spend(2 * (text.length + 1))
  let state = characters.start
  for (const character of text) {
    const found = characters.alphabet.classOf(character.codePointAt(0) as number)
    state = found < 0 ? -1 : characters.next(state, found)
    if (state < 0) return false
  }
  return characters.accepts(state)
}
