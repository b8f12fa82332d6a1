/**
 * A schema becomes rules: every set of schemas that holds at one place is a choice of parts, made once, however often it is
 * met; so references may go in circles. Then what no finite value can satisfy is left out.
 */
import { alternativesOf, type Members, notExclusive } from './alternatives.ts'
import { ArrayRule } from './array-rule.ts'
import { ChoiceRule } from './combined-rules.ts'
import { SchemaError } from './errors.ts'
import type { Member, Schema } from './keywords.ts'
import { LiteralRule } from './literal-rule.ts'
import { ObjectRule } from './object-rule.ts'
import { type Builder, type Choice, type Form, isPartPossible, mostElements, type Part } from './parts.ts'
import type { Rule } from './rule.ts'
import { partsOf } from './values.ts'

const MOST_CHOICES = 5000
const MOST_PAIRS = 2000

export class SchemaBuilder implements Builder {
  readonly form: Form
  readonly members: Members
  private readonly choices = new Map<string, Choice>()
  private readonly waiting: Choice[] = []
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
    if (!choice.isPossible) throw new SchemaError('', '', 'satisfied by some finite value', 'one that none satisfies')
    for (const { rule, parts, isPossible } of this.choices.values()) if (isPossible) rule.rules = rulesOf(parts)
    return choice.rule
  }

  choiceOf(all: readonly (Member | undefined | null)[]): Choice {
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
        throw new SchemaError(members[0]?.place ?? '', '', `made of at most ${MOST_CHOICES} different schemas`, 'more')
      choice = { members, parts: [], isPossible: false, rule: new ChoiceRule() }
      this.choices.set(key, choice)
      if (!isNever) this.waiting.push(choice)
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
    for (let choice = this.waiting.pop(); choice; choice = this.waiting.pop()) {
      const alternatives = alternativesOf(choice.members, this.members, (member, parts) => {
        this.exclusive.set(member, parts)
      })
      choice.parts = alternatives.flatMap((members) => partsOf(members, this))
    }
    for (let isChanged = true; isChanged; ) {
      isChanged = false
      // What is made last is mostly part of what was made before.
      for (const choice of [...this.choices.values()].reverse())
        if (!choice.isPossible && choice.parts.some(isPartPossible)) {
          choice.isPossible = true
          isChanged = true
        }
    }
  }

  /** oneOf is held where it is the same as anyOf: no value satisfies two of its schemas. */
  private checkExclusive(): void {
    const exact = new SchemaBuilder(this.members, 'any')
    let pairs = 0
    for (const [member, parts] of this.exclusive) {
      const around = this.members.without(member, ['oneOf'])
      for (const [i, a] of parts.entries())
        for (const b of parts.slice(i + 1)) {
          if (++pairs > MOST_PAIRS)
            throw new SchemaError(member.place, 'oneOf', `of at most ${MOST_PAIRS} pairs`, 'more')
          if (exact.isPossible([around, a, b])) throw notExclusive(member)
        }
    }
  }
}

function rulesOf(parts: readonly Part[]): Rule[] {
  const possible = parts.filter(isPartPossible)
  const texts = possible.flatMap((part) => (part.kind === 'literals' ? part.texts : []))
  const rules = possible.flatMap((part) => (part.kind === 'literals' ? [] : [ruleOf(part)]))
  const encoder = new TextEncoder()
  if (texts.length > 0) rules.push(new LiteralRule(texts.map((text) => encoder.encode(text))))
  return [...new Set(rules)]
}

function ruleOf(part: Exclude<Part, { kind: 'literals' }>): Rule {
  if (part.kind === 'leaf') return part.rule
  if (part.kind === 'array') {
    const most = mostElements(part)
    const first = part.first.slice(0, most).map(({ rule }) => rule)
    return new ArrayRule({ first, rest: part.rest?.isPossible ? part.rest.rule : undefined, least: part.least, most })
  }
  const possible = part.properties.filter(({ value }) => value.isPossible)
  return new ObjectRule({
    properties: possible.map(({ name, value, isRequired }) => ({ name, value: value.rule, isRequired })),
    others: part.others.flatMap(({ name, value }) => (value.isPossible ? [{ name, value: value.rule }] : [])),
    least: part.least,
    most: part.most,
    isInOrder: part.isInOrder,
  })
}
