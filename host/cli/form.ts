/** The form of what is written: --json-schema and --pattern. */
import { errors } from '../errors.ts'
import type { GenerateOptions } from '../runtime/api.ts'
import { readText } from './open.ts'
import { type Arguments, flagsOf, UsageError } from './options.ts'

export const formOptions = flagsOf('jsonSchema', 'pattern')

/** As options of the library; empty where no form is asked for. What cannot be held is refused here, before a model is loaded. */
export async function readForm(args: Arguments): Promise<Pick<GenerateOptions, 'schema' | 'pattern'>> {
  const { jsonSchema, pattern } = args.values('jsonSchema', 'pattern')
  if (jsonSchema !== undefined && pattern !== undefined)
    throw new UsageError('only one of --json-schema, --pattern must be given, found 2')
  if (pattern === undefined && jsonSchema === undefined) return {}
  const { compilePattern, grammarOf } = await import('../text/structured/compile.ts')
  if (jsonSchema === undefined) {
    compilePattern(pattern as string)
    return { pattern: pattern as string }
  }
  try {
    const schema = JSON.parse(await readText(jsonSchema))
    grammarOf(schema)
    return { schema }
  } catch (error) {
    if (error instanceof SyntaxError) throw errors.badJson(jsonSchema, error)
    throw error
  }
}
