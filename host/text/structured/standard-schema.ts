/**
 * Schemas of validation libraries, by what standardschema.dev asks of them: Standard JSON Schema says what is to be written,
 * Standard Schema checks it and gives it its type. Zod has both since 4.2; with valibot it is `toStandardJsonSchema(schema)`
 * of @valibot/to-json-schema. These are types only: no library is part of this package.
 */
import { errors } from '../../errors.ts'

/** As far as it is used here. */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly vendor: string
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
    readonly validate?: (value: unknown) => Checked<Output> | Promise<Checked<Output>>
    readonly jsonSchema?: { readonly input: (options: { target: 'draft-2020-12' }) => Record<string, unknown> }
  }
}

/** What a library says of a value. */
export type Checked<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly Issue[] }

/** What a schema finds wrong that its JSON Schema does not say, such as a check of one's own. */
export interface Issue {
  readonly message: string
  readonly path?: readonly unknown[] | undefined
}

/** Throws BAD_OPTION for a library's schema that cannot say what it is in JSON. */
export function jsonSchemaOf(schema: StandardSchema | object | boolean): unknown {
  if (!isStandard(schema)) return schema
  const { vendor, jsonSchema } = schema['~standard']
  if (jsonSchema) return jsonSchema.input({ target: 'draft-2020-12' })
  throw errors.badOption(
    'schema',
    'a JSON Schema, or one that implements Standard JSON Schema (zod 4.2 and later; toStandardJsonSchema() of @valibot/to-json-schema)',
    `one of ${vendor} without it`,
  )
}

/** A value as its library's schema has it: with its defaults and transformations. */
export async function check<T>(schema: StandardSchema<T> | object | boolean, value: unknown): Promise<Checked<T>> {
  const validate = isStandard(schema) ? schema['~standard'].validate : undefined
  return validate ? ((await validate(value)) as Checked<T>) : { value: value as T }
}

function isStandard(schema: StandardSchema | object | boolean): schema is StandardSchema {
  return Object(schema) === schema && '~standard' in (schema as object)
}
