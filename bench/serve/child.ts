/** A `gta serve` in a process of its own, and what the system says of that process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const command = fileURLToPath(new URL('../../dist/gta.mjs', import.meta.url))

export interface Served {
  url: string
  /** Bytes of memory that the process has. */
  rss(): number
  /** Files and sockets that it has open. */
  descriptors(): number
  /** Ends it as a service manager does; resolves to its exit code. */
  end(): Promise<number | null>
}

const children = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** Resolves when its model is loaded. */
export function serve(...args: string[]): Promise<Served> {
  return serveWith([], ...args)
}

/** The same with flags of V8. */
export async function serveWith(flags: string[], ...args: string[]): Promise<Served> {
  const given = ['serve', '--port', '0', '--quiet', '--chat-template', 'chatml', ...args]
  const child = spawn(process.execPath, [...flags, command, ...given], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.add(child)
  const closed = once(child, 'close')
  const [line] = await Promise.race([once(child.stdout, 'data'), closed.then(() => ['it ended'])])
  const url = /http:\S+/.exec(String(line))?.[0]
  if (url === undefined) throw new Error(`gta serve did not listen: ${line}`)
  while ((await fetch(`${url}/health`)).status !== 200) await new Promise((resolve) => setTimeout(resolve, 20))
  const proc = `/proc/${child.pid}`
  return {
    url,
    rss: () => 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`${proc}/status`, 'utf8'))?.[1]),
    descriptors: () => readdirSync(`${proc}/fd`).length,
    end: async () => {
      child.kill('SIGTERM')
      const [code] = await closed
      children.delete(child)
      return code
    },
  }
}
