/** What a generation is asked to write: options `schema`, `pattern` and `json`. */
import { errors, Words } from '../errors.ts'
import type { Constraint } from '../text/structured/constraint.ts'
import { type Checked, check, jsonSchemaOf } from '../text/structured/standard-schema.ts'
import type { ConstraintParts, GenerateOptions } from './api.ts'

export interface Structure<T> {
  constraint(parts: ConstraintParts): Constraint
  /** What a whole text says; undefined for a pattern, whose text says it. */
  valueOf(text: string): Promise<Checked<T>> | undefined
}

const names = ['schema', 'pattern', 'json', 'constraint'] as const

/** undefined: nothing is asked for. Throws BAD_OPTION, and BAD_SCHEMA for what cannot be held. */
export async function structureOf<T>(options: GenerateOptions<T>): Promise<Structure<T> | undefined> {
  const given = names.filter((name) => options[name] !== undefined)
  if (given.length > 1) throw errors.badOption(given.join(' and '), 'one of them', new Words('both'))
  const { schema, pattern, json } = options
  if (json !== undefined && typeof json !== 'boolean') throw errors.badOption('json', 'true or false', json)
  if (pattern !== undefined && typeof pattern !== 'string')
    throw errors.badOption('pattern', 'a regular expression as text', pattern)
  if (schema === undefined && pattern === undefined && !json) return undefined
  const { compilePattern, grammarOf, jsonObject } = await import('../text/structured/compile.ts')
  const { constraintOf } = await import('../text/structured/constrain.ts')
  const grammar =
    pattern !== undefined
      ? compilePattern(pattern)
      : schema !== undefined
        ? grammarOf(jsonSchemaOf(schema))
        : jsonObject()
  return {
    constraint: ({ tokenizer, vocabSize, ends }) => {
      if (!tokenizer)
        throw errors.badOption(given[0] as string, 'absent, because this model has no tokenizer', given[0])
      return constraintOf(grammar, { tokenizer, vocabSize, ends })
    },
    valueOf: (text) => (pattern === undefined ? check<T>(schema ?? true, JSON.parse(text)) : undefined),
  }
}
