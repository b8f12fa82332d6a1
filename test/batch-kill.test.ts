/** gta batch as a process that is ended again and again: killed at any moment, or asked to end. In the end every id is there once. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { temporary } from './fixtures/checkpoints.ts'
import { limit } from './harness/limits.ts'

const folder = temporary()
const command = fileURLToPath(new URL('../dist/gta.mjs', import.meta.url))
const ids = Array.from({ length: 300 }, (_, i) => `log ${i}`)
const requests = ids.map((id, i) => {
  const body = { prompt: `Once ${i}`, max_tokens: 1 + (i % 5) }
  return `${JSON.stringify({ custom_id: id, url: '/v1/completions', body })}\n`
})
writeFileSync(join(folder, 'in.jsonl'), [...requests.slice(0, 150), 'no request\n', ...requests.slice(150)].join(''))

const sizeOf = (path: string) => (existsSync(path) ? statSync(path).size : 0)

interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stderr: string
}

/** Runs until the output has grown by so many bytes, if it gets so far, and sends it a signal then. */
async function runUntil(path: string, grown: number, signal: NodeJS.Signals, ...more: string[]): Promise<Ended> {
  const from = sizeOf(path)
  const args = [command, 'batch', 'in.jsonl', path, '--resume', '-t', '1', ...more]
  const child = spawn(process.execPath, args, { cwd: folder, timeout: limit(300) })
  let stderr = ''
  child.stderr.on('data', (part) => {
    stderr += part
  })
  const ended = new Promise<Ended>((resolve) => child.on('close', (code, by) => resolve({ code, signal: by, stderr })))
  while (sizeOf(path) - from < grown && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 1))
  child.kill(signal)
  return await ended
}

for (const [name, more] of [['', []], [', in their order', ['--ordered']]] as const) // biome-ignore format: one line
  test(`killed and ended at any moment, with the same command after each: every id once${name}`, async () => {
    const path = join(folder, `out${more.length}.jsonl`)
    const seen = { killed: 0, ended: 0, cut: 0 }
    for (let round = 0; round < 12; round++) {
      const signal = round % 4 === 3 ? (['SIGINT', 'SIGTERM'] as const)[(round >> 2) % 2] : 'SIGKILL'
      const grown = 1 + Math.floor(Math.random() * 12_000)
      const ended = await runUntil(path, grown, signal ?? 'SIGTERM', ...more)
      if (ended.signal === 'SIGKILL') seen.killed++
      else if (ended.code !== 3) {
        assert.ok(ended.code === 130 || ended.code === 143, ended.stderr)
        assert.match(ended.stderr, 'the same command with --resume goes on')
        seen.ended++
      }
      if (ended.stderr.includes('cut ')) seen.cut++
    }
    assert.ok(seen.killed > 2 && seen.ended > 0, JSON.stringify(seen))
    // Of 301 lines one is no request: exit code 3.
    const { code, stderr } = await runUntil(path, Number.POSITIVE_INFINITY, 'SIGKILL', ...more)
    assert.is(code, 3, stderr)
    const results = readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line)) // biome-ignore format: one line
    const expected = [...ids.slice(0, 150), null, ...ids.slice(150)]
    const found = results.map(({ custom_id: id }) => id)
    assert.equal(more.length > 0 ? found : found.sort(), more.length > 0 ? expected : expected.sort())
    assert.ok(results.every(({ custom_id: id, response }) => id === null || response.status_code === 200))
  })

test.run()
