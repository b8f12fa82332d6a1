/** How large a schema may be: it is walked once before anything is done with it, without recursion, and never beyond these. */
import { SchemaError, Words } from './errors.ts'

const MOST_VALUES = 50_000
const MOST_CHARACTERS = 1_000_000
const DEEPEST = 200

/** Throws SchemaError. */
export function checkSize(schema: unknown): void {
  let level: unknown[] = [schema]
  let values = 1
  let characters = 0
  const tooMany = (found: string) =>
    new SchemaError(
      '',
      '',
      `of at most ${MOST_VALUES} values, ${MOST_CHARACTERS} characters, and ${DEEPEST} levels`,
      new Words(found),
    )
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEEPEST) throw tooMany('more levels')
    const below: unknown[] = []
    for (const value of level) {
      if (typeof value === 'string') characters += value.length
      else if (typeof value === 'object' && value !== null) {
        // Counted before anything is read of them. The names of an object are listed once, which no one can interrupt.
        const names = Array.isArray(value) ? undefined : Object.keys(value)
        values += names?.length ?? (value as unknown[]).length
        if (values > MOST_VALUES) throw tooMany(`${values} or more values`)
        for (const name of names ?? []) characters += name.length
        for (const part of Array.isArray(value) ? value : Object.values(value)) below.push(part)
      } else if (!['boolean', 'number'].includes(typeof value) && value !== null)
        throw new SchemaError('', '', 'made of what JSON has', new Words(`a ${typeof value}`))
      if (characters > MOST_CHARACTERS) throw tooMany('more characters')
    }
    level = below
  }
}
