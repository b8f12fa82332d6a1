/**
 * Prediction against measurement: `npm run bench:predict`. In every round the machine is measured anew and each test is run
 * once, one after the other, so that a neighbour's load falls on both; printed are medians of the rounds and the ratio of the
 * medians. The goal is a ratio within 25 % of 1 on a machine that is otherwise quiet.
 *
 *     node bench/predict.ts [--rounds 5] [--models 160m-gta1,160m-gqa,gta-1b,gqa-1b] [--types q8,q4] [--depths 128,2048] [--threads N]
 */
import { fileURLToPath } from 'node:url'
import { availableThreads } from '../host/runtime/tune.ts'
import { duration } from '../host/tools/analyze/amounts.ts'
import { type Explanation, explainBench } from '../host/tools/analyze/explain.ts'
import { measureThis } from '../host/tools/analyze/measure.ts'
import { bench } from '../host/tools/bench/bench.ts'
import { configs, describe, weightTypes } from '../models/index.ts'
import { choiceOf, readArguments, wholeOf } from './arguments.ts'

const { values } = readArguments({
  command: 'npm run bench:predict --',
  about: 'Prediction against measurement: medians of rounds, and their ratio.',
  flags: {
    rounds: { type: 'string', value: 'N', default: '5', help: 'how often everything is measured' },
    models: {
      type: 'string',
      value: 'NAME,…',
      default: '160m-gta1,160m-gqa,gta-1b,gqa-1b',
      help: 'configs of models/configs',
    },
    types: { type: 'string', value: 'TYPE,…', default: 'q8,q4', help: 'weight types' },
    depths: { type: 'string', value: 'N,…', default: '128,2048', help: 'tokens of a prompt, or in the cache' },
    threads: { type: 'string', value: 'N', help: 'threads (default: all that there are)' },
  },
})
const models = values.models.split(',').map((name) => choiceOf('--models', name, Object.keys(configs)))
const types = values.types.split(',').map((type) => choiceOf('--types', type, weightTypes))
const depths = values.depths.split(',').map((depth) => wholeOf('--depths', depth))
const threads = values.threads === undefined ? availableThreads() : wholeOf('--threads', values.threads)
const rounds = wholeOf('--rounds', values.rounds)

/** A prompt as long as the context, and 16 tokens behind it. */
async function round(): Promise<Explanation[]> {
  const found: Explanation[] = []
  for (const model of models)
    for (const type of types) {
      const hardware = await measureThis({ again: 'anew' })
      const config = fileURLToPath(new URL(`../models/configs/${model}.json`, import.meta.url))
      const common = { config, type, threads: [threads], repetitions: 1 }
      const prompts = await bench({ ...common, prompt: depths, predict: [0] })
      const tokens = await bench({ ...common, prompt: [0], predict: [16], depth: depths })
      for (const one of [prompts, tokens]) found.push(...explainBench(one, model, describe(configs[model]), hardware))
    }
  return found
}

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2
}

const all = new Map<string, Explanation[]>()
for (let i = 1; i <= rounds; i++) {
  console.error(`round ${i} of ${rounds}`)
  for (const one of await round()) all.set(one.name, [...(all.get(one.name) ?? []), one])
}
console.log(`Medians of ${rounds} alternating runs, ${threads} thread${threads === 1 ? '' : 's'}:\n`)
console.log('| test | predicted | measured | measured / predicted | matrices | sweep | value decoder | the rest |')
console.log('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
for (const [name, list] of all) {
  const [predicted, measured] = [median(list.map((one) => one.predicted)), median(list.map((one) => one.measured))]
  const parts = list[0]?.groups.map((_, i) => {
    const [expected, found] = (['predicted', 'measured'] as const).map((side) =>
      median(list.map((one) => one.groups[i]?.[side] ?? 0)),
    ) as [number, number]
    return found > 0 && expected > 0 ? (found / expected).toFixed(2) : '–'
  })
  console.log(
    `| ${name} | ${duration(predicted)} | ${duration(measured)} | ${(measured / predicted).toFixed(2)} | ${parts?.join(' | ')} |`,
  )
}
