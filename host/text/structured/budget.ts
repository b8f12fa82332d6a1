/**
 * How much work a schema may be: steps are counted where they are made, in the innermost loops, and beyond a number of them the
 * schema is refused. So a compilation, which nothing else can interrupt, has an end, and on every machine the same one.
 */
import { SchemaError, Words } from './errors.ts'

/**
 * A step is a transition that is followed, an entry of a table, a step of a pattern that is looked at; what takes longer counts
 * as several. They are 15 to 40 ns each on a core of a server, so that all of them are some 200 ms there.
 */
export const MOST_WORK = 5_000_000

export class Budget {
  /** What is worked at: a JSON pointer. */
  place = ''
  private readonly keyword: string
  private steps = 0
  private readonly names = new Set<string>()
  private readonly paid = new WeakSet<object>()

  /** `keyword`: what is named when it is too much. */
  constructor(keyword = '') {
    this.keyword = keyword
  }

  get spent(): number {
    return this.steps
  }

  /** Throws SchemaError when all is spent. */
  spend(steps: number): void {
    this.steps += steps
    if (this.steps > MOST_WORK)
      throw new SchemaError(
        this.place,
        this.keyword,
        `compiled in at most ${MOST_WORK} steps of work`,
        new Words('more'),
      )
  }

  /** For what is done once, by its name. */
  spendOnce(name: string, steps: number): void {
    if (!this.names.has(name)) this.spend(steps)
    this.names.add(name)
  }

  /**
   * What was made before is taken from there, and costs what it cost then, once for each budget: what is refused does not
   * depend on what came before.
   */
  shared<Value>(recent: Recent<Value>, key: string, make: () => Value): Value {
    const known = recent.get(key)
    if (known) {
      if (!this.paid.has(known)) this.spend(known.steps)
      this.paid.add(known)
      return known.value
    }
    const before = this.steps
    this.spend(key.length)
    const value = make()
    this.paid.add(recent.set(key, value, this.steps - before))
    return value
  }
}

interface Entry<Value> {
  readonly value: Value
  /** Of the work that it was; they bound its memory too (a few bytes each). */
  readonly steps: number
}

/** What was asked for last: so many, and of no more work than that of two of the largest schemas. */
export class Recent<Value> {
  private readonly entries = new Map<string, Entry<Value>>()
  private readonly most: number
  private steps = 0

  constructor(most: number) {
    this.most = most
  }

  get(key: string): Entry<Value> | undefined {
    const entry = this.entries.get(key)
    if (entry) {
      this.entries.delete(key)
      this.entries.set(key, entry)
    }
    return entry
  }

  /** Drops the oldest where there are too many. */
  set(key: string, value: Value, steps: number): Entry<Value> {
    const entry = { value, steps }
    this.entries.set(key, entry)
    this.steps += steps
    for (const [oldest, dropped] of this.entries) {
      if (this.entries.size <= this.most && this.steps <= 2 * MOST_WORK) break
      this.entries.delete(oldest)
      this.steps -= dropped.steps
    }
    return entry
  }
}
