/**
 * Runs the test files, as many at a time as there are cores, and ends with the one line that a machine reads:
 * `N passed, N failed`. A file that does not load, does not end, or runs no test is a failure. Arguments: parts of file
 * names to run only those.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
// What the engine remembers between loads: tests neither see nor change the user's own.
const cache = mkdtempSync(`${tmpdir()}/gta-edge-test-`)
process.env.XDG_CACHE_HOME = cache
const FILE_TIMEOUT = 180_000

const wanted = process.argv.slice(2)
// The longest first, so that the last one to end is a short one.
const slow = [
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
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `test/${name}`], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: FILE_TIMEOUT,
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
const queue = files.values()
async function work() {
  for (const name of queue) {
    const result = await runFile(name)
    const { passed, failed } = count(result)
    sum.passed += passed
    sum.failed += failed
    const end = result.signal ? `, killed by ${result.signal}` : ''
    console.log(`${failed ? '✘' : '✔'} ${name}: ${passed} passed, ${failed} failed${end}`.replace(', 0 failed', ''))
    if (failed) console.log(result.output)
    else for (const line of result.output.split('\n')) if (line.startsWith('SKIPPED: ')) console.log(line)
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, work))
rmSync(cache, { recursive: true, force: true })
if (files.length === 0) sum.failed = 1
console.log(`${sum.passed} passed, ${sum.failed} failed`)
process.exitCode = sum.failed === 0 ? 0 : 1
