/**
 * The same shapes on other engines, side by side with ours:
 *
 *     node bench/peers/run.ts [--quick] [--models gta-1b:gqa-1b] [--type q8|q4] [--threads 2] [--repeat 3]
 *                             [--peers llama.cpp,node-llama-cpp] [--prompts 128,512] [--depths 16,1536] [--predict 32]
 *                             [--extra 2] [-o md|json] [--ours-only] [--keep]
 *
 * `gta-1b:gqa-1b` runs ours on one config and the peers on another, since none of them can run GTA. `llama.cpp:haswell`
 * is llama.cpp's AVX2 build whatever the CPU can do, `llama.cpp:zen4` its AVX-512 build. Each measurement is a fresh
 * process, and engines alternate; what had to share more than 10 % of the CPU is repeated in up to `--extra` further
 * rounds. The table or the JSON goes to stdout, the rest to stderr. Ends with 1 if a peer is missing or an engine failed.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { weightTypes } from '../../models/index.ts'
import { choiceOf, readArguments, refuse, wholeOf } from '../arguments.ts'
import { type GgufWeights, writeGguf } from './gguf.ts'
import { installPeers } from './install.ts'
import { countQuiet, quietest, type Run, runSubject } from './processes.ts'
import { markdown, type Row, rowsOf, type Series, speed } from './table.ts'

const { values } = readArguments({
  command: 'npm run bench:peers --',
  about:
    'The same shapes on other engines, side by side with ours; exit code 1 if a peer is missing or an engine failed.',
  flags: {
    quick: { type: 'boolean', default: false, help: 'the 160M shapes' },
    models: { type: 'string', value: 'OURS:THEIRS,…', help: 'configs (default gta-1b:gqa-1b)' },
    type: { type: 'string', value: 'q8|q4', default: 'q8', help: 'weight type' },
    threads: { type: 'string', value: 'N,…', default: '2', help: 'threads' },
    repeat: { type: 'string', value: 'N', default: '3', help: 'fresh processes for each' },
    peers: { type: 'string', value: 'NAME,…', default: 'llama.cpp,node-llama-cpp', help: 'llama.cpp may name a build' },
    prompts: { type: 'string', value: 'N,…', default: '128,512', help: 'tokens of the prompts' },
    depths: { type: 'string', value: 'N,…', default: '16,1536', help: 'tokens in the cache' },
    predict: { type: 'string', value: 'N', default: '32', help: 'tokens to generate' },
    output: { type: 'string', short: 'o', value: 'md|json', default: 'md', help: 'what to print' },
    extra: { type: 'string', value: 'N', default: '2', help: 'further rounds for what was not quiet' },
    'ours-only': { type: 'boolean', default: false, help: 'no peers' },
    keep: { type: 'boolean', default: false, help: 'keep the files' },
  },
})
const ggufWeights: Record<'q8' | 'q4', GgufWeights> = { q8: 'Q8_0', q4: 'Q4_0' }
const weights = ggufWeights[choiceOf('--type', values.type, ['q8', 'q4'])]
choiceOf('-o', values.output, ['md', 'json'])
for (const name of ['repeat', 'predict', 'extra'] as const) wholeOf(`--${name}`, values[name], name === 'extra' ? 0 : 1)
for (const name of ['threads', 'prompts', 'depths'] as const)
  for (const text of values[name].split(',')) wholeOf(`--${name}`, text, name === 'threads' ? 1 : 0)
const oursType = (weightTypes as readonly string[]).includes(values.type) ? values.type : 'q8'
if (oursType !== values.type) console.error(`ours has no ${values.type} weights yet: it runs ${oursType}`)

const missing = values['ours-only'] ? undefined : installPeers()
if (missing) console.error(`${missing}\nrunning ours alone`)
const peers = values['ours-only'] || missing ? [] : values.peers.split(',')
for (const peer of peers)
  if (!/^(llama\.cpp(:.+)?|node-llama-cpp)$/.test(peer))
    refuse(`--peers must name llama.cpp, llama.cpp:BUILD or node-llama-cpp, found "${peer}"`)

const folder = mkdtempSync(join(tmpdir(), 'gta-edge-peers-'))
process.on('exit', () => {
  if (values.keep) console.error(`kept: ${folder}`)
  else rmSync(folder, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))

const rows: Row[] = []
for (const pair of (values.models ?? (values.quick ? '160m-gta1:160m-gqa' : 'gta-1b:gqa-1b')).split(',')) {
  const [ourModel = '', peerModel = ourModel] = pair.split(':')
  const gguf = peers.length > 0 ? await createGguf(peerModel) : ''
  for (const threads of values.threads.split(',')) {
    const all = subjectsOf(ourModel, peerModel, gguf, threads)
    await alternate(all)
    for (const { series } of all) rows.push(...rowsOf(series))
  }
  if (gguf && !values.keep) rmSync(gguf)
}
/** What a reader of the figures must know. */
const notes = [
  `Medians [least – most] of ${values.repeat} fresh processes that alternated; ${availableParallelism()} cores, ${cpus()[0]?.model}, Node ${process.version}.`,
  'KV cache: ours int8, llama.cpp f16, its default. Prefill gives the logits of its last token; greedy everywhere.',
  'llama.cpp: llama_decode behind the native addon, without sampling, as llama-bench; its CPU build is in its name.',
  `Decode: ${values.predict} tokens behind @N positions. Peak RSS is of the whole process, mapped files too.`,
  'Foreign CPU: worst of the runs that count, share of all cores; a ratio with a question mark is noise.',
]
if (values.output === 'json') console.log(JSON.stringify({ schema: 1, notes, rows }))
else console.log(`${markdown(rows)}\n\n${notes.join('\n')}`)
if (missing) fail(`no comparison: ${missing}`)

