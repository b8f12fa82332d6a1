/** The plan: what models/ writes is what assembly/ reads, and a packed layout keeps its promises. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  describe,
  disassemble,
  PAGE_TOKENS,
  PLAN_VERSION,
  planHeader,
  planMatrices,
  planMatrix,
  planModel,
  planVectors,
} from '../models/index.ts'
import { golden, kinds, readJson } from './goldens.ts'

const engineSource = (name: string) => readFileSync(new URL(`../assembly/${name}`, import.meta.url), 'utf8')

/** Field names of an @unmanaged class, in order. */
function fieldsOf(source: string, name: string): string[] {
  const body = source.match(new RegExp(`class ${name} \\{([^}]*)\\}`))?.[1] ?? ''
  return [...body.matchAll(/^ {2}(\w+): \w+/gm)].map(([, field]) => field as string)
}

test('both sides declare the same words in the same order', () => {
  const source = engineSource('plan.ts')
  assert.equal(fieldsOf(source, 'Plan'), [...planHeader])
  assert.equal(fieldsOf(source, 'Matrix'), [...planMatrix])
  assert.equal(fieldsOf(source, 'Layer'), [...planVectors])
  // Matrices are read by number: inMatrix is 0, queryMatrix is 1, …
  const accessors = [
    ...source.matchAll(/function (\w+)Matrix\(layer: Layer\): Matrix \{\s+return matrixOf\(layer, (\d+)\)/g),
  ]
  assert.equal(
    accessors.map(([, name, index]) => `${index} ${name}`),
    planMatrices.map((name, index) => `${index} ${name}`),
  )
  assert.match(source, `const MATRICES: usize = ${planMatrices.length}\n`)
})

test('both sides agree on the version and on the page', () => {
  assert.match(engineSource('plan.ts'), `PLAN_VERSION: u32 = ${PLAN_VERSION}\n`)
  assert.match(engineSource('cache.ts'), `PAGE_TOKENS: u32 = ${PAGE_TOKENS}\n`)
})

for (const kind of kinds)
  for (const type of ['f32', 'q8'] as const)
    test(`${kind} ${type}: tensors follow each other on multiples of 64 bytes`, () => {
      const plan = planModel(describe(readJson(golden(`${kind}/config.json`))), type)
      let next = 0
      for (const { name, offset, bytes } of plan.tensors) {
        assert.is(offset, next, name)
        assert.is(bytes % 64, 0, name)
        next += bytes
      }
      assert.is(plan.bytes, next)
      assert.is(plan.tensors[0]?.name, 'plan')
      assert.is(new Set(plan.tensors.map(({ name }) => name)).size, plan.tensors.length)
    })

test('the plan can be read by people', () => {
  const lines = disassemble(planModel(describe(readJson(golden('gta/config.json'))), 'q8'))
  assert.is(lines[0], `version ${PLAN_VERSION}`)
  assert.ok(lines.includes('repeat 2'))
  assert.ok(lines.some((line) => /^layer 1 decoder q8 \(64, 16\) stride 64 at \d+ scales \d+$/.test(line)))
  assert.ok(lines.includes('layer 0 outBias 0'))
})

test.run()
