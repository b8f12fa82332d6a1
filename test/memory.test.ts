/** What is promised before a model is loaded must be what its engine then takes. */
import { readdirSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { chooseBuild } from '../host/engine/wasm/builds.ts'
import { estimateMemory, layoutMemory } from '../host/engine/wasm/engine.ts'
import { describe, planModel } from '../models/index.ts'
import { relaxed, strict } from './engines.ts'
import { golden, kinds, readJson } from './goldens.ts'

const configs = new URL('../models/configs/', import.meta.url).pathname
const models = [
  ...readdirSync(configs).map((file) => describe(readJson(`${configs}${file}`))),
  ...kinds.map((kind) => describe({ ...readJson(golden(`${kind}/config.json`)), attention_kind: kind.split('-')[0] })),
]

for (const build of [relaxed, strict])
  test(`${build.name}: the estimate covers the layout, and not much more`, async () => {
    const { module } = await chooseBuild(build)
    for (const model of models)
      for (const type of ['q8', 'q4'] as const)
        for (const [threads, conversations] of [
          [1, 1],
          [4, 3],
          [64, 1],
        ] as const) {
          const plan = planModel(model, type)
          const context = Math.min(model.spec.maxContext, 2048)
          const options = { context, cache: 'int8' as const, maxRows: 64, maxLogits: 1, conversations, threads }
          const estimate = estimateMemory(model.spec, plan, options)
          // The layout is counted in untouched memory: only the weights' pages are reserved for a moment.
          const { bytes } = layoutMemory(module, model.spec, plan, options)
          assert.ok(
            estimate >= bytes,
            `${model.spec.kind} ${type}, ${threads} threads: ${bytes}, estimated ${estimate}`,
          )
          assert.ok(estimate <= 1.2 * bytes + 2e6, `${model.spec.kind} ${type}: ${bytes}, estimated ${estimate}`)
        }
  })

test.run()
