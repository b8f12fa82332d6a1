/** Forms as people ask for them, with a text of each. */

interface Form {
  name: string
  schema?: object
  pattern?: string
  text: string
}

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 60 },
    age: { type: 'integer', minimum: 0, maximum: 150 },
    email: { type: 'string', format: 'email' },
    born: { type: 'string', format: 'date' },
    address: {
      type: 'object',
      properties: {
        street: { type: 'string' },
        city: { type: 'string' },
        zip: { type: 'string', pattern: '^\\d{5}$' },
      },
      required: ['street', 'city', 'zip'],
      additionalProperties: false,
    },
    tags: { type: 'array', items: { type: 'string', maxLength: 20 }, maxItems: 5 },
  },
  required: ['name', 'age', 'email', 'born', 'address', 'tags'],
  additionalProperties: false,
}

const home = {
  type: 'object',
  properties: {
    reasoning: { type: 'string' },
    actions: {
      type: 'array',
      items: {
        anyOf: ['turn_on', 'turn_off', 'set_temperature', 'play_media', 'lock', 'unlock', 'announce'].map(
          (service) => ({
            type: 'object',
            description: `Calls the service ${service} of a device that is named by its entity id.`,
            properties: {
              service: { const: service },
              entity_id: { type: 'string', pattern: '^(light|switch|climate|media_player|lock)\\.[a-z0-9_]{1,40}$' },
              value: { type: ['number', 'string', 'null'], description: 'What to set it to.' },
              after: { type: 'string', format: 'time' },
            },
            required: ['service', 'entity_id'],
            additionalProperties: false,
          }),
        ),
      },
      minItems: 1,
      maxItems: 8,
    },
    confidence: { type: 'number', minimum: 0, maximum: 1 },
  },
  required: ['reasoning', 'actions', 'confidence'],
  additionalProperties: false,
}

const tree = {
  $defs: {
    node: {
      type: 'object',
      properties: {
        label: { type: 'string', maxLength: 40 },
        weight: { type: 'number' },
        children: { type: 'array', items: { $ref: '#/$defs/node' } },
      },
      required: ['label', 'children'],
      additionalProperties: false,
    },
  },
  $ref: '#/$defs/node',
}

export const forms: readonly Form[] = [
  {
    name: 'person',
    schema: person,
    text: JSON.stringify({
      name: 'Anna Ångström',
      age: 33,
      email: 'anna.angstrom@example-mail.org',
      born: '1991-02-28',
      address: { street: '12 Rue de l’Église', city: 'Genève', zip: '12034' },
      tags: ['reader', 'early adopter', '日本語'],
    }),
  },
  {
    name: 'home',
    schema: home,
    text: JSON.stringify({
      reasoning:
        'It is getting dark and the user asked for "warm" light in the kitchen, then quiet music.\nNothing else is on.',
      actions: [
        { service: 'turn_on', entity_id: 'light.kitchen_ceiling_lamp', value: 40 },
        {
          service: 'play_media',
          entity_id: 'media_player.living_room',
          value: 'Chopin, Nocturnes',
          after: '20:15:00Z',
        },
        { service: 'set_temperature', entity_id: 'climate.bedroom', value: 18.5 },
      ],
      confidence: 0.85,
    }),
  },
  {
    name: 'tree',
    schema: tree,
    text: JSON.stringify({
      label: 'root',
      weight: 1,
      children: [
        { label: 'left branch', children: [{ label: 'leaf', weight: 0.25, children: [] }] },
        {
          label: 'right branch',
          weight: -3.5e-4,
          children: [
            { label: 'leaf', children: [] },
            { label: 'twig', children: [] },
          ],
        },
      ],
    }),
  },
  {
    name: 'any object',
    schema: { type: 'object' },
    text: '{\n  "title": "A day at the sea",\n  "rating": 4.5,\n  "words": ["sand", "gull", "salt"],\n  "seen": {"boats": 3, "whales": null, "sun": true}\n}',
  },
  {
    name: 'pattern',
    pattern: '(?:- [A-Z][a-z]+(?: [a-z]+){0,8}\\.\\n){3}',
    text: '- Water the plants before the sun is high.\n- Close all the windows.\n- Feed the cat.\n',
  },
]

const names = (count: number) => Array.from({ length: count }, (_, i) => `${(i * 7919 + 36).toString(36)}_name`)
const propertiesOf = (count: number) => Object.fromEntries(names(count).map((name) => [name, { type: 'string' }]))

/** Forms whose states are many at once, or walk much of a vocabulary: shown, and not among the others. */
export const hardForms: readonly Form[] = [
  {
    name: '200 properties',
    schema: { type: 'object', properties: propertiesOf(200) },
    text: JSON.stringify({ [names(200)[20] as string]: 'a', [names(200)[150] as string]: 'b' }),
  },
  {
    name: '1000 properties',
    schema: { type: 'object', properties: propertiesOf(1000) },
    text: JSON.stringify({ [names(1000)[20] as string]: 'a', [names(1000)[950] as string]: 'b' }),
  },
  {
    name: '100 objects',
    schema: {
      anyOf: names(100).map((kind) => ({
        type: 'object',
        properties: { kind: { const: kind }, value: { type: ['number', 'string', 'null'] } },
        required: ['kind', 'value'],
        additionalProperties: false,
      })),
    },
    text: JSON.stringify({ kind: names(100)[50], value: 'It is so' }),
  },
  {
    name: 'a word of 1000',
    schema: { enum: names(1000) },
    text: JSON.stringify(names(1000)[500]),
  },
  {
    name: 'letters of any script',
    schema: { type: 'string', pattern: '^\\p{L}+(?: \\p{L}+)*$' },
    text: '"Die Größe der Welt ist groß"',
  },
  {
    name: 'a pattern with a length',
    schema: { type: 'string', pattern: '\\w+ (?:été|É.)', minLength: 8, maxLength: 30 },
    text: '"some été or not, and no more"',
  },
]
