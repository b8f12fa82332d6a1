/** Objects that satisfy some schemas at once. */
import { alternativesOf, WORK_OF_MEMBER } from './alternatives.ts'
import type { Budget } from './budget.ts'
import { type Part as CharacterPart, CountedCharacters, combine, isAccepted, someOf } from './characters.ts'
import { SchemaError, Words } from './errors.ts'
import { type Member, placeBelow, type Schema, type SchemaObject } from './keywords.ts'
import type { Builder, Choice, Part } from './parts.ts'
import type { Characters } from './pattern-automaton.ts'
import { anyText } from './text-rule.ts'
import { charactersOf, inPlace, searchOf, valuesOf } from './text-values.ts'

/** Names by pattern; each set of patterns that fit together is a kind of name of its own. */
const MOST_PATTERNS = 4

interface NamePattern {
  member: Member
  pattern: string
  /** undefined: no name fits. */
  characters: Characters | undefined
}

export function objectPart(members: readonly Member[], builder: Builder): Part {
  const patterns = members.flatMap((member) => patternsOf(member, builder.members.budget))
  const listed = new Set(valuesOf<SchemaObject>(members, 'properties').flatMap(Object.keys))
  const required = new Set(valuesOf<string[]>(members, 'required').flat())
  const names = [...new Set([...listed, ...required])]
  const { budget } = builder.members
  budget.spend(WORK_OF_MEMBER * names.length)
  const limits = nameLimits(members, builder)
  const properties = names.map((name) => ({
    name,
    value: limits?.every((characters) => isAccepted(characters, name, budget))
      ? namedChoice(name, members, patterns, builder)
      : builder.choiceOf([null]),
    isRequired: required.has(name),
  }))
  return {
    kind: 'object',
    properties,
    others: limits ? othersOf({ names, limits, patterns, isListed: listed.size > 0 }, members, builder) : [],
    least: Math.max(0, ...valuesOf<number>(members, 'minProperties')),
    most: Math.min(Number.POSITIVE_INFINITY, ...valuesOf<number>(members, 'maxProperties')),
    isInOrder: builder.form === 'canonical',
  }
}

function patternsOf(member: Member, budget: Budget): NamePattern[] {
  return Object.keys((member.schema.patternProperties ?? {}) as SchemaObject).map((pattern) => ({
    member,
    pattern,
    characters: inPlace(member, 'patternProperties', () => searchOf(pattern, budget)),
  }))
}

/** What every schema says of a property by its name, by patterns, or else of additional ones. */
function namedChoice(
  name: string,
  members: readonly Member[],
  patterns: readonly NamePattern[],
  builder: Builder,
): Choice {
  const { budget } = builder.members
  const fitting = patterns.filter(({ characters }) => characters && isAccepted(characters, name, budget))
  budget.spend(members.length * (WORK_OF_MEMBER + fitting.length + name.length))
  return builder.choiceOf(
    members.flatMap((member) => {
      const { schema, place } = member
      const own = schema.properties as SchemaObject | undefined
      const said =
        own && Object.hasOwn(own, name)
          ? [builder.members.of(own[name] as Schema, placeBelow(place, 'properties', name))]
          : []
      said.push(...fitting.filter((pattern) => pattern.member === member).map((pattern) => byPattern(pattern, builder)))
      return said.length > 0 ? said : [additional(member, builder)]
    }),
  )
}

function byPattern({ member, pattern }: NamePattern, builder: Builder): Member | undefined | null {
  const schemas = member.schema.patternProperties as Record<string, Schema>
  return builder.members.of(schemas[pattern] as Schema, placeBelow(member.place, 'patternProperties', pattern))
}

function additional({ schema, place }: Member, builder: Builder): Member | undefined | null {
  const said = schema.additionalProperties as Schema | undefined
  return said === undefined ? undefined : builder.members.of(said, placeBelow(place, 'additionalProperties'))
}

/** What is known of the names of an object. */
interface Names {
  /** Those that schemas name. */
  names: readonly string[]
  isListed: boolean
  /** All names satisfy these. */
  limits: readonly Characters[]
  patterns: readonly NamePattern[]
}

