/** A NATS server of Debian's for tests, on a port of its own, that can be killed and started again with its store. */
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { temporary } from '../fixtures/checkpoints.ts'
import { findTool } from './tools.ts'

export interface NatsServer {
  url: string
  port: number
  /** With SIGKILL; what it was sent stays in its store. */
  kill(): Promise<void>
  /** Again, with the same store and port. */
  start(): Promise<void>
}

/** `more`: lines of its configuration. */
export async function startNats(more = ''): Promise<NatsServer> {
  const folder = temporary()
  const port = await freePort()
  const config = join(folder, 'nats.conf')
  writeFileSync(config, `listen: 127.0.0.1:${port}\njetstream { store_dir: "${folder}/store" }\n${more}\n`)
  let child: ChildProcess | undefined
  const server: NatsServer = {
    ...{ url: `nats://127.0.0.1:${port}`, port },
    kill: async () => {
      const ended = new Promise((resolve) => child?.once('close', resolve))
      if (child?.exitCode !== null || !child.kill('SIGKILL')) return
      await ended
    },
    start: async () => {
      const begun = spawn(findTool('nats') as string, ['-c', config], { stdio: ['ignore', 'ignore', 'pipe'] })
      child = begun
      let log = ''
      await new Promise<void>((resolve, reject) => {
        begun.stderr.on('data', (part) => {
          log += part
          if (log.includes('Server is ready')) resolve()
        })
        begun.once('close', () => reject(new Error(`nats-server has ended: ${log}`)))
      })
    },
  }
  await server.start()
  return server
}

async function freePort(): Promise<number> {
  const probe = createServer()
  return await new Promise((resolve) =>
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    }),
  )
}
