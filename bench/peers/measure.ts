/**
 * What is timed, once for all: each engine is a subject, each subject runs in a process of its own, and this file gives
 * them the same tests in the same order with the same warm-up. The last line on stdout is one JSON document of the same
 * form as that of `gta bench`, and the options are its options too, so that it can stand in for a subject.
 *
 *     node bench/peers/SUBJECT.ts --config FILE --type q8 [--gguf FILE] -t 2 -p 128,512 -d 16,1536 -n 16
 */
import { readArguments } from '../arguments.ts'

export interface Task {
  /** A config.json of models/configs. */
  config: string
  type: string
  /** The same shapes as a GGUF file; for peers. */
  gguf: string
  /** Which of llama.cpp's CPU builds; empty: the best one, by its own choice. */
  build: string
  threads: number
  /** Prompt lengths to time. */
  prompts: number[]
  /** Positions behind which decode is timed. */
  depths: number[]
  /** Tokens that one decode test generates. */
  predict: number
}

export interface Subject {
  /** For people: engine, version, build. */
  readonly name: string
  /** Threads that it really uses. */
  readonly threads: number
  /** Runs the tokens of positions `from`, `from + 1`, … as fast as it can, up to the logits of the last one. */
  prefill(from: number, tokens: number[]): Promise<void>
  /** Generates `count` tokens, the first behind `token` at position `from`. */
  decode(from: number, token: number, count: number): Promise<void>
  /** Forgets all positions from `length` on. */
  rewind(length: number): Promise<void> | void
}

export interface Result {
  /** Prompt processing or text generation, as llama-bench calls them. */
  test: 'pp' | 'tg'
  tokens: number
  depth: number
  threads: number
  tokensPerSecond: { median: number; min: number; max: number }
}

export interface Report {
  schema: 1
  engine: string
  results: Result[]
  peakRssBytes: number
}

export function readTask(): Task {
  const text = (help: string) => ({ type: 'string', default: '', help }) as const
  const { values } = readArguments({
    command: 'node bench/peers/SUBJECT.ts',
    about: 'One engine, timed in a process of its own: what run.ts starts.',
    flags: {
      config: text('config.json, of ours'),
      type: text('weight type, of ours'),
      gguf: text('GGUF file, of a peer'),
      build: text('build of llama.cpp'),
      threads: { type: 'string', short: 't', value: 'N', default: '1', help: 'threads' },
      prompts: { type: 'string', short: 'p', value: 'N,…', default: '128', help: 'tokens of the prompts' },
      depths: { type: 'string', short: 'd', value: 'N,…', default: '16', help: 'tokens in the cache' },
      predict: { type: 'string', short: 'n', value: 'N', default: '16', help: 'tokens to generate' },
    },
  })
  const { config, type, gguf, build } = values
  const [prompts, depths] = [numbers(values.prompts), numbers(values.depths)]
  return {
    config,
    type,
    gguf,
    build,
    threads: Number(values.threads),
    prompts,
    depths,
    predict: Number(values.predict),
  }
}

export const numbers = (list: string) => list.split(',').filter(Boolean).map(Number)

/** Positions that a subject must have room for. */
export const contextOf = ({ prompts, depths, predict }: Task) => Math.max(WARM_UP, ...prompts, ...depths) + predict

/** Brings in the weights, starts threads, and gives compilers a reason: 16 tokens of prompt, 4 generated. */
const WARM_UP = 16
const WARM_UP_PREDICT = 4

export async function run(subject: Subject, task: Task): Promise<never> {
  // Ids that are no special tokens, the same for every engine.
  const token = (position: number) => 300 + (position % 20_000)
  const tokens = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => token(from + i))
  /** Positions that hold the prompt; generated tokens behind them are forgotten. */
  let length = 0
  async function prefillTo(target: number): Promise<void> {
    length = Math.min(length, target)
    await subject.rewind(length)
    if (length < target) await subject.prefill(length, tokens(length, target))
    length = target
  }
  async function time(test: 'pp' | 'tg', count: number, depth: number, work: () => Promise<void>): Promise<Result> {
    const begin = performance.now()
    await work()
    const speed = (1000 * count) / (performance.now() - begin)
    const tokensPerSecond = { median: speed, min: speed, max: speed }
    return { test, tokens: count, depth, threads: subject.threads, tokensPerSecond }
  }

  await prefillTo(WARM_UP)
  await subject.decode(WARM_UP, token(WARM_UP), Math.min(WARM_UP_PREDICT, task.predict))
  const results: Result[] = []
  for (const prompt of task.prompts) {
    length = 0
    await subject.rewind(0)
    results.push(await time('pp', prompt, 0, () => prefillTo(prompt)))
  }
  // Ascending, so that what was timed last is the beginning of the next.
  for (const depth of task.depths.toSorted((a, b) => a - b)) {
    await prefillTo(depth)
    results.push(await time('tg', task.predict, depth, () => subject.decode(depth, token(depth), task.predict)))
  }
  const peakRssBytes = process.resourceUsage().maxRSS * 1024
  const report: Report = { schema: 1, engine: subject.name, results, peakRssBytes }
  console.log(JSON.stringify(report))
  // process.exit(), because threads of an engine may keep the event loop alive.
  process.exit(0)
}
