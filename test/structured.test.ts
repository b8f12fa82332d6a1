/** Schemas and patterns as masks: against the bytes of every token, and in generations of the stories model. */
import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { z } from 'zod'
import { load, type Model } from '../host/index.ts'
import { Budget, MOST_WORK, Recent } from '../host/text/structured/budget.ts'
import {
  choice,
  compilePattern,
  compileSchema,
  grammarOf,
  jsonObject,
  literal,
  sequence,
} from '../host/text/structured/compile.ts'
import { constraintOf } from '../host/text/structured/constrain.ts'
import { SchemaError } from '../host/text/structured/errors.ts'
import { Machine, type MachineState } from '../host/text/structured/machine.ts'
import type { Grammar } from '../host/text/structured/rule.ts'
import type { Vocabulary } from '../host/text/structured/vocabulary.ts'
import { Tokenizer } from '../host/text/tokenizer.ts'
import { read } from './fixtures/grammar.ts'
import { hostileSchemas } from './fixtures/hostile-schemas.ts'
import { fuzzSchemas } from './harness/fuzz-schemas.ts'

const stories = new URL('./golden/stories/', import.meta.url)

function refused(schema: unknown): string {
  try {
    compileSchema(schema)
  } catch (error) {
    assert.instance(error, SchemaError)
    const { keyword, place } = error as SchemaError
    return `${keyword} at "${place}"`
  }
  throw new Error(`${JSON.stringify(schema).slice(0, 200)} was not refused`)
}

function expectRead(grammar: Grammar, expected: Record<'whole' | 'part' | 'wrong', string[]>): void {
  for (const [result, texts] of Object.entries(expected))
    for (const text of texts) assert.is(read(grammar, text), result, text)
}

test('objects come in the order of their schema, with what is named, and bounded white space', () => {
  const schema = { properties: { a: { type: 'integer' }, b: { type: 'string' }, c: { type: 'null' } }, required: ['b'] }
  expectRead(compileSchema(schema), {
    whole: ['{"a":1,"b":"x","c":null}', '{"b":""}', ' {\n  "a": -20, "b": "x\\n\\u00e9😀"\n}', '{"b":"","c":null}'],
    part: ['{', '{"a":1', '{"b":"', '{"b":"\\', '{"b":"\\ud83d'],
    wrong: [
      '{"a":1}',
      '{"b":"","a":1}',
      '{"b":"","b":""}',
      '{"d":1',
      '{"a":01',
      '{"b" :',
      '{\n\n',
      '{"b":\n',
      '[',
      '{"b":"\\ud83d"',
      '{"b":"\n',
    ],
  })
  expectRead(compileSchema(schema, { form: 'any' }), {
    whole: ['{"b":"","a":1}', '{"d":[{}],"b":""}', '3', '[]', '{"b":"","c":null,"a":0}'],
    part: [],
    wrong: ['{"a":1}', '{"b":1', '{"b":"","b":""}'],
  })
})

test('numbers keep their bounds and their steps, digit by digit', () => {
  const takes = (schema: object, texts: string[]) => {
    const grammar = compileSchema({ type: 'number', ...schema })
    return texts.filter((text) => read(grammar, text) === 'whole')
  }
  const numbers = [
    '-1',
    '-0.5',
    '-0',
    '0',
    '0.25',
    '0.3',
    '1',
    '1.5',
    '9.99',
    '10',
    '10.0',
    '12',
    '100',
    '1e5',
    '00',
    '1.',
    '.5',
  ]
  const isJson = (text: string) => !['00', '1.', '.5', '-0'].includes(text)
  assert.equal(takes({}, numbers), numbers.filter(isJson))
  for (const [schema, isInside] of [
    [{ minimum: 0, maximum: 10 }, (value) => value >= 0 && value <= 10],
    [{ exclusiveMinimum: 0, exclusiveMaximum: 10 }, (value) => value > 0 && value < 10],
    [{ minimum: -0.5, exclusiveMaximum: 1.5 }, (value) => value >= -0.5 && value < 1.5],
    [{ maximum: -0.5 }, (value) => value <= -0.5],
    [{ multipleOf: 0.25 }, (value) => value % 0.25 === 0],
    [{ multipleOf: 3, minimum: 1 }, (value) => value % 3 === 0 && value >= 1],
  ] as [object, (value: number) => boolean][]) {
    const expected = numbers.filter((text) => isJson(text) && text !== '1e5' && isInside(Number(text)))
    assert.equal(takes(schema, numbers), expected, JSON.stringify(schema))
  }
})

