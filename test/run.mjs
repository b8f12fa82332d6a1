/**
 * Runs the test files, as many at a time as there are cores, and ends with the one line that a machine reads:
 * `N passed, N failed`, with `, N skipped` behind it if any were. A file that does not load, does not end, or neither runs
 * a test nor says why it skips them all is a failure.
 *
 * Arguments: names of files, or parts of names, to run only those; `--on RUNTIME` of runtimes.ts, with flags of V8 behind
 * `--`, to run them there; `--quick` for those that answer within half a minute; `--long` and `--gpu` for those that are left out
 * otherwise, because they take as long as all others; `--folder DIR` for files that are elsewhere.
 *
 * A test that did not run says SKIPPED, why, and in parentheses at the end what to install. These lines are shown, and
 * counted in the lines of lanes, which .ci/run repeats at its end; the lines before the last one say what would bring the
 * skipped tests, and which files have them.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { afterLimit } from './harness/limits.ts'
import { findRuntime } from './harness/runtimes.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

const split = process.argv.indexOf('--') >>> 0
const { values, positionals: wanted } = parseArgs({
  args: process.argv.slice(2, split),
  options: {
    on: { type: 'string' },
    quick: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    gpu: { type: 'boolean', default: false },
    folder: { type: 'string', default: `${root}test` },
  },
  allowPositionals: true,
})
const flags = process.argv.slice(split + 1)
const runtime = values.on === undefined ? { command: process.execPath, args: [] } : findRuntime(values.on)
if (typeof runtime === 'string') {
  console.log(`SKIPPED: ${wanted.join(', ')} on ${values.on}: ${runtime}`)
  console.log(`lane ${laneOf('')}: 0 passed, 0 failed, 1 skipped, 0 s; skipped: ${runtime}`)
  console.log('0 passed, 0 failed, 1 skipped')
  process.exit(0)
}
// What the engine remembers between loads: tests neither see nor change the user's own.
const cache = mkdtempSync(`${tmpdir()}/gta-edge-test-`)
process.env.XDG_CACHE_HOME = cache
// Every file, and every process that it starts, reads the same sources: what the first has compiled, the others need not.
process.env.NODE_COMPILE_CACHE = `${cache}/compiled`
// For a file that does not end by itself; emulation takes thirty times as long.
const secondsOf = (name) => (values.on === undefined && !/^(?:arm64|gpu)/.test(name) ? 300 : 900)

/** The lane that a file counts for. */
function laneOf(name) {
  if (values.on !== undefined) return `tests on ${[values.on, ...flags].join(' ')}`
  if (/gpu/.test(name)) return 'npm test, GPU'
  if (/wasi/.test(name)) return 'npm test, WASI'
  if (/browser|web|viewer|document-pages/.test(name)) return 'npm test, browser'
  return /arm64/.test(name) ? 'npm test, package on arm64' : 'npm test, all others'
}

// The longest first, so that the last one to end is a short one.
const slow = [
  'arm64.test.ts',
  'train.test.ts',
  'browser.test.ts',
  'document-programs.test.ts',
  'examples.test.ts',
  'cli.test.ts',
  'node-red.test.ts',
  'session.test.ts',
  'stories-quality.test.ts',
  'package-nodes.test.ts',
  'session-kill.test.ts',
  'conversations.test.ts',
  'offload.test.ts',
  'context.test.ts',
  'threads.test.ts',
  'wasi.test.ts',
  'wasi-tokenizer.test.ts',
  'wasi-hostile.test.ts',
  'compare.test.ts',
  'bench.test.ts',
  'generate.test.ts',
  'identity.test.ts',
  'session-hostile.test.ts',
  'viewer.test.ts',
]
const rank = (name) => slow.findIndex((end) => name.endsWith(end)) >>> 0
/** npm run test:quick: models against their references, and units; together some 30 s of one core. */
const quick = `
  conformance/golden conformance/families conformance/layer kernels products-random sweep rules plan cost rope families
  pages cache scheduler sampling stop settings sha256 safetensors tokenizer texts documents
`
  .trim()
  .split(/\s+/)
  .map((name) => `${name}.test.ts`)
/**
 * npm run test:long: what is shown once more and at length, although its parts have tests: what rounding costs on
 * whole texts, every character in gta.wasm's tokenizer, memory that has to settle, the documents' commands, other people's
 * bundlers and package managers; faults and damaged files by the hundred; and engines that are lost or share the work.
 */
const long = `
  conformance/stories-quality compare document-programs bundlers package-nodes identity wasi-tokenizer close
  memory-limit session-kill session-power session-faults session-corrupt session-hostile wasi-hostile
  recovery paired server-together batch-kill
`
  .trim()
  .split(/\s+/)
  .map((name) => `${name}.test.ts`)
