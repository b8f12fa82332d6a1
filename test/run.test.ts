/** run.mjs: what counts as passed, failed and skipped, its closing lines, and its exit code. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { temporary } from './fixtures/checkpoints.ts'

const here = new URL('./', import.meta.url)
const tools = JSON.stringify(new URL('harness/tools.ts', here).href)
const head = `import { test } from ${JSON.stringify(import.meta.resolve('uvu'))}\nimport { skipLoudly, toolTest } from ${tools}\n`
const run = '\ntest.run()\n'
const good = `${head}test('a', () => {})\ntest('b', () => {})${run}`
const bad = `${head}test('a', () => {})\ntest('b', () => { throw new Error('on purpose') })${run}`
const empty = head + run
/** All its tests need a browser, and a board. */
const skipping = `${head}toolTest('chromium', 'a page', () => {})
skipLoudly('a board', 'no qemu here (apt-get install qemu-user-static)')${run}`
const partly = `${head}test('a', () => {})\ntoolTest('wasmedge', 'a command', () => {})${run}`
/** What nothing that could be installed would change. */
const unable = `${head}test('a', () => {})\nskipLoudly('a mount', 'it is not allowed here')${run}`
/** Says that it skips something, and forgets to run the rest. */
const forgetful = `${head}test('a', () => {})\nskipLoudly('a board', 'there is none (apt-get install board)')\n`
const broken = 'import "./nothing.ts"\n'

/** Runs the files on a machine where no tool is found. */
function runFiles(files: Record<string, string>, ...args: string[]): { status: number | null; lines: string[] } {
  const folder = temporary()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  const { status, stdout } = spawnSync(
    process.execPath,
    [fileURLToPath(new URL('run.mjs', here)), '--folder', folder, ...args],
    { encoding: 'utf8', env: { ...process.env, GTA_TOOLS: 'none' } },
  )
  return { status, lines: stdout.trimEnd().split('\n') }
}

/** The line of a file, without its seconds. */
const lineOf = (lines: string[], name: string) =>
  lines.find((line) => line.includes(` ${name}: `))?.replace(/, \d+\.\d s$/, '')

test('files that pass: exit code 0, and one line at the end', () => {
  const { status, lines } = runFiles({ 'a.test.ts': good, 'inside/b.test.ts': good, 'c.ts': bad })
  assert.is(status, 0)
  assert.is(lineOf(lines, 'a.test.ts'), '✔ a.test.ts: 2 passed')
  assert.is(lineOf(lines, 'inside/b.test.ts'), '✔ inside/b.test.ts: 2 passed')
  assert.is(lines.at(-1), '4 passed, 0 failed')
  assert.not.ok(lines.some((line) => line.startsWith('To run')))
})

test('a file whose tests were all skipped, with a line each, is no failure; what would bring them is said', () => {
  const { status, lines } = runFiles({ 'a.test.ts': good, 'b.test.ts': skipping, 'c.test.ts': partly, 'd.test.ts': unable }) // biome-ignore format: one line
  assert.is(status, 0)
  assert.is(lineOf(lines, 'b.test.ts'), '– b.test.ts: 0 passed, 2 skipped')
  assert.is(lineOf(lines, 'c.test.ts'), '✔ c.test.ts: 1 passed, 1 skipped')
  assert.ok(lines.includes('SKIPPED: a page: no chromium here (apt-get install chromium)'))
  const all = lines.find((line) => line.startsWith('lane npm test, all others: 4 passed, 0 failed, 4 skipped, '))
  assert.match(all ?? '', /skipped: no chromium here .*; skipped: it is not allowed here/)
  const remedies = lines.at(-3) ?? ''
  assert.ok(remedies.startsWith('To run what was skipped: apt-get install '), remedies)
  for (const word of [' chromium', ' qemu-user-static', ' && test/toolchain/wasmedge.sh']) assert.ok(remedies.includes(word), remedies) // biome-ignore format: one line
  assert.equal(lines.slice(-2), ['Then: npm test -- b.test.ts c.test.ts', '4 passed, 0 failed, 4 skipped'])
})

for (const [what, text, passed, failed, skipped] of [
  ['with a test that fails', bad, 1, 1, 0],
  ['that registers no test and says nothing', empty, 0, 1, 0],
  ['without a summary, though it says that it skips something', forgetful, 0, 1, 1],
  ['that does not load', broken, 0, 1, 0],
] as const)
  test(`a file ${what}: exit code 1, and what it said is shown`, () => {
    const { status, lines } = runFiles({ 'a.test.ts': good, 'b.test.ts': text })
    assert.is(status, 1)
    assert.ok(lineOf(lines, 'b.test.ts')?.startsWith(`✘ b.test.ts: ${passed} passed, ${failed} failed`))
    if (text === bad) assert.ok(lines.some((line) => line.includes('on purpose')))
    assert.is(lines.at(-1), `${2 + passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`)
  })

test('arguments choose files: a part of a name, or a whole one; none that fits is a failure', () => {
  const files = { 'cli.test.ts': good, 'chat-cli.test.ts': good, 'inside/cli.test.ts': good }
  assert.is(runFiles(files, 'cli').lines.at(-1), '6 passed, 0 failed')
  assert.is(runFiles(files, 'cli.test.ts').lines.at(-1), '2 passed, 0 failed')
  assert.is(runFiles(files, 'inside/cli.test.ts', 'chat').lines.at(-1), '4 passed, 0 failed')
  const { status, lines } = runFiles(files, 'other')
  assert.is(status, 1)
  assert.is(lines.at(-1), '0 passed, 1 failed')
})

test.run()
