/**
 * The JSON-Schema-Test-Suite (see golden/json-schema/README.md): every schema is refused, which ours.json lists, or its automaton
 * takes the valid instances, but for those of the list, and no other.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileSchema } from '../host/text/structured/compile.ts'
import { SchemaError } from '../host/text/structured/errors.ts'
import type { Grammar } from '../host/text/structured/rule.ts'
import { plainJson, read } from './fixtures/grammar.ts'

const folder = new URL('./golden/json-schema/', import.meta.url)

interface Case {
  description: string
  schema: unknown
  tests: { description: string; data: unknown; valid: boolean }[]
}

interface Ours {
  /** By file and schema: the keyword, its place, and a reason where it needs one. */
  refused: Record<string, string>
  /** By file, schema and instance: why a valid one is not written. */
  narrower: Record<string, string>
}

const ours: Ours = JSON.parse(readFileSync(new URL('ours.json', folder), 'utf8'))
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.json') && name !== 'ours.json')
  .sort()

/** The grammar of a schema; what is refused of it; or neither, if nothing satisfies it. */
function compile(schema: unknown): Grammar | string | undefined {
  try {
    return compileSchema(schema, { form: 'any' })
  } catch (error) {
    assert.instance(error, SchemaError)
    const { keyword, place, message } = error as SchemaError
    return /one that none satisfies/.test(message) ? undefined : `${keyword} at "${place}"`
  }
}

test('every instance of the suite is taken or refused as it says, or its schema is refused by name', () => {
  const found: Ours = { refused: {}, narrower: {} }
  let count = 0
  for (const file of files)
    for (const { description, schema, tests } of JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Case[]) {
      const grammar = compile(schema)
      const name = `${file}: ${description}`
      if (typeof grammar === 'string') {
        found.refused[name] = grammar
        continue
      }
      for (const { description: instance, data, valid } of tests) {
        const isTaken = grammar !== undefined && read(grammar, plainJson(data)) === 'whole'
        count++
        if (isTaken && !valid)
          assert.unreachable(`${name}: ${instance}: ${plainJson(data)} is not valid, and was taken`)
        if (!isTaken && valid) found.narrower[`${name}: ${instance}`] = ours.narrower[`${name}: ${instance}`] ?? ''
      }
    }
  assert.equal(found, ours)
  assert.ok(count > 800, `${count} instances`)
})

test.run()
