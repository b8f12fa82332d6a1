/** What is refused, by name and place: a schema that is not enforced whole is not taken. */
import { GtaError, Words } from '../../errors.ts'

export { Words } from '../../errors.ts'

/** A schema or pattern that cannot be held. Nothing of it is ignored. */
export class SchemaError extends GtaError {
  override name = 'SchemaError'
  /** Where: a JSON pointer into the schema, such as "/properties/age/minimum". */
  readonly place: string
  /** The keyword there; empty if it is the schema itself. */
  readonly keyword: string

  constructor(place: string, keyword: string, expected: string, found: unknown) {
    super('BAD_SCHEMA', `${titleOf(place, keyword)} must be ${expected}, found ${shown(found)}`)
    this.place = place
    this.keyword = keyword
  }
}

function titleOf(place: string, keyword: string): string {
  const short = place.length > 200 ? `${place.slice(0, 200)}…` : place
  const at = short === '' ? '' : ` at "${short}"`
  return keyword === '' ? `the schema${at}` : `"${keyword}" of the schema${at}`
}

/** A value, as far as it is short. */
function shown(value: unknown): string {
  if (value instanceof Words) return value.text
  if (Array.isArray(value) && value.length === 0) return 'an empty list'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}

/** What is wrong with a pattern, in words; whoever knows where it stands makes a SchemaError of it. */
export class PatternError extends Error {
  readonly expected: string
  readonly found: string

  constructor(expected: string, found: string) {
    super(`a pattern must be ${expected}, found ${found}`)
    this.expected = expected
    this.found = found
  }
}
