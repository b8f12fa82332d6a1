/** The values that satisfy some schemas at once, by type: see parts.ts. */
import { WORK_OF_MEMBER } from './alternatives.ts'
import type { Budget } from './budget.ts'
import { isAccepted } from './characters.ts'
import { SchemaError } from './errors.ts'
import { keywordsOfType, type Member, placeBelow, type Schema } from './keywords.ts'
import { type Divisor, divisorOf, type Limit, MOST_REMAINDERS, numberRule } from './number-rule.ts'
import { objectPart } from './object-values.ts'
import type { Builder, Form, Part } from './parts.ts'
import type { Rule } from './rule.ts'
import { charactersOf, stringRule, valuesOf } from './text-values.ts'

const allTypes = ['null', 'boolean', 'number', 'string', 'array', 'object']

export function partsOf(members: readonly Member[], builder: Builder): Part[] {
  const { budget } = builder.members
  budget.spend(5 * WORK_OF_MEMBER * members.length)
  const enumerated = members.filter(({ schema }) => 'enum' in schema || 'const' in schema)
  if (enumerated.length > 0) return enumeratedParts(enumerated, members, builder)
  return [...typesOf(members, builder.form)].flatMap((type) => partOf(type, members, builder) ?? [])
}

/** Types that all schemas allow; 'integer' instead of 'number' where only those. */
function typesOf(members: readonly Member[], form: Form): Set<string> {
  const said = members.flatMap(({ schema }) => (schema.type === undefined ? [] : [[schema.type].flat() as string[]]))
  let types = allTypes.filter((type) =>
    said.every((names) => names.includes(type) || (type === 'number' && names.includes('integer'))),
  )
  if (said.length === 0 && form === 'canonical') {
    const spokenOf = types.filter((type) =>
      members.some(({ schema }) => keywordsOfType[type]?.some((keyword) => keyword in schema)),
    )
    if (spokenOf.length > 0) types = spokenOf
  }
  const isInteger = said.some((names) => names.includes('integer') && !names.includes('number'))
  return new Set(types.map((type) => (type === 'number' && isInteger ? 'integer' : type)))
}

function partOf(type: string, members: readonly Member[], builder: Builder): Part | undefined {
  switch (type) {
    case 'null':
      return { kind: 'literals', texts: ['null'] }
    case 'boolean':
      return { kind: 'literals', texts: ['true', 'false'] }
    case 'string':
      return leaf(stringRule(members, builder.members.budget))
    case 'array':
      return arrayPart(members, builder)
    case 'object':
      return objectPart(members, builder)
    default:
      return leaf(numberRuleOf(members, type === 'integer', builder.members.budget))
  }
}

function leaf(rule: Rule | undefined): Part | undefined {
  return rule && { kind: 'leaf', rule }
}

/** `only`: no other number than this. */
function numberRuleOf(members: readonly Member[], isInteger: boolean, budget: Budget, only?: number): Rule | undefined {
  budget.spend(4 * WORK_OF_MEMBER * members.length)
  const limits = (inclusive: string, exclusive: string): Limit[] => [
    ...valuesOf<number>(members, inclusive).map((value) => ({ value, isExclusive: false })),
    ...valuesOf<number>(members, exclusive).map((value) => ({ value, isExclusive: true })),
    ...(only === undefined ? [] : [{ value: only, isExclusive: false }]),
  ]
  // Of two limits at one number, the exclusive one holds.
  const [least] = limits('minimum', 'exclusiveMinimum').sort(
    (a, b) => b.value - a.value || +b.isExclusive - +a.isExclusive,
  )
  const [most] = limits('maximum', 'exclusiveMaximum').sort(
    (a, b) => a.value - b.value || +b.isExclusive - +a.isExclusive,
  )
  return numberRule({ isInteger, least, most, multipleOf: multipleOf(members) }, budget)
}

function multipleOf(members: readonly Member[]): Divisor | undefined {
  const found = members.filter(({ schema }) => schema.multipleOf !== undefined)
  const [first] = found
  if (!first) return undefined
  const divisor = divisorOf(valuesOf<number>(found, 'multipleOf'))
  if (divisor) return divisor
  const expected = `a number of at most ${MOST_REMAINDERS} units of its last place, such as 0.25 or 60, together with others that hold too`
  throw new SchemaError(first.place, 'multipleOf', expected, first.schema.multipleOf)
}