test('what is not enforced is refused by its name and place', () => {
  assert.is(refused({ properties: { a: { items: { uniqueItems: true } } } }), 'uniqueItems at "/properties/a/items"')
  for (const keyword of [
    'not',
    'if',
    'contains',
    'dependentSchemas',
    'unevaluatedProperties',
    '$dynamicRef',
    'nullable',
    'minLenght',
  ])
    assert.is(refused({ type: 'object', [keyword]: {} }), `${keyword} at ""`)
  assert.is(refused({ type: 'text' }), 'type at ""')
  assert.is(refused({ $ref: '#/$defs/a~b' }), '$ref at ""')
  assert.is(refused({ $ref: 'https://example.org/a.json' }), '$ref at ""')
  assert.is(refused({ type: 'string', format: 'uri' }), 'format at ""')
  for (const pattern of ['(?=a)', '(a)\\1', '\\bx', '[', 'a**', '(?i:a)', 'a{2', '\\u{110000}', 'a{99999}{99999}'])
    assert.is(refused({ type: 'string', pattern }), 'pattern at ""', pattern)
  assert.is(refused({ oneOf: [{ type: 'integer' }, { type: 'number' }] }), 'oneOf at ""')
  assert.is(refused({ type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }), ' at ""')
  assert.is(refused({ $defs: { a: { anyOf: [{ $ref: '#/$defs/a' }] } }, $ref: '#/$defs/a' }), ' at "/$defs/a"')
  assert.is(refused({ enum: ['a'], maxLength: 0 }), ' at ""')
})

test('hostile schemas are refused by what is counted', () => {
  for (const [name, make] of Object.entries(hostileSchemas)) assert.ok(refused(make(60_000)), name)
  for (const schema of [[], null, 'x', undefined, { const: 1n }]) refused(schema)
})

test('parts of a schema are counted before one of them is read', () => {
  const count = 50_001
  const names = Array.from({ length: count }, (_, i) => `p${i}`)
  let listed = 0
  const traps = {
    ownKeys: () => {
      listed++
      return names
    },
    getOwnPropertyDescriptor: () => ({ value: {}, enumerable: true, configurable: true }),
    get: (_: object, name: string | symbol) => {
      if (name === 'length') return count
      throw new Error(`${String(name)} was read`)
    },
  }
  assert.is(refused({ properties: new Proxy({}, traps) }), ' at ""')
  assert.is(listed, 1)
  for (const keyword of ['required', 'enum', 'allOf', 'examples'])
    assert.is(refused({ [keyword]: new Proxy([], { get: traps.get }) }), ' at ""', keyword)
})

test('work is counted, the same whatever was compiled before, and its limit is said', () => {
  const workOf = (schema: unknown) => {
    const budget = new Budget()
    grammarOf(schema, budget)
    return budget.spent
  }
  const schema = { properties: { a: { type: 'number', minimum: 17.5 }, b: { type: 'string', pattern: '^[x-z]{7}$' } } }
  const first = workOf(schema)
  assert.ok(first > 1000 && first < MOST_WORK / 10, `${first} steps`)
  assert.is(workOf(schema), first)
  const large = hostileSchemas['large patterns of many properties']?.(0)
  for (let i = 0; i < 2; i++)
    assert.throws(
      () => grammarOf(large),
      (error: unknown) =>
        error instanceof SchemaError &&
        error.code === 'BAD_SCHEMA' &&
        error.place.startsWith('/properties/p') &&
        error.message.includes(`at most ${MOST_WORK} steps of work`),
    )
  // The schemas of one request have one budget.
  const budget = new Budget()
  const one = (i: number) => ({ type: 'string', pattern: `^(b{0,500}|c{${i}})$` })
  assert.throws(() => {
    for (let i = 0; i < 1000; i++) grammarOf(one(i), budget)
  }, /steps of work/)
})

test('grammars are kept by their number and their work, the oldest dropped first', () => {
  const recent = new Recent<string>(3)
  for (const name of ['a', 'b', 'c']) recent.set(name, name, 10)
  recent.get('a')
  recent.set('d', 'd', 10)
  assert.equal(
    ['a', 'b', 'c', 'd'].filter((name) => recent.get(name)),
    ['a', 'c', 'd'],
  )
  recent.set('e', 'e', 2 * MOST_WORK - 10)
  assert.equal(
    ['a', 'c', 'd', 'e'].filter((name) => recent.get(name)),
    ['d', 'e'],
  )
})

