/**
 * npm run identity: the same prompts on every platform, build and number of threads that can be had here, and whether
 * they give the same token ids and the same logits, to the last bit.
 *
 *     npm run identity                       everything: 20 prompts of 64 tokens, at temperature 0 and with seeds
 *     npm run identity -- --quick            … 5 prompts of 8 tokens, where a row is slow: rows.ts
 *     npm run identity -- --only a76,browser rows whose lane has one of these words, and the first one
 *     npm run identity -- --first            one row of each lane: the first
 *     npm run identity -- -o json            for programs
 *
 * The exit code is 1 if anything differs or fails, 2 for wrong usage. What cannot be run here is skipped, and says why.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

import { CommandHeader } from '../../assembly/wasi/abi.ts'
import { choiceOf, readArguments, refuse } from '../../bench/arguments.ts'

import { defaultModel, load } from '../../host/index.ts'
import { runtimeOf } from '../../host/runtime/model.ts'
import { prompts } from '../fixtures/prompts.ts'
import { limit } from '../harness/limits.ts'
import type { Answer, Case, Job } from './job.ts'
import { describe, prepare, type Row, rows } from './rows.ts'
import { judge, laneLines, markdown, type Result, type Size, type Verdict } from './table.ts'

const FULL: Size = { prompts: prompts.length, tokens: 64 }
const QUICK: Size = { prompts: 5, tokens: 8 }
const ROW_SECONDS = 1500

const { values } = readArguments({
  command: 'npm run identity --',
  about: 'The same prompts on every platform, build and number of threads that can be had here: equal to the last bit?',
  flags: {
    quick: { type: 'boolean', default: false, help: 'less of it where a platform is emulated or interpreted' },
    only: {
      type: 'string',
      value: 'WORD,…',
      default: '',
      help: 'rows whose lane has one of these words, and the first',
    },
    first: { type: 'boolean', default: false, help: 'of each lane the first row only' },
    output: { type: 'string', short: 'o', value: 'md|json', default: 'md', help: 'what to print' },
  },
})

const words = values.only.split(',')
choiceOf('-o', values.output, ['md', 'json'])
for (const word of words)
  if (!rows.some(({ lane }) => lane.includes(word)))
    refuse(`--only must be parts of ${[...new Set(rows.map(({ lane }) => lane))].join(', ')}, found "${word}"`)

const folder = mkdtempSync(join(tmpdir(), 'gta-identity-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
const model = fileURLToPath(defaultModel)
const wordless = join(folder, 'wordless.gta')
const engines = join(folder, 'engines.mjs')

/** The model without its tables for text, so that the command shows token ids: they begin where they end. */
function hideTables(): void {
  const bytes = readFileSync(model)
  const record = 8 + Number(bytes.readBigUInt64LE())
  const fields = Object.keys(new CommandHeader())
  const [begin, end] = ['tablesBegin', 'tablesEnd'].map((name) => record + 4 * fields.indexOf(name)) as [number, number]
  if (bytes.readUInt32LE(begin) === bytes.readUInt32LE(end))
    throw new Error(`${model} has no tables for text: gta convert packs them`)
  bytes.copy(bytes, end, begin, begin + 4)
  writeFileSync(wordless, bytes)
}

/** engines.ts for every Node; it and all that it takes files from lie in folders of test/. */
async function bundleEngines(): Promise<void> {
  await build({
    entryPoints: [fileURLToPath(new URL('engines.ts', import.meta.url))],
    outfile: engines,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    define: { 'import.meta.url': JSON.stringify(new URL('engines.ts', import.meta.url).href) },
  })
}

/** Cases of all prompts at temperature 0, then with seeds: what the model recommends besides. */
async function makeCases(): Promise<Case[][]> {
  const tokenizer = await load(defaultModel, { threads: 1 })
  const all = prompts.map((prompt) => ({ prompt, ids: runtimeOf(tokenizer).promptIds(prompt) }))
  await tokenizer.close()
  return [
    all.map((one) => ({ ...one, temperature: 0, seed: 0 })),
    // Also seeds of more than 32 bits.
    all.map((one, i) => ({ ...one, seed: (i + 1) * 2 ** (2 * i) })),
  ]
}

