/** What the values of a schema are made of, before it is a rule: one part for each type that they can have. */
import type { Members } from './alternatives.ts'
import type { Member } from './keywords.ts'
import type { Characters } from './pattern-automaton.ts'
import type { Rule } from './rule.ts'

/**
 * 'canonical': as a model had best write: properties in the order of the schema, none but those named where the schema does
 * not say, and of the type that a schema without one speaks of. 'any': all that the schema allows.
 */
export type Form = 'canonical' | 'any'

/** Makes choices of schemas. */
export interface Builder {
  readonly form: Form
  readonly members: Members
  /** Of schemas that hold at once; undefined is true, and null false. Its parts come later. */
  choiceOf(all: readonly (Member | undefined | null)[]): Choice
}

/** All values of schemas that hold at once. Others refer to it before it is known whether there are any. */
export interface Choice {
  readonly members: readonly Member[]
  parts: Part[]
  /** Is there a value at all, of finite length? */
  isPossible: boolean
  readonly rule: Rule & { rules: readonly Rule[] }
}

export type Part =
  | { kind: 'leaf'; rule: Rule }
  /** JSON texts. */
  | { kind: 'literals'; texts: string[] }
  | { kind: 'array'; first: Choice[]; rest: Choice | undefined; least: number; most: number }
  | {
      kind: 'object'
      properties: { name: string; value: Choice; isRequired: boolean }[]
      /** Names are without their quotes. */
      others: { name: Characters; value: Choice }[]
      least: number
      most: number
      isInOrder: boolean
    }

/** Can all that a part needs be had? */
export function isPartPossible(part: Part): boolean {
  if (part.kind === 'object') return isObjectPossible(part)
  if (part.kind === 'array') return mostElements(part) >= part.least
  return part.kind === 'leaf' || part.texts.length > 0
}

function isObjectPossible({ properties, others, least, most }: Part & { kind: 'object' }): boolean {
  const required = properties.filter(({ isRequired }) => isRequired)
  const isFilled = least === 0 || [...properties, ...others].some(({ value }) => value.isPossible)
  return isFilled && least <= most && required.length <= most && required.every(({ value }) => value.isPossible)
}

/** Elements up to the first that there is no value for. */
export function mostElements({ first, rest, most }: Part & { kind: 'array' }): number {
  const missing = first.findIndex(({ isPossible }) => !isPossible)
  if (missing >= 0) return Math.min(missing, most)
  return rest?.isPossible ? most : Math.min(first.length, most)
}

/** How many parts of its own a part has. */
export function placesOf(part: Part): number {
  if (part.kind === 'object') return 1 + part.properties.length + part.others.length
  if (part.kind === 'array') return 1 + part.first.length
  return part.kind === 'leaf' ? 1 : 1 + part.texts.length
}
