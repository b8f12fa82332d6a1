/** What `close()` gives back: the memory of a model, at once, whatever the app's garbage collector does. */
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { layOut } from '../host/files/pack.ts'
import { fillSynthetic } from '../host/tools/bench/synthetic.ts'
import { describe, planModel } from '../models/index.ts'
import { gqaConfig, temporary } from './fixtures/checkpoints.ts'
import { nodeBinary, nodeVersions } from './harness/node-versions.ts'
import { skipLoudly } from './harness/tools.ts'

interface Run {
  peak: number
  left: number
}

/** Some 165 MB: what a process takes besides is well below a tenth of that. */
const config = {
  ...gqaConfig,
  ...{ hidden_size: 1024, intermediate_size: 2816, num_hidden_layers: 14, num_attention_heads: 16 },
  ...{ num_key_value_heads: 4, vocab_size: 2048, max_position_embeddings: 256 },
}
const model = describe(config)
const plan = planModel(model, 'q8')
const path = join(temporary(), 'large.gta')
const { header, command } = layOut(model.spec, { config }, plan)
const weights = new Uint8Array(plan.bytes)
await fillSynthetic(model, plan, (offset, bytes) => weights.set(bytes, offset))
writeFileSync(path, Buffer.concat([header, command.bytes, weights]))

const url = (file: string) => JSON.stringify(new URL(file, import.meta.url).href)
/** In bytes: what the process takes before, and for each model: the most with it, and what is left within a second of close(). */
const program = `
import { readFileSync, writeFileSync } from 'node:fs'
import { load } from ${url('../dist/index.mjs')}
const status = (name) => 1024 * Number(new RegExp(name + ':\\\\s+(\\\\d+)').exec(readFileSync('/proc/self/status', 'utf8'))[1])
const use = async (path) => {
  writeFileSync('/proc/self/clear_refs', '5') // The peak begins again.
  const model = await load(path, { threads: 2 })
  for await (const _ of model.generate([1, 2, 3], { maxTokens: 4 }));
  await model.close()
  const peak = status('VmHWM')
  await new Promise((resolve) => setTimeout(resolve, 900))
  return { peak, left: status('VmRSS'), model }
}
// What the first models leave is code, and heaps of workers that V8 uses again: not theirs.
for (let i = 0; i < 3; i++) await use(new URL(${url('../models/stories/stories.gta')}))
const before = status('VmRSS')
const runs = [] // An app may hold on to models that it has closed.
for (let i = 0; i < 2; i++) runs.push(await use(${JSON.stringify(path)}))
console.log(JSON.stringify({ before, runs: runs.map(({ peak, left }) => ({ peak, left })) }))`

for (const [major, version] of Object.entries(nodeVersions)) {
  const node = nodeBinary(version, { fetch: false })
  const name = `Node ${major}: the memory of a model is given back within a second of close(), and a second one takes no more`
  if (!existsSync('/proc/self/clear_refs')) {
    skipLoudly(name, 'no /proc/self/clear_refs')
    continue
  }
  if (!node) {
    skipLoudly(name, `Node ${version} is not here (npm run nodes)`)
    continue
  }
  test(name, () => {
    const { stdout, stderr } = spawnSync(node, ['--input-type=module', '-e', program], { encoding: 'utf8' })
    assert.match(stdout, /^\{/, stderr)
    const { before, runs } = JSON.parse(stdout) as { before: number; runs: Run[] }
    const [first, second] = runs.map(({ peak, left }) => ({
      peak: peak - before,
      left: (left - before) / plan.bytes,
    })) as [Run, Run]
    for (const { left } of [first, second]) assert.ok(left < 0.1, `${left.toFixed(3)} of the weights are left`)
    assert.ok(first.peak > plan.bytes, 'the model was in memory')
    const more = second.peak / first.peak
    assert.ok(more < 1.15, `the second model takes ${more.toFixed(3)} of what the first took`)
  })
}

test.run()
