/**
 * Runs the tests with uvu and ends with the one line that a machine reads: `N passed, N failed`. A file that does not
 * even load is a failure, and so is a run in which nothing ran.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const pattern = process.argv[2] ?? '\\.test\\.ts$'
const uvu = spawn(process.execPath, ['node_modules/uvu/bin.js', 'test', pattern], {
  cwd: root,
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' },
})
let output = ''
uvu.stdout.on('data', (chunk) => {
  output += chunk
  process.stdout.write(chunk)
})
uvu.on('close', (status) => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal colours start with one
  const plain = output.replace(/\x1b\[[0-9;]*m/g, '')
  const count = (name) => Number(plain.match(new RegExp(`^\\s*${name}:\\s+(\\d+)`, 'm'))?.[1] ?? 0)
  const total = count('Total')
  const passed = count('Passed')
  const failed = Math.max(total - passed, status === 0 && total > 0 ? 0 : 1)
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
})
