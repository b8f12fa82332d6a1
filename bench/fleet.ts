/**
 * Boards that are killed among jobs: a NATS server and some workers on this machine, with the embedded model; now and then a
 * worker is killed and another begins, and the server is killed and starts again with its store. Prints what came of it: every
 * job must have one result. Exit code 1 if not. It needs nats-server.
 *
 *     npm run bench:fleet [-- --jobs 2000 --kills 50 --boards 3 --server-kills 2]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectNats, type Nats } from '../host/fleet/queue/connect.ts'
import { resultsOf } from '../host/fleet/queue/names.ts'
import { stateOf } from '../host/fleet/queue/streams.ts'
import { type Board, endAll, gta, resultsIn, startBoard, writeRequests } from '../test/fixtures/fleet.ts'
import { startNats } from '../test/harness/nats.ts'
import { findTool, lacking } from '../test/harness/tools.ts'
import { readArguments, refuse, wholeOf } from './arguments.ts'

const STREAM = 'fleet'
const { values } = readArguments({
  command: 'npm run bench:fleet --',
  about: 'Kills workers, and the server, among jobs of a queue, and counts results.',
  flags: {
    jobs: { type: 'string', default: '2000', value: 'N', help: 'requests; every tenth is one that is refused' },
    kills: { type: 'string', default: '50', value: 'N', help: 'workers that are killed' },
    boards: { type: 'string', default: '3', value: 'N', help: 'workers at a time' },
    'server-kills': { type: 'string', default: '2', value: 'N', help: 'times that the server is killed' },
  },
})
const jobs = wholeOf('--jobs', values.jobs, 1)
const kills = wholeOf('--kills', values.kills, 0)
const count = wholeOf('--boards', values.boards, 1, 32)
const serverKills = wholeOf('--server-kills', values['server-kills'], 0, 1000)
if (!findTool('nats')) refuse(lacking('nats'))

const folder = mkdtempSync(join(tmpdir(), 'gta-fleet-'))
const server = await startNats()
const nats = await connectNats({ url: server.url, name: 'bench' })
const more = ['--stream', STREAM, '--ack-wait', '2', '--max-deliver', '100', '-np', '4']

async function stored({ manager }: Nats): Promise<number> {
  // None while the server is away.
  return await stateOf({ ...nats, manager }, resultsOf(STREAM)).then(({ messages }) => messages, () => 0) // biome-ignore format: one line
}

/** Kills one after the other, evenly among the results. */
async function killAmong(boards: Board[]): Promise<void> {
  const events = [...Array(kills).fill('worker'), ...Array(serverKills).fill('server')].sort(() => Math.random() - 0.5)
  for (const [i, event] of events.entries()) {
    while ((await stored(nats)) < (jobs * (i + 1)) / (events.length + 2)) await new Promise((resolve) => setTimeout(resolve, 2)) // biome-ignore format: one line
    if (event === 'server') {
      await server.kill()
      await server.start()
      continue
    }
    const place = Math.floor(Math.random() * boards.length)
    boards[place]?.child.kill('SIGKILL')
    boards[place] = await startBoard(server.url, ...more)
  }
}

try {
  const path = join(folder, 'jobs.jsonl')
  const ids = writeRequests(path, jobs)
  const boards = await Promise.all(Array.from({ length: count }, () => startBoard(server.url, ...more)))
  const started = performance.now()
  const submitted = await gta(['submit', path, '--nats', server.url, '--stream', STREAM]).ended
  if (submitted.code !== 0) throw new Error(submitted.stderr)
  await killAmong(boards)
  const out = join(folder, 'results.jsonl')
  const collected = await gta(['collect', out, '--nats', server.url, '--stream', STREAM, '--wait']).ended
  const seconds = (performance.now() - started) / 1000
  for (const { child } of boards) child.kill('SIGTERM')
  await Promise.all(boards.map(({ ended }) => ended))
  const results = resultsIn(out)
  const found = new Set(results.map(({ custom_id: id }) => id))
  const missing = ids.filter((id) => !found.has(id)).length
  const wrong = results.filter(({ custom_id: id, response }) => response?.status_code !== (Number(id.slice(4)) % 10 === 9 ? 400 : 200)).length // biome-ignore format: one line
  const figures = { jobs, boards: count, kills, serverKills, results: results.length, missing, twice: results.length - found.size, wrong, seconds: Math.round(seconds) } // biome-ignore format: one line
  process.stdout.write(`${JSON.stringify(figures)}\n`)
  if (collected.code !== 3 || missing + figures.twice + wrong > 0) process.exitCode = 1
} finally {
  endAll()
  await nats.connection.close()
  await server.kill()
  rmSync(folder, { recursive: true })
}
