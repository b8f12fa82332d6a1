/**
 * A schema becomes rules: every set of schemas that holds at one place is a choice of parts, made once, however often it is
 * met; so references may go in circles. Then what no finite value can satisfy is left out.
 */
import { alternativesOf, type Members, notExclusive, WORK_OF_MEMBER } from './alternatives.ts'
import { ArrayRule } from './array-rule.ts'
import type { Budget } from './budget.ts'
import { ChoiceRule } from './combined-rules.ts'
import { SchemaError, Words } from './errors.ts'
import type { Member, Schema } from './keywords.ts'
import { LiteralRule } from './literal-rule.ts'
import { ObjectRule } from './object-rule.ts'
import { type Builder, type Choice, type Form, isPartPossible, mostElements, type Part, placesOf } from './parts.ts'
import type { Rule } from './rule.ts'
import { anyString, anyText, TextRule } from './text-rule.ts'
import { partsOf } from './values.ts'

const MOST_CHOICES = 5000
const MOST_PAIRS = 2000

export class SchemaBuilder implements Builder {
  readonly form: Form
  readonly members: Members
  private readonly choices = new Map<string, Choice>()
  private readonly waiting: Choice[] = []
  /** Made since it was last found out which are possible. */
  private fresh: Choice[] = []
  private readonly exclusive = new Map<Member, readonly Member[]>()

  constructor(members: Members, form: Form) {
    this.members = members
    this.form = form
  }

  /** The rule of a schema. Throws SchemaError. */
  build(schema: Schema): Rule {
    const choice = this.choiceOf([this.members.of(schema, '')])
    this.finish()
    this.checkExclusive()
    if (!choice.isPossible)
      throw new SchemaError('', '', 'satisfied by some finite value', new Words('one that none satisfies'))
    for (const { members, rule, parts, isPossible } of this.choices.values()) {
      this.members.budget.place = members[0]?.place ?? ''
      if (isPossible) rule.rules = rulesOf(parts, this.members.budget)
    }
    return choice.rule
  }

  choiceOf(all: readonly (Member | undefined | null)[]): Choice {
    this.members.budget.spend(WORK_OF_MEMBER * (1 + all.length))
    const isNever = all.includes(null)
    const members = isNever ? [] : [...new Set(all.filter((member) => member !== undefined && member !== null))]
    const key = isNever
      ? 'never'
      : members
          .map(({ id }) => id)
          .sort((a, b) => a - b)
          .join()
    let choice = this.choices.get(key)
    if (!choice) {
      if (this.choices.size >= MOST_CHOICES)
        throw new SchemaError(
          members[0]?.place ?? '',
          '',
          `made of at most ${MOST_CHOICES} different schemas`,
          new Words('more'),
        )
      choice = { members, parts: [], isPossible: false, rule: new ChoiceRule() }
      this.choices.set(key, choice)
      if (!isNever) {
        this.waiting.push(choice)
        this.fresh.push(choice)
      }
    }
    return choice
  }

  /** Are there values that satisfy all of these? */
  isPossible(members: readonly Member[]): boolean {
    const choice = this.choiceOf(members)
    this.finish()
    return choice.isPossible
  }

  private finish(): void {
    const { budget } = this.members
    for (let choice = this.waiting.pop(); choice; choice = this.waiting.pop()) {
      budget.place = choice.members[0]?.place ?? ''
      const alternatives = alternativesOf(choice.members, this.members, (member, parts) => {
        this.exclusive.set(member, parts)
      })
      choice.parts = alternatives.flatMap((members) => partsOf(members, this))
    }
    // What is made last is mostly part of what was made before. Older ones are made of older ones: nothing changes for them.
    let open = this.fresh.reverse()
    this.fresh = []
    for (let before = -1; before !== open.length; ) {
      before = open.length
      open = open.filter((choice) => {
        budget.spend(choice.parts.reduce((sum, part) => sum + placesOf(part), 1))
        choice.isPossible = choice.parts.some(isPartPossible)
        return !choice.isPossible
      })
    }
  }

  /** oneOf is held where it is the same as anyOf: no value satisfies two of its schemas. */
  private checkExclusive(): void {
    const exact = new SchemaBuilder(this.members, 'any')
    let pairs = 0
    for (const [member, parts] of this.exclusive) {
      pairs += (parts.length * (parts.length - 1)) / 2
      if (pairs > MOST_PAIRS)
        throw new SchemaError(member.place, 'oneOf', `of at most ${MOST_PAIRS} pairs`, new Words('more'))
      const around = this.members.without(member, ['oneOf'])
      const constants = parts.map((part) => constantsOf(part, this.members.budget))
      for (const [i, a] of parts.entries())
        for (let j = i + 1; j < parts.length; j++) {
          if (areToldApart(constants[i], constants[j], this.members.budget)) continue
          if (exact.isPossible([around, a, parts[j] as Member])) throw notExclusive(member)
        }
    }
  }
}

/** Texts that required properties of an object must be, by name; undefined where other values are possible too. */
function constantsOf({ schema }: Member, budget: Budget): Map<string, string> | undefined {
  if (schema.type !== 'object') return undefined
  const constants = new Map<string, string>()
  const properties = (schema.properties ?? {}) as Readonly<Record<string, Schema>>
  const required = (schema.required ?? []) as string[]
  budget.spend(WORK_OF_MEMBER * (1 + required.length))
  for (const name of required) {
    const value = Object.hasOwn(properties, name) ? (properties[name] as { const?: unknown }).const : undefined
    if (typeof value === 'string') constants.set(name, value)
  }
  return constants
}

/** Does a property that both require tell two objects apart? Else it is not known. */
function areToldApart(a: Map<string, string> | undefined, b: Map<string, string> | undefined, budget: Budget): boolean {
  if (!a || !b) return false
  budget.spend(WORK_OF_MEMBER * (1 + a.size))
  for (const [name, text] of a) if (b.has(name) && b.get(name) !== text) return true
  return false
}

function rulesOf(parts: readonly Part[], budget: Budget): Rule[] {
  for (const part of parts) budget.spend(WORK_OF_MEMBER * placesOf(part))
  const possible = parts.filter(isPartPossible)
  const texts = possible.flatMap((part) => (part.kind === 'literals' ? part.texts : []))
  const rules = possible.flatMap((part) => (part.kind === 'literals' ? [] : [ruleOf(part, budget)]))
  const encoder = new TextEncoder()
  if (texts.length > 0)
    rules.push(
      new LiteralRule(
        texts.map((text) => encoder.encode(text)),
        budget,
      ),
    )
  return [...new Set(rules)]
}

function ruleOf(part: Exclude<Part, { kind: 'literals' }>, budget: Budget): Rule {
  if (part.kind === 'leaf') return part.rule
  if (part.kind === 'array') {
    const most = mostElements(part)
    const first = part.first.slice(0, most).map(({ rule }) => rule)
    return new ArrayRule({ first, rest: part.rest?.isPossible ? part.rest.rule : undefined, least: part.least, most })
  }
  const possible = part.properties.filter(({ value }) => value.isPossible)
  return new ObjectRule(
    {
      properties: possible.map(({ name, value, isRequired }) => ({ name, value: value.rule, isRequired })),
      others: part.others
        .filter(({ value }) => value.isPossible)
        .map(({ name, value }) => ({
          name: name === anyText ? anyString : new TextRule(name, 'json', budget),
          value: value.rule,
        })),
      least: part.least,
      most: part.most,
      isInOrder: part.isInOrder,
    },
    budget,
  )
}
