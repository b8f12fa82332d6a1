/**
 * A GPU in the papers' regime: `npm run bench:gpu`, for a machine that has one. GTA-1B and GQA-1B with synthetic weights, prompts,
 * single tokens at several depths and conversations; beside each the least bytes and operations per second that it takes, and,
 * if the device is named, their share of its roofline and the analyzer's prediction.
 *
 *     node bench/gpu.ts --device nvidia_H200
 *     node bench/gpu.ts --force --models 160m-gta1 --types q8 --prompts 32 --tokens 2 --depths 0 --batches 1 --rounds 1     # works here
 */
import { fileURLToPath } from 'node:url'
import { percent } from '../host/tools/analyze/amounts.ts'
import { Analysis } from '../host/tools/analyze/analyze.ts'
import { findHardware } from '../host/tools/analyze/hardware.ts'
import { benchGpu, type GpuBenchRow } from '../host/tools/bench/gpu.ts'
import { configs, describe, weightTypes } from '../models/index.ts'
import { choiceOf, readArguments, wholeOf } from './arguments.ts'

const { values } = readArguments({
  command: 'npm run bench:gpu --',
  about: 'A GPU with the 1B models of the papers: speed, roofline, prediction.',
  flags: {
    device: { type: 'string', value: 'NAME', help: 'what it is, of gta analyze --list: for roofline and prediction' },
    models: { type: 'string', value: 'NAME,…', default: 'gta-1b,gqa-1b', help: 'configs of models/configs' },
    types: { type: 'string', value: 'TYPE,…', default: 'q8,q4', help: 'weight types' },
    prompts: { type: 'string', value: 'N,…', default: '512,2048', help: 'tokens of prompts' },
    depths: { type: 'string', value: 'N,…', default: '128,2048,16384,65536', help: 'tokens in the cache' },
    batches: { type: 'string', value: 'N,…', default: '1,8,32', help: 'conversations, up to --most tokens of cache' },
    most: { type: 'string', value: 'N', default: '131072', help: 'depth times conversations that are not left out' },
    tokens: { type: 'string', value: 'N', default: '16', help: 'tokens to generate' },
    slice: { type: 'string', value: 'N', default: '512', help: 'tokens of a prompt per step' },
    rounds: { type: 'string', value: 'N', default: '3', help: 'repetitions' },
    force: { type: 'boolean', default: false, help: 'also a GPU in software, whose figures say nothing' },
  },
})
const list = (name: 'prompts' | 'depths' | 'batches', least: number) =>
  values[name].split(',').map((text) => wholeOf(`--${name}`, text, least))
const models = values.models.split(',').map((name) => choiceOf('--models', name, Object.keys(configs)))
const types = values.types.split(',').map((type) => choiceOf('--types', type, weightTypes))
const [prompts, depths, batches] = [list('prompts', 1), list('depths', 0), list('batches', 1)]
const [tokens, slice, rounds, most] = (['tokens', 'slice', 'rounds', 'most'] as const).map((name) =>
  wholeOf(`--${name}`, values[name]),
) as [number, number, number, number]
const device = values.device === undefined ? undefined : findHardware(values.device)

/** Tokens per second by the analyzer, which knows the device. */
function predicted(model: string, type: (typeof types)[number], row: GpuBenchRow): number | undefined {
  if (!device) return undefined
  const analysis = new Analysis(describe(configs[model]), device, { type, cache: 'int8', rowsPerStep: slice })
  if (row.phase === 'pp') return row.tokens / analysis.seconds('prefill', 1, row.tokens)
  return row.conversations / analysis.seconds('decode', row.conversations, row.depth + row.tokens / 2)
}

const digits = (n: number | undefined) => (n === undefined ? '–' : n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0))

console.log(
  '| model | type | test | tok/s | min … max | GB/s | of memory | GOP/s | of int8 | predicted | measured / predicted |',
)
console.log(`| --- | --- | --- |${' ---: |'.repeat(8)}`)
for (const model of models)
  for (const type of types) {
    const config = fileURLToPath(new URL(`../models/configs/${model}.json`, import.meta.url))
    const common = {
      config,
      type,
      cache: 'int8',
      batch: slice,
      repetitions: rounds,
      engines: ['on'],
      gpuForce: values.force,
    } as const
    const runs = [
      { prompt: prompts, predict: [0], depth: [0], conversations: [1] },
      ...batches.map((count) => {
        const depth = depths.filter((tokens) => tokens * count <= most)
        return { prompt: [0], predict: [tokens], depth, conversations: [count] }
      }),
    ]
    for (const run of runs.filter(({ depth }) => depth.length > 0)) {
      const { rows, gpu, unfit } = await benchGpu({ ...common, ...run })
      if (model === models[0] && type === types[0] && run === runs[0])
        console.error(`${gpu}${unfit === undefined ? '' : `: THESE FIGURES SAY NOTHING, ${unfit}`}`)
      for (const row of rows) {
        const [spread] = row.tokensPerSecond
        if (!spread) continue
        const seconds = (row.tokens * row.conversations) / spread.median
        const [bytes, operations] = [row.work.bytes / seconds, (2 * row.work.macs) / seconds]
        const share = (n: number, peak: number | undefined) => (peak === undefined ? '–' : percent(n / peak))
        const guess = predicted(model, type, row)
        const cells = [
          ...[model, type, row.test, digits(spread.median), `${digits(spread.min)} … ${digits(spread.max)}`],
          ...[digits(bytes / 1e9), share(bytes, device?.bandwidth.peak.value)],
          ...[digits(operations / 1e9), share(operations, device?.peak.INT8?.value)],
          ...[digits(guess), guess === undefined ? '–' : digits(spread.median / guess)],
        ]
        console.log(`| ${cells.join(' | ')} |`)
      }
    }
  }
