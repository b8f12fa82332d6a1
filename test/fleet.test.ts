/** gta fleet: the configuration of haproxy, tried by haproxy itself before servers of this process; the status of a queue's workers. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { haproxyConfig } from '../host/fleet/haproxy.ts'
import { startServer, untilReady } from './fixtures/api-server.ts'
import { temporary } from './fixtures/checkpoints.ts'
import { gta, startBoard } from './fixtures/fleet.ts'
import { runHere } from './harness/command.ts'
import { startNats } from './harness/nats.ts'
import { findTool, toolTest } from './harness/tools.ts'

const folder = temporary()
const options = { listen: '127.0.0.1:1', slots: 4, queueSeconds: 30, answerSeconds: 600, header: 'x-conversation-id' }

toolTest(
  'haproxy',
  'haproxy finds nothing wrong in what gta fleet haproxy writes, and nothing to warn of',
  async () => {
    const boards = '10.0.0.6:8080,10.0.0.7:8080,[fe80::1]:8080'
    const { code, stdout, stderr } = await runHere(folder, 'fleet', 'haproxy', '--boards', boards, '-np', '2')
    assert.is(code, 0, stderr)
    const path = join(folder, 'written.cfg')
    writeFileSync(path, stdout)
    const checked = spawnSync(findTool('haproxy') as string, ['-c', '-f', path], { encoding: 'utf8' })
    assert.is(checked.status, 0, checked.stderr)
    assert.not.match(checked.stdout + checked.stderr, /WARNING.*config|ALERT/)
    assert.is(stdout.match(/maxconn 2$/gm)?.length, 3)
    // A board whose name is not known yet is left out until it is.
    writeFileSync(path, stdout.replace('10.0.0.6', 'board1.invalid'))
    assert.is(spawnSync(findTool('haproxy') as string, ['-c', '-f', path]).status, 0)
  },
)

test('what is no address, no header, or twice there is refused, and puts nothing into the configuration', async () => {
  for (const [args, words] of [
    [['haproxy'], '--boards must be given'],
    [['haproxy', '--boards', 'a:1,a:1'], 'each board once'],
    [['haproxy', '--boards', 'a'], '--boards must be HOST:PORT'],
    [['haproxy', '--boards', 'a:99999'], '--boards must be HOST:PORT'],
    [['haproxy', '--boards', 'a:1\n    stats enable'], '--boards must be HOST:PORT'],
    [['haproxy', '--boards', 'a:1', '--listen', '*'], '--listen must be HOST:PORT'],
    [['haproxy', '--boards', 'a:1', '--header', 'x y'], '--header must be'],
    [['haproxy', '--boards', 'a:1', '-np', '0'], '--parallel must be'],
    [['what'], 'status or haproxy'],
    [[], 'status or haproxy'],
    [['status'], '--nats must be'],
  ] as const) {
    const { code, stdout, stderr } = await runHere(folder, 'fleet', ...args)
    assert.equal([code, stdout, stderr.includes(words)], [2, '', true], stderr)
  }
})

async function freePort(): Promise<number> {
  const probe = createServer()
  return await new Promise((resolve) =>
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    }),
  )
}

toolTest(
  'haproxy',
  'a conversation stays with its board; when one ends, its requests go to another and none fails',
  async () => {
    const servers = await Promise.all([startServer(), startServer()])
    let proxy: ChildProcess | undefined
    try {
      await Promise.all(servers.map((server) => untilReady(server)))
      const port = await freePort()
      const boards = servers.map(({ url }) => new URL(url).host)
      const path = join(folder, 'tried.cfg')
      writeFileSync(path, haproxyConfig({ ...options, boards, listen: `127.0.0.1:${port}` }))
      proxy = spawn(findTool('haproxy') as string, ['-db', '-f', path], { stdio: 'ignore' })
      const url = `http://127.0.0.1:${port}`
      const isThere = () => fetch(`${url}/health`).then(({ ok }) => ok, () => false) // biome-ignore format: one line
      while (!(await isThere())) await new Promise((resolve) => setTimeout(resolve, 20))
      const ask = async (conversation: number) => {
        const headers = { 'content-type': 'application/json', 'x-conversation-id': String(conversation) }
        const body = JSON.stringify({ prompt: `Once ${conversation}`, max_tokens: 1 })
        return (await fetch(`${url}/v1/completions`, { method: 'POST', headers, body })).status
      }
      /** How many requests of a conversation each board had. */
      const counts = () => servers.map(({ log }) => log.filter(({ route }) => route === '/v1/completions').length)
      let before = counts()
      const used = new Set<number>()
      for (let conversation = 0; conversation < 12; conversation++) {
        for (let turn = 0; turn < 3; turn++) assert.is(await ask(conversation), 200)
        const now = counts()
        const grown = now.map((count, i) => count - (before[i] as number))
        assert.equal(grown.sort(), [0, 3], `conversation ${conversation}`)
        used.add(now.findIndex((count, i) => count > (before[i] as number)))
        before = now
      }
      assert.is(used.size, 2, 'both boards have conversations')
      await servers[0]?.close()
      for (let conversation = 0; conversation < 12; conversation++) assert.is(await ask(conversation), 200)
    } finally {
      proxy?.kill('SIGKILL')
      await Promise.all(servers.map((server) => server.close()))
    }
  },
)

toolTest('nats', 'gta fleet status shows every worker of a queue, and what is not done', async () => {
  const server = await startNats()
  try {
    const board = await startBoard(server.url)
    const { code, stdout, stderr } = await gta(['fleet', 'status', '--nats', server.url]).ended
    assert.is(code, 0, stderr)
    assert.match(stdout, new RegExp(`\\| stories +\\| ${board.hash} \\| +0/4 \\| +0 \\| +0 \\|`))
    assert.match(stdout, /^1 workers, 0 requests not done yet$/m)
    const { workers, pending } = JSON.parse(
      (await gta(['fleet', 'status', '--nats', server.url, '--json']).ended).stdout,
    )
    assert.equal([workers.length, workers[0].hash, pending], [1, board.hash, 0])
    board.child.kill('SIGTERM')
    await board.ended
  } finally {
    await server.kill()
  }
})

test.run()
