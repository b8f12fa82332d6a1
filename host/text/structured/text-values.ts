/** Strings that satisfy some schemas at once. */
import { type Budget, Recent } from './budget.ts'
import { type Part as CharacterPart, CountedCharacters, combine, LimitedCharacters } from './characters.ts'
import { PatternError, SchemaError, Words } from './errors.ts'
import { formatOf } from './formats.ts'
import { keywordsOfType, type Member } from './keywords.ts'
import { automatonOf, type Characters, type TableCharacters } from './pattern-automaton.ts'
import { ANYTHING, parsePattern } from './pattern-parser.ts'
import type { Rule } from './rule.ts'
import { anyString, anyText, TextRule } from './text-rule.ts'

/** The values of a keyword in all schemas that have it. */
export function valuesOf<T>(members: readonly Member[], keyword: string): T[] {
  return members.flatMap(({ schema }) => (Object.hasOwn(schema, keyword) ? [schema[keyword] as T] : []))
}

/** Rules of strings that were asked for last, by what they say: with them, tokenizers keep their masks. */
const kept = new Recent<Rule | undefined>(200)

/** undefined: no string satisfies all. */
export function stringRule(members: readonly Member[], budget: Budget): Rule | undefined {
  const key = JSON.stringify(members.map(({ schema }) => keywordsOfType.string?.map((keyword) => schema[keyword])))
  budget.spend(key.length)
  return budget.shared(kept, key, () => {
    const characters = charactersOf(members, budget)
    return characters === anyText ? anyString : characters && new TextRule(characters, 'json', budget)
  })
}

/** Strings that satisfy all schemas; undefined if there are none. */
export function charactersOf(members: readonly Member[], budget: Budget): Characters | undefined {
  const least = Math.max(0, ...valuesOf<number>(members, 'minLength'))
  const most = Math.min(Number.POSITIVE_INFINITY, ...valuesOf<number>(members, 'maxLength'))
  const parts: CharacterPart[] = []
  for (const member of members)
    for (const keyword of ['pattern', 'format']) {
      const text = member.schema[keyword] as string | undefined
      if (text === undefined) continue
      const characters = inPlace(member, keyword, () =>
        keyword === 'format' ? formatOf(text) : searchOf(text, budget),
      )
      if (!characters) return undefined
      parts.push({ characters })
    }
  if (least > most) return undefined
  if (parts.length === 0)
    return least === 0 && most === Number.POSITIVE_INFINITY ? anyText : new CountedCharacters(least, most)
  if (least > 0) parts.push({ characters: new CountedCharacters(least, Number.POSITIVE_INFINITY) })
  const [first] = members.filter(({ schema }) => schema.pattern !== undefined || schema.format !== undefined)
  const all = inPlace(first as Member, 'pattern', () => combine(parts, budget))
  return all && (most === Number.POSITIVE_INFINITY ? all : LimitedCharacters.of(all, most, budget))
}

/** A pattern anywhere in a text. Where it says that the text begins or ends, nothing is around it. */
export function searchOf(pattern: string, budget: Budget): TableCharacters | undefined {
  const parsed = parsePattern(pattern, budget)
  const parts = parsed.kind === 'sequence' ? parsed.parts : [parsed]
  const before = parts[0]?.kind === 'start' ? [] : [ANYTHING]
  const behind = parts.at(-1)?.kind === 'end' ? [] : [ANYTHING]
  return automatonOf({ kind: 'sequence', parts: [...before, ...parts, ...behind] }, budget)
}

/** What is wrong with a pattern is said with its place. */
export function inPlace<T>({ place, schema }: Member, keyword: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    throw new SchemaError(place, keyword in schema ? keyword : 'format', error.expected, new Words(error.found))
  }
}