/** npm run test:gpu: what a GPU in software takes minutes for, most of them to compile shaders. */
const gpu = `
  gpu-attention gpu-auto gpu-conformance gpu-engine gpu-growth gpu-limits gpu-long gpu-lost gpu-prefill gpu-products
  gpu-products-all gpu-rounding gpu-stories gpu-web
`
  .trim()
  .split(/\s+/)
  .map((name) => `${name}.test.ts`)
if (values.gpu) wanted.push(...gpu)
if (values.quick) wanted.push(...quick)
if (values.long) wanted.push(...long)
/** A whole name means that file and no other whose name ends with it. */
const isWanted = (name) =>
  wanted.length === 0
    ? !long.includes(name) && !gpu.includes(name)
    : wanted.some((part) => (part.endsWith('.test.ts') ? part === name : name.includes(part)))
const files = readdirSync(values.folder, { recursive: true })
  .filter((name) => name.endsWith('.test.ts') && isWanted(name))
  .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))

/** One command for all of Debian's packages, and the others as they are. */
function joinRemedies(remedies) {
  const apt = 'apt-get install '
  const known = [...new Set(remedies.filter((remedy) => remedy !== undefined))]
  const packages = known.filter((remedy) => remedy.startsWith(apt)).map((remedy) => remedy.slice(apt.length))
  const others = known.filter((remedy) => !remedy.startsWith(apt))
  return [...(packages.length > 0 ? [`${apt}${packages.join(' ')}`] : []), ...others].join(' && ')
}

function runFile(name) {
  return new Promise((resolve) => {
    const args = [...runtime.args, ...flags, '--disable-warning=ExperimentalWarning', join(values.folder, name)]
    const child = spawn(runtime.command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    let ending = ''
    const stop = afterLimit(secondsOf(name), (sentence) => {
      ending = `${sentence}: killed`
      child.kill('SIGKILL')
    })
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output += chunk
      })
    child.on('close', (status, signal) => {
      stop()
      resolve({ name, output, status, ending: ending || (signal ? `killed by ${signal}` : '') })
    })
  })
}

/** uvu's own summary, Total and Passed, and the lines of what was skipped. Without a summary nothing was run to its end. */
function count({ output, status }) {
  const of = (name) => output.match(new RegExp(`^\\s*${name}:\\s+(\\d+)`, 'm'))?.[1]
  const total = Number(of('Total') ?? 0)
  const passed = Number(of('Passed') ?? 0)
  const skipped = output.split('\n').filter((line) => line.startsWith('SKIPPED'))
  const isGood = status === 0 && of('Total') !== undefined && total + skipped.length > 0
  return { passed, failed: Math.max(total - passed, isGood ? 0 : 1), skipped }
}

/** What a SKIPPED line says to install. */
const remedyOf = (line) => line.match(/\(([^()]+)\)$/)?.[1]

const sum = { passed: 0, failed: 0, skipped: [] }
/** Files with tests that something which can be installed would bring. */
const incomplete = []
const lanes = new Map()
const queue = files.values()
async function work() {
  for (const name of queue) {
    const started = performance.now()
    const result = await runFile(name)
    const seconds = (performance.now() - started) / 1000
    const { passed, failed, skipped } = count(result)
    const lane = lanes.get(laneOf(name)) ?? { passed: 0, failed: 0, skipped: [], seconds: 0 }
    lanes.set(laneOf(name), lane)
    lane.seconds += seconds
    for (const total of [sum, lane]) {
      total.passed += passed
      total.failed += failed
      total.skipped.push(...skipped)
    }
    if (skipped.some(remedyOf)) incomplete.push(name)
    const counts = [`${passed} passed`, ...(failed ? [`${failed} failed`] : [])]
    if (skipped.length > 0) counts.push(`${skipped.length} skipped`)
    if (result.ending) counts.push(result.ending)
    const mark = failed ? '✘' : passed ? '✔' : '–'
    console.log(`${mark} ${name}: ${counts.join(', ')}, ${seconds.toFixed(1)} s`)
    if (failed) console.log(result.output)
    else for (const line of skipped) console.log(line)
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, work))
rmSync(cache, { recursive: true, force: true })
if (files.length === 0) sum.failed = 1
for (const [name, { passed, failed, skipped, seconds }] of lanes) {
  const reasons = new Set(skipped.map((line) => line.split(': ').at(-1)))
  const why = [...reasons].map((reason) => `; skipped: ${reason}`).join('')
  console.log(
    `lane ${name}: ${passed} passed, ${failed} failed, ${skipped.length} skipped, ${seconds.toFixed(0)} s${why}`,
  )
}
if (incomplete.length > 0) {
  console.log(`To run what was skipped: ${joinRemedies(sum.skipped.map(remedyOf))}`)
  console.log(`Then: npm test -- ${incomplete.sort().join(' ')}`)
}
const skips = sum.skipped.length > 0 ? `, ${sum.skipped.length} skipped` : ''
console.log(`${sum.passed} passed, ${sum.failed} failed${skips}`)
process.exitCode = sum.failed === 0 ? 0 : 1