interface Entrant {
  subject: string
  args: string[]
  series: Series
}

function subjectsOf(ourModel: string, peerModel: string, gguf: string, threads: string): Entrant[] {
  const common = ['-t', threads, '-p', values.prompts, '-d', values.depths, '-n', values.predict]
  const ours: Series = { engine: 'ours', model: basename(ourModel, '.json'), weights: oursType, runs: [] }
  return [
    { subject: 'ours', args: ['--config', configPath(ourModel), '--type', oursType, ...common], series: ours },
    ...peers.map((peer) => {
      const [engine, build = ''] = peer.split(':')
      return {
        subject: engine === 'llama.cpp' ? 'llama-cpp' : 'node-llama-cpp',
        args: ['--gguf', gguf, '--build', build, ...common],
        series: { engine: peer, model: basename(peerModel, '.json'), weights, runs: [], ours },
      }
    }),
  ]
}

/**
 * Opposite order every other round, so that no engine always follows the one that heated the machine up. Runs that had
 * to share it are repeated in further rounds, whoever's they are; what counts are the quietest of all.
 */
async function alternate(entrants: Entrant[]): Promise<void> {
  const [repeat, extra] = [Number(values.repeat), Number(values.extra)]
  for (let round = 0; round < repeat + extra; round++)
    for (const entrant of round % 2 === 0 ? entrants : entrants.toReversed())
      if (round < repeat || countQuiet(entrant.series.runs) < repeat) await runOnce(entrant)
  for (const { series } of entrants) series.runs = quietest(series.runs, repeat)
}

async function runOnce({ subject, args, series }: Entrant): Promise<void> {
  try {
    const run = await runSubject(subject, args)
    series.engine = run.report.engine
    series.runs.push(run)
    console.error(summary(run, series))
  } catch (error) {
    // One engine that fails must not take the minutes of the others with it.
    console.error((error as Error).message)
    process.exitCode = 1
  }
}

function summary({ report, foreignCpu }: Run, { model, weights }: Series): string {
  const speeds = report.results.map(({ test, tokens, depth, tokensPerSecond: { median } }) => {
    return `${test}${tokens}${test === 'tg' ? `@${depth}` : ''} ${speed(median)}`
  })
  const foreign = foreignCpu === undefined ? '' : `, foreign CPU ${(100 * foreignCpu).toFixed(0)} %`
  return `${model} ${weights}, ${report.engine}, t=${report.results[0]?.threads}: ${speeds.join(', ')} tok/s${foreign}`
}

async function createGguf(model: string): Promise<string> {
  const path = join(folder, `${basename(model, '.json')}-${weights}.gguf`)
  try {
    const bytes = await writeGguf(path, JSON.parse(readFileSync(configPath(model), 'utf8')), weights)
    console.error(`wrote ${path}, ${(bytes / 1e6).toFixed(0)} MB`)
    return path
  } catch (error) {
    return fail(`no GGUF file of ${model}: ${(error as Error).message}`)
  }
}

/** A name of models/configs, or a path. */
function configPath(model: string): string {
  return model.endsWith('.json') ? model : fileURLToPath(new URL(`../../models/configs/${model}.json`, import.meta.url))
}

function fail(message: string): never {
  console.error(message)
  process.exit(1)
}
