/** Our engine as a subject of bench:peers. */
import { readFileSync } from 'node:fs'
import { KvCache } from '../../host/cache/cache.ts'
import { greedy, nameOf, type Weights } from '../../host/engine/engine.ts'
import { openWasmEngine } from '../../host/engine/wasm/engine.ts'
import { fillSynthetic } from '../../host/tools/bench/synthetic.ts'
import { describe, planModel, type WeightType } from '../../models/index.ts'
import { contextOf, readTask, run } from './measure.ts'

const task = readTask()
const model = describe(JSON.parse(readFileSync(task.config, 'utf8')))
const plan = planModel(model, task.type as WeightType)
const options = {
  context: contextOf(task),
  cache: 'int8' as const,
  maxRows: 64,
  maxLogits: 1,
  conversations: 1,
  threads: task.threads,
}
const load = (target: Weights) => fillSynthetic(model, plan, target.write)
const cache = new KvCache(await openWasmEngine({ spec: model.spec, plan, options, load }))

await run(
  {
    name: nameOf(cache),
    threads: cache.threads.prefill,
    async prefill(from, tokens) {
      for (let start = 0; start < tokens.length; start += cache.facts.maxRows) {
        const rows = tokens.slice(start, start + cache.facts.maxRows).map((token, i) => {
          const isLast = start + i === tokens.length - 1
          return { conversation: 0, position: from + start + i, token, sampling: isLast ? greedy : undefined }
        })
        await cache.step(rows)
      }
    },
    async decode(from, token, count) {
      let next = token
      for (let position = from; position < from + count; position++)
        [next = 0] = await cache.step([{ conversation: 0, position, token: next, sampling: greedy }])
    },
    rewind: (length) => void cache.rewind(0, length),
  },
  task,
)
