/** Masks of a vocabulary with tokens of every kind, against the bytes of each: whatever is taken at once must be what is read one by one. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compilePattern, compileSchema, literal, sequence } from '../host/text/structured/compile.ts'
import { constraintOf } from '../host/text/structured/constrain.ts'
import { Machine, type MachineState } from '../host/text/structured/machine.ts'
import { type Grammar, LONGEST_TOKEN } from '../host/text/structured/rule.ts'
import type { Vocabulary } from '../host/text/structured/vocabulary.ts'

function randomOf(seed: number): (count: number) => number {
  let state = seed
  return (count) => {
    state = (state * 48271) % 2147483647
    return state % count
  }
}

const parts = [
  ...['a', 'the', 'sun', 'Zoo', 'HELLO', 'fooBar', '7', '42', '0123456789', '_', '-', '.', ', ', ' ', '   ', '\n', '\t', '\r'],
  ...['"', '",', '": ', '"}', '{"', '[', ']', '}', ':', 'true', 'null', 'e+', '\\', '\\n', '\\u00', 'e9', '\\ud83d', '\\ude00'],
  ...['é', 'ß', 'Größe', 'мир', '日本', '語', '한', '😀', '\u2028', '\u007f', '\u0000', '×', '「', 'ก', 'ः', 'x'.repeat(30)],
] // biome-ignore format: kinds in rows

/** Tokens of one to four parts, some of them torn within a character, or longer than any that may come. */
function manyTokens(count: number): Uint8Array[] {
  const random = randomOf(7)
  const encoder = new TextEncoder()
  const tokens = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte))
  for (const part of parts) tokens.push(encoder.encode(part))
  tokens.push(encoder.encode('y'.repeat(LONGEST_TOKEN)), encoder.encode('y'.repeat(LONGEST_TOKEN + 1)))
  while (tokens.length < count) {
    const text = Array.from({ length: 1 + random(4) }, () => parts[random(parts.length)]).join('')
    const bytes = encoder.encode(text)
    tokens.push(random(5) === 0 ? bytes.subarray(random(bytes.length)) : bytes)
  }
  return tokens
}

const tokens = manyTokens(3000)
const vocabulary: Vocabulary = {
  bytesOf: (id) => tokens[id] ?? new Uint8Array(),
  controlNames: () => ['<end>'],
  controlAt: (text) => (text === '<end>' ? tokens.length : undefined),
}
const END = tokens.length
const vocabSize = tokens.length + 1

const text = (schema: object) => compileSchema({ type: 'string', ...schema })
const grammars: Record<string, Grammar> = {
  'any string': text({}),
  'a string of a length': text({ minLength: 3, maxLength: 9 }),
  'a longer one': text({ minLength: 20, maxLength: 150 }),
  'a list of them': compileSchema({ items: { type: 'string', minLength: 1, maxLength: 6 } }),
  letters: text({ pattern: '^\\p{L}+(?: \\p{L}+)*$' }),
  'lower case': text({ pattern: '^[a-z]+(?:-[a-z]+){0,3}$', maxLength: 20 }),
  lines: text({ pattern: '^.{1,40}$' }),
  'not all signs': text({ pattern: '^[^.,"]{2,}$' }),
  'found somewhere': text({ pattern: 'sun\\d+' }),
  'found within a length': text({ pattern: 'a.*Z', minLength: 4, maxLength: 14 }),
  'a length and no end of lines': text({ pattern: '^.{1,9}$' }),
  'all but one letter': text({ pattern: '^a?[b-z]{1,8}$' }),
  'an even number': text({ pattern: '^(?:..)*$', maxLength: 15 }),
  names: compileSchema({ properties: { the: {}, there: { type: 'number' } }, additionalProperties: { type: 'boolean' } }),
  'names in any order': compileSchema(
    { properties: { a: { type: 'integer' }, the: {} }, required: ['a'], patternProperties: { '^Z': { const: 'fooBar' } } },
    { form: 'any' },
  ),
  'one of some objects': compileSchema({
    anyOf: ['the', 'sun', 'é'].map((kind) => ({ properties: { kind: { const: kind }, x: { type: 'number' } }, required: ['kind'] })),
  }),
  words: compileSchema({ enum: ['the', 'thesun', 'sun', 'é', 'Größe', 42, null, ['a'], '\n"'] }),
  'a pattern alone': compilePattern('(?:- [A-Z][a-z]+(?: [a-z]+){0,3}\\.\\n){2}'),
  'a pattern that may end anywhere': compilePattern('[a-z ]*.*'),
  'a pattern with something behind it': sequence([compilePattern('[a-zA-Z ]+\\d*'), literal('.\n<end>', ['<end>'])]),
} // biome-ignore format: one a line

/** Every token, read byte by byte. */
function byBytes(machine: Machine, state: MachineState): number[] {
  const ids: number[] = []
  for (let id = 0; id < END; id++) {
    const bytes = tokens[id] as Uint8Array
    // 0xff stands around the names of control tokens, see vocabulary.ts.
    if (bytes.length > LONGEST_TOKEN || bytes.includes(0xff)) continue
    let at: MachineState | null = state
    for (const byte of bytes) at = at && machine.step(at, byte)
    if (at) ids.push(id)
  }
  let at: MachineState | null = state
  for (const byte of [0xff, ...new TextEncoder().encode('<end>'), 0xff]) at = at && machine.step(at, byte)
  return at ? [...ids, END] : ids
}

for (const [name, grammar] of Object.entries(grammars))
  test(`masks of ${name}`, () => {
    const random = randomOf(11)
    const machine = new Machine(grammar)
    let count = 0
    for (let round = 0; round < 4; round++) {
      const constraint = constraintOf(grammar, { tokenizer: vocabulary, vocabSize, ends: [] })
      let state: MachineState | null = machine.start
      for (let i = 0; i < 12 && state; i++) {
        const mask = constraint.allowed() as Uint32Array
        const expected = byBytes(machine, state)
        const allowed = Array.from({ length: vocabSize }, (_, id) => id).filter((id) => ((mask[id >> 5] as number) >>> (id & 31)) & 1)
        assert.equal(allowed, expected, `${name}, round ${round}, token ${i}`)
        count++
        if (expected.length === 0 || expected.at(-1) === END) break
        const token = expected[random(expected.length)] as number
        constraint.push(token)
        for (const byte of tokens[token] as Uint8Array) state = state && machine.step(state, byte)
      }
    }
    assert.ok(count > 8, `${count} states`)
  }) // biome-ignore format: wide

test.run()
