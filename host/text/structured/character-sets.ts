import type { Budget } from './budget.ts'

/** Sets of characters (Unicode scalar values: no halves of pairs), as ranges in rising order that do not touch. */
export type CharacterSet = readonly (readonly [from: number, to: number])[]

export const ALL: CharacterSet = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
]

/** Any ranges, in order and without halves of pairs. */
export function setOf(ranges: Iterable<readonly [number, number]>): CharacterSet {
  const found: [number, number][] = []
  for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = found.at(-1)
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to)
    else found.push([from, to])
  }
  return found.flatMap(([from, to]) =>
    ALL.flatMap(([low, high]): [number, number][] =>
      from <= high && to >= low ? [[Math.max(from, low), Math.min(to, high)]] : [],
    ),
  )
}

export function complement(set: CharacterSet): CharacterSet {
  const found: [number, number][] = []
  let next = 0
  for (const [from, to] of set) {
    if (from > next) found.push([next, from - 1])
    next = to + 1
  }
  if (next <= 0x10ffff) found.push([next, 0x10ffff])
  return setOf(found)
}

/** Steps of a budget for each range of a set. */
export const WORK_OF_RANGE = 15

/** Characters divided into classes: those of a class are in the same sets. */
export class Alphabet {
  readonly size: number
  /** By class: which of the sets it is in. */
  readonly members: readonly ReadonlySet<number>[]
  private readonly starts: Int32Array
  private readonly classes: Int32Array

  constructor(sets: readonly CharacterSet[], budget: Budget) {
    budget.spend(sets.reduce((sum, set) => sum + WORK_OF_RANGE * set.length, WORK_OF_RANGE))
    const starts = [
      ...new Set([0, 0xd800, 0xe000, 0x110000, ...sets.flat().flatMap(([from, to]) => [from, to + 1])]),
    ].sort((a, b) => a - b)
    const inside: number[][] = starts.map(() => [])
    sets.forEach((set, index) => {
      let place = 0
      for (const [from, to] of set) {
        while ((starts[place] as number) < from) place++
        const first = place
        for (; (starts[place] as number) <= to; place++) (inside[place] as number[]).push(index)
        budget.spend(4 * (place - first))
      }
    })
    const known = new Map<string, number>()
    const members: Set<number>[] = []
    this.starts = Int32Array.from(starts)
    this.classes = Int32Array.from(starts, (start, place) => {
      if ((start >= 0xd800 && start < 0xe000) || start > 0x10ffff) return -1
      const key = (inside[place] as number[]).join()
      let found = known.get(key)
      if (found === undefined) {
        found = members.push(new Set(inside[place])) - 1
        known.set(key, found)
      }
      return found
    })
    this.members = members
    this.size = members.length
  }

  /** The characters of each class. */
  sets(): CharacterSet[] {
    const ranges = Array.from({ length: this.size }, (): [number, number][] => [])
    this.classes.forEach((found, place) => {
      if (found >= 0) ranges[found]?.push([this.starts[place] as number, (this.starts[place + 1] as number) - 1])
    })
    return ranges.map(setOf)
  }

  /** Class of a character; -1 for what is none. */
  classOf(character: number): number {
    return this.classes[this.placeOf(character)] as number
  }

  /** The class of all characters from one to another; undefined if they have several. */
  classOfRange(from: number, to: number): number | undefined {
    const last = this.placeOf(to)
    const found = this.classes[last]
    for (let place = this.placeOf(from); place < last; place++) if (this.classes[place] !== found) return undefined
    return found
  }

  /** All classes that have some character of a set. */
  classesOf(set: CharacterSet): number[] {
    const found = new Set<number>()
    for (const [from, to] of set)
      for (let place = this.placeOf(from); place <= this.placeOf(to); place++) found.add(this.classes[place] as number)
    found.delete(-1)
    return [...found]
  }

  private placeOf(character: number): number {
    let low = 0
    let high = this.starts.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((this.starts[middle] as number) <= character) low = middle
      else high = middle
    }
    return low
  }
}
