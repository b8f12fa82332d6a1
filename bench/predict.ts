/**
 * Prediction against measurement: `npm run bench:predict`. In every round the machine is measured anew and each test is run
 * once, one after the other, so that a neighbour's load falls on both; printed are medians of the rounds and the ratio of the
 * medians. The goal is a ratio within 25 % of 1 on a machine that is otherwise quiet.
 *
 * What other programs took of the processors stands below the table: with more than a tenth, the ratios say little.
 *
 *     node bench/predict.ts [--rounds 5] [--models 160m-gta1,160m-gqa,gta-1b,gqa-1b] [--types q8,q4] [--depths 128,2048] [--threads N]
 *     node bench/predict.ts --models 160m-gqa --types q8 --depths 2048,3072,4096,8192     # where a cache outgrows the chip
 */
import { fileURLToPath } from 'node:url'
import { isBusy } from '../host/runtime/measurements.ts'
import { availableThreads } from '../host/runtime/tune.ts'
import { duration, percent } from '../host/tools/analyze/amounts.ts'
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

/** What others took of the processors, test by test. */
const foreign: number[] = []

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
      for (const { foreignShare } of [prompts, tokens].flatMap(({ results }) => results))
        if (foreignShare !== undefined) foreign.push(foreignShare)
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
const [least, most] = [Math.min(...foreign), Math.max(...foreign)]
console.log(
  foreign.length > 0
    ? `\nOther programs took ${percent(least)} to ${percent(most)} of the processors.${isBusy({ foreignShare: most }) ? ' THE MACHINE WAS BUSY: measure again in quiet.' : ''}`
    : '\nWhat other programs took is unknown.',
)
