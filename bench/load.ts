/**
 * How soon a large model answers: writes a packed file with synthetic weights, then starts fresh processes that load it
 * from the page cache and generate one token from a prompt of one.
 *
 *     node bench/load.ts [--config models/configs/gta-1b.json] [--type q8] [--repeat 5] [-t N]
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { weightTypes } from '../models/index.ts'
import { choiceOf, readArguments, wholeOf } from './arguments.ts'
import { writeSynthetic } from './synthetic-file.ts'

const { values } = readArguments({
  command: 'npm run bench:load --',
  about: 'How soon a large model answers: fresh processes that load a packed file with synthetic weights.',
  flags: {
    config: { type: 'string', value: 'FILE', help: 'config.json of the shape (default: GTA-1B)' },
    type: { type: 'string', value: weightTypes.join('|'), default: 'q8', help: 'weight type' },
    repeat: { type: 'string', value: 'N', default: '5', help: 'processes' },
    threads: { type: 'string', short: 't', value: 'N', help: 'threads (default: what the engine chooses)' },
  },
})
const type = choiceOf('--type', values.type, weightTypes)
const config = values.config ?? fileURLToPath(new URL('../models/configs/gta-1b.json', import.meta.url))
const repeat = wholeOf('--repeat', values.repeat)
if (values.threads !== undefined) wholeOf('-t', values.threads)
const folder = mkdtempSync(join(tmpdir(), 'gta-edge-load-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
process.on('SIGINT', () => process.exit(130))

const file = join(folder, 'synthetic.gta')
const fileBytes = await writeSynthetic(file, JSON.parse(readFileSync(config, 'utf8')), type)
const command = fileURLToPath(new URL('../dist/gta.mjs', import.meta.url))
const threads = values.threads ? ['-t', values.threads] : []
// The bound: whatever loads a file must touch as much fresh memory.
const touchSeconds: number[] = []
// The first process also measures how many threads to use, and puts the file into the page cache.
await firstToken()
const runs: { seconds: number; peakBytes: number }[] = []
for (let i = 0; i < repeat; i++) {
  runs.push(await firstToken())
  touchSeconds.push(await touchMemory())
}
const median = (list: number[]) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)] as number
console.log(
  JSON.stringify({
    schema: 'gta-load/1',
    config,
    type,
    fileBytes,
    firstTokenSeconds: { median: median(runs.map(({ seconds }) => seconds)), values: runs.map((run) => run.seconds) },
    firstTouchSeconds: { median: median(touchSeconds), values: touchSeconds },
    peakRssOverFile: median(runs.map(({ peakBytes }) => peakBytes)) / fileBytes,
    node: process.version,
  }),
)

/** A fresh process that does nothing but fill so many bytes; its own time, without its start. */
function touchMemory(): Promise<number> {
  const program = `const start = performance.now()
const pages = Math.ceil(${fileBytes} / 65536)
new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer).fill(1)
process.stdout.write(String((performance.now() - start) / 1000))`
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (text) => {
      output += text
    })
    child.on('close', (code) => (code === 0 ? resolve(Number(output)) : reject(new Error('no memory to touch'))))
  })
}

/** From the start of the process to the first token on its output. */
function firstToken(): Promise<{ seconds: number; peakBytes: number }> {
  return new Promise((resolve, reject) => {
    const started = performance.now()
    const args = ['run', file, '--tokens', '1', '-n', '1', '-c', '512', '--temp', '0', ...threads]
    const child = spawn(process.execPath, [command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let seconds = 0
    let report = ''
    child.stdout.once('data', () => {
      seconds = (performance.now() - started) / 1000
    })
    child.stderr.on('data', (text) => {
      report += text
    })
    child.on('close', (code) => {
      const [, peak, unit] = report.match(/peak ([\d.]+) (MB|GB)/) ?? []
      if (code !== 0 || !peak) reject(new Error(`gta run failed: ${report}`))
      else resolve({ seconds, peakBytes: Number(peak) * (unit === 'GB' ? 1e9 : 1e6) })
    })
  })
}
