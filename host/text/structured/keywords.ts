/**
 * What may stand in a schema, and what it must be. Whatever is not in these tables is refused by its name: an unknown keyword
 * would be ignored, and nothing is. Draft 2020-12; names that begin with "x-" are notes of others, by its successor's rule.
 */
import { SchemaError } from './errors.ts'
import { formatNames } from './formats.ts'

export type SchemaObject = Readonly<Record<string, unknown>>
export type Schema = SchemaObject | boolean

/** A schema, and where it stands: a JSON pointer. */
export interface Member {
  readonly id: number
  readonly schema: SchemaObject
  readonly place: string
}

/** They say nothing about values. */
const annotations = new Set(
  ['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly', '$schema', '$id', '$comment', '$anchor', '$dynamicAnchor', '$defs', 'definitions'], // biome-ignore format: one line
)

const typeNames = ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object']

type Check = readonly [expected: string, isRight: (value: unknown) => boolean]

const isList = (value: unknown): value is unknown[] => Array.isArray(value) && value.length > 0
const isText = (value: unknown): value is string => typeof value === 'string'
const isRecord = (value: unknown): value is SchemaObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isSchema = (value: unknown): value is Schema => typeof value === 'boolean' || isRecord(value)

const number: Check = ['a number', (value) => typeof value === 'number' && Number.isFinite(value)]
const most = 2 ** 20
const count: Check = ['a whole number from 0 on', (value) => Number.isInteger(value) && (value as number) >= 0]
const least: Check = [`a whole number from 0 to ${most}`, (value) => count[1](value) && (value as number) <= most]
const schema: Check = ['a schema: an object, true or false', isSchema]
const schemas: Check = ['a list of schemas', (value) => isList(value) && value.every(isSchema)]
const named: Check = ['an object of schemas', (value) => isRecord(value) && Object.values(value).every(isSchema)]

const checks: Record<string, Check> = {
  $ref: ['a reference into this schema, such as "#/$defs/name"', (value) => isText(value) && /^#(?:\/|$)/.test(value)],
  allOf: schemas,
  anyOf: schemas,
  oneOf: schemas,
  type: [
    `one of ${typeNames.join(', ')}, or a list of them`,
    (value) => (isList(value) ? value : [value]).every((name) => isText(name) && typeNames.includes(name)),
  ],
  enum: ['a list of at least one value', isList],
  const: ['a value', () => true],
  minimum: number,
  maximum: number,
  exclusiveMinimum: number,
  exclusiveMaximum: number,
  multipleOf: ['a number above 0', (value) => number[1](value) && (value as number) > 0],
  minLength: least,
  maxLength: count,
  pattern: ['a regular expression', isText],
  format: [`one of ${formatNames.join(', ')}`, (value) => isText(value) && formatNames.includes(value)],
  items: schema,
  prefixItems: schemas,
  minItems: least,
  maxItems: count,
  uniqueItems: ['false, or absent: elements that differ cannot be enforced', (value) => value === false],
  properties: named,
  patternProperties: named,
  additionalProperties: schema,
  propertyNames: schema,
  minProperties: ['0 or 1: a model could write one name several times', (value) => value === 0 || value === 1],
  maxProperties: count,
  required: ['a list of names', (value) => Array.isArray(value) && value.every(isText)],
}

/** Keywords that say something about values of a type; those of every type are not among them. */
export const keywordsOfType: Readonly<Record<string, readonly string[]>> = {
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  object: ['properties', 'patternProperties', 'additionalProperties', 'propertyNames', 'required'],
}

/** Throws SchemaError for what is not enforced, or is not what it must be. */
export function checkKeywords({ schema, place }: Member): void {
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword === '$id' && place !== '') throw new SchemaError(place, keyword, 'at the root only', value)
    if (annotations.has(keyword) || keyword.startsWith('x-')) continue
    const check = Object.hasOwn(checks, keyword) ? checks[keyword] : undefined
    if (!check)
      throw new SchemaError(
        place,
        keyword,
        `left out, because it is not enforced; known are ${Object.keys(checks).join(', ')}`,
        value,
      )
    if (!check[1](value)) throw new SchemaError(place, keyword, check[0], value)
  }
}

/** A schema's place below another one. */
export function placeBelow(place: string, ...names: (string | number)[]): string {
  return names.reduce(
    (path: string, name) => `${path}/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`,
    place,
  )
}
