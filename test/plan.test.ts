/** The plan: a packed layout keeps its promises, and every part of it lies where the engine looks for it. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { describe, disassemble, PLAN_VERSION, planModel } from '../models/index.ts'
import { golden, kinds, readJson } from './goldens.ts'

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
  assert.ok(lines.some((line) => /^layer kind at \d+ repeat 2$/.test(line)))
  assert.ok(lines.some((line) => /^layer 1 decoder q8 \(64, 16\) stride 64 at \d+ scales \d+$/.test(line)))
  assert.ok(lines.includes('layer 0 outBias 0'))
})

test.run()