test('records of zod: names of a pattern or of a list, and how many', () => {
  expectRead(compileSchema(z.toJSONSchema(z.record(z.string().regex(/^[a-c]+$/), z.int()))), {
    whole: ['{}', '{"abc":1,"a":2}'],
    part: ['{"a'],
    wrong: ['{"d', '{"abcd'],
  })
  expectRead(compileSchema(z.toJSONSchema(z.record(z.enum(['x', 'y']), z.boolean()))), {
    whole: ['{"x":true,"y":false}'],
    part: [],
    wrong: ['{"x":true}', '{"z'],
  })
  expectRead(
    compileSchema({ properties: { a: {}, b: {}, c: {} }, required: ['c'], maxProperties: 2, minProperties: 1 }),
    {
      whole: ['{"a":1,"c":2}', '{"b":1,"c":2}', '{"c":1}'],
      part: [],
      wrong: ['{"a":1,"b"', '{}'],
    },
  )
  // As JSON.parse makes it: a name like any other.
  expectRead(compileSchema(JSON.parse('{"properties":{"__proto__":{"const":1}},"required":["__proto__"]}')), {
    whole: ['{"__proto__":1}'],
    part: [],
    wrong: ['{}', '{"__proto__":2'],
  })
})

test('what is written by random schemas is valid, and values like it are told apart as ajv does', async () => {
  const { finished, changed, impossible } = await fuzzSchemas(25, 1)
  assert.ok(finished > 15 && changed > 150 && impossible > 0, JSON.stringify({ finished, changed, impossible }))
})

test('grammars go together: literal text, control tokens, schemas', () => {
  const call = sequence([
    literal('<call>{"name": "f", "arguments": ', ['<call>']),
    compileSchema({ type: 'array' }),
    literal('}'),
  ])
  const any = choice([call, compilePattern('[a-z]+ \\d')])
  expectRead(any, { whole: ['ab 1'], part: ['ab', 'abc '], wrong: ['<', 'A'] })
  const bytes = new TextEncoder().encode('x<call>x{"name": "f", "arguments": [1]}')
  bytes[0] = bytes[7] = 0xff
  assert.is(read(any, bytes), 'whole')
})

/** Every token of a vocabulary, read byte by byte. */
function tokensByBytes(machine: Machine, state: MachineState, vocabulary: Vocabulary, vocabSize: number): number[] {
  return Array.from({ length: vocabSize }, (_, id) => id).filter((id) => {
    const bytes = vocabulary.bytesOf(id)
    let at: MachineState | null = state
    for (const byte of bytes) at = at && machine.step(at, byte)
    return bytes.length > 0 && at !== null
  })
}

test('a mask holds exactly the tokens whose bytes can come, at every place of random texts', async () => {
  const json = readFileSync(new URL('tokenizer.json', stories))
  const tokenizer = await Tokenizer.open('stories', json, {})
  const vocabSize = 4096
  let random = 1
  const next = (count: number) => {
    random = (random * 48271) % 2147483647
    return random % count
  }
  for (const grammar of [
    compileSchema({
      properties: { a: { maxLength: 12 }, b: { type: ['number', 'null'] }, c: {} },
      required: ['a', 'c'],
    }),
    compileSchema({
      items: { anyOf: [{ type: 'string', pattern: '^[a-z ]{2,9}$' }, { type: 'boolean' }, { const: 'Tom' }] },
      minItems: 2,
    }),
    compileSchema({ type: 'string', pattern: '\\w+ (?:été|É.)', minLength: 8, maxLength: 30 }),
    compileSchema(
      { additionalProperties: { type: 'integer' }, properties: { zoo: { format: 'date' } } },
      { form: 'any' },
    ),
    compilePattern('The (cat|dog)s? (is|are) [^.]{3,}\\.'),
    jsonObject(),
  ]) {
    const machine = new Machine(grammar)
    const constraint = constraintOf(grammar, { tokenizer, vocabSize, ends: [0] })
    let state: MachineState | null = machine.start
    for (let i = 0; i < 16 && state && !constraint.isComplete; i++) {
      const mask = constraint.allowed() as Uint32Array
      const allowed = Array.from({ length: vocabSize }, (_, id) => id).filter(
        (id) => ((mask[id >> 5] as number) >>> (id & 31)) & 1,
      )
      const byBytes = tokensByBytes(machine, state, tokenizer, vocabSize)
      assert.equal(
        allowed.filter((id) => id !== 0),
        byBytes,
      )
      assert.is(allowed.includes(0), state.isEnd)
      assert.ok(byBytes.length > 0 || state.isEnd)
      if (byBytes.length === 0) break
      const token = byBytes[next(byBytes.length)] as number
      constraint.push(token)
      for (const byte of tokenizer.bytesOf(token)) state = state && machine.step(state, byte)
    }
  }
})

