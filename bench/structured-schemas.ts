/** Schemas of about 2 kB, as people write them; each number makes others of the same kind. */

const words = 'amber birch cedar delta ember fjord grove heath inlet jetty kiosk lemon maple north ocean pearl quartz river'.split(' ') // biome-ignore format: a list

type Make = (seed: number) => object

function objectOf(properties: Record<string, unknown>): object {
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false }
}

function propertiesOf(count: number, make: (name: string, i: number) => unknown): Record<string, unknown> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      const name = `${words[i % words.length]}_${i}`
      return [name, make(name, i)]
    }),
  )
}

export const schemas: Record<string, Make> = {
  texts: (seed) => objectOf(propertiesOf(27, (_, i) => ({ type: 'string', minLength: i % 3, maxLength: 30 + i + seed }))),
  patterns: (seed) =>
    objectOf(
      propertiesOf(24, (name, i) => ({ type: 'string', pattern: `^${name}-[a-z0-9]{${1 + (i % 5)},${10 + i + seed}}$` })),
    ),
  numbers: (seed) =>
    objectOf(propertiesOf(23, (_, i) => ({ type: 'number', minimum: i + seed / 4, maximum: 99.5 + i + seed }))),
  formats: (seed) =>
    objectOf({
      ...propertiesOf(26, (_, i) => ({ type: 'string', format: ['date-time', 'email', 'uuid', 'ipv4', 'date', 'time'][i % 6] })),
      id: { type: 'integer', minimum: seed },
    }),
  choices: (seed) => ({
    type: 'array',
    items: {
      anyOf: words.slice(0, 12).map((word, i) =>
        objectOf({ kind: { const: `${word}${seed}` }, [word]: i % 2 ? { type: 'string' } : { enum: [1, 'two', null] } }),
      ),
    },
  }),
  words: (seed) => objectOf({ word: { enum: Array.from({ length: 150 }, (_, i) => `${words[i % 18]}${i + seed}`) } }),
  references: (seed) => ({
    $defs: {
      ...propertiesOf(14, (_, i) => ({
        allOf: [{ $ref: '#/$defs/base' }, { properties: { [`p${i}`]: { maxLength: 9 + seed }, next: { $ref: '#/$defs/base' } } }],
      })),
      base: { type: 'object', properties: { id: { type: 'integer' }, next: {} }, required: ['id'] },
    },
    type: 'array',
    items: { anyOf: words.slice(0, 14).map((word, i) => ({ $ref: `#/$defs/${word}_${i}` })) },
  }),
} // biome-ignore format: one a line
