/**
 * npm run conformance:gpu: every attention kind and every family on WebGPU, against its reference and against the engine on
 * the CPU, in Node on a software adapter or in chromium.
 *
 *     npm run conformance:gpu -- --adapter lavapipe                    64 cases, then the table
 *     npm run conformance:gpu -- --adapter swiftshader,chromium --results gpu.jsonl
 *                                                                      … each kept as it ends; a run that was stopped goes on
 *     npm run conformance:gpu -- --adapter lavapipe --only gta,q8      cases whose model or type is one of these words
 *     npm run conformance:gpu -- --results gpu.jsonl --write           nothing is computed: the table of docs/webgpu.md
 *
 * Each case: texts at once and token by token, the tokens at temperature 0, the longest text in threes, and again from buffers
 * full of NaN. The exit code is 1 if a case is not as it should be, 2 for wrong usage.
 */
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { choiceOf, readArguments, refuse } from '../../bench/arguments.ts'
import { adapters } from '../harness/gpu.ts'
import { afterLimit } from '../harness/limits.ts'
import { findTool, lacking, skipLoudly } from '../harness/tools.ts'
import { type AdapterName, type Answer, adapterNames, type Case, caseTypes, type Job } from './job.ts'
import { models } from './models.ts'
import { faultsOf, lastOf, markdown, type Result, replaceBlock, sources } from './table.ts'

/** Most that a case may take on a quiet machine. */
const CASE_SECONDS = 240

const { values } = readArguments({
  command: 'npm run conformance:gpu --',
  about: 'Every attention kind and family on WebGPU, against its reference and the engine on the CPU.',
  flags: {
    adapter: { type: 'string', value: 'NAME,…', default: 'swiftshader,lavapipe,chromium', help: 'where to compute' },
    only: { type: 'string', value: 'WORD,…', default: '', help: 'cases whose model or type is one of these words' },
    results: {
      type: 'string',
      value: 'FILE',
      default: '',
      help: 'a line for each case; those that are good are not run again',
    },
    write: { type: 'boolean', default: false, help: 'compute nothing: put the table of --results into docs/webgpu.md' },
  },
})
const wanted = values.adapter.split(',').map((name) => choiceOf('--adapter', name, adapterNames))
const words = values.only === '' ? [] : values.only.split(',')
for (const word of words)
  if (![...models.map(({ name }) => name), ...caseTypes].includes(word))
    refuse(`--only must be names of models, or ${caseTypes.join(', ')}, found "${word}"`)

const isWanted = (names: readonly string[], word: string) => {
  const own = words.filter((one) => names.includes(one))
  return own.length === 0 || own.includes(word)
}
const cases: Case[] = models.flatMap(({ name }) => caseTypes.map((type) => ({ model: name, type })))
const chosen = cases.filter(
  ({ model, type }) =>
    isWanted(
      models.map(({ name }) => name),
      model,
    ) && isWanted(caseTypes, type),
)

const folder = mkdtempSync(join(tmpdir(), 'gta-conformance-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

function readResults(path: string): Result[] {
  if (path === '' || !existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines.flatMap((line, i) => {
    if (line === '') return []
    try {
      return JSON.parse(line) as Result
    } catch {
      return refuse(`--results must be a file of JSON lines, found "${line.slice(0, 40)}" in line ${i + 1} of ${path}`)
    }
  })
}

const results = readResults(values.results)

function keep(adapter: AdapterName, answer: Answer): void {
  const result: Result = { adapter, date: new Date().toISOString().slice(0, 10), ...answer }
  results.push(result)
  if (values.results !== '') appendFileSync(values.results, `${JSON.stringify(result)}\n`)
  const faults = faultsOf(result)
  const { model, type, seconds } = result
  console.error(
    `${faults.length > 0 ? '✘' : '✔'} ${adapter}, ${model}, ${type}, ${seconds.toFixed(0)} s ${faults.join('; ')}`,
  )
}

/** Computes cases in a process of their own, as many as it answers; resolves to why it ended before it had answered all. */
async function start(job: Job): Promise<string | undefined> {
  const env = adapters().find(({ name }) => name === job.adapter)?.env
  const args = ['--disable-warning=ExperimentalWarning', fileURLToPath(new URL('cases.ts', import.meta.url))]
  const child = spawn(process.execPath, [...args, JSON.stringify(job)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  let said = ''
  child.stderr.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-2000)
  })
  let late: string | undefined
  const watch = () =>
    afterLimit(CASE_SECONDS, (sentence) => {
      late = sentence
      child.kill('SIGKILL')
    })
  let stop = watch()
  let answered = 0
  const lines = createInterface({ input: child.stdout })
  lines.on('line', (line) => {
    stop()
    answered++
    keep(job.adapter, JSON.parse(line) as Answer)
    stop = watch()
  })
  const [status] = await Promise.all([
    new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal))),
    new Promise((resolve) => lines.on('close', resolve)),
  ])
  stop()
  if (answered === job.cases.length) return undefined
  return late ?? `its process ended with ${status}: ${said.trim().split('\n').at(-1)}`
}

/** A case that takes its process along has failed, and the others go on in another one. */
async function runAll(adapter: AdapterName): Promise<void> {
  for (;;) {
    const known = lastOf(results, adapter)
    const isDone = ({ model, type }: Case) =>
      known.some((one) => one.model === model && one.type === type && (faultsOf(one).length === 0 || ran.has(one)))
    const left = chosen.filter((one) => !isDone(one))
    if (left.length === 0) return
    const before = results.length
    const why = await start({ adapter, folder, cases: left })
    const next = left[results.length - before]
    if (why !== undefined && next) keep(adapter, { ...next, seconds: 0, failed: why })
    for (const one of results.slice(before)) ran.add(one)
  }
}
/** What this run has computed: once is enough. */
const ran = new Set<Result>()

let lacked = 0
for (const adapter of values.write ? [] : wanted)
  if (findTool(adapter)) await runAll(adapter)
  else {
    skipLoudly(`conformance on ${adapter}`, lacking(adapter))
    lacked++
  }

const shown = adapterNames.filter((name) => results.some(({ adapter }) => adapter === name))
const table = markdown(results, shown, values.write ? cases : chosen)
console.log(table)
console.log(sources(results, shown))
if (values.write) {
  const document = fileURLToPath(new URL('../../docs/webgpu.md', import.meta.url))
  const block = `${table}\n\n${sources(results, shown)}.`
  writeFileSync(document, replaceBlock(readFileSync(document, 'utf8'), block))
}
const verdicts = wanted.flatMap((adapter) =>
  lastOf(results, adapter).filter((one) => chosen.some(({ model, type }) => one.model === model && one.type === type)),
)
const failed = verdicts.filter((one) => faultsOf(one).length > 0).length
console.log(`${verdicts.length - failed} passed, ${failed} failed${lacked > 0 ? `, ${lacked} skipped` : ''}`)
process.exitCode = failed === 0 ? 0 : 1