let model: Model
test.before(async () => {
  model = await load(stories.pathname)
})
test.after(() => model.close())

test('the stories model writes JSON of a schema, and its value has the type of a zod schema', async () => {
  const schema = z.object({
    name: z
      .string()
      .min(1)
      .max(30)
      .transform((name) => name.length),
    age: z.int().min(1).max(12),
    animal: z.enum(['cat', 'dog']).nullable(),
    tags: z.array(z.string().max(10)).max(3),
  })
  const result = await read1(model.generate('Once upon a time', { schema, seed: 1, maxTokens: 300 }))
  assert.is(result.finish, 'stop')
  const length: number | undefined = result.value?.name
  assert.is(length, (JSON.parse(result.text) as { name: string }).name.length)
  const isValid = new Ajv2020().compile(z.toJSONSchema(schema, { io: 'input' }))
  assert.ok(isValid(JSON.parse(result.text)), result.text)
})

async function read1<T>(stream: { result: Promise<T> } & AsyncIterable<string>): Promise<T> {
  for await (const _ of stream);
  return await stream.result
}

test('patterns, JSON objects, and texts that were cut short', async () => {
  const prompt = 'Once upon a time'
  const story = await read1(model.generate(prompt, { pattern: '(The (cat|dog) [a-z ]{5,20}\\. ){2}', seed: 1 }))
  assert.match(story.text, /^(The (cat|dog) [a-z ]{5,20}\. ){2}$/)
  assert.is(story.value, undefined)
  const short = await read1(model.generate(prompt, { json: true, seed: 1, maxTokens: 5 }))
  assert.equal([short.finish, short.value], ['length', undefined])
  assert.match(short.text, /^ ?\{/)
  const checked = z.object({ a: z.literal('x').refine(() => false, 'never') })
  const wrong = await read1(model.generate(prompt, { schema: checked, seed: 1 }))
  assert.equal([wrong.value, wrong.issues?.[0]?.message], [undefined, 'never'])
})

test('options that do not go together, and schemas that cannot be asked for', async () => {
  const fails = async (options: object) => {
    const error = await read1(model.generate('a', options)).catch((error) => error)
    return `${error.code}: ${error.message}`
  }
  assert.match(await fails({ json: true, pattern: 'a' }), /^BAD_OPTION: pattern and json must be one of them/)
  assert.match(await fails({ schema: { not: {} } }), /^BAD_SCHEMA: "not"/)
  assert.match(
    await fails({ schema: { '~standard': { version: 1, vendor: 'v' } } }),
    /^BAD_OPTION: schema must be .*one of v/s,
  )
  assert.match(await fails({ pattern: '(?<a' }), /^BAD_SCHEMA/)
})

test('schemas that say the same are compiled once', () => {
  assert.is(grammarOf({ type: 'object', properties: {} }), grammarOf(JSON.parse('{"type":"object","properties":{}}')))
  assert.is.not(grammarOf({ type: 'object' }), grammarOf({ type: 'array' }))
})

test('an object that must have more properties than it may is none', () => {
  const none = { type: 'object', properties: { a: {} }, minProperties: 1, maxProperties: 0 }
  assert.throws(() => compileSchema(none), /found one that none satisfies/)
  // Where there is something else it is that.
  expectRead(compileSchema({ anyOf: [none, { const: 1 }] }), { whole: ['1'], part: [], wrong: ['{'] })
})

test('multipleOf as docs/library.md says it, with bounds that need the most states', () => {
  const bounds = [
    { minimum: -9.87654321098765, maximum: 9.87654321098765 },
    { minimum: -123456789.123456, exclusiveMaximum: 123456.789012345 },
  ]
  for (const multipleOf of [97, 100, 0.59, 0.6])
    for (const bound of bounds) compileSchema({ type: 'number', ...bound, multipleOf })
  assert.throws(() => compileSchema({ type: 'number', multipleOf: 1001 }), /multipleOf/)
})

test.run()