async function runRow(row: Row, size: Size, cases: Case[][]): Promise<Result> {
  const runtime = prepare(row)
  if (typeof runtime === 'string') return { row, size, seconds: 0, skipped: runtime }
  const step = prompts.length / size.prompts
  const chosen = cases.flatMap((half) => half.filter((_, i) => i % step === Math.min(1, step - 1)))
  const { engine, build, threads, flags = [] } = row
  const job: Job = { engine, build, threads, tokens: size.tokens, cases: chosen, model, wordless }
  const program = engine.startsWith('chromium') ? fileURLToPath(new URL('chromium.ts', import.meta.url)) : engines
  const started = performance.now()
  const args = [...runtime.args, ...flags, '--no-warnings', program, JSON.stringify(job)]
  const { status, output, errors } = await start(runtime.command, args)
  const seconds = (performance.now() - started) / 1000
  if (status !== 0) return { row, size, seconds, failed: `ended with ${status}: ${reasonOf(errors)}` }
  return { row, size, seconds, answer: JSON.parse(output.trim().split('\n').at(-1) as string) as Answer }
}

/** The line of a stack trace that says something, or the first line of whatever there is. */
const reasonOf = (errors: string) =>
  (/^.*\w*Error\b:.*$/m.exec(errors)?.[0] ?? errors.trim().split('\n')[0] ?? '').slice(0, 200)

async function start(command: string, args: string[]) {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limit(ROW_SECONDS),
    killSignal: 'SIGKILL',
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  child.stderr.on('data', (data) => {
    errors += data
  })
  const status = await new Promise<number | string | null>((resolve) => {
    child.on('error', ({ message }) => resolve(message))
    child.on('close', (code, signal) => resolve(code ?? signal))
  })
  return { status, output, errors }
}

/** Slow rows first: two of them at once take half of the time. */
async function runAll(tasks: { row: Row; size: Size }[], cases: Case[][]): Promise<Result[]> {
  const results: Result[] = []
  const queue = [...tasks.entries()].sort(([, a], [, b]) => Number(b.row.isSlow) - Number(a.row.isSlow)).values()
  async function work(): Promise<void> {
    for (const [i, { row, size }] of queue) {
      const result = await runRow(row, size, cases)
      results[i] = result
      const what = result.skipped ?? result.failed ?? `${result.seconds.toFixed(0)} s`
      console.error(`${result.skipped ? 'SKIPPED: ' : ''}${describe(row)}, ${row.build}: ${what}`)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  return results
}

function record({ row, size, seconds, greedy, seeded, verdict, isGood }: Verdict): object {
  const { lane, engine, build, threads, runtime, flags = [] } = row
  return {
    platform: describe(row),
    lane,
    engine,
    build,
    threads,
    runtime,
    flags,
    ...size,
    greedy,
    seeded,
    seconds,
    verdict,
    isGood,
  }
}

const [first, ...others] = rows as [Row, ...Row[]]
const isFirst = ({ lane }: Row, i: number) => others.findIndex((row) => row.lane === lane) === i && lane !== first.lane
const chosen = [
  first,
  ...others.filter((row, i) => words.some((word) => row.lane.includes(word)) && (!values.first || isFirst(row, i))),
]
const sizeOf = (row: Row) => (values.quick && row.isSlow ? QUICK : FULL)
const tasks = chosen.map((row) => ({ row, size: sizeOf(row) }))
// What the short ones are compared with.
if (tasks.some(({ size }) => size === QUICK)) tasks.unshift({ row: first, size: QUICK })
hideTables()
await bundleEngines()
const verdicts = judge(await runAll(tasks, await makeCases()))
const failed = verdicts.filter(({ isGood }) => !isGood).length
const passed = verdicts.filter(({ isGood, skipped }) => isGood && !skipped).length
if (values.output === 'json') console.log(JSON.stringify({ passed, failed, rows: verdicts.map(record) }, null, 2))
else {
  console.log(markdown(verdicts))
  if (values.quick)
    console.log(`--quick: slow rows ran ${QUICK.prompts} × ${QUICK.tokens} only; npm run identity runs all.`)
  for (const line of laneLines(verdicts)) console.log(line)
  console.log(`${passed} passed, ${failed} failed`)
}
process.exitCode = failed === 0 ? 0 : 1
