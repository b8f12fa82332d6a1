/**
 * Runs the test files, as many at a time as there are cores, and ends with the one line that a machine reads:
 * `N passed, N failed`. A file that does not load, does not end, or runs no test is a failure. Arguments: parts of file
 * names to run only those; `--on RUNTIME` of runtimes.ts, with flags of V8 behind `--`, to run them there. Tests that did
 * not run say SKIPPED; these lines are shown, and counted in the lines of lanes, which .ci/run repeats at its end.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findRuntime } from './runtimes.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

const split = process.argv.indexOf('--') >>> 0
const { values, positionals: wanted } = parseArgs({
  args: process.argv.slice(2, split),
  options: { on: { type: 'string' } },
  allowPositionals: true,
})
const flags = process.argv.slice(split + 1)
const runtime = values.on === undefined ? { command: process.execPath, args: [] } : findRuntime(values.on)
if (typeof runtime === 'string') {
  console.log(`SKIPPED: ${wanted.join(', ')} on ${values.on}: ${runtime}`)
  console.log(`lane ${laneOf('')}: 0 passed, 0 failed, 1 skipped, 0 s; skipped: ${runtime}`)
  console.log('0 passed, 0 failed')
  process.exit(0)
}
// What the engine remembers between loads: tests neither see nor change the user's own.
const cache = mkdtempSync(`${tmpdir()}/gta-edge-test-`)
process.env.XDG_CACHE_HOME = cache
// Emulation takes thirty times as long.
const timeoutOf = (name) => (values.on === undefined && !name.startsWith('arm64') ? 180_000 : 900_000)

/** The lane that a file counts for. */
function laneOf(name) {
  if (values.on !== undefined) return `tests on ${[values.on, ...flags].join(' ')}`
  if (/wasi/.test(name)) return 'npm test, WASI'
  if (/browser|web|viewer/.test(name)) return 'npm test, browser'
  return /arm64/.test(name) ? 'npm test, package on arm64' : 'npm test, all others'
}

// The longest first, so that the last one to end is a short one.
const slow = [
  'arm64.test.ts',
  'wasi.test.ts',
  'stories.test.ts',
  'cli.test.ts',
  'train.test.ts',
  'viewer.test.ts',
  'threads.test.ts',
  'identity.test.ts',
  'readme.test.ts',
  'board.test.ts',
  'engine.test.ts',
]
const rank = (name) => slow.findIndex((end) => name.endsWith(end)) >>> 0
const files = readdirSync(`${root}test`, { recursive: true })
  .filter((name) => name.endsWith('.test.ts') && (wanted.length === 0 || wanted.some((part) => name.includes(part))))
  .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))

function runFile(name) {
  return new Promise((resolve) => {
    const args = [...runtime.args, ...flags, '--disable-warning=ExperimentalWarning', `test/${name}`]
    const child = spawn(runtime.command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutOf(name),
      killSignal: 'SIGKILL',
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output += chunk
      })
    child.on('close', (status, signal) => resolve({ name, output, status, signal }))
  })
}

/** uvu's own summary: Total and Passed. */
function count({ output, status }) {
  const of = (name) => Number(output.match(new RegExp(`^\\s*${name}:\\s+(\\d+)`, 'm'))?.[1] ?? 0)
  const passed = of('Passed')
  const isGood = status === 0 && of('Total') > 0
  return { passed, failed: Math.max(of('Total') - passed, isGood ? 0 : 1) }
}

const sum = { passed: 0, failed: 0 }
const lanes = new Map()
const queue = files.values()
async function work() {
  for (const name of queue) {
    const started = performance.now()
    const result = await runFile(name)
    const { passed, failed } = count(result)
    const skipped = result.output.split('\n').filter((line) => line.startsWith('SKIPPED'))
    const lane = lanes.get(laneOf(name)) ?? { passed: 0, failed: 0, skipped: [], seconds: 0 }
    lanes.set(laneOf(name), lane)
    lane.skipped.push(...skipped)
    lane.seconds += (performance.now() - started) / 1000
    for (const total of [sum, lane]) {
      total.passed += passed
      total.failed += failed
    }
    const end = result.signal ? `, killed by ${result.signal}` : ''
    console.log(`${failed ? '✘' : '✔'} ${name}: ${passed} passed, ${failed} failed${end}`.replace(', 0 failed', ''))
    if (failed) console.log(result.output)
    else for (const line of skipped) console.log(line)
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, work))
rmSync(cache, { recursive: true, force: true })
if (files.length === 0) sum.failed = 1
for (const [name, { passed, failed, skipped, seconds }] of lanes) {
  const why = skipped.map((line) => line.replace(/^SKIPPED:?/, '; skipped:')).join('')
  console.log(
    `lane ${name}: ${passed} passed, ${failed} failed, ${skipped.length} skipped, ${seconds.toFixed(0)} s${why}`,
  )
}
console.log(`${sum.passed} passed, ${sum.failed} failed`)
process.exitCode = sum.failed === 0 ? 0 : 1
