/**
 * Objects of JSON: named properties, and others whose names fit a rule. In order: named ones as they are listed, then the
 * others; an optional one can be left out, a required one not be passed over. Or in any order. No named one comes twice.
 */
import type { Budget } from './budget.ts'
import { WORK_OF_NODE } from './literal-rule.ts'
import type { Call, Rule } from './rule.ts'
import { nextSpace } from './space.ts'

export interface ObjectParts {
  properties: readonly { name: string; value: Rule; isRequired: boolean }[]
  /** Names are JSON strings with their quotes, and none of the above. */
  others: readonly { name: Rule; value: Rule }[]
  least: number
  most: number
  isInOrder: boolean
}

/** `{":,}` and white space: all that stands outside of names and values. */
const BYTES = [0x7b, 0x22, 0x3a, 0x2c, 0x7d, 0x20, 0x09, 0x0a]

type Place = 'before' | 'open' | 'name' | 'colon' | 'value' | 'behind value' | 'behind comma' | 'closed'

/** Where it stands, but for `at`: few of these are met, in a name only one. */
interface Stage {
  place: Place
  space: number
  /** Named properties that cannot come any more. */
  passed: bigint
  /** Properties that count. */
  count: number
}

interface State extends Stage {
  /** Node of the names, number of a property, or that of the others behind them. */
  at: number
}

interface Names {
  next: Map<number, number>
  /** Properties whose names go on here. */
  below: bigint
  /** -1: a name does not end here. */
  property: number
}

export class ObjectRule implements Rule {
  readonly start: number
  private readonly parts: ObjectParts
  private readonly names: Names[] = [{ next: new Map(), below: 0n, property: -1 }]
  private readonly required: bigint
  /** A state is the number of its stage times this, and `at`. */
  private readonly stride: number
  /** With the named properties that may come, once that was asked. */
  private readonly stages: (Stage & { allowed?: bigint })[] = []
  private readonly known = new Map<string, number>()

  constructor(parts: ObjectParts, budget: Budget) {
    this.parts = parts
    // Sets of properties have a bit for each.
    const work = WORK_OF_NODE + Math.ceil(parts.properties.length / 32)
    for (const { name } of parts.properties) budget.spend(work * (3 + name.length))
    this.required = parts.properties.reduce(
      (set, { isRequired }, i) => (isRequired ? set | (1n << BigInt(i)) : set),
      0n,
    )
    parts.properties.forEach(({ name }, i) => {
      this.addName(name, i)
    })
    this.stride = Math.max(this.names.length, parts.properties.length + parts.others.length)
    this.start = this.stateOf({ place: 'before', space: 0, passed: 0n, count: 0, at: 0 })
  }

  next(state: number, byte: number): number {
    if (this.stageOf(state).place === 'name') return this.nextInName(state, byte)
    const found = this.step(this.read(state), byte)
    return found ? this.stateOf(found) : -1
  }

  bytes(state: number): readonly number[] {
    const { place, at } = this.read(state)
    return place === 'name' ? [...(this.names[at] as Names).next.keys()] : BYTES
  }

  isEnd(state: number): boolean {
    return this.stageOf(state).place === 'closed'
  }

  isFinal(state: number): boolean {
    return this.isEnd(state)
  }

  calls(number: number): readonly Call[] {
    const state = this.read(number)
    const { properties, others } = this.parts
    if (state.place === 'value') {
      const { value } = (properties[state.at] ?? others[state.at - properties.length]) as { value: Rule }
      return [{ rule: value, back: this.stateOf({ ...state, place: 'behind value', space: 0, at: 0 }) }]
    }
    if ((state.place !== 'open' && state.place !== 'behind comma') || !this.canHaveOthers(state)) return []
    return others.map(({ name }, i) => {
      const at = properties.length + i
      return { rule: name, back: this.stateOf({ ...this.pass(state, at), place: 'colon', space: 0, at }) }
    })
  }

