/**
 * What an int8 cache and q8 weights cost, on random weights of sensible scale: some families, the first shape of each.
 * `bench/divergence.ts` has all of them.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Config } from '../fixtures/checkpoints.ts'
import { divergences, smallConfigs } from '../fixtures/divergence.ts'
import { writeRandomModel } from '../fixtures/random-model.ts'

const LIMIT = 0.01
const configs = await smallConfigs()

for (const name of ['gqa', 'mla', 'gemma3', 'gpt_neox', 'smollm3'])
  test(`${name}: predictions diverge by at most ${LIMIT} from those in f32`, async () => {
    const config = configs.get(name)?.[0] as Config
    for (const [part, found] of Object.entries(await divergences(writeRandomModel(config), config)))
      assert.ok(found > 0 && found <= LIMIT, `${part}: ${found}`)
  })

test.run()
