/** `kill -9` at random moments of saving: the file is the session before or the new one, whole. */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { random, temporary } from './fixtures/checkpoints.ts'
import { checkSession, read } from './fixtures/sessions.ts'

const KILLS = 200
/** Files that are saved at the same time, each by one program after the other. */
const LANES = 4
const PAGE_BYTES = 30_000
const seed = Number(process.env.SEED ?? Date.now() % 1e6)
// In one file without types, it starts in a third of the time.
const program = join(temporary(), 'saver.mjs')
buildSync({
  entryPoints: [fileURLToPath(new URL('harness/session-saver.ts', import.meta.url))],
  outfile: program,
  bundle: true,
  platform: 'node',
  format: 'esm',
})

/**
 * What a killed process wrote is in the page cache, so memory is as good as a disk here, where most time goes by in
 * waiting for it. One lane in four uses the disk all the same.
 */
function folderOf(lane: number): string {
  if (lane === 0 || !existsSync('/dev/shm')) return temporary()
  const folder = mkdtempSync('/dev/shm/gta-test-')
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Runs the program and kills it some milliseconds after it began to save; returns what it told. */
async function saveUntilKilled(path: string, delay: number): Promise<{ begun: number[]; ended: number[] }> {
  // Told to a file: a pipe may be full.
  const told = `${path}.told`
  const output = openSync(told, 'w')
  const child = spawn(process.execPath, [program, path, String(PAGE_BYTES)], {
    stdio: ['ignore', output, 'pipe', 'pipe'],
  })
  closeSync(output)
  let errors = ''
  child.stderr?.on('data', (data) => {
    errors += data
  })
  child.stdio[3]?.once('data', () => setTimeout(() => child.kill('SIGKILL'), delay))
  const signal = await new Promise((resolve) => child.on('close', (_, by) => resolve(by)))
  assert.is(signal, 'SIGKILL', errors)
  const text = readFileSync(told, 'utf8')
  const numbers = (letter: string) =>
    [...text.matchAll(new RegExp(`${letter} (\\d+)\n`, 'g'))].map(([, n]) => Number(n))
  return { begun: numbers('b'), ended: numbers('e') }
}

test(`${KILLS} kills: old or new, never a mixture`, async () => {
  const next = random(seed)
  const seen = { saves: 0, during: 0, old: 0, new: 0, locks: 0 }
  let kills = 0
  const work = async (lane: number) => {
    const folder = folderOf(lane)
    const path = join(folder, 'talk')
    let before: number | undefined
    while (kills < KILLS) {
      const i = kills++
      const delay = next() * 20
      const { begun, ended } = await saveUntilKilled(path, delay)
      const last = ended.at(-1) ?? before
      const under = begun.length > ended.length ? begun.at(-1) : undefined
      const what = `SEED=${seed}, kill ${i} after ${delay.toFixed(1)} ms, saved ${last}, saving ${under}`
      const found = last === undefined ? await read(path).catch(() => undefined) : await read(path)
      assert.ok(found === undefined ? last === undefined : [last, under].includes(found.n), `${what}: ${found?.n}`)
      if (found) checkSession(found, found.n, what, PAGE_BYTES)
      before = found?.n
      seen.saves += ended.length
      seen.during += under === undefined ? 0 : 1
      if (under !== undefined) seen[found?.n === under ? 'new' : 'old']++
      seen.locks += readdirSync(folder).some((name) => name.endsWith('.lock')) ? 1 : 0
    }
  }
  await Promise.all(Array.from({ length: LANES }, (_, lane) => work(lane)))
  console.log(`SEED=${seed}: ${JSON.stringify(seen)}`)
  assert.ok(seen.during > KILLS / 2, 'most kills come while a session is saved')
  assert.ok(seen.locks > 0, 'some come while it is appended to')
})

test.run()