  private step(state: State, byte: number): State | undefined {
    const { place } = state
    if (place === 'closed') return undefined
    if (place === 'before') return byte === 0x7b ? { ...state, place: 'open' } : undefined
    if (place === 'colon') return byte === 0x3a ? { ...state, place: 'value' } : undefined
    // Behind white space, nothing but the end can follow a value.
    const isSpaced = place !== 'behind value' || this.canClose(state)
    const space = isSpaced ? nextSpace(state.space, byte, place === 'value') : -1
    if (space >= 0) return { ...state, space }
    const isBetween = place === 'open' || place === 'behind comma'
    if (isBetween && byte === 0x22) {
      const name = this.nextInName(this.stateOf({ ...state, place: 'name', space: 0, at: 0 }), byte)
      return name < 0 ? undefined : this.read(name)
    }
    if (byte === 0x7d && (place === 'open' || place === 'behind value') && this.canClose(state))
      return { ...state, place: 'closed', space: 0, passed: 0n, count: 0, at: 0 }
    return byte === 0x2c && place === 'behind value' && state.space === 0 && this.canGoOn(state)
      ? { ...state, place: 'behind comma', space: 0 }
      : undefined
  }

  private nextInName(state: number, byte: number): number {
    const stage = this.stageOf(state)
    const at = this.names[state % this.stride]?.next.get(byte)
    if (at === undefined) return -1
    const { below, property } = this.names[at] as Names
    stage.allowed ??= this.allowed(stage)
    if ((below & stage.allowed) === 0n) return -1
    if (property < 0) return state - (state % this.stride) + at
    return this.stateOf({ ...this.pass(stage, property), place: 'colon', at: property })
  }

  /** Behind a property. */
  private pass(state: Stage, property: number): Stage {
    const { properties, isInOrder } = this.parts
    const index = BigInt(Math.min(property, properties.length))
    const isOther = property >= properties.length
    const passed = isInOrder
      ? (1n << (isOther ? index : index + 1n)) - 1n
      : isOther
        ? state.passed
        : state.passed | (1n << index)
    return { ...state, passed, count: this.isCounting ? state.count + 1 : 0 }
  }

  private get isCounting(): boolean {
    return this.parts.least > 0 || Number.isFinite(this.parts.most)
  }

  /** Named properties that may come. */
  private allowed(state: Stage): bigint {
    const left = ~state.passed & ((1n << BigInt(this.parts.properties.length)) - 1n)
    const missing = left & this.required
    // The last ones are kept for those that must come.
    if (this.isShort(state, missing)) return this.parts.isInOrder ? lowest(missing) : missing
    if (!this.parts.isInOrder || missing === 0n) return left
    // None behind the first one that is missing.
    return left & ((lowest(missing) << 1n) - 1n)
  }

  private canClose(state: Stage): boolean {
    return (this.required & ~state.passed) === 0n && state.count >= this.parts.least
  }

  private canHaveOthers(state: Stage): boolean {
    const { others, isInOrder } = this.parts
    const missing = this.required & ~state.passed
    return others.length > 0 && (!isInOrder || missing === 0n) && !this.isShort(state, missing)
  }

  /** Are there no more to come than must? */
  private isShort({ count }: Stage, missing: bigint): boolean {
    const { most } = this.parts
    return Number.isFinite(most) && count + countOf(missing) >= most
  }

  private canGoOn(state: Stage): boolean {
    return this.allowed(state) !== 0n || this.canHaveOthers(state)
  }

  private addName(name: string, property: number): void {
    let at = 0
    for (const byte of new TextEncoder().encode(JSON.stringify(name))) {
      const names = this.names[at] as Names
      names.below |= 1n << BigInt(property)
      let next = names.next.get(byte)
      if (next === undefined) {
        next = this.names.push({ next: new Map(), below: 0n, property: -1 }) - 1
        names.next.set(byte, next)
      }
      at = next
    }
    const last = this.names[at] as Names
    last.property = property
    last.below = 1n << BigInt(property)
  }

  private stageOf(state: number): Stage & { allowed?: bigint } {
    return this.stages[Math.floor(state / this.stride)] as Stage
  }

  private read(state: number): State {
    const { place, space, passed, count } = this.stageOf(state)
    return { place, space, passed, count, at: state % this.stride }
  }

  private stateOf({ place, space, passed, count, at }: State): number {
    const key = `${place},${space},${passed.toString(16)},${count}`
    let stage = this.known.get(key)
    if (stage === undefined) {
      stage = this.stages.push({ place, space, passed, count }) - 1
      this.known.set(key, stage)
    }
    return stage * this.stride + at
  }
}

function countOf(set: bigint): number {
  let count = 0
  for (let left = set; left !== 0n; left &= left - 1n) count++
  return count
}

function lowest(set: bigint): bigint {
  return set & -set
}