function arrayPart(members: readonly Member[], builder: Builder): Part | undefined {
  const least = Math.max(0, ...valuesOf<number>(members, 'minItems'))
  const most = Math.min(Number.POSITIVE_INFINITY, ...valuesOf<number>(members, 'maxItems'))
  if (least > most) return undefined
  const firstOf = ({ schema }: Member) => (schema.prefixItems ?? []) as Schema[]
  const length = Math.max(0, ...members.map((member) => firstOf(member).length))
  const schemaAt = (member: Member, i: number) => {
    const { schema, place } = member
    const own = firstOf(member)[i]
    if (own !== undefined) return builder.members.of(own, placeBelow(place, 'prefixItems', i))
    return schema.items === undefined
      ? undefined
      : builder.members.of(schema.items as Schema, placeBelow(place, 'items'))
  }
  const choiceAt = (i: number) => {
    builder.members.budget.spend(WORK_OF_MEMBER * members.length)
    return builder.choiceOf(members.map((member) => schemaAt(member, i)))
  }
  const first = Array.from({ length: Math.min(length, most) }, (_, i) => choiceAt(i))
  // In canonical form a tuple has no more elements than are named.
  const isOpen = builder.form === 'any' || length === 0 || members.some(({ schema }) => schema.items !== undefined)
  return {
    kind: 'array',
    first,
    rest: most > length && (isOpen || least > length) ? choiceAt(length) : undefined,
    least,
    most,
  }
}

const combining = ['$ref', 'allOf', 'anyOf', 'oneOf']

/** Values that are listed, as far as they satisfy what else is said. */
function enumeratedParts(enumerated: readonly Member[], all: readonly Member[], builder: Builder): Part[] {
  const { members } = builder
  const { budget } = members
  const lists = enumerated.flatMap(({ schema }) => [
    ...('enum' in schema ? [schema.enum as unknown[]] : []),
    ...('const' in schema ? [[schema.const]] : []),
  ])
  const [first = new Map<string, unknown>(), ...others] = lists.map(
    (list) => new Map(list.map((value) => [sortedText(value, budget), value])),
  )
  budget.spend(first.size * lists.length)
  const values = [...first].flatMap(([text, value]) => (others.every((list) => list.has(text)) ? [value] : []))
  const rest = all.map((member) => members.without(member, ['enum', 'const', ...combining]))
  const types = typesOf(rest, 'any')
  const fits = scalarTest(rest, budget)
  const parts: Part[] = [
    { kind: 'literals', texts: values.filter((value) => fits(value, types)).map((value) => JSON.stringify(value)) },
  ]
  for (const value of values)
    if (typeof value === 'object' && value !== null)
      parts.push(...partsOf([members.ofValue(value, rest[0] as Member), ...rest], builder))
  return parts
}

/** Does a value that has no parts satisfy all schemas? */
function scalarTest(
  members: readonly Member[],
  budget: Budget,
): (value: unknown, types: ReadonlySet<string>) => boolean {
  const characters = charactersOf(members, budget)
  const isBounded = members.some(({ schema }) => keywordsOfType.number?.some((keyword) => keyword in schema))
  return (value, types) => {
    budget.spend(typeof value === 'string' ? value.length : 1)
    if (value === null) return types.has('null')
    if (typeof value === 'boolean') return types.has('boolean')
    if (typeof value === 'string')
      return types.has('string') && characters !== undefined && isAccepted(characters, value, budget)
    if (typeof value !== 'number') return false
    const isType = types.has('number') || (types.has('integer') && Number.isInteger(value))
    return isType && (!isBounded || numberRuleOf(members, false, budget, value) !== undefined)
  }
}

/** JSON whose names are in order: the same for values that are equal. */
function sortedText(value: unknown, budget: Budget): string {
  budget.spend(10 + (typeof value === 'string' ? value.length : 0))
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map((part) => sortedText(part, budget))}]`
  const record = value as Record<string, unknown>
  return `{${Object.keys(record)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${sortedText(record[name], budget)}`)}}`
}