/** What propertyNames says; undefined: there is no name. */
function nameLimits(members: readonly Member[], builder: Builder): Characters[] | undefined {
  const limits: Characters[] = []
  for (const { schema, place } of members) {
    if (schema.propertyNames === undefined) continue
    const inner = builder.members.of(schema.propertyNames as Schema, placeBelow(place, 'propertyNames'))
    const characters = inner ? nameCharacters(inner, builder) : inner
    if (characters === undefined && inner === undefined) continue
    if (!characters) return undefined
    limits.push(characters)
  }
  return limits
}

/** Strings that satisfy a schema. */
function nameCharacters(member: Member, builder: Builder): Characters | undefined {
  const wrong = () =>
    new SchemaError(
      member.place,
      '',
      'a schema of one string, without alternatives, as names of properties',
      new Words('others'),
    )
  const [all, ...others] = alternativesOf([member], builder.members, () => {
    throw wrong()
  })
  if (others.length > 0) throw wrong()
  if (!all?.every(({ schema }) => schema.type === undefined || [schema.type].flat().includes('string')))
    return undefined
  const { budget } = builder.members
  const characters = charactersOf(all, budget)
  const lists = [...valuesOf<unknown[]>(all, 'enum'), ...valuesOf<unknown>(all, 'const').map((value) => [value])]
  const [first, ...rest] = lists
  if (!first || !characters) return characters
  budget.spend(rest.reduce((sum, list) => sum + first.length * list.length, first.length))
  const names = first.filter(
    (name): name is string =>
      typeof name === 'string' && rest.every((list) => list.includes(name)) && isAccepted(characters, name, budget),
  )
  return names.length > 0 ? someOf(names, budget) : undefined
}

/** Properties that are not named: one kind for each set of patterns that their names can fit. */
function othersOf(known: Names, members: readonly Member[], builder: Builder): { name: Characters; value: Choice }[] {
  const { isListed, patterns } = known
  if (patterns.length > MOST_PATTERNS) {
    const { place } = (patterns[MOST_PATTERNS] as NamePattern).member
    const expected = `of at most ${MOST_PATTERNS} patterns that hold at once`
    throw new SchemaError(place, 'patternProperties', expected, patterns.length)
  }
  const isSaid = members.some(({ schema }) => schema.additionalProperties !== undefined)
  // In canonical form, an object whose properties are listed has no others unless it says so.
  const isOpen = builder.form === 'any' || isSaid || (!isListed && patterns.length === 0)
  const kinds: { name: Characters; value: Choice }[] = []
  for (let set = 0; set < 2 ** patterns.length; set++) {
    if (set === 0 && !isOpen) continue
    const fitting = patterns.filter((_, i) => (set >> i) & 1)
    const value = builder.choiceOf(
      members.flatMap((member) => {
        const own = fitting.filter((pattern) => pattern.member === member)
        return own.length > 0 ? own.map((pattern) => byPattern(pattern, builder)) : [additional(member, builder)]
      }),
    )
    const name = nameOf(known, fitting, members[0], builder.members.budget)
    if (name) kinds.push({ name, value })
  }
  return kinds
}

/** Names that are none of some, and fit some patterns and not the others; undefined if there are none. */
function nameOf(
  { names, limits, patterns }: Names,
  fitting: readonly NamePattern[],
  member: Member | undefined,
  budget: Budget,
): Characters | undefined {
  const parts: CharacterPart[] = limits.map((characters) => ({ characters }))
  if (names.length > 0) parts.push({ characters: someOf(names, budget), isNegated: true })
  for (const pattern of patterns) {
    const isNegated = !fitting.includes(pattern)
    if (pattern.characters) parts.push({ characters: pattern.characters, isNegated })
    else if (!isNegated) return undefined
  }
  if (parts.length === 0 || !member) return anyText
  parts.push({ characters: new CountedCharacters(0, Number.POSITIVE_INFINITY) })
  const all = inPlace(member, 'additionalProperties' in member.schema ? 'additionalProperties' : 'properties', () =>
    combine(parts, budget),
  )
  return all
}
