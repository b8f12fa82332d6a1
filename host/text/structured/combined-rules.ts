/** Rules made of others: one of several, or one after the other. */
import type { Call, Rule } from './rule.ts'

/** Any of several rules; they are given once all are made, as they can be parts of each other. */
export class ChoiceRule implements Rule {
  readonly start = 0
  private choices: readonly Call[] = []

  set rules(rules: readonly Rule[]) {
    this.choices = rules.map((rule) => ({ rule, back: 1 }))
  }

  next(): number {
    return -1
  }

  bytes(): readonly number[] {
    return []
  }

  isEnd(state: number): boolean {
    return state === 1
  }

  isFinal(state: number): boolean {
    return state === 1
  }

  calls(state: number): readonly Call[] {
    return state === 0 ? this.choices : []
  }
}

/** Rules one after the other. */
export class SequenceRule implements Rule {
  readonly start = 0
  private readonly parts: readonly Call[]

  constructor(rules: readonly Rule[]) {
    this.parts = rules.map((rule, i) => ({ rule, back: i + 1 }))
  }

  next(): number {
    return -1
  }

  bytes(): readonly number[] {
    return []
  }

  isEnd(state: number): boolean {
    return state === this.parts.length
  }

  isFinal(state: number): boolean {
    return state === this.parts.length
  }

  calls(state: number): readonly Call[] {
    const part = this.parts[state]
    return part ? [part] : []
  }
}
